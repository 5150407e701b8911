"""The published 7 B checkpoints, and fine-tunes of their layout, as checkpoints in Lightloom's: checked and rewritten.

A published checkpoint is one pickle of 29 GB, `model.pt`. It is read by torch's restricted unpickler alone, which
builds tensors and refuses everything else, and mapped, not loaded. Names and shapes are compared before anything is
written; then tensors are renamed, cast and written shard by shard, so that memory holds one shard at most.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import __version__ as diffusers_version
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from manifests.contract.attributes import GBUFFERS
from manifests.errors import CheckpointError, InputError
from manifests.files import atomic_folder, write_bytes
from renderers.checkpoints.reading import INDEX, NOTICE, NOTICES, locate, read_header, read_json, weight_files
from renderers.checkpoints.summary import PIPELINES, Kind
from renderers.cosmos.cosmos_autoencoder import CosmosAutoencoder
from renderers.cosmos.cosmos_backbone import CosmosBackbone
from renderers.cosmos.cosmos_transformer import CosmosForwardTransformer, CosmosInverseTransformer, fold

LICENCE = "LicenseRef-NVIDIA-Open-Model-License"
MODEL = "model.pt"
REPOSITORIES: Mapping[str, str] = {
    "nvidia/Diffusion_Renderer_Inverse_Cosmos_7B": "41f63abc",
    "nvidia/Diffusion_Renderer_Forward_Cosmos_7B": "7d5f9b81",
}
"""Published repositories and the revision of each that is taken."""
DIGESTS: Mapping[str, str] = {
    "nvidia/Diffusion_Renderer_Inverse_Cosmos_7B": "5b9f671b484e6ca4b13cc412d2e4d47338ec96008ddddae68afc1a0431a6d3ee",
    "nvidia/Diffusion_Renderer_Forward_Cosmos_7B": "56b6dd02d0653da94dc311b80d43ea606a111212438fc9525f292937f650ef98",
}
"""SHA-256 of `model.pt` at these revisions."""
AUTOENCODER = "nvidia/Cosmos-1.0-Tokenizer-CV8x8x8"
"""Has the autoencoder in diffusers' format, in its folder `vae`."""
STATISTICS = "nvidia/Cosmos-Tokenize1-CV8x8x8-720p"
"""Has `image_mean_std.pt`, the statistics of single images; its terms must be accepted at the hub."""
SHARD_BYTES = 5 * 10**9

_PICKLES = {".pt", ".pth", ".ckpt"}
_DROPPED = re.compile(r"pos_embedder\.seq|logvar\..*|.*\._extra_state")
_BLOCK = re.compile(r"blocks\.block(\d+)\.blocks\.([012])\.(?:block\.(?:attn\.)?)?(.+)\.weight")
_INNER = {
    "to_q.0": "attn{n}.to_q",
    "to_k.0": "attn{n}.to_k",
    "to_v.0": "attn{n}.to_v",
    "to_out.0": "attn{n}.to_out.0",
    "to_q.1": "attn{n}.norm_q",
    "to_k.1": "attn{n}.norm_k",
    "adaLN_modulation.1": "norm{n}.linear_1",
    "adaLN_modulation.2": "norm{n}.linear_2",
    "layer1": "ff.net.0.proj",
    "layer2": "ff.net.2",
}
_OUTER = {
    "x_embedder.proj.1.weight": "patch_embed.proj.weight",
    "t_embedder.1.linear_1.weight": "time_embed.t_embedder.linear_1.weight",
    "t_embedder.1.linear_2.weight": "time_embed.t_embedder.linear_2.weight",
    "affline_norm.weight": "time_embed.norm.weight",
    "final_layer.adaLN_modulation.1.weight": "norm_out.linear_1.weight",
    "final_layer.adaLN_modulation.2.weight": "norm_out.linear_2.weight",
    "final_layer.linear.weight": "proj_out.weight",
    "context_embedding.weight": "context_embedding.weight",
}


class LayoutError(CheckpointError):
    """Tensors are not those of the published layout; `differences` are all of them, in words."""

    def __init__(self, what: str, differences: list[str], where: Path) -> None:
        super().__init__(f"{what}: {_listed(differences)}", where=where)
        self.differences = tuple(differences)


def takes(source: str | Path) -> bool:
    """Whether `source` is, or as a folder has, one file of weights, or names a published repository."""
    path = Path(source)
    return _is_hub(source) or path.suffix in {*_PICKLES, ".safetensors"} or (path / MODEL).is_file()


