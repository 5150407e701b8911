from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from manifests.contract.attributes import GBUFFERS
from manifests.errors import InputError, TrainingError
from renderers import load, modelspace
from renderers.inverse import InverseRenderer
from renderers.light.panoramas import encode_ldr
from renderers.svd import lora
from tests.renderers.narrow import WIDTHS, narrow_checkpoint
from tests.training.sets import make_set
from training.config import TrainConfig, load_config, make_config
from training.data.augment import Augmentation
from training.data.batch import Batch
from training.data.clip_sources import open_source
from training.data.loader import Loader, LoaderOptions
from training.objectives import losses
from training.objectives.environment_autoencoder import EnvironmentObjective, light_networks
from training.objectives.forward_rendering import ForwardObjective
from training.objectives.inverse_rendering import InverseObjective
from training.objectives.label_error_training import JudgeObjective
from training.objectives.light_estimation import LightingObjective
from training.objectives.objective import Losses, Objective
from training.objectives.starting_networks import make_networks

torch.set_num_threads(1)
SMALL = {"widths": [16, 16, 16, 64], "depths": [1, 1, 1, 1], "embedding": 16}


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory) -> Batch:
    """Two clips of 2 frames of 64x64, whose light is a 64x64 panorama: what narrow svd networks take."""
    path = tmp_path_factory.mktemp("objectives")
    source = open_source(make_set(path / "set", size=64), path, 1)
    options = LoaderOptions(Augmentation(2, mirror=False), batch=2, panorama=(64, 64), background=True)
    with Loader(source, options) as loader:
        return next(loader).to("cpu")


def _tiny(task: str, **changes: Any) -> TrainConfig:
    return load_config("tiny", task, {"network": SMALL, **changes})  # type: ignore[arg-type]


def _svd(tmp_path: Path, task: str, sampler: str = "diffusion", *, joint: bool = False, **changes: Any) -> TrainConfig:
    start = narrow_checkpoint(tmp_path / f"narrow-{task}", task, joint=joint, with_lora=False)  # type: ignore[arg-type]
    plain = {"name": "narrow", "backbone": "svd", "start": str(start), "sampler": sampler, "prediction": "v"}
    return make_config({**plain, "data": {"panorama": [64, 64]}, **changes})


def _gradients(objective: Objective, batch: Batch) -> tuple[Losses, float]:
    found = objective.losses(objective.network, batch)
    found.total.mean().backward()
    norms = [p.grad.norm() for p in objective.network.parameters() if p.grad is not None]
    return found, float(torch.stack(norms).norm())


def test_pixel_losses_are_zero_on_the_truth_and_right_by_hand() -> None:
    generator = torch.Generator().manual_seed(0)
    true = torch.nn.functional.normalize(torch.randn(2, 3, 3, 8, 8, generator=generator), dim=2)
    weight = torch.ones(2, 3, 1, 8, 8)
    for name, loss in losses.LOSSES.items():
        assert loss(true, true, weight).abs().max() < 3e-3, name
    turned = true[:, :, [1, 2, 0]]
    degrees = torch.rad2deg(torch.acos((turned * true).sum(2).clamp(-1, 1))).mean(dim=(1, 2, 3))
    torch.testing.assert_close(torch.rad2deg(losses.angle(turned, true, weight)), degrees, rtol=1e-3, atol=0.1)
    torch.testing.assert_close(losses.l1(true + 0.25, true, weight), torch.full((2,), 0.25))
    torch.testing.assert_close(losses.mse(true - 0.5, true, weight), torch.full((2,), 0.25))
    assert losses.edges(true + 0.7, true, weight).max() < 1e-6
    metal, none = torch.ones_like(weight), -torch.ones_like(weight)
    torch.testing.assert_close(losses.rare(metal - 0.4, metal, weight), torch.full((2,), 0.1))
    torch.testing.assert_close(losses.rare(none + 0.4, none, weight), torch.full((2,), 0.4))
    depth = true[:, :, :1]
    torch.testing.assert_close(losses.aligned(0.3 * depth - 0.4, depth, weight), torch.zeros(2), rtol=0, atol=1e-4)


def test_pixels_without_weight_do_not_count() -> None:
    true, predicted = torch.zeros(1, 1, 1, 4, 4), torch.zeros(1, 1, 1, 4, 4)
    predicted[..., :2] = 9.0
    weight = torch.ones_like(true)
    weight[..., :2] = 0
    for name in ("l1", "mse"):
        assert losses.LOSSES[name](predicted, true, weight) == 0


