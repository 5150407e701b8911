"""How the svd networks are fed: what reaches which level, what order, what is equal to Stable Video Diffusion's own."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import UNetSpatioTemporalConditionModel
from torch import Tensor, nn

from manifests.errors import InputError
from renderers import modelspace
from renderers.backbone import RenderInputs
from renderers.backbones import JOINT_ROW, SvdBackbone, attribute_rows
from renderers.light import panoramas
from renderers.modelspace import LatentSpace
from renderers.svd.environment_encoder import EnvironmentEncoder, as_tokens, reconstruction_loss
from renderers.svd.unet import ADDED_TIME_IDS, ForwardUNet, InverseUNet
from tests.renderers import narrow

torch.set_num_threads(1)


def seeded(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def light_of(batch: int, frames: int, size: int = 8, seed: int = 9) -> list[Tensor]:
    sides = [size // 2**level for level in range(4)]
    return [
        seeded(batch * frames, side * side, width, seed=seed + level)
        for level, (side, width) in enumerate(zip(sides, narrow.WIDTHS, strict=True))
    ]


@pytest.fixture(scope="module")
def inverse() -> InverseUNet:
    return narrow.narrow_inverse()


@pytest.fixture(scope="module")
def forward() -> ForwardUNet:
    return narrow.narrow_forward()


def svd_like(unet: nn.Module, **config: Any) -> UNetSpatioTemporalConditionModel:
    """diffusers' own network with the weights of ours."""
    twin = UNetSpatioTemporalConditionModel(**narrow.UNET, **config).eval()
    weights = {name: tensor for name, tensor in unet.state_dict().items() if not name.startswith("context_embedding")}
    twin.load_state_dict(weights)
    return twin


@torch.no_grad()
def test_inverse_unet_equals_svds_own_with_the_same_weights(inverse: InverseUNet) -> None:
    twin = svd_like(inverse, in_channels=8, out_channels=4, cross_attention_dim=64)
    sample, rows = seeded(2, 3, 8, 8, 8), torch.tensor([0, 4])
    token = inverse.context_embedding.weight[rows].unsqueeze(1)
    ids = torch.tensor([ADDED_TIME_IDS]).expand(2, -1)
    expected = twin(sample, 0.7, token, ids).sample
    assert expected.std() > 0.1
    torch.testing.assert_close(inverse(sample, 0.7, rows), expected, atol=1e-5, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("size", [(8, 8), (5, 7)])
def test_forward_unet_equals_diffusers_blocks_where_all_levels_see_the_same(size: tuple[int, int]) -> None:
    """With one width everywhere diffusers' class is the same network, less its temporal cross-attention."""
    config = narrow.UNET | {"block_out_channels": (64,) * 4, "num_attention_heads": 2}
    ours = narrow.randomize(ForwardUNet(in_channels=24, **config), 3)
    twin = UNetSpatioTemporalConditionModel(in_channels=24, cross_attention_dim=64, **config).eval()
    for module in twin.modules():
        for block in getattr(module, "temporal_transformer_blocks", ()):
            block.norm2, block.attn2 = None, None
    twin.load_state_dict(ours.state_dict())
    sample, tokens = seeded(2, 3, 24, *size), seeded(2, 5, 64, seed=1)
    expected = twin(sample, 0.7, tokens, torch.tensor([ADDED_TIME_IDS]).expand(2, -1)).sample
    actual = ours(sample, 0.7, [tokens.repeat_interleave(3, dim=0)] * 4)
    assert expected.std() > 0.1
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=0)


def cross_attention_inputs(unet: ForwardUNet) -> tuple[dict[str, Tensor], list[Any]]:
    """What each cross-attention gets as keys and values, by the block it stands in, recorded while hooks stay."""
    seen: dict[str, Tensor] = {}
    hooks = []
    for name, module in unet.named_modules():
        if name.endswith(".transformer_blocks.0.attn2"):
            block = ".".join(name.split(".")[: 1 if name.startswith("mid") else 2])

            def keep(_module: nn.Module, _args: Any, kwargs: dict[str, Any], block: str = block) -> None:
                seen[block] = kwargs["encoder_hidden_states"]

            hooks.append(module.register_forward_pre_hook(keep, with_kwargs=True))
    return seen, hooks


