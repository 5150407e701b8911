"""The AOVs of materials, rendered by Cycles and compared with the values that the materials hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy
import numpy as np
import pytest

from datagen.blender.material_aovs import instrument
from manifests.contract.color import srgb_decode
from tests.datagen.glb import import_plane, plane_glb, png
from tests.datagen.harness import Picture, Stage, nodes_material, on_stage, shader

pytestmark = pytest.mark.usefixtures("cpu")
EXACT = 1 / 255
PIXELS = 8  # of a unit plane


def principled(name: str = "material", **inputs: Any) -> Any:
    material, tree, output = nodes_material(name)
    node = shader(tree, "ShaderNodeBsdfPrincipled", **inputs)
    tree.links.new(node.outputs[0], output.inputs["Surface"])
    return material


def column(x: float, width: int = 40) -> int:
    """Pixel column of the scene's x (8 pixels a unit)."""
    return int(width / 2 + x * PIXELS)


def expect(picture: Picture, where: float | tuple[float, int], *values: Any) -> None:
    """Base colour, roughness and metallic at x (middle row) or (x, row)."""
    x, row = where if isinstance(where, tuple) else (where, None)
    at = column(x, picture.passes["rgb"].shape[1])
    np.testing.assert_allclose(picture.at("mask", at, row), 1.0, atol=1e-5)
    for name, value in zip(("basecolor", "roughness", "metallic"), values, strict=True):
        np.testing.assert_allclose(picture.at(name, at, row), value, atol=EXACT)


def test_five_materials_have_their_exact_values(tmp_path: Path) -> None:
    base_texels = np.array([[(255, 128, 0), (30, 60, 90)], [(200, 200, 200), (0, 255, 255)]], np.uint8)
    data_texels = np.array([[(9, 51, 255), (9, 255, 0)], [(9, 128, 128), (9, 204, 64)]], np.uint8)
    coloured = plane_glb(
        tmp_path / "vertex.glb",
        {
            "pbrMetallicRoughness": {
                "baseColorFactor": [0.5, 1.0, 0.8, 1],
                "metallicFactor": 0.25,
                "roughnessFactor": 0.7,
            }
        },
        colours=(0.8, 0.4, 0.1, 1.0),
    )
    textured = plane_glb(
        tmp_path / "textured.glb",
        {
            "pbrMetallicRoughness": {
                "baseColorFactor": [0.9, 0.5, 0.25, 1],
                "metallicFactor": 0.6,
                "roughnessFactor": 0.5,
                "baseColorTexture": {"index": 0},
                "metallicRoughnessTexture": {"index": 1},
            }
        },
        images=(png(base_texels), png(data_texels)),
    )

    def act(stage: Stage) -> None:
        dielectric = principled(Base_Color=(0.2, 0.4, 0.6), Roughness=0.35, Metallic=0.0)
        metal = principled(Base_Color=(0.95, 0.64, 0.54), Roughness=0.1, Metallic=1.0)
        mix, tree, output = nodes_material("mix")
        first = shader(tree, "ShaderNodeBsdfPrincipled", Base_Color=(0.1, 0.2, 0.9), Roughness=0.8, Metallic=0.0)
        second = shader(tree, "ShaderNodeBsdfPrincipled", Base_Color=(0.9, 0.8, 0.1), Roughness=0.2, Metallic=1.0)
        mixer = shader(tree, "ShaderNodeMixShader")
        mixer.inputs[0].default_value = 0.3
        tree.links.new(first.outputs[0], mixer.inputs[1])
        tree.links.new(second.outputs[0], mixer.inputs[2])
        tree.links.new(mixer.outputs[0], output.inputs["Surface"])
        for x, material in ((-2.0, dielectric), (-1.0, metal), (0.0, mix)):
            assert instrument(material).status == "resolved"
            stage.plane(x, material)
        for x, path in ((1.0, coloured), (2.0, textured)):
            thing = stage.add(import_plane(path), x)
            use = instrument(thing.material_slots[0].material)
            assert (use.status, use.detail) == ("resolved", "")

    picture = on_stage(tmp_path, act)
    expect(picture, -2.0, (0.2, 0.4, 0.6), 0.35, 0.0)
    expect(picture, -1.0, (0.95, 0.64, 0.54), 0.1, 1.0)
    expect(picture, 0.0, (0.34, 0.38, 0.66), 0.62, 0.3)
    expect(picture, 1.0, (0.4, 0.4, 0.08), 0.7, 0.25)
    for row, v in ((2, 0), (5, 1)):
        for x, u in ((1.75, 0), (2.25, 1)):
            colour = srgb_decode(base_texels[v, u] / 255) * (0.9, 0.5, 0.25)
            roughness, metallic = data_texels[v, u, 1] / 255 * 0.5, data_texels[v, u, 2] / 255 * 0.6
            expect(picture, (x, row), colour, roughness, metallic)


