"""PLY and STL files, checked before Blender's importers believe their counts.

After Turk's "The PLY Polygon File Format" and the STL of 3D Systems. What they say of colour is either read (`red`,
`green`, `blue` of vertices, as sRGB) or refused by name: textures, colours of faces, colours of facets.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from datagen.assets.asset_file import AssetError, AssetLimits, Inspection, shown

_HEADER = 1 << 16
_MOST_PARTS = 1024
_FORMATS = ("ascii", "binary_little_endian", "binary_big_endian")
_TYPES = {
    **{"char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4", "float": "f4"},
    **{"int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4", "float32": "f4"},
    **{"double": "f8", "float64": "f8"},
}
_END = re.compile(rb"[\r\n]end_header[ \t]*(\r\n|\n|\r)")
_COLOUR = {"red", "green", "blue"}
_OTHER_COLOUR = {"r", "g", "b", "diffuse_red", "diffuse_green", "diffuse_blue"}
_SAVE = "save it as GLB"
_STL_HEAD = 84
_FACET = np.dtype([("normal", "<3f4"), ("corners", "<9f4"), ("attribute", "<u2")])
_ODD = rb"[^\r\n]*(?:nan|inf|e\+?[3-9][0-9]|[0-9]{30})[^\r\n]*"  # what single precision may not hold
_ODD_ROW = re.compile(_ODD, re.IGNORECASE)
_ODD_CORNER = re.compile(rb"^[ \t]*vertex" + _ODD, re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True)
class Scan:
    """A checked .ply or .stl: one surface without materials, with colours of vertices or none."""

    format: str
    vertex_colours: bool = False

    def inspection(self, *, decode: bool = False) -> Inspection:
        """All that such a file can say."""
        return Inspection(
            format=self.format,
            textured=False,
            constant_specular=True,
            vertex_colours=self.vertex_colours,
            animated=False,
            skinned=False,
            alpha=False,
        )


@dataclass(frozen=True)
class _Element:
    """An element of a PLY header: `count` rows of `types` (numpy's; "" for a list) by name of the property."""

    name: str
    count: int
    types: dict[str, str]
    least: int


def check_ply(path: Path, limits: AssetLimits) -> Scan:
    """Read a PLY's header and its positions.

    Raises AssetError: malformed, unsupported-format, too-large, no-geometry, bad-geometry.
    """
    with path.open("rb") as stream:
        head = stream.read(_HEADER)
        size = stream.seek(0, 2)
    end = _END.search(head)
    if not head.startswith(b"ply") or end is None:
        raise _malformed(path, f"no PLY, or its header does not end within {_HEADER >> 10} KiB")
    lines = [line.split() for line in head[: end.start()].decode("ascii", "replace").splitlines()[1:]]
    order = _byte_order(path, lines)
    elements = {element.name: element for element in _elements(path, lines, order)}
    least = sum(element.count * element.least for element in elements.values())
    if least > size - end.end() + 1:  # the last line of a text may lack its end
        raise _malformed(path, f"announces at least {least} bytes, and holds {size - end.end()}")
    vertices, strips = elements.get("vertex"), elements.get("tristrips")
    faces = elements.get("face", strips)
    if vertices is None or not vertices.count or faces is None or not faces.count:
        splats = vertices is not None and "f_dc_0" in vertices.types
        what = "Gaussian splats" if splats else "points without faces"
        raise AssetError("no-geometry", f"holds {what}, which are no surface", where=path.name)
    if 3 * vertices.count > limits.elements or faces.count > limits.polygons:
        raise AssetError("too-large", f"{path.name} has {vertices.count} vertices and {faces.count} faces")
    coloured = vertices.types.keys() >= _COLOUR
    if any(line[:2] == ["comment", "TextureFile"] for line in lines):
        raise AssetError("unsupported-format", "its colours are a texture, not read of PLY", _SAVE, where=path.name)
    if not coloured and (vertices.types.keys() & _OTHER_COLOUR or faces.types.keys() >= _COLOUR):
        raise AssetError(
            "unsupported-format", "its colours are not `red`, `green`, `blue` of vertices", _SAVE, where=path.name
        )
    _check_positions(path, end.end(), order, list(elements.values()))
    return Scan("ply", coloured)


def _byte_order(path: Path, lines: list[list[str]]) -> str:
    """Numpy's, or "" of a text."""
    form = next((line[1] for line in lines if line[:1] == ["format"] and len(line) == 3), "")
    if form not in _FORMATS:
        raise _malformed(path, f"its format is not one of {' '.join(_FORMATS)}")
    return ("", "<", ">")[_FORMATS.index(form)]


def _elements(path: Path, lines: list[list[str]], order: str) -> Iterator[_Element]:
    """Elements in order; each once, with properties of known types."""
    parts = [line for line in lines if line[:1] in (["element"], ["property"])]
    starts = [place for place, line in enumerate(parts) if line[0] == "element"]
    if len(parts) > _MOST_PARTS or not starts or starts[0] > 0:
        raise _malformed(path, f"its header has no elements first, or more than {_MOST_PARTS} of them and properties")
    names = set()
    for start, stop in zip(starts, [*starts[1:], len(parts)], strict=True):
        words, rows = parts[start], parts[start + 1 : stop]
        if len(words) != 3 or not re.fullmatch(r"[0-9]{1,10}", words[2]) or words[1] in names or not rows:
            raise _malformed(path, f"its header says {shown(' '.join(words))}")
        names.add(words[1])
        types: dict[str, str] = {}
        least = 0
        for row in rows:
            several = row[1:2] == ["list"]
            kinds = row[2:4] if several else row[1:2]
            if len(row) != (5 if several else 3) or not all(kind in _TYPES for kind in kinds) or row[-1] in types:
                raise _malformed(path, f"its header says {shown(' '.join(row))}")
            types[row[-1]] = "" if several else _TYPES[kinds[0]]
            least += np.dtype(_TYPES[kinds[0]]).itemsize if order else 2
        yield _Element(words[1], int(words[2]), types, least)


def _check_positions(path: Path, start: int, order: str, elements: list[_Element]) -> None:
    """Raises AssetError where a vertex is not finite, which the importer would put at the origin."""
    place = next(place for place, element in enumerate(elements) if element.name == "vertex")
    vertices, before = elements[place], elements[:place]
    names = list(vertices.types)
    if not vertices.types.keys() >= set("xyz") or any("" in one.types.values() for one in [*before, vertices]):
        raise AssetError("unsupported-format", "its vertices lack x, y, z, or lists come before them", where=path.name)
    if order:
        fields = np.dtype([(name, order + kind) for name, kind in vertices.types.items()])
        start += sum(one.count * one.least for one in before)
        rows = np.memmap(path, fields, "r", start, (vertices.count,))
        with np.errstate(over="ignore"):
            finite = all(bool(np.isfinite(rows[axis].astype(np.float32)).all()) for axis in "xyz")
    else:
        first = sum(one.count for one in before)
        with path.open("rb") as stream:
            stream.seek(start)
            lines = islice((line for line in stream if line.strip()), first, first + vertices.count)
            odd = [line.split() for line in lines if _ODD_ROW.match(line)]
        finite = all(len(row) == len(names) and _finite(row[names.index(axis)] for axis in "xyz") for row in odd)
    if not finite:
        raise _not_finite(path)


def _finite(words: Iterable[bytes]) -> bool:
    """Whether words are numbers that single precision holds."""
    try:
        return all(len(word) < 400 and abs(float(word)) < 3.4e38 for word in words)
    except ValueError:
        return False


def _not_finite(path: Path) -> AssetError:
    return AssetError("bad-geometry", "has coordinates that are not finite numbers", where=path.name)


def check_stl(path: Path, limits: AssetLimits) -> Scan:
    """Hold an STL's length against its count. Raises AssetError as `check_ply`."""
    with path.open("rb") as stream:
        head = stream.read(_STL_HEAD)
        size = stream.seek(0, 2)
        count = int.from_bytes(head[80:], "little")
        binary = len(head) == _STL_HEAD and size == _STL_HEAD + _FACET.itemsize * count
        if not binary:
            stream.seek(0)
            text = stream.read() if head.lstrip().lower().startswith(b"solid") else b""
            count = len(re.findall(rb"\bendfacet\b", text, re.IGNORECASE))
            if not count:
                raise _malformed(path, "neither a text of facets nor as long as its count of them says")
    if count == 0:
        raise AssetError("no-geometry", "has no facets", where=path.name)
    if count > limits.polygons:
        raise AssetError("too-large", f"{path.name} has {count} facets", f"the limit is {limits.polygons}")
    if binary and b"COLOR=" in head:
        raise AssetError("unsupported-format", "colours of facets are not read of STL", _SAVE, where=path.name)
    if binary:
        finite = bool(np.isfinite(np.memmap(path, _FACET, "r", _STL_HEAD, (count,))["corners"]).all())
    else:
        finite = all(_finite(line[0].split()[1:]) for line in _ODD_CORNER.finditer(text))
    if not finite:
        raise _not_finite(path)
    return Scan("stl")


def _malformed(path: Path, what: str) -> AssetError:
    return AssetError("malformed", what, where=path.name)