def test_tiny_objectives_give_a_loss_a_clip_gradients_and_pictures(batch: Batch) -> None:
    changes = {"data": {"panorama": [32, 64]}}
    lit = dataclasses.replace(
        batch, panorama=torch.nn.functional.interpolate(batch.panorama.flatten(0, 1), (32, 64)).unflatten(0, (2, 2))
    )  # type: ignore[union-attr]
    made: list[Objective] = [
        InverseObjective(_tiny("inverse"), make_networks(_tiny("inverse"), "inverse")),
        ForwardObjective(_tiny("forward"), make_networks(_tiny("forward"), "forward")),
        LightingObjective(_tiny("lighting", **changes), make_networks(_tiny("lighting", **changes), "lighting")),
    ]
    for objective in made:
        found, norm = _gradients(objective, lit)
        assert found.total.shape == (2,) and torch.isfinite(found.total).all() and norm > 0
        assert set(found.parts) == set(objective.weights)
        weighed = sum(objective.weights[name] * value for name, value in found.parts.items())
        torch.testing.assert_close(weighed, found.total.detach())
        with torch.no_grad():
            (picture,) = objective.pictures(lit).values()
        assert picture.shape[0] == 3 and picture.min() >= 0 and picture.max() <= 1


def test_the_picture_of_what_is_predicted_tells_base_colours_that_are_too_dark(batch: Batch, tmp_path: Path) -> None:
    config = _tiny("forward")
    ForwardObjective(config, make_networks(config, "forward")).save(tmp_path / "forward", {})
    config = _tiny("inverse", rerender=str(tmp_path / "forward"))
    objective = InverseObjective(config, make_networks(config, "inverse"))

    def shown(gain: float | torch.Tensor) -> torch.Tensor:
        values = {**batch.gbuffers, "basecolor": batch.gbuffers["basecolor"] * gain}
        return objective._rerendered({name: modelspace.to_model(name, value) for name, value in values.items()}, batch)

    for gain in (0.5, 0.8):
        factor = torch.tensor(gain, requires_grad=True)
        loss = losses.l1(shown(factor), shown(1.0), batch.mask).mean()
        (slope,) = torch.autograd.grad(loss, factor)
        step = losses.l1(shown(gain + 0.01), shown(1.0), batch.mask).mean() - loss
        assert loss > 0.01 and slope.item() == pytest.approx(step.item() / 0.01, rel=0.1) and slope < 0
    assert objective.needs.panorama and objective.needs.background
    frozen = [parameter.clone() for parameter in objective.networks.forward.parameters()]  # type: ignore[union-attr]
    found, norm = _gradients(objective, batch)
    assert norm > 0 and "rgb.l1" in found.parts and "basecolor.l1" in found.parts
    assert all(parameter.grad is None for parameter in objective.networks.forward.parameters())  # type: ignore[union-attr]
    assert all(map(torch.equal, frozen, objective.networks.forward.parameters()))  # type: ignore[union-attr]
    pictures_alone = objective.losses(objective.network, dataclasses.replace(batch, panorama=None))
    assert "rgb.l1" not in pictures_alone.parts, "single images have no light"


def test_the_network_of_photographs_sees_its_picture_again(batch: Batch, tmp_path: Path) -> None:
    config = _tiny("forward")
    ForwardObjective(config, make_networks(config, "forward")).save(tmp_path / "forward", {})
    network = {"widths": [32, 32, 16, 16, 16, 16], "embedding": 16}
    config = load_config(
        "photo", "inverse", {"network": network, "photographs": None, "rerender": str(tmp_path / "forward")}
    )
    objective = InverseObjective(config, make_networks(config, "inverse"))
    true = objective._true(batch)
    again = objective._rerendered(true, batch)
    plain = InverseObjective(
        tiny := _tiny("inverse", rerender=str(tmp_path / "forward")), make_networks(tiny, "inverse")
    )
    expected = plain._rerendered(plain._true(batch), batch)
    surface = (batch.mask > 0.99).expand_as(again)
    assert float((again - expected)[surface].abs().mean()) < 0.02, "inverse depth has become depth again"
    found, norm = _gradients(objective, batch)
    assert norm > 0 and "rgb.l1" in found.parts


