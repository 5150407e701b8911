"""DL3DV trees: exact cameras where everything is there, and every kind of damage detected and reported."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import stat
import zipfile
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from PIL import Image

from labeling.label_run import _footage_digest
from labeling.label_settings import SegmentOptions
from labeling.segments import Segment, plan
from labeling.sources.discovery import discover
from labeling.sources.footage import Discovery, FootageProblem, Frame, Reader, SourceOptions
from labeling.sources.frame_reader import open_footage
from labeling.sources.frame_stores import ZipStore
from manifests.contract.camera import Camera
from manifests.errors import FootageError, InputError, StorageError
from manifests.files import Scratch
from manifests.object_path import ObjectPath
from tests.labeling.footage import encode, shot
from tests.object_store import FaultProxy, connected, upload

HASH = hashlib.sha256(b"scene").hexdigest()
OTHER = hashlib.sha256(b"other").hexdigest()
FRAMES = 8
FULL = (192, 256)
"""(H, W) that transforms.json describes; images_4 holds a quarter of it."""


def poses(count: int = FRAMES) -> np.ndarray:
    """OpenGL cameras that walk, turn and tilt, (T, 4, 4)."""
    matrices = np.tile(np.eye(4), (count, 1, 1))
    for number, matrix in enumerate(matrices):
        a, b = 0.1 * number, 0.07 * number - 0.2
        turn = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
        tilt = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
        matrix[:3, :3], matrix[:3, 3] = turn @ tilt, (0.2 * number, 0.1, 2 - 0.1 * number)
    return matrices


def transforms(**changes: Any) -> dict[str, Any]:
    frames = [
        {"file_path": f"images/frame_{number + 1:05d}.png", "transform_matrix": matrix.tolist(), "colmap_im_id": 1}
        for number, matrix in enumerate(poses())
    ]
    known = {"w": FULL[1], "h": FULL[0], "fl_x": 210.0, "fl_y": 212.0, "cx": 130.0, "cy": 94.0}
    return {"camera_model": "OPENCV", "k1": 0.0, "k2": 0.0, "p1": 0.0, "p2": 0.0, **known, "frames": frames, **changes}


def files(described: dict[str, Any] | None, images: np.ndarray | None = None, folder: str = "images_4") -> dict:
    images = shot(1, FRAMES) if images is None else images
    found = {}
    for number, image in enumerate(images):
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "PNG")
        found[f"{folder}/frame_{number + 1:05d}.png"] = buffer.getvalue()
    return found | ({"transforms.json": json.dumps(described).encode()} if described is not None else {})


def as_folder(root: Path, name: str, contents: dict[str, bytes]) -> Path:
    for inner, data in contents.items():
        path = root / name / inner
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root / name


def as_zip(root: Path, name: str, contents: dict[str, bytes]) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(root / f"{name}.zip", "w") as archive:
        for inner, data in contents.items():
            archive.writestr(f"{name}/{inner}", data)
    return root / f"{name}.zip"


def index(root: Path, *rows: tuple[str, str, str, str]) -> None:
    with (root / "DL3DV-valid.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("", "hash", "label", "batch", "duration"), *((0, *row) for row in rows)])


def read(root: Path, size: int | None = None, **options: Any) -> tuple[Reader, list[Frame]]:
    (footage,) = discover(root, options=SourceOptions(**options)).footage
    with open_footage(footage, size=size) as reader:
        return reader, list(reader)


def reasons(problems: tuple[FootageProblem, ...] | list[FootageProblem]) -> list[str]:
    return [problem.reason for problem in problems]


def test_a_zip_and_a_folder_are_the_same_scene(tmp_path: Path) -> None:
    as_zip(tmp_path / "zips" / "1K", HASH, files(transforms()))
    as_folder(tmp_path / "folders" / "1K", HASH, files(transforms()))
    found = []
    for root in ("zips", "folders"):
        index(tmp_path / root, (HASH, "park", "1K", "0:00:02"))
        discovery = discover(tmp_path / root)
        assert discovery.problems == ()
        (footage,) = discovery.footage
        assert (footage.uid, footage.kind, footage.label) == (HASH[:40], "dl3dv", "park")
        assert (footage.licence, footage.duration) == ("CC-BY-NC-4.0", 2.0)
        with open_footage(footage) as reader:
            frames = list(reader)
        assert (reader.frames, reader.fps, reader.flags, reader.problems) == (FRAMES, 4.0, set(), [])
        found.append(np.stack([frame.rgb for frame in frames]))
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], shot(1, FRAMES))


@pytest.mark.parametrize("size", [None, 32])
def test_points_project_where_the_images_show_them(tmp_path: Path, size: int | None) -> None:
    """Points are drawn at the pixels that nerfstudio's own equations give, at full size; we must find them again."""
    as_folder(tmp_path, HASH, files(transforms()))
    (footage,) = discover(tmp_path).footage
    with open_footage(footage, size=size) as reader:
        (segment,) = [piece for piece in plan(reader, SegmentOptions(length=FRAMES)) if isinstance(piece, Segment)]
    assert segment.camera is not None
    points = np.random.default_rng(0).uniform(-1, 1, (50, 3)) + np.array([0.5, 0.0, -3.0])
    pixels, depth = segment.camera.project(points)
    scale = segment.frames.shape[2] / FULL[1]
    for number, c2w in enumerate(poses()):
        local = np.linalg.inv(c2w) @ np.concatenate([points, np.ones((50, 1))], 1).T  # (4, N), OpenGL camera
        u = 210.0 * local[0] / -local[2] + 130.0
        v = 212.0 * local[1] / local[2] + 94.0
        np.testing.assert_allclose(depth[number], -local[2], rtol=1e-9)
        np.testing.assert_allclose(pixels[number], np.stack([u, v], 1) * scale, rtol=1e-9)


