"""What an edit selects: an instance, a mask from a file, or what was picked; followed over the film.

A network says what belongs to the picks (`renderers.photo.click_selection`): in the whole picture by the first pick,
then by all, then in a closer view of what it found. From frame to frame optical flow carries that (DIS, Kroeger et al.
2016, in OpenCV). Where flow and the flow back disagree, pixels near the edge are asked whether they look more like
the inside or the outside close by. Both answers are soft and small; the picture itself gives them their edge, at full
size.
"""

from __future__ import annotations

import importlib.resources
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, cast

import cv2
import numpy as np

from editing.film import Film, floats, open_film, picture_of, resized
from manifests.contract.clip import Clip
from manifests.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

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
_DOUBTS = (0.0, 2.0, 4.0)
"""The network sees pictures whose larger side is 192, and what it found with a margin of a quarter, and of 8 pixels,
where that shows it larger by as much again. Radius (in pixels that it saw) and smoothing of the guided filter, and how
much steeper edges get, were chosen on rendered clips. Parts of a selection hang together above a fifth; a pick lies on
what is within a hundredth of the picture's larger side. Logits are raised by up to 4 before a pick is said to hit
nothing. Of following:"""

_FLOW_LEAST = 160
_LEAST, _FAINT = 1e-4, 0.02
_BAND = 0.015
_REACH = 0.08
_TRUST = 0.2
_ROUNDS = 5
_CONTRAST = 2.0
_NOISE = 1e-3
_ASTRAY, _ASTRAY_SHARE = 1.5, 0.05
"""Least side that flow sees; the share of the picture below which nothing is left to follow; band and reach
(shares of the smaller side), trust in the flow, rounds, and the contrast (squared distance of means over variance) at
which likeness counts half; pixels, and share of the way, by which flow back may miss: see docs/editing.md."""
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
    several = [given] if len(given) == 2 and not isinstance(given[0], Sequence) else given
    return tuple((int(x), int(y)) for x, y in cast("Sequence[Pixel]", several))


class Selector:
    """Gives the selection of each window of a film, in order, at the size `seen` by the networks."""

    def __init__(self, request: SelectionRequest, film: Film, plan: WindowPlan, seen: tuple[int, int]) -> None:
        self._request, self._seen, self._size, self._film = request, seen, film.size, film
        self._ended = False
        self._follower: Follower | None = None
        self._video: Iterator[np.ndarray] | None = None
        self._tail, self._start = np.empty((0, *seen, 1), dtype=np.float32), 0
        if request.instance is not None:
            self._instances = instance_selection(_instances(film), request.instance)
        elif request.mask is not None and request.mask.suffix.lower() in _STILLS:
            self._follower = Follower(resized(_filled(_still(request.mask, film.size), request.mask)[None], seen)[0])
        elif request.mask is not None:
            self._video = _masks(request.mask, film, plan, seen)
        height, width = film.size
        for x, y in (*request.pick, *request.exclude):
            if not (0 <= x < width and 0 <= y < height):
                raise InputError(f"pixel {x},{y} lies outside the video of {width}x{height} pixels")

    def window(self, window: Window, rgb: np.ndarray, first: np.ndarray) -> np.ndarray:
        """The selection (n, h, w, 1) in [0, 1] of the next window of frames (n, h, w, 3), sRGB in [0, 1].

        first: the film's first frame (H, W, 3), uint8, in its own size, when the first window is asked for.
        Raises InputError where the picks select nothing.
        """
        if self._request.instance is not None:
            return resized(self._instances[window.start : window.stop], self._seen)
        if self._video is not None:
            return next(self._video)
        if self._follower is None:
            found = picked(first, self._request.pick, self._request.exclude, self._request.tolerance)
            self._follower = Follower(resized(found[None], self._seen)[0])
        known = self._tail[window.start - self._start :]  # frames that the last window had too
        fresh = [self._follower.step(frame) for frame in rgb[len(known) :]]
        self._tail, self._start = np.concatenate([known, *(mask[None] for mask in fresh)]), window.start
        if self._follower.cut is not None and not self._ended:
            self._ended = True
            self._film.remarks.append(f"the selection ends at the hard cut before frame {self._follower.cut}")
        return self._tail

    def enlarged(self, selected: np.ndarray, frame: np.ndarray) -> np.ndarray:
        """A selection (h, w, 1) of `window` at the film's size (H, W, 1); what was picked gets its `frame`'s edges."""
        return with_edges(selected, frame) if self._request.pick else resized(selected[None], self._size)[0]


