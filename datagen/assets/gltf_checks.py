"""Ranges and references of a glTF document: what the importer would follow blindly.

Every check raises AssetError (malformed or too-large) that names the element.
"""

from __future__ import annotations

from collections.abc import Sequence

from datagen.assets.asset_file import AssetError, Limits
from datagen.assets.gltf_schema import COMPONENT_BYTES, COMPONENTS, Accessor, BufferView, Document, Primitive


def check_accessors(document: Document, limits: Limits) -> None:
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


def check_nodes(document: Document, limits: Limits) -> None:
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


def _check_primitive(document: Document, primitive: Primitive, name: str) -> None:
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


def _check_sparse(document: Document, accessor: Accessor, sizes: list[int], name: str) -> None:
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


def _view_size(document: Document, index: int) -> int:
    """Bytes of a buffer view that lies in its buffer."""
    view = document.buffer_views[index]
    name = f"bufferView {index}"
    _exists(view.buffer, document.buffers, name, "buffer")
    _fits(view.byte_offset + view.byte_length, document.buffers[view.buffer].byte_length, name)
    return view.byte_length


def _view(document: Document, index: int, name: str) -> BufferView:
    _exists(index, document.buffer_views, name, "bufferView")
    return document.buffer_views[index]


def _exists(index: int | None, listed: Sequence[object], name: str, kind: str) -> None:
    if index is not None and index >= len(listed):
        raise AssetError("malformed", f"{name} names {kind} {index}", f"the file has {len(listed)}")


def _fits(needed: int, size: int, name: str) -> None:
    if needed > size:
        raise AssetError("malformed", f"{name} needs {needed} bytes where {size} are")
