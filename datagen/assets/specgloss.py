"""Specular-glossiness glTF rewritten as metallic-roughness, as a GLB that stands alone.

Blender imports KHR_materials_pbrSpecularGlossiness as a Principled shader with an index of refraction of 1000, whose
metallic and roughness mean nothing. The conversion is the one that the extension's authors published with it
(KhronosGroup/glTF, KHR_materials_pbrSpecularGlossiness, examples/convert-between-workflows): metallic is solved from
the brightness of diffuse and specular, base colour is blended from both.
"""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from PIL import Image

from datagen.assets.asset_file import AssetError
from datagen.assets.gltf import SPEC_GLOSS, Gltf
from datagen.assets.texture_images import check_header
from manifests.contract.color import srgb_decode, srgb_encode

_DIELECTRIC = 0.04
_EPSILON = 1e-6


def metallic_roughness(diffuse: np.ndarray, specular: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(base colour (..., 3), metallic (...,)) of diffuse and specular (..., 3); all linear in [0, 1]."""
    strength = 1.0 - specular.max(axis=-1)
    shine, body = _brightness(specular), _brightness(diffuse)
    b = body * strength / (1.0 - _DIELECTRIC) + shine - 2.0 * _DIELECTRIC
    root = np.sqrt(np.maximum(b * b - 4.0 * _DIELECTRIC * (_DIELECTRIC - shine), 0.0))
    metallic = np.where(shine < _DIELECTRIC, 0.0, np.clip((-b + root) / (2.0 * _DIELECTRIC), 0.0, 1.0))
    m = metallic[..., None]
    from_diffuse = diffuse * (strength[..., None] / (1.0 - _DIELECTRIC) / np.maximum(1.0 - m, _EPSILON))
    from_specular = (specular - _DIELECTRIC * (1.0 - m)) / np.maximum(m, _EPSILON)
    return np.clip(from_diffuse + (from_specular - from_diffuse) * m * m, 0.0, 1.0), metallic


def convert(source: Gltf, folder: Path) -> Path:
    """Write `folder`/converted.glb with every specular-glossiness material converted and every resource inside.

    Raises AssetError unsupported-format where diffuse and specular-glossiness are mapped differently, and whatever
    reading an image may raise.
    """
    document: dict[str, Any] = msgspec.json.decode(source.json)
    binary = _gather(source, document)
    for material in document.get("materials", []):
        gloss = material.get("extensions", {}).pop(SPEC_GLOSS, None)
        if gloss is not None:
            material["pbrMetallicRoughness"] = _converted(source, gloss, document, binary)
    for key in ("extensionsUsed", "extensionsRequired"):
        document[key] = [name for name in document.get(key, []) if name != SPEC_GLOSS]
        if not document[key]:
            del document[key]
    document["buffers"] = [{"byteLength": max(len(binary), 1)}]
    path = folder / "converted.glb"
    path.write_bytes(_glb(msgspec.json.encode(document), bytes(binary) or b"\0"))
    return path


def _gather(source: Gltf, document: dict[str, Any]) -> bytearray:
    """All buffers as one, buffer views and images of the document pointing into it."""
    binary = bytearray()
    starts = [_append(binary, bytes(source.buffer(index))) for index in range(len(source.document.buffers))]
    for view in document.get("bufferViews", []):
        view["byteOffset"] = view.get("byteOffset", 0) + starts[view["buffer"]]
        view["buffer"] = 0
    for index, image in enumerate(document.get("images", [])):
        if "uri" in image:
            data = source.image_bytes(index)
            del image["uri"]
            image |= {"bufferView": _view(document, binary, data), "mimeType": _mime(data)}
    return binary


def _converted(source: Gltf, gloss: dict[str, Any], document: dict[str, Any], binary: bytearray) -> dict[str, Any]:
    """`pbrMetallicRoughness` of one material; textures are added to the document where it has any."""
    diffuse_factor = np.array(gloss.get("diffuseFactor", [1, 1, 1, 1]), dtype=np.float64)
    specular_factor = np.array(gloss.get("specularFactor", [1, 1, 1]), dtype=np.float64)
    glossiness = float(gloss.get("glossinessFactor", 1.0))
    diffuse_info, gloss_info = gloss.get("diffuseTexture"), gloss.get("specularGlossinessTexture")
    if diffuse_info and gloss_info and _placing(diffuse_info) != _placing(gloss_info):
        raise AssetError("unsupported-format", f"{SPEC_GLOSS} with two mappings in a material", where=source.path.name)
    info = diffuse_info or gloss_info
    if info is None:
        base, metallic = metallic_roughness(diffuse_factor[:3], specular_factor)
        return {
            "baseColorFactor": [*base.tolist(), float(diffuse_factor[3])],
            "metallicFactor": float(metallic),
            "roughnessFactor": 1.0 - glossiness,
        }
    images = [_pixels(source, info) if info else None for info in (diffuse_info, gloss_info)]
    shape = max((image.size for image in images if image is not None), key=lambda size: size[0] * size[1])
    diffuse, spec = (_array(image, shape) for image in images)
    diffuse_linear = srgb_decode(diffuse[..., :3]) * diffuse_factor[:3]
    base, metallic = metallic_roughness(diffuse_linear, srgb_decode(spec[..., :3]) * specular_factor)
    alpha = diffuse[..., 3:] * diffuse_factor[3]
    other = np.zeros((*metallic.shape, 3))
    other[..., 1] = 1.0 - spec[..., 3] * glossiness
    other[..., 2] = metallic
    placed = {key: value for key, value in info.items() if key != "index"}
    sampler = document["textures"][info["index"]].get("sampler")
    return {
        "baseColorTexture": {"index": _texture(document, binary, np.dstack([srgb_encode(base), alpha]), sampler)}
        | placed,
        "metallicRoughnessTexture": {"index": _texture(document, binary, other, sampler)} | placed,
    }


def _pixels(source: Gltf, info: dict[str, Any]) -> Image.Image:
    image = source.document.textures[info["index"]].image
    assert image is not None  # Gltf.read has checked the textures in use
    data = source.image_bytes(image)
    check_header(data, f"{source.path.name}:image {image}", source.limits)
    try:
        return Image.open(io.BytesIO(data)).convert("RGBA")
    except (OSError, ValueError, SyntaxError) as error:
        raise AssetError("bad-texture", f"image {image} cannot be decoded: {error}", where=source.path.name) from None


def _array(image: Image.Image | None, size: tuple[int, int]) -> np.ndarray:
    """(H, W, 4) in [0, 1]; white without an image."""
    if image is None:
        return np.ones((1, 1, 4))
    scaled = image if image.size == size else image.resize(size, Image.Resampling.BILINEAR)
    return np.asarray(scaled, dtype=np.float64) / 255.0


def _texture(document: dict[str, Any], binary: bytearray, pixels: np.ndarray, sampler: int | None) -> int:
    """Add a PNG of (H, W, 3 or 4) values in [0, 1] as a texture; its index."""
    out = io.BytesIO()
    Image.fromarray(np.round(np.clip(pixels, 0.0, 1.0) * 255.0).astype(np.uint8)).save(out, "PNG", compress_level=1)
    image = {"bufferView": _view(document, binary, out.getvalue()), "mimeType": "image/png"}
    document.setdefault("images", []).append(image)
    texture = {"source": len(document["images"]) - 1} | ({} if sampler is None else {"sampler": sampler})
    document.setdefault("textures", []).append(texture)
    return len(document["textures"]) - 1


def _view(document: dict[str, Any], binary: bytearray, data: bytes) -> int:
    start = _append(binary, data)
    document.setdefault("bufferViews", []).append({"buffer": 0, "byteOffset": start, "byteLength": len(data)})
    return len(document["bufferViews"]) - 1


def _append(binary: bytearray, data: bytes) -> int:
    """Start of data within binary, at a multiple of four."""
    binary.extend(b"\0" * (-len(binary) % 4))
    start = len(binary)
    binary.extend(data)
    return start


def _glb(json: bytes, binary: bytes) -> bytes:
    json += b" " * (-len(json) % 4)
    binary += b"\0" * (-len(binary) % 4)
    chunks = struct.pack("<I4s", len(json), b"JSON") + json + struct.pack("<I4s", len(binary), b"BIN\0") + binary
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


def _placing(info: dict[str, Any]) -> tuple[int, object]:
    return info.get("texCoord", 0), info.get("extensions", {}).get("KHR_texture_transform")


def _mime(data: bytes) -> str:
    return "image/png" if data.startswith(b"\x89PNG") else "image/webp" if data[8:12] == b"WEBP" else "image/jpeg"


def _brightness(colour: np.ndarray) -> np.ndarray:
    """Perceived brightness of the published conversion, the weighted root mean square of the channels."""
    return np.sqrt((colour * colour) @ np.array([0.299, 0.587, 0.114]))