def test_a_camera_round_trips_through_our_own_convention(tmp_path: Path) -> None:
    """A scene written from our cameras is read back as the same cameras, so labels on it can be scored."""
    as_folder(tmp_path, HASH, files(transforms(), shot(1, FRAMES, *FULL), "images"))
    reader, _ = read(tmp_path)
    assert reader.camera is not None
    camera = reader.camera.window(range(FRAMES))
    assert isinstance(camera, Camera)
    np.testing.assert_allclose(camera.camera_to_world, poses(), atol=1e-12)
    np.testing.assert_allclose(camera.intrinsics, [[210, 0, 130], [0, 212, 94], [0, 0, 1]])


def test_a_partial_extraction_is_held_against_transforms(tmp_path: Path) -> None:
    contents = files(transforms())
    for number in (3, 4, 8):
        del contents[f"images_4/frame_{number:05d}.png"]
    as_folder(tmp_path, HASH, contents)
    reader, found = read(tmp_path)
    assert [(problem.reason, "3 of its 8" in problem.message) for problem in reader.problems] == [
        ("missing-frames", True)
    ]
    assert reader.frames == 8
    assert [frame.index for frame in found] == [0, 1, 4, 5, 6]
    assert reader.camera is not None
    np.testing.assert_allclose(reader.camera.poses[4], poses()[4], atol=1e-12)


def test_frames_without_a_pose_or_with_a_broken_one_carry_none(tmp_path: Path) -> None:
    described = transforms()
    del described["frames"][1]
    described["frames"][2]["transform_matrix"] = (2 * poses()[3]).tolist()
    described["frames"][3]["transform_matrix"] = np.diag([1.0, 1, -1, 1]).tolist()
    described["frames"][4]["transform_matrix"] = [["x"]]
    described["frames"][5].pop("transform_matrix")
    as_folder(tmp_path, HASH, files(described))
    reader, found = read(tmp_path)
    assert len(found) == FRAMES
    assert reader.camera is not None and sorted(reader.camera.poses) == [0, 2, 7]
    assert [(problem.reason, problem.message[0]) for problem in reader.problems] == [
        ("no-pose", "2"),
        ("bad-pose", "3"),
    ]


FX, FY = 210.0, 212.0
ANGLES = {"camera_angle_x": 2 * np.arctan(FULL[1] / 2 / FX), "camera_angle_y": 2 * np.arctan(FULL[0] / 2 / FY)}
KNOWN = ("fl_x", "fl_y", "cx", "cy", "w", "h")


def written(drop: tuple[str, ...] = (), each: tuple[str, ...] = (), **changes: Any) -> dict[str, Any]:
    """A transforms.json without some of its fields, with some moved to every frame, and some set."""
    found = transforms()
    for entry in found["frames"]:
        entry.update({name: found[name] for name in each})
    for name in (*drop, *each):
        del found[name]
    return found | changes


