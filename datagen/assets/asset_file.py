"""What all checks of an untrusted asset file share: limits, the typed rejection, and paths that stay in the folder.

An asset file comes from anywhere. Whatever is wrong with one ends in `AssetError`, so a run can count it and go on.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import unquote

from manifests.errors import RenderError
from scenes.providers.file_checks import MESH_FORMATS

Reason = Literal[
    "unsupported-format",  # not a format, or an extension of one, that we import
    "too-large",  # over a limit of bytes, elements or polygons
    "malformed",  # breaks its own format
    "escapes-folder",  # names a file outside its own folder
    "missing-file",  # the file, or a buffer or material library that it names, is not there
    "missing-texture",  # a texture that it names is not there
    "bad-texture",  # a texture cannot be decoded
    "import-error",  # the importer failed or printed an error
    "no-geometry",  # nothing with a surface in it
    "bad-geometry",  # coordinates that are not finite, or no extent
    "changed-file",  # not the bytes that the catalogue lists
    "crashed",  # the importer killed its process
    "timed-out",
    "out-of-memory",
]


class AssetError(RenderError):
    """An asset file that cannot be used."""

    def __init__(self, reason: Reason, what: str, advice: str = "", *, where: object = "", log_tail: str = "") -> None:
        super().__init__(reason, what, advice, where=where, log_tail=log_tail)


@dataclass(frozen=True)
class AssetLimits:
    """Bounds that are checked before anything of that size is allocated.

    `file_bytes` also bounds each buffer and texture file; `json_bytes` the JSON chunk of a GLB; `elements` the sum of
    a glTF's accessor values, `polygons` the polygons after import with all instances, `nodes` the objects.
    """

    file_bytes: int = 512 << 20
    json_bytes: int = 64 << 20
    elements: int = 100_000_000
    polygons: int = 5_000_000
    nodes: int = 20_000
    node_depth: int = 200
    images: int = 256
    image_side: int = 16_384
    image_pixels: int = 64 << 20


DEFAULT_LIMITS = AssetLimits()


@dataclass(frozen=True)
class Inspection:
    """What a file says about itself before it is imported; None where the format does not tell.

    `constant_specular`: roughness and metallic are one value each over every material. `alpha`: some material is not
    opaque. `spec_gloss`: some material is given as specular-glossiness.
    """

    format: str
    textured: bool | None = None
    constant_specular: bool | None = None
    vertex_colours: bool | None = None
    animated: bool | None = None
    skinned: bool | None = None
    alpha: bool | None = None
    spec_gloss: bool = False

    @property
    def flags(self) -> tuple[str, ...]:
        """Catalogue flags in a fixed order."""
        named = {
            "untextured": self.textured is False,
            "constant-specular": self.constant_specular,
            "vertex-colours": self.vertex_colours,
            "animated": self.animated,
            "skinned": self.skinned,
            "alpha": self.alpha,
            "spec-gloss": self.spec_gloss,
        }
        return tuple(name for name, holds in named.items() if holds)


def check_file(path: Path, limits: AssetLimits) -> str:
    """Format name of a regular file of a known suffix within the size limit.

    Raises AssetError: missing-file, unsupported-format, too-large, malformed (empty).
    """
    kind = MESH_FORMATS.get(path.suffix.lower())
    if kind is None:
        known = " ".join(MESH_FORMATS)
        raise AssetError("unsupported-format", f"{path.suffix or 'no suffix'} is not one of {known}", where=path.name)
    size = file_size(path, path.name)
    if size > limits.file_bytes:
        raise AssetError("too-large", f"{path.name} has {size} bytes", f"the limit is {limits.file_bytes}")
    if size == 0:
        raise AssetError("malformed", f"{path.name} is empty")
    return kind


def file_size(path: Path, name: str) -> int:
    """Size in bytes of a regular file; AssetError missing-file for anything else (pipes and devices included)."""
    try:
        if path.is_file():
            return path.stat().st_size
    except (OSError, ValueError):
        pass
    raise AssetError("missing-file", f"{name} is not there or is not a regular file")


def inside(folder: Path, reference: str, missing: Literal["missing-file", "missing-texture"]) -> Path:
    """Absolute path of a file that `reference` (a relative path, percent-encoded or not) names below `folder`.

    Links are followed before judging. Raises AssetError: escapes-folder, or `missing` if nothing is there.
    """
    base = folder.resolve()
    for text in dict.fromkeys((reference, unquote(reference))):
        plain = text.replace("\\", "/")
        if "\0" in plain or "://" in plain:
            raise AssetError("escapes-folder", f"names {shown(reference)}, which is not a file of its folder")
        try:
            target = (base / plain).resolve()
            found = target.is_file()
        except (OSError, RuntimeError):
            raise AssetError(missing, f"names {shown(reference)}, which cannot be resolved") from None
        if not target.is_relative_to(base):
            raise AssetError("escapes-folder", f"names {shown(reference)}, which is outside its folder")
        if found:
            return target
    raise AssetError(missing, f"names {shown(reference)}, which is not there")


def shown(text: str) -> str:
    """Untrusted text for a one-line message: quoted, control characters escaped, at most 120 characters."""
    return repr(text if len(text) <= 120 else text[:117] + "...")
