"""The pipelines on a GPU give what they give on the CPU. Skipped without one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import renderers
from manifests.contract.attributes import ATTRIBUTES, GBUFFERS
from renderers import ForwardRenderer, InverseRenderer, LightingEstimator
from renderers.cosmos.memory_planner import place
from renderers.cosmos.published_weights import convert_cosmos
from tests.renderers.narrow import narrow_checkpoint
from tests.renderers.narrow_cosmos import published_folder

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
SHIPPED = Path(renderers.__file__).parent / "weights" / "tiny"
RANDOM = np.random.default_rng(0)
VIDEO = RANDOM.random((3, 64, 64, 3), dtype=np.float32)
SKY = 5 * RANDOM.random((16, 32, 3), dtype=np.float32)


@pytest.fixture(autouse=True)
def _exact() -> Iterator[None]:
    """Convolutions in float32, as on the CPU."""
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        yield


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def gbuffers() -> dict[str, np.ndarray]:
    arrays = {name: np.full((3, 64, 64, ATTRIBUTES[name].channels), 0.4, np.float32) for name in GBUFFERS}
    arrays["normal"] = np.broadcast_to(np.float32([0, 0, 1]), arrays["normal"].shape).copy()
    return arrays


def both(kind: Any, folder: Path | None, **call: Any) -> tuple[Any, Any]:
    found = []
    for device in ("cpu", "cuda"):
        renderer = kind.from_pretrained(folder).to(device)
        renderer.set_progress_bar_config(disable=True)
        found.append(renderer(generator=seeded(), **call))
    return found[0], found[1]


@pytest.mark.parametrize("sampler", ["diffusion", "one-step"])
def test_inverse_svd(sampler: str, tmp_path: Path) -> None:
    folder = narrow_checkpoint(tmp_path / "inverse", "inverse", sampler=sampler)
    cpu, cuda = both(InverseRenderer, folder, video=VIDEO, steps=3)
    for name in GBUFFERS:
        assert np.abs(cpu.gbuffers[name] - cuda.gbuffers[name]).mean() < 2e-3, name


def test_forward_svd(tmp_path: Path) -> None:
    folder = narrow_checkpoint(tmp_path / "forward", "forward")
    cpu, cuda = both(ForwardRenderer, folder, gbuffers=gbuffers(), environment=SKY, steps=3, guidance=1.2)
    assert np.abs(cpu.video - cuda.video).mean() < 2e-3


def test_cosmos(tmp_path: Path) -> None:
    folders = {}
    for kind in ("inverse", "forward"):
        folders[kind] = convert_cosmos(published_folder(tmp_path / "published" / kind, kind), tmp_path / kind)
    cpu, cuda = both(InverseRenderer, folders["inverse"], video=VIDEO, steps=3)
    for name in GBUFFERS:
        assert np.abs(cpu.gbuffers[name] - cuda.gbuffers[name]).mean() < 2e-3, name
    cpu, cuda = both(ForwardRenderer, folders["forward"], gbuffers=gbuffers(), environment=SKY, steps=3)
    assert np.abs(cpu.video - cuda.video).mean() < 2e-3
    normals: list[np.ndarray] = []
    for gigabytes in (80, 31, 24, 16):  # every way of sharing a card, the first one is all on the GPU
        renderer: Any = InverseRenderer.from_pretrained(folders["inverse"])
        renderer.set_progress_bar_config(disable=True)
        place(renderer, torch.device("cuda"), gigabytes)
        normals.append(renderer(VIDEO, steps=3, attributes=("normal",), generator=seeded()).gbuffers["normal"])
        np.testing.assert_allclose(normals[-1], normals[0], atol=1e-3)


def test_the_weights_that_come_along() -> None:
    cpu, cuda = both(InverseRenderer, SHIPPED / "inverse", video=VIDEO)
    for name in GBUFFERS:
        assert np.abs(cpu.gbuffers[name] - cuda.gbuffers[name]).max() < 5e-3, name
    cpu, cuda = both(ForwardRenderer, SHIPPED / "forward", gbuffers=gbuffers(), environment=SKY)
    assert np.abs(cpu.video - cuda.video).max() < 5e-3
    cpu, cuda = both(LightingEstimator, SHIPPED / "lighting", video=VIDEO)
    assert np.abs(np.log1p(cpu.environment) - np.log1p(cuda.environment)).max() < 2e-2
