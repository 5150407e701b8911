"""Checkpoints from strangers: what is loaded, and everything that is refused, each with one clear error."""

from __future__ import annotations

import json
import shutil
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from manifests.errors import CheckpointError, InputError
from renderers import ForwardRenderer, InverseRenderer, load
from renderers.backbones import BACKBONES, component_class
from renderers.checkpoints import reading
from tests.renderers.narrow import narrow_checkpoint

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return narrow_checkpoint(tmp_path_factory.mktemp("published") / "inverse", "inverse", bare=True)


@pytest.fixture
def folder(published: Path, tmp_path: Path) -> Path:
    """A checkpoint of one's own to break."""
    return Path(shutil.copytree(published, tmp_path / "checkpoint"))


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_published_folder_loads_without_its_code(published: Path) -> None:
    index = json.loads((published / "model_index.json").read_text())
    assert index["unet"][0] == "their_code" and "backbone" not in index
    renderer = load(published)
    assert isinstance(renderer, InverseRenderer)
    assert renderer.config["backbone"] == "svd" and renderer.config["sampler"] == "diffusion"


def test_a_setting_can_be_overridden_and_an_unknown_one_is_refused(published: Path) -> None:
    assert InverseRenderer.from_pretrained(published, sampler="one-step").config["sampler"] == "one-step"
    with pytest.raises(InputError, match="no setting 'sampler_name'"):
        InverseRenderer.from_pretrained(published, sampler_name="one-step")
    with pytest.raises(CheckpointError, match="sampler is 'two-step'"):
        InverseRenderer.from_pretrained(published, sampler="two-step")


def test_a_checkpoint_of_the_other_kind_says_which_class_loads_it(published: Path) -> None:
    with pytest.raises(CheckpointError, match=r"holds weights of kind inverse.*load it with InverseRenderer"):
        ForwardRenderer.from_pretrained(published)


def test_names_in_json_are_never_imported(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "evil_code.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    edit(folder / "model_index.json", unet=["evil_code", "UNet"], vae=["evil_code", "Autoencoder"])
    assert isinstance(load(folder), InverseRenderer)
    edit(folder / "model_index.json", scheduler=["evil_code", "Scheduler"])
    with pytest.raises(CheckpointError, match="class 'Scheduler' is not one that Lightloom loads"):
        load(folder)


def test_our_own_layout_must_name_registered_classes_in_their_places() -> None:
    with pytest.raises(CheckpointError, match="'Unheard' is not one"):
        component_class("unet", "Unheard", "inverse", published=False)
    with pytest.raises(CheckpointError, match="belongs in vae"):
        component_class("unet", "AutoencoderKLTemporalDecoder", "inverse", published=True)
    with pytest.raises(CheckpointError, match="of another kind"):
        component_class("unet", "ForwardUNet", "inverse", published=False)


def test_every_registered_network_can_be_built() -> None:
    with torch.device("meta"):
        for family in BACKBONES.values():
            for kind, name in family.networks.items():
                assert type(family.create(kind)).__name__ == name


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"training": "long"}, "training an object"),
        ({"sampler": 5}, "sampler is 5"),
        ({"kind": "weather"}, "kind is 'weather'"),
        ({"backbone": "huge"}, "unknown backbone 'huge'"),
        ({"unet": None}, "names no unet"),
    ],
)
def test_settings_that_make_no_sense_are_refused(folder: Path, changes: dict[str, Any], message: str) -> None:
    edit(folder / "model_index.json", **({"backbone": "svd", "kind": "inverse", "unet": ["", "InverseUNet"]} | changes))
    with pytest.raises(CheckpointError, match=message):
        load(folder)


def test_a_pickle_in_place_of_safetensors_is_refused_unopened(folder: Path) -> None:
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))
    with pytest.raises(CheckpointError, match=r"holds a pickle \(diffusion_pytorch_model.bin\)"):
        load(folder)


@pytest.mark.parametrize("name", ["model.ckpt", "model.pt", "model.pkl", "model.bin"])
def test_a_pickle_file_is_refused_by_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"\x80\x04.")
    with pytest.raises(CheckpointError, match="never opened"):
        load(tmp_path / name)


@pytest.mark.parametrize("missing", ["model_index.json", "unet/config.json", "vae/diffusion_pytorch_model.safetensors"])
def test_missing_files_are_named(folder: Path, missing: str) -> None:
    (folder / missing).unlink()
    with pytest.raises(CheckpointError, match=Path(missing).name.replace(".", r"\.")):
        load(folder)


