"""Render a `SceneSpec`: one animation per light, read back as clips that share their G-buffers."""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from datagen.blender import session
from datagen.blender.assembly import Assembled, assemble
from datagen.blender.capture import TAIL_BYTES, captured
from datagen.blender.cycles_settings import apply_settings, counted, set_output
from datagen.blender.light_image import LightImage, light_image
from datagen.blender.passes import attribute_names, enable_passes, read_frames
from datagen.blender.pilot import sampled_as, sampling_for
from datagen.clip_checks import clip_exposure, image_flags
from datagen.flow import optical_flow
from datagen.noise_model import Sampling
from datagen.resolver import Resolver
from manifests.contract.clip import Clip
from manifests.contract.environment import HALF_MAX, Environment
from manifests.contract.row import MaterialUse
from manifests.errors import DiskFull, LightloomError, RenderError, StorageError
from scenes import motion
from scenes.spec import SceneSpec, digest, to_json

_NAN_SHARE = 1e-3
_SANITIZED_SHARE = 1e-3  # lossy EXR compression rings below zero in a few values of most maps


@dataclass(frozen=True, eq=False)
class RenderedScene:
    """What became of a spec. Lists have one entry per light, in the order of `spec.lights`.

    Attributes:
        spec_json: the spec as canonical JSON; `spec_digest` is its SHA-256.
        clips: keys `<scene index>-<light>`; their arrays other than `rgb` are the same objects.
        seconds: wall time of each; the first one's holds the assembly of the scene.
        samples: mean samples per pixel that Cycles really took.
        samplings: what a pilot chose, None where the settings were fixed.
        flags: findings about the images (`datagen.clip_checks`), and `sanitized-environment`, `nan-pixels`,
            `quality-short` (no sampling was expected to reach the quality that was asked for).
        device: what rendered it.
        materials: every material, how its parameters were resolved, and its share of the surface pixels.
        log_tail: the end of what Blender printed.
    """

    spec_json: bytes
    spec_digest: str
    clips: list[Clip]
    seconds: list[float]
    samples: list[float]
    samplings: list[Sampling | None]
    flags: list[tuple[str, ...]]
    device: str
    materials: tuple[MaterialUse, ...]
    log_tail: str


@dataclass(frozen=True, eq=False)
class _Images:
    """Arrays (T, H, W, C) by attribute of one animation render, NaN already counted and replaced."""

    arrays: dict[str, np.ndarray]
    samples: float
    nan_pixels: int


def render_scene(spec: SceneSpec, resolver: Resolver, workdir: Path) -> RenderedScene:
    """Render a spec under each of its lights, in the session of this process.

    Frames pass through a temporary folder in `workdir`; a tmpfs saves some time. Raises RenderError for what would
    fail again: assets that are no good, an environment without light, errors that Cycles prints, frames that are
    missing.
    """
    clock = time.perf_counter()
    names = attribute_names(spec.render.geometric_normal)
    spec_json = to_json(spec)
    spec_digest = digest(spec_json)
    rendered = RenderedScene(spec_json, spec_digest, [], [], [], [], [], str(session.current().device), (), "")
    with (
        resolver.in_use(),
        session.current().scene() as scene,
        tempfile.TemporaryDirectory(dir=workdir, prefix="frames-") as scratch,
    ):
        lights, assembled, tail = _prepare(scene, spec, resolver)
        shared: dict[str, np.ndarray] = {}
        for number, light in enumerate(lights):
            wanted = ("rgb",) if shared else names
            rotations = motion.light_rotations(spec.lights[number], spec.light_motion, spec.frames)
            assembled.world.show(light.image, rotations)
            sampling = _pilot(scene, spec, number, Path(scratch))
            settings = spec.render if sampling is None else sampled_as(sampling, spec.render)
            apply_settings(scene, settings, _noise_seed(spec, f"{number}"))
            set_output(scene, Path(scratch), spec.frames, spec.fps)
            enable_passes(scene.view_layers[0], wanted)
            log_tail, most_samples = _animate(scene, spec)
            images = _read(spec, assembled, Path(scratch), wanted, most_samples)
            tail += log_tail
            shared = shared or _gbuffers(spec, assembled, images)
            arrays = shared | images.arrays
            clip = Clip(
                key=f"{spec.index:08d}-{number:02d}",
                arrays=arrays,
                camera=assembled.camera,
                environment=Environment(light.image, rotations),
                fps=spec.fps,
                exposure=clip_exposure(arrays["rgb"], arrays["mask"]),
                meta={"spec_digest": spec_digest, "light": number}
                | ({"sampling": dict(vars(sampling))} if sampling else {}),
            )
            rendered.clips.append(clip)
            rendered.samples.append(images.samples)
            rendered.samplings.append(sampling)
            rendered.flags.append(_flags(spec, clip, light, images, sampling))
            rendered.seconds.append(time.perf_counter() - clock)
            clock = time.perf_counter()
    uses = _material_uses(assembled.shares, shared["instance"])
    return replace(rendered, materials=uses, log_tail=tail[-TAIL_BYTES:])


