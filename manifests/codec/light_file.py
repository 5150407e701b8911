"""A lat-long light from a file: Radiance .hdr or OpenEXR, as it is or brought to numbers that a network survives."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
from av.error import FFmpegError

from manifests.codec.exr import read_exr
from manifests.contract.environment import sanitize
from manifests.errors import CodecError, InputError

_LARGEST_FILE = 1 << 30
_MAX_PIXELS = 1 << 27
"""Largest accepted width * height of a Radiance file: panoramas are sold with 16384 x 8192."""
_MAGIC = b"#?"


def read_hdr(path: str | Path) -> np.ndarray:
    """Linear stored image (h, w, 3) float32 in [0, 65504] of a lat-long .hdr or .exr file; NaN becomes 0.

    Raises InputError as `read_light`.
    """
    return sanitize(read_light(path))[0]


def read_light(path: str | Path) -> np.ndarray:
    """Linear stored image (h, w, 3) float32 of a lat-long .hdr or .exr file as it is: NaN and negative values included.

    Raises InputError when the file is missing, is neither format, is damaged, or is not about twice as wide as high.
    """
    path = Path(path)
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise CodecError(f"it is larger than {_LARGEST_FILE} bytes")
        data = path.read_bytes()
        image = _radiance(data) if data.startswith(_MAGIC) else _openexr(data)
    except (OSError, CodecError) as error:
        reason = error.strerror or error if isinstance(error, OSError) else error  # the path is said once
        raise InputError(f"cannot be read as an environment map (.hdr or .exr): {reason}", where=path) from None
    height, width = image.shape[:2]
    if not 1.9 < width / height < 2.1:
        raise InputError(f"{width}x{height} pixels is not a lat-long image, which is twice as wide as high", where=path)
    return image


def _openexr(data: bytes) -> np.ndarray:
    channels = read_exr(data)
    for names in ("RGB", "YYY"):
        for prefix in sorted({name.rpartition(".")[0] for name in channels}):
            full = [f"{prefix}.{name}" if prefix else name for name in names]
            if all(name in channels for name in full):
                return np.stack([channels[name] for name in full], axis=-1).astype(np.float32)
    raise CodecError(f"no channels R, G, B, only {', '.join(sorted(channels))}")


def _radiance(data: bytes) -> np.ndarray:
    """Pixels of a Radiance file: shared-exponent RGBE, old or new run-length encoding."""
    _check_size(data)
    try:
        frames = av.CodecContext.create("hdr", "r").decode(av.Packet(data))
    except FFmpegError as error:
        raise CodecError(f"damaged Radiance file ({error.strerror})") from None
    if not frames:
        raise CodecError("Radiance file without a picture")
    return np.asarray(frames[0].to_ndarray(), dtype=np.float32)


def _check_size(data: bytes) -> None:
    """CodecError unless the resolution line of a Radiance header claims an acceptable picture."""
    line = data[: 1 << 16].partition(b"\n\n")[2].partition(b"\n")[0].split()
    sides = [int(number) for number in line[1::2] if number.isdigit()]
    if len(sides) != 2 or line[::2] != [b"-Y", b"+X"] or not 0 < sides[0] * sides[1] <= _MAX_PIXELS:
        raise CodecError("Radiance file whose resolution line is missing, turned or beyond what is accepted")
