"""What an edit selects: an instance, a mask from a file, or what was picked; followed over the film.

A network says what belongs to the picks (`renderers.photo.click_selection`), first in the whole picture, then in a
closer view of what it found. From frame to frame optical flow carries that (DIS, Kroeger et al. 2016, in OpenCV). Flow
drifts, so near the edge every pixel is asked again whether it looks more like the inside or the outside close by. Both
answers are soft and small; the picture itself gives them their edge, at full size.
"""

from __future__ import annotations

import importlib.resources
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from editing.film import Film, open_film, open_picture, resized
from manifests.contract.camera import fitted
from manifests.contract.clip import Clip
from manifests.errors import InputError

if TYPE_CHECKING:
    from renderers.photo.click_selection import ClickSelection
    from renderers.sampling.windows import Window, WindowPlan

Pixel = tuple[int, int]
TOLERANCE = 0.5
"""A pixel is selected whose chance to belong is above 1 less this."""

NETWORK = Path(str(importlib.resources.files("renderers"))) / "weights" / "selection"
"""The network that comes with the package."""

_SIDE = 192
_MARGIN = 0.25
_LEAST_MARGIN = 8
_CLOSER = 0.8
_RADIUS = 4
_SMOOTH = 1e-4
_SHARPNESS = 3.0
_PART, _NEAR = 0.2, 0.01
"""The network sees pictures whose larger side is 192, and what it found with a margin of a quarter, and of 8 pixels,
where that shows it larger by as much again. Radius (in pixels that it saw) and smoothing of the guided filter, and how
much steeper edges get, were chosen on rendered clips. Parts of a selection hang together above a fifth; a pick lies on
what is within a hundredth of the picture's larger side. Of following:"""

_FLOW_SIDE, _FLOW_LEAST = 512, 256
_LEAST = 1e-4
_BAND = 0.015
_REACH = 0.08
_TRUST = 0.2
_ROUNDS = 3
_CONTRAST = 2.0
_NOISE = 1e-3
"""Most and least side that flow sees; the share of the picture below which nothing is left to follow; band and reach
(shares of the smaller side), trust in the flow, rounds, and the contrast (squared distance of means over variance) at
which likeness counts half: see docs/editing.md."""
_STILLS = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp")


@dataclass(frozen=True)
class SelectionRequest:
    """What to select, said in exactly one way. InputError unless it is and makes sense.

    Attributes:
        instance: number of an object of a synthetic clip.
        mask: what is selected in white: a picture for the first frame, or a video for all of them.
        pick: pixels (x, y) of the first frame, from its top left; what they lie on is selected.
        exclude: pixels of what does not belong to it.
        tolerance: how much is taken, above 0 (the surest) to 1 (nearly everything).
    """

    instance: int | None = None
    mask: Path | None = None
    pick: tuple[Pixel, ...] = ()
    exclude: tuple[Pixel, ...] = ()
    tolerance: float = TOLERANCE

    def __post_init__(self) -> None:
        if (self.instance is not None) + (self.mask is not None) + bool(self.pick) != 1:
            raise InputError(
                "say what to edit by one of `instance`, `mask` or `pick`", fields=("instance", "mask", "pick")
            )
        if self.exclude and not self.pick:
            raise InputError("`exclude` takes away from what `pick` selects", fields=("exclude", "pick"))
        if not 0 < self.tolerance <= 1:
            raise InputError(
                f"`tolerance` is {self.tolerance}, expected a number above 0, at most 1", fields=("tolerance",)
            )


def pixels(given: Pixel | Sequence[Pixel]) -> tuple[Pixel, ...]:
    """One pixel (x, y) or several as several."""
    several = (given,) if len(given) == 2 and not isinstance(given[0], Sequence) else given
    return tuple((int(x), int(y)) for x, y in several)  # type: ignore[misc]  # a pair of numbers is one pixel