def test_a_forward_renderer_learns_from_estimates_too(batch: Batch, tmp_path: Path) -> None:
    config = _tiny("inverse")
    InverseObjective(config, make_networks(config, "inverse")).save(tmp_path / "inverse", {})
    shares = {}
    for share in (0.0, 1.0):
        config = _tiny("forward", estimates=str(tmp_path / "inverse"), data={"estimated": share})
        objective = ForwardObjective(config, make_networks(config, "forward"))
        shares[share] = objective._surfaces(batch)[0]
        assert _gradients(objective, batch)[1] > 0
    said = InverseRenderer.from_pretrained(tmp_path / "inverse")
    for clip in range(batch.size):
        shown = modelspace.display(batch.rgb[clip]).permute(0, 2, 3, 1).contiguous().numpy()
        for name, value in said(shown, output_type="pt").gbuffers.items():
            torch.testing.assert_close(shares[1.0][name][clip], value)
            assert torch.equal(shares[0.0][name][clip], batch.gbuffers[name][clip])


def test_what_cannot_be_rendered_again_is_refused(tmp_path: Path) -> None:
    config = _tiny("forward")
    ForwardObjective(config, make_networks(config, "forward")).save(tmp_path / "forward", {})
    config = _tiny("inverse")
    InverseObjective(config, make_networks(config, "inverse")).save(tmp_path / "inverse", {})
    wrong = _tiny("inverse", rerender=str(tmp_path / "inverse"))
    with pytest.raises(InputError, match=r"tiny: rerender: .* no forward renderer"):
        make_networks(wrong, "inverse")
    config = _tiny("inverse", rerender=str(tmp_path / "forward"), network={**SMALL, "joint": False})
    with pytest.raises(InputError, match="tiny: rerender: needs a network that predicts all"):
        InverseObjective(config, make_networks(config, "inverse"))


def test_a_clip_s_loss_does_not_depend_on_its_company(batch: Batch) -> None:
    objective = InverseObjective(_tiny("inverse"), make_networks(_tiny("inverse"), "inverse"))
    with torch.no_grad():
        together = objective.losses(objective.network, batch).total
        alone = objective.losses(objective.network, batch.first(1)).total
    torch.testing.assert_close(together[:1], alone, rtol=1e-4, atol=1e-5)


def test_one_attribute_a_pass_is_trained_clip_by_clip(batch: Batch) -> None:
    config = _tiny("inverse", network={**SMALL, "joint": False})
    objective = InverseObjective(config, make_networks(config, "inverse"))
    assert not objective.joint
    found, norm = _gradients(objective, batch)
    assert found.total.shape == (2,) and norm > 0
    assert sum(len(value) for value in found.parts.values()) == 2, "each clip has the loss of its own attribute"


@pytest.mark.parametrize("joint", [False, True])
def test_svd_inverse_denoises_and_fine_tunes_in_one_step(tmp_path: Path, batch: Batch, joint: bool) -> None:
    config = _svd(tmp_path, "inverse", joint=joint)
    objective = InverseObjective(config, make_networks(config, "inverse"))
    again = [objective.losses(objective.network, batch).total for _ in range(2)]
    torch.testing.assert_close(again[0], again[1], rtol=0, atol=0)
    assert _gradients(objective, batch)[1] > 0
    fits = {f"{name}.l1": 1.0 for name in GBUFFERS} | {"normal.cosine": 1.0, "depth.aligned": 1.0}
    one_step = InverseObjective(
        msgspec.structs.replace(config, sampler="one-step", losses=fits), make_networks(config, "inverse")
    )
    found, norm = _gradients(one_step, batch)
    assert torch.isfinite(found.total).all() and norm > 0
    assert all(p.grad is None for p in one_step.networks.vae.parameters()), "the autoencoder is frozen"  # type: ignore[union-attr]


def test_svd_lighting_denoises_the_light_of_every_frame(tmp_path: Path, batch: Batch) -> None:
    config = _svd(tmp_path, "lighting")
    objective = LightingObjective(config, make_networks(config, "lighting"))
    found, norm = _gradients(objective, batch)
    assert found.total.shape == (2,) and norm > 0
    ldr, _ = objective._true(batch, 2)
    torch.testing.assert_close(ldr[:, 0], encode_ldr(batch.panorama[:, 0]), rtol=0, atol=1e-3)  # type: ignore[index]


