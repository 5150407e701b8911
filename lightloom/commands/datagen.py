"""`lightloom datagen`: plan, make and watch a synthetic dataset; render one scene again from its spec."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import Positional
from tyro.extras import SubcommandApp

from lightloom.commands.assets import load
from lightloom.commands.data import place_named
from lightloom.saying import say
from manifests.contract.attributes import Codec
from manifests.errors import InputError
from manifests.node_cache import NODE_CACHE_GIB
from manifests.object_path import Place
from pipeline.options import DeviceKind, RunOptions

app = SubcommandApp()
Folder = Annotated[Place, place_named("DATASET")]
Parquet = Annotated[Place, place_named("PARQUET")]
Options = Annotated[RunOptions, tyro.conf.arg(name="")]

_DEFAULT = RunOptions()


@app.command
def plan(
    *,
    recipe: str = "tiny",
    clips: int = 150_000,
    seed: int = 0,
    codec: Codec = "compact",
    catalogue: Parquet | None = None,
    measure: int = 3,
    device: DeviceKind = "auto",
    price: float = 0.0,
) -> int:
    """Render a few clips and extrapolate: hours, bytes and shards for the whole dataset, and what it would cost.

    Example: lightloom datagen plan --recipe paper --clips 150000

    Args:
        recipe: name of a recipe that comes with the package, or a YAML file.
        clips: size of the dataset to plan.
        seed: seed of the dataset.
        codec: `compact` (video) or `exact` (OpenEXR).
        catalogue: Parquet file of `lightloom assets build`; the built-in one if not given.
        measure: clips to render for the measurement.
        device: what renders.
        price: price of a worker hour, in any currency.
    """
    from datagen.generation import DatagenSettings, measure_plan
    from scenes.recipes import load_recipe

    settings = DatagenSettings(load_recipe(recipe), clips, seed, codec)
    for line in measure_plan(settings, load(catalogue), measure, device, price).lines():
        say(line)
    return 0


@app.command
def run(
    dataset: Positional[Folder],
    /,
    *,
    recipe: str | None = None,
    clips: int | None = None,
    seed: int = 0,
    codec: Codec = "compact",
    per_shard: int = 64,
    catalogue: Parquet | None = None,
    device: DeviceKind = "auto",
    asset_cache_gib: float = NODE_CACHE_GIB,
    options: Options = _DEFAULT,
) -> int:
    """Make a synthetic dataset, or go on with one. Safe to interrupt and to kill: the same command goes on.

    Example: lightloom datagen run out/set --recipe tiny --clips 64

    Args:
        dataset: folder of the dataset. If it is there, only its name is needed to go on with it.
        recipe: name of a recipe that comes with the package (tiny, paper), or a YAML file.
        clips: how many clips to make.
        seed: with the recipe and the catalogue it decides every scene.
        codec: `compact` (video with measured error bounds) or `exact` (OpenEXR, lossless).
        per_shard: scenes in a shard.
        catalogue: Parquet file of `lightloom assets build`; the built-in one if not given.
        device: what renders; `auto` takes the fastest there is.
        asset_cache_gib: how much of the assets that lie in buckets each machine keeps.
        options: how to run it.
    """
    from datagen.generation import DatagenSettings, generate, resume
    from scenes.recipes import load_recipe

    if recipe is None and clips is None:
        report = resume(dataset, options, device, asset_cache_gib)
    elif recipe is None or clips is None:
        raise InputError("datagen run: give both --recipe and --clips for a new dataset, or neither to go on with one")
    else:
        settings = DatagenSettings(load_recipe(recipe), clips, seed, codec, per_shard)
        report = generate(dataset, settings, load(catalogue), options, device, asset_cache_gib)
    say(report.line())
    return 0 if report.complete and not report.failed else 1


@app.command
def status(dataset: Positional[Folder], /) -> int:
    """Say how far a dataset is; works while a run is going on.

    Example: lightloom datagen status out/set

    Args:
        dataset: folder of the dataset.
    """
    from pipeline.ledger import status as read

    say(*read(dataset).lines())
    return 0


@app.command
def render(
    *, spec: Path, out: Path, codec: Codec = "exact", catalogue: Parquet | None = None, device: DeviceKind = "auto"
) -> int:
    """Render one scene from its spec, as every clip carries it (`spec.json`), and write its files with a preview.

    Example: lightloom datagen render --spec scene.spec.json --out out/scene

    Args:
        spec: JSON file of a scene spec, plain or packed (`.gz`).
        out: folder for the clip's files.
        codec: `exact` (OpenEXR) or `compact` (video).
        catalogue: where the spec's assets come from; the built-in catalogue if not given.
        device: what renders.
    """
    from datagen.render_stage import render_spec

    for line in render_spec(spec, out, load(catalogue), codec, device):
        say(line)
    return 0
