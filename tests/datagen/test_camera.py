"""The clip's camera matrices against what Cycles shows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from datagen.blender.render import render_scene
from datagen.insert_render import Insert, PlacedAsset, render_insert
from datagen.resolver import Resolver
from manifests.contract.camera import Camera, intrinsics_from_fov
from scenes.spec import CameraView, Dolly, Handheld, Orbit, Zoom
from tests.datagen import analytic

PLACES = ((0.0, 0.0), (0.9, 0.0), (-0.8, 0.3), (0.2, -0.9), (-0.3, 0.8))
DIAMETER = 0.3


@pytest.mark.usefixtures("cpu")
@pytest.mark.parametrize(
    ("width", "height", "fov", "azimuth", "elevation"),
    [
        (96, 64, 45.0, -60.0, 30.0),
        (64, 96, 45.0, 100.0, 60.0),
        (80, 80, 80.0, 200.0, 15.0),
        (96, 40, 65.0, 10.0, -20.0),
    ],
)
def test_projected_points_land_within_half_a_pixel(
    resolver: Resolver, tmp_path: Path, *, width: int, height: int, fov: float, azimuth: float, elevation: float
) -> None:
    distance = float(1.6 / np.tan(np.radians(fov / 2)) + 0.6)
    view = CameraView(
        target=(0.1, -0.1, 0.1),
        distance=distance,
        azimuth=azimuth,
        elevation=elevation,
        fov=fov,
        motions=(Orbit(degrees=40.0), Dolly(factor=1.1)),
    )
    objects = tuple(
        analytic.sphere(2 + i, segments=64, scale=DIAMETER, position=place) for i, place in enumerate(PLACES)
    )
    spec = analytic.scene(
        frames=2,
        ground=None,
        objects=objects,
        view=view,
        render=analytic.settings(width=width, height=height, samples=1),
    )
    clip = render_scene(spec, resolver, tmp_path).clips[0]
    assert clip.camera is not None
    points = np.array([(x, y, DIAMETER / 2) for x, y in PLACES])
    seen = 0
    for frame in range(2):
        rays = clip.camera.rays(height, width)
        rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
        pose = clip.camera.camera_to_world[frame]
        for i, centre in enumerate((points - pose[:3, 3]) @ pose[:3, :3]):
            towards = centre / np.linalg.norm(centre)
            cone = np.arcsin(DIAMETER / 2 / np.linalg.norm(centre))
            inside = np.arccos(np.clip(rays @ towards, -1, 1)) < cone
            shown = clip.arrays["instance"][frame, ..., 0] == 2 + i
            if inside.sum() < 12 or shown.sum() < 0.9 * inside.sum():
                continue  # hidden by another ball or out of the image
            seen += 1
            difference = np.argwhere(shown).mean(axis=0) - np.argwhere(inside).mean(axis=0)
            assert np.abs(difference).max() < 0.25
    assert seen >= 6


@pytest.mark.usefixtures("cpu")
def test_depth_corners_project_back_to_their_pixels(resolver: Resolver, tmp_path: Path) -> None:
    """A point lifted from pixel and depth, moved to the world, lies on the ball that Cycles rendered there."""
    clip = render_scene(analytic.scene(ground=None), resolver, tmp_path).clips[0]
    assert clip.camera is not None
    depth = clip.arrays["depth"][0, ..., 0]
    hit = np.isfinite(depth)
    local = clip.camera.rays(*clip.size)[hit] * depth[hit][:, None]
    pose = clip.camera.camera_to_world[0]
    world = local @ pose[:3, :3].T + pose[:3, 3]
    np.testing.assert_allclose(np.linalg.norm(world - [0, 0, 0.5], axis=-1), 0.5, atol=2e-3)
    pixels, planar = clip.camera.project(world)
    rows, columns = np.nonzero(hit)
    np.testing.assert_allclose(pixels[0], np.stack([columns + 0.5, rows + 0.5], axis=-1), atol=1e-3)
    np.testing.assert_allclose(planar[0], depth[hit], rtol=1e-5)


@pytest.mark.usefixtures("cpu")
def test_a_zoom_shows_every_point_at_its_pixel_in_every_frame(resolver: Resolver, tmp_path: Path) -> None:
    """Depth and pixel of a ball give its radius in each frame; a lens wrong by 1 % would give another."""
    shake = Handheld(seed=3, degrees=1.0, shift=0.02, slowest=1.0, fastest=9.0)
    view = CameraView(
        target=(0.0, 0.0, 0.5),
        distance=3.0,
        azimuth=-60.0,
        elevation=25.0,
        fov=40.0,
        motions=(Zoom(factor=1.9), Orbit(degrees=20.0), shake),
    )
    spec = analytic.scene(ground=None, view=view, frames=5, objects=(analytic.sphere(segments=384),))
    clip = render_scene(spec, resolver, tmp_path).clips[0]
    assert clip.camera is not None
    size = clip.size
    focal = clip.camera.intrinsics[:, 0, 0]
    assert np.allclose(focal[[0, 2, 4]] / focal[0], [1, np.sqrt(1.9), 1.9])
    for frame in range(5):
        inside, _, depth = analytic.sphere_hits(clip.camera, frame, size)
        shown = clip.arrays["depth"][frame, ..., 0]
        pixels = _pixel_errors(depth, shown, inside)
        assert inside.sum() > 300
        assert np.median(pixels) < 0.01
        assert np.quantile(pixels, 0.95) < 0.05
        off = Camera(clip.camera.intrinsics * [[1.01], [1.01], [1]], clip.camera.camera_to_world)
        elsewhere = analytic.sphere_hits(off, frame, size)[2]
        assert np.quantile(_pixel_errors(elsewhere, shown, inside), 0.95) > 0.05


def _pixel_errors(depth: np.ndarray, shown: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """By how many pixels the picture (H, W) would have to move for the ball's depth (H, W) to be what is shown."""
    slope = np.hypot(*np.gradient(depth))
    steep = inside & (slope > np.quantile(slope[inside], 0.25))
    return np.abs(shown - depth)[steep] / slope[steep]


@pytest.mark.usefixtures("cpu")
def test_an_asset_rendered_alone_zooms_with_its_clip(resolver: Resolver, tmp_path: Path) -> None:
    lens = np.stack([intrinsics_from_fov(fov, 40, 48) for fov in (50.0, 35.0, 25.0)])
    lens[:, 0, 2] += [0.0, 2.0, -3.0]
    pose = np.eye(4)
    pose[:3, :3] = [[1, 0, 0], [0, 0, -1], [0, 1, 0]]  # looks along +y
    pose[:3, 3] = [0.0, -3.0, 0.5]
    camera = Camera(lens, np.tile(pose, (3, 1, 1)))
    asset = Insert(analytic.sphere().mesh, analytic.GREY, {})
    placed = [PlacedAsset(asset, np.eye(4))]
    clip = render_insert(placed, camera, (40, 48), tmp_path / "asset", samples=1, device="CPU")
    assert clip.camera is not None
    assert np.array_equal(clip.camera.intrinsics, lens)
    for frame in range(3):
        inside, _, depth = analytic.sphere_hits(camera, frame, (40, 48))
        shown = clip.arrays["depth"][frame, ..., 0]
        assert np.abs(shown[inside] - depth[inside]).max() < 2e-3
        middle = np.argwhere(np.isfinite(shown)).mean(axis=0) + 0.5
        assert np.allclose(middle, lens[frame, [1, 0], [2, 2]], atol=0.25)
