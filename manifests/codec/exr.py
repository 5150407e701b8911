"""Multilayer OpenEXR to and from bytes, addressed by channel name.

Datasets in this field have shipped scrambled ground truth because channels were read by position, so nothing here
has an order. Sizes are checked in the header before a pixel is allocated: shards may come from strangers.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Mapping
from typing import Literal

import numpy as np
import OpenEXR

from manifests.errors import CodecError

MAX_PIXELS = 1 << 26
"""Largest accepted width * height."""

MAX_SAMPLES = 1 << 28
"""Largest accepted width * height * channels (1 GiB as float)."""

_MAGIC = b"\x76\x2f\x31\x01"
_COMPRESSIONS = {"ZIP": OpenEXR.ZIP_COMPRESSION, "PIZ": OpenEXR.PIZ_COMPRESSION}
_FLAT = (OpenEXR.scanlineimage, OpenEXR.tiledimage)
_DTYPES = {np.dtype("float16"), np.dtype("float32"), np.dtype("uint32")}


def write_exr(channels: Mapping[str, np.ndarray], compression: Literal["ZIP", "PIZ"] = "ZIP") -> bytes:
    """Bytes of a scanline EXR with one channel for each (H, W) array of dtype float16, float32 or uint32.

    Both compressions are lossless and read by every EXR reader; PIZ is smaller on noisy photographs, ZIP on
    rendered passes. Equal input gives equal bytes.
    """
    for name, plane in channels.items():
        if plane.dtype not in _DTYPES or plane.ndim != 2:
            raise ValueError(f"channel {name}: {plane.dtype} {plane.shape}, expected (H, W) of {_DTYPES}")
    header = {"compression": _COMPRESSIONS[compression], "type": OpenEXR.scanlineimage}
    stream = io.BytesIO()
    contiguous = {name: np.ascontiguousarray(plane) for name, plane in channels.items()}
    with OpenEXR.File(header, contiguous, num_threads=0) as file:
        file.write(stream)
    return stream.getvalue()


def read_exr(data: bytes, size: tuple[int, int] | None = None) -> dict[str, np.ndarray]:
    """Channels (H, W) by name, in the file's dtypes, of a flat EXR; the parts of a multi-part one are merged.

    `size` is the (H, W) that the caller expects. Raises CodecError on anything that is not a whole EXR of
    acceptable size with full-resolution channels.
    """
    with _faults():
        height, width, names = _checked_header(data)
        if size is not None and size != (height, width):
            raise CodecError(f"EXR is {width}x{height} pixels, expected {size[1]}x{size[0]}")
        with _open(data, header_only=False) as file:
            parts = range(len(file.parts))
            channels = {name: channel.pixels for part in parts for name, channel in file.channels(part).items()}
    if sorted(channels) != sorted(names):
        raise CodecError("EXR with damaged pixels, or with two channels of one name")
    for name, plane in channels.items():
        if not isinstance(plane, np.ndarray) or plane.shape != (height, width) or plane.dtype not in _DTYPES:
            raise CodecError(f"not an image of {width}x{height} numbers", where=f"EXR channel {name!r}")
    return channels


@contextlib.contextmanager
def _faults() -> Iterator[None]:
    """The bindings report the faults of a file as one of a few built-in exceptions."""
    try:
        yield
    except (RuntimeError, ValueError, TypeError, KeyError, OverflowError, MemoryError) as error:
        raise CodecError(f"not a whole EXR: {str(error).strip() or type(error).__name__}") from None


def _open(data: bytes, *, header_only: bool) -> OpenEXR.File:
    return OpenEXR.File(io.BytesIO(data), separate_channels=True, header_only=header_only, num_threads=0)


def _checked_header(data: bytes) -> tuple[int, int, list[str]]:
    """(height, width, channel names), all within the limits."""
    if data[:4] != _MAGIC:
        raise CodecError("not an EXR: the first four bytes are not its magic number")
    with _open(data, header_only=True) as file:
        headers = [dict(file.header(part)) for part in range(len(file.parts))]
    if not headers or any(header.get("type") not in _FLAT for header in headers):
        raise CodecError("EXR without a part, or with deep pixels", "expected flat images")
    windows = {tuple(int(edge) for corner in header["dataWindow"] for edge in corner) for header in headers}
    if len(windows) != 1:
        raise CodecError(f"EXR whose parts cover {len(windows)} different windows, expected one")
    left, top, right, bottom = windows.pop()
    width, height = right - left + 1, bottom - top + 1
    channels = [channel for header in headers for channel in header["channels"]]
    if not (width > 0 and height > 0 and width * height <= MAX_PIXELS):
        raise CodecError(f"EXR claims {width}x{height} pixels", f"at most {MAX_PIXELS} are accepted")
    if not channels or width * height * len(channels) > MAX_SAMPLES:
        raise CodecError(f"EXR claims {len(channels)} channels of {width}x{height} pixels, more than is accepted")
    if any(channel.xSampling != 1 or channel.ySampling != 1 for channel in channels):
        raise CodecError("EXR has subsampled channels, expected full resolution")
    return height, width, [channel.name for channel in channels]
