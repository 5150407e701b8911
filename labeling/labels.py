"""Labels of one segment: the networks, loaded once for a worker's life, and everything they say of a few frames."""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from labeling import confidence
from labeling.cameras.clip_depth import clip_depth
from labeling.label_settings import Checkpoint, LabelSettings, files_digest
from manifests.contract.attributes import GBUFFERS
from manifests.contract.camera import Camera, intrinsics_from_fov, level_camera
from manifests.contract.color import srgb_decode, srgb_encode
from manifests.errors import CheckpointError
from renderers.checkpoints.reading import locate
from renderers.cosmos.memory_planner import load_placed
from renderers.inverse import InverseRenderer
from renderers.light.panoramas import panorama_to_stored, panoramas
from renderers.lighting_estimator import estimator
from renderers.modelspace import FAR_QUANTILE, NEAR_QUANTILE, channels_last, planar
from renderers.shading.view_geometry import camera_rays, surface_coverage

_SURELY = 0.98
_WINDOW_LEAST = 4
_DIMMED = srgb_encode(0.7 * srgb_decode(np.arange(256) / 255)).astype(np.float32)
"""What 8-bit sRGB would have been, exposed half a stop less."""


@dataclass(frozen=True, eq=False)
class SegmentLabels:
    """What is estimated of a segment of T frames.

    Attributes:
        gbuffers: (T, H, W, C) by name as values; depth relative, near 0, far 1.
        mask: (T, H, W, 1) surface coverage, the network's where it gives one, else guessed; None where everything is
            taken for surface.
        camera: as known, or a still, level one with an assumed field of view.
        environment: (h, w, 3) stored image of the light, in the world frame of `camera`.
        evidence: what the checks measured (`labeling.confidence`).
        seconds: how long the networks worked.
        depth_range: what depth 0 and 1 are in the units of a camera that moves and was solved: depth is then one for
            all frames. None where it is not.
    """

    gbuffers: Mapping[str, np.ndarray]
    mask: np.ndarray | None
    camera: Camera
    environment: np.ndarray
    evidence: Mapping[str, float]
    seconds: float
    depth_range: tuple[float, float] | None = None

    @property
    def confidence(self) -> dict[str, float]:
        """Confidence in [0, 1] by attribute, the environment included."""
        return confidence.scores(self.evidence)


class Labeler:
    """The networks of `settings` on this process's GPU, or on its CPU."""

    def __init__(self, settings: LabelSettings) -> None:
        self._settings = settings
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        dtype = getattr(torch, settings.precision or "float32")
        _check_digest(settings.inverse)
        self._inverse = load_placed(InverseRenderer, settings.inverse.source, self.device, dtype)
        self._inverse.set_progress_bar_config(disable=True)
        if settings.lighting is not None:
            _check_digest(settings.lighting)
        self._light = estimator(settings.lighting.source if settings.lighting else None)
        if settings.lighting is not None:
            self._light.to(self.device, dtype).set_progress_bar_config(disable=True)  # type: ignore[attr-defined]

    @property
    def device_name(self) -> str:
        """What the networks run on, for the rows."""
        return "CPU" if self.device.type == "cpu" else f"CUDA {torch.cuda.get_device_name(self.device)}"

    @torch.no_grad()
    def __call__(
        self, frames: np.ndarray, camera: Camera | None, seed: int, points: np.ndarray | None = None
    ) -> SegmentLabels:
        """Label `frames` (T, H, W, 3) uint8 sRGB, seen by `camera` where it is known; `points` (N, 3) in its world."""
        began = time.perf_counter()
        count, height, width = frames.shape[:3]
        camera = camera or _assumed_camera(self._settings.fov, count, height, width)
        labels, judged, coverage = self._gbuffers(frames, seed)
        if coverage is None:
            coverage = surface_coverage(labels["depth"], labels["basecolor"], labels["normal"])
        first = _First(frames, camera, seed, labels, coverage, self._panorama(frames, labels, camera))
        evidence = self._evidence(first) | {f"{confidence.JUDGE}.{name}": value for name, value in judged.items()}
        gbuffers = {name: channels_last(value) for name, value in labels.items()}
        fitted = None if points is None else one_depth(gbuffers["depth"], channels_last(coverage), camera, points)
        if fitted is not None:
            gbuffers["depth"], depth_range, evidence[f"{confidence.CORNERS}.depth"] = fitted
        return SegmentLabels(
            gbuffers=gbuffers,
            mask=None if float(coverage.min()) > _SURELY else _crisp(channels_last(coverage)),
            camera=camera,
            environment=first.environment,
            evidence=evidence,
            seconds=time.perf_counter() - began,
            depth_range=None if fitted is None else depth_range,
        )

    def _gbuffers(self, frames: np.ndarray, seed: int) -> tuple[dict[str, Tensor], Mapping[str, float], Tensor | None]:
        """All five, (1, T, C, H, W) on the device, in one visit; what a judge expects their errors to be; coverage."""
        settings = self._settings
        output = self._inverse(
            frames,
            attributes=GBUFFERS,
            steps=settings.steps,
            window=settings.window,
            overlap=settings.overlap,
            generator=torch.Generator().manual_seed(seed),
            output_type="pt",
        )
        assert not isinstance(output, list)
        made = {name: self._batched(value) for name, value in output.gbuffers.items()}
        coverage = None if output.coverage is None else self._batched(output.coverage)
        return made, output.expected_errors or {}, coverage

    def _batched(self, value: Tensor | np.ndarray) -> Tensor:
        return torch.as_tensor(value)[None].float().to(self.device)  # (T, C, H, W) -> (1, T, C, H, W)

    def _panorama(self, frames: np.ndarray, labels: Mapping[str, Tensor], camera: Camera) -> Tensor:
        """Light (3, h, w) around the first camera, in its frame."""
        turns = camera.camera_to_world[:, :3, :3]
        found = self._light(
            frames,
            {name: channels_last(value) for name, value in labels.items()},
            intrinsics=camera.intrinsics,
            camera_rotations=turns[0].T @ turns,
            height=self._settings.environment_height,
        )
        return planar(np.asarray(found.environment)[None])[0, 0]

    def _evidence(self, first: _First) -> dict[str, float]:
        """What the wanted checks measure, by "check.attribute"."""
        found = {f"{confidence.CONTRAST}.{confidence.ENVIRONMENT}": confidence.contrast(first.environment)}
        if "mirror" in self._settings.checks:
            frames = np.ascontiguousarray(first.frames[:, :, ::-1])
            others = mirrored(self._gbuffers(frames, first.seed)[0])
            found |= _compared("mirror", first, others, slice(None))
        if "window" in self._settings.checks and len(first.frames) >= _WINDOW_LEAST:
            middle = _middle(len(first.frames))
            others, *_ = self._gbuffers(first.frames[middle], first.seed)
            found |= _compared("window", first, others, middle)
        if "exposure" in self._settings.checks:
            middle = _middle(len(first.frames))
            others, *_ = self._gbuffers(_DIMMED[first.frames[middle]], first.seed)
            found |= _compared("exposure", first, others, middle)
        if "render" in self._settings.checks:
            found[confidence.RENDER] = self._render_error(first)
        return found

    def _render_error(self, first: _First) -> float:
        frames, camera = first.frames, first.camera
        still = np.tile(np.eye(3), (len(frames), 1, 1))
        light = panoramas(first.environment, still, camera.camera_to_world, *first.panorama.shape[-2:])[None]
        rays = camera_rays(frames.shape[1], frames.shape[2], torch.from_numpy(camera.intrinsics))
        light, rays, video = (part.to(self.device) for part in (light, rays, planar(frames) / 255))
        return confidence.render_error(first.labels, first.coverage, light, rays, video)


