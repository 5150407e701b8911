"""`lightloom relight`: a film's G-buffers, then the film under each light, window by window."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from tqdm import tqdm

from editing.film import Film, Piece, cross_faded
from editing.lights import LEVEL_CAMERA, NamedLight
from editing.output import GbufferFiles, Sheet, write_light
from editing.video import VideoWriter
from manifests.contract.attributes import GBUFFERS
from manifests.contract.color import on_screen, srgb_decode
from manifests.contract.environment import Environment
from renderers import ForwardRenderer, InverseRenderer
from renderers.inverse import InverseOutput
from renderers.light.panoramas import panorama_to_stored
from renderers.lighting_estimator import Estimator
from renderers.modelspace import planar
from renderers.sampling.windows import OVERLAP, WINDOW, plan_windows
from renderers.shading.exposure import BACKGROUND, automatic_exposure

_FLOOR = 0.02
_DETAIL = 2.0


def relight(
    forward: ForwardRenderer,
    gbuffers: Mapping[str, np.ndarray],
    environment: np.ndarray | Environment,
    *,
    camera_to_world: np.ndarray | None = None,
    fov_degrees: float = 45.0,
    intrinsics: np.ndarray | None = None,
    exposure: float | None = None,
    steps: int = 20,
    generator: torch.Generator | None = None,
) -> np.ndarray:
    """The clip under `environment`: (T, H, W, 3) sRGB in [0, 1].

    gbuffers: (T, H, W, C) by name, as an `InverseRenderer` gives them. environment: panorama or Environment, with poses
    (T, 4, 4), as `ForwardRenderer` takes it. exposure: factor on the light; None is `automatic_exposure`.
    """
    camera: Any = {"camera_to_world": camera_to_world, "fov_degrees": fov_degrees, "intrinsics": intrinsics}
    if exposure is None:
        exposure = automatic_exposure(gbuffers, environment, **camera)
    made = forward(gbuffers, environment, exposure=exposure, steps=steps, generator=generator, **camera)
    return np.asarray(made.video)


def enlarged(
    rendered: np.ndarray, video: np.ndarray, shown: np.ndarray, gbuffers: Mapping[str, np.ndarray]
) -> np.ndarray:
    """A picture rendered smaller, (T, h, w, 3), at the video's size (T, H, W, 3), with the video's detail; all sRGB.

    `shown` (T, h, w, 3) is the video as the network saw it. What the video has beyond it, as a ratio of linear light,
    is mostly texture, which stays under any light; it is laid over surfaces, but not over the background, whose
    picture is the light's own.
    """
    size = video.shape[1:3]
    if rendered.shape[1:3] == size:
        return rendered
    covered = resized((gbuffers["depth"] < BACKGROUND).astype(np.float32), size)
    detail = (srgb_decode(video) + _FLOOR) / (srgb_decode(resized(shown, size)) + _FLOOR)
    detail = 1 + covered * (np.clip(detail, 1 / _DETAIL, _DETAIL) - 1)
    light = (srgb_decode(resized(rendered, size)) + _FLOOR) * detail - _FLOOR
    return on_screen(light)


def resized(frames: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Frames (T, H, W, C) at another size (height, width): averaged where they shrink, bilinear where they grow."""
    if frames.shape[1:3] == tuple(size):
        return frames
    shrinks = size[0] * size[1] < frames.shape[1] * frames.shape[2]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    made = [cv2.resize(np.ascontiguousarray(frame), (size[1], size[0]), interpolation=method) for frame in frames]
    return np.stack(made).reshape(len(frames), *size, frames.shape[-1])  # OpenCV drops an axis of one channel


