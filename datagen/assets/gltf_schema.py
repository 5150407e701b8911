"""The part of glTF 2.0's JSON that inspection reads: types, and checks of what the importer would follow blindly.

What decodes here has the shape that code relies on; what passes `check_accessors` and `check_nodes` names nothing that
is not there. Source: Khronos glTF 2.0 specification, chapter 5 (property names and constraints). Unknown members are
ignored.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from datagen.assets.asset_file import AssetError, AssetLimits

Index = Annotated[int, Meta(ge=0)]
Size = Annotated[int, Meta(ge=1)]
Number = float | int
ComponentType = Literal[5120, 5121, 5122, 5123, 5125, 5126]
Extensions = dict[str, dict[str, Any]]

COMPONENT_BYTES: dict[int, int] = {5120: 1, 5121: 1, 5122: 2, 5123: 2, 5125: 4, 5126: 4}
COMPONENTS: dict[str, int] = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT2": 4, "MAT3": 9, "MAT4": 16}
TRIANGLE_MODES = (4, 5, 6)
FLOAT = 5126


class GltfJson(msgspec.Struct, frozen=True, rename="camel"):
    """Base: glTF member names are camel case."""


class GltfAsset(GltfJson, frozen=True):
    """`asset`."""

    version: str


class GltfBuffer(GltfJson, frozen=True):
    """`buffers[]`; without `uri` it is the GLB's binary chunk."""

    byte_length: Size
    uri: str | None = None


class GltfBufferView(GltfJson, frozen=True):
    """`bufferViews[]`."""

    buffer: Index
    byte_length: Size
    byte_offset: Index = 0
    byte_stride: Annotated[int, Meta(ge=4, le=252)] | None = None


class GltfSparseIndices(GltfJson, frozen=True):
    """`accessors[].sparse.indices`."""

    buffer_view: Index
    component_type: ComponentType
    byte_offset: Index = 0


class GltfSparseValues(GltfJson, frozen=True):
    """`accessors[].sparse.values`."""

    buffer_view: Index
    byte_offset: Index = 0


class GltfSparse(GltfJson, frozen=True):
    """`accessors[].sparse`."""

    count: Size
    indices: GltfSparseIndices
    values: GltfSparseValues


