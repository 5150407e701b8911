"""Open land: the field and its mesh, what stands on it, and where cameras are."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import msgspec
import numpy as np
import pytest
from msgspec import UNSET

from manifests.errors import SpecError
from scenes.materials_and_light import asset_pools, outdoor_lights
from scenes.motion import camera_at
from scenes.providers.builtin import builtin_catalogue
from scenes.recipes import Recipe, load_recipe
from scenes.sampling import sample_scene
from scenes.settings.height_field import LAND_KINDS, REACH, SECTORS, Land, land
from scenes.settings.pieces import build_piece, copy_poses
from scenes.settings.scattering import scatter
from scenes.settings.terrain_meshes import wave_height
from scenes.spec import SceneSpec, Setting, to_json

ENOUGH = 200


@cache
def recipe() -> Recipe:
    world = load_recipe("train-world")
    assert world.settings is not UNSET
    only = msgspec.structs.replace(world.settings, table=0.0, room=0.0, street=0.0, terrain=1.0)
    return msgspec.structs.replace(world, settings=only)


@cache
def scene(index: int) -> SceneSpec:
    return sample_scene(builtin_catalogue(), recipe(), 11, index)


def setting(spec: SceneSpec) -> Setting:
    assert spec.setting is not UNSET
    return spec.setting


def ground(spec: SceneSpec) -> Land:
    params = setting(spec).pieces[0].mesh.params
    return land(str(params["kind"]), int(params["seed"]))  # type: ignore[arg-type]


def test_the_same_draws_give_the_same_bytes_whatever_was_drawn_before() -> None:
    first = to_json(scene(3))
    land.cache_clear()
    sample_scene(builtin_catalogue(), recipe(), 11, 4)
    assert to_json(sample_scene(builtin_catalogue(), recipe(), 11, 3)) == first
    piece = setting(scene(3)).pieces[0].mesh
    one, other = (build_piece(piece.generator, piece.params) for _ in range(2))
    assert one.vertices.tobytes() == other.vertices.tobytes()


@pytest.mark.parametrize("kind", LAND_KINDS)
def test_the_ground_is_the_field_and_faces_up(kind: str) -> None:
    mesh = build_piece("land_surface", {"kind": kind, "seed": 8})
    place = land(kind, 8)
    some = np.random.default_rng(0).integers(0, len(mesh.vertices), 500)
    points = mesh.vertices[some].astype(float)
    near = np.hypot(points[:, 0], points[:, 1]) < 2000
    np.testing.assert_allclose(points[near, 2], place.height(points[near, :2]), atol=2e-3)  # float32 places
    assert place.height(np.zeros(2)) == 0
    assert len(mesh.triangles()) < 350_000
    assert _upward(mesh.vertices, mesh.corners[mesh.triangles()]).min() > 0


def _upward(vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    corners = vertices.astype(float)[triangles]
    assert np.isfinite(corners).all()
    return np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])[:, 2]


@pytest.mark.parametrize("kind", LAND_KINDS)
def test_the_land_reaches_the_eye_s_level_all_around(kind: str) -> None:
    angle = np.arange(SECTORS) * (2 * np.pi / SECTORS)
    around = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    for seed in range(12):
        rim = np.array([land(kind, seed).height(radius * around) for radius in np.linspace(0.75, 1.0, 6) * REACH])
        assert rim.max(axis=0).min() > 100.0, (kind, seed)


@pytest.mark.parametrize("kind", ["coast", "lake", "river"])
def test_there_is_water_and_dry_land_beside_it(kind: str) -> None:
    shares = []
    for seed in range(12):
        place = land(kind, seed)
        assert -3.0 < place.water_level < 0.0  # the origin is dry
        points = np.random.default_rng(seed).uniform(-120, 120, (4000, 2))
        shares.append(np.mean(place.height(points) < place.water_level))
    assert min(shares) > 0.02
    assert max(shares) < 0.9


def test_water_faces_up_and_its_waves_are_as_high_as_asked_for() -> None:
    mesh = build_piece("water_surface", {"kind": "lake", "seed": 8, "height": 0.3, "length": 4.0})
    assert _upward(mesh.vertices, mesh.corners[mesh.triangles()]).min() > 0
    height = wave_height(np.random.default_rng(0).uniform(-8, 8, (20_000, 2)), 8, 0.3, 4.0)
    assert 0.15 < np.ptp(height) < 0.45
    assert not wave_height(np.array([[5000.0, 0.0]]), 8, 0.3, 4.0).any()


def test_what_is_strewn_stands_on_the_field() -> None:
    checked = 0
    for index in range(6):
        place = ground(scene(index))
        for piece in setting(scene(index)).pieces:
            if piece.copies is UNSET:
                continue
            poses = copy_poses(piece.copies.generator, piece.copies.params)
            scale = np.linalg.norm(poses[:, :3, 0], axis=1)
            sink = float(piece.copies.params.get("sink", 0.0))  # type: ignore[arg-type]
            np.testing.assert_allclose(
                poses[:, 2, 3] + sink * scale, place.height(poses[:, :2, 3]), atol=1e-6, err_msg=piece.name
            )
            assert (np.linalg.det(poses[:, :3, :3]) > 0).all()
            checked += len(poses)
    assert checked > 1000


def test_copies_keep_to_their_places() -> None:
    clear = (2.0, 1.0, 3.0)
    poses = scatter("lake", 5, 1, 200, (4.0, 60.0), (0.5, 2.0), above=(0.4, 50.0), spacing=1.5, clear=clear, steep=0.3)
    points, scale = poses[:, :2, 3], np.linalg.norm(poses[:, :3, 0], axis=1)
    assert len(poses) > 50
    assert 0.5 <= scale.min() < scale.max() <= 2.0
    radius = np.hypot(*points.T)
    assert 4.0 <= radius.min() < radius.max() <= 60.0
    assert np.hypot(points[:, 0] - 2.0, points[:, 1] - 1.0).min() > 3.0
    apart = np.linalg.norm(points[:, None] - points[None], axis=2) + 100 * np.eye(len(points))
    assert apart.min() >= 1.5
    place = land("lake", 5)
    assert (poses[:, 2, 3] - place.water_level).min() > 0.4
    halves = [scatter("lake", 5, 1, 200, (4.0, 60.0), (0.5, 2.0), part=(float(n), 2.0)) for n in range(2)]
    assert sum(map(len, halves)) == len(scatter("lake", 5, 1, 200, (4.0, 60.0), (0.5, 2.0)))


def test_where_nothing_may_stand_there_are_no_copies() -> None:
    assert scatter("meadow", 5, 1, 9, (1.0, 9.0), (0.5, 2.0), clear=(0.0, 0.0, 50.0), spacing=1.0).shape == (0, 4, 4)


def _plants() -> Iterator[tuple[str, dict[str, object]]]:
    seen = set()
    for index in range(12):
        for piece in setting(scene(index)).pieces:
            if piece.copies is not UNSET and (piece.name, piece.mesh.generator) not in seen:
                seen.add((piece.name, piece.mesh.generator))
                yield piece.mesh.generator, piece.mesh.params  # type: ignore[misc]
    assert len(seen) >= 10


def test_plants_are_finite_about_one_unit_high_and_of_few_triangles() -> None:
    for generator, params in _plants():
        mesh = build_piece(generator, params)  # type: ignore[arg-type]
        assert np.isfinite(mesh.vertices).all()
        assert np.isfinite(mesh.uvs).all()
        assert mesh.corners.max() < len(mesh.vertices)
        assert np.ptp(mesh.vertices, axis=0).max() < 4.0, generator
        assert mesh.vertices[:, 2].max() < 1.3, generator
        assert len(mesh.triangles()) < 15_000, generator


def test_no_camera_is_below_the_ground_or_in_the_water() -> None:
    kinds = set()
    for index in range(ENOUGH):
        spec = scene(index)
        place = ground(spec)
        kinds.add(place.kind)
        eyes = camera_at(spec.view, np.linspace(0, 1, 61))[:, :3, 3]
        assert (eyes[:, 2] - place.height(eyes[:, :2])).min() > 0.1, index
        assert eyes[:, 2].min() > place.water_level + 0.1, index
        assert 25.0 <= spec.view.fov <= 90.0
    assert kinds == set(LAND_KINDS)


def test_things_stand_on_dry_land_and_do_not_float() -> None:
    for index in range(40):
        place = ground(scene(index))
        for thing in scene(index).objects:
            assert thing.height is not UNSET
            ring = np.array([[np.cos(a), np.sin(a)] for a in np.arange(8) * np.pi / 4])
            under = place.height(np.array(thing.position) + thing.scale * thing.footprint.radius * ring)
            assert thing.height <= under.min() + 1e-9
            assert thing.height > place.water_level
    assert np.mean([bool(scene(index).objects) for index in range(40)]) > 0.6


def test_things_and_growths_have_instances_of_their_own() -> None:
    for index in range(20):
        pieces = {piece.instance: piece.name for piece in setting(scene(index)).pieces}
        assert all(pieces[piece.instance] == piece.name for piece in setting(scene(index)).pieces)
        numbers = [thing.instance for thing in scene(index).objects]
        assert not set(numbers) & set(pieces)
        assert pieces[1] == "land"


def test_land_lies_under_open_sky_where_a_recipe_has_any() -> None:
    uids = {light.map.uid for index in range(60) for light in scene(index).lights}
    assert not [uid for uid in uids if "studio" in uid or "hotel" in uid]
    assert {"/sky/" in uid for uid in uids} == {True, False}  # and captured places
    studios = {"studio": asset_pools(builtin_catalogue(), recipe()).lights["studio"]}
    assert outdoor_lights(studios) == studios


def test_an_unknown_land_is_refused() -> None:
    with pytest.raises(SpecError, match="no land 'swamp'"):
        build_piece("land_surface", {"kind": "swamp", "seed": 1})