def test_of_stacked_alpha_planes_exactly_one_is_counted(tmp_path: Path) -> None:
    def act(stage: Stage) -> None:
        colours = ((0.9, 0.1, 0.1), (0.1, 0.9, 0.1), (0.1, 0.1, 0.9))
        for z, alpha, colour, rough in zip((2.0, 1.0, 0.0), (0.2, 0.9, 1.0), colours, (0.2, 0.4, 0.8), strict=True):
            material = principled(Base_Color=colour, Roughness=rough, Metallic=0.5, Alpha=alpha)
            assert instrument(material, threshold=0.5).status == "resolved"
            stage.plane(0.0, material, z, size=3.0)

    picture = on_stage(tmp_path, act, width=24, height=16, samples=64)
    inside = {name: plane[2:-2, 4:-4] for name, plane in picture.passes.items()}
    assert inside["mask"].max() <= 1.0 + 1e-5
    assert inside["mask"].mean() > 0.8  # paths that scatter at the thin plane (0.2) never reach the second
    mask = inside["mask"]
    np.testing.assert_allclose(inside["basecolor"] / mask, np.broadcast_to((0.1, 0.9, 0.1), (12, 16, 3)), atol=EXACT)
    np.testing.assert_allclose(inside["roughness"] / mask, 0.4, atol=EXACT)
    np.testing.assert_allclose(inside["metallic"] / mask, 0.5, atol=EXACT)


def test_a_cut_out_shows_what_lies_behind(tmp_path: Path) -> None:
    def act(stage: Stage) -> None:
        leaf, tree, output = nodes_material("leaf")
        uv = shader(tree, "ShaderNodeUVMap").outputs[0]
        split = shader(tree, "ShaderNodeSeparateXYZ", Vector=uv)
        half = shader(tree, "ShaderNodeMath")
        half.operation = "GREATER_THAN"
        tree.links.new(split.outputs[0], half.inputs[0])
        mixer = shader(tree, "ShaderNodeMixShader")
        tree.links.new(half.outputs[0], mixer.inputs[0])
        tree.links.new(shader(tree, "ShaderNodeBsdfTransparent").outputs[0], mixer.inputs[1])
        green = shader(tree, "ShaderNodeBsdfDiffuse", Color=(0.1, 0.6, 0.2))
        tree.links.new(green.outputs[0], mixer.inputs[2])
        tree.links.new(mixer.outputs[0], output.inputs["Surface"])
        assert instrument(leaf).status == "resolved"
        wall = principled(Base_Color=(0.7, 0.3, 0.3), Roughness=0.25)
        instrument(wall)
        stage.plane(0.0, leaf, 1.0, size=4.0)
        stage.plane(0.0, wall, 0.0, size=4.0)

    picture = on_stage(tmp_path, act, width=24)
    expect(picture, -1.0, (0.7, 0.3, 0.3), 0.25, 0.0)
    expect(picture, 1.0, (0.1, 0.6, 0.2), 1.0, 0.0)


def _group(name: str, output_type: str = "NodeSocketShader") -> tuple[Any, Any]:
    tree = bpy.data.node_groups.new(name, "ShaderNodeTree")
    tree.interface.new_socket("Out", in_out="OUTPUT", socket_type=output_type)
    return tree, tree.nodes.new("NodeGroupOutput")


def test_values_come_out_of_nested_groups_and_differ_by_instance(tmp_path: Path) -> None:
    def act(stage: Stage) -> None:
        inner, inner_end = _group("inner")
        inner.interface.new_socket("Tint", in_out="INPUT", socket_type="NodeSocketColor")
        inner.interface.new_socket("Polish", in_out="INPUT", socket_type="NodeSocketFloat")
        start = inner.nodes.new("NodeGroupInput")
        half = shader(inner, "ShaderNodeMath", Value=start.outputs["Polish"])
        half.operation = "MULTIPLY"
        half.inputs[1].default_value = 0.5
        body = shader(
            inner, "ShaderNodeBsdfPrincipled", Base_Color=start.outputs["Tint"], Roughness=half.outputs[0], Metallic=0.4
        )
        inner.links.new(body.outputs[0], inner_end.inputs[0])
        outer, outer_end = _group("outer")
        outer.interface.new_socket("Polish", in_out="INPUT", socket_type="NodeSocketFloat")
        begin = outer.nodes.new("NodeGroupInput")
        nested = outer.nodes.new("ShaderNodeGroup")
        nested.node_tree = inner
        nested.inputs["Tint"].default_value = (0.3, 0.6, 0.9, 1.0)
        outer.links.new(begin.outputs["Polish"], nested.inputs["Polish"])
        outer.links.new(nested.outputs[0], outer_end.inputs[0])
        for x, polish in ((-1.0, 0.2), (0.0, 0.9)):
            material, tree, output = nodes_material()
            node = tree.nodes.new("ShaderNodeGroup")
            node.node_tree = outer
            node.inputs["Polish"].default_value = polish
            tree.links.new(node.outputs[0], output.inputs["Surface"])
            assert instrument(material).status == "resolved"
            stage.plane(x, material)
        assert len(outer.interface.items_tree) == 2, "the shared group itself stays as it was"

    picture = on_stage(tmp_path, act)
    expect(picture, -1.0, (0.3, 0.6, 0.9), 0.1, 0.4)
    expect(picture, 0.0, (0.3, 0.6, 0.9), 0.45, 0.4)


