"""What a USD file refers to, judged before Blender composes it: no layer or asset may lie outside its folder."""

from __future__ import annotations

import importlib
import os
import posixpath
import zipfile
from pathlib import Path
from typing import Any

import bpy

from datagen.assets.asset_file import AssetError, AssetLimits, check_file, inside, shown


def check_references(path: Path, limits: AssetLimits) -> None:
    """Follow sublayers, references and payloads layer by layer, without composing any.

    Raises AssetError: escapes-folder, missing-file, too-large, malformed. Textures are judged once they are loaded.
    """
    sdf = _sdf()
    if path.suffix.lower() == ".usdz":
        _check_package(sdf, path)
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


def _check_package(sdf: Any, path: Path) -> None:
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
        reason = (str(error).splitlines() or ["unreadable"])[0]
        raise AssetError("malformed", f"not USD: {reason[:200]}", where=shown(identifier)) from None
    if layer is None:
        raise AssetError("malformed", "not USD", where=shown(identifier))
    return [name.split(":SDF_FORMAT_ARGS:")[0] for name in layer.GetCompositionAssetDependencies() if name]


def _sdf() -> Any:
    bpy.utils.expose_bundled_modules()
    return importlib.import_module("pxr.Sdf")
