"""Finding a camera in a setting: clear of everything along its path, with the subject in view most of the time."""

from __future__ import annotations

import numpy as np

from manifests.contract.camera import intrinsics_from_fov
from scenes.motion import camera_at, frame_times
from scenes.recipes import Recipe
from scenes.settings.setting_layout import SettingLayout
from scenes.spec import CameraMotion, CameraView

_CANDIDATES = 64
_FEWEST_STEPS = 40
_SHARE_IN_VIEW = 0.75


def find_setting_view(
    layout: SettingLayout, motions: tuple[CameraMotion, ...], recipe: Recipe, rng: np.random.Generator
) -> CameraView | None:
    """First of 64 candidate views that stays `placement.camera_margin` clear of all and shows the subject."""
    candidates = layout.viewpoints(rng, _CANDIDATES)
    stride = -(-_FEWEST_STEPS // max(recipe.frames - 1, 1))
    times = frame_times((recipe.frames - 1) * stride + 1)
    for eye, target, fov in zip(candidates.eyes, candidates.targets, candidates.fov, strict=True):
        view = _looking(eye, target, float(fov), motions)
        poses = camera_at(view, times)
        if layout.taken.clearance(poses[:, :3, 3]).min() < recipe.placement.camera_margin:
            continue
        if (
            layout.subject is None
            or _share_in_view(poses[::stride], layout.subject[0], view.fov, recipe) >= _SHARE_IN_VIEW
        ):
            return view
    return None


def _looking(eye: np.ndarray, target: np.ndarray, fov: float, motions: tuple[CameraMotion, ...]) -> CameraView:
    back = eye - target
    distance = float(np.linalg.norm(back))
    x, y, z = target.round(6).tolist()
    return CameraView(
        target=(x, y, z),
        distance=round(distance, 6),
        azimuth=round(float(np.degrees(np.arctan2(back[1], back[0]))), 6),
        elevation=round(float(np.degrees(np.arcsin(back[2] / distance))), 6),
        fov=round(fov, 6),
        motions=motions,
    )


def _share_in_view(poses: np.ndarray, point: np.ndarray, fov: float, recipe: Recipe) -> float:
    """Share of the poses (T, 4, 4) in which the point lies inside the image."""
    width, height = recipe.render.width, recipe.render.height
    focal = intrinsics_from_fov(fov, height, width)[0, 0]
    local = np.einsum("tij,ti->tj", poses[:, :3, :3], point - poses[:, :3, 3])
    depth = np.maximum(-local[:, 2], 1e-6)
    inside = (focal * np.abs(local[:, :2]) / depth[:, None] <= np.array([width, height]) / 2).all(axis=1)
    return float((inside & (local[:, 2] < 0)).mean())
