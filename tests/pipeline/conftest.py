from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from toy_stage import QUICK

from pipeline.cluster import connect
from pipeline.options import RunOptions

HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def workers_find_the_toy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(HERE))


@pytest.fixture(scope="session")
def shared_ray() -> Iterator[None]:
    """A Ray that several tests share, since starting one takes seconds."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = str(HERE)
    cluster = connect(QUICK)
    yield
    cluster.close()
    if before is not None:
        os.environ["PYTHONPATH"] = before


@pytest.fixture
def quick(shared_ray: None) -> RunOptions:
    return QUICK