def test_a_shader_handed_into_a_group_is_followed_out_again(tmp_path: Path) -> None:
    def act(stage: Stage) -> None:
        group, end = _group("weathering")
        group.interface.new_socket("Clean", in_out="INPUT", socket_type="NodeSocketShader")
        start = group.nodes.new("NodeGroupInput")
        dirt = shader(group, "ShaderNodeBsdfDiffuse", Color=(0.2, 0.1, 0.0))
        mixer = shader(group, "ShaderNodeMixShader")
        mixer.inputs[0].default_value = 0.25
        group.links.new(start.outputs["Clean"], mixer.inputs[1])
        group.links.new(dirt.outputs[0], mixer.inputs[2])
        group.links.new(mixer.outputs[0], end.inputs[0])
        material, tree, output = nodes_material()
        attribute = shader(tree, "ShaderNodeUVMap")
        clean = shader(tree, "ShaderNodeBsdfPrincipled", Base_Color=(0.8, 0.8, 0.8), Roughness=0.4, Metallic=1.0)
        split = shader(tree, "ShaderNodeSeparateXYZ", Vector=attribute.outputs[0])
        tree.links.new(split.outputs[0], clean.inputs["Roughness"])
        node = tree.nodes.new("ShaderNodeGroup")
        node.node_tree = group
        tree.links.new(clean.outputs[0], node.inputs["Clean"])
        tree.links.new(node.outputs[0], output.inputs["Surface"])
        assert instrument(material).status == "resolved"
        stage.plane(0.0, material, size=4.0)

    picture = on_stage(tmp_path, act)
    for pixel in (8, 20, 31):
        u = ((pixel + 0.5) - 20) / 32 + 0.5
        np.testing.assert_allclose(picture.at("roughness", pixel), 0.75 * u + 0.25, atol=0.01)
        np.testing.assert_allclose(picture.at("basecolor", pixel), (0.65, 0.625, 0.6), atol=EXACT)
        np.testing.assert_allclose(picture.at("metallic", pixel), 0.75, atol=EXACT)


def test_reroutes_muted_nodes_and_the_active_output_are_respected(tmp_path: Path) -> None:
    def act(stage: Stage) -> None:
        rerouted, tree, output = nodes_material()
        body = shader(tree, "ShaderNodeBsdfPrincipled", Base_Color=(0.2, 0.5, 0.7), Roughness=0.3)
        one, two = tree.nodes.new("NodeReroute"), tree.nodes.new("NodeReroute")
        tree.links.new(body.outputs[0], one.inputs[0])
        tree.links.new(one.outputs[0], two.inputs[0])
        tree.links.new(two.outputs[0], output.inputs["Surface"])
        rough = shader(tree, "ShaderNodeValue")
        rough.outputs[0].default_value = 0.9
        bend = tree.nodes.new("NodeReroute")
        tree.links.new(rough.outputs[0], bend.inputs[0])
        tree.links.new(bend.outputs[0], body.inputs["Metallic"])

        muted, tree, output = nodes_material()
        first = shader(tree, "ShaderNodeBsdfPrincipled", Base_Color=(0.6, 0.6, 0.1), Roughness=0.55)
        second = shader(tree, "ShaderNodeEmission")
        mixer = shader(tree, "ShaderNodeMixShader")
        tree.links.new(first.outputs[0], mixer.inputs[1])
        tree.links.new(second.outputs[0], mixer.inputs[2])
        tree.links.new(mixer.outputs[0], output.inputs["Surface"])
        mixer.mute = True

        several, tree, output = nodes_material()
        shown = shader(tree, "ShaderNodeBsdfGlossy", Color=(0.9, 0.7, 0.3), Roughness=0.2)
        hidden = shader(tree, "ShaderNodeBsdfDiffuse", Color=(1.0, 0.0, 0.0))
        eevee, spare = tree.nodes.new("ShaderNodeOutputMaterial"), tree.nodes.new("ShaderNodeOutputMaterial")
        eevee.target = "EEVEE"
        for node, source in ((output, shown), (eevee, hidden), (spare, hidden)):
            tree.links.new(source.outputs[0], node.inputs["Surface"])
            node.is_active_output = node is not spare
        for x, material in ((-1.0, rerouted), (0.0, muted), (1.0, several)):
            assert instrument(material).status == "resolved"
            stage.plane(x, material)

    picture = on_stage(tmp_path, act)
    expect(picture, -1.0, (0.2, 0.5, 0.7), 0.3, 0.9)
    expect(picture, 0.0, (0.6, 0.6, 0.1), 0.55, 0.0)
    expect(picture, 1.0, (0.9, 0.7, 0.3), 0.2, 1.0)


