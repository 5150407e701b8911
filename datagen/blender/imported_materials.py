"""Materials that an importer made: Phong put right as roughness, colours of vertices brought in, images checked."""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from datagen.assets.asset_file import AssetError, AssetLimits, Inspection, inside, shown
from datagen.assets.texture_images import check_header
from datagen.assets.wavefront import Phong
from manifests.contract.color import srgb_decode, srgb_encode

_DIELECTRIC_IOR = 1.5
_WHITEST = 1.01


def set_phong(materials: Iterable[Any], phong: Iterable[Phong]) -> None:
    """Set roughness, metallic and reflectance of the materials of an OBJ from those of its MTL libraries.

    Roughness is `Phong.perceptual_roughness` and metallic `Phong.metalness`, unless a map drives them. All are
    dielectrics of index 1.5: Phong's Ks and Ni (1.0 in most files) are artistic numbers that no attribute of the
    dataset shows.
    A constant opacity below 1 means glass, so it becomes transmission: as alpha it would be a surface that is there
    for some camera rays only, and depth and instance would come out as noise.
    """
    listed = {one.name: one for one in phong}
    for material in materials:
        given = listed.get(_name_in(material, listed))
        node = principled_of(material)
        if given is None or node is None:
            continue
        kinds = {kind for kind, _ in given.maps}
        if not kinds & {"map_ns", "map_pr"}:
            _fix(material, node, "Roughness", given.perceptual_roughness)
        if "map_pm" not in kinds:  # the importer also takes a reflection image for metalness
            _fix(material, node, "Metallic", given.metalness)
        _fix(material, node, "IOR", _DIELECTRIC_IOR)
        _fix(material, node, "Specular IOR Level", 0.5)
        if "map_d" not in kinds:
            _fix(material, node, "Alpha", 1.0)  # the importer takes the last of `d` and `Tr`
        if given.opacity < 1.0 and "map_d" not in kinds:
            _fix(material, node, "Transmission Weight", 1.0 - max(given.opacity, 0.0))


def set_obj_colours(meshes: Iterable[Any], display: bool, complete: set[str]) -> None:
    """Colours on the `v` lines of an OBJ as the file means them, in every material without a texture.

    Blender decodes all as sRGB; `display` says that the file's are. Others are linear, as Kd and glTF's COLOR_0 are.
    Values beyond 1 are bytes. Kd is their factor, as in glTF, but for the materials named in `complete`.
    """
    coloured = [mesh for mesh in meshes if vertex_colours(mesh)]
    written = [srgb_encode(_colours_of(mesh)[:, :3]) for mesh in coloured]
    scale = 255.0 if any(values.max(initial=0.0) > _WHITEST for values in written) else 1.0
    for mesh, values in zip(coloured, written, strict=True):
        colours = _colours_of(mesh)
        colours[:, :3] = srgb_decode(values / scale) if display else values / scale
        mesh.color_attributes[vertex_colours(mesh)].data.foreach_set("color", colours.ravel())
    plain = {slot for mesh in meshes for slot in mesh.materials if not vertex_colours(mesh)}  # shown without any
    for material, name in {slot: vertex_colours(mesh) for mesh in coloured for slot in mesh.materials}.items():
        skipped = material is None or material in plain or _name_in(material, complete) in complete
        node = None if skipped else principled_of(material)
        if node is not None and not node.inputs["Base Color"].is_linked:
            feed_vertex_colours(material, node, name)


def vertex_colours(mesh: Any) -> str:
    """Name of the colour attribute that a mesh is rendered with; "" without one."""
    index = mesh.color_attributes.render_color_index
    return mesh.color_attributes[index].name if 0 <= index < len(mesh.color_attributes) else ""


def feed_vertex_colours(material: Any, node: Any, name: str) -> None:
    """Multiply the base colour of a Principled BSDF, a constant, by the colour attribute `name`."""
    tree, base = material.node_tree, node.inputs["Base Color"]
    colours, product = tree.nodes.new("ShaderNodeVertexColor"), tree.nodes.new("ShaderNodeVectorMath")
    colours.layer_name, product.operation = name, "MULTIPLY"
    product.inputs[1].default_value = tuple(base.default_value)[:3]
    tree.links.new(colours.outputs["Color"], product.inputs[0])
    tree.links.new(product.outputs[0], base)


def _colours_of(mesh: Any) -> np.ndarray:
    """(N, 4) linear."""
    data = mesh.color_attributes[vertex_colours(mesh)].data
    values = np.empty(4 * len(data), dtype=np.float32)
    data.foreach_get("color", values)
    return values.reshape(-1, 4)


def check_images(materials: Iterable[Any], folder: Path, limits: AssetLimits) -> None:
    """Every image that the materials use is packed or a file below `folder`, of a known format and a sane size.

    Paths with backslashes are put right. Raises AssetError: escapes-folder, missing-texture, bad-texture, too-large.
    """
    for image in _images(material.node_tree for material in materials):
        if image.source == "GENERATED" and image.packed_file is None:
            continue
        if image.source not in ("FILE", "GENERATED"):
            raise AssetError("bad-texture", f"{shown(image.name)} is a {image.source.lower()} image")
        if image.packed_file is not None:
            check_header(image.packed_file.data, image.name, limits)
            continue
        target = inside(folder, bpy.path.abspath(image.filepath), "missing-texture")
        check_header(target, image.name, limits)
        image.filepath = str(target)


def described(inspection: Inspection, materials: Iterable[Any], coloured: bool) -> Inspection:
    """Inspection completed from the imported materials, for formats that are not read before the import."""
    nodes = [node for node in map(principled_of, materials) if node is not None]
    drawn = [node.inputs[name] for node in nodes for name in ("Roughness", "Metallic")]
    values = {tuple(round(node.inputs[name].default_value, 4) for name in ("Roughness", "Metallic")) for node in nodes}
    return replace(
        inspection,
        textured=any(node.inputs["Base Color"].is_linked for node in nodes),
        constant_specular=not any(socket.is_linked for socket in drawn) and len(values) <= 1,
        vertex_colours=coloured,
        alpha=any(node.inputs["Alpha"].is_linked or node.inputs["Alpha"].default_value < 1.0 for node in nodes),
    )


def _images(trees: Iterable[Any]) -> list[Any]:
    """Images of node trees and the groups in them, each once."""
    found: dict[Any, None] = {}
    seen: set[Any] = set()
    waiting = list(trees)
    while waiting:
        tree = waiting.pop()
        if tree is None or tree in seen:
            continue
        seen.add(tree)
        for node in tree.nodes:
            image = getattr(node, "image", None)
            if image is not None:
                found[image] = None
            waiting.append(getattr(node, "node_tree", None))
    return list(found)


def principled_of(material: Any) -> Any:
    """The first Principled BSDF of a material, or None."""
    return next((node for node in material.node_tree.nodes if node.bl_idname == "ShaderNodeBsdfPrincipled"), None)


def _name_in(material: Any, names: Container[str]) -> str:
    """What the file calls a material, which Blender numbers where it has another of that name."""
    return str(material.name) if material.name in names else str(material.name.rsplit(".", 1)[0])


def _fix(material: Any, node: Any, name: str, value: float) -> None:
    """Give an input a constant, cutting what drives it."""
    for link in list(node.inputs[name].links):
        material.node_tree.links.remove(link)
    node.inputs[name].default_value = value