def _instances(film: Film) -> np.ndarray:
    clip: Clip | None = film.clip
    if clip is None or "instance" not in clip.arrays:
        raise InputError(
            "does not know its instances", "use `pick` or `mask`", where=film.name, fields=("pick", "mask")
        )
    return clip.arrays["instance"]


def _still(path: Path, size: tuple[int, int]) -> np.ndarray:
    """A mask (H, W, 1) in [0, 1] from a picture in black and white, or from the alpha of one that has it."""
    picture = picture_of(path, "mask")
    if picture.colour.shape[:2] != size:
        (height, width) = picture.colour.shape[:2]
        raise InputError(f"{width}x{height} pixels, but the video has {size[1]}x{size[0]}", where=path)
    try:
        return picture.mask()[..., None]
    except ValueError as error:
        raise InputError(f"as a mask it {error}", where=path) from None


def _filled(mask: np.ndarray, path: Path) -> np.ndarray:
    if not (mask > 0.5).any():
        raise InputError("the mask is empty", "what is to be edited is white", where=path)
    return mask


def _masks(path: Path, film: Film, plan: WindowPlan, seen: tuple[int, int]) -> Iterator[np.ndarray]:
    """Windows (n, h, w, 1) of a mask for every frame, from a video as long and as large as the film."""
    with open_film(path) as masks:
        if masks.frames != film.frames or masks.size != film.size:
            (height, width), (film_height, film_width) = masks.size, film.size
            raise InputError(
                f"{masks.frames} frames of {width}x{height}, "
                f"but the video has {film.frames} of {film_width}x{film_height}",
                where=path,
            )
        for piece in masks.pieces(plan, seen):
            yield np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in piece.seen])[..., None]


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


def picked(
    rgb: np.ndarray,
    pick: Sequence[Pixel],
    exclude: Sequence[Pixel] = (),
    tolerance: float = TOLERANCE,
    network: ClickSelection | None = None,
) -> np.ndarray:
    """The selection (H, W, 1) in [0, 1] of a picture (H, W, 3), uint8 or sRGB in [0, 1], by pixels (x, y).

    network: says what belongs together; the one that comes with the package, if not given.
    Raises InputError where nothing is selected.
    """
    picks, others = (np.array(points, dtype=np.float32).reshape(-1, 2) for points in (pick, exclude))
    nothing = np.zeros(rgb.shape[:2], dtype=np.float32)
    for doubt in _DOUBTS:  # where the network is sure of nothing, what it thinks likeliest is taken
        bias = float(np.log(tolerance / max(1 - tolerance, 1e-3))) + doubt
        look = _Look(rgb, network or selection_network(), bias)
        found = _hit(look.at(_whole(nothing), nothing, picks[:1], others[:0]), picks[:1])  # the others put it right
        found = _hit(look.at(_whole(nothing), found, picks, others), picks)
        found = _hit(look.at(_around(found, picks), found, picks, others), picks)
        if (found > 0.5).any():
            return found[..., None]
    advice = "pick another pixel of it, or more of them, or raise `tolerance`"
    raise InputError("nothing is found at the picked pixels", advice, fields=("pick", "tolerance"))


