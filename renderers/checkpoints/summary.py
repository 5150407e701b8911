"""What a checkpoint is, told from its JSON and its safetensors headers: no tensor is read, no class is built.

Two layouts are understood: Lightloom's own (model_index.json says kind, backbone, attributes, sampler, licence and how
it was trained) and the bare published one (folders unet, vae, scheduler, env_encoder, ...), whose kind shows in its
tensors: the inverse UNet carries the attribute embedding table, the forward UNet has no temporal cross-attention.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from manifests.contract.attributes import GBUFFERS
from manifests.errors import CheckpointError
from renderers.checkpoints.reading import INDEX, PICKLES, inside, read_header, read_json, weight_files

LORA = "pytorch_lora_weights"
EMBEDDING = "context_embedding.weight"
_CONFIGS = ("config.json", "scheduler_config.json")
_TEMPORAL_CROSS_ATTENTION = ".temporal_transformer_blocks.0.attn2."

Kind = Literal["inverse", "forward", "lighting"]
PIPELINES: Mapping[Kind, str] = {
    "inverse": "InverseRenderer",
    "forward": "ForwardRenderer",
    "lighting": "LightingEstimator",
}
"""The pipeline of each kind of checkpoint."""
PREDICTIONS: Mapping[str, str] = {"v_prediction": "v", "sample": "sample"}
"""What a network predicts, by what diffusers' scheduler calls it."""
Layout = Literal["lightloom", "published"]


@dataclass(frozen=True)
class Component:
    """One folder of a checkpoint: `shapes` and `dtypes` come from the headers of its safetensors `files`."""

    name: str
    class_name: str
    files: tuple[Path, ...]
    shapes: Mapping[str, tuple[int, ...]]
    dtypes: tuple[str, ...]

    @property
    def parameters(self) -> int:
        """How many numbers the tensors hold."""
        return sum(math.prod(shape) for shape in self.shapes.values())

    @property
    def size(self) -> int:
        """Bytes of the files."""
        return sum(file.stat().st_size for file in self.files)


@dataclass(frozen=True)
class Summary:
    """What `lightloom checkpoint inspect` shows of a checkpoint."""

    path: Path
    layout: Layout
    kind: Kind
    backbone: str
    attributes: tuple[str, ...]
    sampler: str
    prediction: str
    joint: bool
    hints: bool
    licence: str
    training: Mapping[str, Any]
    components: tuple[Component, ...] = field(default=())

    def json(self) -> str:
        """The summary as JSON."""
        plain = {name: value for name, value in vars(self).items() if name != "components"} | {"path": str(self.path)}
        plain["components"] = [
            {
                "name": part.name,
                "class": part.class_name,
                "tensors": len(part.shapes),
                "parameters": part.parameters,
                "dtypes": list(part.dtypes),
                "bytes": part.size,
            }
            for part in self.components
        ]
        return json.dumps(plain, indent=2)

    def table(self) -> str:
        """The summary as lines for a terminal."""
        layout = "Lightloom's layout" if self.layout == "lightloom" else "bare published layout"
        passes = "all in one pass" if self.joint else "one per pass"
        facts = {
            "attributes": ", ".join(self.attributes) + (f" ({passes})" if self.kind == "inverse" else ""),
            "sampler": f"{self.sampler}, predicts {self.prediction}",
            "hints": "analytic shading as extra condition" if self.hints else "none",
            "licence": self.licence or "not recorded",
            "training": ", ".join(f"{key} {_short(value)}" for key, value in self.training.items()) or "not recorded",
        }
        lines = [f"{self.path}: {self.kind} renderer, backbone {self.backbone}, {layout}"]
        lines += [f"  {name:<11} {value}" for name, value in facts.items()]
        lines.append(f"  {'component':<11} {'class':<32} {'tensors':>7} {'parameters':>13} {'dtype':<10} {'MB':>9}")
        lines += [
            f"  {part.name:<11} {part.class_name:<32} {len(part.shapes):>7,} {part.parameters:>13,} "
            f"{'/'.join(part.dtypes) or '-':<10} {part.size / 1e6:>9,.1f}"
            for part in self.components
        ]
        tensors, parameters = (sum(column) for column in zip(*map(_counts, self.components), strict=True))
        size = sum(part.size for part in self.components) / 1e6
        lines.append(f"  {'total':<11} {'':<32} {tensors:>7,} {parameters:>13,} {'':<10} {size:>9,.1f}")
        return "\n".join(map(_printable, lines))


