"""How things look to people: attributes as 8-bit pictures for contact sheets and the report, sizes as text."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from manifests.contract.attributes import ATTRIBUTES
from manifests.contract.clip import Clip
from manifests.contract.color import luminance, srgb_encode

PAPER = (24, 25, 28)
"""What lies behind surfaces in pictures of G-buffers, where the mask is 0."""

# Near to far, in equal steps of lightness: warm white, sand, teal, blue, night.
_DEPTH_RAMP = np.array([(252, 243, 222), (240, 186, 120), (178, 134, 130), (92, 104, 150), (44, 62, 110), (26, 30, 56)])


def pictures(clip: Clip, name: str) -> np.ndarray:
    """Attribute `name` of every frame as (T, H, W, 3) uint8 sRGB.

    rgb is exposed and clipped, base colour sRGB-encoded, normals 0.5 n + 0.5, roughness and metallic grey, depth
    coloured from near (light) to far (dark) over the clip's 1 to 98 % range; G-buffers fade to `PAPER` off surfaces.
    Of flow the way to the next frame is shown: its direction as hue, its length as strength, up to the clip's 98 %.
    """
    array = clip.arrays[name]
    if name == "rgb":
        return eight_bits(srgb_encode(array * clip.exposure))
    known = ATTRIBUTES[name]
    if name == "depth":
        colour = _depth_colours(array[..., 0])
    elif name == "flow":
        colour = _flow_colours(array[..., :2])
    elif known.is_vector:
        colour = array * 127.5 + 127.5
    elif name == "basecolor":
        colour = srgb_encode(array) * 255
    else:
        scale = 255.0 / max(float(array.max()), 1.0)
        colour = np.repeat(array.astype(np.float32).mean(axis=-1, keepdims=True) * scale, 3, axis=-1)
    coverage = clip.arrays.get("mask")
    if coverage is not None and name not in ("mask", "flow", "flow_visible"):
        paper = np.array(PAPER, dtype=np.float32)
        colour = paper + (colour - paper) * coverage
    return np.clip(colour + 0.5, 0, 255).astype(np.uint8)


def tile(picture: np.ndarray, side: int) -> Image.Image:
    """A (H, W, 3) uint8 picture fitted into a square of `side` pixels on `PAPER`; small pictures keep their pixels."""
    image = Image.fromarray(picture)
    scale = side / max(image.size)
    size = (max(round(image.width * scale), 1), max(round(image.height * scale), 1))
    image = image.resize(size, Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.BOX)
    square = Image.new("RGB", (side, side), PAPER)
    square.paste(image, ((side - size[0]) // 2, (side - size[1]) // 2))
    return square


def light_picture(radiance: np.ndarray, height: int) -> Image.Image:
    """A lat-long environment (h, w, 3), exposed by its log-average and tone-mapped, as a (2 height, height) image."""
    key = float(np.exp(np.log(np.maximum(luminance(radiance), 1e-4)).mean()))
    exposed = radiance * (0.25 / max(key, 1e-4))
    image = Image.fromarray(eight_bits(srgb_encode(exposed / (1 + exposed) * 1.15)))
    return image.resize(
        (2 * height, height), Image.Resampling.BOX if image.height > height else Image.Resampling.BICUBIC
    )


def eight_bits(picture: np.ndarray) -> np.ndarray:
    """A display-encoded picture, clipped to [0, 1], as uint8."""
    return (np.clip(picture, 0.0, 1.0) * 255 + 0.5).astype(np.uint8)


def webp(image: Image.Image, quality: int, method: int = 4) -> bytes:
    """An image as WebP; `method` runs from 0 (fast) to 6 (small)."""
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=quality, method=method)
    return buffer.getvalue()


def human_size(count: float) -> str:
    """Bytes as people read them: "3.2 GB"."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def _depth_colours(depth: np.ndarray) -> np.ndarray:
    """(T, H, W) planar depth to float colours (T, H, W, 3) in [0, 255]; the ramp runs over log depth.

    Depth that is relative to its clip begins at 0, which has no logarithm: there a tenth of the range is added.
    """
    finite = np.isfinite(depth)
    if not finite.any():
        return np.broadcast_to(_DEPTH_RAMP[-1].astype(np.float32), (*depth.shape, 3))
    high = float(np.quantile(depth[finite], 0.98))
    lift = 0.1 * high if depth[finite].min() < 1e-8 * high else 0.0  # `compact` makes a little more of 0
    logs = np.log(np.maximum(np.where(finite, depth, np.e) + lift, 1e-6))
    near, far = np.quantile(logs[finite], [0.01, 0.98])
    position = (logs - near) / max(far - near, 1e-6)
    position = np.where(finite, np.clip(position, 0, 1), 1.0) * (len(_DEPTH_RAMP) - 1)
    steps = np.arange(len(_DEPTH_RAMP))
    return np.stack([np.interp(position, steps, _DEPTH_RAMP[:, channel]) for channel in range(3)], axis=-1)


def _flow_colours(flow: np.ndarray) -> np.ndarray:
    """(T, H, W, 2) pixels to float colours (T, H, W, 3) in [0, 255]: still is white, to the right red."""
    length = np.linalg.norm(flow, axis=-1, keepdims=True)
    strength = np.minimum(length / max(float(np.quantile(length, 0.98)), 1e-6), 1)
    angle = np.arctan2(flow[..., 1:], flow[..., :1]) - np.radians([0, 120, 240])
    return 255 * (1 - strength * (1 - np.cos(angle)) / 2)
