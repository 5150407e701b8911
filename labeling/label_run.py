"""`lightloom label`: label footage into a dataset or go on with one, say how far it is, plan a larger one."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from labeling.label_rows import NAME
from labeling.label_settings import LabelSettings
from labeling.label_stage import LabelStage
from labeling.sources.footage import MEANINGS, Discovery, Footage, FootageProblem
from labeling.sources.frame_reader import open_footage
from manifests.contract.attributes import GBUFFERS
from manifests.display import human_size
from manifests.errors import InputError, LightloomError
from manifests.object_path import ObjectPath, Place, at_once, place
from manifests.store.dataset import Dataset, open_dataset, open_or_create
from manifests.store.header import Header
from pipeline.engine import RunReport, run
from pipeline.ledger import status
from pipeline.options import RunOptions
from pipeline.plan import Plan, measure_clips


def label(path: Place, found: Discovery, settings: LabelSettings, options: RunOptions | None = None) -> RunReport:
    """Create the dataset at `path` or go on with it, until it is complete; `pipeline.engine.run` says what stops it."""
    return run(create(path, found, settings), stage_of(found, settings), options or RunOptions())


def create(path: Place, found: Discovery, settings: LabelSettings) -> Dataset:
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


def lost_lines(path: Place, footage: Sequence[Footage] = ()) -> list[str]:
    """What was left out of the footage of the dataset at `path`, or changed in it, by reason and with counts.

    footage: the items, where they are at hand: the first of each kind is opened once more, for the words of its reader,
    unless it lies in a bucket.
    """
    marked: dict[str, set[int]] = {}
    items: set[int] = set()
    for table in open_dataset(path).columns(["item", "flags"]):
        for item, flags in zip(table["item"].to_pylist(), table["flags"].to_pylist(), strict=True):
            items.add(item)
            for flag in MEANINGS.keys() & set(flags):
                marked.setdefault(flag, set()).add(item)
    return [_left_out(status(path).tally.dropped)] + [
        f"{flag} in {len(of)} of {len(items)} items: {_words(flag, footage[min(of)] if footage else None)}"
        for flag, of in sorted(marked.items())
    ]


def _left_out(dropped: Mapping[str, int]) -> str:
    said = ", ".join(f"{count} {reason}" for reason, count in Counter(dropped).most_common()) or "none"
    return f"left out {said} (segments of the items that have clips)"


def _words(flag: str, item: Footage | None) -> str:
    """What a flag means: what the reader of the item says as it opens it, else the general sentence."""
    found: list[FootageProblem] = []
    if item is not None and isinstance(place(item.path), Path):
        with suppress(LightloomError), open_footage(item) as reader:
            found = reader.problems
    said = next((f"{problem.path}: {problem.message}" for problem in found if problem.reason == flag), "")
    return said or MEANINGS[flag]


def status_lines(path: Place) -> list[str]:
    """How far the dataset at `path` is, what was left out, and how sure its labels are; DatasetError without one."""
    found = status(path)
    known = {
        name: found.tally.confidence[name] for name in (*GBUFFERS, "environment") if name in found.tally.confidence
    }
    sure = ", ".join(f"{name} {value / count:.2f}" for name, (value, count) in known.items()) or "no clip yet"
    return [*found.lines(), _left_out(found.tally.dropped), f"trust    {sure} (mean confidence)"]


def _footage_digest(footage: tuple[Footage, ...]) -> str:
    """SHA-256, in hex, of which items there are, in order; where they lie does not matter."""
    total = hashlib.sha256()
    for item, size in zip(footage, at_once(place(footage[0].path), _size, footage), strict=True):
        total.update(f"{item.uid} {item.kind} {item.name} {item.images} {size}\n".encode())
    return total.hexdigest()


def _size(item: Footage) -> int:
    """Bytes of a file, so that a replaced one is noticed; folders count as 0, since listing them can take long."""
    path = place(item.path)
    if isinstance(path, ObjectPath) and item.kind != "video" and path.suffix.lower() != ".zip":
        return 0
    return path.stat().st_size if path.is_file() else 0


@dataclass(frozen=True, kw_only=True)
class LabelPlan(Plan):
    """What labelling footage takes.

    Attributes:
        settings: how it is labelled.
        videos: items of footage that are planned for.
        per_video: clips that an item is taken to give.
    """

    settings: LabelSettings
    videos: int
    per_video: float

    def lines(self) -> list[str]:
        """For people."""
        shards = -(-self.videos // self.settings.per_shard)
        dataset = (
            f"{self.clips:,.0f} clips of {self.videos:,} videos ({self.per_video:g} each), {human_size(self.bytes)} in "
            f"{shards:,} shards, codec {self.settings.codec}"
        )
        return self.report("labelling", dataset, "decoding and encoding hide behind the networks")


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
    few = msgspec.structs.replace(found, footage=found.footage[: max(1, measure)])
    cost, rows = measure_clips(
        lambda folder: (create(folder, few, settings), stage_of(few, settings)), lambda rows: rows[1:] or rows, options
    )
    per_video = settings.segments.count or len(rows) / len({row.item for row in rows})
    return LabelPlan(
        settings=settings, videos=videos, per_video=per_video, clips=videos * per_video, cost=cost, price=price
    )
