"""A lat-long light from a file: Radiance .hdr or OpenEXR, as it is or brought to numbers that a network survives.

The one reader of lights, in every room, so that no two disagree. docs/lights.md says field by field what of both
formats is honoured and what is refused. OpenEXR after "Technical Introduction to OpenEXR" and "The OpenEXR file layout"
(openexr.com).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import OpenEXR

from manifests.codec.exr import MAX_PIXELS, ExrPart, read_exr_parts, window_of
from manifests.codec.radiance import MAGIC, read_radiance
from manifests.contract.color import REC709, rgb_to_xyz, to_rec709
from manifests.contract.environment import HALF_MAX, sanitize
from manifests.errors import CodecError, InputError

_LARGEST_FILE = 1 << 30
_MAX_PIXELS = 1 << 27
"""Largest accepted width * height of a Radiance file: panoramas are sold with 16384 x 8192."""
_COLOURS = (("R", "G", "B"), ("r", "g", "b"), ("Red", "Green", "Blue"), ("red", "green", "blue"), ("Y", "RY", "BY"))
_GREY = ("Y", "Y", "Y")
_BEAUTIES = (("combined",), ("", "rgba", "rgb"), ("beauty",))
_ADVICE = {
    "light": "name it behind the file: FILE.exr#LAYER",
    "picture": "export the beauty by itself, or as R, G, B beside the others",
}
_NO_SPACE = ("", "unknown", "data")


def read_hdr(path: str | Path, layer: str | None = None) -> np.ndarray:
    """Linear stored image (h, w, 3) float32 in [0, 65504] of a lat-long .hdr or .exr file; NaN becomes 0.

    `layer` and what is raised are those of `read_light`.
    """
    return sanitize(read_light(path, layer))[0]


def read_light(path: str | Path, layer: str | None = None) -> np.ndarray:
    """Linear Rec.709 stored image (h, w, 3) float32 of a lat-long .hdr or .exr file, NaN and negative values included.

    `layer` names a layer of an EXR ("ViewLayer.Combined", or its last word; "RGBA" for channels without a layer), as
    does a path that ends in `#LAYER`. Without one: Combined, RGBA, beauty, else the only layer with colours. Values
    are relative radiance, with what an .hdr file's EXPOSURE did to them undone.

    Raises InputError when the file is missing, is neither format, is damaged, says what cannot be honoured, is not
    about twice as wide as high, or leaves open which layer is the light; the message then names the layers.
    """
    path, layer = split_layer(path, layer)
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise CodecError(f"it is larger than {_LARGEST_FILE} bytes")
        data = path.read_bytes()
        if not data.startswith(MAGIC):
            return _openexr(data, layer)
        if layer:
            raise CodecError("a Radiance file has no layers")
        return read_radiance(data, _check_shape)
    except (OSError, CodecError) as error:
        advice = error.advice if isinstance(error, CodecError) else ""
        raise InputError(
            f"cannot be read as an environment map (.hdr or .exr): {_plain(error)}", advice, where=path
        ) from None


def split_layer(path: str | Path, layer: str | None = None) -> tuple[Path, str | None]:
    """The file and the layer of `FILE.exr#LAYER`; a file that has this very name is a file."""
    whole = Path(path)
    stem, sign, name = str(path).rpartition("#")
    if layer is None and sign and stem.lower().endswith(".exr") and not whole.exists():
        return Path(stem), name
    return whole, layer


def _plain(error: OSError | CodecError) -> str:
    if isinstance(error, OSError):
        return error.strerror or str(error)  # the path is said once
    return f"{error.where}: {error.what}" if error.where else error.what


def _check_shape(height: int, width: int, most: int = _MAX_PIXELS) -> None:
    """CodecError unless an image of this size is acceptable as a lat-long one."""
    if not 0 < height * width <= most:
        raise CodecError(f"it claims {width}x{height} pixels", f"at most {most} are accepted")
    if not 1.9 < width / height < 2.1:
        raise CodecError(f"{width}x{height} pixels is not a lat-long image, which is twice as wide as high")


def read_exr_picture(data: bytes) -> np.ndarray:
    """Linear Rec.709 light (h, w, 3) float32 of any picture in an EXR, its display window: a plate, a render.

    Colours, layers and windows are read as those of lights are. Raises CodecError.
    """
    return _openexr(data, None, "picture")


def _openexr(data: bytes, layer: str | None, what: Literal["light", "picture"] = "light") -> np.ndarray:
    chosen: list[tuple[int, list[str]]] = []

    def accept(headers: Sequence[Mapping[str, Any]]) -> None:
        part, names = _choose(headers, layer, what)
        (_check_geometry if what == "light" else _check_picture)(headers[part])
        chosen.append((part, names))

    parts = read_exr_parts(data, accept)
    number, names = chosen[0]
    part = parts[number]
    planes = {name: _full(part, name) for name in names}
    image = np.stack([planes[name] for name in names], axis=-1).astype(np.float32)
    try:
        image = _rec709(image, _colour_space(part.header), chroma="RY" in names[1].rpartition(".")[2])
    except (TypeError, ValueError) as error:  # the bindings give a damaged attribute another type
        raise CodecError(f"EXR with damaged colours: {error}") from None
    return _placed(image, part)


def _choose(headers: Sequence[Mapping[str, Any]], wanted: str | None, what: str) -> tuple[int, list[str]]:
    """Part and three channels of `what` is wanted: the layer of that name, or the one that is the picture."""
    coloured: dict[str, tuple[int, list[str]]] = {}
    grey: dict[str, tuple[int, list[str]]] = {}
    for number, header in enumerate(headers):
        names = [channel.name for channel in header["channels"]]
        part = str(header.get("name", "")) if len(headers) > 1 else ""
        for prefix in sorted({name.rpartition(".")[0] for name in names}):
            inside = {name.rpartition(".")[2]: name for name in names if name.rpartition(".")[0] == prefix}
            full = prefix if prefix.startswith(part) else f"{part}.{prefix}".rstrip(".")
            if colours := next((each for each in _COLOURS if inside.keys() >= set(each)), None):
                coloured[full] = number, [inside[name] for name in colours]
            elif "Y" in inside and inside.keys() <= {"Y", "A"}:
                grey[full] = number, [inside[name] for name in _GREY]
    layers = coloured or grey
    known = ", ".join(name or "RGBA" for name in {**coloured, **grey})
    if wanted is not None:
        key = "" if wanted.lower() in ("rgba", "") and "" in layers else wanted.lower()
        every = {**grey, **coloured}
        found = [name for name in every if name.lower() == key] or [name for name in every if _last(name) == key]
        if len(found) != 1:
            raise CodecError(f"no layer {wanted!r} with colours, or several", f"there are: {known or 'none'}")
        return every[found[0]]
    if not layers:
        everything = sorted(channel.name for header in headers for channel in header["channels"])
        raise CodecError(f"no channels R, G, B, only {', '.join(everything[:20])}")
    for beauties in _BEAUTIES:
        if found := [name for name in layers if _last(name) in beauties]:
            break
    else:
        found = list(layers)
    if len(found) > 1:
        raise CodecError(f"which layer is the {what}? It has {known}", _ADVICE[what])
    return layers[found[0]]


def _last(layer: str) -> str:
    return layer.rpartition(".")[2].lower()


def _check_picture(header: Mapping[str, Any]) -> None:
    """CodecError unless the display window is a picture of square pixels."""
    left, top, right, bottom = window_of(header, "displayWindow")
    if not (left <= right and top <= bottom and (right - left + 1) * (bottom - top + 1) <= MAX_PIXELS):
        raise CodecError("EXR whose display window is empty or too large", f"at most {MAX_PIXELS} pixels are read")
    if abs(header.get("pixelAspectRatio", 1.0) - 1) > 0.01:
        raise CodecError(f"EXR whose pixelAspectRatio is {header['pixelAspectRatio']:g}; pixels must be square")


def _check_geometry(header: Mapping[str, Any]) -> None:
    """CodecError unless the display window is a lat-long image of square pixels."""
    left, top, right, bottom = window_of(header, "displayWindow")
    _check_shape(bottom - top + 1, right - left + 1, MAX_PIXELS)
    if abs(header.get("pixelAspectRatio", 1.0) - 1) > 0.01:
        raise CodecError(f"EXR whose pixelAspectRatio is {header['pixelAspectRatio']:g}; pixels must be square")
    if "envmap" in header:
        if header["envmap"] != OpenEXR.ENVMAP_LATLONG:
            raise CodecError("EXR whose envmap is a cube, expected a lat-long image")
        if window_of(header, "dataWindow") != (left, top, right, bottom):
            raise CodecError("EXR whose envmap fills the data window, which is not its display window")
    elif (
        abs(header.get("screenWindowWidth", 1.0) - 1) > 1e-3 or np.abs(header.get("screenWindowCenter", 0)).max() > 1e-3
    ):
        raise CodecError("EXR whose screen window is that of a perspective picture, expected a lat-long image")


def _full(part: ExrPart, name: str) -> np.ndarray:
    """A channel at the data window's size: linear between the samples of a subsampled one, its edges repeated."""
    plane = part.planes[name].astype(np.float32)
    left, top, right, bottom = part.window
    across, down = part.sampling[name]
    for axis, first, last, step in ((0, top, bottom, down), (1, left, right, across)):
        if step > 1 and plane.shape[axis]:
            place = np.clip((np.arange(first, last + 1) - -(-first // step) * step) / step, 0, plane.shape[axis] - 1)
            low = place.astype(int)
            high = np.minimum(low + 1, plane.shape[axis] - 1)
            share = np.expand_dims((place - low).astype(np.float32), 1 - axis)
            plane = plane.take(low, axis) * (1 - share) + plane.take(high, axis) * share
    return plane


def _colour_space(header: Mapping[str, Any]) -> Sequence[float]:
    """Chromaticities of the primaries and of white: those that the header states or names, else Rec.709's."""
    if "chromaticities" in header:
        return tuple(header["chromaticities"])
    name = str(header.get("colorInteropID", ""))
    known = OpenEXR.colorInteropIDToChromaticities(name)
    if known is None and name not in _NO_SPACE:
        raise CodecError(f"EXR whose colorInteropID is {name!r}, which is not a linear RGB space that is known")
    return REC709 if known is None else tuple(known)


def _rec709(image: np.ndarray, space: Sequence[float], *, chroma: bool) -> np.ndarray:
    """Linear Rec.709 of RGB, or of luminance and chroma: RY = (R - Y) / Y, BY = (B - Y) / Y, in the file's colours."""
    if chroma:
        luminance = image[..., :1]
        red, blue = ((image[..., each : each + 1] + 1) * luminance for each in (1, 2))
        weights = rgb_to_xyz(space)[1].astype(np.float32)
        image = np.concatenate([red, (luminance - weights[0] * red - weights[2] * blue) / weights[1], blue], axis=-1)
    if np.allclose(space, REC709, atol=1e-4):
        return image
    finite = np.clip(image, -HALF_MAX, HALF_MAX)  # infinity times a negative weight would be the dark, not the sun
    return finite @ to_rec709(space).T.astype(np.float32)


def _placed(image: np.ndarray, part: ExrPart) -> np.ndarray:
    """The display window: black where the data window has nothing, without what lies beyond it."""
    left, top, right, bottom = window_of(part.header, "displayWindow")
    x, y, x_end, y_end = part.window
    if (x, y, x_end, y_end) == (left, top, right, bottom):
        return image
    placed = np.zeros((bottom - top + 1, right - left + 1, 3), np.float32)
    x0, y0, x1, y1 = max(x, left), max(y, top), min(x_end, right) + 1, min(y_end, bottom) + 1
    if x0 < x1 and y0 < y1:
        placed[y0 - top : y1 - top, x0 - left : x1 - left] = image[y0 - y : y1 - y, x0 - x : x1 - x]
    return placed
