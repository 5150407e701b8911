"""COLMAP models beside images, as text and as bytes: labels get their cameras, or one line."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from labeling.sources.discovery import discover
from labeling.sources.frame_reader import open_footage

CAMERAS = "# Camera list\n1 PINHOLE 128 96 100 102 64 48\n"
TURNED = "0.9238795325112867 0 0.3826834323650898 0"  # 45 degrees about y


def colmap_scene(folder: Path, images: int = 4, cameras: str = CAMERAS) -> Path:
    """Images of 64x48 in `images`, a text model in `sparse/0` of all but the last: they stand at x = -2, -1, 0 ..."""
    (folder / "images").mkdir(parents=True)
    (folder / "sparse/0").mkdir(parents=True)
    for number in range(images):
        Image.fromarray(np.full((48, 64, 3), 40 * number, np.uint8)).save(folder / f"images/frame_{number}.png")
    lines = [f"{number + 7} {TURNED} {2 - number} 0 0 1 frame_{number}.png\n1.5 2.5 -1" for number in range(images - 1)]
    (folder / "sparse/0/images.txt").write_text("# Image list\n" + "\n".join(lines) + "\n")
    (folder / "sparse/0/cameras.txt").write_text(cameras)
    return folder


def as_binary(folder: Path) -> None:
    """The same model as bytes."""
    pinhole = (1, 1, 128, 96, 100.0, 102.0, 64.0, 48.0)
    (folder / "cameras.bin").write_bytes(struct.pack("<QiiQQ4d", 1, *pinhole))
    made = b""
    lines = (folder / "images.txt").read_text().splitlines()[1::2]
    for line in lines:
        number, *pose, camera, name = line.split()
        made += struct.pack("<i7di", int(number), *map(float, pose), int(camera)) + name.encode() + b"\0"
        made += struct.pack("<Qddq", 1, 1.5, 2.5, -1)
    (folder / "images.bin").write_bytes(struct.pack("<Q", len(lines)) + made)
    (folder / "images.txt").unlink()
    (folder / "cameras.txt").unlink()


@pytest.mark.parametrize("binary", [False, True])
def test_a_colmap_model_beside_images_gives_labels_their_cameras(tmp_path: Path, binary: bool) -> None:
    scene = colmap_scene(tmp_path / "scene")
    if binary:
        as_binary(scene / "sparse/0")
    (footage,) = discover(tmp_path).footage
    with open_footage(footage) as reader:
        camera = reader.camera
    assert camera is not None and sorted(camera.poses) == [0, 1, 2]
    assert camera.intrinsics == pytest.approx(np.array([[50, 0, 32], [0, 51, 24], [0, 0, 1]]))
    half = np.sqrt(0.5)  # world to camera turns 45 degrees about y: R = [[h, 0, h], [0, 1, 0], [-h, 0, h]], C = -R^T t
    for number, pose in camera.poses.items():
        assert pose[:3, 3] == pytest.approx([-half * (2 - number), 0, -half * (2 - number)])
        assert pose[:3, 2] == pytest.approx([half, 0, -half])  # looks along -z: R^T (0, 0, -1)
        assert pose[:3, 1] == pytest.approx([0, -1, 0])
    assert [problem.message for problem in reader.problems] == ["1 of 4 frames have no pose"]


@pytest.mark.parametrize(
    ("cameras", "said"),
    [
        ("1 OPENCV_FISHEYE 128 96 100 100 64 48 0 0 0 0\n", "OPENCV_FISHEYE"),
        ("2 PINHOLE 128 96 100 100 64 48\n", "not a model of COLMAP"),
        ("1 PINHOLE 128 96 100\n", "not a model of COLMAP"),
        ("1 PINHOLE 128 96 0 100 64 48\n", "not positive"),
    ],
)
def test_a_colmap_model_that_cannot_be_used_is_said(tmp_path: Path, cameras: str, said: str) -> None:
    (footage,) = discover(colmap_scene(tmp_path / "scene", cameras=cameras)).footage
    with open_footage(footage) as reader:
        assert reader.camera is None
        assert [problem.reason for problem in reader.problems] == ["bad-transforms"]
        assert said in reader.problems[0].message
