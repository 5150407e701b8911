"""An asset rendered alone has the G-buffers that the factory gives it in a whole scene: the spec is the truth."""

import os

import numpy as np
import pytest
from scipy import ndimage

from datagen.blender.render import render_scene
from datagen.insert_render import (
    Catcher,
    Insert,
    PlacedAsset,
    Relief,
    find_asset,
    render_insert,
    render_lit,
    told_materials,
)
from datagen.resolver import Resolver
from editing.compositing import composite
from editing.support import stand
from manifests.codec.codecs import decode_clip
from manifests.contract.camera import Camera
from manifests.contract.environment import Environment, latlong_directions
from manifests.errors import RenderError
from scenes.providers.builtin import builtin_catalogue
from scenes.spec import CameraView, File, Native, Orbit, Principled
from tests.datagen import analytic
from tests.datagen.meshfiles import GltfFile

PAINT = {
    "name": "paint",
    "pbrMetallicRoughness": {"baseColorFactor": [0.8, 0.1, 0.05, 1.0], "metallicFactor": 0.75, "roughnessFactor": 0.3},
}
MOVING = CameraView(
    target=(0.0, 0.0, 0.4), distance=3.0, azimuth=-60.0, elevation=30.0, fov=40.0, motions=(Orbit(degrees=30.0),)
)
BALL = analytic.sphere().mesh


