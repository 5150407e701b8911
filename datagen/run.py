"""Create a synthetic dataset, or go on with one: header, catalogue and stage from the same few settings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from datagen.choices import Codec, DeviceKind
from datagen.stage import CATALOGUE, NAME, RenderStage
from manifests.dataset import Dataset, open_dataset, open_or_create
from manifests.errors import DatasetError
from manifests.header import Header
from pipeline.engine import RunReport, run
from pipeline.options import RunOptions
from scenes.catalogue import Catalogue, CatalogueError
from scenes.recipes import Recipe, make_recipe, to_json

SCENES_PER_SHARD = 64


@dataclass(frozen=True)
class Settings:
    """What decides every clip of a dataset, besides the catalogue.

    Attributes:
        recipe: what scenes are drawn from.
        clips: how many clips to make; a recipe with K lights a scene makes a multiple of K, at least this many.
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
                raise DatasetError(f"{name} is {getattr(self, name)}; give 1 or more")
        if self.seed < 0:
            raise DatasetError(f"seed is {self.seed}; give 0 or more")

    @property
    def scenes(self) -> int:
        """Number of scenes, the work items of the dataset."""
        return -(-self.clips // self.recipe.lights.per_scene)


def create(path: Path, settings: Settings, catalogue: Catalogue) -> Dataset:
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


def stage_of(dataset: Dataset, device: DeviceKind = "auto", roots: dict[str, Path] | None = None) -> RenderStage:
    """The stage that fills `dataset`, from its own header and catalogue; `roots` says where assets lie now."""
    header = dataset.header
    if header.stage != NAME or header.sources:
        raise DatasetError(f"{dataset.path}: was not made by datagen but by {header.stage}; it cannot be rendered here")
    path = dataset.path.absolute() / CATALOGUE
    if not path.exists() or _digest(path) != header.catalogue:
        raise DatasetError(
            f"{path}: missing, or not the catalogue that the dataset was made with; start the run with that catalogue"
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
    )


def generate(
    path: Path,
    settings: Settings,
    catalogue: Catalogue,
    options: RunOptions | None = None,
    device: DeviceKind = "auto",
) -> RunReport:
    """Create the dataset at `path` or go on with it, until it is complete; `pipeline.engine.run` says what stops it."""
    dataset = create(path, settings, catalogue)
    roots = {provider: root for provider, root in catalogue.roots.items() if provider != "bpy"}
    return run(dataset, stage_of(dataset, device, roots), options or RunOptions())


def resume(path: Path, options: RunOptions | None = None, device: DeviceKind = "auto") -> RunReport:
    """Go on with the dataset at `path` with the settings that it was made with."""
    dataset = open_dataset(path)
    return run(dataset, stage_of(dataset, device), options or RunOptions())


def _digest(path: Path) -> str:
    try:
        return Catalogue.load(path).digest
    except CatalogueError:
        return ""
