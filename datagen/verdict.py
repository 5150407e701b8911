"""What examining one mesh file came to, and the formula of its score."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from datagen.assetfile import Inspection
from manifests.row import MaterialUse
from scenes.spec import Footprint

_SANE = (500, 500_000)
_EXTREME = (12, 5_000_000)
_RESOLVED = {"resolved": 1.0, "approximated": 0.5}


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """Result of one file. `reason` is "" for a file that can be used, else one of `datagen.assetfile.Reason`.

    `polygons` and `size` (file units, z up) are of the imported meshes; `materials` say how each was resolved.
    """

    reason: str = ""
    message: str = ""
    log_tail: str = ""
    footprint: Footprint | None = None
    polygons: int = 0
    size: tuple[float, float, float] = (0.0, 0.0, 0.0)
    materials: tuple[MaterialUse, ...] = ()
    flags: tuple[str, ...] = ()
    score: float = 0.0
    seconds: float = 0.0


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