class Selector:
    """Gives the selection of each window of a film, in order, at the film's size; holds a window."""

    def __init__(self, request: SelectionRequest, film: Film, plan: WindowPlan) -> None:
        self._request, self._size = request, film.size
        self._follower: Follower | None = None
        self._video: Iterator[np.ndarray] | None = None
        self._tail, self._start = np.empty((0, *film.size, 1), dtype=np.float32), 0
        if request.instance is not None:
            self._instances = instance_selection(_instances(film), request.instance)
        elif request.mask is not None and request.mask.suffix.lower() in _STILLS:
            self._follower = Follower(mask=_filled(_still(request.mask, film.size), request.mask))
        elif request.mask is not None:
            self._video = _masks(request.mask, film, plan)
        else:
            height, width = film.size
            for x, y in (*request.pick, *request.exclude):
                if not (0 <= x < width and 0 <= y < height):
                    raise InputError(f"pixel {x},{y} lies outside the video of {width}x{height} pixels")
            self._follower = Follower(request.pick, request.exclude, request.tolerance)

    def window(self, window: Window, rgb: np.ndarray) -> np.ndarray:
        """The selection (n, H, W, 1) in [0, 1] of the next window of frames (n, H, W, 3), sRGB in [0, 1]."""
        if self._request.instance is not None:
            return self._instances[window.start : window.stop]
        if self._video is not None:
            return next(self._video)
        assert self._follower is not None
        known = self._tail[window.start - self._start :]  # frames that the last window had too
        fresh = [self._follower.step(frame) for frame in rgb[len(known) :]]
        self._tail, self._start = np.concatenate([known, *(mask[None] for mask in fresh)]), window.start
        return self._tail


def _instances(film: Film) -> np.ndarray:
    clip: Clip | None = film.clip
    if clip is None or "instance" not in clip.arrays:
        raise InputError(
            "does not know its instances", "use `pick` or `mask`", where=film.name, fields=("pick", "mask")
        )
    return clip.arrays["instance"]


def _still(path: Path, size: tuple[int, int]) -> np.ndarray:
    """A mask (H, W, 1) in [0, 1] from a grey picture, or from the alpha of one that has it."""
    with open_picture(path, "mask") as image:
        if (image.height, image.width) != size:
            raise InputError(f"{image.width}x{image.height} pixels, but the video has {size[1]}x{size[0]}", where=path)
        grey = image.getchannel("A") if "A" in image.getbands() else image.convert("L")
        return (np.asarray(grey, dtype=np.float32) / 255)[..., None]


def _filled(mask: np.ndarray, path: Path) -> np.ndarray:
    if not (mask > 0.5).any():
        raise InputError("the mask is empty", "what is to be edited is white", where=path)
    return mask


def _masks(path: Path, film: Film, plan: WindowPlan) -> Iterator[np.ndarray]:
    """Windows (n, H, W, 1) of a mask for every frame, from a video as long and as large as the film."""
    with open_film(path) as masks:
        if masks.frames != film.frames or masks.size != film.size:
            (height, width), (film_height, film_width) = masks.size, film.size
            raise InputError(
                f"{masks.frames} frames of {width}x{height}, "
                f"but the video has {film.frames} of {film_width}x{film_height}",
                where=path,
            )
        for piece in masks.pieces(plan):
            yield np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in piece.rgb])[..., None]


def instance_selection(instance: np.ndarray, number: int) -> np.ndarray:
    """Pixels (T, H, W, 1) in {0, 1} of one instance of a clip's `instance` (T, H, W, 1); InputError if none shows."""
    chosen = instance == number
    if not chosen.any():
        there = ", ".join(str(int(other)) for other in np.unique(instance) if other)
        raise InputError(f"no pixel shows instance {number}", f"the clip shows {there or 'none'} (0 is the background)")
    return chosen.astype(np.float32)


