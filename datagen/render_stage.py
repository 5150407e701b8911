"""The datagen stage: a scene index becomes a spec, the spec is rendered, and its clips are encoded with their rows.

`render_spec` does the same for one spec file, outside of a dataset.
"""

from __future__ import annotations

import functools
import gzip
import os
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import UNSET

from datagen.noise_model import Sampling
from datagen.resolver import Resolver, cache_folder
from manifests.codec.codecs import encode_clip
from manifests.contract.attributes import Codec
from manifests.contract.clip_summary import summarise
from manifests.contract.row import AssetUse, ClipRow, Sample
from manifests.errors import ClipError, DiskFull, ItemError, LightloomError, RenderError, SpecError
from manifests.files import Scratch, write_bytes
from manifests.node_cache import NODE_CACHE_GIB
from manifests.object_path import Place, place
from manifests.store.previews import strip, strip_of
from manifests.untrusted import GZIP, gunzip, read_bounded
from pipeline.options import DeviceKind, encoders
from pipeline.stage import Encode
from scenes.catalogue import Catalogue
from scenes.motion import motion_names
from scenes.recipes import Recipe
from scenes.sampling import sample_scene
from scenes.spec import Native, SceneSpec, from_json, to_json

if TYPE_CHECKING:
    from datagen.blender.render import RenderedScene

NAME = "datagen"
CATALOGUE = "catalogue.parquet"
SPEC = "spec.json"
_FULL_BYTES = 64 << 20
_LARGEST_SPEC = 64 << 20
_LARGE_SPEC = 64 << 10  # a street's 150 kB become 12


@dataclass(frozen=True)
class RenderStage:
    """Renders scene `index` of a dataset.

    Attributes:
        catalogue: Parquet file with the assets, readable by every worker.
        roots: folders or buckets of asset providers, where they differ from those in the catalogue.
        recipe, seed: what scenes are drawn from.
        items, per_shard: number of scenes, and scenes in a shard.
        codec: how clips are stored.
        device: what Cycles renders on; "auto" takes the fastest that the worker sees.
        asset_cache_gib: how much of the assets that lie in buckets a machine keeps.
    """

    catalogue: Place
    recipe: Recipe
    seed: int
    items: int
    per_shard: int
    codec: Codec = "compact"
    roots: tuple[tuple[str, str], ...] = ()
    device: DeviceKind = "auto"
    asset_cache_gib: float = NODE_CACHE_GIB
    name: str = NAME

    def make_worker(self) -> RenderWorker:
        """Start Blender in this process."""
        return RenderWorker(self)

    def describe(self, index: int) -> str:
        """The spec of a scene as JSON."""
        return to_json(self.spec(index)).decode()

    def spec(self, index: int) -> SceneSpec:
        """The spec of a scene; raises ItemError (`impossible-scene`) when none can be drawn."""
        assets = self.assets()
        try:
            return sample_scene(assets, self.recipe, self.seed, index)
        except SpecError as error:
            raise ItemError("impossible-scene", str(error)) from error

    def assets(self) -> Catalogue:
        """The catalogue, read once in each process."""
        return _load(self.catalogue, self.roots)


@functools.lru_cache(maxsize=2)
def _load(path: Place, roots: tuple[tuple[str, str], ...]) -> Catalogue:
    return Catalogue.load(path, {provider: place(root) for provider, root in roots})


class RenderWorker:
    """Blender in this process, and what it needs on disk."""

    def __init__(self, stage: RenderStage) -> None:
        from datagen.blender import session

        self._stage = stage
        self._scratch = Scratch()
        self._resolver = Resolver(stage.assets().roots, cache_folder(self._scratch.path), stage.asset_cache_gib)
        share = int(os.environ.get("OMP_NUM_THREADS", "0"))
        started = session.start(stage.device, share, self._scratch.path)
        self._threads = 1  # to encode a clip with, beside other clips; on a CPU the cores are busy with path tracing
        if started.device.kind != "CPU":
            threads = started.threads or os.cpu_count() or 1
            self._threads = threads // encoders(threads)
            started.warm_up()

    def produce(self, index: int) -> Encode:
        """Sample and render a scene; what is left is to encode its clips. Raises ItemError."""
        from datagen.blender.render import render_scene

        spec = self._stage.spec(index)
        try:
            rendered = render_scene(spec, self._resolver, self._scratch.path)
        except RenderError as error:
            self._check_room(error)
            raise
        except ClipError as error:
            raise ItemError("bad-clip", str(error)) from error
        assets, codec = self._stage.assets(), self._stage.codec
        return lambda: samples_of(spec, rendered, assets, codec, self._threads)

    def close(self) -> None:
        """Remove the temporary files."""
        self._scratch.close()

    def _check_room(self, error: RenderError) -> None:
        """Cycles reports a full disk like any other failure; it must stop the run and not condemn the scene."""
        if error.reason == "render-error" and shutil.disk_usage(self._scratch.path).free < _FULL_BYTES:
            raise DiskFull(
                "no space left for rendered frames", "make room or set TMPDIR, and run again", where=self._scratch.path
            ) from error


