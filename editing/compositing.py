"""Putting things into a picture: path traced ones over the film, or G-buffers among a clip's and networks' pictures.

What is traced is brought to the look of the film before it is laid over it: its blur, its grain, its darkest tone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from scipy import ndimage

from datagen.insert_render import LitPicture, Part
from editing.film import floats
from editing.full_size import guided
from editing.light_change import FLOOR, rolled_off
from manifests.contract.attributes import ATTRIBUTES
from manifests.contract.color import srgb_decode, srgb_encode
from manifests.errors import InputError

STILL = 0.03
"""Changes of light below this share are the network's own flicker; they leave the video as it is."""

_STRONGEST = 4.0
_BRIGHTEST = 2.0
"""Of what things do to the light beside them: more is noise of a surface that is all but black."""
_CLEAR = 0.02
_WHOLE = 0.99
_CLOSE = 3.0
_SOFT = 0.8
"""Linear light from which highlights of what is traced roll off towards white."""
_OWN_BLUR = 0.45
"""Pixels by which Cycles' pixel filter blurs."""
_MOST_BLUR = 3.0
_MOST_BLACK = 0.06
_GRAIN_SIZE = 0.6
_FADE = 0.12
"""Share of the rendered part at each side over which its change of the light fades out."""


@dataclass(frozen=True, eq=False)
class PlateLook:
    """How a film looks: `blur` of its sharp edges (standard deviation in pixels), `grain` (of encoded values), its
    darkest tone `black` (3,), linear, and whether its grain moves."""

    blur: float
    grain: float
    black: np.ndarray
    moves: bool

    @classmethod
    def of(cls, frames: list[np.ndarray]) -> PlateLook:
        """Of one or two frames (H, W, 3) uint8 that follow each other."""
        first = frames[0]
        grey = cv2.cvtColor(first, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
        fine, coarse = (_slope(cv2.GaussianBlur(grey, (0, 0), sigma)) for sigma in (1.0, 2.0))
        edges = (fine > max(float(np.percentile(fine, 95)), 0.02)) & (fine == cv2.dilate(fine, np.ones((3, 3))))
        # An edge blurred by s has slopes as 1 / sqrt(s^2 + 1.33) and 1 / sqrt(s^2 + 4.33) after these two and Sobel.
        ratio = float(np.median(fine[edges] / np.maximum(coarse[edges], 1e-6))) ** 2 if edges.any() else 4.0
        blur = np.sqrt(np.clip((4.33 - 1.33 * ratio) / max(ratio - 1, 1e-3), 0.0, _MOST_BLUR**2))
        kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], dtype=np.float32) / 6  # Immerkaer, 1996
        flat = (fine < np.percentile(fine, 40)) & (grey > 0.03) & (grey < 0.97)
        noise = np.abs(cv2.filter2D(grey, -1, kernel))[flat]
        black = np.minimum(np.percentile(first[::2, ::2].reshape(-1, 3), 0.2, axis=0) / 255, _MOST_BLACK)
        moves = len(frames) < 2 or float(np.abs(frames[1].astype(np.float32) - first).mean()) > 0.1
        grain = 1.4826 * float(np.median(noise)) if noise.size else 0.0
        return cls(float(blur), grain, srgb_decode(black), moves)


def _slope(grey: np.ndarray) -> np.ndarray:
    return np.hypot(cv2.Sobel(grey, cv2.CV_32F, 1, 0) / 8, cv2.Sobel(grey, cv2.CV_32F, 0, 1) / 8)


