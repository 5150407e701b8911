"""`lightloom label`: plan, make and watch datasets of real footage with automatic labels."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

import tyro
from tyro.conf import Positional
from tyro.extras import SubcommandApp

from labeling.label_settings import LabelOptions, LabelSettings, SegmentOptions, checkpoint
from labeling.sources.footage import SourceKind, SourceOptions
from lightloom.commands.data import place_named
from lightloom.saying import say
from manifests.object_path import Place
from pipeline.options import RunOptions

if TYPE_CHECKING:
    from labeling.sources.footage import Discovery

app = SubcommandApp()
Source = Annotated[Place, place_named("SOURCE")]
Folder = Annotated[Place, place_named("OUT")]

_RUN = RunOptions()
_SHOWN = 5


@dataclass(frozen=True)
class LabelRequest:
    """What is labelled, by whom, and how.

    Attributes:
        weights: all checkpoints at once, as of `lightloom relight`: `photo`, `tiny`, `svd`, `cosmos` or a folder.
        inverse: checkpoint that estimates the G-buffers: a folder or a hub id; the one that comes with the package, if
            not given.
        lighting: checkpoint that estimates the light; the one that comes with the package, if not given.
        kind: what to look for in the source; `auto` takes videos, frame folders and DL3DV scenes.
        known: what is known of the source.
        segments: which stretches of it become clips.
        labels: how they are labelled.
    """

    weights: str | None = None
    inverse: str | None = None
    lighting: str | None = None
    kind: SourceKind = "auto"
    known: Annotated[SourceOptions, tyro.conf.arg(name="")] = field(default_factory=SourceOptions)
    segments: Annotated[SegmentOptions, tyro.conf.arg(name="")] = field(default_factory=SegmentOptions)
    labels: Annotated[LabelOptions, tyro.conf.arg(name="")] = field(default_factory=LabelOptions)


Wanted = Annotated[LabelRequest, tyro.conf.arg(name="")]
Running = Annotated[RunOptions, tyro.conf.arg(name="")]


@app.command
def run(source: Positional[Source], out: Positional[Folder], /, *, wanted: Wanted, options: Running = _RUN) -> int:
    """Turn real footage into a dataset of labelled clips. Safe to interrupt and to kill: the same command goes on.

    Example: lightloom label run videos/ out/real --inverse out/inverse/renderer --segments 15 --length 24

    Args:
        source: a video, a folder of videos, a folder of frames, or a DL3DV tree; or the URL of one.
        out: folder of the dataset.
        wanted: what is labelled, by whom, and how.
        options: how to run it.
    """
    from labeling.label_run import label, lost_lines

    found, settings = _found(source, wanted), _settings(wanted)
    report = label(out, found, settings, options)
    reasons = Counter(problem.reason for problem in found.problems).most_common()
    source_lines = [f"source   {', '.join(f'{count} {reason}' for reason, count in reasons)}"] if reasons else []
    say(report.line(), *lost_lines(out, found.footage), *source_lines)
    return 0 if report.complete and not report.failed else 1


@app.command
def plan(
    source: Positional[Source],
    /,
    *,
    wanted: Wanted,
    videos: int = 10_510,
    measure: int = 3,
    price: float = 0.0,
    options: Running = _RUN,
) -> int:
    """Label a few clips of the source and extrapolate: hours and bytes for many videos, and what it would cost.

    Example: lightloom label plan videos/ --inverse out/inverse/renderer --segments 15 --videos 10510

    Args:
        source: footage to measure on.
        wanted: what is labelled, by whom, and how.
        videos: items of footage to plan for.
        measure: items of the source to label for the measurement.
        price: price of a worker hour, in any currency.
        options: how to run it.
    """
    from labeling.label_run import measure_plan

    found = _found(source, wanted)
    for line in measure_plan(found, _settings(wanted), videos, measure, price, options=options).lines():
        say(line)
    return 0


@app.command
def status(dataset: Positional[Annotated[Place, place_named("DATASET")]], /) -> int:
    """Say how far a dataset is, and what was left out; works while a run is going on.

    Example: lightloom label status out/real

    Args:
        dataset: folder of the dataset.
    """
    from labeling.label_run import status_lines

    say(*status_lines(dataset))
    return 0


def _found(source: Place, wanted: LabelRequest) -> Discovery:
    """The footage of the source; says on stderr what is wrong with it, each kind of problem once."""
    from labeling.sources.discovery import discover

    found = discover(source, kind=wanted.kind, options=wanted.known)
    for problem in found.problems[:_SHOWN]:
        say(f"lightloom: {problem.path}: {problem.reason}: {problem.message}", error=True)
    if len(found.problems) > _SHOWN:
        say(f"lightloom: {len(found.problems) - _SHOWN} more problems of the source", error=True)
    return found


def _settings(wanted: LabelRequest) -> LabelSettings:
    from editing.settings import DEFAULTS, at_hand, chosen, named

    given = named(wanted.weights) if wanted.weights is not None else {}
    lighting = wanted.lighting or given.get("lighting") or DEFAULTS["lighting"]
    inverse = at_hand(chosen("inverse", wanted.inverse or given.get("inverse")))
    return LabelSettings(
        **vars(wanted.labels),
        segments=wanted.segments,
        inverse=checkpoint(str(inverse), "inverse"),
        lighting=checkpoint(str(lighting), "lighting") if lighting else None,
    )
