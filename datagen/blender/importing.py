"""Bring a mesh file of any origin into Blender: as plain meshes under one root, or as a typed rejection.

The importers trust their files and report failure on the terminal. So a file is checked before
(`datagen.assets.inspection`) and imported in a scene of its own; what was printed is read, what was loaded is
checked, and everything but the meshes and their materials is removed again.
"""

from __future__ import annotations

import importlib
import os
import posixpath
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import bpy

from datagen.assets import specgloss
from datagen.assets.asset_file import DEFAULT_LIMITS, AssetError, AssetLimits, Inspection, check_file, inside, shown
from datagen.assets.gltf import Gltf
from datagen.assets.inspection import open_asset
from datagen.assets.wavefront import Wavefront
from datagen.blender.capture import captured
from datagen.blender.imported_materials import (
    check_images,
    described,
    feed_vertex_colours,
    principled_of,
    set_obj_colours,
    set_phong,
    vertex_colours,
)
from datagen.blender.material_nodes import PLAIN, WHITE, build_material
from datagen.blender.normalising import normalise
from datagen.blender.session import snapshot
from scenes.spec import Footprint

_GLTF_ERROR = re.compile(r"^\d\d:\d\d:\d\d \| (?:ERROR|CRITICAL).*", re.MULTILINE)
_PLY_ERROR = re.compile(r"Invalid PLY vertex index.*")  # a warning: it takes vertex 0
_USD_ERROR = re.compile(r" in file \S+ : '(.*?)'?\s*(?:\n|$)")  # what is wrong, without where in OpenUSD's source
_USED = ("meshes", "materials", "node_groups", "images", "textures")  # in the order in which users go away
_USD_OPTIONS = {
    "import_cameras": False,
    "import_lights": False,
    "import_volumes": False,
    "import_points": False,
    "set_frame_range": False,
    "support_scene_instancing": False,
    "create_world_material": False,
    "property_import_mode": "NONE",
    "import_textures_mode": "IMPORT_PACK",
    "validate_meshes": True,
}
_IMPORTERS: dict[str, tuple[str, dict[str, Any]]] = {  # Blender's operator and its options, by format
    "gltf": (
        "import_scene.gltf",
        {
            "import_pack_images": True,
            "disable_bone_shape": True,
            "import_scene_extras": False,
            "import_scene_as_collection": True,
            "import_select_created_objects": False,
        },
    ),
    "obj": ("wm.obj_import", {"forward_axis": "NEGATIVE_Z", "up_axis": "Y", "validate_meshes": True}),
    "fbx": ("wm.fbx_import", {"use_anim": False, "use_custom_props": False, "validate_meshes": True}),
    "ply": ("wm.ply_import", {"forward_axis": "Y", "up_axis": "Z", "import_attributes": False}),
    "stl": ("wm.stl_import", {"forward_axis": "Y", "up_axis": "Z", "use_mesh_validate": True}),
    "usd": ("wm.usd_import", _USD_OPTIONS),
    "usdz": ("wm.usd_import", _USD_OPTIONS),
}


@dataclass(frozen=True)
class Imported:
    """What `import_mesh` leaves in Blender.

    Attributes:
        root: an empty; its pose is the identity and free to be set. Linked to the current scene, as are the objects.
        objects: mesh objects, children of root with identity poses, each with a mesh of its own in the normalised
            frame of `scenes.spec.Object`; every material slot is filled.
        materials: their materials, each once.
        footprint: of all objects together, from evaluated vertices.
        size: sides of the bounding box in the file's units, z up.
        polygons: of all objects together.
        inspection: what the file said of itself.
        flags: catalogue flags, `inspection.flags` among them.
    """

    root: Any
    objects: tuple[Any, ...]
    materials: tuple[Any, ...]
    footprint: Footprint
    size: tuple[float, float, float]
    polygons: int
    inspection: Inspection
    flags: tuple[str, ...]


