"""Label footage into a dataset, or go on with one: header and stage from the source and the same few settings."""

from __future__ import annotations

import hashlib
import tempfile
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean, stdev

import msgspec

from labeling.label_rows import NAME
from labeling.label_settings import LabelSettings
from labeling.label_stage import LabelStage
from labeling.sources.footage import Discovery, Footage
from manifests.contract.attributes import GBUFFERS
from manifests.contract.row import ClipRow
from manifests.errors import InputError, LightloomError
from manifests.store import layout
from manifests.store.dataset import Dataset, open_dataset, open_or_create
from manifests.store.header import Header
from pipeline.cluster import connect
from pipeline.engine import RunReport, run
from pipeline.options import RunOptions
from pipeline.plan import Forecast, human_size
from pipeline.status import status


def create(path: Path, found: Discovery, settings: LabelSettings) -> Dataset:
    """Make the dataset's folder with its header, or open it if it has the same one; DatasetError names what differs."""
    if not found.footage:
        reasons = ", ".join(dict.fromkeys(problem.reason for problem in found.problems)) or "it is empty"
        raise InputError(
            f"holds no footage ({reasons})", "give a video, a folder of videos or of frames", where=found.root
        )
    header = Header(
        stage=NAME,
        codec=settings.codec,
        recipe=settings.identity(),
        seed=settings.seed,
        items=len(found.footage),
        per_shard=settings.per_shard,
        lights=0,
        catalogue=_footage_digest(found.footage),
    )
    return open_or_create(path, header)


def stage_of(found: Discovery, settings: LabelSettings) -> LabelStage:
    """The stage that labels what was found."""
    return LabelStage(source=Path(found.root).name, footage=found.footage, settings=settings)


def label(path: Path, found: Discovery, settings: LabelSettings, options: RunOptions | None = None) -> RunReport:
    """Create the dataset at `path` or go on with it, until it is complete; `pipeline.engine.run` says what stops it."""
    return run(create(path, found, settings), stage_of(found, settings), options or RunOptions())


def _footage_digest(footage: tuple[Footage, ...]) -> str:
    """SHA-256, in hex, of which items there are, in order; where they lie does not matter."""
    total = hashlib.sha256()
    for item in footage:
        total.update(f"{item.uid} {item.kind} {item.name} {item.images} {_size(item)}\n".encode())
    return total.hexdigest()


def _size(item: Footage) -> int:
    """Bytes of a file, so that a replaced one is noticed; folders count as 0, since listing them can take long."""
    path = Path(item.path)
    return path.stat().st_size if path.is_file() else 0


_DROPPED = "dropped."


@dataclass(frozen=True)
class Yield:
    """What the committed clips say: segments left out by reason, mean confidence by attribute."""

    dropped: Counter[str]
    confidence: dict[str, float]

    def lines(self) -> list[str]:
        """For people."""
        left_out = ", ".join(f"{count} {reason}" for reason, count in self.dropped.most_common()) or "none"
        known = ", ".join(f"{name} {value:.2f}" for name, value in self.confidence.items()) or "no clip yet"
        return [f"left out {left_out} (segments of the items that have clips)", f"trust    {known} (mean confidence)"]


def yield_of(rows: list[ClipRow]) -> Yield:
    """Add up what rows of labelled clips say."""
    dropped: Counter[str] = Counter()
    for row in rows:
        for name, value in row.statistics.items():
            if name.startswith(_DROPPED):
                dropped[name.removeprefix(_DROPPED)] += int(value)
    names = (*GBUFFERS, "environment")
    known = {name: [row.confidence[name] for row in rows if name in row.confidence] for name in names}
    return Yield(dropped, {name: mean(values) for name, values in known.items() if values})


def lines(path: Path) -> list[str]:
    """The status of the dataset at `path` for people; DatasetError when there is none."""
    return [*status(path).lines(), *yield_of(open_dataset(path).rows()).lines()]


