"""Folders of image files are footage: in the order of their numbers, with gaps where files are missing."""

from __future__ import annotations

import io
import zlib
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import OpenEXR
import pytest
from PIL import Image

from labeling.sources.discovery import discover
from labeling.sources.footage import MEANINGS, Frame, Reader, SourceOptions
from labeling.sources.frame_reader import numbering, open_footage, read_image, several_kinds
from manifests.codec.exr import write_exr
from manifests.contract.color import srgb_decode, srgb_encode, to_rec709
from manifests.errors import FootageError
from tests.labeling.footage import shot


def write(folder: Path, frames: np.ndarray, name: str = "frame_{}.png", first: int = 1) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(frames, first):
        Image.fromarray(image).save(folder / name.format(number))
    return folder


def read(folder: Path, size: int | None = None) -> tuple[Reader, list[Frame]]:
    (footage,) = discover(folder, options=SourceOptions(fps=10)).footage
    with open_footage(footage, size=size) as reader:
        return reader, list(reader)


def reasons(reader: Reader) -> list[str]:
    return [problem.reason for problem in reader.problems]


def test_frames_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    frames = shot(1, 12)
    reader, found = read(write(tmp_path / "a", frames))
    assert (reader.frames, reader.fps, reader.size, reader.problems) == (12, 10, (48, 64), [])
    np.testing.assert_array_equal(np.stack([frame.rgb for frame in found]), frames)
    assert [frame.seconds for frame in found] == pytest.approx([index / 10 for index in range(12)])


def test_missing_numbers_are_gaps(tmp_path: Path) -> None:
    folder = write(tmp_path / "a", shot(1, 10), "im{}.png")
    (folder / "im4.png").unlink()
    (folder / "im5.png").unlink()
    reader, found = read(folder)
    assert reasons(reader) == ["missing-frames"]
    assert [frame.index for frame in found] == [0, 1, 2, 5, 6, 7, 8, 9]


@pytest.mark.parametrize(
    ("names", "places"),
    [
        (["f1", "f2", "f10"], [0, 1, 9]),
        (["f010", "f020", "f040"], [0, 1, 3]),
        (["f1_left", "f2_left"], [0, 1]),
        (["a1", "b2"], None),
        (["f1", "f01"], None),
        (["x", "y"], None),
        (["f1", "f3", "f4", "f99999999999999999"], None),
        (["f1", "f4", "f8"], None),
    ],
)
def test_numbers_in_names_give_places(names: list[str], places: list[int] | None) -> None:
    found, regular = numbering(names)
    assert regular == (places is not None)
    assert [found[name] for name in names] == (places or list(range(len(names))))


def test_irregular_names_are_reported(tmp_path: Path) -> None:
    reader, found = read(write(tmp_path / "a", shot(1, 3), "{0}take{0}b.png"))
    assert reasons(reader) == ["irregular-names"]
    assert len(found) == 3


