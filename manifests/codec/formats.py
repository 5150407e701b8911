"""How `compact` codes each scheme: video formats by name, and the quality that encoding has to reach.

The choice is measured; docs/codecs.md has the table. Lossy planes are 10-bit 4:4:4 H.264: at these qualities its
successors save nothing on normals and a fifth on colours, for about three times the encoding time. What must come
back bit for bit (depth, coverage, index, flow) is FFV1. Frames that refer both ways (B-frames) are off: at these
qualities they cost bytes and decoding time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from manifests.codec.plane_video import Format

_LOSSLESS = MappingProxyType({"level": "3", "slicecrc": "1"})
_H264 = MappingProxyType({"preset": "medium", "tune": "psnr", "bf": "0"})
_BT709 = 1
_SRGB_CURVE = 13

FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        "h264-colour": Format(
            "libx264", "h264", "mp4", "yuv444p10le", "yuv444p10le", 3, "uint16", _H264, _BT709, _BT709, _SRGB_CURVE
        ),
        "h264-planes": Format("libx264", "h264", "mp4", "yuv444p10le", "yuv444p10le", 2, "uint16", _H264),
        "h264-gray": Format("libx264", "h264", "mp4", "gray10le", "yuv420p10le", 1, "uint16", _H264),
        "ffv1-gray8": Format("ffv1", "ffv1", "matroska", "gray", "gray", 1, "uint8", _LOSSLESS),
        "ffv1-gray12": Format("ffv1", "ffv1", "matroska", "gray12le", "gray12le", 1, "uint16", _LOSSLESS),
        "ffv1-gray16": Format("ffv1", "ffv1", "matroska", "gray16le", "gray16le", 1, "uint16", _LOSSLESS),
        "ffv1-planes16": Format("ffv1", "ffv1", "matroska", "yuva444p16le", "yuva444p16le", 4, "uint16", _LOSSLESS),
    }
)
"""What clip.json's `coding` names. A decoder shows 10-bit gray H.264 as 4:2:0 with neutral chroma."""

SCHEMES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "srgb": ("h264-colour",),
        "unit": ("h264-gray",),
        "coverage": ("ffv1-gray8",),
        "azimuthal": ("h264-planes",),
        "log-depth": ("ffv1-gray12", "ffv1-gray16"),
        "index": ("ffv1-gray8", "ffv1-gray16"),
        "asinh": ("ffv1-planes16",),
        "bits": ("ffv1-gray8",),
    }
)
"""The formats in which a scheme's planes may be kept."""


@dataclass(frozen=True)
class Quality:
    """Start at quantizer `qp`, or as much finer as `metric` needs to reach `bound`.

    `qp` is on x264's 10-bit scale, where about 6 steps double the error. `search` is what x264 tries for each block.
    """

    metric: str
    bound: float
    qp: int
    search: str


_ONE_LOOK = "ref=1:weightp=0:scenecut=0:rc-lookahead=0"
_LARGE = f"{_ONE_LOOK}:partitions=p8x8,i8x8,i4x4"
_SMALL = f"{_ONE_LOOK}:partitions=all"
"""Of what `medium` does, the rate-distortion search is worth its time (for normals the first half of it). More
references and looking ahead are not, nor is motion of blocks below 8x8, but for base colours (docs/codecs.md)."""

QUALITIES: Mapping[str, Quality] = MappingProxyType(
    {
        "rgb": Quality("psnr_db", 42.1, 32, _LARGE),
        "basecolor": Quality("psnr_db", 42.1, 32, _SMALL),
        "normal": Quality("mean_angle_degrees", 0.49, 19, f"{_LARGE}:subme=5"),
        "geometric_normal": Quality("mean_angle_degrees", 0.49, 19, f"{_LARGE}:subme=5"),
        "roughness": Quality("mean_absolute", 0.0039, 29, _LARGE),
        "metallic": Quality("mean_absolute", 0.0039, 31, _LARGE),
    }
)
"""The lossy attributes. The bounds stay a little inside what the dataset promises."""
