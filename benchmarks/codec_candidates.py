"""The encodings that `benchmarks/codecs.py` compares: codecs, bit depths, and ways to lay out values in planes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from manifests.codec.clip_json import Stored
from manifests.codec.formats import FORMATS, QUALITIES
from manifests.codec.plane_video import Format
from manifests.codec.quantize import Restorer, depth_range, quantize
from manifests.contract.clip import Clip
from manifests.contract.color import srgb_decode, srgb_encode

Planes = list[np.ndarray]


@dataclass(frozen=True)
class Candidate:
    """`forward` maps values (T, H, W, C) to planes (T, H, W); `backward` maps one frame's planes to (H, W, C)."""

    attribute: str
    label: str
    coding: Format
    forward: Callable[[np.ndarray], Planes]
    backward: Callable[[Planes], np.ndarray]
    knob: Callable[[int], Mapping[str, str]] | None = None
    quantizers: tuple[int, int] = (1, 50)


def _x264(matrix: int = 2, *, pixels: str = "yuv444p10le", decoded: str = "", planes: int = 3) -> Format:
    options = {"preset": "medium", "tune": "psnr"} | ({"x264-params": "colormatrix=GBR"} if matrix == 0 else {})
    dtype = "uint16" if "10" in pixels else "uint8"
    return Format("libx264", "h264", "mp4", pixels, decoded or pixels, planes, dtype, options, matrix)


def _x265(pixels: str, planes: int, matrix: int = 2, preset: str = "medium") -> Format:
    return Format("libx265", "hevc", "mp4", pixels, pixels, planes, "uint16", {"preset": preset}, matrix)


def _av1(planes: int) -> Format:
    options = {"preset": "8", "svtav1-params": "lp=1"}
    return Format("libsvtav1", "libdav1d", "mp4", "yuv420p10le", "yuv420p10le", planes, "uint16", options)


_VP9 = Format("libvpx-vp9", "vp9", "mp4", "gbrp", "gbrp", 3, "uint8", {"cpu-used": "4", "b": "0"}, 0)


def _qp(value: int) -> dict[str, str]:
    return {"qp": str(value)}


def _chosen(name: str) -> Callable[[int], Mapping[str, str]]:
    """The codec's own options for an attribute."""
    return lambda value: {"qp": str(value), "x264-params": QUALITIES[name].search}


def _qp265(value: int) -> dict[str, str]:
    return {"x265-params": f"qp={value}:psy-rd=0:psy-rdoq=0:aq-mode=0"}


def _crf(value: int) -> dict[str, str]:
    return {"crf": str(value)}


def _ffv1(pixels: str, planes: int, matrix: int = 2) -> Format:
    dtype = "uint8" if pixels == "gray" else "uint16"
    return Format("ffv1", "ffv1", "matroska", pixels, pixels, planes, dtype, {"level": "3", "slicecrc": "1"}, matrix)


def _scheme(stored: Stored, keep: int) -> tuple[Callable[[np.ndarray], Planes], Callable[[Planes], np.ndarray]]:
    """The codec's own mapping, for other video formats; `keep` is the number of channels."""

    def forward(values: np.ndarray) -> Planes:
        return [np.stack(plane) for plane in zip(*(quantize(frame, stored) for frame in values), strict=True)]

    def backward(planes: Planes) -> np.ndarray:
        out = np.empty((1, keep, *planes[0].shape), np.float32)
        Restorer(stored).restore([plane[None] for plane in planes], out)
        return out[0].transpose(1, 2, 0)

    return forward, backward


def _gbr(top: int, encode: Callable, decode: Callable) -> tuple[Callable[[np.ndarray], Planes], Callable]:
    """Three channels as G, B, R planes of 0 .. top."""
    dtype = np.uint8 if top == 255 else np.uint16

    def forward(values: np.ndarray) -> Planes:
        codes = np.rint(np.clip(encode(values), 0, 1) * top).astype(dtype)
        return [codes[..., channel] for channel in (1, 2, 0)]

    def backward(planes: Planes) -> np.ndarray:
        return decode(np.stack([planes[channel] for channel in (2, 0, 1)], axis=-1).astype(np.float32) / top)

    return forward, backward


