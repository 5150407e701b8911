"""Checkpoints of a training run: a folder that is whole or absent, holding all that an exact continuation needs.

    checkpoints/00000500/
      state.json             step, seconds, loader positions, what the optimizer's tensors belong to
      weights.safetensors    what of the network is trained, as it was
      average.safetensors    its averaged weights, where a run keeps them
      optimizer.safetensors  AdamW's moments, by parameter
      random.safetensors     the state of torch's own generators, which some layers may draw from
      renderer/              what `from_pretrained` loads: the averaged weights in the renderers' layout

It is written under a temporary name, synced to disk and renamed, so a kill leaves the last good one in place. Only JSON
and safetensors are written, and nothing else is read.
"""

from __future__ import annotations

import errno
import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers.training_utils import EMAModel
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from manifests.errors import TrainingError
from manifests.files import atomic_folder, disk_full
from renderers.checkpoints.half_precision import halve_checkpoint
from training.sharding import sliced, sliced_all, whole

FOLDER = "checkpoints"
RENDERER = "renderer"
_STATE, _WEIGHTS, _AVERAGE = "state.json", "weights.safetensors", "average.safetensors"
_OPTIMIZER, _RANDOM = "optimizer.safetensors", "random.safetensors"
_NAME = re.compile(r"\d{8,}")


@dataclass(frozen=True)
class TrainingProgress:
    """How far a run is: optimizer steps, seconds of training, and each stream's loader position."""

    step: int
    seconds: float
    positions: Mapping[str, int]


@dataclass(frozen=True)
class RunState:
    """What a checkpoint holds; `average` is None where a run keeps no averaged weights."""

    network: nn.Module
    optimizer: torch.optim.Optimizer
    average: EMAModel | None


Content = dict[str, dict[str, Any]]
"""What a checkpoint's files hold, by file; tensors by name, whole, on the CPU."""


def gathered(state: RunState, *, keep: bool = True) -> Content:
    """What `save` writes; of a network that is spread, all workers ask, and those that do not `keep` it get nothing."""
    frozen = _frozen(state.network)
    weights = {name: tensor for name, tensor in state.network.state_dict().items() if name not in frozen}
    tensors, groups = _optimizer_tensors(state)
    content: Content = {_WEIGHTS: _plain(weights, keep), _OPTIMIZER: _plain(tensors, keep)}
    document: dict[str, Any] = {"optimizer": groups}
    if state.average is not None:
        shadow = dict(zip(trained(state.network), state.average.shadow_params, strict=True))
        content[_AVERAGE] = _plain(shadow, keep)
        document["averaged_steps"] = state.average.optimization_step
    random = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        random["cuda"] = torch.cuda.get_rng_state()
    return content | {_RANDOM: random, _STATE: document}


def save(
    out: Path,
    content: Content,
    progress: TrainingProgress,
    write_renderer: Callable[[Path], None],
    keep: int,
    half: Path | None = None,
) -> Path:
    """Write the checkpoint of `progress.step` and remove all but the newest `keep`; returns its folder.

    `write_renderer(folder)` writes the averaged weights; where `half` is given, it becomes the same renderer in half
    precision. Raises DiskFull.
    """
    target = out / FOLDER / f"{progress.step:08d}"
    with atomic_folder(target) as folder, _full_disk_as_oserror():
        for file, tensors in content.items():
            if file != _STATE:
                save_file(tensors, folder / file)
        document = {"progress": asdict(progress), **content[_STATE]}
        (folder / _STATE).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        write_renderer(folder / RENDERER)
    if half is not None:
        with disk_full(half), _full_disk_as_oserror():
            halve_checkpoint(target / RENDERER, half)
    for old in checkpoints(out)[:-keep]:
        shutil.rmtree(old)
    return target


@contextmanager
def _full_disk_as_oserror() -> Iterator[None]:
    """Safetensors reports a full disk as an error of its own."""
    try:
        yield
    except SafetensorError as error:
        if "No space left" in str(error) or "os error 28" in str(error):
            raise OSError(errno.ENOSPC, "No space left on device") from error
        raise


