"""`python -m benchmarks.weights`: make the weights that the package ships, and pack finished runs as such."""

from __future__ import annotations

import sys
from pathlib import Path

from tyro.conf import Positional
from tyro.extras import SubcommandApp

from editing.settings import SHIPPED, Kind
from lightloom.cli import run

app = SubcommandApp()


@app.command
def pack(
    *,
    evaluation: tuple[Path, ...],
    inverse: Path | None = None,
    forward: Path | None = None,
    lighting: Path | None = None,
    lora: Path | None = None,
    out: Path = SHIPPED / "tiny",
) -> int:
    """Pack renderers of finished runs: inference weights in half precision, and a model card each.

    Example: python -m benchmarks.weights pack --inverse out/inverse/renderer --evaluation out/evaluation

    Args:
        evaluation: folders or results.json of `lightloom evaluate run`; each checkpoint must be measured by one.
        inverse: OUT/renderer of an inverse run.
        forward: OUT/renderer of a forward run.
        lighting: OUT/renderer of a lighting run.
        lora: OUT/renderer of a co-trained forward run, or its folder `lora`.
        out: folder for one subfolder each; the package's own if not given.
    """
    from benchmarks.weights.packing import pack as write
    from manifests.errors import CheckpointError

    named: dict[Kind, Path | None] = {"inverse": inverse, "forward": forward, "lighting": lighting}
    given = {kind: path for kind, path in named.items() if path is not None}
    if not given and lora is None:
        raise CheckpointError("nothing to pack: give --inverse, --forward, --lighting or --lora")
    for part in write(given, lora, evaluation, out):
        change = "" if part.change is None else f", outputs change by {part.change:.1g} at most"
        print(f"{part.name:9} {part.bytes / 1e6:5.1f} MB{change}  {part.folder}")
    return 0


@app.command
def build(
    out: Positional[Path],
    /,
    *,
    minutes: float = 240.0,
    seed: int = 0,
    clips: int = 2304,
    footage: int = 33,
    preset: str = "tiny",
    continued: str = "tiny-continued",
    scenes: int | None = None,
    photo: bool = False,
) -> int:
    """Make the weights that the package ships, from nothing: data, trainings, evaluation, packing. Safe to interrupt.

    Example: python -m benchmarks.weights build out/weights

    The result is OUT/weights. A few hours on two cores; most of it is rendering and the trainings' minutes.

    Args:
        out: folder for everything.
        minutes: of all trainings together.
        seed: another seed gives other scenes and other weights.
        clips: of the training set with recipe `train-tiny`; those with `train-objects` are a third of that.
        footage: rendered clips that are encoded as videos and stand for real footage, of which the LoRA learns.
        preset: of the trainings from random weights, or a YAML file.
        continued: preset of the second training of the inverse renderer, or a YAML file.
        scenes: of each part of the benchmark, if not its own size.
        photo: make `photo` and what selects instead, from `clips` of `train-world`; `footage` and `continued` are not
            used, and `preset` is `photo` unless it is a file.
    """
    from benchmarks.weights.rebuilding import STAGE, PhotoRebuild, Rebuild
    from lightloom.stages import run_stages

    rebuild: Rebuild | PhotoRebuild = Rebuild(out, minutes, seed, clips, footage, preset, continued, scenes)
    if photo:
        rebuild = PhotoRebuild(out, minutes, seed, clips, "photo" if preset == "tiny" else preset, scenes)
    out.mkdir(parents=True, exist_ok=True)
    run_stages(out, rebuild.stages(), program=STAGE)
    print(rebuild.at("weights"))
    return 0


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:], app, "python -m benchmarks.weights"))