def import_mesh(path: Path, limits: AssetLimits = DEFAULT_LIMITS, *, decode: bool = False) -> Imported:
    """Import a .glb, .gltf, .obj, .fbx, .ply, .stl, .usd, .usda, .usdc or .usdz file; PLY and STL have z up.

    The same file gives the same objects whatever is in Blender already; on an error nothing of it stays. Files that
    it names must lie in its own folder. Specular-glossiness glTF is converted (see `datagen.assets.specgloss`).
    `decode` decodes every texture first: slower, finds broken ones and constant maps.
    Raises AssetError with a reason of `datagen.assets.asset_file.Reason`; `log_tail` holds what the importer printed.
    """
    checked = open_asset(path, limits)
    inspection = checked.inspection(decode=decode)
    with _apart() as (scene, kept), TemporaryDirectory(prefix="lightloom-") as folder:
        source = path
        if isinstance(checked, Gltf) and inspection.spec_gloss:
            source = specgloss.convert(checked, Path(folder))
        wavefront = checked if isinstance(checked, Wavefront) else None
        del checked  # it may hold the file's bytes, and the importer reads them again
        _load(source, inspection.format, limits)
        result = _finish(scene, path, inspection, wavefront, limits)
        kept.extend((result.root, *result.objects))
    for obj in (result.root, *result.objects):
        bpy.context.scene.collection.objects.link(obj)
    return result


def _load(path: Path, kind: str, limits: AssetLimits) -> None:
    """Run the importer; AssetError import-error with the first line that reports one."""
    if kind in ("usd", "usdz"):
        _check_references(path, limits)
    failure = ""
    with captured() as log:
        try:
            operator, options = _IMPORTERS[kind]
            attrgetter(operator)(bpy.ops)(filepath=str(path), **options)
        except RuntimeError as error:  # an operator's failure; Python importers put their traceback into it
            failure = _last_line(str(error))
        except MemoryError:
            raise AssetError("out-of-memory", "the importer ran out of memory", where=path.name) from None
    said = [line.partition("| ERROR ")[2] or line for line in log.errors]
    known = [] if failure.endswith("unknown error") and said else [*filter(None, [failure])]
    said += _PLY_ERROR.findall(log.tail)
    problems = [*known, *said, *_GLTF_ERROR.findall(log.tail)]
    if problems:
        raise AssetError("import-error", f"{problems[0][:300]}", where=path.name, log_tail=log.tail)


@contextmanager
def _apart() -> Iterator[tuple[Any, list[Any]]]:
    """Yield an empty scene as the current one, and a list for objects to keep.

    Afterwards all that came in the meantime is gone but those objects and what they use; on an error, these too.
    """
    window = bpy.context.window
    before, home = snapshot(), window.scene
    scene = bpy.data.scenes.new("import")
    window.scene = scene
    kept: list[Any] = []
    try:
        yield scene, kept
    except BaseException:
        kept.clear()
        raise
    finally:
        window.scene = home
        _remove_new(before, set(kept))


def _remove_new(before: dict[str, set[int]], kept: set[Any]) -> None:
    def new(name: str) -> list[Any]:
        return [block for block in getattr(bpy.data, name) if block.session_uid not in before[name]]

    others = before.keys() - {*_USED, "objects", "all_ids"}
    unwanted = [block for name in sorted(others) for block in new(name)]
    bpy.data.batch_remove([obj for obj in new("objects") if obj not in kept] + unwanted)
    for name in _USED:
        bpy.data.batch_remove([block for block in new(name) if not kept or block.users == block.use_fake_user])


def _finish(
    scene: Any, path: Path, inspection: Inspection, wavefront: Wavefront | None, limits: AssetLimits
) -> Imported:
    """Objects of the normalised frame under a new root, with their materials put right and their images checked."""
    result = normalise(scene, path.name, _outside_scenes(scene, inspection.format), limits)
    root = bpy.data.objects.new(path.stem, None)
    for obj in result.objects:
        obj.parent = root
    meshes = [obj.data for obj in result.objects]
    if wavefront is not None and wavefront.vertex_colours:
        own = {one.name for one in wavefront.materials if one.from_blender}  # with all that they should show
        set_obj_colours(meshes, wavefront.display_colours, own)
    bare = _fill_slots(meshes)
    materials = tuple({slot: None for obj in result.objects for slot in obj.data.materials})
    for material in materials:
        material.use_fake_user = False
        material.animation_data_clear()
        material.node_tree.animation_data_clear()
    if wavefront is not None:
        set_phong(materials, wavefront.materials)
    check_images(materials, path.parent, limits)
    if inspection.textured is None:
        inspection = described(inspection, materials, any(map(vertex_colours, meshes)))
    flags = inspection.flags + (("no-material",) if bare else ())
    return Imported(root, result.objects, materials, result.footprint, result.size, result.polygons, inspection, flags)