def test_frames_of_another_size_and_damaged_ones_are_left_out_and_reported(tmp_path: Path) -> None:
    folder = write(tmp_path / "a", shot(1, 10))
    Image.fromarray(shot(1, 1, 40, 64)[0]).save(folder / "frame_1.png")
    data = (folder / "frame_5.png").read_bytes()
    (folder / "frame_5.png").write_bytes(data[: len(data) // 2])
    (folder / "frame_7.png").write_bytes(b"")
    reader, found = read(folder)
    assert reader.size == (48, 64)
    assert [frame.index for frame in found] == [1, 2, 3, 5, 7, 8, 9]
    assert sorted(reasons(reader)) == ["damaged", "size-changed"]


def test_frames_shrink_by_averaging(tmp_path: Path) -> None:
    checks = (np.indices((48, 64)).sum(0) % 2 * 200).astype(np.uint8)[..., None].repeat(3, 2)
    reader, found = read(write(tmp_path / "a", np.stack([checks, checks])), size=32)
    assert reader.size == (24, 32)
    assert np.abs(found[0].rgb.astype(int) - 100).max() <= 1


def test_images_of_every_mode_become_rgb(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    rgba = np.full((4, 4, 4), 200, np.uint8)
    rgba[..., 3] = 128
    gray16 = np.full((4, 4), 200 * 257, np.uint16)
    for image, value, flags in [
        (Image.fromarray(rgba), 100, {"alpha"}),
        (Image.fromarray(np.full((4, 4), 90, np.uint8)), 90, set()),
        (Image.fromarray(gray16), 200, set()),
        (Image.new("P", (4, 4), 0), 0, set()),
        (Image.new("1", (4, 4), 1), 255, set()),
    ]:
        image.save(path)
        found, marks = read_image("a.png", path.read_bytes(), upright=True)
        assert (found.shape, found.dtype, found[0, 0].tolist(), marks) == ((4, 4, 3), np.uint8, [value] * 3, flags)


def test_an_orientation_mark_is_carried_out_unless_poses_describe_the_image_as_stored(tmp_path: Path) -> None:
    image = shot(1, 1)[0]
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter, clockwise
    Image.fromarray(image).save(tmp_path / "a.png", exif=exif)
    data = (tmp_path / "a.png").read_bytes()
    np.testing.assert_array_equal(read_image("a", data, upright=True)[0], np.rot90(image, -1))
    np.testing.assert_array_equal(read_image("a", data, upright=False)[0], image)


def test_an_image_that_would_fill_the_memory_is_refused_by_its_header() -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    header = (12_000).to_bytes(4, "big") + (6_000).to_bytes(4, "big") + bytes([8, 2, 0, 0, 0])
    data = (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
    )
    with pytest.raises(FootageError, match="12000x6000") as caught:
        read_image("a.png", data, upright=True)
    assert caught.value.reason == "refused"


def test_links_that_lead_out_are_not_followed(tmp_path: Path) -> None:
    folder = write(tmp_path / "in", shot(1, 4))
    outside = write(tmp_path / "out", shot(2, 1), "secret_{}.png")
    (folder / "frame_5.png").symlink_to(outside / "secret_1.png")
    found = discover(folder)
    assert ("leaves-folder", "frame_5.png") in {(problem.reason, problem.path) for problem in found.problems}
    assert len(read(folder)[1]) == 4


def test_names_that_are_not_text_are_reported(tmp_path: Path) -> None:
    folder = write(tmp_path / "a", shot(1, 3))
    try:
        (folder / "frame_\udcff.png").write_bytes(b"")
    except OSError:
        pytest.skip("this file system only takes UTF-8")
    found = discover(folder)
    assert [problem.reason for problem in found.problems] == ["refused"]
    assert msgspec.json.encode(found)
    assert len(read(folder)[1]) == 3


def test_the_rate_is_flagged_where_nobody_states_it(tmp_path: Path) -> None:
    (footage,) = discover(write(tmp_path / "a", shot(1, 3))).footage
    with open_footage(footage) as reader:
        assert reader.flags == {"assumed-fps"} and reader.fps == 24


def test_several_folders_are_several_items_and_videos_keep_stray_images_out(tmp_path: Path) -> None:
    write(tmp_path / "a", shot(1, 3))
    write(tmp_path / "b" / "c", shot(1, 3), "{}.jpg")
    write(tmp_path / "d", shot(1, 1))
    found = discover(tmp_path, kind="frames")
    assert [item.name for item in found.footage] == ["a", "b/c"]
    assert [problem.message for problem in found.problems] == [
        "1 files are no footage and were left out: d/frame_1.png"
    ]


KINDS: dict[str, tuple[list[str], list[str]]] = {
    "kubric": (["rgba_{:05d}.png", "segmentation_{:05d}.png", "normal_{:05d}.png"], ["rgba_*.png", "normal_*.png"]),
    "blenderproc": (["{}_colors.png", "{}_normals.png"], ["*_colors.png"]),
    "nerf": (["r_{}.png", "r_{}_depth_0001.png", "r_{}_normal_0001.png"], ["r_*.png", "r_*_depth_*.png"]),
    "davis": (["{:05d}.jpg", "{:05d}.png"], ["*.jpg", "*.png"]),
    "tiff": (["{:04d}.tif", "{:04d}.png"], ["*.tif"]),
}


@pytest.mark.parametrize("name", KINDS)
def test_several_kinds_of_pictures_are_a_question(tmp_path: Path, name: str) -> None:
    patterns, kinds = KINDS[name]
    films = [shot(seed, 4) for seed in range(len(patterns))]
    for film, pattern in zip(films, patterns, strict=True):
        write(tmp_path / "a", film, pattern, first=0)
    with pytest.raises(FootageError) as caught:
        read(tmp_path / "a")
    assert caught.value.reason == "several-kinds"
    assert all(kind in str(caught.value) for kind in kinds)
    (footage,) = discover(tmp_path / "a", options=SourceOptions(fps=10, images=kinds[0])).footage
    with open_footage(footage) as reader:
        found = np.stack([frame.rgb for frame in reader]).astype(float)
    assert np.abs(found - films[0]).mean() < (3 if kinds[0].endswith("jpg") else 1e-9)


@pytest.mark.parametrize(
    "names",
    [
        [f"frame_{n:04d}.png" for n in range(5)],
        [f"{n}.{suffix}" for n, suffix in enumerate(["jpg", "png", "png", "jpeg"])],
        [f"IMG_{n}.jpg" for n in range(3)] + [f"DSC_{n}.jpg" for n in range(7, 9)],
        [f"frame_{n:04d}_v{n % 2}.png" for n in range(4)],
        [f"frames.{n:04d}.tiff" for n in range(3)],
        ["a.png", "b.png", "c.png"],
        [*(f"{n}.png" for n in range(3)), "cover_1.png"],
        [],
    ],
)
def test_one_kind_of_pictures_is_no_question(names: list[str]) -> None:
    assert several_kinds(names) == []


BOTH = {"transforms_train.json": "./train/r_{}", "transforms_test.json": "./test/r_{}"}
SHARED = {"transforms_train.json": "images/r_{}", "transforms_test.json": "./images/t_{}"}
SPLITS = {  # files of cameras with the paths that they list, a folder of images, and frames with poses or what is said
    "nerf": (BOTH, "train", "r_{}.png", 3),
    "nerf-test": (BOTH, "test", "r_{}.png", 3),
    "suffixed": ({"transforms_train.json": "train/000{}.png"}, "train", "000{}.png", 3),
    "other-suffix": ({"transforms_val.json": "./val/r_{}.png"}, "val", "r_{}.jpg", 3),
    "one-folder": (
        {"transforms_train.json": "images/r_{}", "transforms_test.json": "./images/t_{}"},
        "images",
        "r_{}.png",
        3,
    ),
    "whole": ({"transforms.json": "./train/r_{}"}, "train", "r_{}.png", 3),
    "beside": ({"transforms.json": "{}.png"}, ".", "{}.png", 3),
    "no-folder": ({"transforms_train.json": "r_{}"}, "train", "r_{}.png", 3),
    "absolute": ({"transforms_train.json": "/home/a/lego/train/r_{}.png"}, "train", "r_{}.png", 3),
    "windows": ({"transforms_train.json": "C:\\lego\\train\\r_{}.png"}, "train", "r_{}.png", 3),
    "odd-name": ({"transforms_[a]*.json": "./[a]*/r_{}"}, "[a]*", "r_{}.png", 3),
    "of-others": ({"transforms.json": "./train/r_{}"}, "masks", "r_{}.png", "names none of these frames"),
    "no-json": ({"transforms_train.json": ""}, "train", "r_{}.png", "truncated"),
}


@pytest.mark.parametrize("name", SPLITS)
@pytest.mark.parametrize("given", ["tree", "folder"])
def test_cameras_of_splits_are_those_of_their_frames(tmp_path: Path, name: str, given: str) -> None:
    files, folder, stem, right = SPLITS[name]
    root = tmp_path / "lego"
    write(root / folder, shot(1, 3), stem, first=0)
    poses = np.tile(np.eye(4), (3, 1, 1))
    poses[:, 0, 3] = (0, 1, 2)
    for file, path in files.items():
        frames = [{"file_path": path.format(at), "transform_matrix": pose.tolist()} for at, pose in enumerate(poses)]
        text = msgspec.json.encode({"camera_angle_x": 0.6, "frames": frames}) if path else b"{"
        (root / file).write_bytes(text)
    if given == "folder" and folder != "." and not (root / f"transforms_{folder}.json").exists():
        right = ""  # what lies above what was given counts only by the folder's own name
    reader, _ = read(root / folder if given == "folder" else root)
    if right == 3:
        assert reader.camera is not None and sorted(reader.camera.poses) == [0, 1, 2]
        np.testing.assert_array_equal([reader.camera.poses[at] for at in range(3)], poses)
        focal = 32 / np.tan(0.3)
        np.testing.assert_allclose(reader.camera.intrinsics, [[focal, 0, 32], [0, focal, 24], [0, 0, 1]])
    else:
        assert reader.camera is None
        assert right in " ".join(problem.message for problem in reader.problems)


def test_splits_of_other_lenses_are_refused_by_name(tmp_path: Path) -> None:
    write(tmp_path / "images", shot(1, 2), "r_{}.png")
    for split, angle in (("train", 0.6), ("test", 0.7)):
        frames = [{"file_path": f"images/r_{at}", "transform_matrix": np.eye(4).tolist()} for at in (1, 2)]
        text = msgspec.json.encode({"camera_angle_x": angle, "frames": frames})
        (tmp_path / f"transforms_{split}.json").write_bytes(text)
    reader, _ = read(tmp_path)
    assert reader.camera is None and reasons(reader) == ["bad-transforms"]


def test_sixteen_bit_tiff_frames_are_read(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for number in range(3):
        Image.fromarray(np.full((32, 32), 200 * 257, np.uint16)).save(tmp_path / "a" / f"{number:03d}.tif")
    _, frames = read(tmp_path / "a")
    assert [int(frame.rgb.max()) for frame in frames] == [200] * 3


def plate(light: np.ndarray, *, data_window: tuple[int, int, int, int] | None = None, **header: Any) -> bytes:
    """An EXR of linear light (H, W, 3) as halves; a data window (left, top, right, bottom) holds that part of it."""
    height, width = light.shape[:2]
    left, top, right, bottom = data_window or (0, 0, width - 1, height - 1)
    inside = light[top : bottom + 1, left : right + 1].astype(np.float16)
    windows = {
        "displayWindow": (np.array([0, 0], np.int32), np.array([width - 1, height - 1], np.int32)),
        "dataWindow": (np.array([left, top], np.int32), np.array([right, bottom], np.int32)),
    }
    channels = {name: np.ascontiguousarray(inside[..., index]) for index, name in enumerate("RGB")}
    stream = io.BytesIO()
    with OpenEXR.File({"type": OpenEXR.scanlineimage, **windows, **header}, channels) as file:
        file.write(stream)
    return stream.getvalue()


def test_a_plate_of_exr_frames_is_read_as_linear_light(tmp_path: Path) -> None:
    """Names with dots, a gap, highlights beyond white, a data window that is smaller than the picture."""
    light = srgb_decode(shot(1, 4) / 255) * 0.9
    light[:, :8, :8] = (16.0, 8.0, 4.0)
    (tmp_path / "shot_v002").mkdir()
    for number, picture in zip((1001, 1002, 1004, 1005), light, strict=True):
        (tmp_path / "shot_v002" / f"plate.{number}.exr").write_bytes(plate(picture))
    reader, frames = read(tmp_path / "shot_v002")
    assert [frame.index for frame in frames] == [0, 1, 3, 4] and reader.frames == 5
    assert {problem.reason for problem in reader.problems} == {"missing-frames"}
    assert MEANINGS["linear-light"] in reader.said
    expected = 255 * srgb_encode(light)
    for frame, right in zip(frames, expected, strict=True):
        assert np.abs(frame.rgb[8:].astype(float) - right[8:]).max() <= 1
        red, green, blue = srgb_decode(frame.rgb[4, 4] / 255)
        assert (
            red > 0.95 and green / red == pytest.approx(0.5, abs=0.02) and blue / red == pytest.approx(0.25, abs=0.02)
        )


def test_exr_windows_colours_and_faults(tmp_path: Path) -> None:
    light = np.full((20, 30, 3), 0.18)
    image, flags = read_image("a.exr", plate(light, data_window=(10, 5, 19, 14)), upright=True)
    assert image.shape == (20, 30, 3) and flags == {"linear-light"}
    assert image[4, 15].tolist() == [0, 0, 0] and np.abs(image[10, 15].astype(int) - 118).max() <= 1
    wide = (0.708, 0.292, 0.170, 0.797, 0.131, 0.046, 0.3127, 0.3290)
    image, _ = read_image("a.exr", plate(light * (1, 0.5, 0.5), chromaticities=wide), upright=True)
    right = 255 * srgb_encode(np.array([0.18, 0.09, 0.09]) @ to_rec709(wide).T)
    assert np.abs(image[10, 15] - right).max() <= 1
    with pytest.raises(FootageError, match="pixels must be square"):
        read_image("a.exr", plate(light, pixelAspectRatio=2.0), upright=True)
    with pytest.raises(FootageError, match=r"a\.exr: not a whole EXR"):
        read_image("a.exr", plate(light)[:-100], upright=True)
    layers = {f"{name}.{channel}": np.ones((4, 4), np.float32) for name in ("key", "fill") for channel in "RGB"}
    with pytest.raises(FootageError, match=r"which layer is the picture.*export the beauty"):
        read_image("a.exr", write_exr(layers), upright=True)
    broken = light.copy()
    broken[0, 0], broken[0, 1] = np.nan, np.inf
    assert read_image("a.exr", plate(broken), upright=True)[0][0, :2].tolist() == [[0] * 3, [255] * 3]
