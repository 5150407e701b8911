"""Clips of all sizes train together: batches of one size, the same on any number of workers, and few words about it."""

from __future__ import annotations

from pathlib import Path

import pytest

from manifests.errors import InputError
from manifests.store.dataset import open_dataset
from tests.training.sets import CLIPS, make_set
from training.config import DataConfig, TrainConfig, load_config
from training.data.augment import Augmentation
from training.data.batch import ClipEntry
from training.data.clip_sources import DatasetSource, JoinedSources
from training.data.loader import Loader, LoaderOptions
from training.data.training_sizes import training_sizes
from training.run import TrainRequest, train

SMALL = {"network": {"widths": [32, 32], "depths": [1, 1], "embedding": 16}, "data": {"frames": 2}}


def config(coarse: float = 0.0, **sizes: float) -> TrainConfig:
    return TrainConfig(name="mine", data=DataConfig(sizes=sizes, coarse=coarse))


def entries(*sizes: tuple[int, int]) -> list[ClipEntry]:
    return [ClipEntry(str(index), 4, height, width) for index, (height, width) in enumerate(sizes)]


def test_sizes_are_those_of_the_preset_or_the_commonest_of_the_data() -> None:
    clips = entries((50, 50), (214, 512), (214, 512))
    assert training_sizes(config(), clips, 8) == (((208, 512), 1.0),)
    assert training_sizes(config(coarse=0.5), clips, 8) == (((208, 512), 1.0),)
    assert training_sizes(config(coarse=0.5), clips, 16) == (((192, 512), 1.0),)
    assert training_sizes(config(**{"64x96": 2, "32x32": 1}), clips, 8) == (((64, 96), 2.0), ((32, 32), 1.0))
    with pytest.raises(InputError, match=r"data.sizes: 60x64 must have sides that are multiples of 8"):
        training_sizes(config(**{"60x64": 1}), clips, 8)
    with pytest.raises(InputError, match="smaller than what the network takes"):
        training_sizes(config(), entries((4, 50)), 8)


def test_footage_that_is_smaller_than_rendered_clips_is_seen_at_its_own_size() -> None:
    rendered, wide = entries((64, 64)), entries((36, 64), (36, 64), (48, 64))
    assert training_sizes(config(), rendered, 8, wide) == (((32, 64), 1.0),)
    assert training_sizes(config(), rendered, 8, [*wide, *entries((64, 100))]) == (((64, 64), 1.0),)
    assert training_sizes(config(**{"64x64": 2, "32x48": 1}), rendered, 8, wide) == (((32, 64), 2.0), ((32, 48), 1.0))
    with pytest.raises(InputError, match="clips of 4x64 are smaller than what the network takes"):
        training_sizes(config(), rendered, 8, entries((4, 64)))


def test_a_batch_has_one_size_whatever_the_number_of_workers(tmp_path: Path) -> None:
    sources = [DatasetSource(open_dataset(make_set(tmp_path / f"s{size}", size=size))) for size in (16, 24)]
    options = LoaderOptions(
        Augmentation(2), batch=4, sizes=(((16, 16), 1.0), ((8, 16), 2.0)), panorama=None, attributes=("depth",)
    )
    with Loader(JoinedSources(sources), options) as whole:
        alone = [next(whole).to("cpu") for _ in range(12)]
    shapes = [tuple(batch.rgb.shape[-2:]) for batch in alone]
    assert 2 <= shapes.count((16, 16)) <= 8 and set(shapes) == {(16, 16), (8, 16)}
    for rank in (0, 1):
        part = LoaderOptions(
            Augmentation(2), batch=2, sizes=options.sizes, panorama=None, attributes=("depth",), rank=rank, world=2
        )
        with Loader(JoinedSources(sources), part) as loader:
            shares = [next(loader).to("cpu") for _ in range(12)]
        for one, share in zip(alone, shares, strict=True):
            assert share.rgb.equal(one.rgb[2 * rank : 2 * rank + 2])


def test_clips_that_are_too_small_are_left_out_and_counted(tmp_path: Path) -> None:
    sources = [DatasetSource(open_dataset(make_set(tmp_path / f"s{size}", size=size))) for size in (16, 24)]
    options = LoaderOptions(Augmentation(2), batch=1, sizes=(((24, 24), 1.0),), panorama=None)
    with Loader(JoinedSources(sources), options) as loader:
        assert (loader.clips, loader.left_out) == (CLIPS, CLIPS)


@pytest.mark.parametrize("task", ["inverse", "forward"])
def test_sets_of_different_and_of_odd_sizes_train(tmp_path: Path, task: str) -> None:
    sets = tuple(str(make_set(tmp_path / f"s{size}", size=size)) for size in (22, 16, 33))
    made = load_config("debug", task, SMALL)
    outcome = train(TrainRequest(task, made, sets[:1], tmp_path / "odd"))
    assert outcome.step == made.optimise.steps
    outcome = train(TrainRequest(task, made, sets, tmp_path / "mixed"))
    assert outcome.step == made.optimise.steps
