"""Reading checkpoints that may come from anyone: a folder or a hub id, JSON and safetensors only, nothing executed.

A checkpoint folder is untrusted input. Files are small JSON or safetensors, sizes of both are checked before they are
read, links may not lead out of the folder, class names are looked up in `renderers.backbones`, and
pickles (.bin, .pt, .ckpt, .pkl) are refused without being opened. Every failure is one CheckpointError.
"""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from manifests.errors import CheckpointError
from manifests.untrusted import read_bounded

if TYPE_CHECKING:
    import torch

INDEX = "model_index.json"
NOTICE = "NOTICE.txt"
NOTICES = {
    "LicenseRef-NVIDIA-Open-Model-License": (
        "Licensed by NVIDIA Corporation under the NVIDIA Open Model License\n\nBuilt on NVIDIA Cosmos\n"
    )
}
"""What must lie beside weights of a licence, by its name, as `NOTICE`."""
MAX_JSON = 16 * 2**20
MAX_HEADER = 32 * 2**20
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
_WEIGHTS = "diffusion_pytorch_model"
_HUB_ID = re.compile(r"[\w][\w.-]*/[\w][\w.-]*")
_LAYERS = re.compile("depth|layers|blocks")  # entries that count layers
_PER_LAYER = re.compile("depth|layers|block")  # lists with an entry for each
_REFUSED_KEYS = ("quantization_config", "auto_map")  # each would make a loader import what the file names


def locate(
    source: str | Path,
    *,
    revision: str | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
) -> Path:
    """The folder of checkpoint `source`: itself where it is a folder, else a hub id (`owner/name`), downloaded.

    From the hub only JSON and safetensors are fetched. Raises CheckpointError.
    """
    path = Path(source)
    if path.is_dir():
        return path
    if path.suffix in PICKLES:
        raise CheckpointError(
            "pickles can run code and are never opened", "convert it to safetensors first", where=path
        )
    if path.exists():
        raise CheckpointError(f"a checkpoint is a folder with {INDEX}, this is a file", where=path)
    if not _HUB_ID.fullmatch(str(source)):
        raise CheckpointError("no such folder, and not a hub id of the form owner/name", where=source)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        folder = snapshot_download(
            str(source),
            revision=revision,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
            allow_patterns=["*.json", "*.safetensors"],
        )
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CheckpointError(
            f"no such folder here, and the hub did not give it ({reason})",
            "check the name and the connection",
            where=source,
        ) from error
    return Path(folder)


def check_replaceable(target: Path) -> None:
    """Raise CheckpointError unless `target` is absent, an empty folder, or a checkpoint of ours."""
    if target.exists() and not (target / INDEX).is_file() and (target.is_file() or any(target.iterdir())):
        raise CheckpointError("exists and is no checkpoint", "choose another folder", where=target)


def inside(root: Path, relative: str | Path) -> Path:
    """`root / relative`, checked: neither `..` nor a link may lead out of the checkpoint. Raises CheckpointError.

    In the hub's cache a snapshot's files are links into the `blobs` folder beside it; those count as inside.
    """
    path = root / relative
    resolved = path.resolve()
    allowed = [root.resolve()]
    if root.resolve().parent.name == "snapshots":
        allowed.append(root.resolve().parent.parent / "blobs")
    if not any(resolved.is_relative_to(folder) for folder in allowed):
        raise CheckpointError("leads out of the checkpoint folder", "copy the file into it", where=path)
    return path


def read_json(root: Path, relative: str | Path) -> dict[str, Any]:
    """One JSON object of a checkpoint, at most 16 MiB. Raises CheckpointError if missing, too large or no object."""
    path = inside(root, relative)
    if not path.is_file():
        raise CheckpointError("missing", f"the checkpoint is incomplete or {root} is not one", where=path)
    try:
        content = json.loads(read_bounded(path, MAX_JSON))
    except OSError as error:
        raise CheckpointError(f"cannot be read: {error.strerror}", where=path) from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"not valid JSON ({error})", "fetch it again", where=path) from error
    if not isinstance(content, dict):
        raise CheckpointError(f"holds a JSON {type(content).__name__}, expected an object", where=path)
    refused = [key for key in _REFUSED_KEYS if content.get(key) is not None]
    if refused:
        raise CheckpointError(f"key {refused[0]!r} is not supported", "save the model without it", where=path)
    return content