LEVEL_OF = {
    "down_blocks.0": 0,
    "down_blocks.1": 1,
    "down_blocks.2": 2,
    "mid_block": 3,
    "up_blocks.1": 2,
    "up_blocks.2": 1,
    "up_blocks.3": 0,
}


@torch.no_grad()
def test_each_level_attends_to_the_light_of_its_own_level(forward: ForwardUNet) -> None:
    light = light_of(1, 2)
    seen, hooks = cross_attention_inputs(forward)
    forward(seeded(1, 2, 24, 8, 8), 0.3, light)
    for hook in hooks:
        hook.remove()
    assert {block: [torch.equal(tokens, level) for level in light].index(True) for block, tokens in seen.items()} == (
        LEVEL_OF
    )


@torch.no_grad()
@pytest.mark.parametrize("changed", range(4))
def test_changing_one_levels_light_changes_attention_at_that_level_only(forward: ForwardUNet, changed: int) -> None:
    first = light_of(1, 2)
    second = [level + (index == changed) for index, level in enumerate(first)]
    sample, inputs, outputs = seeded(1, 2, 24, 8, 8), [], []
    for light in (first, second):
        seen, hooks = cross_attention_inputs(forward)
        outputs.append(forward(sample, 0.3, light))
        inputs.append(seen)
        for hook in hooks:
            hook.remove()
    differing = {block for block in LEVEL_OF if not torch.equal(inputs[0][block], inputs[1][block])}
    assert differing == {block for block, level in LEVEL_OF.items() if level == changed}
    assert (outputs[0] - outputs[1]).abs().max() > 1e-3  # and it matters


@torch.no_grad()
def test_a_frames_light_reaches_only_that_frame_through_cross_attention(forward: ForwardUNet) -> None:
    """Frames exchange information over time, but keys and values of frame t are those of frame t."""
    light = light_of(2, 3)
    seen, hooks = cross_attention_inputs(forward)
    forward(seeded(2, 3, 24, 8, 8), 0.3, light)
    for hook in hooks:
        hook.remove()
    assert seen["mid_block"].shape == (6, 1, narrow.WIDTHS[3])
    torch.testing.assert_close(seen["mid_block"][4], light[3][4])  # clip 1, frame 1


@torch.no_grad()
def test_forward_unet_has_no_cross_attention_over_time(forward: ForwardUNet) -> None:
    assert not [name for name, _ in forward.named_parameters() if ".temporal_transformer_blocks.0.attn2" in name]


