"""Cameras solved from textured worlds of planes that warps draw, whose true cameras are known."""

from __future__ import annotations

import functools
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from editing.film import VideoWriter, open_film
from labeling.cameras.camera_files import film_digest, kept_cameras, read_cameras, solve_film, write_cameras
from labeling.cameras.camera_solving import CameraSolution, camera_errors, camera_in_world, solve_camera
from labeling.cameras.clip_depth import clip_depth, scaled_depth
from labeling.sources.footage import video_footage
from manifests.contract.camera import Camera, intrinsics_from_fov
from manifests.errors import InputError

SIZE = (192, 256)
FOV = 50.0
FRAMES = 12
OPENCV = np.diag([1.0, -1.0, -1.0])


def texture(seed: int, side: int = 1400) -> np.ndarray:
    rng = np.random.default_rng(seed)
    coarse, fine = (cv2.resize(rng.random((side // n, side // n, 3)), (side, side)) for n in (28, 7))
    return ((0.5 * coarse + 0.5 * fine) * 255).astype(np.uint8)


def picture(
    rotation: np.ndarray, place: np.ndarray, focal: float, planes: list[tuple[float, np.ndarray]]
) -> np.ndarray:
    """Planes z = depth, far ones first, seen by a camera (world to camera, x right, y down); one unit is 150 texels."""
    lens = np.array([[focal, 0, SIZE[1] / 2 - 0.5], [0, focal, SIZE[0] / 2 - 0.5], [0, 0, 1]])
    image = np.zeros((*SIZE, 3), np.uint8)
    for depth, texels in planes:
        plane = np.array([[1 / 150, 0, -700 / 150], [0, 1 / 150, -700 / 150], [0, 0, depth]])  # texel to world
        plane -= np.outer(place, [0, 0, 1])
        warp = lens @ rotation @ plane
        seen = cv2.warpPerspective(texels, warp, SIZE[::-1], flags=cv2.INTER_AREA)
        there = cv2.warpPerspective(texels.any(axis=-1).astype(np.uint8) * 255, warp, SIZE[::-1])
        image[there > 200] = seen[there > 200]
    return image


def film(turns: np.ndarray, places: np.ndarray, focal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Frames (T, H, W, 3) and camera_to_world rotations (T, 3, 3); the near plane covers the middle."""
    near = texture(2)
    near[:, :560] = near[:, 900:] = 0
    planes = [(6.0, texture(1)), (3.0, near)]
    rotations = Rotation.from_euler("yxz", turns, degrees=True).as_matrix()
    frames = [picture(*view, planes) for view in zip(rotations, places, focal, strict=True)]
    return np.stack(frames), rotations.transpose(0, 2, 1) @ OPENCV


def focal_length() -> float:
    return float(intrinsics_from_fov(FOV, *SIZE)[0, 0])


def errors(found: CameraSolution, turns: np.ndarray, places: np.ndarray) -> tuple[float, float]:
    assert found.camera is not None
    poses = found.camera.camera_to_world
    angle, away = camera_errors(turns, places, poses[:, :3, :3], poses[:, :3, 3])
    return float(angle.max()), float(away.max())


def panning(zoom: float = 1.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    along = np.linspace(0, 1, FRAMES)
    turns = np.stack([9 * along, 3 * np.sin(3 * along), 2 * along], axis=-1)
    return (*film(turns, np.zeros((FRAMES, 3)), focal_length() * zoom**along), focal_length() * zoom**along)


@functools.cache
def moving() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    along = np.linspace(0, 1, FRAMES)
    turns = np.stack([-5 * along, 2 * along, along], axis=-1)
    places = np.stack([0.9 * along, 0.2 * np.sin(4 * along), 0.5 * along], axis=-1)
    return (*film(turns, places, np.full(FRAMES, focal_length())), places)


@functools.cache
def moving_solved() -> CameraSolution:
    return solve_camera(moving()[0], SIZE, 45.0)


def test_a_still_camera_is_still_whatever_moves_before_it() -> None:
    frames = np.repeat(film(np.zeros((1, 3)), np.zeros((1, 3)), np.array([focal_length()]))[0], FRAMES, axis=0)
    for number, frame in enumerate(frames):
        frame[60:120, 20 + 6 * number : 80 + 6 * number] = texture(5)[:60, :60]
    found = solve_camera(frames, SIZE, FOV)
    assert found.kind == "still"
    assert found.lens == "assumed"
    assert np.ptp(found.camera.camera_to_world, axis=0).max() == 0
    assert found.camera.intrinsics == pytest.approx(intrinsics_from_fov(FOV, *SIZE))


def test_a_turning_camera_gives_its_turns_and_its_lens() -> None:
    frames, turns, focal = panning()
    found = solve_camera(frames, SIZE, 30.0)
    assert (found.kind, found.lens) == ("turning", "solved")
    assert errors(found, turns, np.zeros((FRAMES, 3)))[0] < 0.15
    assert found.camera.intrinsics[0, 0] == pytest.approx(focal[0], rel=0.02)
    assert found.error < 0.3
    assert found.share > 0.9


def test_a_zoom_is_found_beside_the_turn() -> None:
    frames, turns, focal = panning(zoom=1.3)
    found = solve_camera(frames, SIZE, 30.0)
    assert found.kind == "turning"
    assert errors(found, turns, np.zeros((FRAMES, 3)))[0] < 0.2
    assert found.camera.intrinsics[:, 0, 0] == pytest.approx(focal, rel=0.03)


def test_a_moving_camera_gives_its_path_and_the_same_one_each_time() -> None:
    frames, turns, places = moving()
    found = moving_solved()
    assert found.kind == "moving"
    angle, away = errors(found, turns, places)
    assert angle < 0.3
    assert away < 0.02
    again = solve_camera(frames, SIZE, 45.0)
    assert np.array_equal(found.camera.camera_to_world, again.camera.camera_to_world)


def test_a_small_orbit_before_a_wall_is_not_taken_for_the_turn_of_a_short_lens() -> None:
    rotations = Rotation.from_euler("y", np.linspace(0, 3, FRAMES)[:, None], degrees=True).as_matrix()
    places = np.array([0, 0, 6.0]) - rotations.transpose(0, 2, 1) @ np.array([0, 0, 6.0])
    wall = [(6.0, texture(1))]
    frames = [picture(turn, place, focal_length(), wall) for turn, place in zip(rotations, places, strict=True)]
    found = solve_camera(frames, SIZE, 45.0)
    assert found.kind == "moving"
    assert errors(found, rotations.transpose(0, 2, 1) @ OPENCV, places)[0] < 0.5


def test_a_wall_that_fills_the_picture_and_passes_by_is_not_taken_for_a_turn() -> None:
    along = np.linspace(0, 1, FRAMES)
    wall = [(6.0, texture(1))]
    frames = np.stack([picture(np.eye(3), np.array([0.6 * at, 0, 0]), focal_length(), wall) for at in along])
    found = solve_camera(frames, SIZE, FOV)
    assert (found.kind, found.camera) == ("unsolved", None)
    assert "a flat surface passes by" in found.reason


def test_a_walk_toward_a_wall_is_no_zoom_even_where_its_places_cannot_be_believed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    near = texture(2)
    near[:, :600] = near[:, 740:] = 0
    planes, focal = [(6.0, texture(1)), (3.5, near)], focal_length()
    frames = np.stack(
        [picture(np.eye(3), np.array([0.0, 0.0, step]), focal, planes) for step in np.linspace(0, 0.8, FRAMES)]
    )
    assert solve_camera(frames, SIZE, FOV).kind == "moving"
    monkeypatch.setattr("labeling.cameras.camera_solving._difference", lambda *_: (3.3, "rotation by 1"))
    found = solve_camera(frames, SIZE, FOV)
    assert (found.kind, found.camera) == ("unsolved", None)
    assert found.reason.endswith("more than turning does, but half of the corners say otherwise: rotation by 1")
    monkeypatch.setattr("labeling.cameras.camera_solving._difference", lambda *_: (1.3, "rotation by 0.4"))
    rough = solve_camera(frames, SIZE, FOV)
    assert rough.kind == "moving"
    assert rough.reason == "half of the corners say otherwise: rotation by 0.4"
    assert (rough.sure().kind, rough.sure().camera) == ("unsolved", None)


def test_a_zoom_by_one_percent_is_found_where_it_explains_the_picture() -> None:
    focal = focal_length() * 1.012 ** np.linspace(0, 1, FRAMES)
    found = solve_camera(film(np.zeros((FRAMES, 3)), np.zeros((FRAMES, 3)), focal)[0], SIZE, FOV)
    assert found.kind == "turning"
    lens = found.camera.frame_intrinsics[:, 0, 0]
    assert lens[-1] / lens[0] == pytest.approx(1.012, abs=0.002)


def test_a_long_lens_that_is_named_may_turn() -> None:
    turns = np.zeros((FRAMES, 3))
    turns[:, 0] = np.linspace(0, 2, FRAMES)
    rotations = Rotation.from_euler("yxz", turns, degrees=True).as_matrix()
    frames = np.stack([picture(one, np.zeros(3), 4 * SIZE[1], [(6.0, texture(1))]) for one in rotations])
    found = solve_camera(frames, SIZE, 14.0)
    assert found.kind == "turning"
    assert errors(found, rotations.transpose(0, 2, 1) @ OPENCV, np.zeros((FRAMES, 3)))[0] < 0.2


def test_corners_of_a_moving_camera_lie_on_the_planes() -> None:
    found = moving_solved()
    depth = found.camera.project(found.points)[1][0]
    near = depth < (depth.min() + depth.max()) / 2
    assert min(near.sum(), (~near).sum()) > 10
    assert np.median(depth[~near]) / np.median(depth[near]) == pytest.approx(2, rel=0.05)
    assert solve_camera(panning()[0], SIZE, 30.0).points.shape == (0, 3)


def passed_by() -> tuple[Camera, np.ndarray, np.ndarray]:
    """A camera (10 frames of 60x80) that walks past the plane slant . x = -6; its depth (T, H, W), corners (150, 3)."""
    height, width, frames = 60, 80, 10
    poses = np.tile(np.eye(4), (frames, 1, 1))
    poses[:, 0, 3], poses[:, 2, 3] = np.linspace(0, 1, frames), -np.linspace(0, 0.5, frames)
    camera = Camera(intrinsics_from_fov(60.0, height, width), poses)
    rays = camera.rays(height, width)
    slant = np.array([0.3, 0.0, 1.0])
    depth = -(6.0 + poses[:, :3, 3] @ slant)[:, None, None] / (rays @ slant)
    chosen = np.random.default_rng(0).choice(height * width, 150, replace=False)
    return camera, depth, (rays * depth[0][..., None]).reshape(-1, 3)[chosen]


def test_a_networks_depth_is_brought_to_the_scale_of_the_camera_in_every_frame() -> None:
    camera, true, points = passed_by()
    points[:30] *= np.random.default_rng(0).uniform(0.3, 3.0, (30, 1))  # corners that are somewhere else
    wave = 1 + 0.05 * np.sin(np.linspace(0, 6, true.shape[2]))
    said = (true * wave - 2.0 - 0.1 * np.sin(np.arange(len(true)) / 3)[:, None, None]) / 9.0
    made = clip_depth(said, camera, points)
    assert made is not None
    depth, error = made
    off = np.abs(depth / true - 1)
    assert off.mean() < 0.02
    assert np.percentile(off, 95) < 0.06
    assert error.shape == (len(true),)
    assert error.max() < 0.1
    assert clip_depth(said, camera, points[:5]) is None
    assert clip_depth(-said, camera, points) is None


def test_what_a_mirror_shows_is_not_where_its_surface_is() -> None:
    """Of 150 corners 65 are reflections, which lie behind the surface: the mean of all is not what most agree on."""
    camera, true, points = passed_by()
    points[:65] *= 1.3
    made = clip_depth((true - 2.0) / 9.0, camera, points)
    assert made is not None
    assert np.median(np.abs(made[0] / true - 1)) < 0.02


def test_where_corners_contradict_the_network_its_distances_are_scaled() -> None:
    camera, true, points = passed_by()
    points[:30] *= 1.8
    made = scaled_depth(true / 3, camera, points)
    assert made is not None
    depth, error = made
    np.testing.assert_allclose(depth, true, rtol=0.03)
    assert error.max() < 0.03
    assert scaled_depth(-true, camera, points) is None


def test_what_no_camera_explains_is_not_solved() -> None:
    rng = np.random.default_rng(3)
    tiles = texture(4, 700)
    frames = np.zeros((FRAMES, *SIZE, 3), np.uint8)
    for x in range(0, SIZE[1], 32):
        for y in range(0, SIZE[0], 32):
            step, start = rng.uniform(-3, 3, 2), rng.uniform(60, 500, 2)
            for number in range(FRAMES):
                frames[number, y : y + 32, x : x + 32] = cv2.getRectSubPix(tiles, (32, 32), start + number * step)
    found = solve_camera(frames, SIZE, FOV)
    assert (found.kind, found.camera) == ("unsolved", None)
    assert found.reason


def test_a_blank_film_is_not_solved() -> None:
    found = solve_camera(np.full((FRAMES, *SIZE, 3), 128, np.uint8), SIZE, FOV)
    assert (found.kind, found.camera) == ("unsolved", None)


def test_up_is_where_upright_edges_meet() -> None:
    posts = texture(6)
    for side in range(0, 1400, 90):
        posts[:, side : side + 14] = 250
    pitch = 12.0
    turns = np.stack([np.linspace(0, 8, FRAMES), np.full(FRAMES, pitch), np.zeros(FRAMES)], axis=-1)
    rotations = Rotation.from_euler("yxz", turns, degrees=True).as_matrix()
    frames = [picture(rotation, np.zeros(3), focal_length(), [(5.0, posts)]) for rotation in rotations]
    found = solve_camera(frames, SIZE, FOV)
    assert (found.kind, found.up) == ("turning", "seen")
    up = found.camera.camera_to_world[0, 2, :3] @ OPENCV  # the world's z in OpenCV's frame of the first camera
    assert np.degrees(np.arccos(np.clip(up @ rotations[0] @ [0, -1, 0], -1, 1))) < 1.5


def write(path: Path, frames: np.ndarray) -> Path:
    with VideoWriter(path, SIZE, 12.0, crf=8) as video:
        for frame in frames:
            video.write(frame)
    return path


def test_shots_are_solved_one_by_one_kept_and_used_again(tmp_path: Path) -> None:
    frames, turns, _ = panning()
    still = np.repeat(texture(9)[None, : SIZE[0], : SIZE[1]], 6, axis=0)
    path = write(tmp_path / "film.mp4", np.concatenate([frames, still]))
    out = tmp_path / "out" / "relit.mp4"
    with open_film(path) as opened:
        opened.find_camera("solve", FOV, out)
        kinds = [line.split(": ")[1].split(",")[0] for line in opened.camera_said]
        assert kinds == ["turning", "still"]
        poses = opened.camera.camera_to_world
        assert -poses[0, :3, 2] @ [1, 0, 0] > 0.99  # a film looks at the light's middle
        assert camera_errors(turns, np.zeros((FRAMES, 3)), poses[:FRAMES, :3, :3], poses[:FRAMES, :3, 3])[0].max() < 0.2
        assert opened.intrinsics((96, 128)).shape == (FRAMES + 6, 3, 3)
    kept = out.parent / "film.camera.json"
    cameras = kept_cameras(kept, film_digest(video_footage(path.resolve(), path.name), FOV))
    assert cameras is not None
    marked = msgspec.structs.replace(
        cameras, shots=[msgspec.structs.replace(shot, error=7.0) for shot in cameras.shots]
    )
    write_cameras(kept, marked)
    with open_film(path) as opened:
        opened.find_camera("solve", FOV, out)
        assert "off by 7.00 pixels" in opened.camera_said[0]
        opened.find_camera("solve", FOV + 1, out)  # another option: solved anew
        assert "off by 7.00 pixels" not in opened.camera_said[0]
        poses = opened.camera.camera_to_world
    with open_film(path) as opened:
        opened.find_camera(str(kept), FOV, out)
        assert np.allclose(opened.camera.camera_to_world[0], poses[0])


def test_a_film_without_a_camera_stays_level(tmp_path: Path) -> None:
    path = write(tmp_path / "blank.mp4", np.full((4, *SIZE, 3), 90, np.uint8))
    with open_film(path) as opened:
        assert opened.camera is None
        opened.find_camera("assume", FOV, tmp_path / "out.mp4")
        assert opened.camera is None
        opened.find_camera("solve", FOV, tmp_path / "out.mp4")
        assert "not solved" in opened.camera_said[0]
        assert np.ptp(opened.camera.camera_to_world, axis=0).max() == 0
        assert opened.camera.intrinsics == pytest.approx(intrinsics_from_fov(FOV, *SIZE))


def level_path() -> Camera:
    rotations = Rotation.from_euler("yx", np.linspace([0, 0], [20, 0], 5), degrees=True).as_matrix()
    poses = camera_in_world(rotations, -np.einsum("tij,tj->ti", rotations, np.arange(15.0).reshape(5, 3) * [1, 0, 1]))
    return Camera(intrinsics_from_fov(FOV, *SIZE), poses)


def test_transforms_are_cameras_too(tmp_path: Path) -> None:
    known = level_path()
    focal = float(known.intrinsics[0, 0])
    document = {"fl_x": focal, "fl_y": focal, "cx": 128, "cy": 96, "w": 256, "h": 192, "frames": []}
    for number, pose in enumerate(known.camera_to_world):
        document["frames"].append(
            {"file_path": f"images/frame_{number + 1:05d}.png", "transform_matrix": pose.tolist()}
        )
    path = tmp_path / "transforms.json"
    path.write_bytes(msgspec.json.encode(document))
    found = read_cameras(path, 5, SIZE).shots[0].camera()
    assert found.camera_to_world == pytest.approx(known.camera_to_world)
    assert found.intrinsics[3] == pytest.approx(known.intrinsics)
    with pytest.raises(InputError):
        read_cameras(path, 6, SIZE)


@pytest.mark.parametrize("text", [True, False])
def test_a_colmap_folder_is_cameras_too(tmp_path: Path, text: bool) -> None:
    pycolmap = pytest.importorskip("pycolmap")
    known = level_path()
    model = pycolmap.Reconstruction()
    lens = pycolmap.Camera(model="PINHOLE", width=512, height=384, params=[400, 410, 256, 192], camera_id=1)
    model.add_camera_with_trivial_rig(lens)
    for number, pose in enumerate(known.camera_to_world):
        turn = OPENCV @ pose[:3, :3].T
        image = pycolmap.Image(name=f"{number}.png", camera_id=1, image_id=number + 1)
        model.add_image_with_trivial_frame(
            image, pycolmap.Rigid3d(np.concatenate([turn, -turn @ pose[:3, 3:]], axis=1))
        )
    (model.write_text if text else model.write_binary)(tmp_path)
    found = read_cameras(tmp_path, 5, SIZE).shots[0].camera()
    assert found.camera_to_world == pytest.approx(known.camera_to_world, abs=1e-9)
    assert found.intrinsics[0, [0, 1], [0, 1]] == pytest.approx([200, 205])


@pytest.mark.parametrize("data", [b"", b"{", b'{"size": [192, 256], "shots": []}', b'{"shots": 3}', b"[]"])
def test_what_is_no_camera_is_refused_in_one_line(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "camera.json"
    path.write_bytes(data)
    with pytest.raises(InputError):
        read_cameras(path, 5, SIZE)
    with pytest.raises(InputError):
        read_cameras(tmp_path / "nothing", 5, SIZE)


def test_ragged_matrices_are_refused(tmp_path: Path) -> None:
    """Fuzzing found them: rows of several lengths are no array."""
    made = solve_film(np.repeat(texture(9)[None, : SIZE[0], : SIZE[1]], 4, axis=0), SIZE, FOV)
    document = msgspec.json.decode(msgspec.json.encode(made))
    document["shots"][0] |= {
        "kind": "moving",
        "camera_to_world": [[[1.0], [1.0, 2.0]]] * 4,
        "intrinsics": [[[1.0]]] * 4,
    }
    (tmp_path / "a.json").write_bytes(msgspec.json.encode(document))
    with pytest.raises(InputError, match="lack poses"):
        read_cameras(tmp_path / "a.json", 4, SIZE)


def test_cameras_of_another_film_are_refused(tmp_path: Path) -> None:
    made = solve_film(np.repeat(texture(9)[None, : SIZE[0], : SIZE[1]], 4, axis=0), SIZE, FOV)
    write_cameras(tmp_path / "a.json", made)
    assert read_cameras(tmp_path / "a.json", 4, SIZE) == made
    for frames, size in ((5, SIZE), (4, (100, 100))):
        with pytest.raises(InputError, match="another film"):
            read_cameras(tmp_path / "a.json", frames, size)
