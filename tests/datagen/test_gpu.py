"""On a GPU, Cycles gives the G-buffers that it gives on the CPU, and says what it ran on. Skipped without one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from datagen.blender import devices, session
from datagen.blender.render import render_scene
from datagen.resolver import Resolver
from scenes.providers.builtin import builtin_catalogue
from scenes.recipes import load_recipe
from scenes.sampling import sample_scene
from tests.datagen import analytic

GPUS = ("OPTIX", "CUDA")


def there(kind: devices.Kind) -> None:
    session.start("CPU")
    if kind not in {device.kind for device in devices.available()}:
        pytest.skip(f"Cycles sees no {kind} device")


def test_optix_comes_before_cuda_before_the_cpu() -> None:
    session.start("CPU")
    kinds = [device.kind for device in devices.available()]
    assert kinds == sorted(kinds, key=devices.ORDER.index) and kinds[-1] == "CPU"
    assert session.start("auto").device.kind == kinds[0]


@pytest.mark.parametrize("kind", GPUS)
@pytest.mark.parametrize("index", [None, 0, 1, 2])
def test_gbuffers_are_those_of_the_cpu(
    kind: devices.Kind, index: int | None, resolver: Resolver, tmp_path: Path
) -> None:
    there(kind)
    spec = analytic.mirror_ball()
    if index is not None:
        catalogue = builtin_catalogue()
        spec = sample_scene(catalogue, load_recipe("tiny"), 5, index)
        resolver = Resolver(catalogue.roots, tmp_path / "cache")
    clips = []
    for device in ("CPU", kind):
        session.start(device)
        rendered = render_scene(spec, resolver, tmp_path)
        assert rendered.device.startswith(f"{device} ")
        clips.append(rendered.clips[0].arrays)
    cpu, gpu = clips
    inside = (cpu["mask"] == 1) & (gpu["mask"] == 1)
    assert np.abs(cpu["mask"] - gpu["mask"]).mean() < 2e-3
    assert (cpu["instance"] == gpu["instance"]).mean() > 0.998
    near = np.abs(gpu["depth"][inside] / cpu["depth"][inside] - 1)
    assert np.quantile(near, 0.995) < 1e-3
    assert analytic.angles(cpu["normal"], gpu["normal"])[inside[..., 0]].mean() < 0.5
    for name in ("basecolor", "roughness", "metallic"):
        assert np.abs(cpu[name] - gpu[name]).mean() < 1 / 255, name
    assert abs(np.log2(cpu["rgb"].mean() / gpu["rgb"].mean())) < 0.05
