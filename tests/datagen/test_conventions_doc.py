from __future__ import annotations

import re
from pathlib import Path

from manifests.contract.attributes import ATTRIBUTES, Attribute

DOCUMENT = Path(__file__).parents[2] / "docs" / "conventions.md"


def cells(known: Attribute) -> list[str]:
    background = ", ".join(f"{value:g}" for value in known.background)
    return [
        f"`{known.name}`" if known.required else f"`{known.name}` (optional)",
        str(known.channels),
        known.space,
        known.unit,
        f"{known.low:g}",
        f"{known.high:g}",
        f"({background})" if known.channels > 1 else background,
        known.sampling,
        known.dtype,
    ]


def test_the_documented_table_is_the_attribute_table() -> None:
    text = DOCUMENT.read_text("utf-8")
    block = re.search(r"<!-- attributes -->\n(.*?)<!-- /attributes -->", text, re.DOTALL)
    assert block is not None
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in block[1].splitlines()[2:]]
    assert rows == [cells(known) for known in ATTRIBUTES.values()]