@pytest.mark.parametrize(
    ("described", "centre", "square"),
    [
        (written(), True, False),
        (written(each=KNOWN), True, False),
        (written(each=(*KNOWN, "k1", "k2", "p1", "p2", "camera_model")), True, False),
        (written(drop=("fl_x", "fl_y"), **ANGLES), True, False),
        (written(drop=KNOWN, **ANGLES), False, False),
        (written(drop=KNOWN, camera_angle_x=ANGLES["camera_angle_x"]), False, True),
        (written(drop=("fl_y",)), True, True),
        (written(drop=("cx", "cy")), False, False),
        (written(camera_model="PINHOLE", is_fisheye=False, aabb_scale=16, scale=0.5), True, False),
        (written(applied_transform=[[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, -1, 0]], ply_file_path="a.ply"), True, False),
    ],
)
def test_intrinsics_are_read_however_they_are_written(
    tmp_path: Path, described: dict[str, Any], centre: bool, square: bool
) -> None:
    as_folder(tmp_path, HASH, files(described))
    reader, _ = read(tmp_path)
    assert reader.camera is not None, reader.problems
    assert (reader.problems, sorted(reader.camera.poses)) == ([], list(range(FRAMES)))
    middle = (130.0, 94.0) if centre else (FULL[1] / 2, FULL[0] / 2)
    wanted = [[FX, 0, middle[0]], [0, FX if square else FY, middle[1]], [0, 0, 4]]
    np.testing.assert_allclose(reader.camera.intrinsics * 4, wanted, rtol=1e-9)


@pytest.mark.parametrize("path", ["./images/frame_{:05d}", "images\\\\frame_{:05d}.png", "/a/b/frame_{:05d}.JPG"])
def test_frames_are_known_by_their_names_less_a_suffix(tmp_path: Path, path: str) -> None:
    described = transforms()
    for number, entry in enumerate(described["frames"], 1):
        entry["file_path"] = path.format(number)
    as_folder(tmp_path, HASH, files(described))
    camera = read(tmp_path)[0].camera
    assert camera is not None and len(camera.poses) == FRAMES


def test_a_number_after_a_dot_is_no_suffix(tmp_path: Path) -> None:
    described, contents = transforms(), {}
    for number, entry in enumerate(described["frames"], 1):
        entry["file_path"] = f"images/frame.{number:04d}"
    for name, data in files(None).items():
        contents[name.replace("frame_0", "frame.")] = data
    as_folder(tmp_path, HASH, contents | {"transforms.json": json.dumps(described).encode()})
    camera = read(tmp_path)[0].camera
    assert camera is not None and len(camera.poses) == FRAMES


@pytest.mark.parametrize(
    "described",
    [
        json.dumps(written(drop=("w", "h"))).encode(),  # of images four times as large, which it does not say
        json.dumps(written(drop=("w", "h", "cx", "cy"))).encode(),
        json.dumps(written(is_fisheye=True)).encode(),
        json.dumps(written(k4=0.1)).encode(),
        json.dumps(written(drop=KNOWN, camera_angle_x=3.2)).encode(),
        json.dumps(written(drop=KNOWN, camera_angle_x=0.0)).encode(),
        b"{",
        b"[]",
        b"[" * 100_000,
        json.dumps(transforms(fl_x=None)).encode(),
        json.dumps(transforms(fl_x=-3.0)).encode(),
        json.dumps(transforms(h=400)).encode(),
        json.dumps(transforms(camera_model="OPENCV_FISHEYE")).encode(),
        json.dumps(transforms(frames=transforms()["frames"][:2] * 2)).encode(),
        json.dumps(
            transforms(frames=[{**entry, "fl_x": n} for n, entry in enumerate(transforms()["frames"])])
        ).encode(),
        json.dumps(transforms(cx=float("nan"))).encode(),
    ],
    ids=[
        "no-size",
        "no-size-nor-centre",
        "fisheye-ngp",
        "fisheye-k4",
        "angle",
        "no-angle",
        "cut",
        "list",
        "deep",
        "no-focal",
        "negative",
        "shape",
        "fisheye",
        "twice",
        "varying",
        "nan",
    ],
)
def test_transforms_that_cannot_be_believed_give_frames_without_camera(tmp_path: Path, described: bytes) -> None:
    as_folder(tmp_path, HASH, files(None) | {"transforms.json": described})
    reader, found = read(tmp_path)
    assert reasons(reader.problems) == ["bad-transforms"]
    assert reader.camera is None and len(found) == FRAMES


def test_a_scene_without_transforms_has_frames_and_says_so(tmp_path: Path) -> None:
    as_zip(tmp_path, HASH, files(None))
    reader, found = read(tmp_path)
    assert reasons(reader.problems) == ["no-transforms"]
    assert reader.camera is None and len(found) == FRAMES


def test_a_lens_is_recorded_and_flagged_only_when_it_shows(tmp_path: Path) -> None:
    for k1, flags in ((1e-5, set()), (-0.05, {"distorted-lens"})):
        as_folder(tmp_path, HASH, files(transforms(k1=k1)))
        reader, _ = read(tmp_path, fps=5.0)
        assert reader.camera is not None and reader.camera.distortion == {"k1": k1}
        assert reader.flags == flags