def samples_of(
    spec: SceneSpec, rendered: RenderedScene, catalogue: Catalogue, codec: Codec, threads: int = 1
) -> list[Sample]:
    """Encode the clips of a rendered scene with `threads` and write their rows; one sample per light.

    Each carries the scene's spec as `spec.json`, or `spec.json.gz` where that is large, from which `lightloom datagen
    render` makes it again.
    """
    samples = []
    for light, clip in enumerate(rendered.clips):
        began = time.perf_counter()
        files, errors = encode_clip(clip, codec, threads=threads)
        files = {**files, **_spec_file(rendered.spec_json)}
        row = ClipRow(
            key=clip.key,
            item=spec.index,
            part=light,
            item_clips=len(rendered.clips),
            stage=NAME,
            split=spec.split,
            recipe=spec.recipe,
            seed=spec.seed,
            spec_digest=rendered.spec_digest,
            frames=clip.frames,
            height=clip.size[0],
            width=clip.size[1],
            fps=clip.fps,
            exposure=clip.exposure,
            attributes=tuple(clip.arrays),
            setting="table" if spec.setting is UNSET else spec.setting.kind,
            motions=motion_names(spec),
            assets=asset_uses(spec, light, catalogue),
            materials=rendered.materials,
            statistics=summarise(clip) | _sampling(rendered.samplings[light]),
            codec_errors=errors,
            seconds=rendered.seconds[light],
            encode_seconds=time.perf_counter() - began,
            steps=rendered.samples[light],
            device=rendered.device,
            resampled=spec.resampled,
            flags=rendered.flags[light],
        )
        samples.append(Sample(clip.key, files, row, strip_of(clip)))
    return samples


def _spec_file(spec_json: bytes) -> dict[str, bytes]:
    if len(spec_json) < _LARGE_SPEC:
        return {SPEC: spec_json}
    return {SPEC + GZIP: gzip.compress(spec_json, mtime=0)}


def _sampling(chosen: Sampling | None) -> dict[str, float]:
    """Statistics `sampling.*` of a clip: what its pilot chose and expected of it, if there was one."""
    return {} if chosen is None else {f"sampling.{name}": float(value) for name, value in vars(chosen).items()}


def asset_uses(spec: SceneSpec, light: int, catalogue: Catalogue) -> tuple[AssetUse, ...]:
    """The catalogue's assets that a clip shows, each once, sorted by uid: what attribution needs.

    Constants that the recipe drew are nobody's asset and do not appear.
    """
    uids = {spec.lights[light].map.uid}
    surfaces = [obj.material for obj in spec.objects] + ([spec.ground.material] if spec.ground else [])
    if spec.setting is not UNSET:
        surfaces += [spec.setting.material_of(piece) for piece in spec.setting.pieces]
    uids |= {material.uid for material in surfaces if not isinstance(material, Native)}
    uids |= {obj.mesh.uid for obj in spec.objects}
    assets = [asset for asset in catalogue.assets if asset.uid in uids]
    return tuple(
        AssetUse(
            uid=asset.uid,
            kind=asset.kind,
            source=asset.provider,
            licence=asset.licence,
            author=asset.author,
            url=asset.url,
        )
        for asset in assets
    )


def render_spec(
    spec: Path, out: Path, catalogue: Catalogue, codec: Codec = "exact", device: DeviceKind = "auto"
) -> list[str]:
    """Render the spec file `spec` and write each clip's files to `out` as `<key>.<suffix>`, with a `<key>.png` preview.

    Returns lines for people, one per clip. Raises SpecError, and RenderError when the scene cannot be rendered. Blender
    stays in this process afterwards; end it through `datagen.blender.session.leave`.
    """
    from datagen.blender import session
    from datagen.blender.render import render_scene

    try:
        data = read_bounded(spec, _LARGEST_SPEC)
        scene = from_json(gunzip(data, _LARGEST_SPEC) if spec.suffix == GZIP else data)
    except OSError as error:
        raise LightloomError(
            f"cannot be read: {error.strerror}", "give the JSON file of a scene spec", where=spec
        ) from None
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
            f"{size / 1e6:.2f} MB, {sample.row.seconds:.1f} s on {sample.row.device}"
        )
    return lines