def convert_cosmos(
    source: str | Path,
    destination: Path,
    *,
    kind: Kind | None = None,
    licence: str = LICENCE,
    autoencoder: str | Path | None = None,
    whole: bool = False,
) -> Path:
    """Write published weights to the new folder `destination`, in bfloat16; returns it.

    Args:
        source: `model.pt`, the folder that it lies in, a safetensors file of the same tensors, or a repository of
            `REPOSITORIES`, which is downloaded.
        destination: new folder; it appears when it is complete.
        kind: what it must be; the tensors tell.
        licence: recorded.
        autoencoder: folder or hub id with a folder `vae` in diffusers' format; None is what lies beside the source, or
            `AUTOENCODER`. `image_mean_std.pt` and `mean_std.pt` are taken from it, or from beside the source.
        whole: keep the cross-attention, which is folded otherwise.

    What was read, its SHA-256, its revision and its licence are recorded in the checkpoint, of the autoencoder too.
    Raises LayoutError listing what differs from the published layout, CheckpointError for what cannot be read or is not
    the published file, InputError where the destination is taken.
    """
    if destination.exists():
        raise InputError("exists already", "give a new folder", where=destination)
    path = _located(source)
    read = {"converted_from": str(source) if _is_hub(source) else path.name, "sha256": _sha256(path)}
    if _is_hub(source):
        read["revision"] = REPOSITORIES[str(source)]
        if read["sha256"] != DIGESTS[str(source)]:
            raise CheckpointError("is not the file that was published", "remove it and fetch it again", where=path)
    tensors = renamed(read_tensors(path), path)
    network = matching(tensors, path)
    found: Kind = "inverse" if isinstance(network, CosmosInverseTransformer) else "forward"
    if kind not in (None, found):
        raise CheckpointError(f"holds the {found} renderer, not the {kind} one", "give `kind`", where=path)
    beside = path.parent
    places = [beside]
    if autoencoder is None and not (beside / "vae").is_dir():
        autoencoder = AUTOENCODER
        places += _published_statistics()
    root = locate(autoencoder or beside)
    vae, files = _autoencoder(root, [root, *places])
    if not whole:
        tensors, config = fold(tensors), {**network.config, "folded": True}
        with torch.device("meta"):
            network = type(network).from_config(config)
    with atomic_folder(destination) as folder:
        network.save_config(folder / "unet")
        write_shards(folder / "unet", tensors)
        vae.save_config(folder / "vae")
        for file in files:
            shutil.copyfile(file, folder / "vae" / file.name)
        CosmosBackbone().scheduler("v").save_pretrained(folder / "scheduler")
        read |= {f"autoencoder_{file.name}": _sha256(file) for file in files if file.suffix == ".safetensors"}
        read["autoencoder"] = str(autoencoder) if autoencoder else "vae"
        index = _index(found, {"unet": network, "vae": vae}, licence, read)
        write_bytes(folder / INDEX, json.dumps(index, indent=2).encode() + b"\n")
        if licence in NOTICES:
            write_bytes(folder / NOTICE, NOTICES[licence].encode())
    return destination


def fetch(repository: str, say: Callable[[str], None]) -> Path:
    """The converted checkpoint of a repository of `REPOSITORIES`, downloaded and converted the first time.

    It is kept in `cache_folder()`. `say` is told the licence, and what is done. Raises CheckpointError.
    """
    folder = cache_folder() / f"{repository.rpartition('/')[2]}-{REPOSITORIES[repository]}"
    if not (folder / INDEX).is_file():
        say(f"{repository}: NVIDIA Open Model License, read it at huggingface.co/{repository} (docs/cosmos.md)")
        say(f"downloads 29 GB, then writes 12 GB to {folder}; both happen once")
        folder.parent.mkdir(parents=True, exist_ok=True)
        convert_cosmos(repository, folder)
        if not read_json(folder, Path("vae") / "config.json").get("image_mean"):
            say(f"no statistics of single images: accept the terms of {STATISTICS}; images are shown nine times")
    return folder


