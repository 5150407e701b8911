"""Depth, instance and mask where they are hardest: to the horizon, on thin bars against the sky, wires, copies."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from mathutils import Matrix

from datagen.blender import session
from datagen.blender.assembly import assemble
from datagen.blender.cycles_settings import apply_settings, set_output
from datagen.blender.light_image import light_image
from datagen.blender.mesh_objects import build_mesh
from datagen.blender.passes import enable_passes, read_frames
from datagen.blender.render import render_scene
from datagen.blender.surface_materials import BlenderMaterials, set_materials
from datagen.resolver import Resolver
from manifests.codec.codecs import decode_clip, encode_clip
from manifests.contract.camera import Camera
from scenes.meshgen.solids import box, frustum
from scenes.meshgen.surface import MeshData
from scenes.spec import CameraView, Ground
from tests.datagen import analytic

pytestmark = pytest.mark.usefixtures("cpu")
SIZE = (64, 96)
LEVEL = CameraView(target=(0.0, 0.0, 2.0), distance=4.0, azimuth=-90.0, elevation=0.0, fov=40.0)
"""At (0, -4, 2), looking along +y."""


def test_a_plane_of_two_kilometres_is_right_to_the_horizon(resolver: Resolver, tmp_path: Path) -> None:
    spec = analytic.scene(
        objects=(),
        ground=Ground(material=analytic.GREY, size=4000.0),
        view=CameraView(target=(0.0, 0.0, 2.0), distance=1.0, azimuth=-87.0, elevation=0.0, fov=25.0),
        render=analytic.settings(width=200, height=100),
    )
    clip = render_scene(spec, resolver, tmp_path).clips[0]
    assert clip.camera is not None
    pose = clip.camera.camera_to_world[0]
    rays = clip.camera.rays(100, 200) @ pose[:3, :3].T
    with np.errstate(divide="ignore"):
        expected = np.where(rays[..., 2] < 0, -pose[2, 3] / rays[..., 2], np.inf)
    beyond = np.abs((pose[:3, 3] + rays * np.where(np.isfinite(expected), expected, 0)[..., None])[..., :2]).max(-1)
    expected = np.where(beyond < 2000, expected, np.inf)
    depth, mask = clip.arrays["depth"][0, ..., 0], clip.arrays["mask"][0, ..., 0]
    finite = np.isfinite(expected)
    assert expected[finite].min() < 20 and expected[finite].max() > 1500 and 0.4 < finite.mean() < 0.55
    np.testing.assert_array_equal(np.isfinite(depth), finite)
    rows = 2.0 * clip.camera.intrinsics[1, 1]  # over depth: pixels below the horizon
    np.testing.assert_allclose(rows / depth[finite], rows / expected[finite], atol=2e-3)
    np.testing.assert_array_equal(clip.arrays["instance"][0, ..., 0], finite)
    assert (mask[finite] > 0.3).all() and (mask[:49] == 0).all() and (mask[52:] == 1).all()
    files, errors = encode_clip(clip, "compact")
    back = decode_clip(clip.key, files).arrays["depth"][0, ..., 0]
    assert np.isinf(back[~finite]).all() and 0 < errors["depth.max_relative"] <= 1.001e-3
    np.testing.assert_allclose(back[finite], depth[finite], rtol=1.001e-3)


def test_a_window_frame_against_the_sky_has_no_pixel_of_both(resolver: Resolver, tmp_path: Path) -> None:
    """Four bars, 3.2 to 1 pixels thick, and a mullion: at each pixel's centre the bar or the sky, as rays say."""
    bars = [
        ((-0.95, 0.0, 2.0), (0.1, 0.06, 1.6)),
        ((0.95, 0.0, 2.0), (0.06, 0.06, 1.6)),
        ((0.02, 0.0, 2.0), (0.03, 0.03, 1.6)),
        ((0.0, 0.0, 1.24), (1.84, 0.06, 0.08)),
        ((0.0, 0.0, 2.77), (1.84, 0.06, 0.05)),
    ]
    things = [(box(*size), Matrix.Translation(place), 2 + number) for number, (place, size) in enumerate(bars)]
    arrays, camera = rendered(things, resolver, tmp_path)
    expected, number = np.full(SIZE, np.inf), np.zeros(SIZE, int)
    origin, rays = camera.camera_to_world[0, :3, 3], camera.rays(*SIZE) @ camera.camera_to_world[0, :3, :3].T
    sure = np.ones(SIZE, bool)
    for index, (place, size) in enumerate(bars):
        near, far = slabs(origin, rays, np.array(place), np.array(size))
        shy, _ = slabs(origin, rays, np.array(place), np.array(size) + 1e-5)
        sure &= np.isfinite(near) == np.isfinite(shy)
        closer = near < expected
        expected[closer], number[closer] = near[closer], 2 + index
        assert (closer & (far > near)).sum() > 20
    depth, instance, mask = (arrays[name][0, ..., 0] for name in ("depth", "instance", "mask"))
    np.testing.assert_array_equal(instance[sure], number[sure])
    np.testing.assert_allclose(depth[sure], expected[sure], rtol=1e-4)
    assert (np.isfinite(depth) == (instance > 0)).all() and (mask[instance > 0] > 0).all()


