"""Node graphs of the procedural families: `GRAPHS[name](canvas, params)` paints a Surface."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from datagen.blender.graphs import man_made, metals, natural
from datagen.blender.graphs.node_canvas import Canvas, MaterialParameters, Surface

GRAPHS: Mapping[str, Callable[[Canvas, MaterialParameters], Surface]] = MappingProxyType(
    {
        "wood": natural.wood,
        "rust": metals.rust,
        "tiles": man_made.tiles,
        "brushed": metals.brushed,
        "scratched": metals.scratched,
        "marble": natural.marble,
        "terrazzo": man_made.terrazzo,
        "fabric": man_made.fabric,
        "concrete": natural.concrete,
        "leather": man_made.leather,
        "flakes": metals.flakes,
        "gravel": natural.gravel,
        "pattern": man_made.pattern,
        "ceramic": man_made.ceramic,
        "plastic": man_made.plastic,
        "hammered": metals.hammered,
    }
)
"""The graph of every family in `scenes.procedural_materials.MATERIAL_FAMILIES`."""
