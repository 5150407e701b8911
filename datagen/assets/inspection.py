"""An asset file of any format checked before it is imported, and what an imported one is worth as training data."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from datagen.assets.asset_file import DEFAULT_LIMITS, AssetError, AssetLimits, Inspection, check_file
from datagen.assets.gltf import Gltf, named_uris
from datagen.assets.scans import Scan, check_ply, check_stl
from datagen.assets.wavefront import Wavefront, named_libraries
from manifests.contract.row import MaterialUse
from scenes.providers.file_checks import MESH_FORMATS, begins_like

_SANE = (500, 500_000)
_EXTREME = (12, 5_000_000)
_RESOLVED = {"resolved": 1.0, "approximated": 0.5}


@dataclass(frozen=True)
class OpaqueFile:
    """A file of a format that only its importer reads (FBX, USD); what it names is judged when it is imported."""

    format: str

    def inspection(self, *, decode: bool = False) -> Inspection:
        """Nothing but the format."""
        return Inspection(format=self.format)


def inspect(path: Path, limits: AssetLimits = DEFAULT_LIMITS, *, decode: bool = False) -> Inspection:
    """Judge a mesh file by its own bytes, without Blender. `decode` also decodes every texture in use.

    Raises AssetError with the first problem found, as `open_asset`; no-geometry and what is wrong with textures too.
    """
    return open_asset(path, limits).inspection(decode=decode)


def open_asset(path: Path, limits: AssetLimits = DEFAULT_LIMITS) -> Gltf | Wavefront | Scan | OpaqueFile:
    """Read and check a mesh file but for its pixels. Raises AssetError with the first problem found."""
    kind = check_file(path, limits)
    if kind == "gltf":
        return Gltf.read(path, limits)
    if kind == "obj":
        return Wavefront.read(path, limits)
    if kind in ("ply", "stl"):
        return (check_ply if kind == "ply" else check_stl)(path, limits)
    with path.open("rb") as stream:
        start = stream.read(32)
    if not begins_like(path.suffix.lower(), start):
        raise AssetError("malformed", f"{path.name} does not begin like a {path.suffix} file")
    if kind == "usdz":
        _check_package(path, limits)
    return OpaqueFile(kind)


def named_files(path: Path, limits: AssetLimits = DEFAULT_LIMITS) -> list[str]:
    """What a mesh file names beside itself, as it is written there; for those of glTF and OBJ.

    A file that is not sound, or of another format, names nothing: its checks say what is wrong with it.
    """
    kind = MESH_FORMATS.get(path.suffix.lower())
    try:
        check_file(path, limits)
        if kind == "gltf":
            return named_uris(path, limits)
        return named_libraries(path, limits) if kind == "obj" else []
    except AssetError:
        return []


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


def score(inspection: Inspection, polygons: int, materials: Sequence[MaterialUse]) -> float:
    """How much an imported mesh with its own materials is worth as training data, in [0, 1].

    0.10 for being importable
    + 0.30 base colour has a texture
    + 0.20 roughness or metallic varies over the surface (or between materials)
    + 0.15 polygon count: 1 from 500 to 500,000, falling with its logarithm to 0 at 12 and at 5,000,000
    + 0.10 no material is transparent
    + 0.15 share of materials whose parameters are resolved (approximated ones count half)
    What the format does not tell counts as half.
    """
    low, high = (math.log(_SANE[0] / _EXTREME[0]), math.log(_EXTREME[1] / _SANE[1]))
    count = max(polygons, 1)
    sanity = min(1.0, math.log(count / _EXTREME[0]) / low, math.log(_EXTREME[1] / count) / high)
    known = [_RESOLVED.get(use.status, 0.0) for use in materials]
    return round(
        0.10
        + 0.30 * _share(inspection.textured)
        + 0.20 * (1.0 - _share(inspection.constant_specular))
        + 0.15 * max(sanity, 0.0)
        + 0.10 * (1.0 - _share(inspection.alpha))
        + 0.15 * (sum(known) / len(known) if known else 0.0),
        4,
    )


def _share(known: bool | None) -> float:
    return 0.5 if known is None else float(known)
