"""What every provider of files does: find files without leaving the folder, look at their first bytes, hash them.

Nothing here raises on a bad file: it is reported as a reason in words, and the provider lists it as a problem.
"""

from __future__ import annotations

import hashlib
import os
import re
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from manifests.codec.light_file import read_hdr
from manifests.errors import InputError
from manifests.untrusted import read_bounded

MESH_FORMATS: dict[str, str] = {
    ".glb": "gltf",
    ".gltf": "gltf",
    ".obj": "obj",
    ".fbx": "fbx",
    ".ply": "ply",
    ".stl": "stl",
    ".usd": "usd",
    ".usda": "usd",
    ".usdc": "usd",
    ".usdz": "usdz",
}
MESH_SUFFIXES = frozenset(MESH_FORMATS)
ENVIRONMENT_SUFFIXES = frozenset({".hdr", ".exr"})
LARGEST_FILE = 1 << 30
_BINARY: dict[str, tuple[bytes, ...]] = {
    ".glb": (b"glTF",),
    ".ply": (b"ply\n", b"ply\r"),
    ".exr": (b"\x76\x2f\x31\x01",),
    ".hdr": (b"#?",),
    ".fbx": (b"Kaydara FBX Binary",),
    ".usd": (b"PXR-USDC",),
    ".usdc": (b"PXR-USDC",),
    ".usdz": (b"PK\x03\x04",),
}
_TEXT: dict[str, tuple[bytes, ...]] = {".fbx": (b";",), ".usd": (b"#usda", b"#sdf"), ".usda": (b"#usda", b"#sdf")}
_NOT_UTF_8 = "its name is not UTF-8; rename it"
_LARGEST_LAYER = 64 << 20
_MOST_SECTIONS = 64
_USD_WORDS = re.compile(rb"\b(?:def|over|class)\s+(\w+)|\b(references|payload|subLayers)\b")
_GEOMETRY = {  # types of prims with a surface, and what brings in other layers (OpenUSD, usdGeom and sdf schemas)
    *(b"Mesh", b"Cube", b"Sphere", b"Cylinder", b"Cone", b"Capsule", b"Plane", b"NurbsPatch", b"PointInstancer"),
    *(b"BasisCurves", b"NurbsCurves", b"HermiteCurves", b"TetMesh", b"references", b"payload", b"subLayers"),
}
_BLANK = b"\xef\xbb\xbf \r\n\t"


def walk(root: Path) -> Iterator[tuple[Path, list[Path], list[tuple[Path, str]]]]:
    """Each folder under root with its plain files in order of name, and what was left out with the reason.

    Hidden names are passed over. Links to folders are not followed, links to files only within root. A folder that
    cannot be read is left out like a file.
    """
    real = root.resolve()
    unread: list[OSError] = []
    for folder, folders, names in os.walk(root, followlinks=False, onerror=unread.append):
        here = Path(folder)
        inner = {here / name: _folder_problem(here / name) for name in sorted(folders) if not name.startswith(".")}
        plain = {here / name: _name_problem(here / name, real) for name in sorted(names) if not name.startswith(".")}
        folders[:] = [path.name for path, reason in inner.items() if reason is None]
        refused = [(path, reason) for path, reason in (inner | plain).items() if reason is not None]
        yield here, [path for path, reason in plain.items() if reason is None], refused
    yield root, [], [(Path(error.filename), f"cannot be read: {error.strerror}") for error in unread]


