from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datagen.assets.asset_file import AssetError, AssetLimits
from tests.datagen.meshfiles import HIGH, LOW, GltfFile, box, noise_png, obj, ply, stl

bpy = pytest.importorskip("bpy")

from datagen.blender.importing import Imported, import_mesh  # noqa: E402
from datagen.blender.session import snapshot  # noqa: E402

pytestmark = pytest.mark.usefixtures("cpu")

SIZE = HIGH - LOW  # 2 x 4 x 1, y up; the longest side is vertical


def points(imported: Imported) -> np.ndarray:
    """(N, 3) vertices as the objects show them."""
    bpy.context.view_layer.update()
    return np.array([obj.matrix_world @ vertex.co for obj in imported.objects for vertex in obj.data.vertices])


def rejection(path: Path, **options: Any) -> AssetError:
    before = snapshot()
    with pytest.raises(AssetError) as caught:
        import_mesh(path, **options)
    assert snapshot() == before
    assert "\n" not in str(caught.value)
    return caught.value


def assert_upright_box(imported: Imported) -> None:
    """The box of 2 x 1 x 4 (z up), its longest side 1, centred over the origin and standing on the ground."""
    found = points(imported)
    np.testing.assert_allclose(found.min(axis=0), [-0.25, -0.125, 0.0], atol=1e-6)
    np.testing.assert_allclose(found.max(axis=0), [0.25, 0.125, 1.0], atol=1e-6)
    assert imported.footprint.height == pytest.approx(1.0)
    assert imported.footprint.radius == pytest.approx(np.hypot(0.25, 0.125), rel=1e-5)
    assert imported.size == pytest.approx((2.0, 1.0, 4.0))
    assert_faces_outwards(imported)


def assert_faces_outwards(imported: Imported) -> None:
    for part in imported.objects:
        middle = np.mean([vertex.co for vertex in part.data.vertices], axis=0)
        for polygon in part.data.polygons:
            assert np.dot(polygon.normal, np.array(polygon.center) - middle) > 0
            for corner in polygon.loop_indices:
                assert np.dot(part.data.corner_normals[corner].vector, polygon.normal) > 0.5


def test_every_text_and_binary_format_stands_upright_in_the_normalised_frame(tmp_path: Path) -> None:
    for path in (
        GltfFile().glb(tmp_path / "box.glb"),
        obj(tmp_path),
        ply(tmp_path / "box.ply", (0.5, 0.5, 0.5)),
        stl(tmp_path / "box.stl"),
    ):
        assert_upright_box(import_mesh(path))


@pytest.mark.parametrize("suffix", ["fbx", "usda", "usdc"])
def test_formats_that_blender_writes_come_back_upright(tmp_path: Path, suffix: str) -> None:
    imported = import_mesh(GltfFile({"name": "paint"}).glb(tmp_path / "box.glb"))
    path = tmp_path / f"box.{suffix}"
    if suffix == "fbx":
        bpy.ops.export_scene.fbx(filepath=str(path))
    else:
        bpy.ops.wm.usd_export(filepath=str(path))
    again = import_mesh(path)
    np.testing.assert_allclose(points(again).min(axis=0), points(imported).min(axis=0), atol=1e-5)
    np.testing.assert_allclose(points(again).max(axis=0), points(imported).max(axis=0), atol=1e-5)
    assert_faces_outwards(again)


def test_parents_that_scale_shear_and_mirror_are_resolved(tmp_path: Path) -> None:
    file = GltfFile()
    file.document["nodes"] = [
        {"children": [1], "scale": [3, 1, 1]},
        {"children": [2], "rotation": [0, 0, 0.3826834, 0.9238795]},  # 45 degrees: with the scale above a shear
        {"mesh": 0, "scale": [-1, 1, 1]},
    ]
    imported = import_mesh(file.glb(tmp_path / "box.glb"))
    x, y, z = box()[0].astype(float).T * [[-1], [1], [1]]
    x, y = (x - y) * np.sqrt(0.5), (x + y) * np.sqrt(0.5)
    x = 3 * x
    expected = np.array([x, -z, y]).T  # Blender's axes
    expected -= [
        (expected[:, 0].max() + expected[:, 0].min()) / 2,
        (expected[:, 1].max() + expected[:, 1].min()) / 2,
        expected[:, 2].min(),
    ]
    expected /= np.ptp(expected, axis=0).max()
    np.testing.assert_allclose(
        sorted(map(tuple, points(imported).round(5))), sorted(map(tuple, expected.round(5))), atol=3e-5
    )
    assert_faces_outwards(imported)