@dataclass(frozen=True, eq=False)
class _Look:
    """A network's look at parts of a picture (H, W, 3), each encoded once; `bias` is added to its logits."""

    rgb: np.ndarray
    network: ClickSelection
    bias: float
    encoded: dict[_Box, Sequence[Tensor]] = field(default_factory=dict)

    def at(self, box: _Box, earlier: np.ndarray, picks: np.ndarray, others: np.ndarray) -> np.ndarray:
        """The selection (H, W) when the network sees this part, an earlier selection (H, W) and points (N, 2)."""
        import torch

        from renderers.photo.click_selection import clicks_drawn

        view, larger = floats(self.rgb[box.slices]), max(box.size)
        height, width = (max(32, 32 * round(side * _SIDE / larger / 32)) for side in box.size)
        scale = np.array([width / box.size[1], height / box.size[0]])
        guides = [
            clicks_drawn((height, width), ((points + 0.5 - [box.left, box.top]) * scale).tolist())
            for points in (picks, others)
        ]
        guides.append(resized(earlier[box.slices][None, ..., None], (height, width))[0, ..., 0])
        small = resized(view[None], (height, width))[0]
        picture = torch.from_numpy(small.transpose(2, 0, 1)[None] * 2 - 1)  # (h, w, 3) -> (1, 3, h, w)
        with torch.no_grad():
            if box not in self.encoded:
                self.encoded[box] = self.network.encoder(picture)
            logits = self.network.decode(self.encoded[box], torch.from_numpy(np.stack(guides)[None]))
        found = np.zeros(self.rgb.shape[:2], dtype=np.float32)
        chance = torch.sigmoid(logits + self.bias)[0, 0].numpy()
        found[box.slices] = _steep(_guided(chance, small, view), _SHARPNESS)
        return found


_ANOTHER, _UNLIKE, _DETAIL = 15.0, 0.45, 0.04
"""At a hard cut grey levels (0 to 255) differ by more than this after flow, and details (of that share of the smaller
side) correlate by less. Where films cut: differences from 32, correlations up to 0.33 (clips: 18, and 0.44 for 95 %).
Where they do not: correlations from 0.50, though a light that turns makes differences up to 50."""