_BITS = {"BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "U16": 16, "I16": 16, "F16": 16, "BF16": 16}
_BITS |= {"U32": 32, "I32": 32, "F32": 32, "U64": 64, "I64": 64, "F64": 64}


def _checked_end(header: dict[str, Any]) -> int:
    """Where the data of a safetensors header ends; ValueError unless tensors lie end to end, each as large as its shape
    says."""
    end = 0
    entries = (entry for name, entry in header.items() if name != "__metadata__")
    for entry in sorted(entries, key=lambda entry: entry["data_offsets"][0]):
        first, last = entry["data_offsets"]
        if not all(isinstance(length, int) and length >= 0 for length in entry["shape"]):
            raise ValueError("a shape that is none")
        if first != end or 8 * (last - first) != math.prod(entry["shape"]) * _BITS[entry["dtype"]]:
            raise ValueError("offsets that do not fit the shapes")
        end = last
    return end


def read_header(path: Path) -> dict[str, Any]:
    """The header of a safetensors file: {tensor name: {dtype, shape, data_offsets}, "__metadata__": {...}}.

    No tensor is read. Raises CheckpointError if the file is cut off, is not safetensors, or its header exceeds 32 MiB.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        prefix = file.read(8)
        length = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else 0
        if not 2 <= length <= min(MAX_HEADER, size - 8):
            raise CheckpointError(f"not a safetensors file, or cut off ({size} bytes)", "fetch it again", where=path)
        try:
            header = json.loads(file.read(length))
            whole = 8 + length + _checked_end(header) == size
        except (ValueError, RecursionError, AttributeError, LookupError, TypeError) as error:
            raise CheckpointError("the safetensors header is damaged", "fetch it again", where=path) from error
    if not whole:
        raise CheckpointError(
            f"{size} bytes do not match the safetensors header (cut off?)", "fetch it again", where=path
        )
    return header


def weight_files(root: Path, component: str, variant: str | None = None, name: str = _WEIGHTS) -> list[Path]:
    """The safetensors files of `component`, one or the shards its index lists, each with a sound header.

    `variant` picks `NAME.VARIANT.safetensors`. Raises CheckpointError if there is none, or only a pickle.
    """
    stem = f"{name}.{variant}" if variant else name
    single = Path(component) / f"{stem}.safetensors"
    index = Path(component) / (
        f"{name}.safetensors.index.{variant}.json" if variant else f"{name}.safetensors.index.json"
    )
    if inside(root, index).is_file():
        shards = read_json(root, index).get("weight_map")
        names = list(shards.values()) if isinstance(shards, dict) else []
        if not names or not all(isinstance(shard, str) and Path(shard).name == shard for shard in names):
            raise CheckpointError("names shards that are not plain file names", where=root / index)
        files = [Path(component) / shard for shard in sorted(set(names))]
    else:
        files = [single]
    for file in files:
        path = inside(root, file)
        if path.suffix != ".safetensors" or not path.is_file():
            raise CheckpointError(_missing(root / component, path))
        read_header(path)
    return [root / file for file in files]


def load_model(model_class: Any, root: Path, component: str, *, dtype: torch.dtype | None, variant: str | None) -> Any:
    """A diffusers model from the checkpoint's folder `component`: every tensor present, none extra, none misshapen.

    Raises CheckpointError naming the first tensor that does not fit, or what is wrong with the folder.
    """
    folder = root / component
    config = read_json(root, Path(component) / "config.json")
    tensors = sum(len(read_header(file)) for file in weight_files(root, component, variant))
    if _most_layers(config) > tensors:  # building them would take hours before anything is missed
        raise CheckpointError(f"asks for more layers than its {tensors} tensors", where=folder / "config.json")
    try:
        model, info = model_class.from_pretrained(
            str(folder),
            torch_dtype=dtype,
            variant=variant,
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
        )
    except (ValueError, TypeError, OSError, RuntimeError, KeyError) as error:
        reason = " ".join(str(error).split())[:300]
        raise CheckpointError(
            f"does not fit {model_class.__name__} ({reason})", "is its config.json right?", where=folder
        ) from error
    for what in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        names = info.get(what) or []
        if names:
            problem = what.split("_")[0]
            raise CheckpointError(
                f"{len(names)} {problem} tensors, the first {sorted(map(str, names))[0]}", where=folder
            )
    return model.eval()


def _most_layers(config: Mapping[str, Any]) -> int:
    """The largest number of layers that an entry of a config.json may ask for."""
    most = 0
    for name, value in config.items():
        entries = value if isinstance(value, list) else [value]
        if _LAYERS.search(name):
            most = max([most, *(entry for entry in entries if isinstance(entry, int))])
        if _PER_LAYER.search(name):
            most = max(most, len(entries))
    return most


def _missing(folder: Path, path: Path) -> str:
    pickles = sorted(file.name for file in folder.glob("*") if file.suffix in PICKLES) if folder.is_dir() else []
    if path.suffix in PICKLES or pickles:
        name = path.name if path.suffix in PICKLES else pickles[0]
        return (
            f"{folder}: holds a pickle ({name}) where safetensors is needed; pickles can run code and are never opened"
        )
    return f"{path}: missing; the checkpoint is incomplete"