def _prepare(scene: Any, spec: SceneSpec, resolver: Resolver) -> tuple[list[LightImage], Assembled, str]:
    """Make the lights and build the scene; what the spec gets wrong becomes a RenderError too."""
    try:
        lights = [light_image(light, spec.render.environment_height, resolver) for light in spec.lights]
        with captured() as log:
            assembled = assemble(scene, spec, resolver)
    except LightloomError as error:
        if isinstance(error, RenderError | DiskFull | StorageError):  # the last two are none of the spec's
            raise
        raise RenderError("bad-spec", f"{error}", where=f"scene {spec.index}") from error
    return lights, assembled, log.tail


def _animate(scene: Any, spec: SceneSpec) -> tuple[str, list[int]]:
    """Render all frames; return the end of the log and each frame's samples of its most sampled pixel."""
    with counted() as samples:
        log = session.current().render(scene, f"scene {spec.index}", animation=True)
    if len(samples) != spec.frames:
        raise RenderError(
            "render-error",
            f"{len(samples)} of {spec.frames} frames came",
            where=f"scene {spec.index}",
            log_tail=log.tail,
        )
    return log.tail, samples


def _gbuffers(spec: SceneSpec, assembled: Assembled, images: _Images) -> dict[str, np.ndarray]:
    """What the clips of all lights share: the passes but for rgb, and the flow that they give."""
    shared = {name: array for name, array in images.arrays.items() if name != "rgb"}
    if spec.render.flow is True:
        flow = optical_flow(shared["depth"], shared["instance"], assembled.camera, assembled.poses)
        shared["flow"], shared["flow_visible"] = flow
    return shared


def _pilot(scene: Any, spec: SceneSpec, light: int, folder: Path) -> Sampling | None:
    """What the pilot under this light chooses, where the spec asks for a quality."""
    if not isinstance(spec.render.quality, float):
        return None
    first, second = (_noise_seed(spec, f"{light}/pilot/{number}") for number in (0, 1))
    return sampling_for(spec.render.quality, scene, spec.render, spec.frames, (first, second), folder)


def _noise_seed(spec: SceneSpec, what: str) -> int:
    """Cycles' seed: another noise for each scene of a dataset and each of its renders, such as a light's number."""
    text = f"{spec.seed}/{spec.index}/{what}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=4).digest()) >> 1


def _read(
    spec: SceneSpec, assembled: Assembled, folder: Path, names: Sequence[str], most_samples: Sequence[int]
) -> _Images:
    """Read the frames back and delete them."""
    rotations = assembled.camera.camera_to_world[:, :3, :3]
    size, threads = (spec.render.height, spec.render.width), session.current().threads or os.cpu_count() or 1
    arrays, shares = read_frames(folder, names, size, rotations, f"scene {spec.index}", threads=threads)
    samples = [share * most for share, most in zip(shares, most_samples, strict=True)]
    nan_pixels = int(np.isnan(arrays["rgb"]).any(axis=-1).sum())
    if nan_pixels > _NAN_SHARE * arrays["rgb"][..., 0].size:
        raise RenderError("bad-image", f"{nan_pixels} pixels of rgb are NaN", where=f"scene {spec.index}")
    arrays["rgb"] = np.clip(np.nan_to_num(arrays["rgb"], nan=0.0, posinf=HALF_MAX), 0.0, HALF_MAX)
    return _Images(arrays, float(np.mean(samples)), nan_pixels)


def _flags(
    spec: SceneSpec, clip: Clip, light: LightImage, images: _Images, sampling: Sampling | None
) -> tuple[str, ...]:
    flags = set(image_flags(clip.arrays["rgb"], clip.arrays["instance"], clip.exposure))
    if light.sanitized > _SANITIZED_SHARE * light.image.size:
        flags.add("sanitized-environment")
    if images.nan_pixels:
        flags.add("nan-pixels")
    asked = spec.render.quality
    if sampling is not None and isinstance(asked, float) and sampling.quality < asked:
        flags.add("quality-short")
    return tuple(sorted(flags))


def _material_uses(
    shares: Mapping[int, Sequence[tuple[MaterialUse, float]]], instance: np.ndarray
) -> tuple[MaterialUse, ...]:
    """Materials with their share of the surface pixels, taken as the object's pixels times the share of its area."""
    pixels = np.bincount(instance.ravel(), minlength=max(shares, default=0) + 1)
    surface = max(int(pixels[1:].sum()), 1)
    areas: dict[MaterialUse, float] = {}
    for number, parts in shares.items():
        for use, share in parts:
            areas[use] = areas.get(use, 0.0) + share * float(pixels[number]) / surface
    return tuple(msgspec.structs.replace(use, area=round(area, 6)) for use, area in areas.items())