def test_a_missing_folder_and_a_name_that_is_no_hub_id(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such folder, and not a hub id"):
        load(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match="the hub did not give it"):
        load("nobody/nothing", cache_dir=tmp_path, local_files_only=True)


def test_tensors_that_do_not_fit_are_named(folder: Path) -> None:
    from safetensors.torch import load_file

    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    state = load_file(path)
    extra = {**state, "stray.weight": torch.zeros(1)}
    save_file(extra, path, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"unexpected tensors, the first stray\.weight"):
        load(folder)
    lost = {name: tensor for name, tensor in state.items() if name != "conv_out.bias"}
    save_file(lost, path, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"conv_out\.bias"):
        load(folder)
    save_file(state | {"conv_out.bias": torch.zeros(7)}, path, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match="unet"):
        load(folder)


@pytest.mark.parametrize("changes", [{"layers_per_block": 200_000}, {"block_out_channels": [8] * 100_000}])
def test_a_network_of_more_layers_than_there_are_tensors_is_not_built(folder: Path, changes: dict[str, Any]) -> None:
    edit(folder / "unet" / "config.json", **changes)
    with pytest.raises(CheckpointError, match="asks for more layers than its"):
        InverseRenderer.from_pretrained(folder)


def test_links_out_of_the_checkpoint_are_refused(folder: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside.json"
    (folder / "unet" / "config.json").rename(outside)
    (folder / "unet" / "config.json").symlink_to(outside)
    with pytest.raises(CheckpointError, match="leads out of the checkpoint folder"):
        load(folder)


def test_the_hubs_cache_may_link_to_its_blobs(folder: Path, tmp_path: Path) -> None:
    snapshot = tmp_path / "models--a--b" / "snapshots" / "0123"
    blob = tmp_path / "models--a--b" / "blobs" / "abcd"
    snapshot.mkdir(parents=True)
    blob.parent.mkdir()
    blob.write_text("{}")
    (snapshot / "model_index.json").symlink_to("../../blobs/abcd")
    assert reading.read_json(snapshot, "model_index.json") == {}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a safetensors file"),
        (b"\x80\x04not safetensors at all", "not a safetensors file"),
        (struct.pack("<Q", 2**40) + b"{}", "not a safetensors file"),
        (struct.pack("<Q", 4) + b"nope", "header is damaged"),
        (struct.pack("<Q", 2) + b"[]", "header is damaged"),
        (struct.pack("<Q", 2) + b"{}" + b"more", "do not match"),
    ],
)
def test_broken_safetensors_are_refused_by_their_header(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        reading.read_header(path)


def test_a_truncated_weight_file_is_refused(folder: Path) -> None:
    path = folder / "vae" / "diffusion_pytorch_model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="cut off"):
        load(folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "not valid JSON"), ("[1]", "expected an object"), ('{"quantization_config": {"a": 1}}', "not supported")],
)
def test_bad_json_is_refused(folder: Path, text: str, message: str) -> None:
    (folder / "unet" / "config.json").write_text(text)
    with pytest.raises(CheckpointError, match=message):
        load(folder)


def test_a_json_file_of_many_megabytes_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "model_index.json").open("wb") as file:
        file.truncate(reading.MAX_JSON + 1)
    with pytest.raises(CheckpointError, match=r"larger than 16\.8 MB"):
        reading.read_json(tmp_path, "model_index.json")


def test_an_index_of_shards_cannot_point_elsewhere(folder: Path) -> None:
    index = folder / "unet" / "diffusion_pytorch_model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"conv_in.weight": "../vae/diffusion_pytorch_model.safetensors"}}))
    with pytest.raises(CheckpointError, match="not plain file names"):
        reading.weight_files(folder, "unet")
    index.write_text(json.dumps({"weight_map": {"conv_in.weight": "weights.bin"}}))
    with pytest.raises(CheckpointError, match="holds a pickle"):
        reading.weight_files(folder, "unet")


def test_a_sharded_variant_round_trips(published: Path, tmp_path: Path) -> None:
    renderer = load(published)
    renderer.save_pretrained(tmp_path / "sharded", variant="ema", max_shard_size="1MB")
    assert len(list((tmp_path / "sharded" / "unet").glob("*.safetensors"))) > 1
    again = load(tmp_path / "sharded", variant="ema")
    state = renderer.unet.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in again.unet.state_dict().items())


def test_saving_replaces_checkpoints_and_nothing_else(published: Path, tmp_path: Path) -> None:
    renderer = load(published)
    target = tmp_path / "saved"
    renderer.save_pretrained(target)
    (target / "stale.json").write_text("{}")
    renderer.save_pretrained(target)
    assert not (target / "stale.json").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["saved"]
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.txt").write_text("years of work")
    with pytest.raises(CheckpointError, match="is no checkpoint"):
        renderer.save_pretrained(precious)
    assert (precious / "thesis.txt").exists()


def test_a_save_that_fails_leaves_the_old_checkpoint(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    renderer = load(published)
    target = tmp_path / "saved"
    renderer.save_pretrained(target)
    before = (target / "model_index.json").read_bytes()

    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("power cut")

    monkeypatch.setattr(renderer.vae, "save_pretrained", fail)
    with pytest.raises(RuntimeError, match="power cut"):
        renderer.save_pretrained(target)
    assert (target / "model_index.json").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["saved"]
    assert isinstance(load(target), InverseRenderer)


def test_float16_keeps_an_autoencoder_that_overflows_in_float32(published: Path) -> None:
    renderer = load(published, torch_dtype=torch.float16)
    assert renderer.unet.dtype == torch.float16 and renderer.vae.dtype == torch.float32


@pytest.mark.parametrize(
    "entries",
    [
        {"a": {"dtype": "F32", "shape": [10**12, 10**12], "data_offsets": [0, 4]}},
        {
            "a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
            "b": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
        },
        {"a": {"dtype": "F32", "shape": [-1, -1], "data_offsets": [0, 4]}},
        {"a": {"dtype": "F32", "shape": [0], "data_offsets": [4, 4]}},
        {"a": {"dtype": "odd", "shape": [1], "data_offsets": [0, 4]}},
        {"a": {"dtype": "F32", "shape": [1.0], "data_offsets": [0, 4]}},
        {"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, "4"]}},
        {"a": {"dtype": "F32", "shape": [1]}},
        {"a": 5},
    ],
)
def test_a_header_that_lies_about_its_tensors_is_damaged(tmp_path: Path, entries: dict[str, Any]) -> None:
    text = json.dumps(entries).encode()
    (tmp_path / "lies.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + bytes(4))
    with pytest.raises(CheckpointError, match="header is damaged"):
        reading.read_header(tmp_path / "lies.safetensors")