class Follower:
    """Carries a selection from frame to frame, up to a hard cut. `mask`: (h, w, 1) in [0, 1], of the first frame.

    Attributes:
        frames: how many it has seen.
        cut: the first frame of the next shot, from which on nothing is selected; None while there is none.
    """

    def __init__(self, mask: np.ndarray) -> None:
        self.frames, self.cut = 0, cast("int | None", None)
        self._mask = mask
        self._grey: np.ndarray | None = None
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        self._flow.setFinestScale(0)

    def step(self, rgb: np.ndarray) -> np.ndarray:
        """The selection (h, w, 1) in the next frame (h, w, 3), sRGB in [0, 1]; first of all the mask itself."""
        grey, last = cv2.cvtColor((np.clip(rgb, 0, 1) * 255).astype(np.uint8), cv2.COLOR_RGB2GRAY), self._grey
        if last is not None and self._mask.mean() > _LEAST:
            self._mask = self._carried(last, grey, rgb)
        self._grey = grey
        self.frames += 1
        return self._mask

    def _carried(self, last: np.ndarray, grey: np.ndarray, rgb: np.ndarray) -> np.ndarray:
        """The selection (h, w, 1) of the frame `last` (h, w) at the place where flow sees it in the frame `grey`.

        Where the flow back does not end where the flow there began, things hide or come into view: likeness decides.
        """
        back, there = self._flow_between(grey, last), self._flow_between(last, grey)
        columns, rows = np.meshgrid(*(np.arange(side, dtype=np.float32) for side in grey.shape[::-1]))
        before = columns + back[..., 0], rows + back[..., 1]
        seen = cv2.remap(last, *before, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        if cv2.absdiff(seen, grey).mean() > _ANOTHER and _alike(seen, grey) < _UNLIKE:
            self.cut = self.frames
            return np.zeros_like(self._mask)
        carried = cv2.remap(self._mask[..., 0], *before, cv2.INTER_LINEAR)[..., None]
        returned = cv2.remap(there, *before, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        allowed = _ASTRAY * min(1.0, min(grey.shape) / _FLOW_LEAST) + _ASTRAY_SHARE * np.linalg.norm(back, axis=-1)
        off = np.linalg.norm(back + returned, axis=-1) > allowed
        refined = carried
        for _ in range(_ROUNDS if off.any() else 0):
            refined = _refined(refined, rgb)
        return np.where(cv2.dilate(off.astype(np.uint8), np.ones((3, 3)))[..., None] > 0, refined, carried)

    def _flow_between(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        """Pixels (h, w, 2) from where things are in the first frame (h, w) to where they are in the other."""
        height, width = one.shape
        scale = max(1.0, _FLOW_LEAST / min(height, width))
        large = (round(width * scale), round(height * scale))
        frames = [cv2.resize(frame, large, interpolation=cv2.INTER_CUBIC) for frame in (one, other)]
        dense = self._flow.calc(frames[0], frames[1], np.zeros((*frames[0].shape, 2), dtype=np.float32))
        return np.asarray(cv2.resize(dense, (width, height)) / scale)


def _alike(one: np.ndarray, other: np.ndarray) -> float:
    """Correlation of the details of two pictures (H, W) in grey levels, whatever light falls on them."""

    def detail(grey: np.ndarray) -> np.ndarray:
        sigma = _DETAIL * min(grey.shape)
        off = grey - cv2.GaussianBlur(grey.astype(np.float32), (0, 0), sigma)
        return off / (np.sqrt(cv2.GaussianBlur(np.square(off), (0, 0), sigma)) + 1)

    first, second = detail(one), detail(other)
    scale = float(np.linalg.norm(first) * np.linalg.norm(second))
    return float((first * second).sum() / scale) if scale else 1.0


def with_edges(mask: np.ndarray, picture: np.ndarray) -> np.ndarray:
    """A mask (h, w, 1) at the size of a picture (H, W, 3), uint8, with its edges; only what is around it counts."""
    size, small = picture.shape[:2], mask.shape[:2]
    made = np.zeros((*size, 1), dtype=np.float32)
    within, whole = [], []
    for axis in (0, 1):
        there = np.flatnonzero((mask[..., 0] > _FAINT).any(axis=1 - axis))
        if not len(there):
            return made
        low, high = max(int(there[0]) - 2 * _RADIUS, 0), min(int(there[-1]) + 2 * _RADIUS + 1, small[axis])
        within.append(slice(low, high))
        whole.append(slice(low * size[axis] // small[axis], -(-high * size[axis] // small[axis])))
    view, part = floats(picture[tuple(whole)]), np.ascontiguousarray(mask[tuple(within)][..., 0])
    edged = _guided(part, resized(view[None], part.shape)[0], view)
    made[tuple(whole)] = _steep(edged, _SHARPNESS)[..., None]
    return made


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


def _whole(picture: np.ndarray) -> _Box:
    return _Box(0, picture.shape[0], 0, picture.shape[1])


def _around(mask: np.ndarray, points: np.ndarray) -> _Box:
    """What to look at closely: a mask (H, W) and points (N, 2) with a margin; everything where that is no closer."""
    height, width = mask.shape
    rows, columns = np.nonzero(mask > 0.5)
    rows, columns = np.append(rows, points[:, 1]), np.append(columns, points[:, 0])
    if not len(rows):
        return _whole(mask)
    low, high = np.array([rows.min(), columns.min()]), np.array([rows.max(), columns.max()]) + 1
    margin = max(_MARGIN * float((high - low).max()), _LEAST_MARGIN)
    top, left = np.maximum(low - margin, 0).astype(int)
    bottom, right = np.minimum(np.ceil(high + margin), mask.shape).astype(int)
    if max(bottom - top, right - left) > _CLOSER * max(height, width):
        return _whole(mask)
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
