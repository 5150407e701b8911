"""Multilayer OpenEXR to and from bytes, addressed by channel name.

Datasets in this field have shipped scrambled ground truth because channels were read by position, so nothing here
has an order. Sizes are checked in the header before a pixel is allocated: shards may come from strangers.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import OpenEXR

from manifests.errors import CodecError

MAX_PIXELS = 1 << 26
"""Largest accepted width * height."""

MAX_SAMPLES = 1 << 28
"""Largest accepted width * height * channels (1 GiB as float)."""

Window = tuple[int, int, int, int]

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


@dataclass(frozen=True, eq=False)
class ExrPart:
    """A part of an EXR. header: its attributes, as the OpenEXR package gives them. planes: samples (rows, columns) by
    name, in the file's dtypes; those of a subsampled channel cover the data window by every n-th row and column."""

    header: Mapping[str, Any]
    planes: Mapping[str, np.ndarray]

    @property
    def window(self) -> Window:
        """The data window."""
        return window_of(self.header, "dataWindow")

    @property
    def sampling(self) -> dict[str, tuple[int, int]]:
        """By name of the channel: of how many columns, and of how many rows, one is stored."""
        return {channel.name: (channel.xSampling, channel.ySampling) for channel in self.header["channels"]}


def window_of(header: Mapping[str, Any], name: str) -> Window:
    """A box of a header: (left, top, right, bottom), the last two included."""
    (left, top), (right, bottom) = header[name]
    return int(left), int(top), int(right), int(bottom)


def read_exr(data: bytes, size: tuple[int, int] | None = None) -> dict[str, np.ndarray]:
    """Channels (H, W) by name, in the file's dtypes, of a flat EXR; the parts of a multi-part one are merged.

    `size` is the (H, W) that the caller expects. Raises CodecError on anything that is not a whole EXR of
    acceptable size with full-resolution channels.
    """

    def accept(headers: Sequence[Mapping[str, Any]]) -> None:
        windows = {window_of(header, "dataWindow") for header in headers}
        if len(windows) != 1:
            raise CodecError(f"EXR whose parts cover {len(windows)} different windows, expected one")
        height, width = _size(windows.pop())
        if size is not None and size != (height, width):
            raise CodecError(f"EXR is {width}x{height} pixels, expected {size[1]}x{size[0]}")
        channels = [channel for header in headers for channel in header["channels"]]
        if any(channel.xSampling != 1 or channel.ySampling != 1 for channel in channels):
            raise CodecError("EXR has subsampled channels, expected full resolution")

    parts = read_exr_parts(data, accept)
    channels = {name: plane for part in parts for name, plane in part.planes.items()}
    if len(channels) != sum(len(part.planes) for part in parts):
        raise CodecError("EXR with two channels of one name")
    return channels


def read_exr_parts(data: bytes, accept: Callable[[Sequence[Mapping[str, Any]]], None]) -> list[ExrPart]:
    """The parts of a flat EXR. `accept` gets their headers before a pixel is read, and raises what speaks against them.

    Raises CodecError on anything that is not a whole EXR of acceptable size, and on deep pixels.
    """
    with _faults():
        headers = _checked_headers(data)
        accept(headers)
        with _open(data, header_only=False) as file:
            found = [file.channels(part) for part in range(len(file.parts))]
            planes = [{name: channel.pixels for name, channel in channels.items()} for channels in found]
        if [sorted(each) for each in planes] != [
            sorted(channel.name for channel in each["channels"]) for each in headers
        ]:
            raise CodecError("EXR with damaged pixels, or with two channels of one name")
        parts = [ExrPart(header, each) for header, each in zip(headers, planes, strict=True)]
        for part in parts:
            left, top, right, bottom = part.window
            for name, plane in part.planes.items():
                across, down = part.sampling[name]
                shape = (bottom // down - (top - 1) // down, right // across - (left - 1) // across)
                if not isinstance(plane, np.ndarray) or plane.shape != shape or plane.dtype not in _DTYPES:
                    raise CodecError(f"not an image of {shape[1]}x{shape[0]} numbers", where=f"EXR channel {name!r}")
        return parts


@contextlib.contextmanager
def _faults() -> Iterator[None]:
    """The bindings report the faults of a file as one of a few built-in exceptions."""
    try:
        yield
    except (RuntimeError, ValueError, TypeError, KeyError, OverflowError, MemoryError) as error:
        raise CodecError(f"not a whole EXR: {str(error).strip() or type(error).__name__}") from None


def _open(data: bytes, *, header_only: bool) -> OpenEXR.File:
    return OpenEXR.File(io.BytesIO(data), separate_channels=True, header_only=header_only, num_threads=0)


def _size(window: Window) -> tuple[int, int]:
    left, top, right, bottom = window
    return bottom - top + 1, right - left + 1


def _checked_headers(data: bytes) -> list[dict[str, Any]]:
    """The header of every part, all within the limits."""
    if data[:4] != _MAGIC:
        raise CodecError("not an EXR: the first four bytes are not its magic number")
    with _open(data, header_only=True) as file:
        headers = [dict(file.header(part)) for part in range(len(file.parts))]
    if not headers or any(header.get("type") not in _FLAT for header in headers):
        raise CodecError("EXR without a part, or with deep pixels", "expected flat images")
    samples = 0
    for header in headers:
        height, width = _size(window_of(header, "dataWindow"))
        if not (width > 0 and height > 0 and width * height <= MAX_PIXELS):
            raise CodecError(f"EXR claims {width}x{height} pixels", f"at most {MAX_PIXELS} are accepted")
        samples += width * height * len(header["channels"])
    if not 0 < samples <= MAX_SAMPLES:
        raise CodecError(f"EXR claims {samples} numbers in all its channels", f"at most {MAX_SAMPLES} are accepted")
    return headers
