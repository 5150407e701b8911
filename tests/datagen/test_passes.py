"""G-buffers against analytic scenes rendered by Cycles."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from datagen.blender.render import render_scene
from datagen.resolver import Resolver
from manifests.contract.attributes import ATTRIBUTES
from manifests.contract.clip import Clip
from scenes.builtin_materials import sample_procedural
from scenes.spec import CameraView, Ground, Orbit, SceneLight
from tests.datagen import analytic

pytestmark = pytest.mark.usefixtures("cpu")
MOVING = CameraView(
    target=(0.1, 0.0, 0.4), distance=2.5, azimuth=-70.0, elevation=30.0, fov=45.0, motions=(Orbit(degrees=50.0),)
)


def render(resolver: Resolver, folder: Path, **changes: object) -> Clip:
    return render_scene(analytic.scene(**changes), resolver, folder).clips[0]


def plane_depth(clip: Clip, frame: int, pixels: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """(planar depth, world x and y) where rays through the pixels (default: the centres) meet z = 0."""
    assert clip.camera is not None
    pose = clip.camera.camera_to_world[frame]
    rays = (clip.camera.rays(*clip.size) if pixels is None else pixels) @ pose[:3, :3].T
    depth = -pose[2, 3] / rays[..., 2]
    return depth, (pose[:3, 3] + depth[..., None] * rays)[..., :2]


def test_sphere_normals_and_depth(resolver: Resolver, tmp_path: Path) -> None:
    sharp = analytic.settings(
        width=96, height=96, samples=64
    )  # a normal is the mean over the pixel, so it takes samples to be exact
    clip = render(resolver, tmp_path, ground=None, frames=2, view=MOVING, render=sharp)
    assert clip.camera is not None
    for frame in range(2):
        inside, normals, depth = analytic.sphere_hits(clip.camera, frame, clip.size)
        assert inside.sum() > 200
        expected = normals @ clip.camera.camera_to_world[frame, :3, :3]
        assert analytic.angles(clip.arrays["normal"][frame], expected)[inside].max() < 0.5
        np.testing.assert_allclose(clip.arrays["depth"][frame, ..., 0][inside], depth[inside], rtol=1e-3)


def test_plane_normals_and_depth_with_a_moving_camera(resolver: Resolver, tmp_path: Path) -> None:
    clip = render(resolver, tmp_path, objects=(), frames=3, view=MOVING)
    assert clip.camera is not None
    for frame in range(3):
        depth, place = plane_depth(clip, frame)
        inside = (depth > 0) & (np.abs(place).max(axis=-1) < 15)
        assert inside.sum() > 1000
        up = clip.camera.camera_to_world[frame, :3, :3].T @ np.array([0.0, 0.0, 1.0])
        assert analytic.angles(clip.arrays["normal"][frame], up)[inside].max() < 0.1
        np.testing.assert_allclose(clip.arrays["depth"][frame, ..., 0][inside], depth[inside], rtol=1e-3)


def test_background_has_the_values_of_the_table(resolver: Resolver, tmp_path: Path) -> None:
    clip = render(resolver, tmp_path, ground=None)
    empty = clip.arrays["mask"][0, ..., 0] == 0
    assert 500 < empty.sum() < empty.size
    for name, array in clip.arrays.items():
        if name != "rgb":
            assert (array[0][empty] == ATTRIBUTES[name].background_array()).all(), name
    np.testing.assert_allclose(clip.arrays["rgb"][0][empty], 1.0, atol=1e-3)


def test_mask_is_the_covered_share_and_edges_hold_the_surface_value(resolver: Resolver, tmp_path: Path) -> None:
    view = CameraView(target=(0.0, 0.0, 0.0), distance=3.0, azimuth=20.0, elevation=60.0, fov=60.0)
    clip = render(
        resolver,
        tmp_path,
        objects=(),
        ground=Ground(material=analytic.GREY, size=1.5),
        view=view,
        render=analytic.settings(samples=128),
    )
    assert clip.camera is not None
    height, width = clip.size
    rays = clip.camera.rays(height * 8, width * 8) * [1 / 8, 1 / 8, 1]
    rays[..., :2] = 0  # replaced below by the exact sub-pixel grid
    step = (np.arange(width * 8) + 0.5) / 8
    x = (step - clip.camera.intrinsics[0, 2]) / clip.camera.intrinsics[0, 0]
    rays[..., 0], rays[..., 1] = x[None, :], -x[:, None]
    depth, place = plane_depth(clip, 0, rays)
    covered = ((depth > 0) & (np.abs(place).max(axis=-1) < 0.75)).reshape(height, 8, width, 8).mean(axis=(1, 3))
    mask = clip.arrays["mask"][0, ..., 0]
    assert abs(mask.sum() - covered.sum()) / covered.sum() < 0.005
    assert np.abs(mask - covered).max() < 0.2  # the pixel filter is a little wider than the pixel
    edge = (mask > 0.02) & (mask < 0.98)
    assert edge.sum() > 40
    np.testing.assert_allclose(
        clip.arrays["basecolor"][0][edge], np.tile((0.25, 0.5, 0.75), (edge.sum(), 1)), atol=2e-4
    )
    np.testing.assert_allclose(clip.arrays["roughness"][0, ..., 0][edge], 0.6, atol=2e-4)
    np.testing.assert_allclose(np.linalg.norm(clip.arrays["normal"][0], axis=-1), 1.0, atol=1e-5)


def test_instances_are_ground_one_and_objects_by_number(resolver: Resolver, tmp_path: Path) -> None:
    objects = (analytic.sphere(2, scale=0.5), analytic.sphere(700, scale=0.5, position=(0.8, 0.0)))
    clip = render(resolver, tmp_path, objects=objects, ground=Ground(material=analytic.GREY, size=2.5))
    assert set(np.unique(clip.arrays["instance"])) == {0, 1, 2, 700}
    assert clip.camera is not None
    pixels, _ = clip.camera.project(np.array([[0.0, 0.0, 0.25], [0.8, 0.0, 0.25], [0.4, 0.9, 0.0]]))
    columns, rows = pixels[0].astype(int).T
    assert clip.arrays["instance"][0, rows, columns, 0].tolist() == [2, 700, 1]


def test_geometric_normal_ignores_smoothing_and_bump(resolver: Resolver, tmp_path: Path) -> None:
    bumpy = sample_procedural("tiles", np.random.default_rng(5), "bumpy")
    clip = render(
        resolver,
        tmp_path,
        objects=(analytic.sphere(segments=12),),
        ground=Ground(material=bumpy),
        render=analytic.settings(geometric_normal=True),
    )
    assert clip.camera is not None
    shading, true = clip.arrays["normal"][0], clip.arrays["geometric_normal"][0]
    ground = clip.arrays["instance"][0, ..., 0] == 1
    interior = ground & (clip.arrays["mask"][0, ..., 0] == 1)
    up = clip.camera.camera_to_world[0, :3, :3].T @ np.array([0.0, 0.0, 1.0])
    assert np.median(analytic.angles(true, up)[interior]) < 0.1
    assert analytic.angles(shading, up)[interior].max() > 5
    inside, normals, _ = analytic.sphere_hits(clip.camera, 0, clip.size)
    expected = normals @ clip.camera.camera_to_world[0, :3, :3]
    assert analytic.angles(shading, expected)[inside].mean() < 3
    assert analytic.angles(true, expected)[inside].mean() > 5


def test_geometric_normal_is_absent_unless_asked_for(resolver: Resolver, tmp_path: Path) -> None:
    assert "geometric_normal" not in render(resolver, tmp_path).arrays


def test_two_renders_are_identical(resolver: Resolver, tmp_path: Path) -> None:
    lights = (SceneLight(map=analytic.environment_file("lobes.exr")),)
    settings = analytic.settings(denoiser="balanced", adaptive_threshold=0.05, samples=16)
    first, second = (
        render(resolver, tmp_path, frames=2, view=MOVING, lights=lights, render=settings) for _ in range(2)
    )
    for name, array in first.arrays.items():
        np.testing.assert_array_equal(array, second.arrays[name], err_msg=name)
