"""Label footage into a dataset, or go on with one: header and stage from the source and the same few settings."""

from __future__ import annotations

from pathlib import Path

from labeling.errors import SourceError
from labeling.rows import NAME
from labeling.settings import Settings, footage_digest
from labeling.sources.base import Discovery
from labeling.stage import LabelStage
from manifests.dataset import Dataset, open_or_create
from manifests.header import Header
from pipeline.engine import RunReport, run
from pipeline.options import RunOptions


def create(path: Path, found: Discovery, settings: Settings) -> Dataset:
    """Make the dataset's folder with its header, or open it if it has the same one; DatasetError names what differs."""
    if not found.footage:
        reasons = ", ".join(dict.fromkeys(problem.reason for problem in found.problems)) or "it is empty"
        raise SourceError(f"{found.root}: holds no footage ({reasons}); give a video, a folder of videos or of frames")
    header = Header(
        stage=NAME,
        codec=settings.codec,
        recipe=settings.identity(),
        seed=settings.seed,
        items=len(found.footage),
        per_shard=settings.per_shard,
        lights=0,
        catalogue=footage_digest(found.footage),
    )
    return open_or_create(path, header)


def stage_of(found: Discovery, settings: Settings) -> LabelStage:
    """The stage that labels what was found."""
    return LabelStage(source=Path(found.root).name, footage=found.footage, settings=settings)


def label(path: Path, found: Discovery, settings: Settings, options: RunOptions | None = None) -> RunReport:
    """Create the dataset at `path` or go on with it, until it is complete; `pipeline.engine.run` says what stops it."""
    return run(create(path, found, settings), stage_of(found, settings), options or RunOptions())
