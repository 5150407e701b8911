"""Small datasets for the training tests: analytic spheres on a plane (`tests/manifests/clips.py`), no renderer."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np

from manifests.contract.row import Sample
from tests.manifests.clips import clip_sample, make_dataset

SIZE = 16
FRAMES = 4
CLIPS = 7


def make_set(path: Path, codec: str = "compact", size: int = SIZE, **row: object) -> Path:
    """A dataset of 7 clips in 3 shards, 4 frames of 16x16; `row` changes fields of every clip's row."""

    def sample(scene: int, light: int) -> Sample:
        made = clip_sample(scene, light, size=size, frames=FRAMES, codec=codec)
        return Sample(made.key, made.files, msgspec.structs.replace(made.row, **row))

    make_dataset(path, sample=sample, codec=codec)
    return path


def normals_from_depth(depth: np.ndarray, intrinsics: np.ndarray) -> np.ndarray:
    """Camera-space normals (T, H-2, W-2, 3) from the slopes of planar depth (T, H, W); lenses (3, 3) or (T, 3, 3)."""
    height, width = depth.shape[1:]
    lens = np.broadcast_to(intrinsics, (len(depth), 3, 3))[..., None]
    x = (np.arange(width) + 0.5 - lens[:, 0, 2]) / lens[:, 0, 0]
    y = -(np.arange(height) + 0.5 - lens[:, 1, 2]) / lens[:, 1, 1]
    points = np.stack([depth * x[:, None], depth * y[..., None], -depth], axis=-1)
    across = points[:, 1:-1, 2:] - points[:, 1:-1, :-2]
    down = points[:, 2:, 1:-1] - points[:, :-2, 1:-1]
    normal = np.cross(down, across)
    return normal / np.linalg.norm(normal, axis=-1, keepdims=True)
