"""A benchmark on disk: datasets of `lightloom evaluate build`, read scene by scene with the clips of all its lights.

Clips of one scene share camera, geometry and G-buffers; that is what links them in the manifest (`item`, `light`).
This module also asks what must hold before any number means something: that no asset of the benchmark, and no place,
was seen in training.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from manifests.codec.codecs import decode_clip
from manifests.contract.attributes import GBUFFERS
from manifests.contract.camera import Camera
from manifests.contract.clip import Clip
from manifests.contract.color import on_screen
from manifests.contract.environment import Environment
from manifests.contract.row import ClipRow
from manifests.errors import DatasetError, InputError
from manifests.store.dataset import Dataset, open_dataset
from manifests.store.tables import read_parquet
from renderers.light.panoramas import backgrounds, panoramas
from renderers.modelspace import channels_last, planar, relative_depth

Maps = dict[str, np.ndarray]
"""(T, H, W, C) by attribute."""

PARTS = ("objects", "scenes", "turns")
PANORAMA = (32, 64)
"""Height and width of the panoramas that the analytic baselines are lit by."""

_CATALOGUE = "catalogue.parquet"
_SPEC = "spec.json"
_COVERED = 0.5


@dataclass(frozen=True, eq=False)
class Shot:
    """One clip of a benchmark, with what the metrics need of it, computed once.

    `moving` are the instances that the scene moves or turns, so that the others can be followed by depth and camera.
    """

    clip: Clip
    part: str
    scene: int
    light: int
    moving: frozenset[int] = frozenset()

    @cached_property
    def video(self) -> np.ndarray:
        """What the networks see: (T, H, W, 3) sRGB of the exposed radiance, clipped to [0, 1], float32."""
        return on_screen(self.clip.arrays["rgb"] * self.clip.exposure)

    @cached_property
    def surface(self) -> np.ndarray:
        """(T, H, W) bool: pixels that show a surface at their centre and over at least half of their area."""
        arrays = self.clip.arrays
        covered = (arrays["mask"][..., 0] > _COVERED) & np.isfinite(arrays["depth"][..., 0])
        return covered & (arrays["instance"][..., 0] > 0)

    @cached_property
    def ground(self) -> np.ndarray:
        """(T, H, W) bool: pixels that show nothing but the ground (instance 1)."""
        arrays = self.clip.arrays
        return self.surface & (arrays["instance"][..., 0] == 1) & (arrays["mask"][..., 0] > 0.99)

    @cached_property
    def relative_depth(self) -> np.ndarray:
        """(T, H, W, 1) in [0, 1]: depth over the clip's 2 to 98 % range, background 1."""
        return channels_last(relative_depth(planar(self.clip.arrays["depth"]))[0])

    @cached_property
    def gbuffers(self) -> Maps:
        """The five true G-buffers (T, H, W, C) as the inverse renderer gives them: depth relative."""
        arrays = self.clip.arrays
        return {name: self.relative_depth if name == "depth" else arrays[name] for name in GBUFFERS}

    @property
    def maps(self) -> Maps:
        """The true G-buffers with the true coverage: what a renderer gets from an editor or a scene."""
        return self.gbuffers | {"mask": self.clip.arrays["mask"]}

    @property
    def camera(self) -> Camera:
        """The true camera; InputError without one."""
        if self.clip.camera is None:
            raise InputError("has no camera", "a benchmark needs one", where=f"clip {self.clip.key}")
        return self.clip.camera

    @property
    def environment(self) -> Environment:
        """The true light; InputError without it."""
        if self.clip.environment is None:
            raise InputError("has no environment", "a benchmark needs one", where=f"clip {self.clip.key}")
        return self.clip.environment

    @cached_property
    def panorama(self) -> np.ndarray:
        """The true light, exposed: (T, 32, 64, 3) linear HDR in each frame's camera frame."""
        camera, light = self.camera, self.environment
        seen = panoramas(light.image, light.rotation, camera.camera_to_world, *PANORAMA)  # (T, 3, h, w)
        return seen.permute(0, 2, 3, 1).numpy() * np.float32(self.clip.exposure)

    @cached_property
    def background(self) -> np.ndarray:
        """The true light along every viewing ray at its full resolution, exposed: (T, H, W, 3) linear."""
        camera, light = self.camera, self.environment
        seen = backgrounds(light.image, light.rotation, camera.camera_to_world, camera.rays(*self.clip.size))
        return seen.permute(0, 2, 3, 1).numpy() * np.float32(self.clip.exposure)  # (T, 3, H, W) -> (T, H, W, 3)


