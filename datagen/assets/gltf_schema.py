"""The part of glTF 2.0's JSON that inspection reads, as types: what decodes here has the shape that code relies on.

Source: Khronos glTF 2.0 specification, chapter 5 (property names and constraints). Unknown members are ignored.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

Index = Annotated[int, Meta(ge=0)]
Size = Annotated[int, Meta(ge=1)]
Number = float | int
ComponentType = Literal[5120, 5121, 5122, 5123, 5125, 5126]
Extensions = dict[str, dict[str, Any]]

COMPONENT_BYTES: dict[int, int] = {5120: 1, 5121: 1, 5122: 2, 5123: 2, 5125: 4, 5126: 4}
COMPONENTS: dict[str, int] = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT2": 4, "MAT3": 9, "MAT4": 16}
TRIANGLE_MODES = (4, 5, 6)
FLOAT = 5126


class Json(msgspec.Struct, frozen=True, rename="camel"):
    """Base: glTF member names are camel case."""


class Asset(Json, frozen=True):
    """`asset`."""

    version: str


class Buffer(Json, frozen=True):
    """`buffers[]`; without `uri` it is the GLB's binary chunk."""

    byte_length: Size
    uri: str | None = None


class BufferView(Json, frozen=True):
    """`bufferViews[]`."""

    buffer: Index
    byte_length: Size
    byte_offset: Index = 0
    byte_stride: Annotated[int, Meta(ge=4, le=252)] | None = None


class SparseIndices(Json, frozen=True):
    """`accessors[].sparse.indices`."""

    buffer_view: Index
    component_type: ComponentType
    byte_offset: Index = 0


class SparseValues(Json, frozen=True):
    """`accessors[].sparse.values`."""

    buffer_view: Index
    byte_offset: Index = 0


class Sparse(Json, frozen=True):
    """`accessors[].sparse`."""

    count: Size
    indices: SparseIndices
    values: SparseValues


class Accessor(Json, frozen=True):
    """`accessors[]`."""

    component_type: ComponentType
    count: Size
    type: Literal["SCALAR", "VEC2", "VEC3", "VEC4", "MAT2", "MAT3", "MAT4"]
    buffer_view: Index | None = None
    byte_offset: Index = 0
    sparse: Sparse | None = None

    @property
    def element_bytes(self) -> int:
        """Bytes of one element; matrix columns start at multiples of four bytes (specification, 3.6.2.4)."""
        size = COMPONENT_BYTES[self.component_type]
        if self.type.startswith("MAT"):
            columns = int(self.type[3])
            return columns * (-(-columns * size // 4) * 4)
        return size * COMPONENTS[self.type]


class Image(Json, frozen=True):
    """`images[]`."""

    uri: str | None = None
    buffer_view: Index | None = None


class Texture(Json, frozen=True):
    """`textures[]`."""

    source: Index | None = None
    extensions: Extensions = {}

    @property
    def image(self) -> int | None:
        """Image index that Blender's importer takes: the plain one, else that of EXT_texture_webp."""
        webp = self.extensions.get("EXT_texture_webp", {}).get("source")
        return self.source if self.source is not None else webp if isinstance(webp, int) and webp >= 0 else None


class TextureInfo(Json, frozen=True):
    """Reference to a texture."""

    index: Index


class MetallicRoughness(Json, frozen=True):
    """`materials[].pbrMetallicRoughness`."""

    base_color_texture: TextureInfo | None = None
    metallic_roughness_texture: TextureInfo | None = None
    metallic_factor: Number = 1.0
    roughness_factor: Number = 1.0


class Material(Json, frozen=True):
    """`materials[]`."""

    pbr_metallic_roughness: MetallicRoughness | None = None
    normal_texture: TextureInfo | None = None
    emissive_texture: TextureInfo | None = None
    alpha_mode: Literal["OPAQUE", "MASK", "BLEND"] = "OPAQUE"
    extensions: Extensions = {}


class Primitive(Json, frozen=True):
    """`meshes[].primitives[]`."""

    attributes: dict[str, Index]
    indices: Index | None = None
    material: Index | None = None
    mode: Annotated[int, Meta(ge=0, le=6)] = 4
    targets: list[dict[str, Index]] = []


class Mesh(Json, frozen=True):
    """`meshes[]`."""

    primitives: Annotated[list[Primitive], Meta(min_length=1)]


class Node(Json, frozen=True):
    """`nodes[]`."""

    children: list[Index] = []
    mesh: Index | None = None
    skin: Index | None = None
    matrix: Annotated[list[Number], Meta(min_length=16, max_length=16)] | None = None
    translation: Annotated[list[Number], Meta(min_length=3, max_length=3)] | None = None
    rotation: Annotated[list[Number], Meta(min_length=4, max_length=4)] | None = None
    scale: Annotated[list[Number], Meta(min_length=3, max_length=3)] | None = None


class Scene(Json, frozen=True):
    """`scenes[]`."""

    nodes: list[Index] = []


class Header(Json, frozen=True):
    """What files of every glTF version have."""

    asset: Asset


class Document(Json, frozen=True):
    """The JSON of a glTF 2.0 file."""

    asset: Asset
    extensions_used: list[str] = []
    extensions_required: list[str] = []
    scene: Index | None = None
    scenes: list[Scene] = []
    nodes: list[Node] = []
    meshes: list[Mesh] = []
    materials: list[Material] = []
    textures: list[Texture] = []
    images: list[Image] = []
    accessors: list[Accessor] = []
    buffers: list[Buffer] = []
    buffer_views: list[BufferView] = []
    animations: list[dict[str, Any]] = []
    skins: list[dict[str, Any]] = []
