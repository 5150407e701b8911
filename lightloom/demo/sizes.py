"""`DemoSizes`: everything that decides a demo, read from a YAML preset and checked field by field.

A preset of one's own starts from a shipped one (`base: default`) and says what differs. Recipes and the training preset
are plain data here: the demo writes them beside its results, where its commands read them and a newcomer can.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from manifests.errors import RunError
from manifests.yaml_presets import Layered

PRESETS = ("default", "small")
Count = Annotated[int, Meta(ge=1)]
Minutes = Annotated[float, Meta(gt=0)]
_FILES = Layered(
    "demo preset",
    Path(__file__).parent / "presets",
    PRESETS,
    PRESETS,
    "lightloom/demo/sizes.py",
    RunError,
    whole=lambda _key, _below, _above: False,
)


class DemoSection(msgspec.Struct, frozen=True, kw_only=True):
    """Base of the sections: plain, immutable data."""


class DemoDataset(DemoSection, frozen=True, kw_only=True):
    """A dataset to render: how many clips of which recipe (docs/recipes.md)."""

    clips: Count
    recipe: dict[str, Any]


class DemoLabels(DemoSection, frozen=True, kw_only=True):
    """Footage that is labelled automatically: frames per clip."""

    length: Count


class DemoMinutes(DemoSection, frozen=True, kw_only=True):
    """Wall minutes of each training."""

    inverse: Minutes
    lighting: Minutes
    forward: Minutes
    cotraining: Minutes


class DemoBenchmark(DemoSection, frozen=True, kw_only=True):
    """The parts of the benchmark (docs/evaluation.md): scenes under several lights each, and a light that turns."""

    scenes: DemoDataset
    turns: DemoDataset


class DemoRelight(DemoSection, frozen=True, kw_only=True):
    """The new light and by how many degrees it turns, and lights to compare."""

    env: str
    rotate: float
    compare: tuple[str, ...]


class DemoEdit(DemoSection, frozen=True, kw_only=True):
    """What an object is made of, as `lightloom edit --set` takes it: in the video, and in the clip behind it."""

    video: tuple[str, ...]
    clip: tuple[str, ...]


class DemoInsert(DemoSection, frozen=True, kw_only=True):
    """The object that is inserted, and how far it is turned."""

    asset: str
    rotate: float


class DemoSizes(DemoSection, frozen=True, kw_only=True):
    """One demo.

    Attributes:
        name: of the preset.
        seed: decides every scene and every weight.
        dataset: what the renderers learn from; its recipe must have `split: train`.
        footage: rendered clips, encoded as videos, that stand for real footage; one more is kept to be edited.
        side: larger side of the pictures that networks see of footage, in pixels.
        labels: how footage becomes clips.
        training: a training preset (docs/training.md).
        minutes: how long each training takes.
        benchmark: what is measured on; its recipes must have `split: test`.
        relight, edit, insert: what is done to the video.
    """

    name: str
    seed: Annotated[int, Meta(ge=0)]
    dataset: DemoDataset
    footage: DemoDataset
    side: Annotated[int, Meta(ge=16)]
    labels: DemoLabels
    training: dict[str, Any]
    minutes: DemoMinutes
    benchmark: DemoBenchmark
    relight: DemoRelight
    edit: DemoEdit
    insert: DemoInsert


def load_sizes(preset: str) -> DemoSizes:
    """The sizes of a shipped preset or a YAML file; RunError names preset and field."""
    return _FILES.convert(_FILES.read(preset), DemoSizes, preset)
