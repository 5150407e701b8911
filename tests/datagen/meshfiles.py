"""Small mesh files, written byte by byte, that tests import."""

from __future__ import annotations

import io
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from manifests.contract.color import srgb_encode

# A box of 2 x 4 x 1 (x, y up, z), off centre, with outward faces of four vertices each.
LOW, HIGH = np.array([1.0, 2.0, 3.0]), np.array([3.0, 6.0, 4.0])
UP = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])  # from y up to z up


def png(pixels: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(out, "PNG")
    return out.getvalue()


def flat_png(colour: tuple[int, ...], size: int = 8) -> bytes:
    out = io.BytesIO()
    Image.new("RGBA" if len(colour) == 4 else "RGB", (size, size), colour).save(out, "PNG", compress_level=1)
    return out.getvalue()


def noise_png(size: int = 8) -> bytes:
    return png(np.random.default_rng(0).integers(0, 256, (size, size, 3)))


def huge_png_header(width: int, height: int) -> bytes:
    """A PNG that declares a size and holds no pixels."""
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def box() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(24, 3) positions, (24, 2) uvs and (36,) indices of the box."""
    corners = {0: LOW, 1: HIGH}
    positions, uvs, indices = [], [], []
    for axis in range(3):
        for side in (0, 1):
            u, v = (axis + 1) % 3, (axis + 2) % 3
            quad = [(0, 0), (1, 0), (1, 1), (0, 1)]
            if side == 0:
                quad.reverse()
            start = len(positions)
            for a, b in quad:
                point = np.empty(3)
                point[axis], point[u], point[v] = corners[side][axis], corners[a][u], corners[b][v]
                positions.append(point)
                uvs.append((a, b))
            indices += [start, start + 1, start + 2, start, start + 2, start + 3]
    return np.array(positions, "<f4"), np.array(uvs, "<f4"), np.array(indices, "<u2")


class GltfFile:
    """A glTF document in the making: the box, one material, and whatever a test adds to `document`."""

    def __init__(self, material: dict[str, Any] | None = None, positions: np.ndarray | None = None) -> None:
        self.binary = bytearray()
        self.document: dict[str, Any] = {
            "asset": {"version": "2.0"},
            "scene": 0,
            "scenes": [{"nodes": [0]}],
            "nodes": [{"mesh": 0, "name": "box"}],
            "materials": [material or {"name": "paint"}],
            "accessors": [],
            "bufferViews": [],
        }
        own, uvs, indices = box()
        points = own if positions is None else positions.astype("<f4")
        attributes = {"POSITION": self.accessor(points, "VEC3"), "TEXCOORD_0": self.accessor(uvs, "VEC2")}
        primitive = {"attributes": attributes, "indices": self.accessor(indices, "SCALAR"), "material": 0}
        self.document["meshes"] = [{"primitives": [primitive]}]

    def view(self, data: bytes) -> int:
        self.binary.extend(b"\0" * (-len(self.binary) % 4))
        view = {"buffer": 0, "byteOffset": len(self.binary), "byteLength": len(data)}
        self.binary.extend(data)
        self.document["bufferViews"].append(view)
        return len(self.document["bufferViews"]) - 1

    def accessor(self, values: np.ndarray, kind: str) -> int:
        component = {"<f4": 5126, "<u2": 5123, "|u1": 5121, "<u4": 5125}[values.dtype.str]
        accessor = {
            "bufferView": self.view(values.tobytes()),
            "componentType": component,
            "count": len(values),
            "type": kind,
        }
        if kind == "VEC3":
            points = np.nan_to_num(values.astype(float))
            accessor |= {"min": points.min(axis=0).tolist(), "max": points.max(axis=0).tolist()}
        self.document["accessors"].append(accessor)
        return len(self.document["accessors"]) - 1

    def texture(self, data: bytes) -> dict[str, int]:
        image = {"bufferView": self.view(data), "mimeType": "image/png"}
        self.document.setdefault("images", []).append(image)
        self.document.setdefault("textures", []).append({"source": len(self.document["images"]) - 1})
        return {"index": len(self.document["textures"]) - 1}

    def glb(self, path: Path) -> Path:
        self.document["buffers"] = [{"byteLength": len(self.binary)}]
        path.write_bytes(glb_bytes(self.document, bytes(self.binary)))
        return path

    def gltf(self, path: Path, uri: str = "box.bin") -> Path:
        self.document["buffers"] = [{"byteLength": len(self.binary), "uri": uri}]
        path.write_text(json.dumps(self.document))
        return path


def glb_bytes(document: dict[str, Any], binary: bytes) -> bytes:
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    binary += b"\0" * (-len(binary) % 4)
    chunks = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(binary), b"BIN\0") + binary
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


def obj(folder: Path, material: str = "newmtl paint\nNs 96\nKd 0.8 0.2 0.1\nKs 0.5 0.5 0.5\nillum 2\n") -> Path:
    """The box as OBJ with an MTL library."""
    positions, _, indices = box()
    lines = ["mtllib box.mtl", "o box", "usemtl paint"]
    lines += ["v " + " ".join(map(str, point)) for point in positions]
    lines += ["f " + " ".join(str(index + 1) for index in face) for face in indices.reshape(-1, 3)]
    (folder / "box.mtl").write_text(material)
    path = folder / "box.obj"
    path.write_text("\n".join(lines) + "\n")
    return path


def ply(path: Path, colour: tuple[float, ...], form: str = "binary_little_endian") -> Path:
    """The box with z up, its colour (linear) as sRGB codes on every vertex."""
    points, _, indices = box()
    codes = np.round(srgb_encode(np.array(colour)) * 255).astype(int)
    rows = [(*point, *codes) for point in points @ UP.T]
    names = "".join(f"property float {axis}\n" for axis in "xyz")
    names += "".join(f"property uchar {channel}\n" for channel in ("red", "green", "blue"))
    head = f"ply\nformat {form} 1.0\nelement vertex {len(rows)}\n{names}element face {len(indices) // 3}\n"
    head += "property list uchar int vertex_indices\nend_header\n"
    if form == "ascii":
        lines = [" ".join(f"{value:g}" for value in row) for row in rows]
        lines += [f"3 {' '.join(map(str, face))}" for face in indices.reshape(-1, 3)]
        body = "\n".join(lines).encode()
    else:
        order = ">" if "big" in form else "<"
        body = b"".join(struct.pack(f"{order}3f3B", *row) for row in rows)
        body += b"".join(struct.pack(f"{order}B3i", 3, *face) for face in indices.reshape(-1, 3).tolist())
    path.write_bytes(head.encode() + body)
    return path


def stl(path: Path, head: bytes = b"") -> Path:
    """The box with z up, as a binary STL."""
    points, _, indices = box()
    facets = (points @ UP.T)[indices].reshape(-1, 9)
    path.write_bytes(
        head.ljust(80, b"\0")
        + struct.pack("<I", len(facets))
        + b"".join(struct.pack("<12fH", 0, 0, 0, *facet, 0) for facet in facets)
    )
    return path
