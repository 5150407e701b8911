"""What a training set looks like on average: mean maps, constants, one gain, one plane. Enough to beat many networks.

Means are taken in the space in which the metric squares errors (base colour sRGB-encoded), because the mean is then
the best constant there is: a baseline that is weaker than it could be flatters the network.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from manifests.clip import Clip
from manifests.codecs import decode_clip
from manifests.dataset import Dataset
from manifests.environment import srgb_decode, srgb_encode
from renderers.modelspace import channels_last, planar, relative_depth
from training.evaluation.errors import EvaluationError
from training.evaluation.metrics import best_gain

CLIPS = 512
"""Clips that are looked at, one frame of each: the maps change by less than a grey level after a few hundred."""

_NAMES = ("rgb", "basecolor", "normal", "depth", "roughness", "metallic", "instance")
_SAMPLED = 64


@dataclass(frozen=True, eq=False)
class Averages:
    """Averages over the surface pixels of a training set.

    Attributes:
        clips: clips that were averaged.
        maps: mean (H, W, C) by G-buffer at the training set's size, as values (linear base colour, unit normals,
            relative depth); where no clip shows a surface, the constant.
        constants: mean (C,) by G-buffer.
        ground_normal: (3,) unit mean of the ground's camera-space normals.
        gain: the factor on the exposed picture that makes it the best base colour over all pixels.
    """

    clips: int
    maps: dict[str, np.ndarray]
    constants: dict[str, np.ndarray]
    ground_normal: np.ndarray
    gain: float


def gather_averages(dataset: Dataset, most: int = CLIPS) -> Averages:
    """Average the middle frame of at most `most` clips, evenly spread over the dataset; all need one frame size."""
    rows = dataset.rows()
    if not rows:
        raise EvaluationError(f"{dataset.path}: no committed clip to average")
    chosen = [rows[index] for index in np.unique(np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(int))]
    totals = _Totals(chosen[0].height, chosen[0].width)
    for row in tqdm(chosen, desc="training set's averages", unit="clip", leave=False):
        if (row.height, row.width) != totals.size:
            raise EvaluationError(f"{dataset.path}: clips of several sizes cannot be averaged to mean maps")
        totals.add(decode_clip(row.key, dataset.files(row), _NAMES, [row.frames // 2], light=False))
    return totals.averages()


class _Totals:
    """Sums over clips of one size."""

    def __init__(self, height: int, width: int) -> None:
        self.size = height, width
        self._clips = 0
        self._weight = np.zeros((height, width, 1))
        self._sums: dict[str, np.ndarray] = {}
        self._ground = np.zeros(3)
        self._pairs: list[tuple[np.ndarray, np.ndarray]] = []

    def add(self, clip: Clip) -> None:
        """Take a clip of one frame."""
        arrays = {name: array[0] for name, array in clip.arrays.items()}
        surface = (arrays["instance"] > 0) & np.isfinite(arrays["depth"])  # (H, W, 1)
        relative = channels_last(relative_depth(planar(clip.arrays["depth"]))[0])[0]
        values = {
            "basecolor": srgb_encode(arrays["basecolor"]),
            "normal": arrays["normal"],
            "depth": relative,
            "roughness": arrays["roughness"],
            "metallic": arrays["metallic"],
        }
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, np.zeros(value.shape)) + value * surface
        self._weight += surface
        self._ground += arrays["normal"][arrays["instance"][..., 0] == 1].sum(axis=0)
        self._clips += 1
        where = np.flatnonzero(surface)
        if len(where):
            where = where[np.linspace(0, len(where) - 1, min(_SAMPLED, len(where))).astype(int)]
            seen = np.clip(arrays["rgb"] * clip.exposure, 0.0, 1.0)
            self._pairs.append((seen.reshape(-1, 3)[where], arrays["basecolor"].reshape(-1, 3)[where]))

    def averages(self) -> Averages:
        """The averages; EvaluationError when no surface was seen."""
        if not self._pairs:
            raise EvaluationError("the training set shows no surface at all; it cannot be averaged")
        maps, constants = {}, {}
        for name, total in self._sums.items():
            constant = total.sum(axis=(0, 1)) / self._weight.sum()
            mean = np.where(self._weight > 0, total / np.maximum(self._weight, 1), constant)
            maps[name], constants[name] = (_value(name, part).astype(np.float32) for part in (mean, constant))
        seen, truth = (np.concatenate(part)[None, None] for part in zip(*self._pairs, strict=True))  # (1, 1, N, 3)
        gain = best_gain(seen, truth, np.ones(seen.shape[:3], dtype=bool))
        length = float(np.linalg.norm(self._ground))
        ground = self._ground / length if length > 0 else np.array([0.0, 0.0, 1.0])
        return Averages(self._clips, maps, constants, ground, gain)


def _value(name: str, mean: np.ndarray) -> np.ndarray:
    """A mean as a value of the attribute: decoded colour, unit normal."""
    if name == "basecolor":
        return srgb_decode(mean)
    if name == "normal":
        return mean / np.maximum(np.linalg.norm(mean, axis=-1, keepdims=True), 1e-9)
    return mean
