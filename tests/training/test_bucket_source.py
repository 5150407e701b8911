"""Training from a bucket: the batches of the folder, few requests, and what networks do."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest
import torch

from manifests.object_path import ObjectPath
from manifests.store.dataset import open_dataset
from tests.object_store import FaultProxy, connected, upload
from tests.training.sets import CLIPS, FRAMES, make_set
from training.data.augment import Augmentation
from training.data.batch import Batch
from training.data.clip_sources import ClipSource, open_source
from training.data.loader import Loader, LoaderOptions

_SHARD = re.compile(r"/shards/\d+\.tar$")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_set(tmp_path_factory.mktemp("set") / "set")


@pytest.fixture
def stored(folder: Path, bucket: ObjectPath) -> ObjectPath:
    upload(folder, bucket)
    return bucket


def _options(rank: int = 0, world: int = 1) -> LoaderOptions:
    return LoaderOptions(Augmentation(FRAMES), batch=1, panorama=(8, 16), ahead=0, rank=rank, world=world)


def _batches(source: ClipSource, count: int, position: int = 0) -> list[Batch]:
    with Loader(source, _options(), position) as loader:
        return [next(loader).to("cpu") for _ in range(count)]


def _same(one: Batch, other: Batch) -> bool:
    return torch.equal(one.rgb, other.rgb) and torch.equal(one.seeds, other.seeds) and one.keys == other.keys


def test_a_bucket_gives_the_batches_of_the_folder_and_fetches_each_clip_once(
    folder: Path, stored: ObjectPath, s3_server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    wanted = _batches(open_source(folder, tmp_path, 1), 2 * CLIPS)
    with FaultProxy(s3_server, lambda *_: None) as proxy, connected(monkeypatch, proxy.url):
        found = _batches(open_source(str(stored), tmp_path, 1, 1 << 30), 2 * CLIPS)
        fetched = [path for method, path in proxy.asked if method == "GET" and _SHARD.search(path)]
    assert all(_same(one, other) for one, other in zip(wanted, found, strict=True))
    assert len(fetched) == CLIPS, "the second epoch comes from the cache"


def test_a_cache_too_small_for_the_set_stays_small(folder: Path, stored: ObjectPath, tmp_path: Path) -> None:
    bound = 2 * max(row.size for row in open_dataset(folder).rows())
    wanted = _batches(open_source(folder, tmp_path, 1), 2 * CLIPS)
    found = _batches(open_source(str(stored), tmp_path, 1, bound), 2 * CLIPS)
    assert all(_same(one, other) for one, other in zip(wanted, found, strict=True))
    kept = [path.stat().st_size for path in (tmp_path / "clips").iterdir()]
    assert kept
    assert sum(kept) <= bound


def test_a_run_goes_on_mid_epoch_where_it_stopped(folder: Path, stored: ObjectPath, tmp_path: Path) -> None:
    whole = _batches(open_source(folder, tmp_path, 1), 6)
    rest = _batches(open_source(str(stored), tmp_path, 1, 1 << 30), 3, position=3)
    assert all(_same(one, other) for one, other in zip(whole[3:], rest, strict=True))


def test_two_workers_fetch_no_byte_twice(
    stored: ObjectPath, s3_server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fetched: list[tuple[str, str]] = []
    for rank in range(2):
        with FaultProxy(s3_server, lambda *_: None) as proxy, connected(monkeypatch, proxy.url):
            source = open_source(str(stored), tmp_path / str(rank), 1, 1 << 30)
            with Loader(source, _options(rank, world=2)) as loader:
                for _ in range(CLIPS // 2):
                    next(loader)
            asked = zip(proxy.asked, proxy.ranges, strict=True)
            fetched += [(path, bytes_of) for (_, path), bytes_of in asked if _SHARD.search(path)]
    assert len(fetched) == len(set(fetched)) == CLIPS // 2 * 2


@pytest.mark.parametrize("fault", ["503", "cut", "lost"])
def test_training_outlasts_a_bad_network(
    fault: str, folder: Path, stored: ObjectPath, s3_server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: Counter[str] = Counter()

    def fails_at_first(method: str, path: str) -> str | None:
        asked[method + path] += 1
        return fault if asked[method + path] == 1 else None

    wanted = _batches(open_source(folder, tmp_path, 1), CLIPS)
    with FaultProxy(s3_server, fails_at_first) as proxy, connected(monkeypatch, proxy.url):
        found = _batches(open_source(str(stored), tmp_path, 1), CLIPS)
        assert len(proxy.done) > CLIPS / 2
    assert all(_same(one, other) for one, other in zip(wanted, found, strict=True))