def lay_lit(
    frame: np.ndarray, index: int, lit: LitPicture, before: np.ndarray, under: np.ndarray, look: PlateLook
) -> tuple[np.ndarray, np.ndarray]:
    """The frame (H, W, 3) uint8 with what is lit, and the share (H, W, 1) of it that shows the things.

    index: of the frame in the film. before, under: (h, w, 1), what hides the things and where their shadows fall; their
    edges are taken from the frame.
    """
    top, left, bottom, right = lit.around
    part = slice(top, bottom), slice(left, right)
    before, under = np.split(edged(np.concatenate([before, under], axis=-1), frame)[part], 2, axis=-1)
    change, layer = _around(lit, frame.shape[:2])
    change = 1 + (change - 1) * under * (1 - before)
    plate = srgb_decode(floats(frame[part]))
    plate = np.where(plate > look.black, look.black + (plate - look.black) * change, plate)
    if (blur := np.sqrt(max(look.blur**2 - _OWN_BLUR**2, 0.0))) > 0.2:
        layer = cv2.GaussianBlur(layer, (0, 0), blur)
    layer = layer * (1 - before)
    covered = layer[..., 3:]
    things = layer[..., :3] * (1 - look.black) + covered * look.black
    made = srgb_encode(np.clip(things + (1 - covered) * plate, 0.0, 1.0))
    drawn = np.random.default_rng([7, index if look.moves else 0]).standard_normal(plate.shape[:2])
    noise = cv2.GaussianBlur(drawn.astype(np.float32), (0, 0), _GRAIN_SIZE)
    made = made + covered * (look.grain / max(float(noise.std()), 1e-6)) * noise[..., None]
    same = (covered < 1e-3) & (np.abs(change - 1) < 2e-3)
    whole, share = frame.copy(), np.zeros((*frame.shape[:2], 1), dtype=np.float32)
    whole[part] = np.where(same, frame[part], np.clip(255 * made + 0.5, 0, 255).astype(np.uint8))
    share[part] = covered
    return whole, share


