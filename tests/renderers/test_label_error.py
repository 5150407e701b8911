"""A judge sees picture and labels at any size, speaks in the units of the errors, and travels with its renderer."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from manifests.contract.attributes import GBUFFERS
from renderers import InverseRenderer
from renderers.backbones import BACKBONES
from renderers.label_error import UNITS, Judge, condition_of, differences, target

torch.set_num_threads(1)
SHAPE = (2, 3, 1, 16, 24)


def labels(seed: int = 0) -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    made = {name: torch.rand(SHAPE, generator=draw) for name in GBUFFERS}
    for name in ("basecolor", "normal"):
        made[name] = torch.rand((2, 3, 3, 16, 24), generator=draw) + 0.1
    made["normal"] = torch.nn.functional.normalize(made["normal"], dim=2)
    return made


def judge() -> Judge:
    torch.manual_seed(0)
    return Judge(widths=(8, 16), hidden=8).eval()


def test_differences_are_taken_clip_by_clip() -> None:
    one, other = labels(), labels()
    other["roughness"] = one["roughness"] + torch.tensor([0.25, 0.5]).view(2, 1, 1, 1, 1)
    other["depth"] = one["depth"] * torch.tensor([0.5, 3.0]).view(2, 1, 1, 1, 1) + 0.1
    found = differences(one, other, torch.ones(SHAPE))
    torch.testing.assert_close(found["roughness"], torch.tensor([0.25, 0.5]))
    torch.testing.assert_close(found["depth"], torch.zeros(2), rtol=0, atol=1e-3)
    assert target(found).shape == (2, 5)
    assert float(target(found)[1, GBUFFERS.index("roughness")]) == pytest.approx(math.log(0.51), abs=1e-5)


def test_what_is_expected_has_the_units_of_what_is_measured() -> None:
    network = judge()
    true = torch.tensor([0.2, 30.0, 0.1, 0.3, 0.4])  # basecolor, normal in degrees, depth, roughness, metallic
    with torch.no_grad():
        last = network.head[-1]
        assert isinstance(last, torch.nn.Linear)
        last.weight.zero_()
        last.bias.copy_(target({name: true[index : index + 1] for index, name in enumerate(GBUFFERS)})[0])
    first = {name: value[:1] for name, value in labels().items()}
    found = network.expected(torch.zeros(1, 3, 3, 16, 24), first)
    assert list(found) == list(GBUFFERS) and UNITS["normal"] == 60
    assert list(found.values()) == pytest.approx(true.tolist(), rel=1e-4)


def test_size_and_length_of_the_video_hardly_matter() -> None:
    network, draw = judge(), torch.Generator().manual_seed(1)
    small = torch.rand((1, 1, 12, 64, 64), generator=draw) * 2 - 1
    large = small.repeat_interleave(2, dim=3).repeat_interleave(2, dim=4).repeat(1, 4, 1, 1, 1)
    with torch.no_grad():
        torch.testing.assert_close(network(large), network(small), rtol=0, atol=1e-5)


def test_a_renderer_keeps_its_judge_and_asks_it_where_all_labels_were_made(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = BACKBONES["tiny"].create("inverse", widths=(16, 32), depths=(1, 1), embedding=16)
    InverseRenderer(network, judge=judge(), licence="Apache-2.0").save_pretrained(tmp_path / "judged")
    InverseRenderer(network).save_pretrained(tmp_path / "plain")
    video = np.random.default_rng(0).random((2, 16, 16, 3), dtype=np.float32)
    judged, plain = (InverseRenderer.from_pretrained(tmp_path / name) for name in ("judged", "plain"))
    made = judged(video)
    assert not isinstance(made, list)
    rgb = torch.from_numpy(video).permute(0, 3, 1, 2)[None] * 2 - 1
    values = {name: torch.as_tensor(value).permute(0, 3, 1, 2)[None] for name, value in made.gbuffers.items()}
    assert condition_of(rgb, values).shape == (1, 2, 12, 16, 16)
    assert made.expected_errors == pytest.approx(judge().expected(rgb, values), rel=1e-4)
    assert judged(video, attributes=("normal",)).expected_errors is None  # type: ignore[union-attr]
    assert plain(video).expected_errors is None  # type: ignore[union-attr]
