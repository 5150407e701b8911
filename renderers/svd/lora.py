"""The LoRA that absorbs what real, auto-labelled footage differs in from synthetic clips (DiffusionRenderer 4.3).

Only real samples train it, and at inference its scale is free: 0 is exactly the base network, 0.25 the default of the
released code, 0.5 its upper recommendation. Files are diffusers' own format (`pytorch_lora_weights.safetensors`, keys
`unet.<module>.lora_A.weight` and `lora_B.weight`), with any rank on any linear layer or convolution. Adapters are
peft's, through the mixin of diffusers' models.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model_state_dict
from peft.tuners.lora import LoraLayer
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from manifests.errors import CheckpointError, InputError
from renderers.checkpoints.reading import read_header

FOLDER = "lora"
"""Of a checkpoint that has one."""
FILE = "pytorch_lora_weights.safetensors"
ADAPTER = "real"
TARGETS = ("to_q", "to_k", "to_v", "to_out.0")
"""Layers that get a LoRA in our own training: the projections of every attention. The published choice is unknown."""

_PREFIX = "unet."
_METADATA = "lora_adapter_metadata"
_CONFIG_KEYS = ("r", "lora_alpha", "target_modules", "rank_pattern", "alpha_pattern", "use_rslora")


def add_lora(unet: Any, rank: int, *, generator: torch.Generator, targets: tuple[str, ...] = TARGETS) -> None:
    """Give `unet` a new LoRA of `rank` (alpha = rank) on layers whose names end in `targets`; it changes nothing yet.

    A starts normal with deviation 1 / rank, drawn from `generator`; B starts at zero. The base's parameters require
    gradients as they did before: in co-training it learns on, from both kinds of samples.
    """
    _require_none(unet)
    config = LoraConfig(r=rank, lora_alpha=rank, target_modules=list(targets), init_lora_weights="gaussian")
    with _base_gradients_kept(unet):
        unet.add_adapter(config, ADAPTER)
    for name, parameter in unet.named_parameters():
        if ".lora_A." in name:
            with torch.no_grad():
                drawn = torch.randn(parameter.shape, generator=generator, device=generator.device)
                parameter.copy_(drawn / rank)


def lora_parameters(unet: Any) -> list[nn.Parameter]:
    """The parameters of the LoRA of `unet`; empty where it has none."""
    return [parameter for name, parameter in unet.named_parameters() if ".lora_" in name]


def has_lora(unet: Any) -> bool:
    """Whether a LoRA was added or loaded."""
    return ADAPTER in getattr(unet, "peft_config", {})


def set_lora_scale(unet: Any, scale: float) -> None:
    """Set the strength: the weights become W + scale * B A. 0 skips the LoRA, so outputs are exactly the base's."""
    if not 0.0 <= scale < float("inf"):
        raise InputError(f"LoRA scale {scale} is out of range", "give 0 (off) or more, 0.25 is the default")
    if not has_lora(unet):
        if scale:
            raise InputError(f"LoRA scale {scale} was asked for, but no LoRA is loaded", "load one, or give 0")
        return
    for layer in _layers(unet):
        layer.set_scale(ADAPTER, scale)
        _switch(layer, scale != 0.0)


@contextmanager
def lora_scale(unet: Any, scale: float) -> Iterator[None]:
    """Strength `scale` inside the block; afterwards each layer has its strength from before."""
    before = _strengths(unet)
    try:
        set_lora_scale(unet, scale)
        yield
    finally:
        _restore(before)


def checkpointed(module: nn.Module, *inputs: Any) -> Any:
    """Run `module` under gradient checkpointing; the backward pass computes it again at the strength it has now.

    The block of `lora_scale` usually ends before the backward pass, which would otherwise see another strength.
    """
    strengths = _strengths(module)

    def run(*inputs: Any) -> Any:
        before = _strengths(module)
        _restore(strengths)
        try:
            return module(*inputs)
        finally:
            _restore(before)

    return checkpoint(run if strengths else module, *inputs, use_reentrant=False)


def without_lora(network: Any) -> Any:
    """The base network, sharing its tensors: what a checkpoint's `unet` holds, the LoRA lying beside it."""
    state = {
        name.replace(".base_layer.", "."): tensor
        for name, tensor in network.state_dict().items()
        if ".lora_A." not in name and ".lora_B." not in name
    }
    with torch.device("meta"):
        plain = type(network).from_config(network.config)
    plain.load_state_dict(state, assign=True)
    return plain