@cache
def selection_network() -> ClickSelection:
    """The network that comes with the package, loaded once."""
    from renderers.photo.click_selection import ClickSelection

    network: ClickSelection = ClickSelection.from_pretrained(NETWORK, use_safetensors=True)
    return network.float().eval()


class Follower:
    """Selects in the first frame that it is shown, by picks or as the mask says, and follows that over the next ones.

    Args:
        pick, exclude: pixels (x, y) of the first frame.
        tolerance: as `SelectionRequest` has it.
        mask: (H, W, 1) in [0, 1], the selection of the first frame, in place of picks.
        network: says what belongs together; the one that comes with the package, if not given.
    """

    def __init__(
        self,
        pick: Sequence[Pixel] = (),
        exclude: Sequence[Pixel] = (),
        tolerance: float = TOLERANCE,
        *,
        mask: np.ndarray | None = None,
        network: ClickSelection | None = None,
    ) -> None:
        self._points = [np.array(points, dtype=np.float32).reshape(-1, 2) for points in (pick, exclude)]
        self._bias = float(np.log(tolerance / max(1 - tolerance, 1e-3)))
        self._mask, self._network = mask, network
        self._guides = mask is None
        self._chance: np.ndarray | None = None
        self._grey: np.ndarray | None = None
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)

    def step(self, rgb: np.ndarray) -> np.ndarray:
        """The selection (H, W, 1) in [0, 1] in the next frame (H, W, 3), in sRGB. InputError: picks hit nothing."""
        size = rgb.shape[:2]
        small = resized(rgb[None], fitted(size, _FLOW_SIDE))[0]
        grey, last = cv2.cvtColor((np.clip(small, 0, 1) * 255).astype(np.uint8), cv2.COLOR_RGB2GRAY), self._grey
        self._grey = grey
        if self._chance is None or last is None:
            mask = self._mask if self._mask is not None else self._closer(rgb, self._first_look(rgb))[..., None]
            if not (mask > 0.5).any():
                advice = "pick another pixel of it, or more of them, or raise `tolerance`"
                raise InputError("nothing is found at the picked pixels", advice, fields=("pick", "tolerance"))
            self._chance = resized(mask[None], grey.shape)[0]
            return mask
        if self._chance.mean() < _LEAST:
            return np.zeros((*size, 1), dtype=np.float32)
        self._chance = self._carried(last, grey)
        for _ in range(_ROUNDS):
            self._chance = _refined(self._chance, small)
        if not self._guides:
            return resized(self._chance[None], size)[0]
        return _steep(_guided(self._chance[..., 0], small, rgb), _SHARPNESS)[..., None]

    def _first_look(self, rgb: np.ndarray) -> np.ndarray:
        """The selection (H, W) by the first pick alone, which the others put right."""
        everything, size = self._points, rgb.shape[:2]
        self._points = [everything[0][:1], everything[1][:0]]
        found = self._seen(rgb, np.zeros(size, dtype=np.float32), _whole(size))
        self._points = everything
        return _hit(found, everything[0][:1])

    def _closer(self, rgb: np.ndarray, earlier: np.ndarray) -> np.ndarray:
        """The selection (H, W) that the network gives for an earlier one (H, W), seen as large as it can be."""
        return _hit(self._seen(rgb, earlier, _around(earlier, self._points[0])), self._points[0])

    def _seen(self, rgb: np.ndarray, earlier: np.ndarray, box: _Box) -> np.ndarray:
        """The selection (H, W) that the network gives when it sees a part of the picture (H, W, 3); 0 outside of it."""
        import torch

        from renderers.photo.click_selection import clicks_drawn

        view, larger = rgb[box.slices], max(box.size)
        size = (
            max(32, 32 * round(box.size[0] * _SIDE / larger / 32)),
            max(32, 32 * round(box.size[1] * _SIDE / larger / 32)),
        )
        scale = np.array([size[1] / box.size[1], size[0] / box.size[0]])
        guides = [
            clicks_drawn(size, ((points + 0.5 - [box.left, box.top]) * scale).tolist()) for points in self._points
        ]
        guides.append(resized(earlier[box.slices][None, ..., None], size)[0, ..., 0])
        small = resized(view[None], size)[0]
        picture = torch.from_numpy(small.transpose(2, 0, 1)[None] * 2 - 1)  # (h, w, 3) -> (1, 3, h, w)
        with torch.no_grad():
            logits = (self._network or selection_network())(picture, torch.from_numpy(np.stack(guides)[None]))
        chance = torch.sigmoid(logits + self._bias)[0, 0].numpy()
        found = np.zeros(rgb.shape[:2], dtype=np.float32)
        found[box.slices] = _steep(_guided(chance, small, view), _SHARPNESS)
        return found

    def _carried(self, last: np.ndarray, grey: np.ndarray) -> np.ndarray:
        """The selection (h, w, 1) of the frame `last` (h, w) at the place where flow sees it in the frame `grey`."""
        assert self._chance is not None
        height, width = grey.shape
        scale = max(1.0, _FLOW_LEAST / min(height, width))
        large = (round(width * scale), round(height * scale))
        frames = [cv2.resize(frame, large, interpolation=cv2.INTER_CUBIC) for frame in (grey, last)]
        dense = self._flow.calc(frames[0], frames[1], np.zeros((*frames[0].shape, 2), dtype=np.float32))
        flow = cv2.resize(dense, (width, height)) / scale  # from where things are now to where they were
        columns, rows = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
        there = cv2.remap(self._chance[..., 0], columns + flow[..., 0], rows + flow[..., 1], cv2.INTER_LINEAR)
        return there[..., None]


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Intersection over union of two masks, selected above a half; 1 where both are empty."""
    one, other = one > 0.5, other > 0.5
    either = (one | other).sum()
    return float((one & other).sum() / either) if either else 1.0


@dataclass(frozen=True)
class _Box:
    """Pixels [top, bottom) x [left, right)."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def size(self) -> tuple[int, int]:
        return self.bottom - self.top, self.right - self.left

    @property
    def slices(self) -> tuple[slice, slice]:
        return slice(self.top, self.bottom), slice(self.left, self.right)