def slabs(origin: np.ndarray, rays: np.ndarray, place: np.ndarray, size: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where rays (H, W, 3) enter and leave a box: (near, far) (H, W), infinite where they miss it."""
    with np.errstate(divide="ignore"):
        ends = [(place + sign * size / 2 - origin) / rays for sign in (-1, 1)]
    near, far = np.minimum(*ends).max(axis=-1), np.maximum(*ends).min(axis=-1)
    return np.where(near <= far, near, np.inf), np.where(near <= far, far, np.inf)


def test_a_wire_thinner_than_a_pixel_is_the_wire_or_the_sky_in_every_pixel(resolver: Resolver, tmp_path: Path) -> None:
    """Slanted wires of 0.3 to 2 pixels: each pixel's centre sees a wire, wholly, or the background, wholly."""
    pixel = 4 * 2 * np.tan(np.radians(20)) / SIZE[1]
    wires = [(x, width * pixel / 2) for x, width in ((-1.1, 0.3), (-0.4, 0.7), (0.3, 1.0), (1.0, 2.0))]
    lean = Matrix.Rotation(np.radians(7.0), 4, "Y")
    things = [
        (frustum(radius, radius, 6.0, segments=96), Matrix.Translation((x, 0.0, 2.0)) @ lean, 2 + number)
        for number, (x, radius) in enumerate(wires)
    ]
    arrays, camera = rendered(things, resolver, tmp_path, samples=16)
    depth, instance, mask = (arrays[name][0, ..., 0] for name in ("depth", "instance", "mask"))
    origin, rays = camera.camera_to_world[0, :3, 3], camera.rays(*SIZE) @ camera.camera_to_world[0, :3, :3].T
    axis = np.array([np.sin(np.radians(7.0)), 0.0, np.cos(np.radians(7.0))])
    across = np.cross(rays, axis)
    across /= np.linalg.norm(across, axis=-1, keepdims=True)
    for index, (x, radius) in enumerate(wires):
        distance = np.abs(across @ (np.array([x, 0.0, 2.0]) - origin)) / radius
        shown = instance == 2 + index
        np.testing.assert_array_equal(shown[np.abs(distance - 1) > 0.02], (distance < 1)[np.abs(distance - 1) > 0.02])
        assert shown.sum() > 10 and np.abs(depth[shown] - 4).max() < 1.5 * radius
        assert (mask[shown] > 0).all()
    assert (np.isfinite(depth) == (instance > 0)).all()
    assert ((mask == 0) <= (instance == 0)).all()
    assert (mask[(instance == 0)] < 1).all() and ((mask > 0) & (instance == 0)).sum() > 50  # beside the centre
    covered = mask.sum(axis=1)
    np.testing.assert_allclose(covered.mean(), 4.0 / np.cos(np.radians(7.0)), rtol=0.05)  # pixels of wire a row


def test_copies_that_share_a_mesh_share_an_index_by_group(resolver: Resolver, tmp_path: Path) -> None:
    shared = box(0.3, 0.3, 0.3)
    places = [(-0.9, 2.0, 7), (-0.3, 2.3, 7), (0.3, 2.0, 7), (0.9, 2.3, 9)]
    things = [(shared, Matrix.Translation((x, 0.0, z)), number) for x, z, number in places]
    arrays, camera = rendered(things, resolver, tmp_path)
    assert set(np.unique(arrays["instance"])) == {0, 7, 9}
    pixels, depth = camera.project(np.array([(x, -0.15, z) for x, z, _ in places]))
    columns, rows = pixels[0].astype(int).T
    assert arrays["instance"][0, rows, columns, 0].tolist() == [7, 7, 7, 9]
    np.testing.assert_allclose(arrays["depth"][0, rows, columns, 0], depth[0], rtol=1e-5)


def rendered(
    things: Sequence[tuple[MeshData, Matrix, int]], resolver: Resolver, folder: Path, samples: int = 4
) -> tuple[dict[str, np.ndarray], Camera]:
    """Passes of meshes under the sky, seen by `LEVEL`; equal meshes become one datablock."""
    settings = analytic.settings(width=SIZE[1], height=SIZE[0], samples=samples)
    spec = analytic.scene(objects=(), ground=None, view=LEVEL, render=settings)
    names = ("rgb", "depth", "mask", "instance")
    with session.current().scene() as scene:
        assembled = assemble(scene, spec, resolver)
        materials, blocks = BlenderMaterials(resolver, False), {}
        for mesh, pose, number in things:
            thing = build_mesh(mesh, "thing")
            thing.data = blocks.setdefault(id(mesh), thing.data)
            scene.collection.objects.link(thing)
            thing.matrix_world = pose
            set_materials([thing], analytic.GREY, materials, number)
        set_output(scene, folder, 1, 24.0)
        assembled.world.show(light_image(spec.lights[0], 16, resolver).image, np.eye(3)[None])
        apply_settings(scene, settings, 1)
        enable_passes(scene.view_layers[0], names)
        session.current().render(scene, "things", animation=True)
    arrays, _ = read_frames(folder, names, SIZE, assembled.camera.camera_to_world[:, :3, :3], "things")
    return arrays, assembled.camera
