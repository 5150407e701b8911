"""`python -m benchmarks.selections DATASET...`: how well clicks select what moves through rendered clips, sent as mp4.

Of every clip, objects that cover between a hundredth and a half of its first frame. The first click is the object's
inmost pixel; each further one, which adds or takes away, is the inmost pixel of what is most wrong in the first frame.
Scored is the overlap (IoU) with the rendered instance, in the first frame and over all frames.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
import tyro
from tqdm import tqdm
from tyro.conf import Positional

from editing.film import Film, VideoWriter, eight_bits, open_film
from editing.selection import Pixel, SelectionRequest, Selector, overlap
from manifests.codec.codecs import decode_clip
from manifests.store.dataset import open_dataset
from renderers.sampling.windows import plan_windows

CLICKS = 3
_SHARES = (0.01, 0.5)


@dataclass(frozen=True, eq=False)
class Target:
    """A film as mp4 frames (T, H, W, 3) sRGB, and where an object is in it, (T, H, W) bool."""

    name: str
    rgb: np.ndarray
    film: Film
    true: np.ndarray


def targets(dataset: Path, scratch: Path) -> Iterator[Target]:
    """The objects of a dataset that are scored."""
    opened = open_dataset(dataset)
    for row in opened.rows():
        clip = decode_clip(row.key, opened.files(row))
        instance, path = clip.arrays["instance"][..., 0], scratch / f"{row.key}.mp4"
        with VideoWriter(path, clip.size, clip.fps) as video:
            for frame in Film(row.key, clip).shown:
                video.write(frame)
        with open_film(path) as film:
            rgb = np.stack([frame for frame, _ in film.read()])
            for number in np.unique(instance[instance > 1]):
                true = instance == number
                if _SHARES[0] <= true[0].mean() <= _SHARES[1] and true.any(axis=(1, 2)).all():
                    yield Target(f"{row.key}/{number}", rgb, film, true)


def inmost(mask: np.ndarray) -> tuple[Pixel, float]:
    """The pixel (x, y) of a mask (H, W) that is farthest from its edge, and how far."""
    distance = cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    row, column = np.unravel_index(int(distance.argmax()), mask.shape)
    return (int(column), int(row)), float(distance.max())


def overlaps(target: Target) -> list[tuple[float, float]]:
    """(in the first frame, mean over frames) after each click."""
    picks: list[Pixel] = [inmost(target.true[0])[0]]
    excludes: list[Pixel] = []
    made = []
    for _ in range(CLICKS):
        plan, size = plan_windows(len(target.rgb)), target.rgb.shape[1:3]
        selector = Selector(SelectionRequest(pick=tuple(picks), exclude=tuple(excludes)), target.film, plan, size)
        selected = selector.window(plan.windows[0], target.rgb, target.rgb[0])
        full = [selector.enlarged(each, eight_bits(frame)) for each, frame in zip(selected, target.rgb, strict=True)]
        found = np.stack(full)[..., 0] > 0.5
        each = [overlap(one, true) for one, true in zip(found, target.true, strict=True)]
        made.append((each[0], float(np.mean(each))))
        (add, missing), (remove, extra) = inmost(target.true[0] & ~found[0]), inmost(found[0] & ~target.true[0])
        (picks if missing >= extra else excludes).append(add if missing >= extra else remove)
    return made


def main(datasets: Positional[tuple[Path, ...]], /) -> None:
    """Print a table of overlaps, a line for each dataset and number of clicks."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    print("| clips | objects | clicks | first frame | all frames | share above 0.8 |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as scratch:
        for dataset in datasets:
            scored = [overlaps(target) for target in tqdm(targets(dataset, Path(scratch)), leave=False)]
            for click in range(CLICKS):
                first, film = np.array([each[click] for each in scored]).T
                print(
                    f"| {dataset.name} | {len(scored)} | {click + 1} | {first.mean():.3f} | {film.mean():.3f} "
                    f"| {(film > 0.8).mean():.0%} |"
                )


if __name__ == "__main__":
    tyro.cli(main)