def inspect(path: Path, *, variant: str | None = None) -> Summary:
    """Describe the checkpoint folder `path`; `variant` picks `NAME.VARIANT.safetensors` files, as in diffusers.

    Raises CheckpointError if it is no checkpoint, incomplete, or holds pickles where weights should be.
    """
    if not path.is_dir():
        if path.suffix in PICKLES:
            raise CheckpointError(
                "pickles can run code and are never opened", "convert it to safetensors first", where=path
            )
        raise CheckpointError(
            "no such folder", f"a checkpoint is a folder with {INDEX} or with unet/config.json", where=path
        )
    parts = components(path, variant=variant)
    by_name = {part.name: part for part in parts}
    if "unet" not in by_name:
        found = ", ".join(by_name) or "nothing of the kind"
        raise CheckpointError("a checkpoint has a folder unet with its network", f"found {found}", where=path)
    index = read_json(path, INDEX) if (path / INDEX).exists() else {}
    if "backbone" not in index:
        return _published(path, index, by_name["unet"], parts)
    if index.get("kind") not in tuple(PIPELINES):  # it may be anything, unhashable too
        raise CheckpointError(
            f"kind is {index.get('kind')!r}, expected one of {', '.join(PIPELINES)}", where=path / INDEX
        )
    attributes, training = index.get("attributes") or GBUFFERS, index.get("training") or {}
    if not isinstance(attributes, list | tuple) or not isinstance(training, dict):
        raise CheckpointError("attributes must be a list and training an object", "save it again", where=path / INDEX)
    return Summary(
        path,
        "lightloom",
        index["kind"],
        str(index["backbone"]),
        tuple(map(str, attributes)),
        str(index.get("sampler", "unknown")),
        str(index.get("prediction", "unknown")),
        bool(index.get("joint", False)),
        bool(index.get("hints", False)),
        str(index.get("licence") or ""),
        training,
        parts,
    )


def components(root: Path, *, variant: str | None = None) -> tuple[Component, ...]:
    """The component folders of a checkpoint, by name, with what their headers say. Raises CheckpointError."""
    parts = []
    for folder in sorted(inside(root, child.name) for child in root.iterdir() if child.is_dir()):
        config = next((name for name in _CONFIGS if (folder / name).is_file()), None)
        is_lora = (folder / f"{LORA}.safetensors").is_file()
        weights = [file for file in folder.iterdir() if file.suffix in {".safetensors", *PICKLES}]
        if config is None and not weights:
            continue
        files: list[Path] = []
        if is_lora:
            files = weight_files(root, folder.name, name=LORA)
        elif config != "scheduler_config.json":
            files = weight_files(root, folder.name, variant)
        class_name = str(read_json(root, Path(folder.name) / config).get("_class_name", "")) if config else ""
        parts.append(_component(folder.name, class_name or ("LoRA" if is_lora else "unknown"), files))
    return tuple(parts)


def kind_of(unet: Component) -> Kind:
    """Whether a UNet of the svd layout is an inverse or a forward one, by its tensors. Raises CheckpointError."""
    if EMBEDDING in unet.shapes:
        return "inverse"
    temporal = any(_TEMPORAL_CROSS_ATTENTION in name for name in unet.shapes)
    if "conv_in.weight" in unet.shapes and not temporal:
        return "forward"
    raise CheckpointError(
        (
            f"unet: {len(unet.shapes)} tensors of neither the inverse layout (with {EMBEDDING}) nor the "
            "forward layout (without temporal cross-attention)"
        ),
        "is this a DiffusionRenderer checkpoint?",
    )


def _published(path: Path, index: dict[str, Any], unet: Component, parts: tuple[Component, ...]) -> Summary:
    scheduler = Path("scheduler") / "scheduler_config.json"
    prediction = read_json(path, scheduler).get("prediction_type", "") if (path / scheduler).is_file() else ""
    return Summary(
        path,
        "published",
        kind_of(unet),
        "svd",
        GBUFFERS,
        "diffusion",
        PREDICTIONS.get(prediction, prediction or "unknown"),
        joint=False,
        hints=False,
        licence=str(index.get("licence") or ""),
        training={},
        components=parts,
    )


def _component(name: str, class_name: str, files: list[Path]) -> Component:
    shapes: dict[str, tuple[int, ...]] = {}
    dtypes: Counter[str] = Counter()
    for file in files:
        for tensor, entry in read_header(file).items():
            if tensor == "__metadata__":
                continue
            shape, dtype = entry.get("shape"), entry.get("dtype")
            if (
                not isinstance(dtype, str)
                or not isinstance(shape, list)
                or not all(type(size) is int for size in shape)
            ):
                raise CheckpointError(f"tensor {tensor!r} has no shape or type", "fetch the file again", where=file)
            if tensor in shapes:
                raise CheckpointError(f"tensor {tensor!r} stands in two files of {name}", where=file)
            shapes[tensor] = tuple(shape)
            dtypes[dtype] += 1
    return Component(name, class_name, tuple(files), shapes, tuple(dtype for dtype, _ in dtypes.most_common()))


def _counts(part: Component) -> tuple[int, int]:
    return len(part.shapes), part.parameters


def _printable(line: str) -> str:
    """`line` without control characters: what a stranger's JSON says must not steer the terminal."""
    return "".join(character if character.isprintable() else "?" for character in line)


def _short(value: Any) -> str:
    """A number as it is read, a short value as it is, a long one by its size: `--json` shows all of it."""
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, dict | list) and len(str(value)) > 40:
        return f"({len(value)} entries, see --json)"
    return str(value)