def test_sizes_that_change_within_a_scene_leave_gaps(tmp_path: Path) -> None:
    contents = files(transforms())
    contents["images_4/frame_00001.png"] = files(None, shot(1, 1, 24, 32))["images_4/frame_00001.png"]
    as_zip(tmp_path, HASH, contents)
    reader, found = read(tmp_path)
    assert reader.size == (48, 64)
    assert [frame.index for frame in found] == list(range(1, 8))
    assert reasons(reader.problems) == ["size-changed"]


def test_the_image_folder_is_the_one_asked_for_or_the_first_there_is(tmp_path: Path) -> None:
    contents = files(transforms(), shot(1, FRAMES, 24, 32), "images_8") | files(transforms())
    as_folder(tmp_path, HASH, contents)
    assert read(tmp_path)[0].size == (48, 64)
    reader, _ = read(tmp_path, images="images_8")
    assert reader.size == (24, 32)
    assert reader.camera is not None
    np.testing.assert_allclose(reader.camera.intrinsics[:2], np.array([[210, 0, 130], [0, 212, 94]]) / 8)
    found = discover(tmp_path, options=SourceOptions(images="images_2"))
    assert found.footage == () and reasons(found.problems) == ["no-images"]
    assert "images_4, images_8" in found.problems[0].message


def test_the_index_is_held_against_the_tree(tmp_path: Path) -> None:
    as_folder(tmp_path / "1K", HASH, files(transforms()))
    as_folder(tmp_path / "1K", OTHER, {"transforms.json": b"{}"})
    gone = [hashlib.sha256(bytes([n])).hexdigest() for n in range(3)]
    rows = [
        (OTHER, "x", "1K", "soon"),
        (gone[0], "x", "1K", "61"),
        (gone[1], "x", "2K", "1"),
        (gone[2], "x", "2K", "1"),
    ]
    index(tmp_path, *rows, rows[0], ("", "x", "1K", "1"))
    found = discover(tmp_path)
    assert [footage.uid for footage in found.footage] == [HASH[:40]]
    assert {(problem.reason, problem.path): problem.message for problem in found.problems} == {
        ("bad-index", "DL3DV-valid.csv"): "2 lines without a hash of their own, first line 6",
        ("no-images", f"1K/{OTHER}"): "no images_4, images_8, images_2 or images with frames in it; there is: none",
        ("unlisted", f"1K/{HASH}"): "the index does not list this scene",
        ("missing-scenes", "1K"): f"1 of the 2 scenes that the index lists are not there, first {gone[0]}",
        ("missing-scenes", "2K"): f"2 of the 2 scenes that the index lists are not there, first {min(gone[1:])}",
    }


def test_a_scene_that_is_there_twice_is_used_once(tmp_path: Path) -> None:
    as_zip(tmp_path / "1K", HASH, files(transforms()))
    as_folder(tmp_path / "1K", HASH, files(transforms()))
    found = discover(tmp_path)
    assert len(found.footage) == 1
    assert reasons(found.problems) == ["duplicate"]


def test_names_that_climb_out_links_and_encrypted_members_do_not_exist(tmp_path: Path) -> None:
    path = as_zip(tmp_path, HASH, files(transforms()))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(f"{HASH}/images_4/../../../evil.png", b"x")
        archive.writestr("/etc/evil.png", b"x")
        archive.writestr("C:\\evil.png", b"x")
        link = zipfile.ZipInfo(f"{HASH}/images_4/frame_00099.png")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    before = sorted(tmp_path.rglob("*"))
    found = discover(tmp_path)
    assert sorted(set(reasons(found.problems))) == ["leaves-folder"]
    assert len(found.problems) == 2
    _, frames = read(tmp_path)
    assert len(frames) == FRAMES
    assert sorted(tmp_path.rglob("*")) == before


