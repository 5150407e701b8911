"""What the studio shows: frames, selections laid over them, G-buffers and lights, as 8-bit pictures."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice

import cv2
import numpy as np

from editing.film import Film
from editing.relighting import resized
from manifests.contract.attributes import GBUFFERS
from manifests.contract.clip import Clip
from manifests.display import light_picture, pictures
from renderers.sampling.windows import plan_windows

_SIDE = 960
_TINT = np.array([1.0, 0.62, 0.16], dtype=np.float32)
_LIGHT_HEIGHT = 128


def fitted(picture: np.ndarray) -> np.ndarray:
    """A picture (H, W, 3) with its larger side at 960, uint8: small clips fill the view, large ones travel fast."""
    height, width = picture.shape[:2]
    scale = _SIDE / max(height, width)
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    return eight_bits(resized(picture.astype(np.float32)[None], size)[0])


def film_pixel(shown: tuple[int, int], size: tuple[int, int]) -> tuple[int, int]:
    """The pixel (x, y) of a film of `size` (H, W) at a pixel of its `fitted` picture."""
    scale = max(size) / _SIDE
    return (
        min(max(int((shown[0] + 0.5) * scale), 0), size[1] - 1),
        min(max(int((shown[1] + 0.5) * scale), 0), size[0] - 1),
    )


def frame_at(film: Film, index: int) -> np.ndarray:
    """Frame `index` of a film, (H, W, 3) sRGB in [0, 1]."""
    pieces = film.pieces(plan_windows(film.frames, 1, 0))
    return next(islice(pieces, min(index, film.frames - 1), None)).rgb[0]


def marked(picture: np.ndarray, mask: np.ndarray | None, point: tuple[int, int] | None) -> np.ndarray:
    """A frame (H, W, 3) as `fitted`, with a selection (h, w, 1) tinted and outlined, and a cross at a film's pixel."""
    shown = fitted(picture)
    height, width = shown.shape[:2]
    if mask is not None:
        soft = resized(mask[None].astype(np.float32), (height, width))[0]
        shown = eight_bits(shown / 255 * (1 - 0.4 * soft) + 0.4 * soft * _TINT)
        edge, _ = cv2.findContours((soft[..., 0] > 0.5).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
        shown = cv2.drawContours(np.ascontiguousarray(shown), edge, -1, (255, 210, 120), 2, cv2.LINE_AA)
    if point is not None:
        scale = _SIDE / max(picture.shape[:2])
        place = (int((point[0] + 0.5) * scale), int((point[1] + 0.5) * scale))
        shown = np.ascontiguousarray(shown)
        for colour, thick in (((20, 20, 20), 5), ((255, 255, 255), 2)):
            cv2.drawMarker(shown, place, colour, cv2.MARKER_CROSS, 28, thick, cv2.LINE_AA)
    return shown


def gbuffer_pictures(gbuffers: Mapping[str, np.ndarray]) -> list[tuple[np.ndarray, str]]:
    """(picture, name) of each G-buffer of the first frame, from arrays (T, h, w, C)."""
    clip = Clip("shown", {name: gbuffers[name][:1].astype(np.float32) for name in GBUFFERS})
    return [(fitted(pictures(clip, name)[0] / 255), name) for name in GBUFFERS]


def light_strip(image: np.ndarray) -> np.ndarray:
    """A stored light (h, 2h, 3) as a picture: its centre is what a level camera looks at."""
    return np.asarray(light_picture(image, _LIGHT_HEIGHT).convert("RGB"))


def eight_bits(picture: np.ndarray) -> np.ndarray:
    """uint8 of floats in [0, 1]."""
    return (np.clip(picture, 0.0, 1.0) * 255 + 0.5).astype(np.uint8)
