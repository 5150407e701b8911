"""LoRA files in diffusers' own format load, save and scale; off is exactly the base network."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from manifests.errors import CheckpointError, InputError
from renderers.svd import lora
from renderers.svd.unet import ForwardUNet
from tests.renderers import narrow

torch.set_num_threads(1)
LAYER = "mid_block.attentions.0.transformer_blocks.0.attn2.to_v"


def seeded(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def call(unet: ForwardUNet) -> Tensor:
    sides = (4, 2, 1, 1)
    light = [seeded(2, s * s, width, seed=s) for s, width in zip(sides, narrow.WIDTHS, strict=True)]
    return unet(seeded(1, 2, 24, 4, 4), 0.3, light)


@torch.no_grad()
def run(unet: ForwardUNet) -> Tensor:
    return call(unet)


@pytest.fixture
def adapted() -> ForwardUNet:
    unet = narrow.narrow_forward()
    narrow.narrow_lora(unet)
    return unet


def test_scale_zero_is_exactly_the_base(adapted: ForwardUNet) -> None:
    base = run(narrow.narrow_forward())
    assert (run(adapted) - base).abs().max() > 1e-2
    lora.set_lora_scale(adapted, 0.0)
    assert torch.equal(run(adapted), base)
    lora.set_lora_scale(adapted, 0.25)
    assert not torch.equal(run(adapted), base)


@torch.no_grad()
def test_scale_is_linear_in_between(adapted: ForwardUNet) -> None:
    layer, x = adapted.get_submodule(LAYER), seeded(5, narrow.WIDTHS[3])
    outputs = {}
    for scale in (0.0, 0.25, 0.5, 1.0):
        lora.set_lora_scale(adapted, scale)
        outputs[scale] = layer(x)
    whole = outputs[1.0] - outputs[0.0]
    product = x @ layer.lora_A[lora.ADAPTER].weight.T @ layer.lora_B[lora.ADAPTER].weight.T
    torch.testing.assert_close(whole, product, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(outputs[0.25] - outputs[0.0], 0.25 * whole, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(outputs[0.5] - outputs[0.0], 0.5 * whole, atol=1e-6, rtol=1e-5)


def test_a_scale_holds_for_a_block_only(adapted: ForwardUNet) -> None:
    before = run(adapted)
    with lora.lora_scale(adapted, 0.0):
        assert torch.equal(run(adapted), run(narrow.narrow_forward()))
    assert torch.equal(run(adapted), before)
    lora.set_lora_scale(adapted, 0.0)
    with lora.lora_scale(adapted, 1.0):
        assert torch.equal(run(adapted), before)
    assert torch.equal(run(adapted), run(narrow.narrow_forward()))


def test_saved_lora_loads_to_the_same_output_whatever_scale_was_in_use(adapted: ForwardUNet, tmp_path: Path) -> None:
    expected = run(adapted)
    lora.set_lora_scale(adapted, 0.1)
    path = lora.save_lora(adapted, tmp_path / "lora")
    assert path == tmp_path / "lora" / "pytorch_lora_weights.safetensors"
    other = narrow.narrow_forward()
    lora.load_lora(other, tmp_path / "lora")
    torch.testing.assert_close(run(other), expected, atol=1e-6, rtol=1e-5)


def test_file_is_diffusers_own_format(adapted: ForwardUNet, tmp_path: Path) -> None:
    path = lora.save_lora(adapted, tmp_path)
    tensors = load_file(path)
    assert f"unet.{LAYER}.lora_A.weight" in tensors
    assert {name.rpartition(".lora_")[2] for name in tensors} == {"A.weight", "B.weight"}
    assert all(name.startswith("unet.") for name in tensors)
    other = narrow.narrow_forward()
    other.load_lora_adapter(
        str(tmp_path), prefix="unet", adapter_name="theirs", weight_name=lora.FILE
    )  # diffusers' own reader
    torch.testing.assert_close(
        run(other), run(adapted), atol=1e-5, rtol=1e-4
    )  # equal networks may round apart by where memory lies


def test_file_without_metadata_and_with_mixed_ranks_loads(tmp_path: Path) -> None:
    """A bare file as training scripts write it: two layers, two ranks, alpha = rank."""
    unet, width = narrow.narrow_forward(), narrow.WIDTHS[3]
    pairs = {LAYER: 4, "mid_block.attentions.0.proj_in": 2}
    tensors = {}
    for index, (name, rank) in enumerate(pairs.items()):
        tensors[f"unet.{name}.lora_A.weight"] = seeded(rank, width, seed=index)
        tensors[f"unet.{name}.lora_B.weight"] = seeded(width, rank, seed=index + 7)
    save_file(tensors, tmp_path / lora.FILE)
    lora.load_lora(unet, tmp_path)
    x = seeded(3, width, seed=5)
    for name in pairs:
        layer = unet.get_submodule(name)
        product = x @ tensors[f"unet.{name}.lora_A.weight"].T @ tensors[f"unet.{name}.lora_B.weight"].T
        torch.testing.assert_close(layer(x) - layer.base_layer(x), product, atol=1e-4, rtol=1e-4)


def test_alpha_in_the_files_metadata_counts(adapted: ForwardUNet, tmp_path: Path) -> None:
    path = lora.save_lora(adapted, tmp_path)
    with safe_open(path, "pt") as file:
        metadata = json.loads(file.metadata()["lora_adapter_metadata"])
        assert len(file.metadata()) == 1  # of several, safetensors would shuffle the order: other bytes every time
    metadata["unet.lora_alpha"] = 0.5 * metadata["unet.r"]
    metadata["unet.auto_mapping"] = {"parent_library": "os"}  # never looked at
    save_file(load_file(path), path, metadata={"lora_adapter_metadata": json.dumps(metadata)})
    other = narrow.narrow_forward()
    lora.load_lora(other, tmp_path)
    with lora.lora_scale(adapted, 0.5):
        torch.testing.assert_close(run(other), run(adapted), atol=1e-6, rtol=1e-5)


def test_new_lora_changes_nothing_and_is_seeded() -> None:
    unet = narrow.narrow_forward()
    base = run(unet)
    lora.add_lora(unet, rank=4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(run(unet), base, atol=1e-6, rtol=1e-5)
    again = narrow.narrow_forward()
    lora.add_lora(again, rank=4, generator=torch.Generator().manual_seed(0))
    for one, other in zip(lora.lora_parameters(unet), lora.lora_parameters(again), strict=True):
        assert torch.equal(one, other)


def test_only_passes_with_the_lora_on_train_it_and_the_base_learns_from_both() -> None:
    unet = narrow.narrow_forward()
    narrow.narrow_lora(unet)
    loras = {id(parameter) for parameter in lora.lora_parameters(unet)}
    base = [parameter for parameter in unet.parameters() if id(parameter) not in loras]
    assert loras
    assert all(parameter.requires_grad for parameter in unet.parameters())
    with torch.enable_grad():
        with lora.lora_scale(unet, 0.0):
            call(unet).square().mean().backward()
        assert all(parameter.grad is None for parameter in lora.lora_parameters(unet))
        synthetic = [parameter.grad.clone() for parameter in base if parameter.grad is not None]
        call(unet).square().mean().backward()
    assert len(synthetic) > 100
    assert all(parameter.grad is not None for parameter in lora.lora_parameters(unet))
    both = [parameter.grad for parameter in base if parameter.grad is not None]
    assert not torch.equal(both[0], synthetic[0])


def test_checkpointed_backward_uses_the_scale_of_the_forward_pass() -> None:
    """The backward pass comes after the block that set the scale, and computes the layers again."""
    unet = narrow.narrow_forward()
    narrow.narrow_lora(unet)
    name, gradients = f"{LAYER}.lora_B.{lora.ADAPTER}.weight", {}
    weight = unet.get_parameter(name)
    for kind in ("plain", "checkpointed"):
        if kind == "checkpointed":
            unet.enable_gradient_checkpointing()
        for scale in (0.0, 0.5, 1.0):
            unet.zero_grad()
            with lora.lora_scale(unet, scale):
                loss = call(unet).square().mean()
            loss.backward()
            gradients[kind, scale] = torch.zeros_like(weight) if weight.grad is None else weight.grad.clone()
    for scale in (0.0, 0.5, 1.0):
        torch.testing.assert_close(gradients["checkpointed", scale], gradients["plain", scale], atol=1e-6, rtol=1e-3)
    assert not gradients["plain", 0.0].any()
    assert (gradients["plain", 0.5] - gradients["plain", 1.0]).abs().max() > 1e-4


def test_a_frozen_base_stays_frozen_under_a_new_or_loaded_lora(adapted: ForwardUNet, tmp_path: Path) -> None:
    lora.save_lora(adapted, tmp_path)
    for put in (narrow.narrow_lora, lambda unet: lora.load_lora(unet, tmp_path)):
        unet = narrow.narrow_forward().requires_grad_(False)
        put(unet)
        lora.set_lora_scale(unet, 0.5)
        learning = [name for name, parameter in unet.named_parameters() if parameter.requires_grad]
        assert learning
        assert all(".lora_" in name for name in learning)


def test_scale_of_a_network_without_lora() -> None:
    unet = narrow.narrow_forward()
    lora.set_lora_scale(unet, 0.0)  # off is off
    with pytest.raises(InputError, match="no LoRA is loaded"):
        lora.set_lora_scale(unet, 0.25)
    with pytest.raises(InputError, match="no LoRA to save"):
        lora.save_lora(unet, Path("unused"))


def test_unusable_files_are_one_clear_error(adapted: ForwardUNet, tmp_path: Path) -> None:
    unet, width = narrow.narrow_forward(), narrow.WIDTHS[3]
    with pytest.raises(CheckpointError, match="no LoRA in diffusers' format"):
        lora.load_lora(unet, tmp_path)
    (tmp_path / "pytorch_lora_weights.bin").write_bytes(b"\x80\x04")
    with pytest.raises(CheckpointError, match="pickles are never opened"):
        lora.load_lora(unet, tmp_path / "pytorch_lora_weights.bin")
    (tmp_path / lora.FILE).write_bytes(b"\x00" * 40)
    with pytest.raises(CheckpointError, match="safetensors"):
        lora.load_lora(unet, tmp_path)
    save_file({f"unet.{LAYER}.lora_A.weight": torch.ones(4, width + 1)}, tmp_path / lora.FILE)
    with pytest.raises(CheckpointError, match="does not fit a weight"):
        lora.load_lora(unet, tmp_path)
    save_file({"text_encoder.layers.0.lora_A.weight": torch.ones(4, width)}, tmp_path / lora.FILE)
    with pytest.raises(CheckpointError, match="no LoRA tensor of any layer"):
        lora.load_lora(unet, tmp_path)
    with pytest.raises(InputError, match="has a LoRA already"):
        lora.load_lora(adapted, tmp_path)
    with pytest.raises(InputError, match="out of range"):
        lora.set_lora_scale(adapted, -1.0)
