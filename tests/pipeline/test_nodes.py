"""Workers sit where there is room: nodes with one core, nodes that join, nodes that cannot work."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from drivers import Driver, held_nodes, wait_until
from test_interruptions import done, drive
from toy_stage import ToyStage, content, expected, toy_dataset

from manifests.errors import RunError
from manifests.object_path import ObjectPath, Place
from manifests.store.dataset import open_dataset
from pipeline import actors
from pipeline.cluster import Cluster
from pipeline.nodes import Node, seats
from pipeline.options import RunOptions, share
from tests.object_store import SECRET

GIB = 2**30
HERE = Path(__file__).parent
SHARED = {"RAY_AUTH_MODE": "disabled", "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parents[1])])}


def node(key: str, cpus: float, gpus: float = 0, memory: float = 64 * GIB) -> Node:
    return Node(key, f"host-{key}", cpus, gpus, memory)


def placed(options: RunOptions, *there: Node) -> list[tuple[str, float, float]]:
    return [(seat.node.key, seat.share.cpus, seat.share.gpus) for seat in seats(options, there)]


def test_each_node_is_shared_out_by_itself() -> None:
    assert placed(RunOptions(), node("a", 1), node("b", 1)) == [("a", 1, 0), ("b", 1, 0)]
    assert placed(RunOptions(), node("a", 4), node("b", 16)) == [("a", 4, 0), ("b", 8, 0), ("b", 8, 0)]
    assert placed(RunOptions(), node("a", 0), node("b", 2)) == [("b", 2, 0)], "the head is kept free"
    assert placed(RunOptions(), node("a", 16, memory=5 * GIB)) == [("a", 16, 0)]


def test_nodes_without_gpus_stand_by_where_others_have_some() -> None:
    assert placed(RunOptions(), node("a", 8), node("b", 8, gpus=2)) == [("b", 4, 1), ("b", 4, 1)]
    assert placed(RunOptions(gpus_per_worker=0), node("a", 8), node("b", 8, gpus=2)) == [("a", 8, 0), ("b", 8, 0)]
    assert placed(RunOptions(gpus_per_worker=1), node("a", 8)) == []


def test_a_number_of_workers_is_spread_over_the_nodes() -> None:
    assert placed(RunOptions(workers=2), node("a", 1), node("b", 1)) == [("a", 1, 0), ("b", 1, 0)]
    assert placed(RunOptions(workers=1), node("a", 1), node("b", 2)) == [("b", 2, 0)]
    assert placed(RunOptions(workers=3), node("a", 2), node("b", 4)) == [("a", 2, 0), ("b", 2, 0), ("b", 2, 0)]
    assert placed(RunOptions(workers=4, gpus_per_worker=1), node("a", 8, gpus=2)) == [("a", 4, 1), ("a", 4, 1)]


def test_another_folder_at_the_same_path_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actors, "_SEEN_S", 0.0)
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    token = actors.write_token(ours)
    actors.check_token(ours, token)
    actors.write_token(theirs)
    with pytest.raises(RunError, match="does not see the dataset's folder, but another at the same path; mount one"):
        actors.check_token(theirs, token)
    with pytest.raises(RunError, match="does not see the dataset's folder; mount one"):
        actors.check_token(tmp_path / "nowhere", token)


@contextmanager
def running(folder: Place, stage: ToyStage, nodes: int) -> Iterator[tuple[Driver, Driver]]:
    """A run of a stage on so many nodes: who holds the nodes, and the run's driver."""
    with (
        held_nodes(nodes, SHARED) as (cluster, address),
        drive(folder, stage, SHARED, ray_address=address, workers=0) as driver,
    ):
        yield cluster, driver


@pytest.mark.ray
def test_nodes_join_and_those_that_cannot_work_are_left_out(tmp_path: Path) -> None:
    stage = ToyStage(items=60, per_shard=20, seconds=0.2, faults={-1: "start-where-broken"})
    with running(tmp_path, stage, 1) as (cluster, driver):
        wait_until(lambda: done(tmp_path, 20) > 2)
        cluster.write("TOY_BROKEN\n")
        cluster.write("\n")
        assert driver.wait() == 0, driver.output()
        assert "is left out: the toy worker cannot start" in driver.output()
    dataset = toy_dataset(tmp_path, stage)
    assert content(dataset) == expected(60)
    assert len({row.worker for row in dataset.rows()}) == 2, "the node that joined took its part"