@dataclass(frozen=True, eq=False)
class _First:
    """The first answer, which the checks are held against.

    labels: (1, T, C, H, W) by name; coverage: (1, T, 1, H, W); panorama: (3, h, w) in the first camera's frame.
    """

    frames: np.ndarray
    camera: Camera
    seed: int
    labels: Mapping[str, Tensor]
    coverage: Tensor
    panorama: Tensor

    @functools.cached_property
    def environment(self) -> np.ndarray:
        """The panorama as a stored image (h, w, 3) in the world frame."""
        pose = torch.from_numpy(self.camera.camera_to_world[0])
        return panorama_to_stored(self.panorama, pose, *self.panorama.shape[-2:]).numpy()


def mirrored(labels: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Labels (1, T, C, H, W) of a mirrored video as labels of the video: columns reversed, normals turned."""
    flipped = {name: value.flip(-1) for name, value in labels.items()}
    turn = flipped["normal"].new_tensor([-1.0, 1.0, 1.0]).view(1, 1, 3, 1, 1)
    return flipped | {"normal": flipped["normal"] * turn}


def _middle(frames: int) -> slice:
    """The middle half of so many frames."""
    return slice(frames // 4, frames - frames // 4)


def _compared(check: str, first: _First, others: Mapping[str, Tensor], frames: slice) -> dict[str, float]:
    """Disagreement of the first answer with another one to some of its frames, as evidence of `check`."""
    seen = {name: value[:, frames] for name, value in first.labels.items()}
    different = confidence.disagreement(seen, others, first.coverage[:, frames])
    return {f"{check}.{name}": value for name, value in different.items()}


def one_depth(
    relative: np.ndarray, coverage: np.ndarray, camera: Camera, points: np.ndarray
) -> tuple[np.ndarray, tuple[float, float], float] | None:
    """Relative depth (T, H, W, 1) that is one for all frames, its range, its error at `points`; None without one."""
    found = clip_depth(relative[..., 0], camera, points)
    if found is None:
        return None
    depth, error = found
    there = depth[coverage[..., 0] > 0.5]
    near, far = (float(value) for value in np.quantile(there if there.size else depth, (NEAR_QUANTILE, FAR_QUANTILE)))
    far = max(far, near * (1 + 1e-3))
    return np.clip((depth - near) / (far - near), 0.0, 1.0)[..., None], (near, far), float(np.median(error))


def _crisp(coverage: np.ndarray) -> np.ndarray:
    """Coverage whose nearly certain values are certain, so that they cost no bytes."""
    rounded = np.where(coverage > _SURELY, 1.0, np.where(coverage < 1 - _SURELY, 0.0, coverage))
    return np.asarray(rounded, dtype=np.float32)


def _assumed_camera(fov_degrees: float, frames: int, height: int, width: int) -> Camera:
    return Camera(intrinsics_from_fov(fov_degrees, height, width), level_camera(frames))


def _check_digest(wanted: Checkpoint) -> None:
    if files_digest(locate(wanted.source)) != wanted.digest:
        raise CheckpointError(
            "not the checkpoint that this run began with", "every machine must see the same files", where=wanted.source
        )
