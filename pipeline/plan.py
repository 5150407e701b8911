"""What a dataset will take: a few clips are really made by one worker, and what they cost is multiplied."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean, stdev

from manifests.contract.row import ClipRow
from manifests.errors import LightloomError
from manifests.store import layout
from manifests.store.dataset import Dataset
from pipeline.cluster import connect
from pipeline.engine import run
from pipeline.options import RunOptions, encoders
from pipeline.stage import Stage

_WORKERS = (1, 8, 32, 128)


@dataclass(frozen=True)
class ClipCost:
    """What one worker needed per clip, as means over the clips that were measured.

    Attributes:
        measured: how many clips.
        size: their (T, H, W).
        device: what made them.
        threads: CPU threads of the worker.
        seconds: wall time; encoding runs beside the work on later clips, `encoders` at a time, and counts where it is
            what the worker waits for.
        work_seconds: of the heavy part, rendering or the networks.
        encode_seconds: of encoding one clip, beside others.
        bytes: on disk, with a share of manifests and previews.
        spread: relative standard error of `seconds`; 0 for a single clip.
    """

    measured: int
    size: tuple[int, int, int]
    device: str
    threads: int
    seconds: float
    work_seconds: float
    encode_seconds: float
    bytes: float
    spread: float


def measure_clips(
    make: Callable[[Path], tuple[Dataset, Stage]],
    counted: Callable[[list[ClipRow]], list[ClipRow]],
    options: RunOptions | None = None,
) -> tuple[ClipCost, list[ClipRow]]:
    """Make a small dataset with one real worker in a temporary folder; what its clips cost, and all their rows.

    `make` creates the dataset in a folder and gives the stage that fills it. `counted` picks, from the rows in order
    of scene and light, those that are typical: the first clip pays for what a worker does only once.

    Raises LightloomError when no clip could be made.
    """
    options = replace(options or RunOptions(), workers=1)
    with tempfile.TemporaryDirectory(prefix="lightloom-plan-") as folder:
        dataset, stage = make(Path(folder) / "dataset")
        cluster = connect(options)
        try:
            run(dataset, stage, options)
            threads = cluster.seats()[0].share.threads
        finally:
            cluster.close()
        every = sorted(dataset.rows(), key=lambda row: (row.item, row.part))
        rows = counted(every)
        if not rows:
            failure = dataset.failures()[0]
            raise LightloomError(f"no clip could be measured: {failure.reason}: {failure.message}")
        files = [path for name in layout.SUFFIX for path in (dataset.path / name).iterdir()]
        size = sum(path.stat().st_size for path in files) / len(every)
    at_a_time = encoders(threads)
    times = [max(row.seconds, row.encode_seconds / at_a_time) for row in rows]
    cost = ClipCost(
        measured=len(rows),
        size=(rows[0].frames, rows[0].height, rows[0].width),
        device=rows[0].device,
        threads=threads,
        seconds=mean(times),
        work_seconds=mean(row.seconds for row in rows),
        encode_seconds=mean(row.encode_seconds for row in rows),
        bytes=size,
        spread=stdev(times) / mean(times) / len(times) ** 0.5 if len(times) > 1 else 0.0,
    )
    return cost, every


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A measurement and its extrapolation to a whole dataset.

    Attributes:
        clips: size of the dataset.
        cost: of a clip.
        price: of a worker hour, in any currency; 0 when not given.
    """

    clips: float
    cost: ClipCost
    price: float = 0.0

    @property
    def worker_hours(self) -> float:
        """Hours for one worker to make the whole dataset."""
        return self.clips * self.cost.seconds / 3600

    @property
    def bytes(self) -> float:
        """Size of the whole dataset."""
        return self.clips * self.cost.bytes

    def report(self, work: str, dataset: str, hidden: str) -> list[str]:
        """The plan for people, with what the stage calls its work, what the dataset is, and what the work hides."""
        cost, hours = self.cost, self.worker_hours
        frames, height, width = cost.size
        spread = f"standard error of the time {100 * cost.spread:.0f} %" if cost.measured > 1 else "one clip, no error"
        lines = [
            f"measured   {cost.measured} clips of {width}x{height}x{frames} on {cost.device} with {cost.threads} CPU "
            f"thread{'s' if cost.threads > 1 else ''}: {cost.work_seconds:.1f} s {work}, {cost.encode_seconds:.1f} s "
            f"encoding, {cost.bytes / 1e6:.2f} MB a clip (mean; {spread})",
            f"dataset    {dataset}",
            f"time       {hours:,.1f} worker hours, {hours * cost.threads:,.0f} core hours",
            *(f"           {count:>4} workers: {human_hours(hours / count)}" for count in _WORKERS),
        ]
        if self.price:
            lines.append(f"price      {hours * self.price:,.0f} at {self.price:g} a worker hour")
        lines += [
            "assumes    every worker is as fast as this one, with as many cores of its own; the measured clips are "
            "typical;",
            f"           {hidden}; starts, failures and the shared disk cost nothing",
        ]
        if "CPU" in cost.device:
            lines.append("           workers with a GPU were not measured here: run `plan` on a machine that has one")
        return lines


def human_hours(hours: float) -> str:
    """Hours as people read them; days from the third on."""
    return f"{hours:,.1f} h" if hours < 72 else f"{hours / 24:,.1f} days"
