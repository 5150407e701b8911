"""The cosmos transformers are the published ones: names, shapes, numbers; whoever steps into a known trap, sees it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl_cosmos import AutoencoderKLCosmos
from torch import Tensor

from manifests.errors import InputError
from renderers.cosmos.cosmos_autoencoder import CosmosAutoencoder
from renderers.cosmos.cosmos_transformer import (
    CosmosForwardTransformer,
    CosmosInverseTransformer,
    SincosPositions,
    folded,
)
from renderers.cosmos.published_weights import renamed
from renderers.svd import lora
from tests.renderers import cosmos_reference
from tests.renderers.narrow_cosmos import HEADS, NETWORK, as_published, narrow_cosmos

torch.set_num_threads(1)
DATA = Path(__file__).parent / "data" / "cosmos_published.txt"
CLASSES: dict[str, Any] = {"inverse": CosmosInverseTransformer, "forward": CosmosForwardTransformer}
COUNTS = {"inverse": (568, 7_234_963_456, 572, 7_234_963_968), "forward": (567, 7_236_913_152, 571, 7_236_913_664)}
ROW, TIME = 3, 0.37


def seeded(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def published(kind: str) -> dict[str, tuple[int, ...]]:
    """Every tensor of a published file with its shape."""
    column, found = list(CLASSES).index(kind), {}
    for line in DATA.read_text().splitlines()[1:]:
        name, _, shapes = line.partition("\t")
        options = shapes.split(" | ")
        shape = options[min(column, len(options) - 1)]
        if shape != "-":
            for block in range(28 if "*" in name else 1):
                found[name.replace("*", str(block))] = tuple(map(int, shape.split()))
    return found


@pytest.mark.parametrize("kind", CLASSES)
def test_network_has_exactly_the_published_tensors(kind: str) -> None:
    tensors, elements, file_tensors, file_elements = COUNTS[kind]
    file = {name: torch.empty(shape, device="meta") for name, shape in published(kind).items()}
    assert (len(file), sum(tensor.numel() for tensor in file.values())) == (file_tensors, file_elements)
    file["net.blocks.block0.blocks.0.block.attn.to_q.0._extra_state"] = torch.empty(0, device="meta")
    ours = {name: tensor.shape for name, tensor in renamed(file, DATA).items()}
    with torch.device("meta"):
        network = CLASSES[kind]()
    state = network.state_dict()
    assert ours == {name: tensor.shape for name, tensor in state.items()}
    assert (len(state), sum(tensor.numel() for tensor in state.values())) == (tensors, elements)


def test_the_autoencoder_has_exactly_the_published_tensors() -> None:
    with torch.device("meta"):
        vae, published_class = CosmosAutoencoder(), AutoencoderKLCosmos()
    state = vae.state_dict()
    shapes = {name: tensor.shape for name, tensor in published_class.state_dict().items()}
    assert {name: tensor.shape for name, tensor in state.items()} == shapes
    assert (len(state), sum(tensor.numel() for tensor in state.values())) == (310, 105_653_696)
    halves = [sum(tensor.numel() for tensor in part.parameters()) / 1e6 for part in (vae.encoder, vae.decoder)]
    assert [round(half, 1) for half in halves] == [42.9, 62.7]


def test_a_folded_network_lacks_what_is_constant() -> None:
    counts = {}
    for kind, network in CLASSES.items():
        with torch.device("meta"):
            counts[kind] = sum(tensor.numel() for tensor in network(folded=True).parameters())
    assert COUNTS["forward"][1] - counts["forward"] == 1_291_852_800
    assert 0.82 < counts["inverse"] / COUNTS["inverse"][1] < 0.84


def test_position_channels_are_shared_out_as_in_the_published_networks() -> None:
    assert SincosPositions(4096).widths == (1368, 1364, 1364)
    with torch.device("meta"):
        rope = CosmosForwardTransformer(num_layers=1).rope
    assert (rope.dim_t, rope.dim_h, rope.dim_w) == (44, 42, 42)
    assert (rope.t_ntk_factor, rope.h_ntk_factor, rope.w_ntk_factor) == (1.0, 1.0, 1.0)


def inputs(kind: str, frames: int, absent: tuple[int, ...] = ()) -> tuple[Tensor, Tensor]:
    """Noisy latents (1, T, 16, 4, 6), conditions."""
    if kind == "inverse":
        return seeded(1, frames, 16, 4, 6), seeded(1, frames, 16, 4, 6, seed=1)
    condition = seeded(1, frames, 136, 4, 6, seed=1)
    for index in range(8):
        condition[:, :, 17 * index + 16] = 1.0
        if index in absent:
            condition[:, :, 17 * index : 17 * index + 17] = 0.0
    return seeded(1, frames, 16, 4, 6), condition


def expected(kind: str, network: Any, noisy: Tensor, condition: Tensor, time: float = TIME) -> Tensor:
    """What the published formulas give: (1, T, 16, h, w)."""
    table = network.context_embedding.weight if kind == "inverse" else torch.zeros(16, NETWORK["text_embed_dim"])
    context = table[ROW].expand(512, -1).detach()
    planar = [part[0].transpose(0, 1) for part in (noisy, condition)]
    output = cosmos_reference.transformer(as_published(network), *planar, time, context, HEADS)
    return output.transpose(0, 1)[None].to(noisy)


def ours(kind: str, network: Any, noisy: Tensor, condition: Tensor, time: float = TIME) -> Tensor:
    rows = (torch.tensor([ROW]),) if kind == "inverse" else ()
    return network(torch.cat([noisy, condition], dim=2), time, *rows)


CASES = [("inverse", 1, ()), ("inverse", 2, ()), ("inverse", 3, ()), ("forward", 1, ()), ("forward", 2, ())]
CASES += [("forward", 1, (0, 4)), ("forward", 2, (1, 5, 6, 7))]


@torch.no_grad()
@pytest.mark.parametrize(("kind", "frames", "absent"), CASES)
def test_networks_equal_the_published_formulas(kind: str, frames: int, absent: tuple[int, ...]) -> None:
    """9 pictures are 2 latent frames; whole and folded networks alike."""
    network = narrow_cosmos(kind).double()  # of outputs around 3, float32 itself loses 1e-5
    noisy, condition = (part.double() for part in inputs(kind, frames, absent))
    wanted = expected(kind, network, noisy, condition)
    assert wanted.std() > 0.1
    for one in (network, folded(network)):
        torch.testing.assert_close(ours(kind, one, noisy, condition), wanted, atol=1e-5, rtol=0)


def _normalised(network: Any) -> None:
    module = network.learnable_pos_embed
    module.register_forward_hook(lambda _m, _i, out: out / out.square().mean(dim=-1, keepdim=True).sqrt())


TRAPS: dict[str, Callable[[Any], None]] = {
    "time ratio of Text2World": lambda net: setattr(net.rope, "t_ntk_factor", 2.0 ** (8 / 6)),
    "no position embedding": lambda net: net.learnable_pos_embed.register_forward_hook(lambda _m, _i, out: 0 * out),
    "normalised position embedding": _normalised,
    "padding mask of ones": lambda net: net.patch_embed.register_forward_pre_hook(
        lambda _m, args: (torch.cat([args[0][:, :-1], torch.ones_like(args[0][:, -1:])], dim=1),)
    ),
    "frames counted at another rate": lambda net: setattr(net.rope, "base_fps", 30),
    "sines before cosines": lambda net: setattr(net.time_embed.time_proj, "flip_sin_to_cos", False),
}


@torch.no_grad()
@pytest.mark.parametrize("trap", TRAPS)
@pytest.mark.parametrize("kind", CLASSES)
def test_a_network_in_a_trap_does_not_equal_them(kind: str, trap: str) -> None:
    network = narrow_cosmos(kind)
    noisy, condition = inputs(kind, 2)
    TRAPS[trap](network)
    assert (ours(kind, network, noisy, condition) - expected(kind, network, noisy, condition)).abs().max() > 1e-3


@torch.no_grad()
def test_inputs_in_a_trap_do_not_give_them() -> None:
    """c_in on the condition, sigma for a time, G-buffers in the order of the svd backbone, a context row of another."""
    network = narrow_cosmos("forward")
    noisy, condition = inputs("forward", 2)
    wanted = expected("forward", network, noisy, condition)
    parts = condition.split(17, dim=2)
    other_order = torch.cat([parts[index] for index in (0, 1, 4, 3, 2, 5, 6, 7)], dim=2)
    for changed in (0.5 * condition, other_order):
        assert (ours("forward", network, noisy, changed) - wanted).abs().max() > 1e-3
    sigma = float(torch.tensor(4 * TIME).exp())
    assert (ours("forward", network, noisy, condition, sigma) - wanted).abs().max() > 1e-3
    inverse = narrow_cosmos("inverse")
    sample = torch.cat(inputs("inverse", 2), dim=2)
    rows = [inverse(sample, TIME, torch.tensor([row])) for row in range(5)]
    assert min((a - b).abs().max() for index, a in enumerate(rows) for b in rows[:index]) > 1e-3


@torch.no_grad()
def test_clips_of_a_batch_do_not_mix() -> None:
    network = folded(narrow_cosmos("inverse"))
    sample = seeded(3, 2, 32, 4, 6)
    together = network(sample, torch.tensor([0.3, 0.3, 0.9]), torch.tensor([2, 3, 3]))
    for index, (time, row) in enumerate([(0.3, 2), (0.3, 3), (0.9, 3)]):
        alone = network(sample[index : index + 1], time, torch.tensor([row]))
        torch.testing.assert_close(together[index], alone[0], atol=2e-5, rtol=0)


@pytest.mark.parametrize("whole", [True, False])
def test_recomputed_activations_give_the_same_gradients(whole: bool) -> None:
    network = narrow_cosmos("inverse") if whole else folded(narrow_cosmos("inverse"))
    lora.add_lora(network.requires_grad_(False), 2, generator=torch.Generator().manual_seed(0))
    sample, gradients = seeded(1, 2, 32, 4, 6), []
    for parameter in lora.lora_parameters(network):
        torch.nn.init.normal_(parameter, std=0.1, generator=torch.Generator().manual_seed(1))
    for recompute in (False, True):
        (network.enable_gradient_checkpointing if recompute else network.disable_gradient_checkpointing)()
        network.train().zero_grad()
        with lora.lora_scale(network, 0.5):
            loss = network(sample, 0.3, torch.tensor([1])).square().mean()
        loss.backward()
        gradients.append([parameter.grad.clone() for parameter in lora.lora_parameters(network)])
    assert len(gradients[0]) > 10
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-4)
    assert not any(parameter.grad is not None for name, parameter in network.named_parameters() if "lora" not in name)


def test_wrong_shapes_are_one_clear_error() -> None:
    inverse, forward = narrow_cosmos("inverse"), narrow_cosmos("forward")
    with pytest.raises(InputError, match=r"expected \(B, T, 152, h, w\)"):
        forward(seeded(1, 2, 32, 4, 6), 0.3)
    with pytest.raises(InputError, match="one row per clip"):
        inverse(seeded(1, 2, 32, 4, 6), 0.3, torch.tensor([0, 1]))
    with pytest.raises(InputError, match="cut larger videos into tiles"):
        inverse(seeded(1, 1, 32, 2, 242), 0.3, torch.tensor([0]))
    with pytest.raises(InputError, match="sides are even"):
        inverse(seeded(1, 1, 32, 3, 4), 0.3, torch.tensor([0]))
