"""Both stages, into a folder and into a bucket, on this machine and on two nodes, killed at random thirty times each.

Run with `pytest -m slow`; KILLS and KILLS_SEED in the environment choose how many, and which.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from drivers import Driver, held_nodes
from labelkit import make_source, save_inverse
from wholeness import assert_whole, content

from manifests.object_path import ObjectPath, Place, place
from manifests.store import layout
from manifests.store.dataset import open_dataset

pytestmark = [pytest.mark.slow, pytest.mark.ray, pytest.mark.timeout(7200)]
TESTS = Path(__file__).parents[1]
KILLS = int(os.environ.get("KILLS", "30"))
ENDS_AT_ONCE = ("Ray stopped", "GCS", "raylet because it is dead", "connection to Ray", "register worker to Raylet")
ENVIRONMENT = {
    "RAY_AUTH_MODE": "disabled",
    "PYTHONPATH": os.pathsep.join(map(str, (TESTS / "datagen", TESTS / "labeling", TESTS.parent))),
}

type Start = Callable[[Place, int, str], Driver]


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Start]:
    """How a run of each stage is started: on a dataset, with so many workers, on the Ray at an address."""
    folder = tmp_path_factory.mktemp("footage")
    source, weights = make_source(folder / "videos", items=12), save_inverse(folder / "inverse")

    def datagen(path: Place, workers: int, address: str) -> Driver:
        return driver("datagen/drive_datagen.py", path, 48, workers, address)

    def label(path: Place, workers: int, address: str) -> Driver:
        return driver("labeling/drive_label.py", source, weights, path, workers, address)

    return {"datagen": datagen, "label": label}


def driver(script: str, *arguments: object) -> Driver:
    return Driver([sys.executable, str(TESTS / script), *(str(one) for one in arguments)], ENVIRONMENT)


def strike(kind: str, run: Driver, cluster: Driver | None) -> bool:
    """Kill; False where there was nothing of the kind."""
    if cluster is None or kind == "driver":
        return run.kill(kind)
    if kind == "worker":
        return cluster.kill("worker")
    cluster.write("kill\n\n")  # the second node, and another joins
    return True


def until_complete(
    start: Callable[[], Driver], kinds: Sequence[str], cluster: Driver | None, rng: np.random.Generator, most: int
) -> list[str]:
    """Start over and over, killing at most so often; what was killed."""
    kills: list[str] = []
    while True:
        with start() as run:
            while run.running:
                time.sleep(rng.uniform(0.0, 12.0))
                kind = kinds[len(kills) % len(kinds)]
                if len(kills) < most and run.running and strike(kind, run, cluster):
                    kills.append(kind)
                    if kind in ("driver", "raylet", "gcs"):
                        break
            code, said = run.wait(900), run.output() + (cluster.output() if cluster else "")
        assert code in (0, -9) or any(words in said for words in ENDS_AT_ONCE), said
        if code == 0:
            return kills


@pytest.mark.parametrize("nodes", [1, 2])
@pytest.mark.parametrize("where", ["folder", "bucket"])
@pytest.mark.parametrize("stage", ["datagen", "label"])
def test_kills_lose_and_double_nothing(
    stage: str, where: str, nodes: int, commands: dict[str, Start], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    rng = np.random.default_rng(int(os.environ.get("KILLS_SEED", "0")))
    with commands[stage](tmp_path / "undisturbed", 1, "") as undisturbed:
        assert undisturbed.wait(1800) == 0, undisturbed.output()
    expected = content(open_dataset(tmp_path / "undisturbed"))
    folder: Place = request.getfixturevalue("bucket") if where == "bucket" else tmp_path
    kinds = ("driver", "worker", "raylet", "gcs") if nodes == 1 else ("driver", "worker", "node")
    kills: list[str] = []
    rounds = 0
    with ExitStack() as stack:
        cluster, address = stack.enter_context(held_nodes(2, ENVIRONMENT)) if nodes == 2 else (None, "")
        while len(kills) < KILLS:
            path = folder / f"killed-{rounds}"

            def start(path: Place = path) -> Driver:
                if isinstance(path, ObjectPath):
                    (path / layout.LOCK).unlink(missing_ok=True)  # as if the thirty seconds of the lease had passed
                return commands[stage](path, int(rng.integers(1, 3)), address)

            kills += until_complete(start, kinds, cluster, rng, KILLS - len(kills))
            assert_whole(place(str(path)), expected, f"after {kills}")
            rounds += 1
    print(f"{stage}, {where}, {nodes} nodes: {len(kills)} kills in {rounds} datasets, nothing lost or doubled")