@dataclass(frozen=True)
class Settings:
    """How a film is rendered.

    Attributes:
        side: networks see pictures whose larger side is at most this; 0 is the film's own size.
        window: frames that are held and rendered at a time.
        fov_degrees: angle of the larger image side, where the film does not know its camera.
        steps: denoising steps of "diffusion" checkpoints.
        seed: of their noise.
        exposure: factor on the light; None takes the surfaces to the datasets' usual brightness.
        strength: how much of an edit's change is made (`editing.material_edits.composite`); None is 1 where
            G-buffers are true, less where they are estimates.
    """

    side: int = 512
    window: int = WINDOW
    fov_degrees: float = 45.0
    steps: int = 20
    seed: int = 0
    exposure: float | None = None
    strength: float | None = None

    @property
    def overlap(self) -> int:
        """Frames that two windows share."""
        return min(OVERLAP, self.window // 2)


def seen_size(size: tuple[int, int], side: int) -> tuple[int, int]:
    """(H, W) at which networks see a film of `size`; never larger than it."""
    scale = min(1.0, side / max(size)) if side else 1.0
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def generator(settings: Settings) -> torch.Generator:
    """The noise's source, the same in every window."""
    return torch.Generator().manual_seed(settings.seed)


def poses(film: Film, piece: Piece) -> np.ndarray:
    """camera_to_world (n, 4, 4): the clip's own, or a camera that stands level and still."""
    if film.clip is not None and film.clip.camera is not None:
        return film.clip.camera.camera_to_world[piece.window.start : piece.window.stop]
    return np.broadcast_to(LEVEL_CAMERA, (len(piece.rgb), 4, 4))


def intrinsics(film: Film, size: tuple[int, int]) -> np.ndarray | None:
    """The clip's intrinsics (3, 3) for its pictures at `size`, or None where the film does not know them."""
    if film.clip is None or film.clip.camera is None:
        return None
    scale = np.diag([size[1] / film.size[1], size[0] / film.size[0], 1.0])
    return scale @ film.clip.camera.intrinsics


def gbuffers_of(shown: np.ndarray, inverse: InverseRenderer, settings: Settings) -> dict[str, np.ndarray]:
    """G-buffers (n, h, w, C) of one window (n, h, w, 3) as networks see it."""
    made = inverse(shown, steps=settings.steps, window=settings.window, generator=generator(settings))
    assert isinstance(made, InverseOutput)  # one video in, one out
    return {name: np.asarray(value) for name, value in made.gbuffers.items()}


def relight_film(
    film: Film,
    lights: Sequence[NamedLight],
    inverse: InverseRenderer,
    forward: ForwardRenderer,
    out: Path,
    *,
    rotate: float = 0.0,
    settings: Settings,
    gbuffers: Path | None = None,
    exact: bool = False,
    estimator: Estimator | None = None,
) -> list[Path]:
    """Write `film` under each light to `out`: one light as a film of the same size and rate, several as one sheet.

    rotate: degrees that the lights turn over the film. gbuffers: folder for the G-buffers, with `exact` as EXR too.
    estimator: writes the light of the film's beginning beside `out`. Returns the paths of what was written.
    """
    plan = plan_windows(film.frames, settings.window, settings.overlap)
    small = seen_size(film.size, settings.side)
    sheet = Sheet(["input", *(light.name for light in lights)], film.size) if len(lights) > 1 else None
    exposures: list[float | None] = [settings.exposure] * len(lights)
    times: list[float] = []
    lens: Any = {"fov_degrees": settings.fov_degrees, "intrinsics": intrinsics(film, small)}
    written = [out]

    def windows() -> Iterator[list[np.ndarray]]:
        for piece in film.pieces(plan):
            shown = resized(piece.rgb, small)
            maps = gbuffers_of(shown, inverse, settings)
            if estimator is not None and piece.window.start == 0:
                found = estimator(shown, maps, **lens).environment
                written.extend(write_light(stored(np.asarray(found)), out.with_suffix("")))
            camera = poses(film, piece)
            made = []
            for index, light in enumerate(lights):
                turning = light.turning(film.frames, rotate, piece.window.start, piece.window.stop)
                exposure = exposures[index]
                if exposure is None:  # once: the film shall not pump
                    whole = light.turning(len(piece.rgb), rotate)
                    exposure = exposures[index] = automatic_exposure(maps, whole, camera_to_world=camera, **lens)
                rendered = relight(
                    forward,
                    maps,
                    turning,
                    camera_to_world=camera,
                    exposure=exposure,
                    steps=settings.steps,
                    generator=generator(settings),
                    **lens,
                )
                made.append(enlarged(rendered, piece.rgb, shown, maps))
            times.extend(piece.seconds[len(times) - piece.window.start :])
            yield [piece.rgb, *made, *(maps[name] for name in (GBUFFERS if gbuffers else ()))]

    with ExitStack() as stack:
        video = stack.enter_context(VideoWriter(out, film.size if sheet is None else sheet.size, film.fps))
        files = stack.enter_context(GbufferFiles(gbuffers, small, film.fps, exact=exact)) if gbuffers else None
        bar = stack.enter_context(tqdm(total=film.frames, desc="relight", unit="frame", leave=False))
        frame = 0
        for arrays in cross_faded(plan, windows()):
            for values in zip(*arrays, strict=True):
                pictures = values[: 1 + len(lights)]
                video.write(pictures[1] if sheet is None else sheet.lay(pictures), times[frame])
                if files is not None:
                    files.write(unit(dict(zip(GBUFFERS, values[1 + len(lights) :], strict=True))), times[frame])
                frame += 1
                bar.update()
    return [*written, *([gbuffers] if gbuffers else [])]


def unit(gbuffers: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """G-buffers whose normals are of unit length again, after windows were averaged."""
    normal = gbuffers["normal"]
    return {**gbuffers, "normal": normal / np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-6)}


def stored(panorama: np.ndarray, pose: np.ndarray = LEVEL_CAMERA) -> np.ndarray:
    """A panorama (h, w, 3) in the frame of a camera at `pose` (4, 4) as a light in the world, as datasets store it."""
    seen = planar(panorama[None])[0, 0]  # (1, h, w, 3) -> (3, h, w)
    return panorama_to_stored(seen, torch.from_numpy(pose).float(), *panorama.shape[:2]).numpy()
