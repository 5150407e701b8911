"""Open land as Cycles renders it: water normals and depth against their formula, instanced copies against spheres."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import msgspec
import numpy as np
import pytest
from msgspec import UNSET

from datagen.blender.render import render_scene
from datagen.resolver import Resolver
from manifests.contract.clip import Clip
from scenes.providers.builtin import builtin_catalogue
from scenes.recipes import Recipe, load_recipe
from scenes.sampling import sample_scene
from scenes.settings.height_field import land
from scenes.settings.scattering import scatter
from scenes.settings.terrain_meshes import wave_height
from scenes.spec import Builtin, CameraView, Procedural, Setting, SettingPiece, Value
from tests.datagen import analytic

pytestmark = pytest.mark.usefixtures("cpu")
LAKE: dict[str, Value] = {"kind": "lake", "seed": 3}
COLOUR = (0.03, 0.05, 0.06)


def water(resolver: Resolver, folder: Path, height: float) -> tuple[Clip, np.ndarray]:
    """A clip of the water under `height` of waves, without ripples, and where its pixels' centres meet it (H, W, 3)."""
    params: dict[str, Value] = {"colour": COLOUR, "roughness": 0.1, "depth": 0.0, "offset": (0.0, 0.0, 0.0)}
    piece = SettingPiece(
        name="water",
        instance=2,
        mesh=Builtin(uid="water", generator="water_surface", params=LAKE | {"height": height, "length": 5.0}),
        material=Procedural(uid="water", family="water", size=1.0, params=params),
    )
    level = land("lake", 3).water_level
    clip = render_scene(
        analytic.scene(
            ground=None,
            objects=(),
            setting=Setting(kind="terrain", pieces=(piece,)),
            view=CameraView(target=(0.0, 0.0, level), distance=6.0, azimuth=20.0, elevation=40.0, fov=40.0),
            render=analytic.settings(width=96, height=96, samples=8),
        ),
        resolver,
        folder,
    ).clips[0]
    assert clip.camera is not None
    pose = clip.camera.camera_to_world[0]
    rays = clip.camera.rays(*clip.size) @ pose[:3, :3].T
    depth = np.zeros(clip.size)
    for _ in range(60):  # fixed point: rays are far steeper than waves
        hit = pose[:3, 3] + depth[..., None] * rays
        surface = level + wave_height(hit[..., :2], 3, height, 5.0)
        depth = (surface - pose[2, 3]) / rays[..., 2]
    return clip, pose[:3, 3] + depth[..., None] * rays


@pytest.mark.parametrize("height", [0.0, 0.25])
def test_water_normals_and_depth_are_those_of_its_waves(height: float, resolver: Resolver, tmp_path: Path) -> None:
    clip, hits = water(resolver, tmp_path, height)
    assert clip.camera is not None
    step = 1e-4
    slopes = [
        (wave_height(hits[..., :2] + o, 3, height, 5.0) - wave_height(hits[..., :2] - o, 3, height, 5.0)) / (2 * step)
        for o in step * np.eye(2)
    ]
    normals = np.stack([-slopes[0], -slopes[1], np.ones(clip.size)], axis=-1)
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    errors = analytic.angles(clip.arrays["normal"][0], normals @ clip.camera.camera_to_world[0, :3, :3])
    tilts = np.degrees(np.arccos(normals[..., 2]))
    assert tilts.max() == pytest.approx(0, abs=1e-6) if height == 0 else tilts.max() > 8
    assert errors.max() < (0.1 if height == 0 else 1.0)
    forward = -clip.camera.camera_to_world[0, :3, 2]
    depth = (hits - clip.camera.camera_to_world[0, :3, 3]) @ forward
    np.testing.assert_allclose(clip.arrays["depth"][0, ..., 0], depth, rtol=2e-3)


def test_water_is_a_dielectric_of_exact_colour_and_roughness(resolver: Resolver, tmp_path: Path) -> None:
    clip, _ = water(resolver, tmp_path, 0.0)
    np.testing.assert_allclose(clip.arrays["basecolor"][0], np.broadcast_to(COLOUR, (*clip.size, 3)), atol=1e-3)
    np.testing.assert_allclose(clip.arrays["roughness"][0], 0.1, atol=1e-3)
    assert not clip.arrays["metallic"].any()
    rays = clip.camera.rays(*clip.size) @ clip.camera.camera_to_world[0, :3, :3].T if clip.camera else np.zeros(3)
    cosine = np.abs(rays[..., 2] / np.linalg.norm(rays, axis=-1))
    transmitted = np.sqrt(1 - (1 - cosine**2) / 1.333**2)
    flat = ((cosine - 1.333 * transmitted) / (cosine + 1.333 * transmitted)) ** 2
    steep = ((transmitted - 1.333 * cosine) / (transmitted + 1.333 * cosine)) ** 2
    mirrored = np.mean((flat + steep) / 2)  # of white light from everywhere; COLOUR gives back some of the rest
    expected = mirrored + np.array(COLOUR) * (1 - mirrored)
    np.testing.assert_allclose(clip.arrays["rgb"][0].mean(axis=(0, 1)), expected, atol=0.01)


