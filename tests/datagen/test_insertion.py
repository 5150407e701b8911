"""An asset rendered alone has the G-buffers that the factory gives it in a whole scene: the spec is the truth."""

import os

import numpy as np
import pytest
from scipy import ndimage

from datagen.blender.render import render_scene
from datagen.insert_render import Insert, find_asset, glowing, render_insert, told_materials, unseen
from datagen.resolver import Resolver
from editing.insertion import composite, stand
from manifests.codec.codecs import decode_clip
from manifests.contract.camera import Camera
from manifests.contract.color import srgb_encode
from manifests.errors import RenderError
from scenes.providers.builtin import builtin_catalogue
from scenes.spec import CameraView, File, Native, Orbit
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
    place = stand(
        before.camera, before.arrays["depth"][0, ..., 0], (11, 37), np.array([0.0, 0.0, 1.0]), scale=0.7, rotate=25.0
    )
    assert abs(place.position[2]) < 1e-4  # it stands on the ground
    asset = render_insert(
        Insert(mesh, material, resolver.roots),
        before.camera,
        before.size,
        place.object_to_world,
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
        Insert(BALL, analytic.GREY, {}), camera, (36, 48), np.eye(4), out, fps=10.0, samples=16, device="CPU"
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
        render_insert(find_asset(str(bad), catalogue), camera, (16, 16), np.eye(4), tmp_path / "out", device="CPU")
    assert caught.value.reason == "malformed"
    assert "bad.glb" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_resolver_roots_reach_the_rendering_process(tmp_path):
    GltfFile(PAINT).glb(tmp_path / "box.glb")
    asset = find_asset(str(tmp_path / "box.glb"), builtin_catalogue())
    assert Resolver(asset.roots, tmp_path).path(asset.mesh) == (tmp_path / "box.glb").resolve()


RED = (0.6, 0.08, 0.05)
LOOKS = {
    "lit": {},
    "unlit": {"extensions": {"KHR_materials_unlit": {}}},
    "black": {"emissiveFactor": [0.2, 0.4, 0.0]},
    "veil": {"alphaMode": "BLEND"},
    "mask": {"alphaMode": "MASK", "alphaCutoff": 0.6},
}


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Clips of the box seen from above, by how its one material looks."""
    folder = tmp_path_factory.mktemp("looks")
    pose = np.eye(4)
    pose[:3, 3] = (0.0, 0.0, 4.0)
    camera = Camera(np.array([[50.0, 0, 8], [0, 50.0, 8], [0, 0, 1]]), pose[None])
    clips = {}
    for name, look in LOOKS.items():
        colour = (0.0, 0.0, 0.0) if name == "black" else RED
        alpha = {"veil": 0.3, "mask": 0.55}.get(name, 1.0)
        own = {"baseColorFactor": [*colour, alpha], "metallicFactor": 0.0, "roughnessFactor": 0.7}
        file = GltfFile({"name": "paint", "pbrMetallicRoughness": own, **look})
        file.document["extensionsUsed"] = list(look.get("extensions", ()))
        asset = find_asset(str(file.glb(folder / f"{name}.glb")), builtin_catalogue())
        clips[name] = render_insert(asset, camera, (16, 16), np.eye(4), folder / name, samples=4, device="CPU")
    return clips


def test_what_emits_looks_as_in_a_viewer(alone):
    picture = np.full((1, 16, 16, 3), 0.25, dtype=np.float32)  # the asset as the forward renderer would light it
    shown = {name: glowing(picture, clip)[0, 8, 8] for name, clip in alone.items()}
    assert (glowing(picture, alone["lit"]) == picture).all()
    np.testing.assert_allclose(shown["unlit"], srgb_encode(np.array(RED)), atol=2e-3)
    lit = ((0.25 + 0.055) / 1.055) ** 2.4
    np.testing.assert_allclose(shown["black"], srgb_encode(np.array([0.2, 0.4, 0.0]) + lit), atol=2e-3)
    assert (glowing(picture, alone["unlit"])[0, 0, 0] == 0.25).all(), "beside the asset nothing changes"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("lit", "paint: resolved"),
        ("unlit", "unlit (emission); what is unlit keeps its own colour"),
        ("black", "paint: resolved (emits); what glows lights nothing"),
        ("veil", "alpha 0.3 is taken as clear"),
        ("mask", "paint: resolved (fully transparent)"),
    ],
)
def test_the_status_of_materials_is_one_line(alone, name, words):
    assert words in told_materials(alone[name])
    assert "\n" not in told_materials(alone[name])


@pytest.mark.parametrize("name", ["veil", "mask"])
def test_a_transparent_asset_is_said_to_be_so(alone, name):
    assert alone[name].arrays["mask"].max() == 0
    assert "it is transparent" in str(unseen(alone[name], 50.0))
    assert "it would span 1.5 pixels" in str(unseen(alone[name], 1.5))


def test_a_path_that_is_not_utf_8_is_refused_in_words(tmp_path):
    name = tmp_path / os.fsdecode(b"caf\xe9.glb")
    GltfFile(PAINT).glb(name)
    with pytest.raises(RenderError, match="its path is not UTF-8"):
        find_asset(str(name), builtin_catalogue())
