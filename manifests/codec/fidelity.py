"""How far a decoded attribute is from what was encoded, in the units in which a dataset promises its quality."""

from __future__ import annotations

import numpy as np

from manifests.contract.attributes import Attribute

PSNR_CAP = 100.0
"""What identical images score, so that every figure stays a finite number."""

HIGHER_IS_BETTER = frozenset({"psnr_db"})


class Fidelity:
    """Collects the error of one attribute frame by frame, so that no whole clip is held twice.

    psnr_db: `srgb` attributes, which are given as `quantize.displayed` makes them. mean_angle_degrees and
    p99_angle_degrees: vectors. mean_relative and max_relative: depth, where both are finite. mean_pixels and
    p99_pixels: how far apart flow ends, in either direction. mean_absolute: everything else.
    Depth and the filtered G-buffers count only where there is `surface`.
    """

    def __init__(self, known: Attribute) -> None:
        self._known = known
        self._parts: list[np.ndarray] = []

    def add(self, original: np.ndarray, decoded: np.ndarray, surface: np.ndarray) -> None:
        """Compare one frame (H, W, C) on the pixels of `surface` (H, W)."""
        if self._known.compact == "srgb":
            apart = original - decoded
            error = np.einsum("...c,...c->...", apart, apart) / 3
        elif self._known.is_vector:
            apart = original - decoded
            chord = np.sqrt(np.einsum("...c,...c->...", apart, apart))
            error = np.degrees(2 * np.arcsin(np.clip(chord / 2, 0, 1)))
        elif self._known.compact == "log-depth":
            surface = surface & np.isfinite(original[..., 0]) & np.isfinite(decoded[..., 0])
            original, decoded = original[surface], decoded[surface]
            self._parts.append((np.abs(original - decoded) / np.maximum(np.abs(original), 1e-12))[..., 0])
            return
        elif self._known.compact == "asinh":
            error = np.linalg.norm((original - decoded).reshape(-1, 2), axis=-1)
        else:
            error = np.abs(original.astype(np.float32) - decoded.astype(np.float32)).mean(axis=-1)
        everywhere = self._known.sampling == "centre" or self._known.name in ("rgb", "mask")
        self._parts.append(error.ravel() if everywhere else error[surface])

    def result(self) -> dict[str, float]:
        """The metrics by name; no surface pixel at all counts as no error."""
        error = np.concatenate(self._parts) if self._parts else np.zeros(0)
        mean = float(error.mean(dtype=np.float64)) if error.size else 0.0
        if self._known.compact == "srgb":
            return {"psnr_db": min(PSNR_CAP, -10 * float(np.log10(max(mean, 1e-30))))}
        if self._known.is_vector:
            return {
                "mean_angle_degrees": mean,
                "p99_angle_degrees": float(np.percentile(error, 99)) if error.size else 0.0,
            }
        if self._known.compact == "log-depth":
            return {"mean_relative": mean, "max_relative": float(error.max(initial=0.0))}
        if self._known.compact == "asinh":
            return {"mean_pixels": mean, "p99_pixels": float(np.percentile(error, 99)) if error.size else 0.0}
        return {"mean_absolute": mean}


def excess(metric: str, value: float, bound: float) -> float:
    """Factor by which the error's amplitude exceeds the bound; 1 or less is good enough."""
    if metric in HIGHER_IS_BETTER:
        return float(10 ** ((bound - value) / 20))
    return value / bound
