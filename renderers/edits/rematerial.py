"""Changing materials: new values into the G-buffers of a selection, and the result back into the video.

Only the selection is ever changed: outside it the input stays as it is, bit for bit. Of the ways to fill the
selection, the measured best is used (docs/editing.md has the tables): a change is laid over the input as the ratio of
two renders, which keeps the input's own detail and light (differential rendering, Debevec 1998, section 5, with a ratio
in place of a difference). Highlights that move cannot come from the input, so where gloss or metalness changes, the
edited render itself takes part, the more the more light it says has changed, up to half.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np

from manifests.environment import luminance, srgb_decode, srgb_encode
from renderers.errors import InputError

CHANGEABLE = ("basecolor", "roughness", "metallic")
_FLOOR = 0.02
_SOFTNESS = 0.6
_EMPTY = 1e-6


@dataclass(frozen=True, eq=False)
class Material:
    """New values of a selection; None keeps what is there.

    Attributes:
        basecolor: linear colour (3,), or a texture (h, w, 3) of linear colours, in [0, 1].
        roughness: in [0, 1].
        metallic: in [0, 1].
    """

    basecolor: np.ndarray | None = None
    roughness: float | None = None
    metallic: float | None = None

    def __post_init__(self) -> None:
        for name in ("roughness", "metallic"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise InputError(f"{name} is {value}, expected a number in [0, 1]")
        colour = self.basecolor
        if colour is not None and (colour.ndim not in (1, 3) or colour.shape[-1] != 3):
            raise InputError(f"basecolor has shape {colour.shape}, expected (3,), or (h, w, 3) for a texture")
        if colour is not None and not ((colour >= 0) & (colour <= 1)).all():
            raise InputError("basecolor lies outside [0, 1]")

    @property
    def moves_highlights(self) -> bool:
        """Whether more than the colour changes."""
        return self.roughness is not None or self.metallic is not None


def rematerial(gbuffers: Mapping[str, np.ndarray], mask: np.ndarray, material: Material) -> dict[str, np.ndarray]:
    """G-buffers (T, H, W, C) whose selection `mask` (T, H, W, 1) in [0, 1] is made of `material`.

    A texture lies on the picture plane and moves and grows with the selection: its middle stays on the selection's
    centre of mass and its size follows the selection's spread.
    """
    edited = dict(gbuffers)
    if material.basecolor is not None:
        colour = material.basecolor.astype(np.float32)
        if colour.ndim == 3:
            colour = np.stack([_laid(colour, frame[..., 0]) for frame in mask])
        edited["basecolor"] = _mixed(gbuffers["basecolor"], colour, mask)
    for name in ("roughness", "metallic"):
        value = getattr(material, name)
        if value is not None:
            edited[name] = _mixed(gbuffers[name], np.array(value, dtype=np.float32), mask)
    return edited


def composite(
    video: np.ndarray,
    unedited: np.ndarray,
    edited: np.ndarray,
    mask: np.ndarray,
    material: Material,
    strength: float = 1.0,
) -> np.ndarray:
    """The edited video (T, H, W, 3), sRGB in [0, 1]; exactly `video` where `mask` (T, H, W, 1) is 0.

    `unedited` and `edited` are renders of the clip before and after the edit, under one light, as large as `video`.
    strength: power of the ratio between them, in [0, 1]: below 1 less is changed, which is closer to the truth where
    the renders come from estimates.
    """
    before, after = srgb_decode(unedited), srgb_decode(edited)
    filled = (srgb_decode(video) + _FLOOR) * ((after + _FLOOR) / (before + _FLOOR)) ** strength - _FLOOR
    if material.moves_highlights:
        change = np.log((luminance(after) + _FLOOR) / (luminance(before) + _FLOOR))[..., None]
        share = 0.5 * strength * np.minimum(np.abs(change), 1.0)
        filled = (1 - share) * np.clip(filled, 0.0, 1.0) + share * after
    filled = np.clip(srgb_encode(filled), 0.0, 1.0)
    return np.where(mask > 0, video + (filled - video) * mask, video).astype(np.float32)


def softened(mask: np.ndarray) -> np.ndarray:
    """A mask (T, H, W, 1) with edges about as soft as a camera's; never beyond the pixels next to it."""
    made = np.stack([cv2.GaussianBlur(np.ascontiguousarray(frame[..., 0]), (3, 3), _SOFTNESS) for frame in mask])
    return made[..., None].astype(np.float32)


def _mixed(old: np.ndarray, new: np.ndarray, mask: np.ndarray) -> np.ndarray:
    return (old + (new - old) * mask).astype(np.float32)


def _laid(texture: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The texture (h, w, 3), repeated, laid over the selection (H, W) of one frame: (H, W, 3)."""
    height, width = mask.shape
    total = float(mask.sum())
    rows, columns = np.arange(height, dtype=np.float32), np.arange(width, dtype=np.float32)
    if total < _EMPTY:
        return np.zeros((height, width, 3), dtype=np.float32)
    along_y, along_x = mask.sum(axis=1) / total, mask.sum(axis=0) / total
    centre = float(rows @ along_y), float(columns @ along_x)
    spread = np.sqrt(max(float((rows - centre[0]) ** 2 @ along_y), float((columns - centre[1]) ** 2 @ along_x)))
    side = max(float(np.sqrt(12.0) * spread), 1.0)  # the side of an even square with this spread
    scale = max(texture.shape[:2]) / side  # texels a pixel
    u = (columns - centre[1]) * scale + texture.shape[1] / 2
    v = (rows - centre[0]) * scale + texture.shape[0] / 2
    if scale > 1:
        texture = cv2.GaussianBlur(texture, (0, 0), scale / 2, borderType=cv2.BORDER_REFLECT)
    across, down = np.meshgrid(np.mod(u, texture.shape[1]), np.mod(v, texture.shape[0]))
    laid = cv2.remap(
        texture, across.astype(np.float32), down.astype(np.float32), cv2.INTER_LINEAR, None, cv2.BORDER_WRAP
    )
    return np.clip(laid, 0.0, 1.0)