def test_cotraining_shows_the_lora_real_clips_only(tmp_path: Path, batch: Batch) -> None:
    config = _svd(tmp_path, "forward", lora={"rank": 2})
    objective = ForwardObjective(config, make_networks(config, "forward"), cotrain=True)
    unet: Any = objective.network
    adapter = lora.lora_parameters(unet)
    base = [p for name, p in unet.named_parameters() if ".lora_" not in name]
    assert objective.streams == ("main", "real") and adapter
    with torch.no_grad():
        for parameter in adapter:
            parameter.add_(0.1)
    rendered = objective.losses(unet, batch)
    rendered.total.mean().backward()
    assert all(p.grad is None or p.grad.abs().max() == 0 for p in adapter)
    assert any(p.grad is not None and p.grad.abs().max() > 0 for p in base)
    unet.zero_grad()
    footage = dataclasses.replace(batch, real=torch.ones(2, dtype=torch.bool))
    believed = objective.losses(unet, footage)
    believed.total.mean().backward()
    assert any(p.grad is not None and p.grad.abs().max() > 0 for p in adapter)
    assert not torch.equal(believed.total, rendered.total)
    doubted = dataclasses.replace(footage, confidence={name: 0.5 * value for name, value in footage.confidence.items()})
    torch.testing.assert_close(objective.losses(unet, doubted).total, 0.5 * believed.total)
    mixed = dataclasses.replace(batch, real=torch.tensor([True, False]))
    with pytest.raises(TrainingError, match="mixes rendered clips and footage"):
        objective.losses(unet, mixed)
    objective.save(tmp_path / "saved", {"task": "forward"})
    loaded: Any = load(tmp_path / "saved")
    assert lora.has_lora(loaded.unet) and loaded.config.training["task"] == "forward"


def test_dropped_conditions_are_zero(tmp_path: Path, batch: Batch) -> None:
    config = _svd(tmp_path, "forward")
    objective = ForwardObjective(config, make_networks(config, "forward"))
    dropped = dataclasses.replace(batch, unconditional=torch.tensor([True, False]))
    condition, light = objective._inputs(dropped)
    kept, lit = objective._inputs(batch)
    for part, whole in zip((condition, *light), (kept, *lit), strict=True):
        assert part[0].abs().max() == 0
        torch.testing.assert_close(part[1], whole[1])


def test_the_environment_encoder_trains_and_starts_a_forward_renderer(tmp_path: Path, batch: Batch) -> None:
    start = narrow_checkpoint(tmp_path / "base", "forward", with_lora=False)
    network = {"block_out_channels": list(WIDTHS), "layers_per_block": 1}
    config = make_config({"name": "light", "backbone": "svd", "start": str(start), "network": network})
    objective = EnvironmentObjective(config, light_networks(config))
    found, norm = _gradients(objective, batch)
    assert found.total.shape == (2,) and norm > 0
    objective.save(tmp_path / "encoder", {})
    plain = {"name": "forward", "backbone": "svd", "start": str(start), "encoder": str(tmp_path / "encoder")}
    forward = make_config({**plain, "sampler": "diffusion", "prediction": "v"})
    networks = make_networks(forward, "forward")
    trained = objective.network.env_encoder.state_dict()  # type: ignore[union-attr,operator]
    assert all(torch.equal(value, trained[name]) for name, value in networks.env_encoder.state_dict().items())  # type: ignore[union-attr]


def test_presets_that_ask_for_unknown_losses_are_refused() -> None:
    for wrong in ({"normals.l1": 1}, {"normal.psnr": 1}, {}):
        config = msgspec.structs.replace(_tiny("inverse"), losses=wrong)
        with pytest.raises(InputError, match="tiny: losses"):
            InverseObjective(config, make_networks(config, "inverse"))
    narrow = {"block_out_channels": list(WIDTHS), "num_attention_heads": 1}
    bare = make_config({"name": "bare", "backbone": "svd", "network": narrow})
    with pytest.raises(InputError, match="needs a vae"):
        make_networks(bare, "inverse")


def test_a_judge_learns_how_wrong_its_renderer_is_and_leaves_it_as_it_was(batch: Batch, tmp_path: Path) -> None:
    InverseObjective(_tiny("inverse"), make_networks(_tiny("inverse"), "inverse")).save(
        tmp_path / "inverse", {"step": 1}
    )
    config = load_config("tiny", "judge", {"start": str(tmp_path / "inverse")})
    objective = JudgeObjective.of(config)
    before = {name: value.clone() for name, value in objective.renderer.unet.state_dict().items()}
    optimizer = torch.optim.Adam(objective.network.parameters(), lr=1e-2)
    distances = []
    for _ in range(30):
        loss = objective.losses(objective.network.eval(), batch).total.mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        distances.append(float(loss.detach()))
    assert distances[-1] < 0.2 * distances[0]
    objective.save(tmp_path / "judged", {"task": "judge"})
    made = InverseRenderer.from_pretrained(tmp_path / "judged")
    assert made.judge is not None and made.config["training"] == {"step": 1, "judge": {"task": "judge"}}
    assert all(torch.equal(value, before[name]) for name, value in made.unet.state_dict().items())


def test_a_judge_needs_its_renderer() -> None:
    with pytest.raises(InputError, match="start: a judge is trained for an inverse renderer"):
        JudgeObjective.of(load_config("tiny", "judge"))
