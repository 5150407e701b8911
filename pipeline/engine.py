"""The run loop of a stage: schedules items on Ray actors, retries, quarantines, has shards packed, and can be resumed.

The files in the dataset's folder are the only memory of a run: an item is finished when its file is in `work/` or its
shard is committed. Ray carries calls and notices deaths; whatever it loses is found again on the disk.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from manifests.audit.stats import put_together
from manifests.errors import DatasetError, RunError
from manifests.files import disk_full
from manifests.object_path import Place
from manifests.store.dataset import Dataset, open_dataset
from pipeline.actors import remove_logs
from pipeline.backlog import Backlog, backlog_of, requeue_failures
from pipeline.cluster import connect
from pipeline.dispatch import Dispatcher
from pipeline.ledger import Ledger, read_ledger
from pipeline.options import RunOptions
from pipeline.packing import Packer, pack, put_rows_together
from pipeline.progress import ProgressBar, by_reason, duration
from pipeline.signals import StopSignals
from pipeline.stage import Stage
from pipeline.telemetry import Telemetry

_DEFAULT = RunOptions()


@dataclass(frozen=True)
class RunReport:
    """What a run did: items and clips of this run, and the state of the dataset after it."""

    dataset: Place
    clips: int
    failures: Counter[str]
    seconds: float
    finished: int
    failed: int
    items: int

    @property
    def complete(self) -> bool:
        """True when every item of the dataset is finished or quarantined."""
        return self.finished + self.failed == self.items

    def line(self) -> str:
        """One line for people."""
        rate = f" ({60 * self.clips / self.seconds:.1f} clips/min)" if self.clips and self.seconds else ""
        failed = f", {by_reason(self.failures)}" if self.failures else ""
        total = f"{self.finished} of {self.items} items finished"
        quarantined = f", {self.failed} quarantined" if self.failed else ""
        return f"{self.dataset}: {self.clips} clips in {duration(self.seconds)}{rate}{failed}; {total}{quarantined}"


def run(dataset: Dataset | Place, stage: Stage, options: RunOptions = _DEFAULT) -> RunReport:
    """Bring `dataset` to completion with `stage`; returns at once when it is complete already.

    Raises DatasetError when another process works on the dataset, DiskFull, and RunError, whose `kind` says what
    stopped the run: Ctrl-C or SIGTERM, Ray's death, too many failures, or no worker that starts. Whatever it is,
    finished clips stay and the next run goes on from there.
    """
    dataset = dataset if isinstance(dataset, Dataset) else open_dataset(dataset)
    if (stage.items, stage.per_shard) != (dataset.header.items, dataset.header.per_shard):
        raise DatasetError(
            (
                f"holds {dataset.header.items} items in shards of {dataset.header.per_shard}, the stage has "
                f"{stage.items} in shards of {stage.per_shard}"
            ),
            "give the stage that the dataset was made for",
            where=dataset.path,
        )
    with dataset.lock() as lock, disk_full(dataset.path):
        dataset.clean()
        if options.retry_failed:
            requeue_failures(dataset)
        ledger = read_ledger(dataset)
        backlog = backlog_of(dataset, ledger)
        if backlog.missing:
            report = _complete(dataset, stage, options, backlog=backlog, ledger=ledger, check=lock.check)
        else:
            report = RunReport(dataset.path, 0, Counter(), 0.0, backlog.finished, backlog.failed, stage.items)
        remove_logs(dataset.path)  # those of a run that was killed at its very end, too
        dataset.finish()
        return report


def _complete(
    dataset: Dataset, stage: Stage, options: RunOptions, *, backlog: Backlog, ledger: Ledger, check: Callable[[], None]
) -> RunReport:
    with ProgressBar(stage.name, stage.items, backlog.finished + backlog.failed, options.show_progress) as bar:
        try:
            if backlog.left:
                _work(dataset, stage, options, backlog=backlog, bar=bar, ledger=ledger, check=check)
            else:  # a run was killed at its very end
                for shard in backlog.missing:
                    pack(dataset, shard)
                put_together(dataset)
        except RunError as error:
            what, advice = error.told(), "finished clips are kept"
            if error.kind == "interrupted":
                done = backlog.finished + backlog.failed
                what, advice = f"{what} with {done} of {stage.items} items done", "the same command goes on from there"
            raise RunError(what, advice, where=dataset.path, kind=error.kind) from error.__cause__
    return RunReport(dataset.path, bar.clips, bar.failures, bar.seconds, backlog.finished, backlog.failed, stage.items)


def _work(
    dataset: Dataset,
    stage: Stage,
    options: RunOptions,
    *,
    backlog: Backlog,
    bar: ProgressBar,
    ledger: Ledger,
    check: Callable[[], None],
) -> None:
    ends = options.stop_at(datetime.now())
    cluster = connect(options)
    try:
        with StopSignals() as stop:
            dispatcher = Dispatcher(
                dataset=dataset,
                stage=stage,
                options=options,
                cluster=cluster,
                backlog=backlog,
                bar=bar,
                packer=Packer(dataset),
                telemetry=(telemetry := Telemetry(dataset, ledger, stage.name, options.log_json)),
            )
            why = "complete"
            try:
                while cluster.watched(dispatcher.step):
                    check()
                    if ends is not None and datetime.now() >= ends:
                        ends, why = None, "its time was up"
                        dispatcher.run_dry()
                    if stop.count:
                        cluster.watched(lambda: _wind_down(dispatcher, stop, options.stop_grace_s))
                        raise RunError("stopped", kind="interrupted")
                cluster.watched(lambda: put_rows_together(dataset))
            except BaseException as error:
                why = str(error) or type(error).__name__
                raise
            finally:
                dispatcher.kill_all()
                telemetry.close(why)
    finally:
        cluster.close()


def _wind_down(dispatcher: Dispatcher, stop: StopSignals, grace_s: float) -> None:
    """Let the clips land that are being encoded; a second signal ends the wait."""
    deadline = time.monotonic() + grace_s
    while stop.count < 2 and time.monotonic() < deadline and dispatcher.encoding():
        dispatcher.collect()