def load_lora(unet: Any, folder: Path) -> None:
    """Put the LoRA of `folder` (or of one safetensors file) on `unet`, at scale 1.

    Raises CheckpointError if the file is missing or unsound, or names layers that the UNet lacks or that have another
    width.
    """
    _require_none(unet)
    path = folder / FILE if folder.is_dir() else folder
    if path.suffix != ".safetensors" or not path.is_file():
        raise CheckpointError(f"no LoRA in diffusers' format here ({FILE})", "pickles are never opened", where=path)
    metadata = read_header(path).get("__metadata__", {}).get(_METADATA)
    state = load_file(path)
    check_fit(_shapes(unet.state_dict()), _shapes(state), path)
    bare = {name.removeprefix(_PREFIX): tensor for name, tensor in state.items()}
    try:
        with _base_gradients_kept(unet):
            unet.load_lora_adapter(bare, prefix=None, adapter_name=ADAPTER, metadata=_config(metadata, path))
    except (ValueError, TypeError, RuntimeError, KeyError) as error:
        raise CheckpointError(f"does not fit this UNet ({' '.join(str(error).split())[:200]})", where=path) from error


def save_lora(unet: Any, folder: Path) -> Path:
    """Write the LoRA of `unet` in diffusers' format into `folder`; returns the file. The scale in use is not part."""
    if not has_lora(unet):
        raise InputError(f"{type(unet).__name__} has no LoRA to save", "add or load one first")
    config = unet.peft_config[ADAPTER].to_dict()
    kept = {key: sorted(value) if isinstance(value, set) else value for key, value in config.items()}
    metadata = {f"{_PREFIX}{key}": kept[key] for key in _CONFIG_KEYS}
    state = get_peft_model_state_dict(unet, adapter_name=ADAPTER)
    tensors = {f"{_PREFIX}{name}": tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    folder.mkdir(parents=True, exist_ok=True)
    # one entry only: safetensors writes several in an order that changes from run to run
    save_file(tensors, folder / FILE, metadata={_METADATA: json.dumps(metadata, sort_keys=True)})
    return folder / FILE


def _layers(unet: Any) -> list[LoraLayer]:
    """The layers that peft put in place of those of the base; each knows its scale."""
    return [module for module in unet.modules() if isinstance(module, LoraLayer)]


def _strengths(module: nn.Module) -> list[tuple[LoraLayer, float, bool]]:
    """Layers with a LoRA, its scaling, and whether it is off."""
    layers = [layer for layer in _layers(module) if ADAPTER in layer.scaling]
    return [(layer, layer.scaling[ADAPTER], layer.disable_adapters) for layer in layers]


def _restore(strengths: list[tuple[LoraLayer, float, bool]]) -> None:
    for layer, scaling, disabled in strengths:
        layer.scaling[ADAPTER] = scaling
        if layer.disable_adapters != disabled:
            _switch(layer, not disabled)


def _switch(layer: Any, on: bool) -> None:
    """Use the LoRA of a layer or not. peft would also change which parameters learn; that is the trainer's business."""
    learning = [(parameter, parameter.requires_grad) for parameter in layer.parameters()]
    layer.enable_adapters(on)
    for parameter, flag in learning:
        parameter.requires_grad_(flag)


@contextmanager
def _base_gradients_kept(unet: nn.Module) -> Iterator[None]:
    """peft freezes the base when it adds a LoRA; afterwards the base learns, or not, as before."""
    learning = [(parameter, parameter.requires_grad) for parameter in unet.parameters()]
    yield
    for parameter, flag in learning:
        parameter.requires_grad_(flag)


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def _require_none(unet: Any) -> None:
    if has_lora(unet):
        raise InputError(f"{type(unet).__name__} has a LoRA already", "load the base again to give it another")


def check_fit(weights: Mapping[str, Sequence[int]], lora: Mapping[str, Sequence[int]], where: Path) -> None:
    """Every A (rank, in) and B (out, rank) must fit a weight (out, in): shapes by name, of the UNet and of a LoRA file.

    Raises CheckpointError naming the first tensor that does not.
    """
    if not lora:
        raise CheckpointError("holds no tensors", where=where)
    for name, shape in lora.items():
        layer, _, role = name.removeprefix(_PREFIX).rpartition(".lora_")
        weight = weights.get(f"{layer}.weight")
        if not name.startswith(_PREFIX) or role not in ("A.weight", "B.weight") or weight is None:
            raise CheckpointError(f"{name!r} is no LoRA tensor of any layer of this UNet", where=where)
        if not (shape[1] == weight[1] if role == "A.weight" else shape[0] == weight[0]):
            raise CheckpointError(
                f"{name!r} has shape {tuple(shape)}, which does not fit a weight of {tuple(weight)}", where=where
            )


def _config(metadata: str | None, path: Path) -> dict[str, Any] | None:
    """What the file's metadata says of rank and alpha, nothing else: the metadata of a stranger's file is data."""
    if metadata is None:
        return None
    try:
        entries = {key.removeprefix(_PREFIX): value for key, value in json.loads(metadata).items()}
    except (ValueError, AttributeError) as error:
        raise CheckpointError(
            f"the LoRA's metadata is not a JSON object ({error})", "save the file again", where=path
        ) from error
    return {key: entries[key] for key in _CONFIG_KEYS if key in entries}