def test_a_cut_off_zip_and_a_damaged_member_are_reported(tmp_path: Path) -> None:
    whole = as_zip(tmp_path / "a", HASH, files(transforms())).read_bytes()
    (tmp_path / "a" / f"{HASH}.zip").write_bytes(whole[: len(whole) // 2])
    found: Discovery = discover(tmp_path / "a")
    assert found.footage == () and reasons(found.problems) == ["unreadable"]
    damaged = bytearray(whole)
    place = whole.index(b"frame_00003.png") + 400
    damaged[place : place + 40] = bytes(40)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / f"{HASH}.zip").write_bytes(damaged)
    reader, frames = read(tmp_path / "b")
    assert [frame.index for frame in frames] == [0, 1, 3, 4, 5, 6, 7]
    assert reasons(reader.problems) == ["damaged"]


def test_bombs_are_refused_before_they_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labeling.sources.frame_stores.MAX_FILE", 1 << 20)
    contents = files(transforms())
    bomb = tmp_path / f"{HASH}.zip"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in contents.items():
            archive.writestr(f"{HASH}/{name}", data)
        archive.writestr(f"{HASH}/images_4/frame_00009.png", bytes(2 << 20))
    found = discover(tmp_path)
    assert reasons(found.problems) == ["refused"]
    # a header that lies about the size: the checksum and the limit on what is read both stand in the way
    data = bytearray(bomb.read_bytes())
    place = data.rindex(b"PK\x01\x02")
    data[place + 24 : place + 28] = (100).to_bytes(4, "little")
    bomb.write_bytes(data)
    store = ZipStore(bomb)
    with pytest.raises(FootageError) as caught:
        store.read(f"{HASH}/images_4/frame_00009.png")
    assert caught.value.reason in ("damaged", "refused")
    store.close()
    monkeypatch.setattr("labeling.sources.frame_stores._MAX_DIRECTORY", 100)
    assert reasons(discover(tmp_path).problems) == ["unreadable"]


def test_a_stated_licence_stands_and_an_unknown_scene_is_not_called_dl3dv(tmp_path: Path) -> None:
    as_folder(tmp_path, "my-room", files(transforms()))
    assert discover(tmp_path).footage[0].licence == "unknown"
    as_folder(tmp_path, HASH, files(transforms()))
    stated = discover(tmp_path, options=SourceOptions(licence="CC0-1.0", author="Ada")).footage
    assert {(footage.licence, footage.author) for footage in stated} == {("CC0-1.0", "Ada")}


def test_footage_in_a_bucket_is_found_and_read_as_in_a_folder(
    bucket: ObjectPath, s3_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "footage"
    as_folder(root / "batch", HASH, files(transforms()) | {"images_8/frame_00001.png": b"none", "a.mp4": b"x"})
    as_zip(root / "batch", OTHER, files(transforms()))
    index(root, (HASH, "street", "batch", "2"), (OTHER, "park", "batch", "4"))
    (root / "city").mkdir()
    encode(root / "city" / "a b#1.mp4", shot(1, 12))
    (root / "city" / "empty.mp4").touch()
    (root / "lightloom-footage.yaml").write_text('footage: [{path: "city/**", licence: CC-BY-4.0, author: Ada}]')
    as_folder(root, "lego/train", {f"r_{at}.png": data for at, data in enumerate(files(None).values())})
    frames = [{"file_path": f"./train/r_{at}", "transform_matrix": pose.tolist()} for at, pose in enumerate(poses())]
    (root / "lego" / "transforms_train.json").write_text(json.dumps({"camera_angle_x": 0.6, "frames": frames}))
    upload(root, bucket / "footage")

    here, there = discover(root), discover(bucket / "footage")
    assert there.root == str(bucket / "footage") and sorted(reasons(here.problems)) == sorted(reasons(there.problems))
    assert _footage_digest(there.footage) == _footage_digest(here.footage) and len(here.footage) == 4
    for one, other in zip(here.footage, there.footage, strict=True):
        assert other.path == str(bucket / "footage" / Path(one.path).relative_to(root).as_posix())
        assert msgspec.structs.replace(other, path=one.path) == one
        with open_footage(one) as near, open_footage(other) as far:
            assert (far.fps, far.size, far.frames, far.flags) == (near.fps, near.size, near.frames, near.flags)
            assert (far.camera is None) == (near.camera is None) == (one.kind == "video")
            for left, right in zip(near, far, strict=True):
                np.testing.assert_array_equal(left.rgb, right.rgb)
            assert far.problems == near.problems
            held = far.held
        assert isinstance(held, Scratch) and not held.path.exists()
    for name in ("city/a b#1.mp4", "lego/train"):
        (near,), (far,) = discover(root / name).footage, discover(bucket / "footage" / name).footage
        assert msgspec.structs.replace(far, path=near.path) == near

    with pytest.raises(InputError, match="no such file or folder"):
        discover(bucket / "nothing")
    gone = next(item for item in there.footage if item.kind == "video")
    (bucket / "footage" / gone.name).unlink()
    with pytest.raises(FootageError, match="is not there any more"):
        open_footage(gone)
    monkeypatch.setattr("manifests.object_path.TRIES", 0)
    with (
        FaultProxy(s3_server, lambda *_: "503") as proxy,
        connected(monkeypatch, proxy.url),
        pytest.raises(StorageError, match="503"),
    ):
        open_footage(there.footage[0])
