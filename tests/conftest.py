"""Makes `tests/` importable, for what the rooms' tests share, and keeps Blender's tests and torch's apart."""

from __future__ import annotations

import pytest

BLENDER = ("datagen", "lightloom")
TORCH = ("renderers", "labeling", "training")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Blender and torch crash each other in one process, so one run tests the one or the other."""
    rooms = {item.path.parts[item.path.parts.index("tests") + 1] for item in items if "tests" in item.path.parts}
    if rooms & set(BLENDER) and rooms & set(TORCH):
        raise pytest.InputError("Blender and torch do not go together in one process: use `make test`, or name a room")
