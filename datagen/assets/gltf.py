"""A glTF or GLB file checked without importing it: is it sound and bounded, and what are its materials worth?

Blender's importer trusts what it reads: it follows URIs anywhere, allocates what a header claims, recurses as deep as
the nodes go, and turns specular-glossiness into an index of refraction of 1000. So everything is checked here first.
Source: Khronos glTF 2.0 specification (chunks 4.4, URIs 2.8, accessors 3.6.2, nodes 3.5.2).
"""

from __future__ import annotations

import base64
import binascii
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np

from datagen.assets.asset_file import (
    DEFAULT_LIMITS,
    AssetError,
    AssetLimits,
    Inspection,
    check_file,
    file_size,
    inside,
    shown,
)
from datagen.assets.gltf_schema import (
    COMPONENTS,
    FLOAT,
    TRIANGLE_MODES,
    GltfDocument,
    GltfHeader,
    GltfMaterial,
    GltfPrimitive,
    check_accessors,
    check_nodes,
)
from datagen.assets.texture_images import check_header, constant_channels

SPEC_GLOSS = "KHR_materials_pbrSpecularGlossiness"
_COMPRESSED = {"EXT_meshopt_compression", "KHR_draco_mesh_compression", "KHR_meshopt_compression"}
_SUPPORTED = {  # what the glTF importer of Blender 5.2 takes as `extensionsRequired`, less what bpy has no decoder for
    SPEC_GLOSS,
    "EXT_mesh_gpu_instancing",
    "EXT_texture_webp",
    "KHR_animation_pointer",
    "KHR_lights_punctual",
    "KHR_materials_anisotropy",
    "KHR_materials_clearcoat",
    "KHR_materials_dispersion",
    "KHR_materials_emissive_strength",
    "KHR_materials_ior",
    "KHR_materials_iridescence",
    "KHR_materials_sheen",
    "KHR_materials_specular",
    "KHR_materials_transmission",
    "KHR_materials_unlit",
    "KHR_materials_variants",
    "KHR_materials_volume",
    "KHR_mesh_quantization",
    "KHR_texture_transform",
}
_DATA_URI = re.compile(r"data:[^,]{0,200};base64,", re.IGNORECASE)