@torch.no_grad()
def test_conditions_enter_in_the_published_order(forward: ForwardUNet, inverse: InverseUNet) -> None:
    seen: list[Tensor] = []
    encoder = narrow.narrow_encoder()
    hooks = [
        part.conv_in.register_forward_pre_hook(lambda _module, args: seen.append(args[0]))
        for part in (inverse, forward, encoder)
    ]
    space, backbone = LatentSpace(narrow.narrow_vae()), SvdBackbone()
    scaling = space.scaling
    maps = {
        name: seeded(1, 1, 3 if name in ("basecolor", "normal") else 1, 64, 64, seed=index).tanh()
        for index, name in enumerate(("metallic", "roughness", "depth", "normal", "basecolor"))
    }
    noisy, rgb, panorama = seeded(1, 1, 4, 8, 8), seeded(1, 1, 4, 8, 8, seed=1), seeded(1, 1, 3, 64, 64).exp()
    backbone.inverse(inverse, noisy, torch.tensor(0.1), rgb, attribute_rows(["normal"]))
    inputs = RenderInputs(
        {name: modelspace.from_model(name, image) for name, image in maps.items()}, panorama, torch.eye(3)
    )
    condition, light = backbone.forward_inputs(space, encoder, inputs, lambda image: image)
    backbone.forward(forward, noisy, torch.tensor(0.1), condition, light)
    for hook in hooks:
        hook.remove()
    into_inverse, into_encoder, into_forward = seen
    torch.testing.assert_close(into_inverse, torch.cat([noisy, rgb], dim=2)[0])  # RGB is not scaled
    order = ("basecolor", "normal", "depth", "roughness", "metallic")
    scaled = [space.encode(inputs.model_space()[name]) * scaling for name in order]
    torch.testing.assert_close(into_forward, torch.cat([noisy, *scaled], dim=2)[0])
    images = [panoramas.encode_ldr(panorama), panoramas.encode_log(panorama)]
    images.append(panoramas.encode_directions(64, 64).expand(1, 1, 3, 64, 64))
    latents = [space.encode(2 * image - 1) * scaling for image in images]
    torch.testing.assert_close(into_encoder, torch.cat(latents, dim=2)[0])


@torch.no_grad()
def test_attribute_rows_are_those_of_the_published_table(inverse: InverseUNet) -> None:
    names = ["basecolor", "metallic", "roughness", "normal", "depth"]
    assert attribute_rows(names).tolist() == [0, 1, 2, 3, 4]
    assert attribute_rows(["joint"]).tolist() == [JOINT_ROW]
    with pytest.raises(InputError, match="no inverse renderer predicts 'rgb'"):
        attribute_rows(["rgb"])
    sample = seeded(1, 2, 8, 4, 4)
    outputs = [inverse(sample, 0.3, torch.tensor([row])) for row in range(5)]
    distances = [(a - b).abs().max() for index, a in enumerate(outputs) for b in outputs[:index]]
    assert min(distances) > 1e-3


@torch.no_grad()
def test_attributes_of_one_batch_do_not_mix(inverse: InverseUNet) -> None:
    sample = seeded(1, 2, 8, 8, 8)
    together = inverse(sample.expand(3, -1, -1, -1, -1), torch.tensor([0.3, 0.3, 0.9]), torch.tensor([2, 3, 3]))
    for index, (row, time) in enumerate([(2, 0.3), (3, 0.3), (3, 0.9)]):
        alone = inverse(sample, time, torch.tensor([row]))
        torch.testing.assert_close(together[index], alone[0], atol=2e-5, rtol=0)


@torch.no_grad()
def test_joint_prediction_takes_24_channels_and_gives_20() -> None:
    joint = narrow.narrow_inverse(joint=True)
    output = joint(seeded(1, 2, 24, 4, 4), 0.3, torch.tensor([JOINT_ROW]))
    assert output.shape == (1, 2, 20, 4, 4)


@torch.no_grad()
def test_lighting_unet_is_the_forward_class_with_light_latents() -> None:
    lighting, encoder = narrow.narrow_lighting(), narrow.narrow_encoder(in_channels=24)
    video_and_gbuffers = seeded(1, 2, 24, 8, 8)
    output = lighting(seeded(1, 2, 12, 4, 4), 0.3, as_tokens(encoder(video_and_gbuffers)))
    assert output.shape == (1, 2, 8, 4, 4)


@torch.no_grad()
def test_environment_features_have_a_level_for_every_level_of_the_unet() -> None:
    maps = narrow.narrow_encoder()(seeded(2, 3, 12, 8, 8))
    assert [tuple(level.shape) for level in maps] == [(6, 32, 8, 8), (6, 64, 4, 4), (6, 96, 2, 2), (6, 96, 1, 1)]
    tokens = as_tokens(maps)
    torch.testing.assert_close(tokens[0][4, 2 * 8 + 5], maps[0][4, :, 2, 5])  # row major


