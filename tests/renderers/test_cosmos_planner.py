"""What the memory planner says follows from shapes, agrees with what others measured, and never promises too much."""

from pathlib import Path
from typing import Any

import accelerate
import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks import cosmos_cost
from editing.film import open_film
from editing.relighting import relight
from editing.settings import FilmSettings
from labeling.label_settings import LabelSettings, checkpoint
from labeling.labels import Labeler
from manifests.errors import InputError
from renderers.backbones import BACKBONES
from renderers.cosmos.memory_planner import CARDS, RESERVED, advice, needs, place
from renderers.cosmos.published_weights import convert_cosmos
from renderers.inverse import InverseRenderer
from tests.renderers.narrow_cosmos import NETWORK, narrow_cosmos, narrow_video_vae, published_folder
from tests.renderers.test_borders import moving_ball

torch.set_num_threads(1)


def test_a_card_of_24_gb_holds_57_frames_and_one_of_16_needs_blocks_by_turns() -> None:
    fits = {size: [line.partition(": ")[2] for line in advice(size)] for size in CARDS}
    assert all("all on the GPU" in line for line in fits[24] + fits[48] + fits[80])
    assert [("group_offload" in line) for line in fits[16]] == [False, True, False, True]
    assert all("does not fit" in line for line in advice(2)[1::2])


@pytest.mark.parametrize("kind", ["inverse", "forward"])
def test_needs_grow_with_frames_and_shrink_with_every_way_of_saving(kind) -> None:
    long, short = needs(kind, 57, 704, 1280), needs(kind, 9, 704, 1280)
    sizes = [need.gigabytes for need in long]
    assert sizes == sorted(sizes, reverse=True)
    assert all(a.gigabytes > b.gigabytes for a, b in zip(long, short, strict=True))
    folded = {"inverse": 12.0, "forward": 11.9}[kind]  # GB in bfloat16
    assert long[1].gigabytes == pytest.approx(folded + 0.2 + 3.5, abs=0.3)  # 3.6 GB beside the weights were measured
    assert RESERVED > 0


@torch.no_grad()
@pytest.mark.parametrize("kind", ["inverse", "forward"])
def test_what_the_benchmark_times_on_a_gpu_runs(kind: str) -> None:
    for folded in (True, False):
        network = cosmos_cost.made(kind, folded, torch.device("cpu"), **NETWORK)
        output = cosmos_cost.one_pass(network, 9, 32, 48)(1)
        assert output.shape == (1, 2, 16, 4, 6) and output.dtype == torch.bfloat16
    assert cosmos_cost.coded(narrow_video_vae(), 9, 32, 48)(1).shape == (1, 3, 9, 32, 48)


WAYS = {
    80: "all on the GPU",
    31: "enable_vae_slicing()",
    24: "enable_model_cpu_offload(), enable_vae_slicing()",
    16: "enable_group_offload() by block, enable_vae_slicing()",
    2: "enable_group_offload() by block, enable_vae_slicing()",
}


def test_every_card_has_a_way_for_two_renderers_and_all_ways_give_the_same() -> None:
    def normals(renderer: Any) -> np.ndarray:
        generator = torch.Generator().manual_seed(0)
        return renderer(moving_ball(9, 32), attributes=("normal",), steps=1, generator=generator).gbuffers["normal"]

    def made() -> Any:
        renderer = InverseRenderer(narrow_cosmos("inverse"), vae=narrow_video_vae())
        renderer.set_progress_bar_config(disable=True)
        return renderer

    expected = normals(made())
    for size, way in WAYS.items():
        renderer = made()
        assert place(renderer, torch.device("cpu"), size) == way
        np.testing.assert_allclose(normals(renderer), expected, atol=1e-5)
    sequential = made()  # what enable_sequential_cpu_offload() does, which wants a GPU
    for network in (sequential.unet, sequential.vae):
        accelerate.cpu_offload(network, torch.device("cpu"), offload_buffers=True)
    np.testing.assert_allclose(normals(sequential), expected, atol=1e-5)


def test_films_are_cut_as_suits_the_renderers_unless_they_say_otherwise() -> None:
    size = (704, 1280)
    tiny, cosmos = BACKBONES["tiny"], BACKBONES["cosmos"]
    plan = FilmSettings().plan(cosmos, 200, (1080, 1920), size)
    assert [window.size for window in plan.windows] == [57] * 5
    assert all(before.stop - after.start >= 16 for before, after in zip(plan.windows, plan.windows[1:], strict=False))
    assert FilmSettings().tile_pixels(cosmos) > size[0] * size[1], "the backbone cuts tiles itself"
    assert {window.size for window in FilmSettings().plan(tiny, 200, (64, 64), (64, 64)).windows} == {24}
    assert FilmSettings().plan(tiny, 200, (1080, 1920), size).windows[0].size == 1, "memory is short"
    assert FilmSettings(memory=4).plan(cosmos, 200, (1080, 1920), size).windows[0].size < 57
    assert FilmSettings(window=9).sampling(cosmos) | {"generator": None} == {
        "steps": None, "window": 9, "overlap": 4, "generator": None,
    }  # fmt: skip
    for wrong in ({"window": 0}, {"steps": 0}, {"memory": 0.0}):
        with pytest.raises(InputError):
            FilmSettings(**wrong)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set of converted checkpoints, as `weights` takes it."""
    root = tmp_path_factory.mktemp("weights")
    for kind in ("inverse", "forward"):
        convert_cosmos(published_folder(root / "published" / kind, kind), root / "set" / kind)
    return root / "set"


def test_a_tall_film_of_odd_size_is_relit_by_a_set_of_weights(weights: Path, tmp_path: Path) -> None:
    (tmp_path / "film").mkdir()
    for frame, picture in enumerate((255 * moving_ball(3, 50)).astype(np.uint8)):
        Image.fromarray(picture[:, :26]).save(tmp_path / "film" / f"{frame:03d}.png")
    settings = FilmSettings(weights=str(weights), steps=1, device="cpu", shading="network")
    relight(tmp_path / "film", "courtyard", tmp_path / "out.mp4", settings=settings)
    with open_film(tmp_path / "out.mp4") as film:
        assert (film.frames, film.size) == (3, (50, 26))


def test_footage_is_labelled_with_the_windows_and_precision_of_the_checkpoint(weights: Path) -> None:
    settings = LabelSettings(inverse=checkpoint(weights / "inverse", "inverse"), checks=())
    assert (settings.steps, settings.window, settings.overlap, settings.precision) == (15, 57, 16, "bfloat16")
    quick = LabelSettings(inverse=settings.inverse, checks=(), steps=1)
    labels = Labeler(quick)((255 * moving_ball(10, 34)).astype(np.uint8), None, 0)
    assert labels.gbuffers["normal"].shape == (10, 34, 34, 3)
    assert all(np.isfinite(values).all() for values in labels.gbuffers.values())
    assert all(values.dtype == np.float32 for values in labels.gbuffers.values())
