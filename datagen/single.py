"""Render one scene from its spec, in this process: to look at it, or to make a clip of a dataset again."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from datagen.choices import Codec, DeviceKind
from datagen.resolver import Resolver, cache_folder
from datagen.stage import samples_of
from manifests.atomic import write_bytes
from manifests.errors import LightloomError
from manifests.previews import strip
from scenes.catalogue import Catalogue
from scenes.spec import from_json

_LARGEST_SPEC = 64 << 20


def render_spec(
    spec: Path, out: Path, catalogue: Catalogue, codec: Codec = "exact", device: DeviceKind = "auto"
) -> list[str]:
    """Render the spec file `spec` and write each clip's files to `out` as `<key>.<suffix>`, with a `<key>.png` preview.

    Returns lines for people, one a clip. Raises SpecError, and RenderError when the scene cannot be rendered. Blender
    stays in this process afterwards; end it through `datagen.blender.session.leave`.
    """
    from datagen.blender import session
    from datagen.blender.render import render_scene

    try:
        if spec.stat().st_size > _LARGEST_SPEC:
            raise LightloomError(f"{spec}: larger than {_LARGEST_SPEC} bytes; this is not a scene spec")
        scene = from_json(spec.read_bytes())
    except OSError as error:
        raise LightloomError(f"{spec}: cannot be read: {error.strerror}; give the JSON file of a scene spec") from None
    out.mkdir(parents=True, exist_ok=True)
    session.start(device)
    with tempfile.TemporaryDirectory(prefix="lightloom-") as scratch:
        rendered = render_scene(scene, Resolver(catalogue.roots, cache_folder(Path(scratch))), Path(scratch))
    lines = []
    for sample in samples_of(scene, rendered, catalogue, codec, os.cpu_count() or 1):
        for suffix, data in sample.files.items():
            write_bytes(out / f"{sample.key}.{suffix}", data)
        strip(sample).save(out / f"{sample.key}.png")
        size = sum(map(len, sample.files.values()))
        lines.append(
            f"{out / sample.key}.*: {sample.row.frames} frames of {sample.row.width}x{sample.row.height}, "
            f"{size / 1e6:.2f} MB, {sample.row.render_seconds:.1f} s on {sample.row.device}"
        )
    return lines