def _around(lit: LitPicture, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Change of the light (h, w, 3), and things with their coverage (h, w, 4), in `lit.around` at full size."""
    top, left, bottom, right = lit.around
    change = cv2.resize(lit.change_around, (right - left, bottom - top), interpolation=cv2.INTER_LINEAR)
    change = 1 + (change - 1) * _fading(lit.around, (0, 0, *size))[..., None]
    layer = np.zeros((*change.shape[:2], 4), dtype=np.float32)
    inner = slice(lit.part[0] - top, lit.part[2] - top), slice(lit.part[1] - left, lit.part[3] - left)
    fine = _fading(lit.part, lit.around)[..., None]
    near = _spread(lit.change[None], lit.mask[None, ..., 0] < _CLEAR)[0]  # at a rim a pixel shows both
    change[inner] += fine * (near - change[inner])
    layer[inner] = np.concatenate([_rolled(lit.rgb, lit.mask), lit.mask], axis=-1)
    return np.minimum(change, _BRIGHTEST), layer


def edged(maps: np.ndarray, frame: np.ndarray) -> np.ndarray:
    """Shares (h, w, C) at the size of the frame (H, W, 3) uint8, with its edges."""
    grey = cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY)
    slope, offset, low, high = (
        cv2.resize(part, grey.shape[::-1], interpolation=cv2.INTER_LINEAR).reshape(*grey.shape, -1)
        for part in guided(maps.astype(np.float32), grey)
    )
    light = grey[..., None] if maps.shape[:2] == grey.shape else np.clip(grey[..., None], low, high)
    return np.clip(1.2 * (slope * light + offset) - 0.1, 0.0, 1.0)


def _rolled(rgb: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Radiance times coverage (h, w, 3) whose highlights end at white; hue stays."""
    peak = rgb.max(axis=-1, keepdims=True) / np.maximum(mask, 1e-3)
    return np.asarray(rgb * rolled_off(peak, _SOFT) / np.maximum(peak, 1e-6), dtype=np.float32)


def _fading(part: Part, within: Part) -> np.ndarray:
    """(h, w), 1 within a part of a picture and 0 at those of its sides that do not lie on the sides of `within`."""
    ramps = []
    for axis in (0, 1):
        first, last = part[axis], part[axis + 2]
        at = (np.arange(last - first) + 0.5) / max(_FADE * (last - first), 1.0)
        ramp = np.ones(last - first)
        if first > within[axis]:
            ramp = np.minimum(ramp, at)
        if last < within[axis + 2]:
            ramp = np.minimum(ramp, at[::-1])
        ramps.append(ramp * ramp * (3 - 2 * ramp))
    return np.asarray(np.outer(*ramps), dtype=np.float32)


def composite(
    scene: Mapping[str, np.ndarray], asset: Mapping[str, np.ndarray]
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Put the asset's G-buffers among the scene's, nearer ones in front.

    Both are (T, H, W, C) by name in the attribute table's conventions, depth in the same units with +inf for
    background. `mask` and `instance` of the scene may be missing: then all is surface, and of one instance, 0.
    At a soft edge filtered values are averages over surface, weighted by coverage; depth and instance are those of the
    surface at the pixel centre. The asset's instance is one more than the scene's largest, at least 2.

    Returns:
        (the scene's attributes with the asset, `mask` and `instance` added; the asset's visible coverage (T, H, W, 1)).
    """
    if asset["depth"].shape != scene["depth"].shape:
        raise InputError(f"asset of {asset['depth'].shape}, scene of {scene['depth'].shape}", "they must have one size")
    behind = scene["depth"]
    covered = scene.get("mask", np.ones_like(behind))
    front = widened(asset["depth"]) < behind  # a soft edge reaches beyond the centres that hit the surface
    visible = np.where(front, asset["mask"], 0.0).astype(np.float32)
    rest = (1 - visible) * covered
    total = visible + rest
    result = {}
    for name, values in scene.items():
        if name in asset and ATTRIBUTES[name].sampling == "filtered" and name != "mask":
            mixed = (visible * asset[name] + rest * values) / np.maximum(total, 1e-6)
            mixed = _unit(mixed, values) if ATTRIBUTES[name].is_vector else mixed
            result[name] = np.where(visible > 0, mixed, values).astype(np.float32)
        else:
            result[name] = values
    hit = asset["depth"] < behind
    index = scene.get("instance", np.zeros(behind.shape, dtype=np.uint16))
    result["depth"] = np.where(hit, asset["depth"], behind)
    result["instance"] = np.where(hit, max(2, int(index.max()) + 1), index).astype(np.uint16)
    result["mask"] = np.clip(total, 0.0, 1.0).astype(np.float32)
    return result, visible


def blend(
    video: np.ndarray, before: np.ndarray, after: np.ndarray, coverage: np.ndarray, surface: np.ndarray
) -> np.ndarray:
    """The video with the object in it, its shadows and reflections, and every detail that the networks lose.

    Args:
        video: (T, H, W, 3) sRGB in [0, 1].
        before: the forward renderer's picture of the clip, same shape.
        after: its picture with the object.
        coverage: (T, H, W, 1) of the object, as `composite` returns it.
        surface: (T, H, W, 1) coverage of the clip's own surfaces; the background throws no shadow.

    Returns:
        (T, H, W, 3) sRGB: `after` on the object; beside it the video times after / before in linear light, where that
        is more than `STILL` away from 1; exactly the video elsewhere.
    """
    old, new, seen = srgb_decode(before), srgb_decode(after), srgb_decode(video)
    change = np.log((new + FLOOR) / (old + FLOOR))
    change = np.sign(change) * np.clip(np.abs(change) - STILL, 0.0, np.log(_STRONGEST)) * surface
    # At a soft edge the rendered pixel is a mixture already: each part comes from where it is seen alone.
    change = _spread(change, coverage[..., 0] == 0)
    new = _spread(new, coverage[..., 0] > _WHOLE)
    around = (seen + FLOOR) * np.exp(change) - FLOOR
    mixed = srgb_encode(np.clip(coverage * new + (1 - coverage) * around, 0.0, 1.0))
    same = (coverage == 0) & (change == 0)
    return np.where(same, video, mixed).astype(np.float32)


def widened(depth: np.ndarray) -> np.ndarray:
    """Depth (T, H, W, 1) whose background pixels take the nearest of their eight neighbours."""
    around = ndimage.minimum_filter(depth, size=(1, 3, 3, 1), mode="nearest")
    return np.where(np.isfinite(depth), depth, around)


def _spread(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Values (T, H, W, C) that are not `known` (T, H, W), from the nearest pixel that is, if one is close by."""
    result = values.copy()
    for frame, there in enumerate(known):
        if there.any():
            away, (row, column) = ndimage.distance_transform_edt(~there, return_indices=True)
            result[frame] = np.where((away <= _CLOSE)[..., None], values[frame][row, column], values[frame])
    return result


def _unit(vectors: np.ndarray, otherwise: np.ndarray) -> np.ndarray:
    """Vectors (..., 3) at unit length; `otherwise` where opposite ones cancel out."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.where(length > 1e-6, vectors / np.maximum(length, 1e-6), otherwise)