def test_custom_normals_survive_a_stretch_as_normals_do(tmp_path: Path) -> None:
    file = GltfFile()
    tilted = np.repeat([[0.6, 0.8, 0.0]], 24, axis=0).astype("<f4")
    file.document["meshes"][0]["primitives"][0]["attributes"]["NORMAL"] = file.accessor(tilted, "VEC3")
    file.document["nodes"][0]["scale"] = [1, 4, 1]
    imported = import_mesh(file.glb(tmp_path / "box.glb"))
    expected = np.array([0.6, 0.0, 0.2]) / np.hypot(0.6, 0.2)  # y up to z up, divided by the stretch
    top = next(one for one in imported.objects[0].data.polygons if one.normal.z > 0.99)
    for corner in top.loop_indices:
        np.testing.assert_allclose(imported.objects[0].data.corner_normals[corner].vector, expected, atol=2e-3)


def test_a_skin_is_measured_in_its_pose(tmp_path: Path) -> None:
    file = GltfFile()
    primitive = file.document["meshes"][0]["primitives"][0]
    top = box()[0][:, 1] > 4  # the upper half follows the second joint, two units to the side
    joints = np.zeros((24, 4), "|u1")
    joints[top, 0] = 1
    weights = np.tile(np.array([1, 0, 0, 0], "<f4"), (24, 1))
    primitive["attributes"] |= {"JOINTS_0": file.accessor(joints, "VEC4"), "WEIGHTS_0": file.accessor(weights, "VEC4")}
    bind = np.tile(np.eye(4, dtype="<f4").ravel(), (2, 1))
    inverse = file.accessor(bind, "MAT4")
    file.document["skins"] = [{"joints": [1, 2], "inverseBindMatrices": inverse}]
    file.document["nodes"] = [
        {"mesh": 0, "skin": 0},
        {"children": [2], "name": "lower"},
        {"name": "upper", "translation": [6, 0, 0]},
    ]
    file.document["scenes"] = [{"nodes": [0, 1]}]
    imported = import_mesh(file.glb(tmp_path / "skin.glb"))
    assert "skinned" in imported.flags
    assert imported.size == pytest.approx((8.0, 1.0, 4.0), abs=1e-4)
    assert all(not part.modifiers for part in imported.objects)


def test_only_visible_surfaces_remain(tmp_path: Path) -> None:
    file = GltfFile()
    far = {"mesh": 0, "translation": [50, 0, 0]}
    file.document["cameras"] = [{"type": "perspective", "perspective": {"yfov": 1, "znear": 0.1}}]
    file.document["nodes"] += [
        {**far, "name": "UCX_box"},
        {**far, "name": "wall-col"},
        {"camera": 0, "translation": [0, 90, 0]},
        far,
    ]
    file.document["scenes"] = [{"nodes": [0, 1, 2, 3]}]  # the last node is in no scene
    before = snapshot()
    imported = import_mesh(file.glb(tmp_path / "box.glb"))
    assert_upright_box(imported)
    added = {name: len(found - before[name]) for name, found in snapshot().items() if found - before[name]}
    assert added == {"objects": 2, "meshes": 1, "materials": 1, "all_ids": 4}
    assert [child.name for child in imported.root.children] == [imported.objects[0].name]


def test_two_roots_keep_their_places_under_one(tmp_path: Path) -> None:
    file = GltfFile()
    file.document["nodes"].append({"mesh": 0, "translation": [6, 0, 0]})
    file.document["scenes"] = [{"nodes": [0, 1]}]
    imported = import_mesh(file.glb(tmp_path / "two.glb"))
    assert len(imported.objects) == 2
    assert imported.size == pytest.approx((8.0, 1.0, 4.0))
    imported.root.location = (1, 2, 3)
    found = points(imported)
    np.testing.assert_allclose(found.min(axis=0), [0.5, 2 - 1 / 16, 3.0], atol=1e-6)
    assert all(part.data.users == 1 for part in imported.objects)


def test_importing_twice_gives_the_same_vertices(tmp_path: Path) -> None:
    path = GltfFile().glb(tmp_path / "box.glb")
    first, second = import_mesh(path), import_mesh(path)
    np.testing.assert_array_equal(points(first), points(second))
    assert first.footprint == second.footprint


def test_the_callers_scene_is_left_alone(tmp_path: Path) -> None:
    scene = bpy.context.scene
    scene.frame_set(7)
    fps, end = scene.render.fps, scene.frame_end
    imported = import_mesh(GltfFile().glb(tmp_path / "box.glb"))
    assert bpy.context.scene == scene
    assert (scene.frame_current, scene.render.fps, scene.frame_end) == (7, fps, end)
    assert set(imported.objects) < set(scene.objects)


