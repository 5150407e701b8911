"""HDR as the sRGB picture that networks know: HLG and PQ in BT.2020, as phones film, and linear light, to Rec.709.

Reference white (BT.2408: 75 % of HLG's signal, 203 cd/m2 of PQ) becomes 1, and what is darker looks as an SDR camera
would have shown it: HLG is taken as the light of the scene, so that an 18 % grey card (38 % HLG) stays 18 %. From
`SHOULDER` of white on, light rolls off, by one factor for all three channels, so that it keeps its hue.
"""

from __future__ import annotations

import numpy as np

from manifests.contract.color import srgb_encode, to_rec709
from manifests.contract.environment import HALF_MAX

SHOULDER = 0.94
"""Linear light up to which nothing changes; reference white comes out at 0.978 (252.5 of 255 in sRGB)."""

_BT2020 = (0.708, 0.292, 0.170, 0.797, 0.131, 0.046, 0.3127, 0.3290)
_HLG_A, _HLG_B, _HLG_C = 0.17883277, 0.28466892, 0.55991073  # ITU-R BT.2100, table 5
_HLG_WHITE = 0.75
_PQ = (2610 / 16384, 2523 / 4096 * 128, 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32)  # BT.2100, table 4
_PQ_PEAK, _PQ_WHITE = 10_000.0, 203.0
_LEVELS = 1 << 16


def hlg_to_linear(signal: np.ndarray) -> np.ndarray:
    """Scene light of an HLG signal in [0, 1], reference white 1 (BT.2100's inverse OETF)."""
    return _hlg(signal) / _hlg(np.array(_HLG_WHITE))


def pq_to_linear(signal: np.ndarray) -> np.ndarray:
    """Light on the display of a PQ signal in [0, 1], reference white 1 (BT.2100's EOTF)."""
    m1, m2, c1, c2, c3 = _PQ
    power = signal ** (1 / m2)
    return (np.maximum(power - c1, 0) / (c2 - c3 * power)) ** (1 / m1) * (_PQ_PEAK / _PQ_WHITE)


def _hlg(signal: np.ndarray) -> np.ndarray:
    return np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - _HLG_C) / _HLG_A) + _HLG_B) / 12)


CURVES = {16: pq_to_linear, 18: hlg_to_linear}
"""What is mapped, by ITU-T H.273's code point of the transfer curve."""

_TABLES = {code: curve(np.arange(_LEVELS) / (_LEVELS - 1)).astype(np.float32) for code, curve in CURVES.items()}
_SCREEN = np.rint(255 * srgb_encode(np.arange(_LEVELS) / (_LEVELS - 1))).astype(np.uint8)
_TO_REC709 = to_rec709(_BT2020).astype(np.float32)


def tone_mapped(signal: np.ndarray, transfer: int) -> np.ndarray:
    """R'G'B' (H, W, 3) uint16 of full range in BT.2020, with a curve of `CURVES`, as sRGB (H, W, 3) uint8."""
    return rolled_off(_TABLES[transfer][signal] @ _TO_REC709.T)


def rolled_off(light: np.ndarray) -> np.ndarray:
    """Linear Rec.709 light (H, W, 3), white 1, as sRGB (H, W, 3) uint8; negative light and NaN are black."""
    light = np.clip(np.nan_to_num(light, nan=0.0), 0.0, HALF_MAX)
    brightest = light.max(axis=-1, keepdims=True)
    room = 1 - SHOULDER
    rolled = 1 - room * np.exp(-np.maximum(brightest - SHOULDER, 0.0) / room)
    light *= np.where(brightest > SHOULDER, rolled / np.maximum(brightest, SHOULDER), 1.0)
    mapped: np.ndarray = _SCREEN[(light * (_LEVELS - 1) + 0.5).astype(np.uint16)]
    return mapped
