"""What `inspect` tells and `convert` writes, and what both refuse. Weights are narrow and random."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from manifests.errors import CheckpointError, InputError
from renderers.checkpoints.conversion import convert
from renderers.checkpoints.summary import inspect
from tests.renderers.narrow import narrow_checkpoint

torch.set_num_threads(1)
WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("published")
    for kind in ("inverse", "forward"):
        narrow_checkpoint(root / kind, kind, bare=True)  # type: ignore[arg-type]
    return root


@pytest.fixture
def published(originals: Path, tmp_path: Path) -> Path:
    """Copies that a test may damage."""
    return Path(shutil.copytree(originals, tmp_path / "published"))


@pytest.mark.parametrize("kind", ["inverse", "forward"])
def test_a_bare_published_folder_shows_its_kind_by_its_tensors(originals: Path, kind: str) -> None:
    summary = inspect(originals / kind)
    assert (summary.layout, summary.kind, summary.backbone) == ("published", kind, "svd")
    assert (summary.sampler, summary.prediction, summary.licence) == ("diffusion", "v", "")
    unet = next(part for part in summary.components if part.name == "unet")
    stored = load_file(originals / kind / "unet" / WEIGHTS)
    assert unet.shapes == {name: tuple(tensor.shape) for name, tensor in stored.items()}
    assert unet.parameters == sum(tensor.numel() for tensor in stored.values())
    assert unet.dtypes == ("F32",)


def test_inspect_reads_headers_only(originals: Path, tmp_path: Path) -> None:
    """A file whose tensors are a hole of a terabyte is described at once."""
    folder = tmp_path / "large"
    (folder / "unet").mkdir(parents=True)
    (folder / "unet" / "config.json").write_text('{"_class_name": "InverseUNet"}')
    shape, size = [2**19, 2**19], 2**40
    header = json.dumps({"context_embedding.weight": {"dtype": "F32", "shape": shape, "data_offsets": [0, size]}})
    path = folder / "unet" / WEIGHTS
    with path.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header.encode())
        file.truncate(8 + len(header) + size)
    assert inspect(folder).components[0].parameters == 2**38


def test_our_layout_says_what_it_is(tmp_path: Path) -> None:
    folder = narrow_checkpoint(tmp_path / "ours", "inverse", joint=True, sampler="one-step")
    index = json.loads((folder / "model_index.json").read_text())
    index |= {"training": {"steps": 1000, "loss": 0.125}, "licence": "CC0-1.0"}
    (folder / "model_index.json").write_text(json.dumps(index))
    summary = inspect(folder)
    assert summary.layout == "lightloom"
    assert (summary.sampler, summary.prediction, summary.joint) == ("one-step", "v", True)
    table = summary.table()
    assert "inverse renderer, backbone svd, Lightloom's layout" in table
    assert "basecolor, normal, depth, roughness, metallic (all in one pass)" in table
    assert "steps 1000, loss 0.125" in table
    assert "CC0-1.0" in table
    record = json.loads(summary.json())
    assert record["training"] == {"steps": 1000, "loss": 0.125}
    unet = next(part for part in record["components"] if part["name"] == "unet")
    assert unet["bytes"] == (folder / "unet" / WEIGHTS).stat().st_size
    assert unet["tensors"] == len(load_file(folder / "unet" / WEIGHTS))


@pytest.mark.parametrize("kind", ["inverse", "forward"])
def test_conversion_copies_every_weight_and_says_what_it_is(originals: Path, tmp_path: Path, kind: str) -> None:
    destination = tmp_path / "deep" / "converted"
    convert(originals / kind, destination, kind, licence=" LicenseRef-NC ", sampler="one-step")  # type: ignore[arg-type]
    for original in (originals / kind).rglob("*.safetensors"):
        copy = destination / original.relative_to(originals / kind)
        assert copy.read_bytes() == original.read_bytes()
    summary = inspect(destination)
    assert (summary.layout, summary.kind, summary.sampler) == ("lightloom", kind, "one-step")
    assert summary.licence == "LicenseRef-NC"
    assert summary.training == {"converted_from": kind}
    assert {part.name for part in summary.components} == {part.name for part in inspect(originals / kind).components}
    assert not any(part.class_name.startswith("Their") for part in summary.components)
    assert [path.name for path in destination.parent.iterdir()] == ["converted"]  # no temporary folder stays


@pytest.mark.parametrize("kind", ["inverse", "forward"])
def test_a_converted_checkpoint_loads_as_the_published_one_does(originals: Path, tmp_path: Path, kind: str) -> None:
    from renderers import load

    converted = convert(originals / kind, tmp_path / "converted", kind, licence="CC0-1.0")  # type: ignore[arg-type]
    ours, theirs = load(converted), load(originals / kind)
    assert type(ours) is type(theirs)
    for name, tensor in ours.unet.state_dict().items():
        assert torch.equal(tensor, theirs.unet.state_dict()[name])
    assert ours.config.licence == "CC0-1.0"


def test_shards_are_converted_with_their_index(published: Path, tmp_path: Path) -> None:
    folder = published / "inverse" / "unet"
    tensors = load_file(folder / WEIGHTS)
    (folder / WEIGHTS).unlink()
    names = sorted(tensors)
    shards = {f"diffusion_pytorch_model-0000{i + 1}-of-00002.safetensors": names[i::2] for i in range(2)}
    for shard, kept in shards.items():
        save_file({name: tensors[name] for name in kept}, folder / shard)
    index = {"metadata": {}, "weight_map": {name: shard for shard, kept in shards.items() for name in kept}}
    (folder / f"{WEIGHTS}.index.json").write_text(json.dumps(index))
    converted = convert(published / "inverse", tmp_path / "converted", "inverse", licence="CC0-1.0")
    unet = next(part for part in inspect(converted).components if part.name == "unet")
    assert len(unet.files) == 2
    assert sorted(unet.shapes) == names


def resave(path: Path, change) -> None:  # type: ignore[no-untyped-def]
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)


def edit_config(path: Path, **entries: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))


BROKEN = {
    "a tensor is missing": (
        lambda root: resave(root / "unet" / WEIGHTS, lambda tensors: tensors.pop("conv_in.bias")),
        r"lacks 1 tensors of \d+, first 'conv_in.bias'",
    ),
    "a tensor is unknown": (
        lambda root: resave(root / "vae" / WEIGHTS, lambda tensors: tensors.update(extra=torch.zeros(1))),
        r"has unknown 1 tensors of \d+, first 'extra'",
    ),
    "a tensor has another shape": (
        lambda root: resave(root / "unet" / WEIGHTS, lambda tensors: tensors.update({"conv_in.bias": torch.zeros(7)})),
        r"conv_in.bias. has shape \(7,\), expected \(32,\)",
    ),
    "settings are of another network": (
        lambda root: edit_config(root / "unet" / "config.json", block_out_channels=[32, 64]),
        "unet.*(no settings of InverseUNet|tensors of)",
    ),
    "settings are damaged": (lambda root: (root / "vae" / "config.json").write_text("{"), "not valid JSON"),
    "a folder is missing": (lambda root: shutil.rmtree(root / "vae"), "lacks vae, which the inverse renderer needs"),
    "the unet is missing": (lambda root: shutil.rmtree(root / "unet"), "lacks unet"),
    "a file is cut off": (
        lambda root: (root / "unet" / WEIGHTS).write_bytes((root / "unet" / WEIGHTS).read_bytes()[:-100]),
        "do not match the safetensors header",
    ),
    "weights are a pickle": (
        lambda root: (root / "unet" / WEIGHTS).rename(root / "unet" / "diffusion_pytorch_model.bin"),
        "pickles can run code and are never opened",
    ),
    "the scheduler predicts noise": (
        lambda root: edit_config(root / "scheduler" / "scheduler_config.json", prediction_type="epsilon"),
        "prediction type 'epsilon'",
    ),
    "a file is a link that leads out": (
        lambda root: (
            (root / "vae" / WEIGHTS).rename(root.parent / "elsewhere"),
            (root / "vae" / WEIGHTS).symlink_to(root.parent / "elsewhere"),
        ),
        "leads out of the checkpoint folder",
    ),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_damaged_checkpoint_is_one_clear_error_and_leaves_nothing(published: Path, tmp_path: Path, how: str) -> None:
    damage, words = BROKEN[how]
    damage(published / "inverse")
    with pytest.raises(CheckpointError, match=words) as caught:
        convert(published / "inverse", tmp_path / "out" / "converted", "inverse", licence="CC0-1.0")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_a_lora_that_fits_no_layer_is_refused(published: Path, tmp_path: Path) -> None:
    lora = published / "forward" / "lora" / "pytorch_lora_weights.safetensors"
    resave(lora, lambda tensors: tensors.update({"unet.nowhere.lora_A.weight": torch.zeros(4, 5)}))
    with pytest.raises(CheckpointError, match=r"unet.nowhere.lora_A.weight. is no LoRA tensor"):
        convert(published / "forward", tmp_path / "a", "forward", licence="CC0-1.0")
    resave(lora, lambda tensors: (tensors.pop("unet.nowhere.lora_A.weight"), tensors.update(misfit(tensors))))
    with pytest.raises(CheckpointError, match="does not fit a weight"):
        convert(published / "forward", tmp_path / "b", "forward", licence="CC0-1.0")


def misfit(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {min(tensors): torch.zeros(4, 5)}


def test_conversion_refuses_the_other_kind_a_taken_place_and_no_licence(originals: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="forward renderer, not of the inverse"):
        convert(originals / "forward", tmp_path / "a", "inverse", licence="CC0-1.0")
    with pytest.raises(InputError, match="exists already"):
        convert(originals / "inverse", tmp_path, "inverse", licence="CC0-1.0")
    with pytest.raises(InputError, match="licence"):
        convert(originals / "inverse", tmp_path / "b", "inverse", licence=" ")
    with pytest.raises(CheckpointError, match="no such folder"):
        convert(tmp_path / "absent", tmp_path / "c", "inverse", licence="CC0-1.0")


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"attributes": 5}, "attributes must be a list"),
        ({"training": ["a"]}, "training an object"),
        ({"kind": ["inverse"]}, "kind is"),
    ],
)
def test_an_index_that_makes_no_sense_is_one_clear_error(tmp_path: Path, entry: dict, words: str) -> None:
    (tmp_path / "unet").mkdir()
    save_file({"weight": torch.zeros(2)}, tmp_path / "unet" / WEIGHTS)
    index = {"backbone": "svd", "kind": "inverse", "licence": "\x1b[2J"}
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    assert "\x1b" not in inspect(tmp_path).table()
    (tmp_path / "model_index.json").write_text(json.dumps(index | entry))
    with pytest.raises(CheckpointError, match=words):
        inspect(tmp_path)


@pytest.mark.parametrize("entry", [{"dtype": "F32", "shape": "ab"}, {"dtype": ["F32"], "shape": [2]}])
def test_a_header_that_makes_no_sense_is_one_clear_error(tmp_path: Path, entry: dict) -> None:
    (tmp_path / "unet").mkdir()
    header = json.dumps({"weight": entry | {"data_offsets": [0, 8]}}).encode()
    (tmp_path / "unet" / WEIGHTS).write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))
    with pytest.raises(CheckpointError, match=r"safetensors|no shape or type"):
        inspect(tmp_path)


def test_what_is_no_checkpoint_is_said_to_be_none(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such folder"):
        inspect(tmp_path / "absent")
    with pytest.raises(CheckpointError, match="found nothing of the kind"):
        inspect(tmp_path)
    with pytest.raises(CheckpointError, match="pickles can run code"):
        inspect(tmp_path / "model.ckpt")
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / "config.json").write_text("{}")
    save_file({"weight": torch.zeros(2)}, tmp_path / "unet" / WEIGHTS)
    with pytest.raises(CheckpointError, match="neither the inverse layout"):
        inspect(tmp_path)