def _halve(planes: Planes) -> Planes:
    """4:2:0: the second and third plane at half size."""
    rest = [
        plane[:, ::2, ::2] + plane[:, 1::2, ::2] + plane[:, ::2, 1::2] + plane[:, 1::2, 1::2] for plane in planes[1:]
    ]
    return [planes[0], *((plane + 2) // 4 for plane in rest)]


def _octahedral(normal: np.ndarray) -> Planes:
    """Octahedral projection (Cigolle et al., JCGT 2014) as two 10-bit planes and a constant."""
    flat = normal / np.abs(normal).sum(axis=-1, keepdims=True)
    folded = (1 - np.abs(flat[..., 1::-1])) * np.where(flat[..., :2] >= 0, 1, -1)
    place = np.where(flat[..., 2:] < 0, folded, flat[..., :2])
    codes = np.rint(512 + 511 * place).astype(np.uint16)
    return [codes[..., 0], codes[..., 1], np.full_like(codes[..., 0], 512)]


def _from_octahedral(planes: Planes) -> np.ndarray:
    place = (np.stack(planes[:2], axis=-1).astype(np.float32) - 512) / 511
    z = 1 - np.abs(place).sum(axis=-1, keepdims=True)
    place = place - np.where(place >= 0, 1, -1) * np.maximum(-z, 0)
    normal = np.concatenate([place, z], axis=-1)
    return normal / np.linalg.norm(normal, axis=-1, keepdims=True)


def _unit(vectors: np.ndarray) -> np.ndarray:
    vectors = vectors * 2 - 1
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-6)


def _twelve(planes: Planes) -> Planes:
    return [(plane << 2).astype(np.uint16) for plane in planes]


def _ten(planes: Planes) -> Planes:
    return [(plane.astype(np.float32) / 4) for plane in planes]


def _colours(name: str) -> Iterator[Candidate]:
    ycc = _scheme(Stored(scheme="srgb"), 3)
    ten, eight = (_gbr(top, srgb_encode, srgb_decode) for top in (1023, 255))
    yield Candidate(name, "H.264 10-bit Y'CbCr 4:4:4 (chosen)", FORMATS["h264-colour"], *ycc, _chosen(name))
    yield Candidate(name, "H.264 10-bit Y'CbCr 4:4:4, preset medium", FORMATS["h264-colour"], *ycc, _qp)
    yield Candidate(name, "H.264 10-bit GBR 4:4:4", _x264(0, decoded="gbrp10le"), *ten, _qp)
    yield Candidate(name, "H.265 10-bit Y'CbCr 4:4:4", _x265("yuv444p10le", 3), *ycc, _qp265)
    yield Candidate(name, "H.265 10-bit GBR 4:4:4", _x265("gbrp10le", 3, 0), *ten, _qp265)
    yield Candidate(name, "VP9 8-bit GBR 4:4:4", _VP9, *eight, _crf, (1, 60))
    yield Candidate(name, "FFV1 10-bit GBR (lossless)", _ffv1("gbrp10le", 3, 0), *ten)


def _normals() -> Iterator[Candidate]:
    flat = _scheme(Stored(scheme="azimuthal"), 3)
    ten = _gbr(1023, lambda v: v / 2 + 0.5, _unit)
    eight = _gbr(255, lambda v: v / 2 + 0.5, _unit)
    octahedral = (_octahedral, _from_octahedral)
    wide = (lambda v: _twelve(flat[0](v)), lambda p: flat[1](_ten(p)))
    planes = FORMATS["h264-planes"]
    yield Candidate("normal", "azimuthal, H.264 10-bit 4:4:4 (chosen)", planes, *flat, _chosen("normal"))
    yield Candidate("normal", "azimuthal, H.264 10-bit 4:4:4, preset medium", planes, *flat, _qp)
    yield Candidate("normal", "octahedral, H.264 10-bit 4:4:4", planes, *octahedral, _qp)
    yield Candidate("normal", "xyz, H.264 10-bit 4:4:4", _x264(0, decoded="gbrp10le"), *ten, _qp)
    yield Candidate("normal", "azimuthal, H.265 10-bit 4:4:4", _x265("yuv444p10le", 2), *flat, _qp265)
    yield Candidate("normal", "azimuthal, H.265 10-bit, slow", _x265("yuv444p10le", 2, preset="slow"), *flat, _qp265)
    yield Candidate("normal", "azimuthal, H.265 12-bit 4:4:4", _x265("yuv444p12le", 2), *wide, _qp265)
    yield Candidate("normal", "xyz, VP9 8-bit 4:4:4", _VP9, *eight, _crf, (1, 60))
    yield Candidate("normal", "azimuthal, FFV1 10-bit (lossless)", _ffv1("yuv444p10le", 2), *flat)


def _scalars(name: str) -> Iterator[Candidate]:
    gray = _scheme(Stored(scheme="unit"), 1)

    def neutral(values: np.ndarray) -> Planes:
        (plane,) = gray[0](values)
        return _halve([plane, *[np.full_like(plane, 512)] * 2])

    yield Candidate(name, "H.264 10-bit gray (chosen)", FORMATS["h264-gray"], *gray, _chosen(name))
    yield Candidate(name, "H.264 10-bit gray, preset medium", FORMATS["h264-gray"], *gray, _qp)
    yield Candidate(name, "H.265 10-bit gray", _x265("gray10le", 1), *gray, _qp265)
    yield Candidate(name, "AV1 (SVT) 10-bit luma", _av1(1), neutral, gray[1], _crf, (1, 60))
    yield Candidate(name, "FFV1 10-bit gray (lossless)", _ffv1("gray10le", 1), *gray)


def _depths(clip: Clip) -> Iterator[Candidate]:
    low, high, levels = depth_range(clip.arrays["depth"])
    chosen = _scheme(Stored(scheme="log-depth", low=low, high=high, levels=levels), 1)
    full = _scheme(Stored(scheme="log-depth", low=low, high=high, levels=4095), 1)
    ten = _scheme(Stored(scheme="log-depth", low=low, high=high, levels=1023), 1)

    def inverse(top: int) -> tuple[Callable[[np.ndarray], Planes], Callable[[Planes], np.ndarray]]:
        span = 1 / low - 1 / high

        def forward(values: np.ndarray) -> Planes:
            place = (1 / np.clip(values[..., 0], low, high) - 1 / high) / span
            return [np.where(np.isfinite(values[..., 0]), 1 + np.rint(place * (top - 1)), 0).astype(np.uint16)]

        def backward(planes: Planes) -> np.ndarray:
            code = planes[0][..., None].astype(np.float64)
            return np.where(code > 0, 1 / ((code - 1) / (top - 1) * span + 1 / high), np.inf)

        return forward, backward

    lossless = {"x265-params": "lossless=1"}
    h265 = Format("libx265", "hevc", "mp4", "gray12le", "gray12le", 1, "uint16", {"preset": "medium", **lossless})
    h264 = Format("libx264", "h264", "mp4", "gray10le", "yuv420p10le", 1, "uint16", {"preset": "medium", "qp": "0"})
    yield Candidate("depth", f"log, {levels} levels, FFV1 12-bit (chosen)", FORMATS["ffv1-gray12"], *chosen)
    yield Candidate("depth", "log, 4095 levels, FFV1 12-bit", FORMATS["ffv1-gray12"], *full)
    yield Candidate("depth", "inverse, 4095 levels, FFV1 12-bit", FORMATS["ffv1-gray12"], *inverse(4095))
    yield Candidate("depth", "inverse, 65535 levels, FFV1 16-bit", FORMATS["ffv1-gray16"], *inverse(65535))
    yield Candidate("depth", "log, 1023 levels, H.264 10-bit lossless", h264, *ten)
    yield Candidate("depth", f"log, {levels} levels, H.265 12-bit lossless", h265, *chosen)
    yield Candidate("depth", "log, 1023 levels, H.264 10-bit", FORMATS["h264-gray"], *ten, _qp)
    yield Candidate("depth", "log, 4095 levels, H.265 12-bit", _x265("gray12le", 1), *full, _qp265)


def _counts(name: str) -> Iterator[Candidate]:
    scheme = {"mask": "coverage", "instance": "index"}[name]
    plain = _scheme(Stored(scheme=scheme), 1)
    narrow = (lambda v: [plane.astype(np.uint8) for plane in plain[0](v)], plain[1])
    ranged = Format(
        "ffv1", "ffv1", "matroska", "gray", "gray", 1, "uint8", {"level": "3", "coder": "range_def", "slicecrc": "1"}
    )
    h264 = Format("libx264", "h264", "mp4", "gray", "yuvj420p", 1, "uint8", {"preset": "medium", "qp": "0"})
    yield Candidate(name, "FFV1 8-bit (chosen)", FORMATS["ffv1-gray8"], *narrow)
    yield Candidate(name, "FFV1 8-bit, range coder", ranged, *narrow)
    yield Candidate(name, "H.264 8-bit lossless", h264, *narrow)


def candidates(clip: Clip) -> Iterator[Candidate]:
    """All candidates for the attributes of `clip`, the chosen one first."""
    for name in ("rgb", "basecolor"):
        yield from _colours(name)
    yield from _normals()
    for name in ("roughness", "metallic"):
        yield from _scalars(name)
    yield from _depths(clip)
    for name in ("mask", "instance"):
        yield from _counts(name)