def test_instanced_copies_have_their_group_s_instance_mask_and_depth(resolver: Resolver, tmp_path: Path) -> None:
    groups = {5: 21, 9: 22}
    ball = {"x": 1.0, "y": 1.0, "z": 1.0, "segments": 96}
    spread: dict[str, Value] = {"kind": "hills", "seed": 4, "count": 60, "reach": (0.5, 9.0), "size": (0.8, 1.6)}
    spread |= {"spacing": 1.2, "cover": -1.0, "tip": 0.4}
    pieces = tuple(
        SettingPiece(
            name=f"group{instance}",
            instance=instance,
            mesh=Builtin(uid="ball", generator="ellipsoid", params=ball),
            material=analytic.GREY,
            copies=Builtin(uid="spread", generator="scatter", params=spread | {"salt": salt}),
        )
        for instance, salt in groups.items()
    )
    spec = analytic.scene(
        ground=None,
        objects=(),
        setting=Setting(kind="terrain", pieces=pieces),
        view=CameraView(target=(0.0, 0.0, 0.5), distance=14.0, azimuth=70.0, elevation=35.0, fov=45.0),
        render=analytic.settings(width=96, height=96, samples=16),
    )
    clip = render_scene(spec, resolver, tmp_path).clips[0]
    assert clip.camera is not None
    pose = clip.camera.camera_to_world[0]
    rays = clip.camera.rays(*clip.size) @ pose[:3, :3].T
    nearest, owner = np.full(clip.size, np.inf), np.zeros(clip.size, int)
    margin = np.full(clip.size, np.inf)  # how near a pixel's ray passes by any outline
    for instance, salt in groups.items():
        for matrix in scatter(**spread | {"salt": salt}):  # type: ignore[arg-type]
            centre, radius = (matrix @ [0.0, 0.0, 0.5, 1.0])[:3], np.linalg.norm(matrix[:3, 0]) / 2
            offset = pose[:3, 3] - centre
            a, b, c = (rays**2).sum(-1), rays @ offset, offset @ offset - radius**2
            inside = b**2 - a * c
            passing = np.sqrt(np.maximum(offset @ offset - b**2 / a, 0))
            margin = np.minimum(margin, np.abs(passing - radius))
            depth = np.where(inside > 0, (-b - np.sqrt(np.maximum(inside, 0))) / a, np.inf)
            owner = np.where(depth < nearest, instance, owner)
            nearest = np.minimum(nearest, depth)
    clean = margin > 0.25  # two pixels
    assert clean.sum() > 1500
    assert {int(n) for n in np.unique(owner[clean])} == {0, 5, 9}
    np.testing.assert_array_equal(clip.arrays["instance"][0, ..., 0][clean], owner[clean])
    np.testing.assert_array_equal(clip.arrays["mask"][0, ..., 0][clean], (owner > 0)[clean])
    hit = clean & (owner > 0)
    np.testing.assert_allclose(clip.arrays["depth"][0, ..., 0][hit], nearest[hit], rtol=3e-3)
    assert np.isinf(clip.arrays["depth"][0, ..., 0][clean & (owner == 0)]).all()


@cache
def recipe() -> Recipe:
    """Small still pictures of open land."""
    world = load_recipe("train-world")
    assert world.settings is not UNSET
    render = msgspec.structs.replace(world.render, width=64, height=64, samples=8, denoiser="none")
    only = msgspec.structs.replace(world.settings, table=0.0, room=0.0, street=0.0, terrain=1.0)
    return msgspec.structs.replace(world, settings=only, frames=1, render=render)


@pytest.mark.parametrize("index", [0, 1, 2])
def test_no_sky_is_seen_below_the_horizon_and_all_surfaces_are_resolved(
    index: int, resolver: Resolver, tmp_path: Path
) -> None:
    found = sample_scene(builtin_catalogue(), recipe(), 11, index)
    spec = msgspec.structs.replace(found, lights=(analytic.WHITE_LIGHT,))
    rendered = render_scene(spec, resolver, tmp_path)
    clip, ours = rendered.clips[0], [use for use in rendered.materials if use.name.startswith("terrain/")]
    assert len(ours) > 3
    assert {use.status for use in ours} == {"resolved"}
    assert clip.camera is not None
    rays = clip.camera.rays(*clip.size) @ clip.camera.camera_to_world[0, :3, :3].T
    below = rays[..., 2] / np.linalg.norm(rays, axis=-1) < -0.01
    assert below.sum() > 300
    instance, depth = clip.arrays["instance"][0, ..., 0], clip.arrays["depth"][0, ..., 0]
    np.testing.assert_array_equal(clip.arrays["mask"][0, ..., 0][below], 1.0)
    np.testing.assert_array_equal(instance > 0, np.isfinite(depth))
    assert found.setting is not UNSET
    land_or_growth = np.isin(instance, [piece.instance for piece in found.setting.pieces])
    whole = land_or_growth & (clip.arrays["mask"][0, ..., 0] == 1)
    basecolor = clip.arrays["basecolor"][0][whole]
    assert basecolor.std(axis=0).max() > 0.003
    assert basecolor.max() < 0.95
    assert (instance == 1).any()
