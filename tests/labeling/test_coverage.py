"""Coverage of labels, the network's own where it gives one; and their depth where the camera was solved."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from labelkit import QUICK_FIT

from labeling.label_settings import LabelSettings, SegmentOptions, checkpoint
from labeling.labels import Labeler, one_depth
from manifests.contract.camera import Camera, intrinsics_from_fov
from renderers.inverse import InverseRenderer
from renderers.photo.photo_inverse import PhotoInverse


def test_the_networks_own_coverage_is_the_mask(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = PhotoInverse(widths=(32, 32, 16, 16, 16, 16), embedding=16)
    with torch.no_grad():
        network.head.bias[-1] = 0.4  # 0.7 as coverage, everywhere
    InverseRenderer(network).save_pretrained(tmp_path / "inverse")
    labeler = Labeler(
        LabelSettings(
            inverse=checkpoint(tmp_path / "inverse", "inverse"), segments=SegmentOptions(length=2), checks=("render",)
        )
    )
    labeler._light = QUICK_FIT
    frames = np.random.default_rng(0).integers(0, 255, (2, 32, 32, 3), dtype=np.uint8)
    labels = labeler(frames, None, seed=0)
    assert labels.mask is not None
    np.testing.assert_allclose(labels.mask, 0.7, atol=1e-6)
    assert all(np.isfinite(value).all() for value in labels.gbuffers.values())


def test_depth_of_a_moving_camera_becomes_one_for_all_frames_and_its_range_is_in_the_cameras_units() -> None:
    rng = np.random.default_rng(0)
    poses = np.tile(np.eye(4), (6, 1, 1))
    poses[:, 0, 3] = np.linspace(0, 1, 6)
    camera = Camera(intrinsics_from_fov(60.0, 48, 64), poses)
    rays = camera.rays(48, 64)
    true = -6.0 / (rays @ (0.0, -0.6, 1.0))  # a slope
    points = (rays * true[..., None]).reshape(-1, 3)[rng.choice(48 * 64, 150, replace=False)]
    shifts = 0.1 * np.sin(np.arange(6))[:, None, None]
    said = ((np.broadcast_to(true, (6, 48, 64)) - 4.0) / 4.0 + shifts).astype(np.float32)[..., None]
    made = one_depth(said, np.ones_like(said), camera, points)
    assert made is not None
    depth, (near, far), error = made
    assert (depth.min(), depth.max()) == (0.0, 1.0)
    inside = (depth > 0) & (depth < 1)
    off = np.abs((near + (far - near) * depth) / true[..., None] - 1)[inside]
    assert off.mean() < 0.01
    assert error < 0.02
    assert one_depth(said, np.ones_like(said), camera, points[:3]) is None
