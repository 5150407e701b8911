"""`Recoder`: the planes of `compact` as the codes of a `CodedClip`, which loaders want, without values between them."""

from __future__ import annotations

import cv2
import numpy as np

from manifests.clipheader import Stored
from manifests.quantize import CB, CR, FINER, LUMA, MIDDLE, TOP, depth_table

_CODE = 255


class Recoder:
    """From the planes that `quantize` made of one attribute to what a `CodedClip` has of it, rounded.

    It runs in the loader's inner loop: OpenCV weighs, rounds and clips in one go, several times faster than numpy.
    Holds scratch that calls share.
    """

    def __init__(self, stored: Stored) -> None:
        self._scheme = stored.scheme
        self._scratch = np.empty((3, 0, 0), np.float32)
        self._table = np.empty(0, np.float16)
        if stored.scheme == "log-depth":
            with np.errstate(over="ignore"):  # what is too far for a half float is background
                self._table = depth_table(stored).astype(np.float16)

    def restore(self, planes: list[np.ndarray], out: np.ndarray) -> None:
        """Write the codes of `planes`, (T, H, W) each, into `out` (T, C, H, W)."""
        match self._scheme:
            case "srgb":
                self._colours([_flat(plane) for plane in planes], [_flat(out[:, channel]) for channel in range(3)])
            case "unit":
                cv2.convertScaleAbs(_flat(planes[0]), _flat(out[:, 0]), _CODE / TOP)
            case "azimuthal":
                for channel, plane in enumerate(planes[:2]):
                    np.subtract(plane.view(np.int16), np.int16(MIDDLE), out=out[:, channel])
                np.left_shift(out, FINER, out=out)
            case "log-depth":
                np.take(self._table, planes[0], out=out[:, 0], mode="clip")
            case _:
                out[:, 0] = planes[0]

    def _colours(self, planes: list[np.ndarray], out: list[np.ndarray]) -> None:
        """Y'CbCr to R'G'B'."""
        if self._scratch.shape[1:] != planes[0].shape:
            self._scratch = np.empty((3, *planes[0].shape), np.float32)
        scale, (blue, red, both) = _CODE / TOP, self._scratch
        for plane, chroma in ((planes[1], blue), (planes[2], red)):
            np.subtract(plane, np.float32(MIDDLE), out=chroma)
        cv2.addWeighted(red, -LUMA[0] * CR / LUMA[1] * scale, blue, -LUMA[2] * CB / LUMA[1] * scale, 0, both)
        for chroma, weight, colour in ((red, CR * scale, out[0]), (both, 1.0, out[1]), (blue, CB * scale, out[2])):
            cv2.addWeighted(planes[0], scale, chroma, weight, 0, colour, cv2.CV_8U)


def _flat(planes: np.ndarray) -> np.ndarray:
    """A view of (T, H, W), whose frames may lie apart, as OpenCV takes it: (T, H * W)."""
    return planes.reshape(len(planes), -1)
