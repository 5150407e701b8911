"""From a spec's material to a Blender material: constants, node-graph families and folders of texture maps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy

from datagen.blender.graphs import GRAPHS, SETTING_GRAPHS, Canvas, MaterialParameters
from datagen.blender.graphs.node_canvas import Number, Socket
from datagen.resolver import Resolver
from manifests.errors import RenderError, SpecError
from scenes.spec import Material, Native, Principled, Procedural, TextureSet
from scenes.texturesets import find_maps

_DARKEST = 0.02  # no dielectric is darker; also keeps shaded gaps from turning black

PLAIN = Principled(uid="plain", basecolor=(0.8, 0.8, 0.8), roughness=0.5, metallic=0.0)
"""Grey dielectric for surfaces that came without a material."""


def build_material(material: Material, resolver: Resolver | None = None) -> Any:
    """A new bpy.types.Material whose only shader is one Principled BSDF at the active output.

    `resolver` finds texture folders; no other material needs one.
    Raises SpecError for a family or parameter that does not exist and for `Native` (its materials come with the mesh),
    RenderError `missing-texture` or `bad-image` for a texture folder without maps or with one that cannot be read.
    """
    if isinstance(material, Native):
        raise SpecError("native materials come with their mesh and are not built")
    built = bpy.data.materials.new(material.uid)
    tree = built.node_tree
    tree.nodes.clear()
    shader = tree.nodes.new("ShaderNodeBsdfPrincipled")
    output = tree.nodes.new("ShaderNodeOutputMaterial")
    tree.links.new(shader.outputs[0], output.inputs["Surface"])
    match material:
        case Principled():
            _constants(material, shader)
        case Procedural():
            _graph(material, shader, tree)
        case TextureSet():
            assert resolver is not None
            _textures(material, resolver.path(material), shader, tree)
    return built


def _constants(material: Principled, shader: Any) -> None:
    inputs = shader.inputs
    inputs["Base Color"].default_value = (*material.basecolor, 1.0)
    inputs["Roughness"].default_value = material.roughness
    inputs["Metallic"].default_value = material.metallic
    inputs["IOR"].default_value = material.ior
    inputs["Transmission Weight"].default_value = material.transmission
    inputs["Coat Weight"].default_value = material.coat
    inputs["Sheen Weight"].default_value = material.sheen


def _graph(material: Procedural, shader: Any, tree: Any) -> None:
    paint = GRAPHS.get(material.family) or SETTING_GRAPHS.get(material.family)
    if paint is None:
        raise SpecError(f"no material family {material.family!r}", f"there are {', '.join(GRAPHS)}", where=material.uid)
    params = MaterialParameters(material.family, material.params)
    canvas = Canvas(tree, material.size, params.colour("offset"))
    surface = paint(canvas, params)
    shader.inputs["IOR"].default_value = surface.ior
    canvas.feed(shader.inputs["Base Color"], canvas.vector("MAXIMUM", surface.basecolor, (_DARKEST,) * 3))
    canvas.feed(shader.inputs["Roughness"], canvas.math("MINIMUM", surface.roughness, 1.0))
    canvas.feed(shader.inputs["Metallic"], surface.metallic)
    depth = params.number("depth")
    if surface.slope is not None:
        lean = canvas.vector("SCALE", surface.slope, -depth)
        canvas.feed(shader.inputs["Normal"], canvas.leaning(lean))
    if surface.height is not None:
        _bump(canvas, shader, surface.height, depth)


def _bump(canvas: Canvas, shader: Any, height: Number, depth: float) -> None:
    bump = canvas.node("ShaderNodeBump")
    bump.inputs["Distance"].default_value = depth * canvas.size
    bump.inputs["Filter Width"].default_value = 1.0  # relief finer than a pixel fades instead of sparkling
    canvas.feed(bump.inputs["Height"], height)
    canvas.feed(shader.inputs["Normal"], bump.outputs[0])


def _textures(material: TextureSet, folder: Path, shader: Any, tree: Any) -> None:
    maps = find_maps(folder)
    if maps.basecolor is None:
        raise RenderError("missing-texture", maps.problem or "no base colour map", str(folder), where=material.uid)
    canvas = Canvas(tree, material.size)
    inputs = shader.inputs
    canvas.feed(inputs["Base Color"], _image(canvas, material.uid, maps.basecolor, colour=True))
    if maps.packed is not None:
        node = canvas.node("ShaderNodeSeparateColor")
        canvas.feed(node.inputs[0], _image(canvas, material.uid, maps.packed))
        canvas.feed(inputs["Roughness"], node.outputs[1])
        canvas.feed(inputs["Metallic"], node.outputs[2])
    if maps.roughness is not None:
        canvas.feed(inputs["Roughness"], _image(canvas, material.uid, maps.roughness))
    elif maps.gloss is not None:
        canvas.feed(inputs["Roughness"], canvas.math("SUBTRACT", 1.0, _image(canvas, material.uid, maps.gloss)))
    if maps.metallic is not None:
        canvas.feed(inputs["Metallic"], _image(canvas, material.uid, maps.metallic))
    if maps.opacity is not None:
        canvas.feed(inputs["Alpha"], _image(canvas, material.uid, maps.opacity))
    normal = maps.normal or maps.normal_dx
    if normal is not None:
        sample = canvas.vector("MULTIPLY_ADD", _image(canvas, material.uid, normal), (2.0,) * 3, (-1.0,) * 3)
        slope_u, slope_v, rest = canvas.split(sample)
        if maps.normal is None:
            slope_v = canvas.math("MULTIPLY", slope_v, -1.0)
        canvas.feed(inputs["Normal"], canvas.leaning(canvas.unfold(slope_u, slope_v), rest))
    elif maps.height is not None:
        _bump(canvas, shader, _image(canvas, material.uid, maps.height), depth=0.02)


def _image(canvas: Canvas, uid: str, path: Path, colour: bool = False) -> Socket:
    try:
        image = bpy.data.images.load(str(path), check_existing=True)
    except RuntimeError as error:
        raise RenderError("bad-image", f"{path} cannot be opened: {error}", where=uid) from None
    if 0 in image.size:
        raise RenderError("bad-image", f"{path} is not an image that Blender can read", where=uid)
    if not colour:
        image.colorspace_settings.name = "Non-Color"
    elif not image.is_float:
        image.colorspace_settings.name = "sRGB"
    node = canvas.node("ShaderNodeTexImage", image=image)
    canvas.feed(node.inputs["Vector"], canvas.planar)
    return node.outputs["Color"]