@dataclass(frozen=True)
class Gltf:
    """A checked file: `document` is its JSON, `chunk` the GLB's binary chunk (None in a .gltf)."""

    path: Path
    json: bytes
    document: GltfDocument
    chunk: memoryview | None
    limits: AssetLimits

    @staticmethod
    def read(path: Path, limits: AssetLimits = DEFAULT_LIMITS) -> Gltf:
        """Read and check everything but the pixels.

        Raises AssetError with the first problem: unsupported-format, too-large, malformed, escapes-folder,
        missing-file, missing-texture, bad-texture, bad-geometry.
        """
        check_file(path, limits)
        json, chunk = _json_and_chunk(path, limits)
        try:
            version = msgspec.json.decode(json, type=GltfHeader).asset.version
            if version != "2.0":
                raise AssetError("unsupported-format", f"glTF version {shown(version)}, we import 2.0", where=path.name)
            document = msgspec.json.decode(json, type=GltfDocument)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise AssetError("malformed", f"not glTF 2.0: {error}", where=path.name) from None
        # The importer decodes compressed meshes even where they are optional, with libraries that bpy does not ship.
        unknown = sorted(set(document.extensions_required) - _SUPPORTED | set(document.extensions_used) & _COMPRESSED)
        if unknown:
            raise AssetError("unsupported-format", f"needs the extension {shown(unknown[0])}", where=path.name)
        gltf = Gltf(path, json, document, chunk, limits)
        check_accessors(document, limits)
        check_nodes(document, limits)
        gltf._check_buffers()
        gltf._check_positions()
        gltf._check_textures()
        return gltf

    @cached_property
    def primitives(self) -> tuple[GltfPrimitive, ...]:
        """Primitives with triangles of every mesh that a node shows."""
        used = {node.mesh for node in self.document.nodes if node.mesh is not None}
        meshes = (self.document.meshes[index] for index in sorted(used))
        return tuple(one for mesh in meshes for one in mesh.primitives if one.mode in TRIANGLE_MODES)

    @cached_property
    def materials(self) -> tuple[GltfMaterial, ...]:
        """Materials in use; the default material stands for primitives without one."""
        used = {one.material for one in self.primitives}
        listed = tuple(self.document.materials[index] for index in sorted(used - {None}, key=str) if index is not None)
        return (*listed, GltfMaterial()) if None in used else listed

    def inspection(self, *, decode: bool = False) -> Inspection:
        """What the file says about itself. `decode` also decodes every texture in use: slower, finds constant maps.

        Raises AssetError no-geometry; with `decode` also bad-texture.
        """
        if not self.primitives:
            raise AssetError("no-geometry", "no node shows a mesh with triangles", where=self.path.name)
        if decode:
            for texture in self._textures():
                self._constant(texture)
        specular = [self._specular(material, decode) for material in self.materials]
        return Inspection(
            format="gltf",
            textured=any(_base_texture(material) is not None for material in self.materials),
            constant_specular=len(set(specular)) == 1 and specular[0] is not None,
            vertex_colours=any("COLOR_0" in one.attributes for one in self.primitives),
            animated=bool(self.document.animations),
            skinned=any(node.skin is not None for node in self.document.nodes),
            alpha=any(
                material.alpha_mode != "OPAQUE" or "KHR_materials_transmission" in material.extensions
                for material in self.materials
            ),
            spec_gloss=any(SPEC_GLOSS in material.extensions for material in self.materials),
        )

    def buffer(self, index: int) -> memoryview:
        """Bytes of a buffer: the GLB's chunk, a data URI or a file of the folder. AssetError where it is short."""
        cache: dict[int, memoryview] = self.__dict__.setdefault("_buffers", {})
        if index not in cache:
            cache[index] = self._read_buffer(index)
        return cache[index]

    def _read_buffer(self, index: int) -> memoryview:
        buffer = self.document.buffers[index]
        if buffer.uri is not None:
            data = memoryview(self._resource(buffer.uri, "missing-file"))
        elif index == 0 and self.chunk is not None:
            data = self.chunk
        else:
            raise AssetError("malformed", f"buffer {index} has no data", where=self.path.name)
        if len(data) < buffer.byte_length:
            raise AssetError("malformed", f"buffer {index} ends early", where=self.path.name)
        return data

    def image_bytes(self, index: int) -> bytes:
        """Encoded bytes of an image. Raises AssetError as `read`."""
        image = self.document.images[index]
        if image.buffer_view is not None:
            view = self.document.buffer_views[image.buffer_view]
            return bytes(self.buffer(view.buffer)[view.byte_offset : view.byte_offset + view.byte_length])
        if image.uri is None:
            raise AssetError("malformed", f"image {index} has neither uri nor bufferView", where=self.path.name)
        return self._resource(image.uri, "missing-texture")

    def _resource(self, uri: str, missing: Literal["missing-file", "missing-texture"]) -> bytes:
        if uri[:5].lower() == "data:":
            header = _DATA_URI.match(uri)
            try:
                return base64.b64decode(uri[header.end() :] if header else "", validate=True)
            except (binascii.Error, ValueError):
                raise AssetError("malformed", "a data URI is not base64", where=self.path.name) from None
        target = inside(self.path.parent, uri, missing)
        if file_size(target, shown(uri)) > self.limits.file_bytes:
            raise AssetError("too-large", f"{shown(uri)} is over {self.limits.file_bytes} bytes")
        return target.read_bytes()

    def _check_buffers(self) -> None:
        """All are there, and together within the limit: every one is read whole, here and by the importer."""
        count, total = len(self.document.buffers), 0
        if count > self.limits.references:
            raise AssetError("too-large", f"{count} buffers", f"the limit is {self.limits.references}")
        for index in range(count):
            total += len(self.buffer(index))
            if total > self.limits.file_bytes:
                raise AssetError("too-large", f"its buffers are over {self.limits.file_bytes} bytes together")

    def _check_positions(self) -> None:
        """Refuse coordinates that are not finite: the importer would quietly put those vertices at the origin."""
        for index in sorted({one.attributes["POSITION"] for one in self.primitives if "POSITION" in one.attributes}):
            accessor = self.document.accessors[index]
            if accessor.buffer_view is None or accessor.component_type != FLOAT:
                continue
            view = self.document.buffer_views[accessor.buffer_view]
            points = np.ndarray(
                (accessor.count, COMPONENTS[accessor.type]),
                dtype="<f4",
                buffer=self.buffer(view.buffer),
                offset=view.byte_offset + accessor.byte_offset,
                strides=(view.byte_stride or accessor.element_bytes, 4),
            )
            if not np.isfinite(points).all():
                raise AssetError("bad-geometry", "has coordinates that are not finite numbers", where=self.path.name)

    def _check_textures(self) -> None:
        if len(self.document.images) > self.limits.images:
            raise AssetError("too-large", f"{len(self.document.images)} images", where=self.path.name)
        for index, image in enumerate(self.document.images):
            if image.buffer_view is not None and image.buffer_view >= len(self.document.buffer_views):
                raise AssetError("malformed", f"image {index} names a missing bufferView", where=self.path.name)
        for texture in self._textures():
            check_header(self.image_bytes(self._image(texture)), f"{self.path.name}:image {texture}", self.limits)

    def _textures(self) -> Iterator[int]:
        """Indices of the textures that materials in use name, each once."""
        named: set[int] = set()
        for material in self.materials:
            named.update(_named_textures(msgspec.to_builtins(material)))
        for index in sorted(named):
            if index >= len(self.document.textures):
                raise AssetError("malformed", f"a material names texture {index}, not there", where=self.path.name)
            yield index

    def _image(self, texture: int) -> int:
        image = self.document.textures[texture].image
        if image is None:
            raise AssetError("missing-texture", f"texture {texture} has no image that we import", where=self.path.name)
        if image >= len(self.document.images):
            raise AssetError("malformed", f"texture {texture} names image {image}, not there", where=self.path.name)
        return image

    def _constant(self, texture: int) -> tuple[bool, ...]:
        cache: dict[int, tuple[bool, ...]] = self.__dict__.setdefault("_constants", {})
        if texture not in cache:
            data = self.image_bytes(self._image(texture))
            cache[texture] = constant_channels(data, f"{self.path.name}:image {texture}", self.limits)
        return cache[texture]

    def _specular(self, material: GltfMaterial, decode: bool) -> tuple[object, ...] | None:
        """A key that is equal for materials with the same one roughness and metallic; None where they vary."""
        gloss = material.extensions.get(SPEC_GLOSS)
        if gloss is not None:
            texture = gloss.get("specularGlossinessTexture")
            return None if texture else (str(gloss.get("specularFactor")), gloss.get("glossinessFactor", 1.0))
        pbr = material.pbr_metallic_roughness
        if pbr is None:
            return (1.0, 1.0, None)
        if pbr.metallic_roughness_texture is None:
            return (float(pbr.roughness_factor), float(pbr.metallic_factor), None)
        texture_index = pbr.metallic_roughness_texture.index
        if not decode:
            return None
        _, green, blue, _ = self._constant(texture_index)
        fixed = (green or not pbr.roughness_factor) and (blue or not pbr.metallic_factor)
        return (float(pbr.roughness_factor), float(pbr.metallic_factor), texture_index) if fixed else None