@dataclass(frozen=True)
class LabelPlan:
    """A measurement and its extrapolation. Seconds and bytes are means a clip; `spread` is the relative standard error.

    Attributes:
        settings: how footage is labelled.
        videos: items of footage that are planned for.
        per_video: clips that an item is taken to give.
        size: (T, H, W) of the measured clips.
        device: what labelled them; `threads` CPU threads it used.
        measured: clips that were measured.
        clip_seconds: wall time of one worker a clip; encoding runs beside the networks and counts where it is longer.
        label_seconds, encode_seconds, clip_bytes: means of the measured clips.
        price: of a worker hour; 0 when not given.
    """

    settings: LabelSettings
    videos: int
    per_video: float
    size: tuple[int, int, int]
    device: str
    threads: int
    measured: int
    clip_seconds: float
    label_seconds: float
    encode_seconds: float
    clip_bytes: float
    spread: float
    price: float

    @property
    def clips(self) -> float:
        """Clips of the whole dataset."""
        return self.videos * self.per_video

    @property
    def worker_hours(self) -> float:
        """Hours for one worker to label everything."""
        return self._forecast.worker_hours

    @property
    def _forecast(self) -> Forecast:
        return Forecast(self.clips, self.clip_seconds, self.threads, self.price)

    def lines(self) -> list[str]:
        """For people."""
        frames, height, width = self.size
        shards = -(-self.videos // self.settings.per_shard)
        spread = f"standard error of the time {100 * self.spread:.0f} %" if self.measured > 1 else "one clip, no error"
        lines = [
            f"measured   {self.measured} clips of {width}x{height}x{frames} on {self.device} with {self.threads} CPU "
            f"thread{'s' if self.threads > 1 else ''}: {self.label_seconds:.1f} s labelling, {self.encode_seconds:.1f} "
            f"s encoding, {self.clip_bytes / 1e6:.2f} MB a clip (mean; {spread})",
            f"dataset    {self.clips:,.0f} clips of {self.videos:,} videos ({self.per_video:g} each), "
            f"{human_size(self.clips * self.clip_bytes)} in {shards:,} shards, codec {self.settings.codec}",
            *self._forecast.lines(),
            "assumes    every worker is as fast as this one, with as many cores of its own; the measured clips are "
            "typical;",
            "           decoding and encoding hide behind the networks; starts, failures and the shared disk cost "
            "nothing",
        ]
        if self.device == "CPU":
            lines.append("           workers with a GPU were not measured here: run `plan` on a machine that has one")
        return lines


def measure_plan(
    found: Discovery,
    settings: LabelSettings,
    videos: int,
    measure: int = 3,
    price: float = 0.0,
    *,
    options: RunOptions | None = None,
) -> LabelPlan:
    """Label the first `measure` items of the source with one real worker in a temporary folder, and extrapolate.

    The first clip pays for what a worker does only once, and is left out where there are others. An item is taken to
    give as many clips as the settings ask for, or, where they do not say, as many as the measured ones gave.

    Raises LightloomError when none of them could be labelled.
    """
    options = replace(options or RunOptions(), workers=1)
    few = msgspec.structs.replace(found, footage=found.footage[: max(1, measure)])
    with tempfile.TemporaryDirectory(prefix="lightloom-plan-") as folder:
        dataset = create(Path(folder) / "dataset", few, settings)
        cluster = connect(options)
        try:
            run(dataset, stage_of(few, settings), options)
        finally:
            cluster.close()
        rows = sorted(dataset.rows(), key=lambda row: (row.scene, row.light))
        failures = dataset.failures()
        if not rows:
            raise LightloomError(f"no clip could be measured: {failures[0].reason}: {failures[0].message}")
        files = [path for folder in layout.SUFFIX for path in (dataset.path / folder).iterdir()]
        size = sum(path.stat().st_size for path in files) / len(rows)
    per_video = settings.segments.count or len(rows) / len({row.scene for row in rows})
    return _plan(settings, videos, per_video, rows[1:] or rows, size, cluster.share.threads, price)


def _plan(
    settings: LabelSettings,
    videos: int,
    per_video: float,
    rows: list[ClipRow],
    clip_bytes: float,
    threads: int,
    price: float,
) -> LabelPlan:
    times = [max(row.render_seconds, row.encode_seconds) for row in rows]
    return LabelPlan(
        settings=settings,
        videos=videos,
        per_video=per_video,
        size=(rows[0].frames, rows[0].height, rows[0].width),
        device=rows[0].device,
        threads=threads,
        measured=len(rows),
        clip_seconds=mean(times),
        label_seconds=mean(row.render_seconds for row in rows),
        encode_seconds=mean(row.encode_seconds for row in rows),
        clip_bytes=clip_bytes,
        spread=stdev(times) / mean(times) / len(times) ** 0.5 if len(times) > 1 else 0.0,
        price=price,
    )
