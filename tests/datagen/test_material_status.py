"""What `instrument` says about materials that are not plain metallic-roughness, and what it writes for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy
import numpy as np
import pytest

from datagen.blender.material_aovs import instrument
from tests.datagen.glb import import_plane, plane_glb
from tests.datagen.harness import Stage, nodes_material, on_stage, shader

pytestmark = pytest.mark.usefixtures("cpu")


def _single(kind: str, **inputs: Any) -> tuple[Any, Any]:
    material, tree, output = nodes_material(kind)
    node = shader(tree, kind, **inputs)
    tree.links.new(node.outputs[0], output.inputs["Surface"])
    return material, node


def _values(material: Any) -> dict[str, Any]:
    """Constants of the AOV nodes by name; None where a node is linked."""
    found: dict[str, Any] = {}
    for node in material.node_tree.nodes:
        if node.bl_idname == "ShaderNodeOutputAOV":
            socket = node.inputs["Color" if node.aov_name == "basecolor" else "Value"]
            value = socket.default_value
            constant = tuple(round(part, 5) for part in value[:3]) if node.aov_name == "basecolor" else round(value, 5)
            found[node.aov_name] = None if socket.is_linked else constant
    return found


@pytest.mark.parametrize(
    ("kind", "inputs", "status", "values"),
    [
        ("ShaderNodeBsdfDiffuse", {"Color": (0.2, 0.4, 0.6)}, "resolved", ((0.2, 0.4, 0.6), 1.0, 0.0, 1.0)),
        (
            "ShaderNodeBsdfGlossy",
            {"Color": (0.9, 0.8, 0.7), "Roughness": 0.25},
            "resolved",
            ((0.9, 0.8, 0.7), 0.25, 1, 1),
        ),
        ("ShaderNodeBsdfGlass", {"Color": (1, 1, 1), "Roughness": 0.5}, "approximated", ((1, 1, 1), 0.5, 0.0, 1.0)),
        ("ShaderNodeSubsurfaceScattering", {"Color": (1, 0.5, 0)}, "approximated", ((1, 0.5, 0), 1.0, 0.0, 1.0)),
        ("ShaderNodeBsdfTranslucent", {"Color": (0, 0.5, 0)}, "approximated", ((0, 0.5, 0), 1.0, 0.0, 1.0)),
        ("ShaderNodeBsdfTransparent", {}, "resolved", ((0, 0, 0), 0.0, 0.0, 0.0)),
        ("ShaderNodeEmission", {"Strength": 3.0}, "unlit", ((0, 0, 0), 0.5, 0.0, 1.0)),
        ("ShaderNodeBsdfHair", {}, "constant-fallback", ((0.5, 0.5, 0.5), 0.5, 0.0, 1.0)),
        ("ShaderNodeBsdfPrincipled", {"Alpha": 0.3}, "resolved", ((0, 0, 0), 0.0, 0.0, 0.0)),
        (
            "ShaderNodeBsdfPrincipled",
            {"Base_Color": (0.5, 0.25, 1), "Roughness": 0.75, "Transmission_Weight": 1.0},
            "approximated",
            ((0.5, 0.25, 1), 0.75, 0.0, 1.0),
        ),
    ],
)
def test_each_kind_of_shader_has_a_status_and_constants(
    kind: str, inputs: dict[str, Any], status: str, values: tuple[Any, ...]
) -> None:
    material, _ = _single(kind, **inputs)
    use = instrument(material)
    assert (use.name, use.status) == (kind, status)
    names = ("basecolor", "roughness", "metallic", "mask")
    found = _values(material)
    for name, value in zip(names, values, strict=True):
        np.testing.assert_allclose(found[name], value, atol=1e-5)


def test_a_conductor_by_its_refractive_index_has_its_reflectance() -> None:
    material, node = _single("ShaderNodeBsdfMetallic", Roughness=0.3)
    node.fresnel_type = "PHYSICAL_CONDUCTOR"
    node.inputs["IOR"].default_value = (0.2, 0.9, 1.5)
    node.inputs["Extinction"].default_value = (3.9, 2.4, 1.9)
    assert instrument(material).status == "resolved"
    expected = ((0.64 + 15.21) / (1.44 + 15.21), (0.01 + 5.76) / (3.61 + 5.76), (0.25 + 3.61) / (6.25 + 3.61))
    np.testing.assert_allclose(_values(material)["basecolor"], expected, atol=1e-4)


def test_layers_on_top_are_named_and_change_nothing() -> None:
    material, _ = _single("ShaderNodeBsdfPrincipled", Roughness=0.5, Coat_Weight=1.0, Sheen_Weight=0.5)
    use = instrument(material)
    assert (use.status, use.detail) == ("resolved", "coat; sheen")
    assert _values(material)["roughness"] == 0.5


def test_a_material_without_a_surface_is_empty() -> None:
    bare, _, _ = nodes_material()
    volume, volume_tree, output = nodes_material()
    volume_tree.links.new(shader(volume_tree, "ShaderNodeVolumePrincipled").outputs[0], output.inputs["Volume"])
    headless, headless_tree, end = nodes_material()
    headless_tree.nodes.remove(end)
    for material in (bare, volume, headless):
        assert instrument(material).status == "empty"
        assert _values(material)["mask"] == 1.0


def test_a_missing_image_is_named_even_inside_a_group(tmp_path: Path) -> None:
    material, tree, output = nodes_material()
    group = bpy.data.node_groups.new("textured", "ShaderNodeTree")
    group.interface.new_socket("Colour", in_out="OUTPUT", socket_type="NodeSocketColor")
    image = bpy.data.images.new("lost.png", 4, 4)
    image.source, image.filepath = "FILE", str(tmp_path / "lost.png")
    texture = shader(group, "ShaderNodeTexImage")
    texture.image = image
    group.links.new(texture.outputs[0], group.nodes.new("NodeGroupOutput").inputs[0])
    node = tree.nodes.new("ShaderNodeGroup")
    node.node_tree = group
    body = shader(tree, "ShaderNodeBsdfPrincipled", Base_Color=node.outputs[0])
    tree.links.new(body.outputs[0], output.inputs["Surface"])
    use = instrument(material)
    assert (use.status, use.detail) == ("missing-texture", "lost.png")


def test_a_missing_image_that_nothing_uses_does_not_matter() -> None:
    material, _ = _single("ShaderNodeBsdfPrincipled")
    shader(material.node_tree, "ShaderNodeTexImage")
    assert instrument(material).status == "resolved"


def test_diffuse_and_glossy_joined_by_fresnel_are_a_dielectric() -> None:
    material, tree, output = nodes_material()
    mixer = shader(tree, "ShaderNodeMixShader", Factor=shader(tree, "ShaderNodeFresnel").outputs[0])
    tree.links.new(shader(tree, "ShaderNodeBsdfDiffuse", Color=(0.1, 0.3, 0.5)).outputs[0], mixer.inputs[1])
    tree.links.new(shader(tree, "ShaderNodeBsdfGlossy", Roughness=0.2).outputs[0], mixer.inputs[2])
    tree.links.new(mixer.outputs[0], output.inputs["Surface"])
    assert instrument(material).status == "approximated"
    assert _values(material) == {"basecolor": (0.1, 0.3, 0.5), "roughness": 0.2, "metallic": 0.0, "mask": 1.0}


def test_emission_beside_a_bsdf_is_told_and_does_not_darken(tmp_path: Path) -> None:
    material, tree, output = nodes_material()
    both = shader(tree, "ShaderNodeAddShader")
    tree.links.new(shader(tree, "ShaderNodeEmission", Strength=0.5).outputs[0], both.inputs[0])
    body = shader(tree, "ShaderNodeBsdfPrincipled", Base_Color=(0.5, 0.5, 0.25), Roughness=0.4)
    tree.links.new(body.outputs[0], both.inputs[1])
    tree.links.new(both.outputs[0], output.inputs["Surface"])
    use = instrument(material)
    assert (use.status, use.detail) == ("approximated", "emission beside a BSDF")
    assert _values(material)["basecolor"] == (0.5, 0.5, 0.25)


def test_an_unlit_glb_is_unlit_and_opaque(tmp_path: Path) -> None:
    path = plane_glb(
        tmp_path / "unlit.glb",
        {"pbrMetallicRoughness": {"baseColorFactor": [0.5, 0.5, 0, 1]}, "extensions": {"KHR_materials_unlit": {}}},
        extensions=("KHR_materials_unlit",),
    )

    def act(stage: Stage) -> None:
        thing = stage.add(import_plane(path))
        assert instrument(thing.material_slots[0].material).status == "unlit"

    picture = on_stage(tmp_path, act)
    np.testing.assert_allclose(picture.at("mask", 20), 1.0, atol=1e-6)
    np.testing.assert_allclose(picture.at("basecolor", 20), 0.0, atol=1e-6)
    np.testing.assert_allclose(picture.at("roughness", 20), 0.5, atol=1e-6)


def test_a_spec_gloss_glb_is_never_called_resolved(tmp_path: Path) -> None:
    extension = {"diffuseFactor": [0.4, 0.2, 0.1, 1], "specularFactor": [0.9, 0.9, 0.9], "glossinessFactor": 0.7}
    path = plane_glb(
        tmp_path / "gloss.glb",
        {"extensions": {"KHR_materials_pbrSpecularGlossiness": extension}},
        extensions=("KHR_materials_pbrSpecularGlossiness",),
    )
    use = instrument(import_plane(path).material_slots[0].material)
    assert use.status == "approximated"
    assert "specular-glossiness" in use.detail
