"""How far a labelled dataset is, and what was left out of its footage, by reason."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from manifests.attributes import GBUFFERS
from manifests.dataset import open_dataset
from manifests.row import ClipRow
from pipeline.status import status

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