class GltfAccessor(GltfJson, frozen=True):
    """`accessors[]`."""

    component_type: ComponentType
    count: Size
    type: Literal["SCALAR", "VEC2", "VEC3", "VEC4", "MAT2", "MAT3", "MAT4"]
    buffer_view: Index | None = None
    byte_offset: Index = 0
    sparse: GltfSparse | None = None

    @property
    def element_bytes(self) -> int:
        """Bytes of one element; matrix columns start at multiples of four bytes (specification, 3.6.2.4)."""
        size = COMPONENT_BYTES[self.component_type]
        if self.type.startswith("MAT"):
            columns = int(self.type[3])
            return columns * (-(-columns * size // 4) * 4)
        return size * COMPONENTS[self.type]


class GltfImage(GltfJson, frozen=True):
    """`images[]`."""

    uri: str | None = None
    buffer_view: Index | None = None


class GltfTexture(GltfJson, frozen=True):
    """`textures[]`."""

    source: Index | None = None
    extensions: Extensions = {}

    @property
    def image(self) -> int | None:
        """Image index that Blender's importer takes: the plain one, else that of EXT_texture_webp."""
        webp = self.extensions.get("EXT_texture_webp", {}).get("source")
        return self.source if self.source is not None else webp if isinstance(webp, int) and webp >= 0 else None


class GltfTextureInfo(GltfJson, frozen=True):
    """Reference to a texture."""

    index: Index


class GltfMetallicRoughness(GltfJson, frozen=True):
    """`materials[].pbrMetallicRoughness`."""

    base_color_texture: GltfTextureInfo | None = None
    metallic_roughness_texture: GltfTextureInfo | None = None
    metallic_factor: Number = 1.0
    roughness_factor: Number = 1.0


class GltfMaterial(GltfJson, frozen=True):
    """`materials[]`."""

    pbr_metallic_roughness: GltfMetallicRoughness | None = None
    normal_texture: GltfTextureInfo | None = None
    emissive_texture: GltfTextureInfo | None = None
    alpha_mode: Literal["OPAQUE", "MASK", "BLEND"] = "OPAQUE"
    extensions: Extensions = {}


class GltfPrimitive(GltfJson, frozen=True):
    """`meshes[].primitives[]`."""

    attributes: dict[str, Index]
    indices: Index | None = None
    material: Index | None = None
    mode: Annotated[int, Meta(ge=0, le=6)] = 4
    targets: list[dict[str, Index]] = []


class GltfMesh(GltfJson, frozen=True):
    """`meshes[]`."""

    primitives: Annotated[list[GltfPrimitive], Meta(min_length=1)]


class GltfNode(GltfJson, frozen=True):
    """`nodes[]`."""

    children: list[Index] = []
    mesh: Index | None = None
    skin: Index | None = None
    matrix: Annotated[list[Number], Meta(min_length=16, max_length=16)] | None = None
    translation: Annotated[list[Number], Meta(min_length=3, max_length=3)] | None = None
    rotation: Annotated[list[Number], Meta(min_length=4, max_length=4)] | None = None
    scale: Annotated[list[Number], Meta(min_length=3, max_length=3)] | None = None


class GltfScene(GltfJson, frozen=True):
    """`scenes[]`."""

    nodes: list[Index] = []


class GltfHeader(GltfJson, frozen=True):
    """What files of every glTF version have."""

    asset: GltfAsset


class GltfDocument(GltfJson, frozen=True):
    """The JSON of a glTF 2.0 file."""

    asset: GltfAsset
    extensions_used: list[str] = []
    extensions_required: list[str] = []
    scene: Index | None = None
    scenes: list[GltfScene] = []
    nodes: list[GltfNode] = []
    meshes: list[GltfMesh] = []
    materials: list[GltfMaterial] = []
    textures: list[GltfTexture] = []
    images: list[GltfImage] = []
    accessors: list[GltfAccessor] = []
    buffers: list[GltfBuffer] = []
    buffer_views: list[GltfBufferView] = []
    animations: list[dict[str, Any]] = []
    skins: list[dict[str, Any]] = []


# --- ranges and references: AssetError (malformed or too-large) names the element ---------------------------------


def check_accessors(document: GltfDocument, limits: AssetLimits) -> None:
    """Accessors lie in their buffer views, views in their buffers, and all values together within the limit."""
    sizes = [_view_size(document, index) for index in range(len(document.buffer_views))]
    total = 0
    for index, accessor in enumerate(document.accessors):
        total += accessor.count * COMPONENTS[accessor.type]
        if total > limits.elements:
            raise AssetError("too-large", f"the accessors hold more than {limits.elements} values")
        name = f"accessor {index}"
        if accessor.buffer_view is not None:
            stride = _view(document, accessor.buffer_view, name).byte_stride or accessor.element_bytes
            span = accessor.byte_offset + stride * (accessor.count - 1) + accessor.element_bytes
            _fits(span, sizes[accessor.buffer_view], name)
            if accessor.byte_offset % COMPONENT_BYTES[accessor.component_type]:
                raise AssetError("malformed", f"{name} starts at an unaligned byte")
        if accessor.sparse is not None:
            _check_sparse(document, accessor, sizes, name)


def check_nodes(document: GltfDocument, limits: AssetLimits) -> None:
    """Nodes form trees of bounded depth; meshes, accessors, materials and scenes that are named exist."""
    nodes = document.nodes
    if len(nodes) > limits.nodes:
        raise AssetError("too-large", f"{len(nodes)} nodes", f"the limit is {limits.nodes}")
    parents: dict[int, int] = {}
    for index, node in enumerate(nodes):
        _exists(node.mesh, document.meshes, f"node {index}", "mesh")
        _exists(node.skin, document.skins, f"node {index}", "skin")
        for child in node.children:
            _exists(child, nodes, f"node {index}", "node")
            if parents.setdefault(child, index) != index or child == index:
                raise AssetError("malformed", f"node {child} has two parents")
    roots = [index for index in range(len(nodes)) if index not in parents]
    seen, level, depth = 0, roots, 0
    while level:
        depth += 1
        seen += len(level)
        if depth > limits.node_depth or seen > len(nodes):
            raise AssetError("malformed", f"the nodes are nested deeper than {limits.node_depth}")
        level = [child for index in level for child in nodes[index].children]
    if seen != len(nodes):
        raise AssetError("malformed", "the nodes form a ring")
    for index, scene in enumerate(document.scenes):
        for root in scene.nodes:
            _exists(root, nodes, f"scene {index}", "node")
    _exists(document.scene, document.scenes, "the file", "scene")
    for index, mesh in enumerate(document.meshes):
        for primitive in mesh.primitives:
            _check_primitive(document, primitive, f"mesh {index}")


def _check_primitive(document: GltfDocument, primitive: GltfPrimitive, name: str) -> None:
    _exists(primitive.indices, document.accessors, name, "accessor")
    _exists(primitive.material, document.materials, name, "material")
    named = [accessor for group in (primitive.attributes, *primitive.targets) for accessor in group.values()]
    for accessor in named:
        _exists(accessor, document.accessors, name, "accessor")
    position = primitive.attributes.get("POSITION")
    if position is None:
        return
    if document.accessors[position].type != "VEC3":
        raise AssetError("malformed", "positions are not VEC3", where=name)
    count = document.accessors[position].count
    if any(document.accessors[accessor].count != count for accessor in named):
        raise AssetError("malformed", "its attributes have different lengths", where=name)


def _check_sparse(document: GltfDocument, accessor: GltfAccessor, sizes: list[int], name: str) -> None:
    sparse = accessor.sparse
    assert sparse is not None
    if sparse.count > accessor.count:
        raise AssetError("malformed", "more sparse values than elements", where=name)
    wanted = (
        (sparse.indices.buffer_view, sparse.indices.byte_offset, COMPONENT_BYTES[sparse.indices.component_type]),
        (sparse.values.buffer_view, sparse.values.byte_offset, accessor.element_bytes),
    )
    for view, offset, size in wanted:
        _view(document, view, name)
        _fits(offset + sparse.count * size, sizes[view], name)


def _view_size(document: GltfDocument, index: int) -> int:
    """Bytes of a buffer view that lies in its buffer."""
    view = document.buffer_views[index]
    name = f"bufferView {index}"
    _exists(view.buffer, document.buffers, name, "buffer")
    _fits(view.byte_offset + view.byte_length, document.buffers[view.buffer].byte_length, name)
    return view.byte_length


def _view(document: GltfDocument, index: int, name: str) -> GltfBufferView:
    _exists(index, document.buffer_views, name, "bufferView")
    return document.buffer_views[index]


def _exists(index: int | None, listed: Sequence[object], name: str, kind: str) -> None:
    if index is not None and index >= len(listed):
        raise AssetError("malformed", f"{name} names {kind} {index}", f"the file has {len(listed)}")


def _fits(needed: int, size: int, name: str) -> None:
    if needed > size:
        raise AssetError("malformed", f"{name} needs {needed} bytes where {size} are")