def _whole(size: tuple[int, int]) -> _Box:
    return _Box(0, size[0], 0, size[1])


def _around(mask: np.ndarray, points: np.ndarray) -> _Box:
    """What to look at closely: a mask (H, W) and points (N, 2) with a margin; everything where that is no closer."""
    height, width = mask.shape
    rows, columns = np.nonzero(mask > 0.5)
    rows, columns = np.append(rows, points[:, 1]), np.append(columns, points[:, 0])
    if not len(rows):
        return _whole(mask.shape)
    low, high = np.array([rows.min(), columns.min()]), np.array([rows.max(), columns.max()]) + 1
    margin = max(_MARGIN * float((high - low).max()), _LEAST_MARGIN)
    top, left = np.maximum(low - margin, 0).astype(int)
    bottom, right = np.minimum(np.ceil(high + margin), mask.shape).astype(int)
    if max(bottom - top, right - left) > _CLOSER * max(height, width):
        return _whole(mask.shape)
    return _Box(int(top), int(bottom), int(left), int(right))


def _hit(mask: np.ndarray, points: np.ndarray) -> np.ndarray:
    """The connected parts of a mask (H, W) on which points (N, 2) lie, or nearly; alike things elsewhere are others."""
    _, parts = cv2.connectedComponents((mask > _PART).astype(np.uint8), connectivity=4)
    reach = max(1, round(_NEAR * max(mask.shape)))
    hit = {
        int(number)
        for x, y in points.astype(int)
        for number in np.unique(parts[max(y - reach, 0) : y + reach + 1, max(x - reach, 0) : x + reach + 1])
    } - {0}
    return np.where(np.isin(parts, list(hit)), mask, 0.0).astype(np.float32)


