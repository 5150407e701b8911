"""The attribute table: the one place that says what each per-pixel attribute of a clip means.

The renderer, the codecs, the loader, the networks, the docs and the tests all read this table, so a unit, a
range or a background value can be wrong in one place only. Axes and frames are those of docs/conventions.md:
the world is right-handed with z up, the camera frame has x right, y up and z toward the viewer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np

Codec = Literal["compact", "exact"]
"""How a dataset's clips are stored (docs/codecs.md)."""

CONTRACT_VERSION = 2
"""Raised when a change makes older readers misread a dataset."""


@dataclass(frozen=True)
class Attribute:
    """One per-pixel quantity of a clip.

    `sampling` says how a pixel gets its value: `filtered` is averaged over the pixel footprint (anti-aliased),
    `centre` is the surface hit by the ray through the pixel centre. `cycles` names the channels in Cycles'
    multilayer EXR, without the view-layer prefix; what has none is computed from the rest. `embedding` is the row in
    the published inverse renderer's attribute embedding table (16 x 1024).
    """

    name: str
    channels: int
    cycles: tuple[str, ...]
    space: Literal[
        "scene-linear Rec.709", "linear Rec.709", "camera", "planar z", "linear", "coverage", "index", "image"
    ]
    unit: str
    low: float
    high: float
    background: tuple[float, ...]
    sampling: Literal["filtered", "centre"]
    dtype: Literal["float32", "uint16"]
    exact: Literal["half", "float", "uint"]
    compact: Literal["srgb", "unit", "coverage", "azimuthal", "log-depth", "index", "asinh", "bits"]
    embedding: int | None
    required: bool
    meaning: str

    @property
    def is_vector(self) -> bool:
        """True for unit vectors, whose length is 1 on every pixel, background included."""
        return self.space == "camera"

    def background_array(self) -> np.ndarray:
        """Background value as an array of shape (channels,) in the attribute's dtype."""
        return np.asarray(self.background, dtype=self.dtype)


_INF = float("inf")
_UP_Z = (0.0, 0.0, 1.0)

# fmt: off
_TABLE = (
    Attribute(
        "rgb", 3, ("Combined.R", "Combined.G", "Combined.B"), "scene-linear Rec.709", "radiance",
        0.0, 65504.0, (0.0, 0.0, 0.0), "filtered", "float32", "half", "srgb", None, True,
        "path-traced radiance; the environment is visible behind the scene. `exact` keeps it as HDR; `compact` keeps "
        "sRGB(exposure * rgb) clipped to [0, 1], which is also what the networks see",
    ),
    Attribute(
        "basecolor", 3, ("basecolor.R", "basecolor.G", "basecolor.B"), "linear Rec.709", "reflectance",
        0.0, 1.0, (0.0, 0.0, 0.0), "filtered", "float32", "half", "srgb", 0, True,
        "base colour of the metallic-roughness model (not diffuse albedo); sRGB-encoded for the networks and in 8-bit",
    ),
    Attribute(
        "normal", 3, ("Normal.X", "Normal.Y", "Normal.Z"), "camera", "unit vector",
        -1.0, 1.0, _UP_Z, "filtered", "float32", "half", "azimuthal", 3, True,
        "shading normal (bump included) in the camera frame: x right, y up, z toward the viewer",
    ),
    Attribute(
        "geometric_normal", 3, ("geometric_normal.R", "geometric_normal.G", "geometric_normal.B"), "camera",
        "unit vector", -1.0, 1.0, _UP_Z, "filtered", "float32", "half", "azimuthal", None, False,
        "normal of the true geometry in the camera frame, without bump or smoothing",
    ),
    Attribute(
        "depth", 1, ("Depth.Z",), "planar z", "scene unit",
        0.0, _INF, (_INF,), "centre", "float32", "float", "log-depth", 4, True,
        "distance along the viewing axis (planar z, not ray length); the networks see relative depth in [0, 1]",
    ),
    Attribute(
        "roughness", 1, ("roughness.X",), "linear", "1",
        0.0, 1.0, (0.5,), "filtered", "float32", "half", "unit", 2, True,
        "perceptual roughness of the metallic-roughness model (alpha = roughness squared)",
    ),
    Attribute(
        "metallic", 1, ("metallic.X",), "linear", "1",
        0.0, 1.0, (0.0,), "filtered", "float32", "half", "unit", 1, True,
        "metalness of the metallic-roughness model",
    ),
    Attribute(
        "mask", 1, ("mask.X",), "coverage", "1",
        0.0, 1.0, (0.0,), "filtered", "float32", "half", "coverage", None, True,
        "share of the pixel covered by surfaces; 0 where only the environment is seen",
    ),
    Attribute(
        "instance", 1, ("Object Index.X",), "index", "index",
        0.0, 65535.0, (0.0,), "centre", "uint16", "uint", "index", None, True,
        "object index: 0 background, 1 ground, 2 and up the objects in the order of the spec",
    ),
    Attribute(
        "flow", 4, (), "image", "pixel",
        -16384.0, 16384.0, (0.0, 0.0, 0.0, 0.0), "centre", "float32", "float", "asinh", None, False,
        "x and y (right, down) to where the surface is in the next frame, then to where it was in the last; the sky "
        "turns with the camera. 0 where there is no such frame, or the point is then not in front of the camera",
    ),
    Attribute(
        "flow_visible", 2, (), "coverage", "1",
        0.0, 1.0, (0.0, 0.0), "centre", "float32", "half", "bits", None, False,
        "1 where the surface is seen in the next frame too, then in the last: not hidden, and inside the image",
    ),
)
# fmt: on

ATTRIBUTES: Mapping[str, Attribute] = MappingProxyType({attribute.name: attribute for attribute in _TABLE})
"""Attribute by name, in the order of the table."""

GBUFFERS: tuple[str, ...] = ("basecolor", "normal", "depth", "roughness", "metallic")
"""The five G-buffers in the order in which the published forward renderer concatenates them."""


def attribute(name: str) -> Attribute:
    """Return the attribute called `name`; raises KeyError naming the known ones."""
    try:
        return ATTRIBUTES[name]
    except KeyError:
        raise KeyError(f"unknown attribute {name!r}; the table knows {', '.join(ATTRIBUTES)}") from None
