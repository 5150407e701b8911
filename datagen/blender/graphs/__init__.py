"""Node graphs of the procedural families: `FAMILIES[name](canvas, knobs)` paints a Surface."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from datagen.blender.graphs import made, metals, natural
from datagen.blender.graphs.canvas import Canvas, Surface
from datagen.blender.graphs.knobs import Knobs

FAMILIES: Mapping[str, Callable[[Canvas, Knobs], Surface]] = MappingProxyType(
    {
        "wood": natural.wood,
        "rust": metals.rust,
        "tiles": made.tiles,
        "brushed": metals.brushed,
        "scratched": metals.scratched,
        "marble": natural.marble,
        "terrazzo": made.terrazzo,
        "fabric": made.fabric,
        "concrete": natural.concrete,
        "leather": made.leather,
        "flakes": metals.flakes,
        "gravel": natural.gravel,
        "pattern": made.pattern,
        "ceramic": made.ceramic,
        "plastic": made.plastic,
        "hammered": metals.hammered,
    }
)
"""The graph of every family in `scenes.looks.FAMILIES`."""