def test_every_slot_of_a_mesh_has_its_own_values(tmp_path: Path) -> None:
    def act(stage: Stage) -> None:
        materials = [principled(Base_Color=(level, 0.5, 0.5), Roughness=level) for level in (0.25, 0.75)]
        mesh = bpy.data.meshes.new("strip")
        corners = [(x, y, 0) for x in (-1, 0, 1) for y in (-0.5, 0.5)]
        mesh.from_pydata(corners, [], [(0, 2, 3, 1), (2, 4, 5, 3)])
        for number, material in enumerate(materials):
            instrument(material)
            mesh.materials.append(material)
            mesh.polygons[number].material_index = number
        stage.add(bpy.data.objects.new("strip", mesh))

    picture = on_stage(tmp_path, act)
    expect(picture, -0.5, (0.25, 0.5, 0.5), 0.25, 0.0)
    expect(picture, 0.5, (0.75, 0.5, 0.5), 0.75, 0.0)


def test_values_beyond_the_range_are_clamped_and_foreign_aovs_do_not_add_up(tmp_path: Path) -> None:
    def act(stage: Stage) -> None:
        material, tree, output = nodes_material()
        high = shader(tree, "ShaderNodeCombineXYZ", X=3.0, Y=0.5, Z=-1.0)
        steep = shader(tree, "ShaderNodeMath", Value=2.0)
        body = shader(
            tree, "ShaderNodeBsdfPrincipled", Base_Color=high.outputs[0], Roughness=steep.outputs[0], Metallic=1.0
        )
        tree.links.new(body.outputs[0], output.inputs["Surface"])
        foreign = tree.nodes.new("ShaderNodeOutputAOV")
        foreign.aov_name = "roughness"
        foreign.inputs["Value"].default_value = 5.0
        instrument(material)
        instrument(material)
        stage.plane(0.0, material)

    picture = on_stage(tmp_path, act)
    expect(picture, 0.0, (1.0, 0.5, 0.0), 1.0, 1.0)


def test_transparency_changes_the_opacity_and_never_the_colour(tmp_path: Path) -> None:
    def act(stage: Stage) -> None:
        material, tree, output = nodes_material()
        mixer = shader(tree, "ShaderNodeMixShader")
        mixer.inputs[0].default_value = 0.75
        body = shader(tree, "ShaderNodeBsdfPrincipled", Base_Color=(0.4, 0.6, 0.8), Roughness=0.35, Metallic=0.2)
        tree.links.new(shader(tree, "ShaderNodeBsdfTransparent").outputs[0], mixer.inputs[1])
        tree.links.new(body.outputs[0], mixer.inputs[2])
        tree.links.new(mixer.outputs[0], output.inputs["Surface"])
        assert instrument(material).status == "resolved"
        stage.plane(0.0, material)

    expect(on_stage(tmp_path, act), 0.0, (0.4, 0.6, 0.8), 0.35, 0.2)


def test_the_geometric_normal_ignores_the_shading_normal(tmp_path: Path) -> None:
    def act(stage: Stage) -> None:
        material, tree, output = nodes_material()
        tilt = shader(tree, "ShaderNodeNormal")
        tilt.outputs["Normal"].default_value = (0.6, 0.0, 0.8)
        body = shader(tree, "ShaderNodeBsdfPrincipled", Normal=tilt.outputs["Normal"])
        tree.links.new(body.outputs[0], output.inputs["Surface"])
        instrument(material, want_geometric_normal=True)
        stage.plane(0.0, material)

    picture = on_stage(tmp_path, act)
    np.testing.assert_allclose(picture.at("geometric_normal", 20), (0, 0, 1), atol=1e-5)
    np.testing.assert_allclose(picture.at("normal", 20), (0.6, 0, 0.8), atol=1e-3)
