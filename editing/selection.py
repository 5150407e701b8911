"""What an edit selects: an instance, a mask from a file, or what a picked pixel belongs to; followed over the film."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from editing.film import Film, open_film, open_picture, resized
from manifests.contract.clip import Clip
from manifests.contract.color import srgb_encode
from manifests.errors import InputError
from renderers.sampling.windows import Window, WindowPlan

TOLERANCE = 0.12
"""Distance of labels up to which a neighbour of the picked pixel is selected too."""

_WEIGHTS = {"basecolor": 1.0, "roughness": 0.5, "metallic": 0.5, "depth": 1.0, "normal": 0.15}
_BAND = 0.015
_REACH = 0.08
_TRUST = 0.2
_ROUNDS = 3
_CONTRAST = 2.0
_NOISE = 1e-3
"""Band and reach (shares of the smaller side), trust in the flow, rounds, and the contrast (squared distance of means
over variance) at which likeness counts half were chosen on rendered clips and on a mask without an edge: see
docs/editing.md."""
_STILLS = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp")


@dataclass(frozen=True)
class SelectionRequest:
    """What to select, said in exactly one way. InputError unless it is and makes sense.

    Attributes:
        instance: number of an object of a synthetic clip.
        mask: what is selected in white: a picture for the first frame, or a video for all of them.
        pick: pixel (x, y) of the first frame, from its top left; what is connected to it and looks alike.
        tolerance: how alike, from 0 (equal) to 1.
    """

    instance: int | None = None
    mask: Path | None = None
    pick: tuple[int, int] | None = None
    tolerance: float = TOLERANCE

    def __post_init__(self) -> None:
        if sum(given is not None for given in (self.instance, self.mask, self.pick)) != 1:
            raise InputError(
                "say what to edit by one of `instance`, `mask` or `pick`", fields=("instance", "mask", "pick")
            )
        if not 0 < self.tolerance <= 1:
            raise InputError(
                f"`tolerance` is {self.tolerance}, expected a number above 0, at most 1", fields=("tolerance",)
            )


class Selector:
    """Gives the selection of each window of a film, in order, at the size `seen` by the networks."""

    def __init__(self, request: SelectionRequest, film: Film, plan: WindowPlan, seen: tuple[int, int]) -> None:
        self._request, self._film, self._seen = request, film, seen
        self._tracker: Tracker | None = None
        self._video: Iterator[np.ndarray] | None = None
        self._tail, self._start = np.empty((0, *seen, 1), dtype=np.float32), 0
        if request.instance is not None:
            self._instances = instance_selection(_instances(film), request.instance)
        if request.mask is not None and request.mask.suffix.lower() in _STILLS:
            self._tracker = Tracker(_filled(resized(_still(request.mask, film.size)[None], seen)[0], request.mask))
        elif request.mask is not None:
            self._video = _masks(request.mask, film, plan, seen)
        if request.pick is not None:
            (x, y), (height, width) = request.pick, film.size
            if not (0 <= x < width and 0 <= y < height):
                raise InputError(f"pixel {x},{y} lies outside the video of {width}x{height} pixels")

    def window(self, window: Window, rgb: np.ndarray, gbuffers: Mapping[str, np.ndarray]) -> np.ndarray:
        """The selection (n, h, w, 1) in [0, 1] of the next window; its rgb and G-buffers are at the seen size."""
        if self._request.instance is not None:
            return resized(self._instances[window.start : window.stop], self._seen)
        if self._video is not None:
            return next(self._video)
        features = labels(rgb, gbuffers)
        if self._tracker is None:
            assert self._request.pick is not None
            scale = self._seen[1] / self._film.size[1]
            x, y = (min(int(c * scale), side - 1) for c, side in zip(self._request.pick, self._seen[::-1], strict=True))
            self._tracker = Tracker(pick(features[0], x, y, self._request.tolerance))
        known = self._tail[window.start - self._start :]  # frames that the last window had too
        fresh = self._tracker.follow(rgb[len(known) :], features[len(known) :])
        self._tail, self._start = np.concatenate([known, fresh]), window.start
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


def labels(rgb: np.ndarray, gbuffers: Mapping[str, np.ndarray]) -> np.ndarray:
    """What pixels are compared by, (T, H, W, F): the G-buffers on one scale, and the picture itself, faintly."""
    parts = [0.5 * rgb]
    for name, weight in _WEIGHTS.items():
        value = srgb_encode(gbuffers[name]) if name == "basecolor" else gbuffers[name]
        parts.append(weight * np.where(np.isfinite(value), value, 1.0))
    return np.concatenate(parts, axis=-1).astype(np.float32)


def pick(features: np.ndarray, x: int, y: int, tolerance: float = TOLERANCE) -> np.ndarray:
    """Pixels (H, W, 1) connected to (x, y), from the top left, whose `labels` (H, W, F) are within `tolerance`.

    Distance is the root mean square over channels, from the neighbourhood of the picked pixel.
    """
    height, width = features.shape[:2]
    if not (0 <= x < width and 0 <= y < height):
        raise InputError(
            f"({x}, {y}) is outside the picture of {width}x{height} pixels", "(0, 0) is its top left corner"
        )
    near = features[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2].reshape(-1, features.shape[-1])
    distance = np.sqrt(np.square(features - np.median(near, axis=0)).mean(axis=-1))
    alike = (distance <= tolerance).astype(np.uint8)
    alike[y, x] = 1
    _, parts = cv2.connectedComponents(alike, connectivity=4)
    return (parts == parts[y, x]).astype(np.float32)[..., None]


@dataclass
class Tracker:
    """Carries a selection from frame to frame. `mask`: (H, W, 1) in [0, 1], of the first frame.

    By dense optical flow (DIS, Kroeger et al. 2016, in OpenCV). Flow drifts, so near its edge every pixel is asked
    again whether it is more like the inside or the outside close by, in the G-buffers' own terms.
    """

    mask: np.ndarray
    _last: np.ndarray | None = field(default=None, init=False)
    _flow: cv2.DISOpticalFlow = field(init=False)

    def __post_init__(self) -> None:
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)

    def step(self, rgb: np.ndarray, features: np.ndarray) -> np.ndarray:
        """The selection (H, W, 1) in the next frame: rgb (H, W, 3) sRGB in [0, 1], `labels` (H, W, F)."""
        grey = cv2.cvtColor((np.clip(rgb, 0, 1) * 255).astype(np.uint8), cv2.COLOR_RGB2GRAY)
        if self._last is not None and self.mask.any():
            self.mask = self._carried(grey)
            for _ in range(_ROUNDS):
                self.mask = _refined(self.mask, features)
        self._last = grey
        return self.mask

    def follow(self, rgb: np.ndarray, features: np.ndarray) -> np.ndarray:
        """The selection (T, H, W, 1) in each of the next T frames, arrays (T, H, W, C)."""
        return np.stack([self.step(*frame) for frame in zip(rgb, features, strict=True)])

    def _carried(self, grey: np.ndarray) -> np.ndarray:
        """The last mask at the place where flow sees it in the frame `grey` (H, W)."""
        assert self._last is not None
        height, width = grey.shape
        scale = max(1.0, 160 / min(height, width))  # DIS works on patches of 8 pixels: small pictures are enlarged
        size = (round(width * scale), round(height * scale))
        frames = [cv2.resize(frame, size, interpolation=cv2.INTER_CUBIC) for frame in (grey, self._last)]
        dense = self._flow.calc(frames[0], frames[1], np.zeros((*frames[0].shape, 2), dtype=np.float32))
        flow = cv2.resize(dense, (width, height)) / scale
        columns, rows = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
        carried = cv2.remap(self.mask[..., 0], columns + flow[..., 0], rows + flow[..., 1], cv2.INTER_LINEAR)
        return carried[..., None]


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
