"""How a run is carried out. Nothing here changes what a dataset holds."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Literal

import psutil

from manifests.errors import InputError

CORES_PER_WORKER = 8
MEMORY_PER_WORKER = 4 << 30
MOST_ENCODERS = 4
_MOST_HOURS = 100_000
_CLOCK = re.compile(r"\d{1,2}:\d\d")

DeviceKind = Literal["auto", "OPTIX", "CUDA", "HIP", "METAL", "ONEAPI", "CPU"]
"""What Cycles may render on; "auto" takes the fastest that is there."""


@dataclass(frozen=True)
class RunOptions:
    """Options of one run; the dataset's content does not depend on them.

    Attributes:
        workers: worker processes; 0 chooses by cores, memory and GPUs.
        cpus_per_worker: CPU cores of each worker; 0 shares the machine's cores out evenly.
        gpus_per_worker: GPUs of each worker; negative means one where there are GPUs, else none.
        time_limit_s: longest time for one item before its worker is killed and the item quarantined as `timeout`.
        start_limit_s: longest wait for the first worker to be ready.
        attempts: how often an item may lose its worker or raise an unexpected error before it is quarantined.
        recycle_after_items: replace a worker after this many items (native libraries leak).
        recycle_rss_mb: replace a worker whose resident memory has reached this many MiB.
        max_failures: stop when more than this share of the run's items, and at least 20, were quarantined.
        stop_grace_s: after Ctrl-C, how long to wait for the clips that are being encoded.
        ray_address: an existing Ray cluster ("auto" or host:port); empty starts Ray on this machine.
        retry_failed: try the items again that were quarantined in an earlier run.
        show_progress: draw the progress bar on stderr.
        log_json: file that gets a line of JSON for every item, shard and node that something happens to.
        budget_hours: stop after this many hours, what is under way is finished first; 0 is no limit.
        until: stop so at this time, as 2026-01-31T07:00 or 07:00 (the next one), local time.
    """

    workers: int = 0
    cpus_per_worker: float = 0
    gpus_per_worker: float = -1
    time_limit_s: float = 3600.0
    start_limit_s: float = 1200.0
    attempts: int = 3
    recycle_after_items: int = 200
    recycle_rss_mb: int = 12_288
    max_failures: float = 0.5
    stop_grace_s: float = 20.0
    ray_address: str = ""
    retry_failed: bool = False
    show_progress: bool = True
    log_json: str = ""
    budget_hours: float = 0
    until: str = ""

    def __post_init__(self) -> None:
        checks = {
            "workers": (self.workers >= 0, "0 or more"),
            "cpus_per_worker": (self.cpus_per_worker >= 0, "0 or more"),
            "time_limit_s": (self.time_limit_s > 0, "more than 0"),
            "start_limit_s": (self.start_limit_s > 0, "more than 0"),
            "attempts": (self.attempts >= 1, "1 or more"),
            "recycle_after_items": (self.recycle_after_items >= 1, "1 or more"),
            "recycle_rss_mb": (self.recycle_rss_mb >= 1, "1 or more"),
            "max_failures": (0 <= self.max_failures <= 1, "0 to 1"),
            "stop_grace_s": (self.stop_grace_s >= 0, "0 or more"),
            "budget_hours": (0 <= self.budget_hours < _MOST_HOURS, f"0 to {_MOST_HOURS}"),
        }
        for name, (good, allowed) in checks.items():
            if not good:
                raise InputError(f"`{name}` is {getattr(self, name)}", f"give {allowed}", fields=(name,))
        self.stop_at(datetime.now())

    def stop_at(self, now: datetime) -> datetime | None:
        """When a run that begins at `now` stops by itself, if it does; InputError when `until` is no time."""
        ends = [now + timedelta(hours=self.budget_hours)] if self.budget_hours else []
        if self.until:
            try:
                clock = time.fromisoformat(self.until) if _CLOCK.fullmatch(self.until) else None
                day = datetime.combine(now, clock) if clock else datetime.fromisoformat(self.until)
            except ValueError:
                raise InputError(
                    f"`until` is {self.until!r}", "give a time such as 07:00 or 2026-01-31T07:00", fields=("until",)
                ) from None
            day = day.astimezone().replace(tzinfo=None) if day.tzinfo else day
            ends.append(day + timedelta(days=1) if clock and day <= now else day)
        return min(ends, default=None)


@dataclass(frozen=True)
class Share:
    """What each of `workers` worker processes gets; `placement` is the share of CPU that Ray is asked for.

    `placement` is smaller than `cpus` where the user asked for more than the machine has.
    """

    workers: int
    cpus: float
    gpus: float
    placement: float

    @property
    def threads(self) -> int:
        """Whole threads for one worker."""
        return max(1, int(self.cpus))


def share(options: RunOptions, cpus: float, gpus: float, memory: float) -> Share:
    """Share `cpus` cores, `gpus` GPUs and `memory` bytes out among workers, where the options leave it open.

    With GPUs: one worker for each. Without: one worker for every 8 cores, since path tracing scales over the cores of
    one process and each process costs memory; never more than one worker for 4 GiB.
    """
    gpus_each = options.gpus_per_worker if options.gpus_per_worker >= 0 else float(gpus > 0)
    workers = options.workers
    if not workers and gpus_each:
        workers = max(1, int(gpus / gpus_each))
    if not workers:
        cores = options.cpus_per_worker or CORES_PER_WORKER
        workers = max(1, min(int(cpus / cores), int(memory / MEMORY_PER_WORKER)))
    each = options.cpus_per_worker or max(1.0, cpus // workers)
    placement = min(each, int(1000 * cpus / workers) / 1000)
    return Share(workers=workers, cpus=each, gpus=gpus_each, placement=placement)


def encoders(threads: int) -> int:
    """Items that a worker of `threads` CPU threads encodes at a time: as many, but no more than memory has room for.

    A clip of 512x512x24 is 0.3 GB, and one more waits while the next is made.
    """
    return max(1, min(threads, MOST_ENCODERS))


def this_machine() -> tuple[float, float]:
    """Usable CPU cores and bytes of memory of this machine."""
    return float(len(os.sched_getaffinity(0))), float(psutil.virtual_memory().total)
