"""Radiance pictures (.hdr, .pic) from bytes: every field of the format is honoured or refused (docs/lights.md).

Sources: G. Ward, "Real Pixels", Graphics Gems II (1991), for the pixels; "Radiance File Formats" in the Radiance
reference manual for header, resolution string and scanlines. Other readers ignore EXPOSURE, COLORCORR and PRIMARIES.
A code stands for itself, as in those readers; Ward's own adds half a step to it (below 0.4 % of the largest channel).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable

import numpy as np

from manifests.contract.color import REC709, rgb_to_xyz, to_rec709
from manifests.errors import CodecError

MAGIC = b"#?"
_LONGEST_HEADER = 1 << 20
_RESOLUTION = re.compile(rb"([-+])([XY]) +(\d{1,9}) +([-+])([XY]) +(\d{1,9}) *\r?\n")
_FORMATS = ("32-bit_rle_rgbe", "32-bit_rle_xyze")
_CUT = "Radiance file that is cut off: {} of {} scanlines are whole"


def read_radiance(data: bytes, accept: Callable[[int, int], None]) -> np.ndarray:
    """Linear Rec.709 pixels (h, w, 3) float32, top left first: the radiance before any EXPOSURE or COLORCORR.

    `accept` gets (h, w) before pixels are read and raises what it holds against them. Raises CodecError on a file that
    is damaged or cut off, and on what it says of itself that cannot be honoured.
    """
    header, position = _header(data)
    gain, matrix = _meaning(header)
    found = _RESOLUTION.match(data[position : position + 64])
    if not found or found[2] == found[5]:
        raise CodecError("Radiance file whose resolution line is missing or damaged")
    rows, columns = int(found[3]), int(found[6])
    turned = found[2] == b"X"
    accept(*((columns, rows) if turned else (rows, columns)))
    pixels = _scanlines(data, position + found.end(), rows, columns)
    exponent = np.where(pixels[..., 3:] > 0, np.ldexp(np.float32(1), pixels[..., 3:].astype(np.int32) - 136), 0)
    image = pixels[..., :3] * exponent.astype(np.float32) / gain.astype(np.float32)
    if matrix is not None:
        image = image @ matrix.T.astype(np.float32)
    vertical, horizontal = (found[4], found[1]) if turned else (found[1], found[4])
    image = image.transpose(1, 0, 2) if turned else image
    image = image[::-1] if vertical == b"+" else image
    return np.ascontiguousarray(image[:, ::-1] if horizontal == b"-" else image, dtype=np.float32)


def _header(data: bytes) -> tuple[list[str], int]:
    """Lines up to the first empty one, whether they end in LF or CRLF, and where the next line begins."""
    end = re.compile(rb"\n\r?\n").search(data, 0, _LONGEST_HEADER)
    if not data.startswith(MAGIC) or not end:
        raise CodecError("Radiance file whose header does not begin with #? or does not end")
    return [line.rstrip("\r") for line in data[: end.start()].decode("latin-1").split("\n")], end.end()


def _meaning(header: list[str]) -> tuple[np.ndarray, np.ndarray | None]:
    """What values are divided by (3,), and the matrix to Rec.709 if one is needed. Indented lines are of sources."""
    gain, aspect, layout = np.ones(3), 1.0, _FORMATS[0]
    primaries: np.ndarray | None = None
    for line in header[1:]:
        name, _, value = line.partition("=")
        value = value.strip()
        match name:
            case "EXPOSURE":
                gain = gain * _numbers(line, value, 1)
            case "COLORCORR":
                gain = gain * _numbers(line, value, 3)
            case "PIXASPECT":
                aspect *= float(_numbers(line, value, 1)[0])
            case "PRIMARIES":
                primaries = _numbers(line, value, 8, signed=True)
            case "FORMAT":
                layout = value
            case "GAMMA" if abs(_numbers(line, value, 1)[0] - 1) > 1e-3:
                raise _refused(line, "light must be linear")
            case "VIEW" if re.search(r"-vt[a-z]", value):
                raise _refused(line, "none of Radiance's views is a lat-long image")
    for line, good, why in (
        (f"FORMAT={layout}", layout in _FORMATS, f"expected {' or '.join(_FORMATS)}"),
        (f"PIXASPECT={aspect:g}", abs(aspect - 1) <= 0.01, "pixels must be square"),
        ("EXPOSURE and COLORCORR", ((gain > 1e-30) & (gain < 1e30)).all(), f"together they are {gain}"),
    ):
        if not good:
            raise _refused(line, why)
    if layout == _FORMATS[1]:
        return gain, np.linalg.inv(rgb_to_xyz(REC709))
    try:
        return gain, None if primaries is None else to_rec709(tuple(primaries), neutral=True)
    except ValueError as error:
        raise _refused("PRIMARIES", str(error)) from None


def _numbers(line: str, value: str, count: int, *, signed: bool = False) -> np.ndarray:
    try:
        numbers = np.array([float(word) for word in value.split()])
    except ValueError:
        numbers = np.array([])
    if len(numbers) != count or not all(math.isfinite(number) and (signed or number > 0) for number in numbers):
        raise _refused(line, f"expected {count} number{'s' if count > 1 else ''}{'' if signed else ' above 0'}")
    return numbers


def _refused(line: str, why: str) -> CodecError:
    return CodecError(f"Radiance file whose header says {line[:80]!r} ({why})")


def _scanlines(data: bytes, position: int, rows: int, columns: int) -> np.ndarray:
    """Stored bytes (rows, columns, 4); each scanline in its own encoding: new runs, old runs or none."""
    lines = []
    for row in range(rows):
        start = data[position : position + 4]
        try:
            if 8 <= columns <= 0x7FFF and start[:2] == b"\2\2" and start[2] < 128:
                if start[2] << 8 | start[3] != columns:
                    raise CodecError(f"damaged Radiance file: scanline {row} has another length")
                line, position = _new_runs(data, position + 4, columns)
                lines.append(np.frombuffer(line, np.uint8).reshape(4, columns).T)
            else:
                line, position = _old_runs(data, position, columns)
                lines.append(np.frombuffer(line, np.uint8).reshape(columns, 4))
        except IndexError:
            raise CodecError(_CUT.format(row, rows)) from None
        except OverflowError:
            raise CodecError(f"damaged Radiance file: scanline {row} does not end where it should") from None
    return np.stack(lines)


def _new_runs(data: bytes, position: int, columns: int) -> tuple[bytes, int]:
    """Four components one after the other, in runs of up to 127 and literals of up to 128 bytes."""
    line = bytearray()
    for end in range(columns, 4 * columns + 1, columns):
        while len(line) < end:
            code = data[position]
            if code > 128:
                line += data[position + 1 : position + 2] * (code - 128)
                position += 2
            else:
                line += data[position + 1 : position + 1 + code]
                position += 1 + code
            if position > len(data):
                raise IndexError
        if len(line) > end:
            raise OverflowError
    return bytes(line), position


def _old_runs(data: bytes, position: int, columns: int) -> tuple[bytes, int]:
    """Whole pixels, of which (1, 1, 1, n) repeats the one before n times, 256 n times if it follows another such."""
    size = 4 * columns
    plain = np.frombuffer(data[position : position + size], np.uint8)
    if plain.size == size and not (plain.reshape(-1, 4)[:, :3] == 1).all(axis=1).any():
        return plain.tobytes(), position + size
    line, shift = bytearray(), 0
    while len(line) < size:
        pixel = data[position : position + 4]
        if len(pixel) < 4:
            raise IndexError
        position += 4
        if pixel[:3] == b"\1\1\1":
            count = pixel[3] << shift
            if not line or len(line) + 4 * count > size:
                raise OverflowError
            line += line[-4:] * count
            shift += 8
        else:
            line += pixel
            shift = 0
    return bytes(line), position