def test_environment_autoencoder_rebuilds_light_that_only_attention_brings() -> None:
    encoder, directions, decoder = narrow.narrow_encoder(), narrow.narrow_encoder(4, 4), narrow.narrow_decoder()
    with torch.no_grad():
        asked, light = directions(seeded(1, 1, 4, 8, 8)), encoder(seeded(1, 1, 12, 8, 8))
        rebuilt = decoder(light, asked)
        dark = decoder([torch.zeros_like(level) for level in light], asked)
    assert rebuilt.shape == (1, 8, 8, 8)
    assert (rebuilt - dark).abs().max() > 1e-2
    for level in range(4):  # every level's light and every level's directions take part
        for features in (light, asked):
            changed = [part + (index == level) for index, part in enumerate(features)]
            pair = (changed, asked) if features is light else (light, changed)
            with torch.no_grad():
                assert (decoder(*pair) - rebuilt).abs().max() > 1e-4


def test_environment_autoencoder_learns_one_light() -> None:
    parts = (narrow.narrow_encoder().train(), narrow.narrow_encoder(4, 4).train(), narrow.narrow_decoder().train())
    parameters = [parameter for part in parts for parameter in part.parameters()]
    optimizer, latents, losses = torch.optim.Adam(parameters, lr=2e-3), seeded(1, 1, 12, 8, 8), []
    for _ in range(40):
        optimizer.zero_grad()
        loss = reconstruction_loss(latents, *parts)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * losses[0]


def gradients(unet: nn.Module, call: Any) -> list[Tensor]:
    unet.zero_grad()
    call().square().mean().backward()
    return [parameter.grad.clone() for parameter in unet.parameters() if parameter.grad is not None]


@pytest.mark.parametrize("kind", ["inverse", "forward", "encoder"])
def test_gradient_checkpointing_gives_the_same_gradients(kind: str) -> None:
    network: Any = {
        "inverse": narrow.narrow_inverse,
        "forward": narrow.narrow_forward,
        "encoder": narrow.narrow_encoder,
    }[kind]().train()
    sample = seeded(1, 2, 24, 8, 8)
    calls = {
        "inverse": lambda: network(sample[:, :, :8], 0.3, torch.tensor([1])),
        "forward": lambda: network(sample, 0.3, light_of(1, 2)),
        "encoder": lambda: network(sample[:, :, :12])[-1],
    }
    plain = gradients(network, calls[kind])
    network.enable_gradient_checkpointing()
    kept: list[torch.Size] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor.shape) or tensor, lambda x: x):
        few = calls[kind]()
    network.disable_gradient_checkpointing()
    checkpointed, kept_few = None, len(kept)
    kept.clear()
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor.shape) or tensor, lambda x: x):
        calls[kind]()
    assert kept_few < 0.7 * len(kept)  # it does save memory
    network.zero_grad()
    few.square().mean().backward()
    checkpointed = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
    assert len(checkpointed) == len(plain) > 20
    for one, other in zip(plain, checkpointed, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-4)


def test_wrong_shapes_are_one_clear_error(forward: ForwardUNet, inverse: InverseUNet) -> None:
    light = light_of(1, 2)
    with pytest.raises(InputError, match=r"expected \(B, T, 24, h, w\)"):
        forward(seeded(1, 2, 8, 8, 8), 0.3, light)
    with pytest.raises(InputError, match="expected one per level"):
        forward(seeded(1, 2, 24, 8, 8), 0.3, light[:3])
    with pytest.raises(InputError, match="expected one per level"):
        forward(seeded(1, 2, 24, 8, 8), 0.3, light[::-1])
    with pytest.raises(InputError, match="one row per clip"):
        inverse(seeded(1, 2, 8, 8, 8), 0.3, torch.tensor([0, 1]))
    with pytest.raises(InputError, match=r"expected \(B, T, 12, h, w\)"):
        EnvironmentEncoder(block_out_channels=(32,))(seeded(2, 12, 8, 8))
