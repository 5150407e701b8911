"""Weights in half precision: half the bytes, to ship and to keep. They load back as float32."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from manifests.errors import CheckpointError
from manifests.files import atomic_folder, write_bytes
from renderers.checkpoints.reading import check_replaceable

_LARGEST = 65504.0


def halve(source: Path, target: Path) -> None:
    """Copy a safetensors file with its floating-point tensors in float16.

    Raises CheckpointError where a value does not fit, DiskFull if there is no room.
    """
    with safe_open(source, "pt") as file:
        metadata = file.metadata()
    tensors = load_file(source)
    for name, tensor in tensors.items():
        if tensor.is_floating_point():
            if not float(tensor.abs().max()) < _LARGEST:
                raise CheckpointError(f"{name} has values that half precision does not hold", where=source)
            tensors[name] = tensor.to(torch.float16)
    target.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, target, metadata=metadata)
    target.chmod(0o644)  # safetensors writes for its owner alone


def halve_checkpoint(source: Path, target: Path) -> None:
    """A renderer's folder with its weights in float16 as `target`, which is replaced as a whole.

    Raises as `halve`, and CheckpointError if `target` holds something else than a renderer.
    """
    check_replaceable(target)
    with atomic_folder(target) as folder:
        for path in sorted(source.rglob("*")):
            copy = folder / path.relative_to(source)
            if path.is_dir():
                copy.mkdir()
            elif path.suffix == ".safetensors":
                halve(path, copy)
            else:
                write_bytes(copy, path.read_bytes())
