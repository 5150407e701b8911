from __future__ import annotations

import functools
import http.server
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from manifests.codec.codecs import decode_clip
from manifests.contract.color import srgb_encode
from manifests.errors import DatasetError
from manifests.store.dataset import open_dataset
from renderers.modelspace import relative_depth
from tests.training.sets import CLIPS, FRAMES, SIZE, make_set
from training.data.augment import Augmentation
from training.data.batch import Batch
from training.data.clip_sources import DatasetSource, JoinedSources, UrlSource, open_source
from training.data.loader import Loader, LoaderOptions

VARIED = Augmentation(3, (12, 12), mirror=True, permute=True, reverse=True, exposure_stops=(-0.5, 0.5), dropout=0.3)
PLAIN = Augmentation(FRAMES, mirror=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_set(tmp_path_factory.mktemp("sets") / "compact")


def _options(augmentation: Augmentation = VARIED, **changes: object) -> LoaderOptions:
    return LoaderOptions(**{"augmentation": augmentation, "batch": 2, "panorama": (8, 16), **changes})  # type: ignore[arg-type]


def _batches(folder: Path, options: LoaderOptions, count: int, position: int = 0) -> list[Batch]:
    with Loader(DatasetSource(open_dataset(folder)), options, position) as loader:
        return [next(loader).to("cpu") for _ in range(count)]


def _same(one: Batch, other: Batch) -> bool:
    tensors = [(one.rgb, other.rgb), (one.seeds, other.seeds), (one.unconditional, other.unconditional)]
    tensors += [(one.gbuffers[name], other.gbuffers[name]) for name in one.gbuffers]
    assert one.panorama is not None and other.panorama is not None
    tensors.append((one.panorama, other.panorama))
    return one.keys == other.keys and all(torch.equal(a, b) for a, b in tensors)


def test_a_batch_holds_what_the_clip_holds(folder: Path) -> None:
    """In the conventions of `Batch`, to the precision of the packed form."""
    (batch,) = _batches(folder, _options(PLAIN, background=True), 1)
    dataset = open_dataset(folder)
    rows = {row.key: row for row in dataset.rows()}
    clip = decode_clip(batch.keys[0], dataset.files(rows[batch.keys[0]]))
    planar = {
        name: torch.from_numpy(np.ascontiguousarray(a.transpose(0, 3, 1, 2)))
        for name, a in clip.arrays.items()
        if name != "instance"
    }
    encoded = torch.from_numpy(np.clip(srgb_encode(clip.exposure * planar["rgb"].numpy()), 0, 1)).float()
    torch.testing.assert_close(batch.rgb[0], 2 * encoded - 1, rtol=0, atol=1.1 / 255)
    relative, near, far = relative_depth(planar["depth"][None])
    torch.testing.assert_close(
        batch.gbuffers["depth"], torch.cat([relative, batch.gbuffers["depth"][1:]]), rtol=0, atol=2e-3
    )
    torch.testing.assert_close(batch.depth_range[0], torch.cat([near, far]), rtol=1e-3, atol=0)
    for name in ("basecolor", "roughness", "metallic", "normal"):
        torch.testing.assert_close(batch.gbuffers[name][0], planar[name], rtol=0, atol=0.01)
    assert clip.camera is not None and batch.camera_to_world is not None
    np.testing.assert_allclose(batch.camera_to_world[0], clip.camera.camera_to_world, rtol=1e-6)
    np.testing.assert_allclose(batch.intrinsics[0], clip.camera.intrinsics, rtol=1e-6)
    assert batch.rgb.shape == (2, FRAMES, 3, SIZE, SIZE) and batch.background is not None
    assert batch.background.shape == batch.rgb.shape


def test_every_epoch_visits_every_clip_once(folder: Path) -> None:
    keys = [key for batch in _batches(folder, _options(), 7) for key in batch.keys]
    assert Counter(keys) == dict.fromkeys(set(keys), 2) and len(set(keys)) == CLIPS
    assert keys[:CLIPS] != keys[CLIPS:]


@pytest.mark.parametrize("mixed", [0, 1])
def test_resuming_in_mid_epoch_gives_the_very_same_batches(folder: Path, mixed: int) -> None:
    options = _options(mixed=mixed)
    whole = _batches(folder, options, 6)
    with Loader(DatasetSource(open_dataset(folder)), options) as loader:
        for _ in range(2):
            next(loader)
        position = loader.position
    assert position == 4
    assert all(_same(a, b) for a, b in zip(whole[2:], _batches(folder, options, 4, position), strict=True))


def test_batches_do_not_depend_on_threads_cache_or_read_ahead(folder: Path) -> None:
    expected = _batches(folder, _options(threads=1, ahead=1), 5)
    for changes in ({"threads": 4, "ahead": 6}, {"cache_bytes": 1 << 30}, {"cache_bytes": 20_000}):
        assert all(_same(a, b) for a, b in zip(expected, _batches(folder, _options(**changes), 5), strict=True)), (
            changes
        )


def test_workers_together_see_the_global_batch(folder: Path) -> None:
    whole = _batches(folder, _options(batch=4), 3)
    parts = [_batches(folder, _options(batch=2, rank=rank, world=2), 3) for rank in range(2)]
    for step, batch in enumerate(whole):
        assert parts[0][step].keys + parts[1][step].keys == batch.keys
        assert torch.equal(torch.cat([parts[0][step].rgb, parts[1][step].rgb]), batch.rgb)


def test_only_what_is_asked_for_is_decoded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def spy(key, files, attributes, frames, **keywords):  # type: ignore[no-untyped-def]
        seen.append((tuple(attributes), frames, keywords["light"]))
        return decode_clip(key, files, attributes, frames, **keywords)

    monkeypatch.setattr("training.data.clip_sources.decode_clip", spy)
    (batch,) = _batches(folder, _options(Augmentation(1), attributes=("depth",), panorama=None, ahead=1), 1)
    assert set(batch.gbuffers) == {"depth"} and batch.panorama is None and batch.rgb.shape[1] == 1
    for attributes, frames, light in seen:
        assert attributes == ("rgb", "depth", "mask") and len(frames) == 1 and not light


def test_exact_and_compact_sets_give_alike_batches(tmp_path: Path, folder: Path) -> None:
    exact = _batches(make_set(tmp_path / "exact", "exact"), _options(PLAIN, batch=4), 1)[0]
    compact = _batches(folder, _options(PLAIN, batch=4), 1)[0]
    assert exact.keys == compact.keys
    assert (exact.rgb - compact.rgb).abs().mean() < 0.02
    torch.testing.assert_close(exact.gbuffers["depth"], compact.gbuffers["depth"], rtol=0, atol=5e-3)


def test_labels_and_confidence_come_from_the_rows(tmp_path: Path, folder: Path) -> None:
    labelled = make_set(tmp_path / "labelled", stage="label", confidence={"normal": 0.25})
    (batch,) = _batches(labelled, _options(), 1)
    assert batch.real.all() and (batch.confidence["normal"] == 0.25).all() and (batch.confidence["depth"] == 1).all()
    (forced,) = _batches(labelled, _options(real=False), 1)
    assert not forced.real.any()
    both = JoinedSources([DatasetSource(open_dataset(folder)), DatasetSource(open_dataset(labelled))])
    assert len(both.entries) == 2 * CLIPS and len({entry.shard for entry in both.entries}) == 6


def test_asking_for_more_than_clips_hold_says_so(folder: Path) -> None:
    with pytest.raises(DatasetError, match="none of the 7 clips has 9 frames"):
        Loader(DatasetSource(open_dataset(folder)), _options(Augmentation(9)))
    with pytest.raises(DatasetError, match="neither a dataset"):
        open_source(folder.parent, folder, 1)


def test_a_damaged_clip_is_named(tmp_path: Path) -> None:
    folder = make_set(tmp_path / "damaged")
    row = open_dataset(folder).rows()[2]
    tar = folder / "shards" / f"{row.shard:06d}.tar"
    data = bytearray(tar.read_bytes())
    data[row.offset + 600] ^= 255
    tar.write_bytes(data)
    with pytest.raises(Exception, match=row.key):
        _batches(folder, _options(PLAIN), 4)


@pytest.fixture
def server(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """(URL of the dataset, paths asked for)."""
    asked: list[str] = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            asked.append(self.path)

    handler = functools.partial(Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}", asked
        running.shutdown()


def test_a_url_gives_the_same_batches_and_keeps_few_shards(
    folder: Path, tmp_path: Path, server: tuple[str, list[str]]
) -> None:
    url, asked = server
    options = _options(mixed=1, threads=2, ahead=1)
    source = open_source(url, tmp_path, keep=2)
    assert isinstance(source, UrlSource)
    with Loader(source, options) as loader:
        fetched = [next(loader).to("cpu") for _ in range(8)]
        (mirror,) = tmp_path.iterdir()
        assert len(list((mirror / "shards").iterdir())) <= 3
    assert all(_same(a, b) for a, b in zip(_batches(folder, options, 8), fetched, strict=True))
    per_epoch = Counter(path for path in asked if path.endswith(".tar"))
    assert max(per_epoch.values()) <= 3, "a shard is fetched once an epoch, not once a clip"


def test_a_url_that_is_not_there_is_named(tmp_path: Path, server: tuple[str, list[str]]) -> None:
    with pytest.raises(DatasetError, match=r"nothing/dataset.json: is not there$"):
        open_source(server[0] + "/nothing", tmp_path, keep=1)
