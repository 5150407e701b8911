"""Small clips with everything that a codec can get wrong: edges, backgrounds, infinities, signs, odd sizes."""

from __future__ import annotations

from typing import Any

import numpy as np

from manifests.contract.camera import Camera, intrinsics_from_fov
from manifests.contract.clip import Clip
from manifests.contract.environment import Environment


def make_clip(frames: int = 3, height: int = 64, width: int = 64, **changes: Any) -> Clip:
    """A disc that moves over a background: smooth textures, unit normals, half-covered rim, infinite depth behind."""
    rng = np.random.default_rng(7)
    y, x = np.mgrid[:height, :width].astype(np.float32) / max(height, width)
    parts: dict[str, list[np.ndarray]] = {}
    for frame in range(frames):
        dx, dy = x - 0.45 - 0.01 * frame, y - 0.4
        radius = np.sqrt(dx * dx + dy * dy)
        mask = np.clip((0.35 - radius) * 40, 0, 1)
        inside = mask > 0
        bend = np.stack([dx * 2, -dy * 2, 1.2 - radius + 0.05 * np.sin(40 * x)], axis=-1)
        normal = np.where(inside[..., None], bend / np.linalg.norm(bend, axis=-1, keepdims=True), [0, 0, 1])
        texture = 0.5 + 0.3 * np.sin(25 * x + 9 * y) * np.cos(18 * y)
        rgb = np.stack([texture, 0.4 + y, 3 * x], axis=-1)
        images = {
            "rgb": rgb,
            "basecolor": np.stack([texture, 0.2 + 0.5 * x, 0.1 + 0.2 * y], axis=-1) * inside[..., None],
            "normal": normal,
            "depth": np.where(inside, 2 + 5 * y + np.square(dx), np.inf)[..., None],
            "roughness": np.where(inside, texture, 0.5)[..., None],
            "metallic": np.where(inside, 0.5 + 0.5 * np.sin(12 * x), 0.0)[..., None],
            "mask": mask[..., None],
            "instance": np.where(inside, 2 + (x > 0.45), 0)[..., None],
            "flow": np.stack([100 * dx, -30 * y, inside - 0.7, 3000 * dy**3], axis=-1) * (frame > 0),
            "flow_visible": np.stack([inside, x > y], axis=-1),
        }
        for name, image in images.items():
            dtype = np.uint16 if name == "instance" else np.float32
            parts.setdefault(name, []).append(image.astype(dtype))
    turn = np.radians(5.0 * np.arange(frames))
    rotation = np.zeros((frames, 3, 3))
    rotation[:, 0, 0] = rotation[:, 1, 1] = np.cos(turn)
    rotation[:, 1, 0], rotation[:, 0, 1], rotation[:, 2, 2] = np.sin(turn), -np.sin(turn), 1
    pose = np.tile(np.eye(4), (frames, 1, 1))
    pose[:, :3, :3], pose[:, 2, 3] = rotation, 4.0
    light = rng.gamma(0.5, 2.0, (8, 16, 3)).astype(np.float16).astype(np.float32)
    given: dict[str, Any] = {
        "key": "00000012-00",
        "arrays": {name: np.stack(images) for name, images in parts.items()},
        "camera": Camera(intrinsics_from_fov(45.0, height, width), pose),
        "environment": Environment(light, rotation),
        "fps": 12.5,
        "exposure": 0.75,
        "meta": {"seed": 12, "motions": ["orbit"], "note": "Ä"},
    }
    return Clip(**{**given, **changes})
