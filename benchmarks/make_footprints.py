"""Measure the built-in meshes and write `scenes/data/footprints.json`; run it after a mesh generator has changed.

usage: python -m benchmarks.make_footprints
"""

from __future__ import annotations

import json

from scenes.meshes import FOOTPRINTS, build, footprint
from scenes.providers.builtin import mesh_sources
from scenes.spec import Footprint


def measure() -> dict[str, Footprint]:
    """Build every built-in mesh and measure it; takes some seconds."""
    return {source.uid: footprint(build(source.generator, source.params)) for source, _, _ in mesh_sources()}


if __name__ == "__main__":
    lines = (f"{json.dumps(uid)}: [{value.radius}, {value.height}]" for uid, value in measure().items())
    FOOTPRINTS.write_text("{\n" + ",\n".join(lines) + "\n}\n", "utf-8")