def shown(name: str) -> str:
    """A name as text that every file and terminal takes: bytes that are not UTF-8 as escapes."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _folder_problem(path: Path) -> str | None:
    if path.is_symlink():
        return "a link to a folder is not followed"
    return None if shown(path.name) == path.name else _NOT_UTF_8


def _name_problem(path: Path, real: Path) -> str | None:
    if path.is_symlink() and not path.exists():
        return "a link that leads nowhere"
    if path.is_symlink() and not path.resolve().is_relative_to(real):
        return "a link that leaves the folder is not followed"
    if not path.is_file():
        return "not a regular file"
    return None if shown(path.name) == path.name else _NOT_UTF_8


def begins_like(suffix: str, start: bytes) -> bool:
    """Whether a file that begins with the bytes `start` can be what its suffix (lower case, with the dot) says.

    Text may begin with a byte order mark or blanks. Formats without a mark of their own (.gltf, .obj, .stl) pass.
    """
    binary, text = _BINARY.get(suffix, ()), _TEXT.get(suffix, ())
    return not (binary or text) or start.startswith(binary) or start.lstrip(_BLANK).startswith(text)


def file_problem(path: Path) -> str | None:
    """Why a mesh or environment file cannot be what its suffix says, judged by its first bytes; None if it may be."""
    suffix = path.suffix.lower()
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            start = stream.read(4096)
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    if size == 0:
        return "empty file"
    if size > LARGEST_FILE:
        return f"larger than {LARGEST_FILE >> 20} MiB"
    if not begins_like(suffix, start):
        return f"does not start like a {suffix[1:].upper()} file"
    if suffix == ".glb" and size < int.from_bytes(start[8:12], "little"):
        return f"cut off: {size} of {int.from_bytes(start[8:12], 'little')} bytes"
    return None


def is_only_material(path: Path) -> bool:
    """Whether a USD file holds no geometry and refers to no other layer, as those do that come with texture maps.

    Looked up in its text or, for binary layers, in the table of the words that it uses. False where that fails: then
    its importer judges.
    """
    if MESH_FORMATS.get(path.suffix.lower()) not in ("usd", "usdz"):
        return False
    try:
        return not any(_may_hold_geometry(layer) for layer in _layers(path))
    except (OSError, ValueError, struct.error, zipfile.BadZipFile, NotImplementedError, pa.ArrowException):
        return False


def _layers(path: Path) -> Iterator[bytes]:
    if path.suffix.lower() != ".usdz":
        yield read_bounded(path, _LARGEST_LAYER)
        return
    with zipfile.ZipFile(path) as package:
        for entry in package.infolist():
            if entry.filename.lower().endswith((".usd", ".usda", ".usdc")):
                if entry.compress_type != zipfile.ZIP_STORED or entry.file_size > _LARGEST_LAYER:
                    raise ValueError("packed or too large")
                yield package.read(entry)


def _may_hold_geometry(layer: bytes) -> bool:
    crate = layer.startswith(b"PXR-USDC")
    words = set(_crate_words(layer) if crate else [one or other for one, other in _USD_WORDS.findall(layer)])
    return not words or not words.isdisjoint(_GEOMETRY)


def _crate_words(layer: bytes) -> list[bytes]:
    """The tokens of a binary USD layer (OpenUSD, `crateFile.h`: header, table of contents, section TOKENS)."""
    (contents,) = struct.unpack_from("<q", layer, 16)
    (sections,) = struct.unpack_from("<Q", layer, contents)
    for number in range(min(sections, _MOST_SECTIONS)):
        name, start, _ = struct.unpack_from("<16sqq", layer, contents + 8 + 32 * number)
        if name.rstrip(b"\0") == b"TOKENS":
            _, size, packed = struct.unpack_from("<QQQ", layer, start)
            data = layer[start + 24 : start + 24 + packed]
            if size > _LARGEST_LAYER or data[:1] != b"\0":  # a leading number of pieces, for more than 2 GB
                raise ValueError("a table of tokens of that size is not read")
            return pa.Codec("lz4_raw").decompress(data[1:], size).to_pybytes().split(b"\0")
    return []


def light_problem(path: Path) -> str | None:
    """Why an .hdr or .exr file is no light, found by reading it as every room does; None if it is one."""
    try:
        image = read_hdr(path)
    except InputError as error:
        return f"{error.what}; {error.advice}" if error.advice else error.what
    return None if image.max() > 0 else "the environment map holds no light (NaN or black)"


def image_problem(path: Path) -> str | None:
    """Why an image file is unreadable, without decoding its pixels; None if it looks whole."""
    from PIL import Image, UnidentifiedImageError

    if path.suffix.lower() == ".exr":
        return file_problem(path)
    try:
        with Image.open(path) as image:
            image.verify()
    except UnidentifiedImageError:
        return f"{path.name} is not an image"
    except Exception as error:  # on damaged files Pillow's readers raise whatever they stumble over
        return f"{path.name} cannot be read: {error}"
    return None


def sha256_of(*paths: Path) -> str:
    """SHA-256 in hex of one file's content, or of the names and contents of several."""
    total = hashlib.sha256()
    for path in paths:
        with path.open("rb") as stream:
            content = hashlib.file_digest(stream, "sha256")
        if len(paths) == 1:
            return content.hexdigest()
        total.update(f"{path.name}\0{content.hexdigest()}\n".encode())
    return total.hexdigest()


# Trailing words of an environment's file name that say size, format or edition, not place.
_NOT_PLACE = re.compile(
    r"(\d+k|\d+x\d+|\d+px|k|hdri?|exr|hdr|env|envmap|latlong|equirectangular|low|high|lowres|hires|preview"
    r"|puresky|v\d+|copy|jpg|png|tonemapped|\(\d+\))"
)


def place_of(name: str) -> str:
    """The place that an environment file shows, by its name: `Venice Sunset_4k`, `venice_sunset_1k_v2` are one place.

    Keeps numbers ("studio_small_03" is a room of its own); drops the letter of an edition ("EveningSky012A").
    """
    words = [word for word in re.split(r"[\s_\-.]+", name.lower()) if word]
    while len(words) > 1 and _NOT_PLACE.fullmatch(words[-1]):
        words.pop()
    return re.sub(r"(?<=\d{3})[a-z]$", "", "_".join(words))