def angles(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.degrees(np.arccos(np.clip((a.astype(float) * b).sum(-1), -1.0, 1.0)))


@pytest.mark.parametrize("kind", ["ball", "glb"])
def test_a_composite_is_what_the_factory_renders_of_the_scene_with_the_object(kind, cpu, resolver, tmp_path):
    GltfFile(PAINT).glb(resolver.roots["test"] / "box.glb")
    glb = File(uid="test/box.glb", provider="test", path="box.glb", sha256="")
    mesh, material = (glb, Native()) if kind == "glb" else (BALL, analytic.MIRROR)
    scene = analytic.scene(view=MOVING, frames=2, render=analytic.settings(samples=128, max_bounces=0))
    before = render_scene(scene, resolver, tmp_path).clips[0]
    assert before.camera is not None
    place = stand(before.camera, before.arrays, (11, 37), np.array([0.0, 0.0, 1.0]), scale=0.7, rotate=25.0)
    assert abs(place.position[2]) < 1e-4  # it stands on the ground
    asset = render_insert(
        [PlacedAsset(Insert(mesh, material, resolver.roots), place.object_to_world)],
        before.camera,
        before.size,
        tmp_path / "asset",
        samples=128,
        device="CPU",
    )
    made, coverage = composite(before.arrays, asset.arrays)

    added = analytic.sphere(
        3, mesh=mesh, material=material, scale=place.scale, yaw=25.0, position=tuple(place.position[:2].tolist())
    )
    truth = render_scene(
        analytic.scene(**{**as_changes(scene), "objects": (*scene.objects, added)}), resolver, tmp_path
    )
    true = truth.clips[0].arrays
    own = true["instance"][..., 0] == 3
    assert own.sum() > 100
    assert ((made["instance"][..., 0] == 3) == own).mean() > 0.999
    both = own & (made["instance"][..., 0] == 3)
    ratio = made["depth"][both] / true["depth"][both]
    assert np.abs(ratio - 1).max() < 1e-3
    inside = ndimage.binary_erosion(both, np.ones((1, 3, 3)))  # at its edges pixels mix surfaces
    different = angles(made["normal"], true["normal"])
    assert different[inside].mean() < 0.3
    assert np.median(different[both]) < 0.1
    assert different[both].mean() < 0.7  # Cycles' noise where the edges of a face lie within a pixel
    for name in ("basecolor", "roughness", "metallic"):
        error = np.abs(made[name] - true[name])[inside]
        assert error.mean() < 1e-3, name
        assert error.max() < 0.04, name  # Cycles' noise in the coverage of the outermost pixels
    assert np.abs(made["mask"] - true["mask"]).mean() < 2e-3
    untouched = coverage[..., 0] == 0
    assert (made["normal"][untouched] == before.arrays["normal"][untouched]).all()


def as_changes(scene):
    return {"view": scene.view, "frames": scene.frames, "render": scene.render}


def test_a_still_camera_off_centre_with_oblong_pixels_sees_the_ball_where_it_projects(resolver, tmp_path):
    intrinsics = np.array([[60.0, 0.0, 29.0], [0.0, 75.0, 15.0], [0.0, 0.0, 1.0]])
    pose = np.eye(4)
    pose[:3, 3] = (0.3, -0.2, 4.0)  # looks down
    camera = Camera(intrinsics, np.repeat(pose[None], 3, axis=0))
    out = tmp_path / "out"
    clip = render_insert(
        [PlacedAsset(Insert(BALL, analytic.GREY, {}), np.eye(4))],
        camera,
        (36, 48),
        out,
        fps=10.0,
        samples=16,
        device="CPU",
    )
    inside, normals, depth = analytic.sphere_hits(camera, 0, (36, 48))
    assert clip.frames == 3
    assert clip.fps == 10.0
    assert inside.sum() > 100
    assert np.abs(clip.arrays["depth"][2, ..., 0][inside] / depth[inside] - 1).max() < 1e-3
    assert angles(clip.arrays["normal"][2] @ pose[:3, :3].T, normals)[inside].mean() < 1.0
    assert (clip.arrays["depth"][..., 0] == np.inf)[:, 0, 0].all()
    files = {path.name.removeprefix("object."): path.read_bytes() for path in out.glob("object.*")}
    assert (decode_clip("object", files).arrays["depth"] == clip.arrays["depth"]).all()


def test_a_black_ball_takes_as_much_light_from_the_ground_as_it_covers_of_the_sky(tmp_path):
    height = width = 64
    turn = np.radians(20.0)  # looks down, a little to the side
    pose = np.eye(4)
    pose[:3, :3] = [[1, 0, 0], [0, np.cos(turn), -np.sin(turn)], [0, np.sin(turn), np.cos(turn)]]
    pose[:3, 3] = (0.0, -6 * np.sin(turn), 6 * np.cos(turn))
    camera = Camera(np.array([[70.0, 0, 32], [0, 70.0, 32], [0, 0, 1]]), np.repeat(pose[None], 2, axis=0))
    ball = np.eye(4)
    ball[2, 3] = 0.3  # its centre is at 0.8, its radius a half
    black = Principled(uid="black", basecolor=(0.0, 0.0, 0.0), roughness=1.0, metallic=0.0)
    placed = PlacedAsset(Insert(BALL, black, {}), ball)
    ground = Catcher(np.diag([200.0, 200.0, 1.0, 1.0]), (0.5, 0.5, 0.5), 1.0, 0.0)
    light = Environment(np.ones((16, 32, 3), dtype=np.float32), np.tile(np.eye(3), (2, 1, 1)))
    part, size = (4, 8, 60, 56), (height, width)
    parts = [(part, (0, 0, 64, 64))] * 2
    (made,) = render_lit([placed], [ground], light, camera, size, parts, tmp_path, samples=64, device="CPU")
    rays = (camera.rays(height, width) @ pose[:3, :3].T)[4:60, 8:56]
    hits = pose[:3, 3] - rays * (pose[2, 3] / rays[..., 2:])
    away = np.linalg.norm(hits - (0.0, 0.0, 0.8), axis=-1)
    expected = 1 - (0.5 / away) ** 2 * (0.8 / away)  # the form factor of a ball above the horizon
    clear = ndimage.minimum_filter(made.mask[..., 0] == 0, 3) & (np.abs(hits[..., 1]) < 2)
    assert clear.sum() > 500
    assert np.abs(made.change[..., 1] - expected)[clear].mean() < 0.02
    assert expected[clear].min() < 0.8
    around = made.change_around[4:60, 8:56]
    assert np.abs(around - made.change)[clear].mean() < 0.02
    alone = render_insert([placed], camera, size, tmp_path / "alone", samples=64, device="CPU")
    assert made.rgb.shape == (56, 48, 3)  # nothing moves
    assert np.abs(made.mask - alone.arrays["mask"][0, 4:60, 8:56]).mean() < 0.01
    both = np.isfinite(made.depth) & np.isfinite(alone.arrays["depth"][0, 4:60, 8:56])
    assert both.sum() > 100
    assert np.abs(made.depth[both] - alone.arrays["depth"][0, 4:60, 8:56][both]).max() < 1e-3


def test_surfaces_of_the_scene_catch_shadows_and_show_in_mirrors(tmp_path):
    pose = np.eye(4)
    pose[:3, :3] = [[1, 0, 0], [0, 0, -1], [0, 1, 0]]  # along +y
    pose[:3, 3] = (0.0, -5.0, 0.5)
    camera = Camera(np.array([[48.0, 0, 32], [0, 48.0, 32], [0, 0, 1]]), pose[None])
    mirror = Principled(uid="mirror", basecolor=(1.0, 1.0, 1.0), roughness=0.05, metallic=1.0)
    ball = np.eye(4)
    ball[2, 3] = -0.3
    corners = [
        (-4, 2, -3),
        (4, 2, -3),
        (4, 2, 3),
        (-4, 2, 3),
        (-4, -4, -1.3),
        (4, -4, -1.3),
        (4, 2, -1.3),
        (-4, 2, -1.3),
    ]
    room = Relief(  # a wall and a floor
        np.array(corners, dtype=np.float32),
        np.array([(0, 1, 2), (0, 2, 3), (4, 5, 6), (4, 6, 7)], dtype=np.int32),
        np.tile(np.float32((0.8, 0.05, 0.05)), (8, 1)),
        np.ones(8, dtype=np.float32),
        np.zeros(8, dtype=np.float32),
    )
    light = np.full((32, 64, 3), 0.1, dtype=np.float32)
    towards = latlong_directions(32, 64) @ np.array([0.0, -np.cos(0.4), np.sin(0.4)])
    light[towards > 0.985] = 60.0  # behind the camera, above it
    whole = (0, 0, 64, 64)
    (made,) = render_lit(
        [PlacedAsset(Insert(BALL, mirror, {}), ball)], [], Environment(light, np.eye(3)[None]), camera, (64, 64),
        [(whole, whole)], tmp_path, relief=room, samples=32, device="CPU",
    )  # fmt: skip
    shadow = camera.project(np.array([[0.0, 2.0, 0.2 - 2.0 * np.tan(0.4)]]))[0][0, 0].astype(int)
    assert made.change[shadow[1] + 2, shadow[0]].max() < 0.6  # it covers the lamp there
    assert made.change[4:16, 4:60].min() > 0.9
    below = made.rgb[37:39, 31:34]
    assert made.mask[37:39, 31:34].min() > 0.9
    assert below[..., 0].mean() > 2 * below[..., 1].mean()  # the red floor


def test_what_is_wrong_with_an_asset_is_one_line(tmp_path):
    catalogue = builtin_catalogue()
    with pytest.raises(RenderError, match=r"nowhere.glb: no such file"):
        find_asset(str(tmp_path / "nowhere.glb"), catalogue)
    material = next(asset.uid for asset in catalogue.assets if asset.kind == "material")
    with pytest.raises(RenderError, match="a material, not a mesh"):
        find_asset(material, catalogue)
    bad = tmp_path / "bad.glb"
    bad.write_bytes(b"glTF nonsense")
    camera = Camera(np.array([[50.0, 0, 8], [0, 50.0, 8], [0, 0, 1]]), np.eye(4)[None])
    with pytest.raises(RenderError) as caught:
        asset = PlacedAsset(find_asset(str(bad), catalogue), np.eye(4))
        render_insert([asset], camera, (16, 16), tmp_path / "out", device="CPU")
    assert caught.value.reason == "malformed"
    assert "bad.glb" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_resolver_roots_reach_the_rendering_process(tmp_path):
    GltfFile(PAINT).glb(tmp_path / "box.glb")
    asset = find_asset(str(tmp_path / "box.glb"), builtin_catalogue())
    assert Resolver(asset.roots, tmp_path).path(asset.mesh) == (tmp_path / "box.glb").resolve()


@pytest.mark.parametrize(
    ("look", "alpha", "words"),
    [
        ({"extensions": {"KHR_materials_unlit": {}}}, 1.0, "paint: unlit (emission); what is unlit or glows"),
        ({"alphaMode": "BLEND"}, 0.3, "paint: resolved (alpha 0.3 is taken as clear)"),
        ({"alphaMode": "MASK", "alphaCutoff": 0.6}, 0.55, "paint: resolved (fully transparent)"),
    ],
    ids=["unlit", "blend", "mask"],
)  # fmt: skip
def test_the_status_of_materials_is_one_line(look, alpha, words, tmp_path):
    pose = np.eye(4)
    pose[:3, 3] = (0.0, 0.0, 4.0)
    camera = Camera(np.array([[50.0, 0, 8], [0, 50.0, 8], [0, 0, 1]]), pose[None])
    own = {"baseColorFactor": [0.6, 0.08, 0.05, alpha], "metallicFactor": 0.0, "roughnessFactor": 0.7}
    file = GltfFile({"name": "paint", "pbrMetallicRoughness": own, **look})
    asset = find_asset(str(file.glb(tmp_path / "box.glb")), builtin_catalogue())
    clip = render_insert([PlacedAsset(asset, np.eye(4))], camera, (16, 16), tmp_path / "out", samples=1, device="CPU")
    assert (clip.arrays["mask"].max() == 0) == (alpha < 1)
    told = told_materials(tmp_path / "out", traced=False)
    assert told.startswith(words)
    assert "\n" not in told


def test_a_path_that_is_not_utf_8_is_refused_in_words(tmp_path):
    name = tmp_path / os.fsdecode(b"caf\xe9.glb")
    GltfFile(PAINT).glb(name)
    with pytest.raises(RenderError, match="its path is not UTF-8"):
        find_asset(str(name), builtin_catalogue())
