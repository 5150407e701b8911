"""What the material controls say, in the words of `lightloom edit --set`; and looks to start from."""

from __future__ import annotations

import re
from collections.abc import Sequence

from manifests.errors import InputError

CHANGES = {"base colour": "basecolor", "roughness": "roughness", "metallic": "metallic"}
"""What can be changed: names for people, and the edit's own."""

LOOKS = {
    "chrome": ("#c8c8cc", 0.05, 1.0),
    "gold": ("#ffd88a", 0.2, 1.0),
    "copper": ("#f0a27e", 0.35, 1.0),
    "red lacquer": ("#a01515", 0.08, 0.0),
    "white plastic": ("#e6e6e6", 0.35, 0.0),
    "black rubber": ("#1c1c1c", 0.85, 0.0),
    "clay": ("#b07a5c", 0.95, 0.0),
}
"""Base colour, roughness and metallic by name."""

_NUMBERS = re.compile(r"[\d.]+")


def material_words(
    changes: Sequence[str], colour: str, texture: str | None, roughness: float, metallic: float
) -> list[str]:
    """The chosen changes as NAME=VALUE; a texture's path stands in place of the colour."""
    if not changes:
        raise InputError("nothing is ticked under Change", "say what shall be changed")
    values = {"basecolor": texture or hex_colour(colour), "roughness": roughness, "metallic": metallic}
    return [f"{CHANGES[change]}={values[CHANGES[change]]}" for change in changes]


def hex_colour(colour: str) -> str:
    """`#rrggbb` of what a colour picker gives: that, or `rgb(r, g, b)` and `rgba(r, g, b, a)` with fractions."""
    if not colour.startswith("rgb"):
        return colour
    numbers = [min(round(float(number)), 255) for number in _NUMBERS.findall(colour)[:3]]
    return "#" + "".join(f"{number:02x}" for number in numbers)