def _steep(mask: np.ndarray, times: float) -> np.ndarray:
    return np.clip((mask - 0.5) * times + 0.5, 0.0, 1.0)


def _guided(mask: np.ndarray, small: np.ndarray, picture: np.ndarray) -> np.ndarray:
    """A mask (h, w) at the size of a picture (H, W, 3), with the picture's edges; `small` (h, w, 3) is that picture.

    Fast guided filter (He and Sun 2015): nearby, the mask is an affine function of colour.
    """
    side = (2 * _RADIUS + 1,) * 2

    def mean(values: np.ndarray) -> np.ndarray:
        return cv2.blur(values, side, borderType=cv2.BORDER_REFLECT)

    middle, level = mean(small), mean(mask)
    products = np.stack([mean(small * small[..., i : i + 1]) for i in range(3)], axis=-1)  # (h, w, 3, 3)
    spread = products - middle[..., :, None] * middle[..., None, :] + _SMOOTH * np.eye(3, dtype=np.float32)
    together = mean(small * mask[..., None]) - middle * level[..., None]
    slope = np.linalg.solve(spread, together[..., None])[..., 0]
    lines = mean(np.dstack([slope, level - (slope * middle).sum(axis=-1)]).astype(np.float32))
    lines = cv2.resize(lines, picture.shape[1::-1])
    return (lines[..., :3] * picture).sum(axis=-1) + lines[..., 3]


def _refined(mask: np.ndarray, features: np.ndarray) -> np.ndarray:
    """A mask (H, W, 1) whose pixels near its edge are decided by likeness to the inside or the outside close by.

    Where the two look alike, likeness says nothing and the mask stays as flow left it.
    """
    size = min(mask.shape[:2])
    band = 2 * max(1, round(_BAND * size)) + 1
    reach = 2 * max(3, round(_REACH * size)) + 1
    kernel = np.ones((band, band), dtype=np.uint8)
    hard = (mask[..., 0] > 0.5).astype(np.uint8)
    inside, outside = cv2.erode(hard, kernel), 1 - cv2.dilate(hard, kernel)
    within, without = (_Nearby.of(features, part.astype(np.float32), reach) for part in (inside, outside))
    unsure = (inside == 0) & (outside == 0) & (within.share > 0) & (without.share > 0)
    to_inside, to_outside = (np.square(features - side.mean).sum(axis=-1) for side in (within, without))
    alike = to_outside / np.maximum(to_inside + to_outside, 1e-9)
    contrast = np.square(within.mean - without.mean).sum(axis=-1) / (within.variance + without.variance + _NOISE)
    trust = 1 - (1 - _TRUST) * contrast / (contrast + _CONTRAST)
    blended = trust * mask[..., 0] + (1 - trust) * alike
    decided = np.clip((blended - 0.5) * 4 + 0.5, 0.0, 1.0)
    return np.where(unsure, decided, mask[..., 0])[..., None].astype(np.float32)


@dataclass(frozen=True)
class _Nearby:
    """Features under a weight, in a square around each pixel: share (H, W), mean (H, W, F), total variance (H, W)."""

    share: np.ndarray
    mean: np.ndarray
    variance: np.ndarray

    @classmethod
    def of(cls, features: np.ndarray, weight: np.ndarray, reach: int) -> _Nearby:
        share = cv2.boxFilter(weight, -1, (reach, reach))
        share = np.where(share < 1e-6, 0.0, share)
        whole = np.maximum(share, 1e-6)
        planes = np.moveaxis(features, -1, 0)
        mean = np.stack([cv2.boxFilter(plane * weight, -1, (reach, reach)) / whole for plane in planes], axis=-1)
        power = cv2.boxFilter(np.square(features).sum(axis=-1) * weight, -1, (reach, reach)) / whole
        return cls(share, mean, np.maximum(power - np.square(mean).sum(axis=-1), 0.0))