def trained(network: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that learn, by name."""
    return {name: parameter for name, parameter in network.named_parameters() if parameter.requires_grad}


def _frozen(network: nn.Module) -> set[str]:
    """Names of those that do not: they are where the run starts from, not in its checkpoints."""
    return {name for name, parameter in network.named_parameters() if not parameter.requires_grad}


class averaged:  # noqa: N801  (used as a context manager, like contextlib's)
    """Inside the block the network holds its averaged weights, where there are any."""

    def __init__(self, state: RunState) -> None:
        self._parameters = list(trained(state.network).values())
        self._average = state.average
        self._kept: list[Tensor] = []

    @torch.no_grad()
    def __enter__(self) -> None:
        if self._average is None:
            return
        if self._average.foreach:
            self._average.store(self._parameters)
            self._average.copy_to(self._parameters)
            return
        self._kept = [parameter.detach().clone() for parameter in self._parameters]  # slices stay where they are
        self._copy(self._average.shadow_params)

    @torch.no_grad()
    def __exit__(self, *_: object) -> None:
        if self._average is not None and self._average.foreach:
            self._average.restore(self._parameters)
        else:
            self._copy(self._kept)

    def _copy(self, values: Sequence[Tensor]) -> None:
        for parameter, value in zip(self._parameters, values, strict=False):
            parameter.copy_(value)


def checkpoints(out: Path) -> list[Path]:
    """Whole checkpoints of the run in `out`, oldest first."""
    folder = out / FOLDER
    found = folder.iterdir() if folder.is_dir() else ()
    return sorted(path for path in found if _NAME.fullmatch(path.name) and (path / _STATE).is_file())


def read_progress(folder: Path) -> TrainingProgress:
    """How far the run was at a checkpoint; raises TrainingError when that cannot be read."""
    try:
        return TrainingProgress(**json.loads((folder / _STATE).read_text(encoding="utf-8"))["progress"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(f"cannot be read ({error})", "remove the checkpoint", where=folder / _STATE) from error


def load(folder: Path, state: RunState) -> TrainingProgress:
    """Bring network, optimizer and averaged weights to where the checkpoint left them; returns how far it was.

    Raises TrainingError when the checkpoint does not fit.
    """
    try:
        document = json.loads((folder / _STATE).read_text(encoding="utf-8"))
        weights = sliced_all(load_file(folder / _WEIGHTS), state.network.state_dict())
        missing, unknown = state.network.load_state_dict(weights, strict=False)
        if unknown or set(missing) - _frozen(state.network):
            raise KeyError(*unknown[:1], *sorted(set(missing) - _frozen(state.network))[:1])
        _load_optimizer(state, load_file(folder / _OPTIMIZER), document["optimizer"])
        if state.average is not None:
            shadow = load_file(folder / _AVERAGE)
            for name, tensor in zip(trained(state.network), state.average.shadow_params, strict=True):
                tensor.copy_(sliced(shadow[name], tensor))
            state.average.optimization_step = document["averaged_steps"]
        random = load_file(folder / _RANDOM)
    except (OSError, SafetensorError, KeyError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise TrainingError(
            f"does not fit this run ({reason})", "remove it to resume from an earlier one, or start anew", where=folder
        ) from error
    torch.set_rng_state(random["cpu"])
    if "cuda" in random and torch.cuda.is_available():
        torch.cuda.set_rng_state(random["cuda"])
    return read_progress(folder)


def _optimizer_tensors(state: RunState) -> tuple[dict[str, Tensor], dict[str, list[str]]]:
    """The optimizer's state as "parameter/entry" tensors, and which entries each parameter has."""
    names = {id(parameter): name for name, parameter in state.network.named_parameters()}
    tensors: dict[str, Tensor] = {}
    entries: dict[str, list[str]] = {}
    for parameter, values in state.optimizer.state.items():
        name = names[id(parameter)]
        entries[name] = sorted(values)
        for entry, value in values.items():
            tensors[f"{name}/{entry}"] = torch.as_tensor(value)
    return tensors, entries


def _load_optimizer(state: RunState, tensors: Mapping[str, Tensor], entries: Mapping[str, list[str]]) -> None:
    """Inverse of `_optimizer_tensors`, through torch's own state dictionaries, which know where tensors belong."""
    parameters = {id(parameter): name for name, parameter in state.network.named_parameters()}
    document = state.optimizer.state_dict()
    flat = [parameter for group in state.optimizer.param_groups for parameter in group["params"]]
    document["state"] = {
        index: {entry: sliced(tensors[f"{name}/{entry}"], parameter) for entry in entries[name]}
        for index, parameter in enumerate(flat)
        for name in [parameters[id(parameter)]]
        if name in entries
    }
    state.optimizer.load_state_dict(document)


def _plain(tensors: Mapping[str, Tensor], keep: bool) -> dict[str, Tensor]:
    """Tensors as safetensors takes them: whole, on the CPU, contiguous, each with memory of its own."""
    plain = {}
    for name, tensor in tensors.items():
        gathered_one = whole(tensor.detach())
        if keep:
            plain[name] = gathered_one.cpu().contiguous().clone()
    return plain
