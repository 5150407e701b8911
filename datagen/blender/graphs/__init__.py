"""Node graphs of the procedural families: `GRAPHS[name](canvas, params)` paints a Surface."""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType

from datagen.blender.graphs import man_made, metals, natural, outdoors
from datagen.blender.graphs.node_canvas import Canvas, MaterialParameters, Surface

_PAINTERS: tuple[Callable[[Canvas, MaterialParameters], Surface], ...] = (
    *(natural.wood, natural.marble, natural.concrete, natural.gravel),
    *(metals.rust, metals.brushed, metals.scratched, metals.flakes, metals.hammered),
    *(man_made.tiles, man_made.terrazzo, man_made.fabric, man_made.leather),
    *(man_made.pattern, man_made.ceramic, man_made.plastic),
)
GRAPHS = MappingProxyType({paint.__name__: paint for paint in _PAINTERS})
"""The graph of every family in `scenes.procedural_materials.MATERIAL_FAMILIES`, by name."""

SETTING_GRAPHS = MappingProxyType(
    {paint.__name__: paint for paint in (outdoors.land, outdoors.mottled, outdoors.water)}
)
"""The graphs of what only settings are made of, by name; no catalogue lists them."""
