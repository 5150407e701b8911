"""Create a synthetic dataset, or go on with one: header, catalogue and stage from the same few settings."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean, stdev

import msgspec

from datagen.render_stage import CATALOGUE, NAME, RenderStage
from manifests.contract.attributes import Codec
from manifests.contract.row import ClipRow
from manifests.errors import DatasetError, LightloomError, SpecError
from manifests.store import layout
from manifests.store.dataset import Dataset, open_dataset, open_or_create
from manifests.store.header import Header
from pipeline.cluster import connect
from pipeline.engine import RunReport, run
from pipeline.options import DeviceKind, RunOptions
from pipeline.plan import Forecast, human_size
from scenes.catalogue import Catalogue
from scenes.recipes import Recipe, make_recipe, to_json

SCENES_PER_SHARD = 64


@dataclass(frozen=True)
class DatagenSettings:
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
                raise DatasetError(f"{name} is {getattr(self, name)}", "give 1 or more")
        if self.seed < 0:
            raise DatasetError(f"seed is {self.seed}", "give 0 or more")

    @property
    def scenes(self) -> int:
        """Number of scenes, the work items of the dataset."""
        return -(-self.clips // self.recipe.lights.per_scene)


def create(path: Path, settings: DatagenSettings, catalogue: Catalogue) -> Dataset:
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
    )


def generate(
    path: Path,
    settings: DatagenSettings,
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
    except SpecError:
        return ""


@dataclass(frozen=True)
class Plan:
    """A measurement and its extrapolation. Seconds and bytes are means a clip; `spread` is the relative standard error.

    Attributes:
        settings: the dataset that is planned.
        device: what rendered the measured clips; `threads` CPU threads it used.
        measured: clips that were measured.
        clip_seconds: wall time of one worker a clip; encoding runs beside rendering and counts where it is longer.
        render_seconds, encode_seconds, clip_bytes: means of the measured clips.
        price: of a worker hour; 0 when not given.
    """

    settings: DatagenSettings
    device: str
    threads: int
    measured: int
    clip_seconds: float
    render_seconds: float
    encode_seconds: float
    clip_bytes: float
    spread: float
    price: float

    @property
    def worker_hours(self) -> float:
        """Hours for one worker to make the whole dataset."""
        return self._forecast.worker_hours

    @property
    def _forecast(self) -> Forecast:
        return Forecast(self.settings.clips, self.clip_seconds, self.threads, self.price)

    @property
    def bytes(self) -> float:
        """Size of the whole dataset."""
        return self.settings.clips * self.clip_bytes

    @property
    def shards(self) -> int:
        """Number of shards."""
        return -(-self.settings.scenes // self.settings.per_shard)

    def lines(self) -> list[str]:
        """For people."""
        settings = self.settings
        render = settings.recipe.render
        shard_bytes = self.bytes / self.shards
        lines = [
            f"measured   {self.measured} clips of {render.width}x{render.height}x{settings.recipe.frames} on "
            f"{self.device} with {self.threads} CPU thread{'s' if self.threads > 1 else ''}: "
            f"{self.render_seconds:.1f} s rendering, {self.encode_seconds:.1f} s encoding, "
            f"{self.clip_bytes / 1e6:.2f} MB a clip (mean; standard error of the time {100 * self.spread:.0f} %)",
            f"dataset    {settings.clips} clips of {settings.scenes} scenes, {human_size(self.bytes)} in {self.shards} "
            f"shards of {human_size(shard_bytes)}, codec {settings.codec}",
            *self._forecast.lines(),
            "assumes    every worker is as fast as this one, with as many cores of its own; the measured clips are "
            "typical;",
            "           encoding hides behind rendering; starts, failures and the shared disk cost nothing",
        ]
        if "CPU" in self.device:
            lines.append("           workers with a GPU were not measured here: run `plan` on a machine that has one")
        return lines


def measure_plan(
    settings: DatagenSettings,
    catalogue: Catalogue,
    measure: int = 3,
    device: DeviceKind = "auto",
    price: float = 0.0,
    *,
    options: RunOptions | None = None,
) -> Plan:
    """Make `measure` clips of the dataset with one real worker in a temporary folder, and extrapolate.

    One scene more is rendered first and left out: it pays for what a worker does only once.

    Raises LightloomError when none of them could be rendered.
    """
    options = replace(options or RunOptions(), workers=1)
    lights = settings.recipe.lights.per_scene
    few = replace(settings, clips=max(1, measure) + lights, per_shard=max(1, measure) + 1)
    with tempfile.TemporaryDirectory(prefix="lightloom-plan-") as folder:
        dataset = create(Path(folder) / "dataset", few, catalogue)
        roots = {provider: root for provider, root in catalogue.roots.items() if provider != "bpy"}
        cluster = connect(options)
        try:
            run(dataset, stage_of(dataset, device, roots), options)
        finally:
            cluster.close()
        every, failures = dataset.rows(), dataset.failures()
        rows = [row for row in every if row.scene > 0]
        if not rows:
            raise LightloomError(f"no clip could be measured: {failures[0].reason}: {failures[0].message}")
        files = [path for folder in layout.SUFFIX for path in (dataset.path / folder).iterdir()]
        size = sum(path.stat().st_size for path in files) / len(every)
    return _plan(settings, rows, size, cluster.share.threads, price)


def _plan(settings: DatagenSettings, rows: list[ClipRow], clip_bytes: float, threads: int, price: float) -> Plan:
    times = [max(row.render_seconds, row.encode_seconds) for row in rows]
    return Plan(
        settings=settings,
        device=rows[0].device,
        threads=threads,
        measured=len(rows),
        clip_seconds=mean(times),
        render_seconds=mean(row.render_seconds for row in rows),
        encode_seconds=mean(row.encode_seconds for row in rows),
        clip_bytes=clip_bytes,
        spread=stdev(times) / mean(times) / len(times) ** 0.5 if len(times) > 1 else 0.0,
        price=price,
    )