def cache_folder() -> Path:
    """Where converted checkpoints are kept: `lightloom` in the user's cache folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lightloom"


def read_tensors(path: Path) -> dict[str, Any]:
    """Tensors of a pickle or a safetensors file by name, on the CPU. Raises CheckpointError; nothing of it is run."""
    try:
        if path.suffix == ".safetensors":
            read_header(path)
            return load_file(path)
        content = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            "holds more than tensors, and none of it was run", "get it from its publisher", where=path
        ) from error
    except (OSError, RuntimeError, ValueError, EOFError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(f"cannot be read ({reason})", "fetch it again", where=path) from error
    if isinstance(content, Mapping) and isinstance(content.get("model"), Mapping):
        content = content["model"]
    if not isinstance(content, Mapping) or not all(isinstance(name, str) for name in content):
        raise CheckpointError("holds no tensors by name", where=path)
    return dict(content)


def renamed(content: Mapping[str, Any], where: Path) -> dict[str, Tensor]:
    """The network's tensors by our names, what else belongs into a published file left out.

    Raises LayoutError listing those that have no name.
    """
    tensors = {name.removeprefix("net."): tensor for name, tensor in content.items()}
    tensors = {name: tensor for name, tensor in tensors.items() if not _DROPPED.fullmatch(name)}
    names = {name: _renamed(name) for name in tensors}
    unknown = [name for name, ours in names.items() if ours is None or not isinstance(tensors[name], Tensor)]
    if unknown:
        raise LayoutError(f"has unknown {len(unknown)} tensors", unknown, where)
    return {str(names[name]): tensor for name, tensor in tensors.items()}


def matching(tensors: Mapping[str, Tensor], where: Path) -> Any:
    """Our network of these tensors' sizes, without memory; LayoutError lists all that differs from it."""
    try:
        width = tensors["patch_embed.proj.weight"].shape[0]
        head = tensors["transformer_blocks.0.attn1.norm_q.weight"].shape[0]
        config = {
            "num_attention_heads": width // head,
            "attention_head_dim": head,
            "num_layers": len({name.split(".")[1] for name in tensors if name.startswith("transformer_blocks.")}),
            "mlp_ratio": tensors["transformer_blocks.0.ff.net.0.proj.weight"].shape[0] / width,
            "text_embed_dim": tensors["transformer_blocks.0.attn2.to_k.weight"].shape[1],
            "adaln_lora_dim": tensors["norm_out.linear_1.weight"].shape[0],
        }
        table = tensors.get("context_embedding.weight")
        with torch.device("meta"):
            if table is None:
                network: Any = CosmosForwardTransformer(**config)
            else:
                network = CosmosInverseTransformer(num_attributes=table.shape[0], **config)
    except (KeyError, IndexError, ZeroDivisionError, RuntimeError) as error:
        raise CheckpointError(f"not weights of this layout ({error} is missing or wrong)", where=where) from error
    expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    differences = [f"lacks {name}" for name in sorted(expected.keys() - shapes.keys())]
    differences += [f"has {name} beside them" for name in sorted(shapes.keys() - expected.keys())]
    differences += [
        f"{name} is {shapes[name]}, not {shape}" for name, shape in expected.items() if shapes.get(name, shape) != shape
    ]
    if differences:
        raise LayoutError(f"{len(differences)} tensors differ", differences, where)
    return network


def write_shards(folder: Path, tensors: Mapping[str, Tensor], limit: int = SHARD_BYTES) -> None:
    """Write `tensors` in bfloat16, as diffusers' shards of at most `limit` bytes, or one file; holds one at a time."""
    shards = list(_shards(tensors, limit))
    stem = "diffusion_pytorch_model"
    places: dict[str, str] = {}
    for number, names in enumerate(shards, 1):
        file = f"{stem}.safetensors" if len(shards) == 1 else f"{stem}-{number:05d}-of-{len(shards):05d}.safetensors"
        places |= dict.fromkeys(names, file)
        part = {name: tensors[name].to(torch.bfloat16).contiguous() for name in names}
        save_file(part, folder / file, metadata={"format": "pt"})
    if len(shards) > 1:
        total = 2 * sum(tensor.numel() for tensor in tensors.values())
        document = {"metadata": {"total_size": total}, "weight_map": dict(sorted(places.items()))}
        write_bytes(folder / f"{stem}.safetensors.index.json", json.dumps(document, indent=2).encode() + b"\n")


def _shards(tensors: Mapping[str, Tensor], limit: int) -> Iterator[list[str]]:
    names: list[str] = []
    size = 0
    for name, tensor in tensors.items():
        if names and size + 2 * tensor.numel() > limit:
            yield names
            names, size = [], 0
        names.append(name)
        size += 2 * tensor.numel()
    yield names


