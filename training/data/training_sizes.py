"""The sizes of a run's batches: what the preset says, or the commonest size of its data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from manifests.errors import InputError
from training.config import TrainConfig
from training.data.batch import ClipEntry

Sizes = tuple[tuple[tuple[int, int], float], ...]
"""((H, W), weight) of each."""


def training_sizes(
    config: TrainConfig, clips: Sequence[ClipEntry], multiple: int, seen: Sequence[ClipEntry] = ()
) -> Sizes:
    """Sizes whose sides are multiples of `multiple`: those of the preset, or the commonest of `clips`, cut to that.

    seen: the clips of a further stream, footage beside rendered clips. Where all of them are smaller than that, sizes
    are cut to the commonest of these. Raises InputError for a preset's size that the network does not take, and for
    clips that are smaller than `multiple`.
    """
    multiple *= 2 if config.data.coarse else 1  # the run begins at half the size
    sizes = _sizes(config, clips, multiple)
    tallest, widest = (max(size[axis] for size, _ in sizes) for axis in (0, 1))
    if not seen or any(clip.height >= tallest and clip.width >= widest for clip in seen):
        return sizes
    height, width = _commonest(seen, multiple)
    return tuple(((min(size[0], height), min(size[1], width)), weight) for size, weight in sizes)


def _sizes(config: TrainConfig, clips: Sequence[ClipEntry], multiple: int) -> Sizes:
    sizes: list[tuple[tuple[int, int], float]] = []
    for name, weight in config.data.sizes.items():
        height, width = (int(side) for side in name.split("x"))
        if height % multiple or width % multiple:
            raise InputError(f"data.sizes: {name} must have sides that are multiples of {multiple}", where=config.name)
        sizes.append(((height, width), weight))
    if sizes:
        return tuple(sizes)
    return ((_commonest(clips, multiple), 1.0),)


def _commonest(clips: Sequence[ClipEntry], multiple: int) -> tuple[int, int]:
    """The (H, W) that most clips have, cut to multiples of `multiple`; InputError where nothing is left."""
    counts = Counter((clip.height, clip.width) for clip in clips)
    (height, width), _ = max(counts.items(), key=lambda item: (item[1], item[0]))
    size = height - height % multiple, width - width % multiple
    if not all(size):
        raise InputError(f"clips of {height}x{width} are smaller than what the network takes ({multiple})")
    return size
