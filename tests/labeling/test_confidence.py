"""Evidence measures what it says, and confidence falls with every piece of it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from labeling import confidence
from labeling.confidence import CALIBRATION, disagreement, overall, render_error, scores
from labeling.labels import mirrored
from manifests.contract.attributes import GBUFFERS
from renderers.modelspace import srgb_encode
from renderers.shading.split_sum import split_sum
from renderers.shading.view_geometry import camera_rays

SHAPE = (1, 2, 1, 12, 16)
WHOLE = torch.ones(SHAPE)
EVIDENCE = [f"{check}.{name}" for check in ("mirror", "window", "exposure", "judge") for name in GBUFFERS]
EVIDENCE += ["contrast.environment"]


def labels(seed: int = 0) -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    made = {name: torch.rand(SHAPE, generator=draw) for name in ("depth", "roughness", "metallic")}
    made["basecolor"] = torch.rand((1, 2, 3, 12, 16), generator=draw)
    normal = torch.randn((1, 2, 3, 12, 16), generator=draw)
    normal[:, :, 2] = normal[:, :, 2].abs() + 0.5
    made["normal"] = normal / normal.norm(dim=2, keepdim=True)
    return made


def test_equal_labels_do_not_disagree() -> None:
    found = disagreement(labels(), labels(), WHOLE)
    assert list(found) == list(GBUFFERS)
    assert all(value == pytest.approx(0, abs=0.1 if name == "normal" else 1e-3) for name, value in found.items())


def test_disagreement_is_in_the_units_of_the_error() -> None:
    one, other = labels(), labels()
    turn = math.radians(10)
    flat = torch.tensor([0.0, 0.0, 1.0]).view(1, 1, 3, 1, 1).expand(one["normal"].shape)
    tilted = torch.tensor([math.sin(turn), 0.0, math.cos(turn)]).view(1, 1, 3, 1, 1).expand(one["normal"].shape)
    one["normal"], other["normal"] = flat, tilted
    other["roughness"] = one["roughness"] + 0.25
    other["depth"] = 0.5 * one["depth"] + 0.1  # the same depth: scale and shift mean nothing
    other["basecolor"] = 0.4 * one["basecolor"]  # the same, under more light
    other["metallic"] = torch.where(torch.arange(16) < 8, one["metallic"], one["metallic"] + 0.5)
    found = disagreement(one, other, WHOLE)
    assert found["normal"] == pytest.approx(10, abs=0.01)
    assert found["roughness"] == pytest.approx(0.25, abs=1e-5)
    assert found["depth"] == pytest.approx(0, abs=1e-4)
    assert found["basecolor"] == pytest.approx(0, abs=1e-4)
    other["basecolor"] = one["basecolor"].flip(-1)
    assert disagreement(one, other, WHOLE)["basecolor"] > 0.2
    assert found["metallic"] == pytest.approx(0.5 / 2**0.5, abs=1e-5)
    left_half = (torch.arange(16) < 8).float().expand(SHAPE)
    assert disagreement(one, other, left_half)["metallic"] == pytest.approx(0, abs=1e-6)


def test_a_picture_made_from_its_labels_has_no_render_error_and_worse_labels_have_more() -> None:
    true, rays = labels(), camera_rays(12, 16, fov_degrees=45.0)
    light = torch.rand((1, 2, 3, 16, 32), generator=torch.Generator().manual_seed(5))
    video = srgb_encode(split_sum({**true, "mask": WHOLE}, light, rays).radiance).clamp(0, 1)
    errors = [
        render_error({**true, "basecolor": (true["basecolor"] * gain).clamp(0, 1)}, WHOLE, light, rays, video)
        for gain in (1.0, 0.8, 0.5)
    ]
    assert errors[0] == pytest.approx(0, abs=1e-4)
    assert errors[0] < errors[1] < errors[2]


@pytest.mark.parametrize("name", [*EVIDENCE, confidence.RENDER])
def test_confidence_falls_when_any_evidence_rises(name: str) -> None:
    before = scores(dict.fromkeys([*EVIDENCE, confidence.RENDER], 0.05))
    after = scores(dict.fromkeys([*EVIDENCE, confidence.RENDER], 0.05) | {name: 0.5})
    concerned = set(GBUFFERS) if name == confidence.RENDER else {name.rpartition(".")[2]}
    for known in CALIBRATION:
        assert 0 < after[known] <= before[known] < 1
        assert (after[known] < before[known]) == (known in concerned)


@pytest.mark.parametrize("name", EVIDENCE)
def test_a_piece_of_evidence_alone_is_what_is_expected(name: str) -> None:
    attribute = name.rpartition(".")[2]
    found = scores({name: 0.5})
    assert found.pop(attribute) == pytest.approx(math.exp(-0.5 / CALIBRATION[attribute].unit))
    assert set(found.values()) == {1.0}


def test_the_contrast_of_a_light_is_that_of_the_sphere_not_of_the_picture() -> None:
    light = np.zeros((32, 64, 3), dtype=np.float32)
    assert confidence.contrast(light + 2.5) == pytest.approx(0, abs=1e-6)
    light[:16] = 10_000  # E_log is 1 in one half of the sphere, 0 in the other
    assert confidence.contrast(light) == pytest.approx(0.5, abs=1e-6)
    pole, equator = np.zeros_like(light), np.zeros_like(light)
    pole[:2], equator[15:17] = 10_000, 10_000  # as many pixels, a twentieth of the solid angle
    assert confidence.contrast(pole) < 0.35 * confidence.contrast(equator)


def test_confidence_is_one_without_evidence_and_near_zero_when_all_is_wrong() -> None:
    assert scores({}) == dict.fromkeys(CALIBRATION, 1.0)
    worst = scores({name: 90.0 if name.endswith("normal") else 1.0 for name in (*EVIDENCE, confidence.RENDER)})
    assert max(worst.values()) < 0.05
    assert overall(dict.fromkeys(GBUFFERS, 0.5) | {"environment": 0.0}) == 0.5


def test_mirroring_twice_changes_nothing_and_once_turns_normals() -> None:
    plain = labels()
    once = mirrored(plain)
    assert torch.equal(once["depth"], plain["depth"].flip(-1))
    assert torch.equal(once["normal"][:, :, 0], -plain["normal"][:, :, 0].flip(-1))
    assert torch.equal(once["normal"][:, :, 1:], plain["normal"][:, :, 1:].flip(-1))
    assert all(torch.equal(value, plain[name]) for name, value in mirrored(once).items())