def _renamed(name: str) -> str | None:
    inside = _BLOCK.fullmatch(name)
    if inside is None:
        return _OUTER.get(name)
    block, stage, rest = inside.groups()
    ours = _INNER.get(rest)
    return None if ours is None else f"transformer_blocks.{block}.{ours.format(n=int(stage) + 1)}.weight"


def _listed(names: list[str], most: int = 8) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _is_hub(source: str | Path) -> bool:
    return str(source) in REPOSITORIES


def _located(source: str | Path) -> Path:
    """The file of weights; a published repository is downloaded, with the statistics of single images beside it."""
    if _is_hub(source):
        return Path(_downloaded(str(source), MODEL, REPOSITORIES[str(source)]))
    path = Path(source) / MODEL if Path(source).is_dir() else Path(source)
    if path.is_file() and path.suffix in {*_PICKLES, ".safetensors"}:
        return path
    raise CheckpointError(f"no {MODEL} here", "give the file, or the folder that it lies in", where=source)


def _downloaded(repository: str, file: str, revision: str | None = None) -> str:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return hf_hub_download(repository, file, revision=revision)
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise CheckpointError(
            f"the hub did not give {file} ({reason})", "check the connection, and accept its terms", where=repository
        ) from error


def _published_statistics() -> list[Path]:
    """The folder of the statistics of single images, or none: `fetch` says what that means."""
    try:
        return [Path(_downloaded(STATISTICS, "image_mean_std.pt")).parent]
    except CheckpointError:
        return []


def _autoencoder(root: Path, places: list[Path]) -> tuple[CosmosAutoencoder, list[Path]]:
    """Our class on the meta device with the settings and statistics that were found, and the files of its weights."""
    config = read_json(root, Path("vae") / "config.json")
    files = weight_files(root, "vae")
    config |= _statistics(places, "mean_std.pt", "latents", 16 * 16)
    config |= _statistics(places, "image_mean_std.pt", "image", 16)
    with torch.device("meta"):
        vae = CosmosAutoencoder.from_config(config)
    expected = {name: tuple(tensor.shape) for name, tensor in vae.state_dict().items()}
    shapes = {n: tuple(e["shape"]) for file in files for n, e in read_header(file).items() if n != "__metadata__"}
    different = sorted(name for name in expected | shapes if expected.get(name) != shapes.get(name))
    if different:
        raise CheckpointError(f"{len(different)} tensors differ: {_listed(different)}", where=root / "vae")
    return vae, [*files, *(root / "vae").glob("*.safetensors.index.json")]


def _statistics(places: list[Path], file: str, name: str, count: int) -> dict[str, list[float]]:
    """Means and deviations as settings of the autoencoder, where a place has them."""
    path = next((place / file for place in places if (place / file).is_file()), None)
    if path is None:
        return {}
    try:
        pair = torch.load(path, map_location="cpu", weights_only=True)
        mean, deviation = (torch.as_tensor(one).float().flatten().tolist() for one in pair)
    except (pickle.UnpicklingError, OSError, RuntimeError, ValueError, TypeError, EOFError) as error:
        raise CheckpointError("holds no mean and deviation", "fetch it again", where=path) from error
    if len(mean) != count or len(deviation) != count or min(deviation) <= 0:
        raise CheckpointError(f"holds {len(mean)} means and {len(deviation)} deviations, not {count}", where=path)
    return {f"{name}_mean": mean, f"{name}_std": deviation}


def _index(kind: Kind, parts: Mapping[str, Any], licence: str, read: Mapping[str, str]) -> dict[str, Any]:
    """model_index.json of a converted checkpoint."""
    index: dict[str, Any] = {"_class_name": PIPELINES[kind], "_diffusers_version": diffusers_version}
    index |= {name: [type(part).__module__, type(part).__name__] for name, part in parts.items()}
    index |= {"scheduler": ["diffusers", "EulerDiscreteScheduler"], "kind": kind, "backbone": "cosmos"}
    index |= {"sampler": "diffusion", "prediction": "v", "hints": False}
    index |= {"attributes": list(GBUFFERS), "joint": False} if kind == "inverse" else {"environment_size": None}
    return index | {"training": dict(read), "licence": licence}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
