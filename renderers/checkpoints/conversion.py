"""A bare published folder becomes a checkpoint in Lightloom's layout, checked tensor by tensor, weights byte for byte.

Published folders say neither what kind of renderer they hold nor under which licence, and their JSON names classes
that exist only in the code they came with. Converting builds our classes from those settings without memory (torch's
meta device), compares every tensor's name and shape, copies the safetensors files as they are and writes JSON that
says what this is. Nothing is unpickled, and nothing appears at the destination until all of it is there.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from diffusers import __version__ as diffusers_version

from manifests.contract.attributes import GBUFFERS
from manifests.errors import CheckpointError, InputError
from manifests.files import atomic_folder, write_bytes
from renderers.backbones import component_class
from renderers.checkpoints.reading import INDEX, locate, read_json
from renderers.checkpoints.summary import PIPELINES, PREDICTIONS, Component, components, kind_of
from renderers.sampling.samplers import Sampler
from renderers.svd.lora import check_fit

PublishedKind = Literal["inverse", "forward"]
_REQUIRED = {"inverse": ("unet", "vae", "scheduler"), "forward": ("unet", "vae", "scheduler", "env_encoder")}
_OPTIONAL: dict[str, tuple[str, ...]] = {"inverse": (), "forward": ("lora", "env_decoder", "nrm_encoder")}


def convert(
    source: str | Path,
    destination: Path,
    kind: PublishedKind,
    *,
    licence: str,
    sampler: Sampler = "diffusion",
    variant: str | None = None,
) -> Path:
    """Write the published checkpoint `source` (a folder or a hub id) to the new folder `destination`; returns it.

    `kind` and `licence` are what the published folder does not say; `licence` is recorded as given (an SPDX id, or
    LicenseRef-...). `variant` picks `NAME.VARIANT.safetensors` files, and they keep that name. Folders that no
    renderer of this kind uses stay behind. Raises CheckpointError naming the first folder, file, tensor or shape that
    does not fit, InputError where the destination is taken or the licence empty.
    """
    if not licence.strip():
        raise InputError(
            "a converted checkpoint needs the licence of its weights", "give `licence`", fields=("licence",)
        )
    if destination.exists():
        raise InputError("exists already", "give a new folder", where=destination)
    root = locate(source)
    found = {part.name: part for part in components(root, variant=variant)}
    missing = [name for name in _REQUIRED[kind] if name not in found]
    if missing:
        raise CheckpointError(
            f"lacks {', '.join(missing)}, which the {kind} renderer needs", "fetch it again", where=root
        )
    if kind_of(found["unet"]) != kind:
        raise CheckpointError(
            f"its UNet is that of the {kind_of(found['unet'])} renderer, not of the {kind} one",
            "give `kind`",
            where=root,
            fields=("kind",),
        )
    parts = [found[name] for name in (*_REQUIRED[kind], *_OPTIONAL[kind]) if name in found]
    built = {part.name: _build(root, part, kind) for part in parts if part.name != "lora"}
    if "lora" in found and "lora" in _OPTIONAL[kind]:
        check_fit(found["unet"].shapes, found["lora"].shapes, root / "lora")
    index = _index(built, kind, licence.strip(), sampler, source)
    with atomic_folder(destination) as folder:
        for part in parts:
            (folder / part.name).mkdir()
            if part.name in built:
                built[part.name].save_config(folder / part.name)
            for file in _files(root, part):
                shutil.copyfile(file, folder / part.name / file.name)
        write_bytes(folder / INDEX, json.dumps(index, indent=2).encode() + b"\n")
    return destination


def _build(root: Path, part: Component, kind: PublishedKind) -> Any:
    """Our class for one folder, with its settings, on the meta device; every tensor of the file must fit it."""
    config_name = "scheduler_config.json" if part.name == "scheduler" else "config.json"
    config = read_json(root, Path(part.name) / config_name)
    wanted = component_class(part.name, config.get("_class_name"), kind, published=True)
    try:
        with torch.device("cpu" if part.name == "scheduler" else "meta"):
            model = wanted.from_config(config)
    except (TypeError, ValueError, LookupError, RuntimeError, ArithmeticError, AttributeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(
            f"no settings of {wanted.__name__} ({reason})", where=root / part.name / config_name
        ) from error
    if part.name != "scheduler":
        _check_tensors(root / part.name, {name: tuple(t.shape) for name, t in model.state_dict().items()}, part.shapes)
    return model


def _check_tensors(folder: Path, expected: Mapping[str, tuple[int, ...]], found: Mapping[str, tuple[int, ...]]) -> None:
    for problem, names in (("lacks", expected.keys() - found.keys()), ("has unknown", found.keys() - expected.keys())):
        if names:
            raise CheckpointError(
                f"{problem} {len(names)} tensors of {len(expected)}, first {min(names)!r}", where=folder
            )
    for name, shape in expected.items():
        if found[name] != shape:
            raise CheckpointError(
                f"{name!r} has shape {found[name]}, expected {shape}", "is config.json right?", where=folder
            )


def _files(root: Path, part: Component) -> list[Path]:
    """The files to copy: weights, and the index that lists them where there is one."""
    single = len(part.files) <= 1
    indices = [] if single else sorted((root / part.name).glob("*.safetensors.index*.json"))
    return [*part.files, *indices]


def _index(
    built: Mapping[str, Any], kind: PublishedKind, licence: str, sampler: Sampler, source: str | Path
) -> dict[str, Any]:
    """model_index.json of a renderer: diffusers' entries for the components, then what this checkpoint is."""
    predicted = built["scheduler"].config.get("prediction_type")
    if predicted not in PREDICTIONS:
        raise CheckpointError(f"scheduler: prediction type {predicted!r} is not one of {', '.join(PREDICTIONS)}")
    index: dict[str, Any] = {"_class_name": PIPELINES[kind], "_diffusers_version": diffusers_version}
    for name, part in built.items():
        module = type(part).__module__
        index[name] = ["diffusers" if module.startswith("diffusers.") else module, type(part).__name__]
    return index | {
        "kind": kind,
        "backbone": "svd",
        "sampler": sampler,
        "prediction": PREDICTIONS[predicted],
        "attributes": list(GBUFFERS),
        "joint": False,
        "hints": False,
        "training": {"converted_from": Path(source).name if Path(source).is_dir() else str(source)},
        "licence": licence,
    }
