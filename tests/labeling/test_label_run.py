"""The label stage under the engine: whole datasets, quarantine, resuming, kills, and what training makes of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import torch
from footage import shot
from labelkit import LENGTH, QuickStage, black_video, make_source, save_inverse, settings
from PIL import Image

from labeling.label_run import create, lost_lines, status_lines
from labeling.sources.discovery import discover
from labeling.sources.footage import SourceOptions
from manifests.audit.attribution import attribution
from manifests.audit.verify import verify
from manifests.contract.row import ClipRow, FailureRow
from manifests.errors import InputError
from manifests.files import write_bytes
from manifests.object_path import ObjectPath
from manifests.store.dataset import Dataset, open_dataset, open_or_create
from manifests.store.header import Header
from manifests.store.layout import FAILURES, shard_file
from manifests.store.shards import Seal, write_manifest
from manifests.store.tables import encode_parquet, to_table
from pipeline.cluster import connect
from pipeline.engine import RunReport, run
from pipeline.options import RunOptions
from tests.object_store import upload
from training.data.batch import Visit, codes_of, collate
from training.data.clip_sources import open_source

torch.set_num_threads(1)
HERE = Path(__file__).parent
OPTIONS = RunOptions(workers=1, cpus_per_worker=1, show_progress=False)
LICENCE = "CC-BY-NC-4.0 AND LicenseRef-no-redistribution"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_inverse(tmp_path_factory.mktemp("weights") / "inverse", licence="LicenseRef-NonCommercial")


def label(path: Path, source: Path, weights: Path) -> RunReport:
    found = discover(source, options=SourceOptions(licence=LICENCE, author="A. Camera"))
    chosen = settings(weights)
    stage = QuickStage(source=source.name, footage=found.footage, settings=chosen)
    return run(create(path, found, chosen), stage, OPTIONS)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> Iterator[tuple[Dataset, RunReport, Path]]:
    """Three good videos, one black, one that is none."""
    folder = tmp_path_factory.mktemp("made")
    source = make_source(folder / "videos")
    black_video(source / "night.mp4")
    (source / "broken.mp4").write_bytes(b"no video" * 200)
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = str(HERE)
    cluster = connect(OPTIONS)
    report = label(folder / "set", source, weights)
    yield open_dataset(folder / "set"), report, source
    cluster.close()
    os.environ["PYTHONPATH"] = before or ""


def test_a_run_labels_what_it_can_and_quarantines_the_rest(made: tuple[Dataset, RunReport, Path]) -> None:
    dataset, report, _ = made
    assert (report.clips, report.finished, report.failed, report.complete) == (6, 3, 2, True)
    assert verify(dataset.path, level="decode").ok
    failures = {failure.reason: failure for failure in dataset.failures()}
    assert set(failures) == {"black", "unreadable"}
    assert "night.mp4: no segment could be used: 2 black" in failures["black"].message
    assert msgspec.json.decode(failures["black"].spec)["footage"]["name"] == "night.mp4"
    assert {row.stage for row in dataset.rows()} == {"label"} and dataset.header.lights == 0
    text = "\n".join(status_lines(dataset.path))
    assert "complete" in text and "3 of 5 finished, 2 failed" in text and "normal 0." in text


def test_footage_in_a_bucket_gives_the_clips_of_the_folder(
    made: tuple[Dataset, RunReport, Path], bucket: ObjectPath, weights: Path
) -> None:
    dataset, _, source = made
    upload(source, bucket / "videos")
    found = discover(bucket / "videos", options=SourceOptions(licence=LICENCE, author="A. Camera"))
    chosen = settings(weights)
    assert create(dataset.path, found, chosen).header == dataset.header, "the same dataset goes on from there"
    worker = QuickStage(source="videos", footage=found.footage, settings=chosen).make_worker()
    row = dataset.rows()[0]
    sample = worker.produce(row.item)()[0]
    worker.close()
    assert sample.key == row.key and sample.files == dataset.files(row)


def test_going_on_with_a_complete_dataset_does_nothing(made: tuple[Dataset, RunReport, Path], weights: Path) -> None:
    dataset, _, source = made
    again = label(dataset.path, source, weights)
    assert (again.clips, again.finished, again.complete) == (0, 3, True)


def test_credits_name_the_footage_and_what_the_weights_forbid(made: tuple[Dataset, RunReport, Path]) -> None:
    warnings = attribution(made[0]).warnings
    assert f"footage pan0.mp4: {LICENCE} forbids commercial use and redistribution, in 2 clips" in warnings
    (inherited,) = [warning for warning in warnings if warning.startswith("checkpoint")]
    assert inherited.endswith("LicenseRef-NonCommercial forbids commercial use; labels inherit that, in 6 clips")


def test_training_reads_labelled_clips_like_rendered_ones(made: tuple[Dataset, RunReport, Path]) -> None:
    source = open_source(made[0].path, made[0].path / "cache", keep=2)
    entry = source.entries[0]
    assert entry.real and 0 < entry.confidence["normal"] < 1 and len(source.entries) == 6
    clip = source.clip(0, ("rgb", "basecolor", "normal", "depth", "roughness", "metallic"), None, light=True)
    sample = collate([Visit(codes_of(clip, (16, 32)), entry)]).to("cpu")
    assert sample.rgb.shape == (1, LENGTH, 3, 32, 32) and sample.panorama is not None
    depth = torch.from_numpy(clip.arrays["depth"]).permute(0, 3, 1, 2)
    scaled = sample.gbuffers["depth"]
    flat = torch.corrcoef(torch.stack([depth.flatten(), scaled.flatten()]))[0, 1]
    assert float(flat) > 0.98 and float(scaled.min()) == 0 and float(scaled.max()) == 1


def test_what_befell_the_footage_is_said_by_reason_with_counts(tmp_path: Path) -> None:
    """The first item of each kind is asked again, since rows hold no words."""
    for name in ("a", "b"):
        (tmp_path / name / "images").mkdir(parents=True)
        for number, rgb in enumerate(shot(1, 3)):
            Image.fromarray(rgb).save(tmp_path / name / "images" / f"{number}.png")
        (tmp_path / name / "transforms.json").write_text('{"frames": []}')
    found = discover(tmp_path)
    row = ClipRow(
        key="a", item=0, stage="label", frames=3, height=8, width=8, fps=24, flags=("bad-transforms", "alpha")
    )
    rows = [row, msgspec.structs.replace(row, item=1, flags=("bad-transforms",), statistics={"dropped.cut": 2.0})]
    header = Header(stage="label", codec="exact", recipe={}, seed=0, items=2, per_shard=2)
    dataset = open_or_create(tmp_path / "set", header)
    seal = Seal(shard=0, header=header.digest(), tar_bytes=0, failures=0, failures_sha256="", preview_sha256="")
    write_manifest(dataset.path, seal, rows)
    write_bytes(shard_file(dataset.path, FAILURES, 0), encode_parquet(to_table([], FailureRow)))
    left_out, alpha, transforms = lost_lines(dataset.path, found.footage)
    assert left_out.startswith("left out 2 cut")
    assert alpha == "alpha in 1 of 2 items: what is transparent is taken for black"
    assert transforms.startswith("bad-transforms in 2 of 2 items: a: transforms.json: neither a focal length (`fl_x`)")
    assert lost_lines(dataset.path)[2] == "bad-transforms in 2 of 2 items: transforms.json cannot be used: no poses"


def test_a_source_without_footage_is_one_clear_line(tmp_path: Path, weights: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no footage"):
        create(tmp_path / "set", discover(tmp_path / "empty"), settings(weights))
    assert not (tmp_path / "set").exists()