def named_uris(path: Path, limits: AssetLimits = DEFAULT_LIMITS) -> list[str]:
    """The files that buffers and images of a glTF or GLB name; AssetError malformed where it cannot be read."""
    try:
        document = msgspec.json.decode(_json_and_chunk(path, limits)[0], type=GltfDocument)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise AssetError("malformed", "not glTF 2.0", where=path.name) from None
    uris = [buffer.uri for buffer in document.buffers] + [image.uri for image in document.images]
    return [uri for uri in uris if uri is not None and uri[:5].lower() != "data:"][: limits.references]


def _json_and_chunk(path: Path, limits: AssetLimits) -> tuple[bytes, memoryview | None]:
    data = memoryview(path.read_bytes())
    return _chunks(data, path.name, limits) if bytes(data[:4]) == b"glTF" else (bytes(data), None)


def _chunks(data: memoryview, name: str, limits: AssetLimits) -> tuple[bytes, memoryview | None]:
    """JSON and binary chunk of a GLB (specification, 4.4)."""
    if len(data) < 20:
        raise AssetError("malformed", "cut off inside the GLB header", where=name)
    version, length, json_length, json_type = struct.unpack_from("<III4s", data, 4)
    if version != 2:
        raise AssetError("unsupported-format", f"GLB version {version}, we import 2", where=name)
    if length != len(data):
        raise AssetError("malformed", f"the header says {length} bytes, the file has {len(data)}", where=name)
    if json_type != b"JSON" or 20 + json_length > len(data):
        raise AssetError("malformed", "the first chunk is not whole JSON", where=name)
    if json_length > limits.json_bytes:
        raise AssetError("too-large", f"{json_length} bytes of JSON", f"the limit is {limits.json_bytes}", where=name)
    json = bytes(data[20 : 20 + json_length])
    start = 20 + json_length
    if start + 8 > len(data):
        return json, None
    size, kind = struct.unpack_from("<I4s", data, start)
    if kind != b"BIN\0":
        return json, None
    if start + 8 + size > len(data):
        raise AssetError("malformed", "the binary chunk is cut off", where=name)
    return json, data[start + 8 : start + 8 + size]


def _base_texture(material: GltfMaterial) -> object:
    gloss = material.extensions.get(SPEC_GLOSS, {})
    pbr = material.pbr_metallic_roughness
    return gloss.get("diffuseTexture") or (pbr.base_color_texture if pbr else None)


def _named_textures(value: object) -> Iterator[int]:
    """Every `index` of a member whose name ends in Texture, at any depth, extensions included."""
    if isinstance(value, dict):
        for name, member in value.items():
            if str(name).lower().endswith("texture") and isinstance(member, dict):
                index = member.get("index")
                if not isinstance(index, int) or index < 0:
                    raise AssetError("malformed", "a material names a texture without an index")
                yield index
            elif isinstance(member, dict):
                yield from _named_textures(member)
