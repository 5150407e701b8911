"""GLB files written by hand: a unit plane in Blender's xy plane with any material, textures and vertex colours."""

from __future__ import annotations

import io
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

_CORNERS = ((-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5))
_FLOAT, _SHORT = 5126, 5123
_NEAREST = 9728


def png(texels: np.ndarray) -> bytes:
    """8-bit PNG of (h, w, 3 or 4) uint8, the first row on top."""
    stream = io.BytesIO()
    Image.fromarray(texels).save(stream, "PNG")
    return stream.getvalue()


def plane_glb(
    path: Path,
    material: dict[str, Any],
    images: tuple[bytes, ...] = (),
    colours: tuple[float, float, float, float] | None = None,
    extensions: tuple[str, ...] = (),
) -> Path:
    """Write a plane of side 1 facing +z (in Blender). UVs cover [0, 1]; texture i shows image i, unfiltered."""
    blob = b""
    views: list[dict[str, Any]] = []
    accessors: list[dict[str, Any]] = []

    def view(data: bytes) -> int:
        nonlocal blob
        blob += b"\0" * (-len(blob) % 4)
        views.append({"buffer": 0, "byteOffset": len(blob), "byteLength": len(data)})
        blob += data
        return len(views) - 1

    def accessor(values: np.ndarray, kind: str, component: int) -> int:
        entry = {"bufferView": view(values.tobytes()), "componentType": component, "count": len(values), "type": kind}
        if kind == "VEC3":
            entry |= {"min": values.min(0).tolist(), "max": values.max(0).tolist()}
        accessors.append(entry)
        return len(accessors) - 1

    positions = np.array([(x, 0.0, -y) for x, y in _CORNERS], np.float32)
    uvs = np.array([(x + 0.5, 0.5 - y) for x, y in _CORNERS], np.float32)
    attributes = {
        "POSITION": accessor(positions, "VEC3", _FLOAT),
        "NORMAL": accessor(np.array([(0, 1, 0)] * 4, np.float32), "VEC3", _FLOAT),
        "TEXCOORD_0": accessor(uvs, "VEC2", _FLOAT),
    }
    if colours is not None:
        attributes["COLOR_0"] = accessor(np.array([colours] * 4, np.float32), "VEC4", _FLOAT)
    indices = accessor(np.array([0, 1, 2, 0, 2, 3], np.uint16), "SCALAR", _SHORT)
    document: dict[str, Any] = {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": attributes, "indices": indices, "material": 0}]}],
        "materials": [{"name": path.stem, **material}],
    }
    if images:
        document["images"] = [{"bufferView": view(image), "mimeType": "image/png"} for image in images]
        document["samplers"] = [{"magFilter": _NEAREST, "minFilter": _NEAREST}]
        document["textures"] = [{"source": number, "sampler": 0} for number in range(len(images))]
    if extensions:
        document["extensionsUsed"] = list(extensions)
    blob += b"\0" * (-len(blob) % 4)
    document |= {"bufferViews": views, "accessors": accessors, "buffers": [{"byteLength": len(blob)}]}
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    body = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(blob), b"BIN\0") + blob
    path.write_bytes(struct.pack("<4sII", b"glTF", 2, 12 + len(body)) + body)
    return path


def import_plane(path: Path) -> Any:
    """Import such a file; returns its mesh object, freed from its parents."""
    import bpy

    from datagen.blender.capture import captured

    before = set(bpy.data.objects)
    with captured():
        bpy.ops.import_scene.gltf(filepath=str(path))
    return next(thing for thing in set(bpy.data.objects) - before if thing.type == "MESH")
