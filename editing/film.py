"""What the editing commands work on: a video or a dataset's clip, handed out window by window and joined again.

Windows bound the memory: a video of any length is read, rendered and written a few frames at a time, and what two
windows share is cross-faded (`renderers.sampling.windows`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import torch

from editing.video import open_video, steady
from labeling.sources.footage import Reader
from manifests.codec.codecs import decode_clip
from manifests.contract.clip import Clip
from manifests.contract.color import on_screen
from manifests.errors import InputError
from manifests.store.dataset import open_dataset
from manifests.store.layout import HEADER
from renderers.sampling.windows import Window, WindowPlan, stream


@dataclass(frozen=True, eq=False)
class Piece:
    """The frames of one window: rgb (n, H, W, 3) float32 sRGB in [0, 1], and the times (n,) they are shown at."""

    window: Window
    rgb: np.ndarray
    seconds: np.ndarray


class Film:
    """A video, or a clip of a dataset. A context manager.

    Attributes:
        name: for people.
        size: (H, W).
        frames: T.
        fps: frames a second.
        clip: the dataset's clip, or None for a video.
    """

    def __init__(self, name: str, source: Reader | Clip) -> None:
        self.name, self._source = name, source
        self.clip = source if isinstance(source, Clip) else None
        self.size, self.frames, self.fps = source.size, source.frames, source.fps

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(self._source, Reader):
            self._source.close()

    def pieces(self, plan: WindowPlan) -> Iterator[Piece]:
        """The windows of the plan in order; once."""
        source = self._shown() if self.clip is not None else self._read()
        held: list[tuple[np.ndarray, float]] = []
        start = 0
        for window in plan.windows:
            held = held[window.start - start :]
            start = window.start
            while len(held) < window.stop - start:
                held.append(next(source))
            yield Piece(window, np.stack([rgb for rgb, _ in held]), np.array([seconds for _, seconds in held]))

    def _read(self) -> Iterator[tuple[np.ndarray, float]]:
        assert isinstance(self._source, Reader)
        for rgb, seconds in steady(self._source):
            yield rgb.astype(np.float32) / 255, seconds

    def _shown(self) -> Iterator[tuple[np.ndarray, float]]:
        for frame, rgb in enumerate(self.shown):
            yield rgb, frame / self.fps

    @cached_property
    def shown(self) -> np.ndarray:
        """The clip's rgb (T, H, W, 3) as a screen shows it, sRGB in [0, 1]."""
        assert self.clip is not None
        return on_screen(self.clip.exposure * self.clip.arrays["rgb"])


def open_film(name: str) -> Film:
    """The film called `name`: a video file, a folder of frames, or DATASET:KEY. LightloomError when there is none."""
    folder, colon, key = name.rpartition(":")
    if not (colon and (Path(folder) / HEADER).is_file()):
        return Film(name, open_video(Path(name)))
    dataset = open_dataset(folder)
    row = next((row for row in dataset.rows() if row.key == key), None)
    if row is None:
        raise InputError(f"holds no clip {key!r}", "`lightloom data verify` counts its clips", where=folder)
    clip = decode_clip(key, dataset.files(row))
    if "rgb" not in clip.arrays:
        raise InputError(f"the clip holds no rgb, only {', '.join(clip.arrays)}", where=name)
    return Film(name, clip)


def cross_faded(plan: WindowPlan, outputs: Iterable[Sequence[np.ndarray]]) -> Iterator[list[np.ndarray]]:
    """`sampling.windows.stream` for several arrays (n, ...) per window, of any shapes: finished frames, in order."""
    shapes: list[tuple[int, ...]] = []

    def flat() -> Iterator[torch.Tensor]:
        for arrays in outputs:
            shapes[:] = [array.shape[1:] for array in arrays]
            rows = [np.asarray(array, dtype=np.float32).reshape(len(array), -1) for array in arrays]
            yield torch.from_numpy(np.concatenate(rows, axis=1))[None, :, None, None]  # (n, N) -> (1, n, 1, 1, N)

    for block in stream(plan, flat()):
        rows = block[0, :, 0, 0].numpy()  # (1, n, 1, 1, N) -> (n, N)
        ends = np.cumsum([int(np.prod(shape)) for shape in shapes])
        parts = np.split(rows, ends[:-1], axis=1)
        yield [part.reshape(len(part), *shape) for part, shape in zip(parts, shapes, strict=True)]
