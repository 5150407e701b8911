"""How many items a second the engine itself can take, and what its driver needs: a stage that makes nothing.

    python -m benchmarks.scale --items 150000
    python -m benchmarks.scale out/null --items 150000      # stays there; goes on, or only asks, when it is complete
    python -m benchmarks.scale s3://bucket/null --items 10000

Every item is one clip of `--bytes` random bytes that brings its preview. Prints items a second from the first to the
end, CPU milliseconds an item, the driver's resident memory halfway and at the end, seconds until the first item was
begun, and seconds that questions to the dataset take. Workers are never replaced: that costs a second or two each time.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil

from manifests.audit.stats import stats
from manifests.audit.verify import verify
from manifests.contract.clip import Clip
from manifests.contract.row import ClipRow, Sample
from manifests.object_path import Place, place
from manifests.store.dataset import open_or_create
from manifests.store.header import Header
from manifests.store.previews import strip_of
from pipeline.engine import run
from pipeline.ledger import status
from pipeline.options import RunOptions
from pipeline.stage import Encode

HEADER = (
    "| items | a second | CPU ms an item, driver of all | driver MiB, halfway, end | first item s | status s | stats s "
    "| verify s |"
)


@dataclass(frozen=True)
class NullStage:
    """Items of one clip of `size` bytes, no two alike, that cost nothing to make."""

    items: int
    per_shard: int
    size: int
    begun: Path
    name: str = "null"

    def make_worker(self) -> NullWorker:
        return NullWorker(self)

    def describe(self, index: int) -> str:
        return f'{{"null":{index}}}'


class NullWorker:
    def __init__(self, stage: NullStage) -> None:
        self._stage, self._noise = stage, random.Random(0).randbytes(stage.size)
        grey = np.full((1, 8, 8, 3), 0.5, np.float32)
        self._preview = strip_of(Clip("null", {"rgb": grey}))

    def produce(self, index: int) -> Encode:
        if not self._stage.begun.exists():
            self._stage.begun.write_text(str(time.time()))
        row = ClipRow(
            key=f"{index:08d}-00", item=index, stage="null", frames=1, height=8, width=8, fps=1.0, attributes=("rgb",)
        )
        data = index.to_bytes(8) + self._noise[8:]
        return lambda: [Sample(row.key, {"data.bin": data}, row, self._preview)]

    def close(self) -> None:
        pass


class Processes:
    """Resident MiB of this process over time, and the CPU seconds of all that it and Ray started, as last seen."""

    def __init__(self) -> None:
        self.memory: list[float] = []
        self._cpu: dict[int, float] = {}
        self._own = 0.0
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        here = psutil.Process()
        while True:
            self.memory.append(here.memory_info().rss / 2**20)
            for child in here.children(recursive=True):
                with suppress(psutil.Error):
                    times = child.cpu_times()
                    self._cpu[child.pid] = times.user + times.system
            self._own = time.thread_time()
            time.sleep(1)

    def seconds(self) -> tuple[float, float]:
        """Of this process but for this thread, and of all."""
        driver = time.process_time() - self._own
        return driver, driver + sum(self._cpu.values())


def measure(folder: Place, begun: Path, options: argparse.Namespace) -> None:
    stage = NullStage(options.items, options.per_shard, options.bytes, begun)
    header = Header(stage="null", codec="exact", recipe={}, seed=0, items=stage.items, per_shard=stage.per_shard)
    dataset = open_or_create(folder, header)
    processes = Processes()
    before, began = processes.seconds(), time.time()
    report = run(dataset, stage, RunOptions(workers=options.workers, gpus_per_worker=0, recycle_after_items=1 << 20))
    memory, spent = processes.memory.copy(), zip(processes.seconds(), before, strict=True)
    driver, every = (1000 * (now - then) / max(report.clips, 1) for now, then in spent)
    first = float(begun.read_text()) if begun.exists() else time.time()
    rate = report.clips / max(time.time() - first, 1e-6)
    asked = {}
    for name, ask in (("status", status), ("stats", stats), ("verify", lambda path: verify(path, threads=2))):
        since = time.perf_counter()
        ask(folder)
        asked[name] = time.perf_counter() - since
    half, last = memory[len(memory) // 2], memory[-1]
    print(HEADER)
    print("|" + "---|" * HEADER.count(" |"))
    print(
        f"| {report.clips} | {rate:.0f} | {driver:.2f} of {every:.2f} | {half:.0f}, {last:.0f} | {first - began:.1f} | "
        + " | ".join(f"{seconds:.2f}" for seconds in asked.values())
        + " |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", nargs="?", help="folder or bucket that stays; a temporary folder if not given")
    parser.add_argument("--items", type=int, default=150_000)
    parser.add_argument("--bytes", type=int, default=25_000)
    parser.add_argument("--per-shard", type=int, default=64)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lightloom-bench-") as folder:
        measure(place(options.dataset or f"{folder}/null"), Path(folder) / "begun", options)


if __name__ == "__main__":
    main()
