"""Footprints of the built-in meshes, measured once and shipped as data so that the catalogue opens at once.

`python -m benchmarks.make_footprints` measures them again after a generator has changed; a test does so and compares.
Suzanne's is a constant: the renderer builds her, and a test measures what it built.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path

from scenes.spec import Footprint

DATA = Path(__file__).parent / "data" / "footprints.json"
SUZANNE_FOOTPRINT = Footprint(radius=0.5359, height=0.7195)


@lru_cache(maxsize=1)
def footprints() -> dict[str, Footprint]:
    """Footprint of every built-in mesh by uid."""
    table = json.loads(DATA.read_text("utf-8"))
    shipped = {uid: Footprint(radius=radius, height=height) for uid, (radius, height) in table.items()}
    return shipped | {"builtin/mesh/suzanne": SUZANNE_FOOTPRINT}