@dataclass(frozen=True)
class Part:
    """One dataset of a benchmark."""

    name: str
    dataset: Dataset

    def scenes(self) -> list[int]:
        """Numbers of its scenes, ascending."""
        return sorted({row.item for row in self.rows})

    @cached_property
    def rows(self) -> list[ClipRow]:
        """Its rows, in order of key."""
        return self.dataset.rows()

    def shots(self, scene: int) -> list[Shot]:
        """A scene under each of its lights, in order; the G-buffers are decoded once and shared."""
        rows = sorted((row for row in self.rows if row.item == scene), key=lambda row: row.part)
        files = [self.dataset.files(row) for row in rows]
        first = decode_clip(rows[0].key, files[0])
        others = [decode_clip(row.key, parts, ["rgb"]) for row, parts in zip(rows[1:], files[1:], strict=True)]
        clips = [first, *(replace(clip, arrays={**first.arrays, **clip.arrays}) for clip in others)]
        moving = _moving(files[0].get(_SPEC))
        return [Shot(clip, self.name, scene, row.part, moving) for clip, row in zip(clips, rows, strict=True)]


@dataclass(frozen=True)
class Benchmark:
    """The parts of a benchmark that are there."""

    path: Path
    parts: tuple[Part, ...]

    def chosen(self, most: int | None = None) -> Iterator[tuple[Part, int]]:
        """Every (part, scene), or the first `most` scenes of each part."""
        for part in self.parts:
            for scene in part.scenes()[:most]:
                yield part, scene


def open_benchmark(path: Path) -> Benchmark:
    """Open the benchmark at `path`; InputError when there is none, or a part of it is not complete."""
    parts = tuple(Part(name, open_dataset(path / name)) for name in PARTS if (path / name / "dataset.json").is_file())
    if not parts:
        raise InputError("no benchmark here", f"make one with `lightloom evaluate build {path}`", where=path)
    for part in parts:
        if len(part.dataset.shards()) != part.dataset.header.shards:
            raise InputError("not complete", f"go on with `lightloom evaluate build {path}`", where=path / part.name)
    return Benchmark(path, parts)


def seen_in_training(benchmark: Benchmark, training: Dataset) -> list[str]:
    """Uids of assets in the benchmark that the training set shows too, sorted.

    Plain shapes, which belong to every split, do not count. Environments are the same when they show the same place.
    """
    trained = _identities(training, {use.uid for row in training.rows() for use in row.assets})
    found: set[str] = set()
    for part in benchmark.parts:
        tested = _identities(part.dataset, {use.uid for row in part.rows for use in row.assets})
        found |= {uid for identity, uid in tested.items() if identity in trained}
    return sorted(found)


def _identities(dataset: Dataset, uids: set[str]) -> dict[str, str]:
    """Uid by identity (the place, where there is one) of the assets that belong to one split; uids alone if unknown."""
    path = dataset.path / _CATALOGUE
    if not path.is_file():
        return {uid: uid for uid in uids}
    try:
        table = read_parquet(path, ["uid", "place", "split"]).to_pylist()
    except (OSError, ValueError) as error:
        raise DatasetError(f"cannot be read as a catalogue ({error})", "restore it from a copy", where=path) from None
    return {row["place"] or row["uid"]: row["uid"] for row in table if row["uid"] in uids and row["split"] != "all"}


def _moving(spec: bytes | None) -> frozenset[int]:
    """Instances that have motions of their own, from a scene's spec.json."""
    if spec is None:
        return frozenset()
    objects = json.loads(spec).get("objects", [])
    return frozenset(int(item["instance"]) for item in objects if item.get("motions"))
