"""A stage of tiny items for the engine's tests; `faults` says which item misbehaves, and how."""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from manifests.contract.row import ClipRow, Sample
from manifests.errors import ItemError, StorageError
from manifests.store.dataset import Dataset, open_or_create
from manifests.store.header import Header
from pipeline.options import RunOptions
from pipeline.stage import Encode

QUICK = RunOptions(workers=2, cpus_per_worker=1, show_progress=False, time_limit_s=60)


@dataclass(frozen=True)
class ToyStage:
    items: int
    per_shard: int
    faults: Mapping[int, str] = field(default_factory=dict)
    seconds: float = 0.0
    encode_seconds: float = 0.0
    ballast_mb: int = 0
    clip_bytes: int = 1000
    notes: Path | None = None
    name: str = "toy"

    def make_worker(self) -> ToyWorker:
        if self.faults.get(-1) == "start":
            raise RuntimeError("the toy cannot be built")
        if self.faults.get(-1) == "start-where-broken" and "TOY_BROKEN" in os.environ:
            raise RuntimeError("the toy cannot be built here")
        if self.faults.get(-1) == "start-crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        return ToyWorker(self)

    def describe(self, index: int) -> str:
        return f'{{"toy":{index}}}'


class ToyWorker:
    def __init__(self, stage: ToyStage) -> None:
        self._stage = stage
        self._ballast: list[np.ndarray] = []
        self._begun = threading.Event()
        self._note("made", -1)

    def produce(self, index: int) -> Encode:
        self._note("produce", index)
        self._begun.set()
        self._begun = threading.Event()
        fault = self._stage.faults.get(index, "")
        if self._stage.ballast_mb:
            self._ballast.append(np.ones(self._stage.ballast_mb << 20, np.uint8))
        time.sleep(self._stage.seconds)
        if fault in {"segfault", "ahead-segfault"}:
            print(f"last words of item {index}", file=sys.stderr)
            os.kill(os.getpid(), signal.SIGSEGV)
        if fault == "no-storage":
            raise StorageError("the store cannot be reached", "try again later", where="s3://assets/a.glb")
        if fault == "hang":
            time.sleep(600)
        if fault == "error":
            raise RuntimeError(f"item {index} is odd")
        if fault == "item-error":
            raise ItemError("corrupt-asset", f"item {index} has a corrupt asset")
        if fault == "segfault-once" and self._first_time(index):
            os.kill(os.getpid(), signal.SIGSEGV)
        begun = self._begun
        return lambda: self._encode(index, fault, begun)

    def close(self) -> None:
        self._note("close", -1)

    def _encode(self, index: int, fault: str, begun: threading.Event) -> list[Sample]:
        self._note("encode", index)
        time.sleep(self._stage.encode_seconds * (3 if fault == "encode-slow" else 1))
        self._note("encoded", index)
        if fault == "encode-segfault":
            signal.raise_signal(signal.SIGSEGV)
        if fault == "encode-needs-next" and not begun.wait(60):
            raise ItemError("no-overlap", f"item {index} was encoded before the next one was begun")
        if fault == "encode-error":
            raise ItemError("unencodable", f"item {index} cannot be encoded")
        if fault == "disk-full":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "somewhere")
        return [toy_sample(index, self._stage.clip_bytes)]

    def _first_time(self, index: int) -> bool:
        assert self._stage.notes is not None
        return (self._stage.notes / f"{os.getpid()}.txt").read_text().count(f"produce {index} ") == 1 and (
            sum(path.read_text().count(f"produce {index} ") for path in self._stage.notes.iterdir()) == 1
        )

    def _note(self, what: str, index: int) -> None:
        if self._stage.notes is not None:
            with (self._stage.notes / f"{os.getpid()}.txt").open("a") as file:
                file.write(f"{what} {index} \n")


def toy_sample(index: int, size: int = 1000) -> Sample:
    """The one clip of toy item `index`: its bytes depend on nothing else."""
    key = f"{index:08d}-00"
    data = np.random.default_rng(index).bytes(size)
    row = ClipRow(key=key, item=index, stage="toy", frames=1, height=8, width=8, fps=1.0, attributes=("rgb",))
    return Sample(key, {"data.bin": data}, row)


def toy_dataset(path: Path, stage: ToyStage) -> Dataset:
    """Open or create the dataset that `stage` fills."""
    header = Header(stage="toy", codec="exact", recipe={}, seed=0, items=stage.items, per_shard=stage.per_shard)
    return open_or_create(path, header)


def content(dataset: Dataset) -> dict[str, dict[str, bytes]]:
    """The files of every clip by key, read back through the manifests."""
    return {row.key: dataset.files(row) for row in dataset.rows()}


def expected(items: int, without: tuple[int, ...] = ()) -> dict[str, dict[str, bytes]]:
    """What `content` must return."""
    samples = [toy_sample(index) for index in range(items) if index not in without]
    return {sample.key: dict(sample.files) for sample in samples}


@dataclass(frozen=True)
class LookingStage(ToyStage):
    """A stage whose worker wants to hear of the item that comes next."""

    def make_worker(self) -> ToyWorker:
        return LookingWorker(self)


class LookingWorker(ToyWorker):
    def prefetch(self, index: int) -> None:
        self._note("ahead", index)
        if self._stage.faults.get(index) == "ahead-segfault":
            os.kill(os.getpid(), signal.SIGSEGV)
