"""Scoring: import every mesh file of a catalogue once, apart from this process, and write down what it is worth.

Sampling needs a footprint and a score of each mesh, and a run must not be the first to find out that a file kills the
importer. So all of this happens before, file by file, and every failure is a typed rejection.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Lock

from datagen.assets.isolation import Bounds, ImportProcess, Verdict
from datagen.resolver import Resolver, cache_folder
from manifests.errors import RenderError
from manifests.files import own_temporary
from scenes.catalogue import Asset, Catalogue, MeshMeasurement
from scenes.spec import File

UNSCORED = "unscored"
_REASONS = {"missing-asset": "missing-file", "unsafe-path": "escapes-folder", "changed-asset": "changed-file"}


@dataclass(frozen=True)
class ScoringOptions:
    """How to score: `processes` importing processes at once, `bounds` of each; `again` scores scored assets too."""

    processes: int = 1
    bounds: Bounds = field(default_factory=Bounds)
    again: bool = False


@dataclass(frozen=True)
class ScoringReport:
    """Verdicts by uid, in order of uid."""

    verdicts: dict[str, Verdict]

    @property
    def imported(self) -> int:
        """Number of files that can be used."""
        return sum(not verdict.reason for verdict in self.verdicts.values())

    @property
    def rejected(self) -> dict[str, int]:
        """Number of files by reason of rejection, most frequent first."""
        return dict(Counter(one.reason for one in self.verdicts.values() if one.reason).most_common())

    @property
    def materials(self) -> dict[str, int]:
        """Number of imported materials by status, most frequent first."""
        return dict(Counter(use.status for one in self.verdicts.values() for use in one.materials).most_common())

    @property
    def fully_resolved(self) -> int:
        """Number of imported files all of whose materials are resolved exactly."""
        return sum(
            not one.reason and all(use.status == "resolved" for use in one.materials) for one in self.verdicts.values()
        )

    @property
    def flags(self) -> dict[str, int]:
        """Number of imported files by flag, most frequent first."""
        return dict(Counter(flag for one in self.verdicts.values() for flag in one.flags).most_common())

    def lines(self) -> list[str]:
        """For people: counts, then each rejected file with its message."""
        total = len(self.verdicts)
        lines = [f"files      {total}", f"imported   {self.imported}", f"resolved   {self.fully_resolved} fully"]
        for title, counts in (("rejected", self.rejected), ("materials", self.materials), ("flags", self.flags)):
            lines += [f"{title:<10} {count:5} {name}" for name, count in counts.items()]
        return lines + [f"  {uid}: {one.reason}: {one.message}" for uid, one in self.verdicts.items() if one.reason]


def score_catalogue(
    catalogue: Catalogue, options: ScoringOptions | None = None, progress: Callable[[str, Verdict], None] | None = None
) -> tuple[Catalogue, ScoringReport]:
    """Score the catalogue's unscored mesh files; return it with footprints, scores and flags, and what happened.

    A rejected asset gets score 0 and the flag "rejected:REASON", so it is never sampled. `progress` is called from
    the scoring threads, one call at a time, with each uid and its verdict.
    Raises RunError if importing processes do not start at all.
    """
    options = options or ScoringOptions()
    waiting = deque(asset for asset in catalogue.assets if _wanted(asset, options))
    verdicts: dict[str, Verdict] = {}
    lock = Lock()

    def work() -> None:
        resolver = Resolver(catalogue.roots, cache_folder(own_temporary()))  # one a thread
        with ImportProcess(options.bounds) as process:
            while waiting:
                try:
                    asset = waiting.popleft()
                except IndexError:
                    return
                verdict = _examine(asset, resolver, process)
                with lock:
                    verdicts[asset.uid] = verdict
                    if progress is not None:
                        progress(asset.uid, verdict)

    with ThreadPoolExecutor(max(1, options.processes), thread_name_prefix="scoring") as pool:
        futures = [pool.submit(work) for _ in range(max(1, options.processes))]
        try:
            for future in futures:
                future.result()
        finally:
            waiting.clear()  # on an error the other threads finish their file and stop
    report = ScoringReport(dict(sorted(verdicts.items())))
    return catalogue.with_scores({uid: _measured(verdict) for uid, verdict in report.verdicts.items()}), report


def _wanted(asset: Asset, options: ScoringOptions) -> bool:
    return isinstance(asset.mesh, File) and (options.again or UNSCORED in asset.flags)


def _examine(asset: Asset, resolver: Resolver, process: ImportProcess) -> Verdict:
    assert isinstance(asset.mesh, File)
    with resolver.in_use():
        try:
            path = resolver.path(asset.mesh)
        except RenderError as error:
            return Verdict(reason=_REASONS.get(error.reason, error.reason), message=str(error))
        return process.examine(path)


def _measured(verdict: Verdict) -> MeshMeasurement:
    if verdict.reason:
        return MeshMeasurement(score=0.0, flags=(f"rejected:{verdict.reason}",))
    return MeshMeasurement(
        score=verdict.score, footprint=verdict.footprint, flags=verdict.flags, collision=verdict.collision
    )