def _outside_scenes(scene: Any, kind: str) -> set[Any]:
    """Objects of glTF nodes that are in no scene: the importer shows them, the specification does not (5.25)."""
    if kind != "gltf":
        return set()
    apart = {obj for one in scene.collection.children if one.name.startswith("Orphan Nodes") for obj in one.objects}
    return apart if len(apart) < len(scene.objects) else set()


def _fill_slots(meshes: list[Any]) -> bool:
    """Give every slot without a material, and every mesh without slots, the colours of its vertices, else plain grey.

    Returns whether anything is grey.
    """
    made: dict[str, Any] = {}
    for mesh in meshes:
        slots, colours = mesh.materials, vertex_colours(mesh)
        if all(slots) and len(slots):
            continue
        if colours not in made:
            made[colours] = build_material(PLAIN if not colours else WHITE)
            if colours:
                feed_vertex_colours(made[colours], principled_of(made[colours]), colours)
        if not len(slots):
            slots.append(made[colours])
        for index, slot in enumerate(slots):
            if slot is None:
                slots[index] = made[colours]
    return "" in made


def _last_line(text: str) -> str:
    """Say what an operator's error is in one line: the exception at the end of a traceback, else the first line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        return "the importer failed and said nothing"
    if any("Traceback" in line for line in lines):
        named = [line for line in lines if re.match(r"[A-Za-z_.]*(Error|Exception|Interrupt)\b", line)]
        return named[-1] if named else lines[-1]
    return lines[0].removeprefix("Error: ")


# --- what a USD file refers to, judged before Blender composes it --------------------------------------------


def _check_references(path: Path, limits: AssetLimits) -> None:
    """Follow sublayers, references and payloads layer by layer, without composing any.

    Raises AssetError: escapes-folder, missing-file, too-large, malformed. Textures are judged once they are loaded.
    """
    sdf = _sdf()
    if path.suffix.lower() == ".usdz":
        _check_members(sdf, path)
        return
    folder = path.resolve().parent
    waiting, seen = [path.resolve()], set()
    while waiting:
        file = waiting.pop()
        if file in seen:
            continue
        seen.add(file)
        if len(seen) > limits.images:
            raise AssetError("too-large", f"{path.name} refers to more than {limits.images} layers")
        check_file(file, limits)
        waiting.extend(
            inside(folder, os.path.relpath(file.parent / reference, folder), "missing-file")
            for reference in _references(sdf, str(file))
        )


def _check_members(sdf: Any, path: Path) -> None:
    """Layers of a package may only refer to members of it."""
    with zipfile.ZipFile(path) as archive:
        members = set(archive.namelist())
    for member in sorted(members):
        if not member.lower().endswith((".usd", ".usda", ".usdc")):
            continue
        for reference in _references(sdf, f"{path}[{member}]"):
            if posixpath.normpath(posixpath.join(posixpath.dirname(member), reference)) not in members:
                raise AssetError("escapes-folder", f"{path.name} names {shown(reference)}, which it does not hold")


def _references(sdf: Any, identifier: str) -> list[str]:
    """Paths of the layers that a layer refers to. AssetError malformed where it is not USD."""
    try:
        layer = sdf.Layer.OpenAsAnonymous(identifier)
    except Exception as error:  # pxr's ErrorException derives from Exception alone
        said = _USD_ERROR.search(str(error))
        reason = (said[1] if said else str(error)).replace(f"{identifier}:", "line ").replace(identifier, "it")
        reason = " ".join(reason.split())[:200]
        raise AssetError("malformed", f"not USD: {reason}", where=Path(identifier).name) from None
    if layer is None:
        raise AssetError("malformed", "not USD", where=Path(identifier).name)
    return [name.split(":SDF_FORMAT_ARGS:")[0] for name in layer.GetCompositionAssetDependencies() if name]


def _sdf() -> Any:
    bpy.utils.expose_bundled_modules()
    return importlib.import_module("pxr.Sdf")
