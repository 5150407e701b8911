"""The look at an asset file before it is imported, whatever its format."""

from __future__ import annotations

import zipfile
from pathlib import Path

from datagen.assets import gltf, wavefront
from datagen.assets.asset_file import DEFAULT_LIMITS, AssetError, AssetLimits, Inspection, check_file

_MAGIC: dict[str, tuple[bytes, ...]] = {
    "fbx": (b"Kaydara FBX Binary", b"; FBX", b";"),
    "usd": (b"PXR-USDC", b"#usda", b"#sdf"),
    "usdz": (b"PK\x03\x04",),
}


def inspect(path: Path, limits: AssetLimits = DEFAULT_LIMITS, *, decode: bool = False) -> Inspection:
    """Judge a mesh file by its own bytes, without Blender; what FBX and USD name is judged when they are imported.

    Raises AssetError with the first problem found.
    """
    kind = check_file(path, limits)
    if kind in ("gltf", "glb"):
        return gltf.inspect(path, limits, decode=decode)
    if kind == "obj":
        return wavefront.inspect(path, limits, decode=decode)
    with path.open("rb") as stream:
        start = stream.read(32).lstrip(b"\xef\xbb\xbf \r\n\t")
    if not start.startswith(_MAGIC[kind]):
        raise AssetError("malformed", f"{path.name} does not begin like a {path.suffix} file")
    if kind == "usdz":
        _check_package(path, limits)
    return Inspection(format=kind)


def _check_package(path: Path, limits: AssetLimits) -> None:
    """USDZ is a ZIP of stored files (USDZ specification, 'Layout'); packed ones could be any size."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise AssetError("malformed", f"not a USDZ package: {error}", where=path.name) from None
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise AssetError("malformed", "a USDZ package must not be compressed", where=path.name)
    if sum(entry.file_size for entry in entries) > limits.file_bytes or len(entries) > limits.nodes:
        raise AssetError("too-large", "the package holds too much", where=path.name)
