from __future__ import annotations

from pathlib import Path

import pytest

from datagen.resolver import Resolver
from tests.datagen import analytic


@pytest.fixture
def resolver(tmp_path: Path) -> Resolver:
    return analytic.resolver(tmp_path)


@pytest.fixture
def cpu() -> None:
    """Blender in this process, on the CPU."""
    from datagen.blender import session

    session.start("CPU")
