"""Create a synthetic dataset, or go on with one: header, catalogue and stage from the same few settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from datagen.render_stage import CATALOGUE, NAME, RenderStage
from manifests.contract.attributes import Codec
from manifests.display import human_size
from manifests.errors import DatasetError, SpecError
from manifests.node_cache import NODE_CACHE_GIB
from manifests.object_path import Place
from manifests.store.dataset import Dataset, open_dataset, open_or_create
from manifests.store.header import Header
from pipeline.engine import RunReport, run
from pipeline.options import DeviceKind, RunOptions
from pipeline.plan import Plan, measure_clips
from scenes.catalogue import Catalogue
from scenes.recipes import Recipe, make_recipe
from scenes.spec import to_json

SCENES_PER_SHARD = 64


@dataclass(frozen=True)
class DatagenSettings:
    """What decides every clip of a dataset, besides the catalogue.

    Attributes:
        recipe: what scenes are drawn from.
        clips: how many clips to make; a recipe with K lights per scene makes a multiple of K, at least this many.
        seed: with the recipe and the catalogue it decides every scene.
        codec: `compact` (video, measured error bounds) or `exact` (OpenEXR).
        per_shard: scenes in a shard.
    """

    recipe: Recipe
    clips: int
    seed: int = 0
    codec: Codec = "compact"
    per_shard: int = SCENES_PER_SHARD

    def __post_init__(self) -> None:
        for name in ("clips", "per_shard"):
            if getattr(self, name) < 1:
                raise DatasetError(f"{name} is {getattr(self, name)}", "give 1 or more")
        if self.seed < 0:
            raise DatasetError(f"seed is {self.seed}", "give 0 or more")

    @property
    def scenes(self) -> int:
        """Number of scenes, the work items of the dataset."""
        return -(-self.clips // self.recipe.lights.per_scene)


def create(path: Place, settings: DatagenSettings, catalogue: Catalogue) -> Dataset:
    """Make the dataset's folder with header and catalogue, or open it if it has the same ones.

    Raises DatasetError, naming the field that differs.
    """
    header = Header(
        stage=NAME,
        codec=settings.codec,
        recipe=msgspec.json.decode(to_json(settings.recipe)),
        seed=settings.seed,
        items=settings.scenes,
        per_shard=settings.per_shard,
        lights=settings.recipe.lights.per_scene,
        catalogue=catalogue.digest,
    )
    dataset = open_or_create(path, header)
    copy = dataset.path / CATALOGUE
    if not (copy.exists() and _digest(copy) == catalogue.digest):
        catalogue.save(copy)
    return dataset


def stage_of(
    dataset: Dataset,
    device: DeviceKind = "auto",
    roots: Mapping[str, Place] | None = None,
    asset_cache_gib: float = NODE_CACHE_GIB,
) -> RenderStage:
    """The stage that fills `dataset`, from its own header and catalogue; `roots` says where assets lie now."""
    header = dataset.header
    if header.stage != NAME or header.sources:
        raise DatasetError(
            f"was not made by datagen but by {header.stage}", "it cannot be rendered here", where=dataset.path
        )
    path = dataset.path.absolute() / CATALOGUE
    if not path.exists() or _digest(path) != header.catalogue:
        raise DatasetError(
            "missing, or not the catalogue that the dataset was made with",
            "start the run with that catalogue",
            where=path,
        )
    return RenderStage(
        catalogue=path,
        recipe=make_recipe(header.recipe, f"{dataset.path}: recipe"),
        seed=header.seed,
        items=header.items,
        per_shard=header.per_shard,
        codec=header.codec,
        roots=tuple(sorted((provider, str(root)) for provider, root in (roots or {}).items())),
        device=device,
        asset_cache_gib=asset_cache_gib,
    )


def generate(
    path: Place,
    settings: DatagenSettings,
    catalogue: Catalogue,
    options: RunOptions | None = None,
    device: DeviceKind = "auto",
    asset_cache_gib: float = NODE_CACHE_GIB,
) -> RunReport:
    """Create the dataset at `path` or go on with it, until it is complete; `pipeline.engine.run` says what stops it.

    `asset_cache_gib` bounds what each machine keeps of assets that lie in buckets.
    """
    dataset = create(path, settings, catalogue)
    return run(dataset, stage_of(dataset, device, _roots(catalogue), asset_cache_gib), options or RunOptions())


def resume(
    path: Place, options: RunOptions | None = None, device: DeviceKind = "auto", asset_cache_gib: float = NODE_CACHE_GIB
) -> RunReport:
    """Go on with the dataset at `path` with the settings that it was made with."""
    dataset = open_dataset(path)
    return run(dataset, stage_of(dataset, device, asset_cache_gib=asset_cache_gib), options or RunOptions())


def _roots(catalogue: Catalogue) -> dict[str, Place]:
    return {provider: root for provider, root in catalogue.roots.items() if provider != "bpy"}


def _digest(path: Place) -> str:
    try:
        return Catalogue.load(path).digest
    except SpecError:
        return ""


@dataclass(frozen=True, kw_only=True)
class RenderPlan(Plan):
    """What rendering the dataset of `settings` takes."""

    settings: DatagenSettings

    @property
    def shards(self) -> int:
        """Number of shards."""
        return -(-self.settings.scenes // self.settings.per_shard)

    def lines(self) -> list[str]:
        """For people."""
        settings = self.settings
        dataset = (
            f"{settings.clips} clips of {settings.scenes} scenes, {human_size(self.bytes)} in {self.shards} shards of "
            f"{human_size(self.bytes / self.shards)}, codec {settings.codec}"
        )
        return self.report("rendering", dataset, "encoding hides behind rendering")


def measure_plan(
    settings: DatagenSettings,
    catalogue: Catalogue,
    measure: int = 3,
    device: DeviceKind = "auto",
    price: float = 0.0,
    *,
    options: RunOptions | None = None,
) -> RenderPlan:
    """Make `measure` clips of the dataset with one real worker in a temporary folder, and extrapolate.

    One scene more is rendered first and left out: it pays for what a worker does only once.

    Raises LightloomError when none of them could be rendered.
    """
    few = replace(settings, clips=max(1, measure) + settings.recipe.lights.per_scene, per_shard=max(1, measure) + 1)

    def make(folder: Path) -> tuple[Dataset, RenderStage]:
        dataset = create(folder, few, catalogue)
        return dataset, stage_of(dataset, device, _roots(catalogue))

    cost, _ = measure_clips(make, lambda rows: [row for row in rows if row.item > 0], options)
    return RenderPlan(settings=settings, clips=settings.clips, cost=cost, price=price)
