"""Coverage of labels: the network's own where it gives one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from labelkit import QUICK_FIT

from labeling.label_settings import LabelSettings, SegmentOptions, checkpoint
from labeling.labels import Labeler
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
