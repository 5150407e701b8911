"""How many items a second the engine itself can take, and what its driver needs: a stage that makes nothing.

    python -m benchmarks.scale out/null --items 150000
    python -m benchmarks.scale out/null --items 150000      # again: goes on where it was, or only measures queries

Every item is one clip of `--bytes` random bytes. Prints items a second, the driver's CPU seconds and
resident memory, the time until the first item was begun, and how long questions to the dataset take.
"""

from __future__ import annotations

import argparse
import random
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from manifests.audit.stats import stats
from manifests.contract.row import ClipRow, Sample
from manifests.store.dataset import open_or_create
from manifests.store.header import Header
from pipeline.engine import run
from pipeline.ledger import status
from pipeline.options import RunOptions
from pipeline.stage import Encode


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

    def produce(self, index: int) -> Encode:
        if not self._stage.begun.exists():
            self._stage.begun.write_text(str(time.time()))
        row = ClipRow(
            key=f"{index:08d}-00", item=index, stage="null", frames=1, height=8, width=8, fps=1.0, attributes=("rgb",)
        )
        data = index.to_bytes(8) + self._noise[8:]
        return lambda: [Sample(row.key, {"data.bin": data}, row)]

    def close(self) -> None:
        pass


class DriverMemory:
    """Resident MiB of this process over time."""

    def __init__(self) -> None:
        self.seen: list[float] = []
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while True:
            self.seen.append(psutil.Process().memory_info().rss / 2**20)
            time.sleep(1)

    def line(self) -> str:
        half, last, most = self.seen[len(self.seen) // 2], self.seen[-1], max(self.seen)
        return f"{half:.0f} MiB halfway, {last:.0f} at the end, {most:.0f} at most"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--items", type=int, default=150_000)
    parser.add_argument("--bytes", type=int, default=25_000)
    parser.add_argument("--per-shard", type=int, default=64)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    begun = options.dataset.with_name(f"{options.dataset.name}.begun")
    begun.unlink(missing_ok=True)
    stage = NullStage(options.items, options.per_shard, options.bytes, begun)
    header = Header(stage="null", codec="exact", recipe={}, seed=0, items=stage.items, per_shard=stage.per_shard)
    dataset = open_or_create(options.dataset, header)
    memory, before, began = DriverMemory(), time.process_time(), time.time()
    report = run(dataset, stage, RunOptions(workers=options.workers, gpus_per_worker=0))
    if begun.exists():
        first, busy = float(begun.read_text()), time.process_time() - before
        seconds = time.time() - first
        print(f"{report.clips} items in {seconds:.0f} s, {report.clips / seconds:.0f} a second; ", end="")
        print(f"the first was begun after {first - began:.1f} s")
        print(f"driver: {busy:.0f} CPU seconds, {1000 * busy / max(report.clips, 1):.2f} ms an item, {memory.line()}")
    for name, ask in (("status", status), ("stats", stats)):
        began = time.perf_counter()
        ask(options.dataset)
        print(f"{name}: {time.perf_counter() - began:.2f} s")


if __name__ == "__main__":
    main()