@pytest.mark.ray
def test_a_node_without_credentials_is_left_out(bucket: ObjectPath) -> None:
    stage = ToyStage(items=40, per_shard=20, seconds=0.2)
    with running(bucket, stage, 1) as (cluster, driver):
        wait_until(lambda: done(bucket, 20) > 2 or not driver.running)
        cluster.write("AWS_SECRET_ACCESS_KEY=guess\n")
        assert driver.wait() == 0, driver.output()
        (told,) = [line for line in driver.output().splitlines() if "is left out" in line]
        assert "access is refused (403 SignatureDoesNotMatch); set the credentials" in told and SECRET not in told
    assert content(open_dataset(bucket)) == expected(40)


@pytest.mark.ray
@pytest.mark.slow
def test_a_node_that_is_preempted_hands_back_its_work_and_nothing_is_lost(tmp_path: Path) -> None:
    stage = ToyStage(items=120, per_shard=20, seconds=0.2)
    with running(tmp_path, stage, 2) as (cluster, driver):
        wait_until(lambda: done(tmp_path, 20) > 20)
        cluster.write("drain\n")
        wait_until(lambda: cluster.output().splitlines()[-1] == "True")
        begun = done(tmp_path, 20)
        wait_until(lambda: done(tmp_path, 20) > begun + 50)  # seven seconds: nodes are counted every three
        cluster.write("terminate\n")
        assert driver.wait() == 0, driver.output()
    dataset = toy_dataset(tmp_path, stage)
    assert content(dataset) == expected(120) and dataset.failures() == []
    rows = sorted(dataset.rows(), key=lambda row: row.item)
    assert {row.attempts for row in rows} == {1}, "its worker was let finish"
    assert len({row.worker for row in rows[:30]}) == 2 and len({row.worker for row in rows[-40:]}) == 1


@pytest.mark.ray
@pytest.mark.slow
def test_a_node_that_no_network_reaches_is_given_up_and_its_items_are_made_elsewhere(tmp_path: Path) -> None:
    stage = ToyStage(items=60, per_shard=20, seconds=0.2)
    with running(tmp_path, stage, 2) as (cluster, driver):
        wait_until(lambda: done(tmp_path, 20) > 10)
        cluster.write("silence\n")
        assert driver.wait(300) == 0, driver.output()
    dataset = toy_dataset(tmp_path, stage)
    assert content(dataset) == expected(60) and dataset.failures() == []
    assert max(row.attempts for row in dataset.rows()) == 2, "what it held was begun again"


def test_an_autoscaler_is_asked_for_the_workers_that_the_items_can_use(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[dict[str, float]]] = []
    monkeypatch.setattr("pipeline.cluster.request_resources", lambda *, bundles: asked.append(bundles))
    part = share(RunOptions(), 8, 1, 64 * GIB)
    joined = Cluster(RunOptions(ray_address="auto", workers=3))
    for items in (100, 50, 2):
        joined.request(items, part)
    assert asked == [[{"CPU": 8, "GPU": 1}] * 3, [{"CPU": 8, "GPU": 1}] * 2]
    Cluster(RunOptions()).request(100, part)
    assert len(asked) == 2, "a Ray of its own has none"


def test_the_files_for_clusters_mount_one_folder_and_keep_the_head_free() -> None:
    docs = HERE.parents[1] / "docs"
    kuberay = yaml.safe_load((docs / "kuberay.yaml").read_text())
    assert (kuberay["apiVersion"], kuberay["kind"]) == ("ray.io/v1", "RayCluster")
    spec = kuberay["spec"]
    assert spec["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"]):
        pod = group["template"]["spec"]
        assert [claim["persistentVolumeClaim"]["claimName"] for claim in pod["volumes"]] == ["lightloom-data"]
        assert [mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]] == ["/data"]
    assert all(group["minReplicas"] <= group["maxReplicas"] for group in spec["workerGroupSpecs"])
    slurm = docs / "slurm.sh"
    assert subprocess.run(["bash", "-n", str(slurm)], check=False).returncode == 0
    assert "--num-cpus=0" in slurm.read_text() and "#SBATCH --nodes=" in slurm.read_text()