def test_phong_materials_are_put_right(tmp_path: Path) -> None:
    (tmp_path / "wood.png").write_bytes(noise_png())
    imported = import_mesh(
        obj(tmp_path, "newmtl paint\nNs 30\nKs 1 1 1\nNi 1.0\nillum 3\nmap_Kd wood.png\nrefl wood.png\n")
    )
    node = next(one for one in imported.materials[0].node_tree.nodes if one.bl_idname == "ShaderNodeBsdfPrincipled")
    assert node.inputs["Roughness"].default_value == pytest.approx(0.5)
    assert node.inputs["Metallic"].default_value == 0.0
    assert not node.inputs["Metallic"].is_linked
    assert node.inputs["IOR"].default_value == pytest.approx(1.5)
    assert node.inputs["Base Color"].is_linked


def test_glass_of_an_mtl_is_a_surface_and_not_a_veil(tmp_path: Path) -> None:
    imported = import_mesh(obj(tmp_path, "newmtl paint\nNs 30\nd 0.25\nillum 4\n"))
    node = next(one for one in imported.materials[0].node_tree.nodes if one.bl_idname == "ShaderNodeBsdfPrincipled")
    assert node.inputs["Alpha"].default_value == 1.0
    assert node.inputs["Transmission Weight"].default_value == pytest.approx(0.75)
    assert "alpha" in imported.flags


def test_faces_that_lie_on_each_other_are_dropped(tmp_path: Path) -> None:
    path = obj(tmp_path)
    lines = path.read_text().splitlines()
    faces = [line.split()[1:] for line in lines if line.startswith("f ")]
    lines += ["f " + " ".join(reversed(face)) for face in faces[:5]]
    outline = [(0, 0), (2, 0), (2, 1), (1, 2), (0, 1)]
    lines += [f"v {x} 9 {y}" for x, y in outline] + ["v 1 9 0"]  # a pentagon, and its back with one point more
    lines += ["f 25 26 27 28 29", "f 29 28 27 26 30 25"]
    path.write_text("\n".join(lines) + "\n")
    imported = import_mesh(path)
    assert imported.polygons == 12 + 1


def test_surfaces_without_a_material_get_one(tmp_path: Path) -> None:
    file = GltfFile()
    del file.document["meshes"][0]["primitives"][0]["material"]
    imported = import_mesh(file.glb(tmp_path / "box.glb"))
    assert "no-material" in imported.flags
    assert all(slot is not None for part in imported.objects for slot in part.data.materials)


def test_spec_gloss_arrives_as_metallic_roughness(tmp_path: Path) -> None:
    name = "KHR_materials_pbrSpecularGlossiness"
    gloss = {"diffuseFactor": [0, 0, 0, 1], "specularFactor": [0.9, 0.7, 0.3], "glossinessFactor": 0.75}
    file = GltfFile({"name": "gold", "extensions": {name: gloss}})
    file.document |= {"extensionsUsed": [name], "extensionsRequired": [name]}
    imported = import_mesh(file.glb(tmp_path / "gold.glb"))
    node = next(one for one in imported.materials[0].node_tree.nodes if one.bl_idname == "ShaderNodeBsdfPrincipled")
    assert "spec-gloss" in imported.flags
    assert node.inputs["Metallic"].default_value == pytest.approx(1.0, abs=0.02)
    assert node.inputs["Roughness"].default_value == pytest.approx(0.25)
    np.testing.assert_allclose(node.inputs["Base Color"].default_value[:3], (0.9, 0.7, 0.3), atol=0.02)
    assert node.inputs["IOR"].default_value == pytest.approx(1.5)


@pytest.mark.parametrize(
    ("positions", "reason"),
    [
        (np.where(box()[0] == 6, np.nan, box()[0]), "bad-geometry"),
        (np.where(box()[0] == 6, np.inf, box()[0]), "bad-geometry"),
        (box()[0] * 0, "bad-geometry"),
        (box()[0] * [1, 0, 1], "bad-geometry"),
    ],
    ids=["nan", "infinite", "a point", "flat"],
)
def test_bad_geometry_is_refused(tmp_path: Path, positions: np.ndarray, reason: str) -> None:
    assert rejection(GltfFile(positions=positions).glb(tmp_path / "bad.glb")).reason == reason


