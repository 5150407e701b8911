"""The label stage, one item at a time: what its clips hold and say, and what it leaves out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from footage import encode, shot
from labelkit import LENGTH, QUICK_FIT, black_video, make_source, save_inverse, settings
from test_cameras import panning

from labeling.cameras.camera_solving import camera_errors
from labeling.label_rows import Spec
from labeling.label_run import create, stage_of
from labeling.label_settings import LabelSettings, SegmentOptions, checkpoint
from labeling.label_stage import LabelStage, LabelWorker
from labeling.sources.discovery import discover
from labeling.sources.footage import FootageCamera, SourceOptions
from manifests.codec.codecs import decode_clip
from manifests.contract.attributes import GBUFFERS
from manifests.contract.camera import level_camera
from manifests.contract.clip import Clip
from manifests.contract.color import srgb_encode
from manifests.contract.row import Sample
from manifests.errors import CheckpointError, DatasetError, InputError, ItemError
from renderers.light.panoramas import panoramas

CHECKS = ("mirror", "window", "exposure")

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_inverse(tmp_path_factory.mktemp("weights") / "inverse")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_source(tmp_path_factory.mktemp("source") / "videos")


def stage(folder: Path, chosen: LabelSettings) -> LabelStage:
    return stage_of(discover(folder, options=SourceOptions(licence="CC-BY-4.0", author="A. Camera")), chosen)


def worker(folder: Path, chosen: LabelSettings) -> LabelWorker:
    made = stage(folder, chosen).make_worker()
    made._labeler._light = QUICK_FIT  # the light's quality is tests/renderers' concern
    return made


@pytest.fixture(scope="module")
def samples(source: Path, weights: Path) -> Iterator[list[Sample]]:
    labelling = worker(source, settings(weights, codec="exact"))
    yield labelling.produce(1)()
    labelling.close()


def decoded(sample: Sample) -> Clip:
    return decode_clip(sample.key, sample.files)


def test_every_segment_becomes_a_clip_with_all_labels(samples: list[Sample]) -> None:
    assert [sample.key for sample in samples] == [sample.row.key for sample in samples]
    assert [sample.key[-7:] for sample in samples] == ["-000000", "-000006"]
    for sample in samples:
        clip = decoded(sample)
        assert clip.frames == LENGTH and clip.size == (32, 32)
        assert {"rgb", "basecolor", "normal", "depth", "roughness", "metallic"} <= set(clip.arrays)
        assert clip.environment is not None and clip.environment.image.shape == (32, 64, 3)
        assert clip.arrays["depth"].min() >= 0 and clip.arrays["depth"].max() <= 1
        assert clip.arrays["basecolor"].std() > 0.01
    assert not np.array_equal(decoded(samples[0]).arrays["normal"], decoded(samples[1]).arrays["normal"])


def test_the_picture_is_the_videos_own(samples: list[Sample]) -> None:
    shown = srgb_encode(decoded(samples[1]).arrays["rgb"])
    filmed = shot(1, 14, 32, 32)[6:12] / 255
    assert np.abs(shown - filmed).mean() < 0.03  # h264 at 4:2:0 lies between


def test_a_row_says_where_its_labels_come_from(samples: list[Sample], weights: Path) -> None:
    row, known = samples[1].row, checkpoint(weights, "inverse")
    footage, network = row.assets
    assert (footage.uid, footage.kind, footage.licence, footage.author) == (
        "pan1.mp4", "footage", "CC-BY-4.0", "A. Camera",
    )  # fmt: skip
    assert (network.uid, network.kind, network.licence) == (known.digest, "checkpoint", "CC0-1.0")
    assert (row.item, row.part, row.stage, row.network, row.sampler) == (1, 1, "label", "inverse", "one-step")
    assert (row.statistics["footage.first"], row.statistics["footage.last"]) == (6.0, 11.0)
    assert row.item_clips == 2 and row.device == "CPU" and row.seconds > 0
    assert set(row.confidence) == {"basecolor", "normal", "depth", "roughness", "metallic", "environment"}
    assert all(0 < value < 1 for value in row.confidence.values())
    assert {"relative-depth", "assumed-camera"} <= set(row.flags)
    spec = msgspec.json.decode(samples[1].files["spec.json"], type=Spec)
    assert (spec.file, spec.first, spec.last, spec.lighting) == ("pan1.mp4", 6, 11, "solver")
    assert spec.inverse["digest"] == known.digest and spec.inverse["sampler"] == "one-step"
    assert len({sample.row.spec_digest for sample in samples}) == 2


def test_the_light_stands_in_the_frame_of_the_assumed_level_camera(source: Path, weights: Path) -> None:
    labelling = worker(source, settings(weights))._labeler
    frames = shot(3, LENGTH, 32, 32)
    found = labelling(frames, None, seed=1)
    assert np.allclose(found.camera.camera_to_world, level_camera(1))
    again = panoramas(found.environment, np.tile(np.eye(3), (1, 1, 1)), found.camera.camera_to_world[:1], 32, 64)
    seen = labelling._panorama(
        frames, {k: torch.from_numpy(v).permute(0, 3, 1, 2)[None] for k, v in found.gbuffers.items()}, found.camera
    )
    assert float((again[0] - seen).abs().mean()) < 0.02 * float(seen.mean())


def test_known_cameras_are_carried_and_turn_the_light_into_their_world(source: Path, weights: Path) -> None:
    labelling = worker(source, settings(weights))._labeler
    frames = shot(3, LENGTH, 32, 32)
    pose = np.eye(4)
    pose[:3, :3] = [[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    intrinsics = np.array([[40.0, 0, 16], [0, 40.0, 16], [0, 0, 1]])
    camera = FootageCamera(intrinsics, dict.fromkeys(range(LENGTH), pose)).window(range(LENGTH))
    assert camera is not None
    found = labelling(frames, camera, seed=1)
    assert found.camera is camera
    own = panoramas(found.environment, np.tile(np.eye(3), (1, 1, 1)), pose[None], 32, 64)
    seen = labelling._panorama(
        frames, {k: torch.from_numpy(v).permute(0, 3, 1, 2)[None] for k, v in found.gbuffers.items()}, camera
    )
    assert float((own[0] - seen).abs().mean()) < 0.02 * float(seen.mean())


def test_looking_ahead_changes_nothing(source: Path, weights: Path, samples: list[Sample]) -> None:
    labelling = worker(source, settings(weights, codec="exact"))
    labelling.prefetch(1)
    first = labelling.produce(0)
    labelling.prefetch(2)
    second = labelling.produce(1)()
    labelling.prefetch(0)  # never comes
    third = labelling.produce(2)()
    assert [len(first()), len(second), len(third)] == [2, 2, 2]
    assert [sample.files for sample in second] == [sample.files for sample in samples]
    labelling.close()


def test_all_checks_leave_their_evidence(source: Path, weights: Path) -> None:
    labelling = worker(source, settings(weights, checks=(*CHECKS, "render")))
    row = labelling.produce(0)()[0].row
    evidence = {name for name in row.statistics if name.startswith("evidence.")}
    apart = {"evidence.render", "evidence.contrast.environment"}
    assert evidence == apart | {f"evidence.{check}.{name}" for check in CHECKS for name in GBUFFERS}
    assert all(row.statistics[f"evidence.{check}.basecolor"] > 0 for check in CHECKS)
    labelling.close()


def test_what_is_left_out_is_counted_once_and_named(tmp_path: Path, weights: Path) -> None:
    moving, still = shot(1, 14, 32, 32), np.repeat(shot(2, 1, 32, 32), 8, axis=0)
    frames = np.concatenate([moving, still, shot(4, 8, 32, 32)])
    encode(tmp_path / "mixed.mp4", frames, pixels="yuv444p", options={"crf": "0"})
    labelling = worker(tmp_path, settings(weights))
    rows = [sample.row for sample in labelling.produce(0)()]
    dropped = {k: v for k, v in rows[0].statistics.items() if k.startswith("dropped.")}
    assert dropped.get("dropped.still", 0) >= 1 and dropped.get("dropped.cut", 0) >= 1
    assert not any(name.startswith("dropped.") for row in rows[1:] for name in row.statistics)
    assert all(row.item_clips == len(rows) for row in rows)
    labelling.close()


def test_footage_without_a_clip_is_refused_with_the_reason(tmp_path: Path, weights: Path) -> None:
    black_video(tmp_path / "a-black.mp4")
    (tmp_path / "b-broken.mp4").write_bytes(b"this is no video" * 100)
    encode(tmp_path / "c-short.mp4", shot(1, 3, 32, 32))
    encode(tmp_path / "d-good.mp4", shot(1, 14, 32, 32))
    chosen = settings(weights)
    labelling = worker(tmp_path, chosen)
    names = [item.name for item in labelling._stage.footage]
    reasons = {}
    for name in names[:3]:
        with pytest.raises(ItemError) as caught:
            labelling.produce(names.index(name))
        reasons[name] = caught.value.reason
        assert "\n" not in str(caught.value)
    assert reasons == {"a-black.mp4": "black", "b-broken.mp4": "unreadable", "c-short.mp4": "short"}
    assert len(labelling.produce(3)()) == 2
    labelling.close()
    strict = worker(tmp_path, replace(chosen, min_confidence=1.0))
    with pytest.raises(ItemError, match="2 low-confidence") as caught:
        strict.produce(3)
    assert caught.value.reason == "low-confidence"
    strict.close()


def test_other_weights_are_refused(source: Path, tmp_path: Path) -> None:
    own = save_inverse(tmp_path / "own", seed=1)
    labelling = stage(source, settings(own))
    found = discover(source)
    create(tmp_path / "set", found, settings(own))
    save_inverse(own, seed=2)
    with pytest.raises(CheckpointError, match="not the checkpoint that this run began with"):
        labelling.make_worker()
    with pytest.raises(DatasetError, match=r"recipe\.inverse\.digest is"):
        create(tmp_path / "set", found, settings(own))
    with pytest.raises(CheckpointError, match="kind inverse, expected lighting"):
        checkpoint(own, "lighting")


def test_options_out_of_range_are_one_clear_line(weights: Path) -> None:
    for name, value in (("overlap", 24), ("min_confidence", 1.5), ("size", 4), ("fov", 0.0)):
        with pytest.raises(InputError, match=f"`{name}` is"):
            settings(weights, **{name: value})


def test_the_header_names_settings_as_datasets_on_disk_do(weights: Path) -> None:
    known = settings(weights, size=0, fov=50.0, segments=SegmentOptions(count=3)).identity()
    assert known["side"] is None and settings(weights, size=32).identity()["side"] == 32
    assert known["fov_degrees"] == 50.0 and known["lighting"] == "solver" and known["checks"] == ["render"]
    assert known["segments"] == {
        "length": 24,
        "stride": None,
        "count": 3,
        "cuts": True,
        "min_motion": 0.01,
        "min_brightness": 0.08,
    }
    assert set(known) == {"inverse", "lighting", "segments", "side", "steps", "window", "overlap", "precision"} | {
        *("checks", "min_confidence", "fov_degrees", "environment_height")
    }


def test_solved_cameras_are_carried_and_named(tmp_path: Path, weights: Path) -> None:
    (tmp_path / "videos").mkdir()
    frames, turns, _ = panning()
    noise = np.random.default_rng(0).integers(0, 255, frames.shape, np.uint8)
    for name, shown in (("turns", frames), ("blinks", noise)):
        encode(tmp_path / "videos" / f"{name}.mp4", shown)
    chosen = settings(weights, size=0, camera="solve", segments=SegmentOptions(length=len(frames), cuts=False))
    labelling = worker(tmp_path / "videos", chosen)
    by_name = {}
    for index in range(2):
        (sample,) = labelling.produce(index)()
        by_name[sample.row.assets[0].uid] = sample
    labelling.close()
    sample, clip = by_name["turns.mp4"], decoded(by_name["turns.mp4"])
    assert {"solved-camera", "camera-turning"} <= set(sample.row.flags)
    assert "assumed-camera" not in sample.row.flags
    assert sample.row.statistics["camera.error"] < 0.3 and sample.row.statistics["camera.share"] > 0.9
    assert clip.meta["camera"] == "solved" and clip.meta["solved"]["kind"] == "turning"
    poses = clip.camera.camera_to_world
    angle, _ = camera_errors(turns, np.zeros((len(turns), 3)), poses[:, :3, :3], poses[:, :3, 3])
    assert angle.max() < 0.3
    sample, clip = by_name["blinks.mp4"], decoded(by_name["blinks.mp4"])
    assert "assumed-camera" in sample.row.flags and "solved-camera" not in sample.row.flags
    assert clip.meta["camera"] == "assumed" and clip.meta["solved"]["reason"]
    assert chosen.identity()["camera"] == "solve"
