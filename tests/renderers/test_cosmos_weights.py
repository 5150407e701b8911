"""Published cosmos files become checkpoints: checked, renamed, folded, sharded; nothing hostile in them runs."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from lightloom.commands import checkpoint
from manifests.errors import CheckpointError, InputError
from renderers import ForwardRenderer, InverseRenderer, load
from renderers.checkpoints.summary import inspect
from renderers.cosmos import published_weights
from renderers.cosmos.published_weights import LICENCE, LayoutError, convert_cosmos, fetch, write_shards
from renderers.svd import lora
from tests.renderers.narrow_cosmos import as_published, narrow_cosmos, narrow_video_vae, published_folder

torch.set_num_threads(1)
VIDEO = np.random.default_rng(0).random((5, 32, 48, 3), dtype=np.float32)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("cosmos")
    for kind in ("inverse", "forward"):
        published_folder(root / kind, kind)
    return root


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def gbuffers_of(renderer: Any) -> dict[str, np.ndarray]:
    renderer.set_progress_bar_config(disable=True)
    return dict(renderer(VIDEO, steps=2, generator=seeded()).gbuffers)


@pytest.mark.parametrize("whole", [True, False])
def test_a_published_file_converts_and_labels_a_clip_as_its_network_does(
    published: Path, tmp_path: Path, whole: bool
) -> None:
    folder = convert_cosmos(published / "inverse" / "model.pt", tmp_path / "inverse", whole=whole)
    network = narrow_cosmos("inverse").to(torch.bfloat16).float()
    direct = gbuffers_of(InverseRenderer(network, vae=narrow_video_vae()))
    renderer: Any = InverseRenderer.from_pretrained(folder)
    assert renderer.unet.config.folded is not whole
    assert renderer.vae.config.image_mean == narrow_video_vae().config.image_mean
    assert renderer.scheduler.config.sigma_max == 160
    found = gbuffers_of(renderer)
    for name, values in direct.items():
        assert np.abs(found[name] - values).mean() < (1e-4 if whole else 2e-2), name
    summary = inspect(folder)
    assert (summary.kind, summary.backbone, summary.licence) == ("inverse", "cosmos", LICENCE)
    weights = published / "inverse" / "vae" / "diffusion_pytorch_model.safetensors"
    assert summary.training == {
        "converted_from": "model.pt",
        "sha256": sha256(published / "inverse" / "model.pt"),
        "autoencoder": "vae",
        "autoencoder_diffusion_pytorch_model.safetensors": sha256(weights),
    }
    assert {part.dtypes for part in summary.components if part.name == "unet"} == {("BF16",)}
    notice = (folder / "NOTICE.txt").read_text()
    assert "Licensed by NVIDIA Corporation under the NVIDIA Open Model License" in notice
    assert "Built on NVIDIA Cosmos" in notice
    renderer.save_pretrained(tmp_path / "again")
    assert (tmp_path / "again" / "NOTICE.txt").read_text() == notice


def test_a_fine_tune_of_the_layout_converts_and_relights(published: Path, tmp_path: Path) -> None:
    """Under a top level `model`, or as safetensors, with another encoder of the pictures beside it."""
    tensors = torch.load(published / "forward" / "model.pt", weights_only=True)
    torch.save({"model": tensors, "step": 3}, tmp_path / "tuned.pt")
    save_file(tensors, tmp_path / "tuned.safetensors")
    folders = [
        convert_cosmos(tmp_path / f"tuned.{end}", tmp_path / end, autoencoder=published / "forward", licence="CC0-1.0")
        for end in ("pt", "safetensors")
    ]
    states = [load_file(folder / "unet" / "diffusion_pytorch_model.safetensors") for folder in folders]
    assert all(torch.equal(tensor, states[1][name]) for name, tensor in states[0].items())
    renderer: Any = load(folders[0])
    assert isinstance(renderer, ForwardRenderer) and renderer.config.environment_size is None
    assert not (folders[0] / "NOTICE.txt").exists(), "another licence has other terms"
    renderer.set_progress_bar_config(disable=True)
    buffers = {"normal": np.broadcast_to(np.float32([0, 0, 1]), VIDEO.shape).copy()}
    lit = renderer(buffers, np.ones((8, 16, 3), np.float32), steps=2, generator=seeded()).video
    assert lit.shape == VIDEO.shape and np.isfinite(lit).all()


class Hostile:
    """What runs when it is unpickled."""

    def __reduce__(self) -> Any:
        return (Path.touch, (Path("ran"),))


def test_a_hostile_file_is_refused_and_nothing_of_it_runs(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"net.x": torch.zeros(1), "evil": Hostile()}, "model.pt")
    with pytest.raises(CheckpointError, match="holds more than tensors, and none of it was run"):
        convert_cosmos(Path("model.pt"), Path("out"), autoencoder=published / "inverse")
    assert not Path("ran").exists() and not Path("out").exists()
    folder = published_folder(tmp_path / "inverse", "inverse", images=False)
    torch.save((Hostile(), torch.zeros(16)), folder / "image_mean_std.pt")
    with pytest.raises(CheckpointError, match="holds no mean and deviation"):
        convert_cosmos(folder, Path("out"))
    assert not Path("ran").exists() and not Path("out").exists()
    torch.load("model.pt", weights_only=False)
    assert Path("ran").exists(), "it would have run"


def broken(**changes: Any) -> dict[str, Any]:
    tensors = as_published(narrow_cosmos("inverse"))
    for name, value in changes.items():
        if value is None:
            del tensors[name.replace("/", ".")]
        else:
            tensors[name.replace("/", ".")] = value
    return tensors


FIRST = "net/blocks/block1/blocks/0/block/attn/to_q/0/weight"
BROKEN: dict[str, tuple[Any, str]] = {
    "lacks one": (broken(**{FIRST: None}), r"1 tensors differ: lacks transformer_blocks.1.attn1.to_q.weight"),
    "misshapen": (broken(**{FIRST: torch.zeros(3, 48)}), r"1 tensors differ: transformer_blocks\.1.* is \(3, 48\)"),
    "unknown": (broken(**{"net/controls/weight": torch.zeros(1)}), "has unknown 1 tensors: controls.weight"),
    "another model": ({"conv.weight": torch.zeros(1)}, "has unknown 1 tensors: conv.weight"),
    "nothing of it": ({}, "not weights of this layout"),
    "no names": ([torch.zeros(1)], "holds no tensors by name"),
    "not a tensor": (broken(**{FIRST: 3}), "has unknown 1 tensors"),
}


@pytest.mark.parametrize("how", BROKEN)
def test_what_differs_is_listed_and_nothing_is_written(published: Path, tmp_path: Path, how: str) -> None:
    content, words = BROKEN[how]
    torch.save(content, tmp_path / "model.pt")
    with pytest.raises(CheckpointError, match=words) as caught:
        convert_cosmos(tmp_path / "model.pt", tmp_path / "out", autoencoder=published / "inverse")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_the_command_lists_all_that_differs(
    published: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = {name: value for name, value in as_published(narrow_cosmos("inverse")).items() if ".to_v." not in name}
    torch.save(kept, tmp_path / "model.pt")
    with pytest.raises(LayoutError, match=r"4 tensors differ: lacks transformer_blocks\.0\.attn1\.to_v"):
        checkpoint.convert(str(tmp_path / "model.pt"), tmp_path / "out", autoencoder=str(published / "inverse"))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4 and all("lacks transformer_blocks." in line for line in lines)


def test_bad_requests_are_one_clear_error(published: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds the inverse renderer, not the forward one"):
        convert_cosmos(published / "inverse", tmp_path / "out", kind="forward")
    with pytest.raises(InputError, match="exists already"):
        convert_cosmos(published / "inverse", tmp_path)
    with pytest.raises(CheckpointError, match=r"no model\.pt here"):
        convert_cosmos(tmp_path, tmp_path / "out")
    (tmp_path / "model.pt").write_bytes(b"not a file of torch")
    with pytest.raises(CheckpointError, match=r"more than tensors|cannot be read"):
        convert_cosmos(tmp_path, tmp_path / "out")


def test_large_networks_are_written_in_shards(tmp_path: Path) -> None:
    network = narrow_cosmos("forward")
    (tmp_path / "unet").mkdir()
    write_shards(tmp_path / "unet", network.state_dict(), limit=40_000)
    network.save_config(tmp_path / "unet")
    index = json.loads((tmp_path / "unet" / "diffusion_pytorch_model.safetensors.index.json").read_text())
    files = sorted(set(index["weight_map"].values()))
    assert len(files) > 2
    sizes = [(tmp_path / "unet" / file).stat().st_size for file in files]
    assert all(size < 60_000 for size in sizes)
    again = type(network).from_pretrained(tmp_path / "unet").state_dict()
    assert all(
        torch.equal(again[name], tensor.to(torch.bfloat16).float()) for name, tensor in network.state_dict().items()
    )


def test_published_repositories_are_fetched_and_converted_once(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The licence is said before anything is downloaded; without accepted terms images are shown nine times."""
    asked: list[str] = []

    def downloaded(repository: str, file: str, revision: str | None = None) -> str:
        asked.append(f"{repository} {file} {revision}")
        if file != "model.pt":
            raise CheckpointError("the hub did not give it")
        return str(bare / file)

    bare = published_folder(tmp_path / "hub", "inverse", images=False)
    (bare / "vae").rename(tmp_path / "vae")
    monkeypatch.setattr(published_weights, "_downloaded", downloaded)
    monkeypatch.setattr(published_weights, "AUTOENCODER", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    said: list[str] = []
    repository = "nvidia/Diffusion_Renderer_Inverse_Cosmos_7B"
    with pytest.raises(CheckpointError, match="is not the file that was published"):
        fetch(repository, said.append)
    monkeypatch.setattr(published_weights, "DIGESTS", {repository: sha256(bare / "model.pt")})
    asked.clear()
    said.clear()
    folder = fetch(repository, said.append)
    assert "NVIDIA Open Model License" in said[0] and "accept the terms" in said[-1]
    assert asked[0] == f"{repository} model.pt 41f63abc"
    loaded: Any = load(folder)
    assert loaded.config.licence == LICENCE
    record = loaded.config.training
    assert record["converted_from"] == repository and record["revision"] == "41f63abc"
    assert record["sha256"] == sha256(bare / "model.pt")
    calls = len(asked)
    assert fetch(repository, said.append) == folder and len(asked) == calls


def test_an_inverse_renderer_keeps_its_lora(tmp_path: Path) -> None:
    network = narrow_cosmos("inverse", folded=True)
    renderer = InverseRenderer(network, vae=narrow_video_vae())
    plain = gbuffers_of(renderer)
    lora.add_lora(network, 2, generator=seeded())
    for parameter in lora.lora_parameters(network):
        torch.nn.init.normal_(parameter, std=0.3, generator=seeded())
    adapted = gbuffers_of(renderer)
    assert np.abs(adapted["normal"] - plain["normal"]).max() > 1e-2
    renderer.save_pretrained(tmp_path / "renderer")
    again = InverseRenderer.from_pretrained(tmp_path / "renderer")
    assert lora.has_lora(again.unet)
    np.testing.assert_allclose(gbuffers_of(again)["normal"], adapted["normal"], atol=1e-4)
    output = again(VIDEO, steps=2, generator=seeded(), lora_scale=0.0)
    np.testing.assert_allclose(output.gbuffers["normal"], plain["normal"], atol=1e-4)
