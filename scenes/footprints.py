"""Footprints of the built-in meshes, measured once and shipped as data so that the catalogue opens at once.

`python -m scenes.footprints` measures them again after a generator has changed; a test does the same and compares.
Suzanne's is a constant: the renderer builds her, and a test measures what it built.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path

from scenes.meshes import build, footprint
from scenes.spec import Footprint

DATA = Path(__file__).parent / "data" / "footprints.json"
SUZANNE_FOOTPRINT = Footprint(radius=0.5359, height=0.7195)


@lru_cache(maxsize=1)
def footprints() -> dict[str, Footprint]:
    """Footprint of every built-in mesh by uid."""
    table = json.loads(DATA.read_text("utf-8"))
    shipped = {uid: Footprint(radius=radius, height=height) for uid, (radius, height) in table.items()}
    return shipped | {"builtin/mesh/suzanne": SUZANNE_FOOTPRINT}


def measure() -> dict[str, Footprint]:
    """Build every built-in mesh and measure it; takes some seconds."""
    from scenes.providers.builtin import mesh_sources

    return {source.uid: footprint(build(source.generator, source.params)) for source, _, _ in mesh_sources()}


def write() -> None:
    """Measure and write the data file, one mesh a line."""
    lines = (f"{json.dumps(uid)}: [{value.radius}, {value.height}]" for uid, value in measure().items())
    DATA.write_text("{\n" + ",\n".join(lines) + "\n}\n", "utf-8")


if __name__ == "__main__":
    write()
