"""Makes `tests/` importable, for what the rooms' tests share, and keeps Blender's tests and torch's apart."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest_plugins = ["tests.object_store"]

TESTS = Path(__file__).parent
BLENDER = {"datagen", "lightloom"}
TORCH = {"renderers", "labeling", "training"}


def pytest_configure(config: pytest.Config) -> None:
    """Refuse what would load both: Blender and torch crash each other in one process."""
    asked = [Path(config.invocation_params.dir, name.partition("::")[0]).resolve() for name in config.args]
    left_out = [Path(name).resolve() for name in config.getoption("ignore") or ()]
    rooms = {
        room.name
        for room in TESTS.iterdir()
        for path in asked
        if (room.is_relative_to(path) or path.is_relative_to(room)) and room not in left_out
    }
    if rooms & BLENDER and rooms & TORCH:
        raise pytest.UsageError(
            "Blender and torch crash each other in one process: `make test` runs all tests in two, `make quick` those "
            "that need neither, `pytest tests/ROOM` those of a room"
        )
