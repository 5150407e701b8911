"""What a run tells while it goes on: the ledger for `status`, a log of JSON lines, and metrics for Prometheus.

Ray's own exporter serves the metrics; docs/grafana.json shows them.
"""

from __future__ import annotations

import os
import time
from collections import Counter as Counts
from contextlib import suppress
from typing import Any

import msgspec
from ray.util.metrics import Counter, Gauge

from manifests.errors import InputError, LightloomError
from manifests.store.dataset import Dataset
from pipeline.ledger import WINDOW_S, CountedShard, Ledger, Moment, ShardTally, stamp, write_ledger

_EVERY_S = 5.0
_CLOCK_SET_S = 5.0  # the clock of the wall moved by so much more, or less, than time did

METRICS = {
    "lightloom_items_finished": "work items finished",
    "lightloom_items_failed": "work items quarantined",
    "lightloom_clips": "clips of finished items",
    "lightloom_shards_committed": "shards committed",
    "lightloom_bytes_committed": "bytes of committed shards",
    "lightloom_workers": "workers that are ready",
    "lightloom_items_left": "work items still to be done",
}
"""What is counted, by the names that Prometheus sees; the last two go up and down."""


class Telemetry:
    """Hears of everything that happens in a run, and passes it on, until it is closed.

    Args:
        dataset, ledger: whose ledger is kept.
        stage: its name goes with every metric, as does the dataset's.
        log: file that gets a line of JSON for each event, "" for none.
    """

    def __init__(self, dataset: Dataset, ledger: Ledger, stage: str, log: str = "") -> None:
        self._dataset, self._ledger = dataset, ledger
        self._clips, self._items = 0, 0
        self._nodes: Counts[str] = Counts()
        self._counted: Counts[tuple[str, str, str]] = Counts()
        self._written, self._shown = -_EVERY_S, 0.0
        try:
            self._log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644) if log else None
        except OSError as error:
            raise InputError(
                f"`log_json` cannot be written: {error.strerror}", where=log, fields=("log_json",)
            ) from None
        tags = {"stage": stage, "dataset": dataset.path.name}
        kinds = {name: Gauge if name.endswith(("_workers", "_left")) else Counter for name in METRICS}
        self._metrics: dict[str, Any] = {
            name: kind(name, METRICS[name], tag_keys=(*tags, "node", "reason")) for name, kind in kinds.items()
        }
        for metric in self._metrics.values():
            metric.set_default_tags({**tags, "node": "", "reason": ""})
        ledger.moments.clear()
        self._event("start", dataset=str(dataset.path), stage=stage, items=dataset.header.items)

    def finished(self, item: int, clips: int, node: str) -> None:
        """An item is finished."""
        self._items, self._clips = self._items + 1, self._clips + clips
        self._nodes[node] += clips
        self._add("lightloom_items_finished", 1, node)
        self._add("lightloom_clips", clips, node)
        self._event("finished", item=item, clips=clips, node=node)

    def failed(self, item: int, reason: str, message: str, node: str) -> None:
        """An item is quarantined."""
        self._items += 1
        self._add("lightloom_items_failed", 1, node, reason)
        self._event("failed", item=item, reason=reason, message=message, node=node)

    def packed(self, shard: int, tally: ShardTally) -> None:
        """A shard is committed."""
        self._ledger.shards[shard] = CountedShard(stamp(self._dataset, shard), tally)
        self._add("lightloom_shards_committed", 1)
        self._add("lightloom_bytes_committed", tally.bytes)
        self._event("packed", shard=shard, clips=tally.clips, bytes=tally.bytes)

    def left_out(self, node: str, cause: str) -> None:
        """A node gets no more items."""
        self._event("left out", node=node, cause=cause)

    def tick(self, workers: int, left: int) -> None:
        """Called all the time; writes the ledger now and then."""
        waited, shown = time.monotonic() - self._written, time.time()
        if waited < _EVERY_S:
            return
        if abs(shown - self._shown - waited) > _CLOCK_SET_S:
            self._ledger.moments = []  # rates are of the time since then
        self._written, self._shown = self._written + waited, shown
        self._tell()
        self._metrics["lightloom_workers"].set(workers)
        self._metrics["lightloom_items_left"].set(left)
        moments = [one for one in self._ledger.moments if shown - one.time < WINDOW_S]
        self._ledger.moments = [*moments, Moment(shown, self._clips, self._items, dict(self._nodes))]
        write_ledger(self._dataset, self._ledger)

    def close(self, why: str) -> None:
        """The run is over; `why` is "complete" or what stopped it."""
        self._tell()
        with suppress(OSError, LightloomError):  # the disk may be full, and the ledger is only a copy
            write_ledger(self._dataset, self._ledger)
        self._event("end", why=why, clips=self._clips, items=self._items)
        if self._log is not None:
            os.close(self._log)

    def _add(self, name: str, count: int, node: str = "", reason: str = "") -> None:
        self._counted[name, node, reason] += count

    def _tell(self) -> None:
        """Pass on what was counted: a call of Ray's for every item would cost more than the rest of its books."""
        for (name, node, reason), count in self._counted.items():
            if count:
                self._metrics[name].inc(count, tags={"node": node, "reason": reason})
        self._counted.clear()

    def _event(self, name: str, **fields: object) -> None:
        if self._log is not None:
            moment = {"time": round(time.time(), 3), "event": name}
            os.write(self._log, msgspec.json.encode({**moment, **fields}) + b"\n")
