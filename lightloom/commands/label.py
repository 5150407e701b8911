"""`lightloom label`: plan, make and watch datasets of real footage with automatic labels."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro
from tyro.conf import Positional
from tyro.extras import SubcommandApp

from pipeline.options import RunOptions

if TYPE_CHECKING:
    from labeling.label_settings import Settings
    from labeling.sources.footage import Discovery

app = SubcommandApp()
Source = Annotated[Path, tyro.conf.arg(metavar="SOURCE")]
Folder = Annotated[Path, tyro.conf.arg(metavar="OUT")]

_RUN = RunOptions()
_SHOWN = 5


@dataclass(frozen=True)
class Options:
    """What is labelled, and how.

    Attributes:
        inverse: checkpoint that estimates the G-buffers: a folder or a hub id; the one that comes with the package, if
            not given.
        lighting: checkpoint that estimates the light; the one that comes with the package, if not given.
        kind: what to look for in the source; `auto` takes videos, frame folders and DL3DV scenes.
        images: image folder of DL3DV scenes, such as images_8; the first of images_4, images_8, images_2, images if
            not given.
        licence: SPDX licence of footage that states none.
        author: author of footage that states none.
        fps: frame rate of frame folders that state none.
        segments: clips of each item at most, spread over it; as many as fit if not given.
        length: frames of a clip.
        stride: frames from the start of one clip to the next; the length if neither it nor --segments is given.
        cuts: look for hard cuts, which no clip may straddle.
        min_motion: share of the picture that must change within a clip; 0 keeps still ones.
        min_brightness: brightness in [0, 1] that 5 % of every frame must exceed; 0 keeps black ones.
        size: frames are shrunk to this larger side, in pixels; 0 keeps their size.
        steps: denoising steps of checkpoints that take several.
        window: frames that the network sees at a time.
        overlap: frames that neighbouring windows share.
        precision: of the weights; halves want a GPU.
        seed: seed of the noise.
        checks: what the confidence rests on; mirror costs a pass more, window and exposure half a pass each.
        min_confidence: leave clips out whose mean confidence over the G-buffers is lower.
        fov: assumed angle of the larger image side, in degrees, where the footage has no intrinsics.
        codec: `compact` (video with measured error bounds) or `exact` (OpenEXR, lossless).
        per_shard: items of footage in a shard.
    """

    inverse: str | None = None
    lighting: str | None = None
    kind: Literal["auto", "video", "frames", "dl3dv"] = "auto"
    images: str | None = None
    licence: str = ""
    author: str = ""
    fps: float = 0.0
    segments: int | None = None
    length: int = 24
    stride: int | None = None
    cuts: bool = True
    min_motion: float = 0.01
    min_brightness: float = 0.08
    size: int = 512
    steps: int = 20
    window: int = 24
    overlap: int = 6
    precision: Literal["float32", "float16", "bfloat16"] = "float32"
    seed: int = 0
    checks: tuple[Literal["mirror", "window", "exposure", "render"], ...] = ("mirror", "window", "exposure", "render")
    min_confidence: float = 0.0
    fov: float = 45.0
    codec: Literal["compact", "exact"] = "compact"
    per_shard: int = 4


Wanted = Annotated[Options, tyro.conf.arg(name="")]
Running = Annotated[RunOptions, tyro.conf.arg(name="")]


@app.command
def run(source: Positional[Source], out: Positional[Folder], /, *, wanted: Wanted, options: Running = _RUN) -> int:
    """Turn real footage into a dataset of labelled clips. Safe to interrupt and to kill: the same command goes on.

    Example: lightloom label run videos/ out/real --inverse out/inverse/renderer --segments 15 --length 24

    Args:
        source: a video, a folder of videos, a folder of frames, or a DL3DV tree.
        out: folder of the dataset.
        wanted: what is labelled, and how.
        options: how to run it.
    """
    from labeling.label_run import label

    found, settings = _found(source, wanted), _settings(wanted)
    report = label(out, found, settings, options)
    print(report.line())
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
        wanted: what is labelled, and how.
        videos: items of footage to plan for.
        measure: items of the source to label for the measurement.
        price: price of a worker hour, in any currency.
        options: how to run it.
    """
    from labeling.label_run import measure_plan

    found = _found(source, wanted)
    for line in measure_plan(found, _settings(wanted), videos, measure, price, options=options).lines():
        print(line)
    return 0


@app.command
def status(dataset: Positional[Annotated[Path, tyro.conf.arg(metavar="DATASET")]], /) -> int:
    """Say how far a dataset is, and what was left out; works while a run is going on.

    Example: lightloom label status out/real

    Args:
        dataset: folder of the dataset.
    """
    from labeling.label_run import lines

    print("\n".join(lines(dataset)))
    return 0


def _found(source: Path, wanted: Options) -> Discovery:
    """The footage of the source; says on stderr what is wrong with it, each kind of problem once."""
    from labeling.sources import SourceOptions, discover

    known = SourceOptions(images=wanted.images, licence=wanted.licence, author=wanted.author, fps=wanted.fps)
    found = discover(source, kind=wanted.kind, options=known)
    for problem in found.problems[:_SHOWN]:
        print(f"lightloom: {problem.path}: {problem.reason}: {problem.message}", file=sys.stderr)
    if len(found.problems) > _SHOWN:
        print(f"lightloom: {len(found.problems) - _SHOWN} more problems of the source", file=sys.stderr)
    return found


def _settings(wanted: Options) -> Settings:
    from editing.settings import DEFAULTS, chosen
    from labeling.label_settings import Settings, checkpoint
    from labeling.segments import SegmentOptions

    lighting = wanted.lighting or DEFAULTS["lighting"]
    return Settings(
        inverse=checkpoint(str(chosen("inverse", wanted.inverse)), "inverse"),
        lighting=checkpoint(str(lighting), "lighting") if lighting else None,
        segments=SegmentOptions(
            length=wanted.length,
            stride=wanted.stride,
            count=wanted.segments,
            cuts=wanted.cuts,
            min_motion=wanted.min_motion,
            min_brightness=wanted.min_brightness,
        ),
        side=wanted.size or None,
        steps=wanted.steps,
        window=wanted.window,
        overlap=wanted.overlap,
        precision=wanted.precision,
        seed=wanted.seed,
        checks=wanted.checks,
        min_confidence=wanted.min_confidence,
        fov_degrees=wanted.fov,
        codec=wanted.codec,
        per_shard=wanted.per_shard,
    )
