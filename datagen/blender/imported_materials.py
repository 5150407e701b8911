"""Materials that an importer made: Phong put right as roughness, every image checked before a pixel of it is read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import bpy

from datagen.assets.asset_file import AssetError, AssetLimits, Inspection, inside, shown
from datagen.assets.texture_images import check_header
from datagen.assets.wavefront import Phong

_DIELECTRIC_IOR = 1.5


def set_phong(materials: Iterable[Any], phong: Iterable[Phong]) -> None:
    """Set roughness, metallic and reflectance of the materials of an OBJ from those of its MTL libraries.

    Roughness is `Phong.perceptual_roughness` and metallic `Pm` or 0, unless a map drives them. All are dielectrics of
    index 1.5: Phong's Ks and Ni (1.0 in most files) are artistic numbers that no attribute of the dataset shows.
    A constant opacity below 1 means glass, so it becomes transmission: as alpha it would be a surface that is there
    for some camera rays only, and depth and instance would come out as noise.
    """
    listed = {one.name: one for one in phong}
    for material in materials:
        given = listed.get(material.name) or listed.get(material.name.rsplit(".", 1)[0])
        node = _principled(material)
        if given is None or node is None:
            continue
        kinds = {kind for kind, _ in given.maps}
        if not kinds & {"map_ns", "map_pr"}:
            _fix(material, node, "Roughness", given.perceptual_roughness)
        if "map_pm" not in kinds:  # the importer also takes a reflection image for metalness
            _fix(material, node, "Metallic", _metallic(given))
        _fix(material, node, "IOR", _DIELECTRIC_IOR)
        _fix(material, node, "Specular IOR Level", 0.5)
        if "map_d" not in kinds:
            _fix(material, node, "Alpha", 1.0)  # the importer takes the last of `d` and `Tr`
        if given.opacity < 1.0 and "map_d" not in kinds:
            _fix(material, node, "Transmission Weight", 1.0 - max(given.opacity, 0.0))


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


def described(inspection: Inspection, materials: Iterable[Any]) -> Inspection:
    """Inspection completed from the imported materials, for formats that are not read before the import."""
    nodes = [node for node in map(_principled, materials) if node is not None]
    drawn = [node.inputs[name] for node in nodes for name in ("Roughness", "Metallic")]
    values = {tuple(round(node.inputs[name].default_value, 4) for name in ("Roughness", "Metallic")) for node in nodes}
    return replace(
        inspection,
        textured=any(node.inputs["Base Color"].is_linked for node in nodes),
        constant_specular=not any(socket.is_linked for socket in drawn) and len(values) <= 1,
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


def _metallic(phong: Phong) -> float:
    return min(max(phong.metallic or 0.0, 0.0), 1.0)


def _principled(material: Any) -> Any:
    return next((node for node in material.node_tree.nodes if node.bl_idname == "ShaderNodeBsdfPrincipled"), None)


def _fix(material: Any, node: Any, name: str, value: float) -> None:
    """Give an input a constant, cutting what drives it."""
    for link in list(node.inputs[name].links):
        material.node_tree.links.remove(link)
    node.inputs[name].default_value = value
