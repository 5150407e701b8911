"""`lightloom view`: what an .rrd file holds, read back by rerun itself, and what is said where rerun is not there."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from manifests.codec.codecs import decode_clip
from tests.manifests.clips import clip_sample, make_dataset

COMMAND = [sys.executable, "-c", "from lightloom.cli import main; main()", "view"]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two clips of three frames."""
    path = tmp_path_factory.mktemp("view") / "set"
    make_dataset(path, sample=clip_sample, items=2, per_shard=2)
    return path


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, env=os.environ | environment, check=False, timeout=120
    )


def entities(path: Path) -> dict[str, list[Any]]:
    """Chunks of an .rrd by entity."""
    from rerun.chunk import RrdReader

    found: dict[str, list[Any]] = {}
    for chunk in RrdReader(str(path)).stream():
        found.setdefault(str(chunk.entity_path), []).append(chunk.to_record_batch())
    return found


def test_a_clip_becomes_pictures_points_in_the_world_and_a_camera(dataset, tmp_path):
    pytest.importorskip("rerun")
    save = tmp_path / "out" / "one.rrd"
    done = run(f"{dataset}:00000001-00", "--save", str(save))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{save}: 1 clips")
    found = entities(save)
    root = "/00000001-00"
    pictures = ("camera/rgb", "basecolor", "normal", "roughness", "metallic", "mask", "instance", "depth")
    for name in (*pictures, "camera", "path", "environment", "points"):
        assert f"{root}/{name}" in found, name
    for name in (*pictures, "points"):
        assert sum(batch.num_rows for batch in found[f"{root}/{name}"]) == 3, name

    clip = decode_clip("00000001-00", clip_sample(1).files)
    frames = [row for batch in found[f"{root}/points"] for row in batch.column("Points3D:positions").to_pylist()]
    ground = clip.arrays["instance"] == 1
    for frame, places in enumerate(np.array(row) for row in frames):
        depth = clip.arrays["depth"][frame, ..., 0]
        assert len(places) == np.isfinite(depth).sum()
        on_ground = ground[frame, ..., 0][np.isfinite(depth)]
        assert np.abs(places[on_ground][:, 2]).max() < 1e-4  # the ground is z = 0 of the world
        assert np.allclose(np.linalg.norm(places[~on_ground] - (0, 0, 0.5), axis=1), 0.5, atol=1e-4)
    way = found[f"{root}/path"][0].column("LineStrips3D:strips").to_pylist()[0][0]
    assert np.allclose(way, clip.camera.camera_to_world[:, :3, 3], atol=1e-5)


def test_a_dataset_shows_its_first_clips(dataset, tmp_path):
    pytest.importorskip("rerun")
    save = tmp_path / "all.rrd"
    assert run(str(dataset), "--save", str(save)).returncode == 0
    assert {"/00000000-00/points", "/00000001-00/points"} <= entities(save).keys()
    assert run(str(dataset), "--clips", "1", "--save", str(save)).returncode == 0
    assert "/00000001-00/points" not in entities(save)


def test_without_rerun_one_line_says_what_to_install(dataset, tmp_path):
    (tmp_path / "rerun.py").write_text("raise ImportError('not here')")
    done = run(str(dataset), PYTHONPATH=f"{tmp_path}{os.pathsep}{Path(__file__).parents[2]}")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "lightloom: rerun is not installed; pip install 'lightloom[view]'\n"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("{set}:00000009-00", "--save", "{out}/a.rrd"), "holds no clip '00000009-00'"),
        (("{out}/nowhere", "--save", "{out}/a.rrd"), "no dataset.json"),
        (("{set}", "--save", "{out}/a.mp4"), "rerun's files end in .rrd"),
        (("{set}", "--clips", "0"), "at least 1 is needed"),
    ],
)
def test_mistakes_are_one_line(dataset, tmp_path, arguments, expected):
    done = run(*(argument.format(set=dataset, out=tmp_path) for argument in arguments))
    assert (done.returncode, done.stdout) == (1, "")
    assert expected in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_zoom_has_a_lens_in_every_frame_and_its_points_stay_on_the_ground(tmp_path):
    pytest.importorskip("rerun")
    make_dataset(tmp_path / "zoom", sample=partial(clip_sample, zoom=1.6), items=1, per_shard=1)
    save = tmp_path / "zoom.rrd"
    assert run(str(tmp_path / "zoom"), "--save", str(save)).returncode == 0
    found, clip = entities(save), decode_clip("k", clip_sample(0, zoom=1.6).files)
    lenses = [
        lens
        for batch in found["/00000000-00/camera"]
        if "Pinhole:image_from_camera" in batch.schema.names
        for lens in batch.column("Pinhole:image_from_camera").to_pylist()
        if lens
    ]
    assert len(lenses) == 3
    for lens, expected in zip(lenses, clip.camera.intrinsics, strict=True):
        assert np.allclose(np.ravel(lens), expected.T.ravel(), rtol=1e-6)  # rerun's columns come first
    frames = [row for batch in found["/00000000-00/points"] for row in batch.column("Points3D:positions").to_pylist()]
    for frame, places in enumerate(np.array(row) for row in frames):
        depth = clip.arrays["depth"][frame, ..., 0]
        on_ground = (clip.arrays["instance"][frame, ..., 0] == 1)[np.isfinite(depth)]
        assert np.abs(places[on_ground][:, 2]).max() < 1e-4