@pytest.mark.parametrize(
    ("numbers", "at", "reason"),
    [
        (struct.pack("<B", 255), 0, "import-error"),
        (struct.pack("<B", 0), 0, "import-error"),
        (struct.pack("<i", 10**9), 1, "import-error"),
        (struct.pack("<i", -1), 1, "import-error"),
        (struct.pack("<f", np.nan), -24 * 15, "bad-geometry"),
    ],
    ids=["many sides", "no sides", "no vertex", "minus", "nan"],
)
def test_what_a_ply_says_behind_its_header_is_checked(tmp_path: Path, numbers: bytes, at: int, reason: str) -> None:
    data = bytearray(ply(tmp_path / "box.ply", (0.5, 0.5, 0.5)).read_bytes())
    start = data.index(b"end_header\n") + 11 + 24 * 15 + at
    stop = start + 1 if at == -24 * 15 else len(data)
    for place in range(start, stop, 13):
        data[place : place + len(numbers)] = numbers
    (tmp_path / "box.ply").write_bytes(data)
    assert rejection(tmp_path / "box.ply").reason == reason


def test_too_many_polygons_are_refused(tmp_path: Path) -> None:
    path = GltfFile().glb(tmp_path / "box.glb")
    assert rejection(path, limits=AssetLimits(polygons=11)).reason == "too-large"
    assert import_mesh(path, AssetLimits(polygons=12)).polygons == 12


def test_an_importers_failure_is_a_rejection_with_its_words(tmp_path: Path) -> None:
    file = GltfFile()
    start = file.document["bufferViews"][2]["byteOffset"]
    file.binary[start : start + 2] = b"\xff\x00"  # an index out of range
    error = rejection(file.glb(tmp_path / "bad.glb"))
    assert error.reason == "import-error"
    assert "IndexError" in str(error)


USD = """#usda 1.0
(
    upAxis = "Z"
)
def Mesh "m" {0}
{{
    int[] faceVertexCounts = [3]
    int[] faceVertexIndices = [0, 1, 2]
    point3f[] points = [(0, 0, 0), (1, 0, 0), (0, 0, 1)]
}}
"""


@pytest.mark.parametrize("reference", ["../outside.usda", "{folder}/outside.usda", "inner/../../outside.usda"])
def test_usd_references_out_of_the_folder_are_refused(tmp_path: Path, reference: str) -> None:
    folder = tmp_path / "asset"
    folder.mkdir()
    (tmp_path / "outside.usda").write_text(USD.format(""))
    path = folder / "m.usda"
    path.write_text(USD.format(f"( references = @{reference.format(folder=tmp_path)}@</m> )"))
    assert rejection(path).reason == "escapes-folder"
    (folder / "layer.usda").write_text(path.read_text())
    path.write_text(USD.format("( references = @layer.usda@</m> )"))
    assert rejection(path).reason == "escapes-folder"
    (folder / "layer.usda").write_text(USD.format(""))
    assert import_mesh(path).polygons == 1


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.usda", b'#usda 1.0\ndef Mesh "m" {\n int[] x = [1, 2\n}\n', "not USD: line 4:"),
        ("a.usdc", b"PXR-USDC" + b"\xff" * 500, "not USD: Sdf crate file version mismatch"),
        ("a.usdc", b"PXR-USDC\0\x08" + bytes(400), "not USD: "),
    ],
)
def test_what_is_wrong_with_a_usd_file_is_said(tmp_path: Path, name: str, data: bytes, words: str) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    error = rejection(path)
    assert error.reason == "malformed"
    assert words in str(error)
    assert str(tmp_path) not in str(error)


def test_a_texture_that_fbx_finds_outside_the_folder_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "asset"
    folder.mkdir()
    (tmp_path / "wood.png").write_bytes(noise_png())
    made = tmp_path / "made"
    made.mkdir()
    (made / "wood.png").write_bytes(noise_png())
    imported = import_mesh(obj(made, "newmtl paint\nmap_Kd wood.png\n"))
    image = next(node.image for node in imported.materials[0].node_tree.nodes if node.bl_idname == "ShaderNodeTexImage")
    path = folder / "box.fbx"
    for place, reason in ((tmp_path / "wood.png", "escapes-folder"), (tmp_path / "gone.png", "missing-texture")):
        image.filepath = str(place)
        bpy.ops.export_scene.fbx(filepath=str(path), path_mode="ABSOLUTE")
        found = rejection(path).reason
        assert found == reason if reason == "escapes-folder" else found in (reason, "escapes-folder")
    (folder / "wood.png").write_bytes(noise_png())
    image.filepath = str(folder / "wood.png")
    bpy.ops.export_scene.fbx(filepath=str(path), path_mode="ABSOLUTE")
    assert "untextured" not in import_mesh(path).flags
