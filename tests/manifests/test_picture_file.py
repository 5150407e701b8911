"""One loader for pictures: the modes of files, as textures and as masks, against values known beforehand."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from manifests.picture_file import Picture, read_picture

SHAPE = np.zeros((8, 10), dtype=bool)
SHAPE[2:5, 3:9] = True
GREY = np.where(SHAPE, 200, 60).astype(np.uint8)
WHITE = np.where(SHAPE, 255, 0).astype(np.uint8)
RED = np.dstack([WHITE, WHITE * 0, WHITE * 0])
MANY = np.dstack([np.arange(80, dtype=np.uint8).reshape(8, 10) * 3, GREY, 255 - GREY])


def image(values: np.ndarray, mode: str | None = None) -> Image.Image:
    return Image.fromarray(values) if mode is None else Image.fromarray(values).convert(mode)


def palette(colours: list[int], **info: Any) -> Image.Image:
    made = Image.fromarray(SHAPE.astype(np.uint8))
    made.putpalette(colours)
    made.info.update(info)
    return made


def layers(colour: np.ndarray, alpha: np.ndarray) -> Image.Image:
    return Image.fromarray(np.dstack([colour, alpha]))


def saved(made: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    made.save(buffer, kind, **options)
    return buffer.getvalue()


def load(made: Image.Image, kind: str = "PNG", **options: Any) -> Picture:
    return read_picture(saved(made, kind, **options), 10_000)


HELD = {
    "PNG": ("1", "L", "P", "RGB", "RGBA", "LA", "I;16"),
    "TIFF": ("1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "I;16"),
    "BMP": ("1", "L", "P", "RGB", "RGBA"),
    "WEBP": ("L", "RGB", "RGBA"),
    "JPEG": ("L", "RGB", "CMYK"),
    "GIF": ("1", "L", "P"),
}


@pytest.mark.parametrize(("kind", "mode"), [(kind, mode) for kind, modes in HELD.items() for mode in modes])
def test_a_grey_texture_has_its_value_in_every_mode_and_format(kind: str, mode: str) -> None:
    wanted = np.where(SHAPE, 1.0, 0.0) if mode == "1" else np.where(SHAPE, 200, 60) / 255
    made = image(WHITE if mode == "1" else GREY)
    made = image(GREY.astype(np.uint16) * 257) if mode == "I;16" else made.convert(mode)
    options = {"lossless": True} if kind == "WEBP" else {"quality": 100, "subsampling": 0} if kind == "JPEG" else {}
    found = load(made, kind, **options).values
    assert found.shape == (8, 10, 3)
    assert np.abs(found - wanted[..., None]).max() < (0.02 if kind == "JPEG" else 0.003)


@pytest.mark.parametrize("order", ["<u2", ">u2"])
def test_sixteen_bits_keep_their_fractions(order: str) -> None:
    soft = np.linspace(0, 65535, 80).round().astype(np.uint16).reshape(8, 10)
    mode = {"<u2": "I;16", ">u2": "I;16B"}[order]
    made = Image.frombytes(mode, (10, 8), soft.astype(order).tobytes())
    found = load(made, "TIFF" if mode == "I;16B" else "PNG")
    assert np.abs(found.values[..., 0] - soft / 65535).max() < 1e-6
    assert np.abs(found.mask() - soft / 65535).max() < 1e-6
    assert np.array_equal(found.over_black()[..., 1], soft >> 8)


MASKS = {
    "grey": image(WHITE),
    "one bit": image(WHITE, "1"),
    "rgb": image(WHITE, "RGB"),
    "opaque rgba": layers(np.dstack([WHITE] * 3), np.full_like(WHITE, 255)),
    "opaque la": image(np.dstack([WHITE, np.full_like(WHITE, 255)])),
    "rgba of alpha zero": layers(np.dstack([WHITE] * 3), np.zeros_like(WHITE)),
    "sixteen bits": image(WHITE.astype(np.uint16) * 257),
    "grey palette": palette([0, 0, 0, 255, 255, 255]),
    "palette of two colours": palette([0, 0, 0, 128, 0, 0]),
    "palette with transparency": palette([9, 9, 9, 255, 255, 255], transparency=0),
    "labels 0 and 1": image(SHAPE.astype(np.uint8)),
    "labels 0 and 38": image(SHAPE.astype(np.uint8) * 38),
    "labels of sixteen bits": image(SHAPE.astype(np.uint16) * 1001),
    "red on black": image(RED),
    "alpha alone": layers(np.zeros((8, 10, 3), np.uint8), WHITE),
    "white with alpha": layers(np.full((8, 10, 3), 255, np.uint8), WHITE),
    "white where alpha is": layers(np.dstack([WHITE] * 3), WHITE),
    "grey with alpha": image(np.dstack([np.full_like(WHITE, 90), WHITE])),
    "cut-out in colour": layers(MANY, WHITE),
    "cut-out in grey": layers(np.dstack([np.arange(80, dtype=np.uint8).reshape(8, 10) * 3] * 3), WHITE),
}


@pytest.mark.parametrize("name", MASKS)
def test_a_mask_is_what_people_see_in_it(name: str) -> None:
    made = MASKS[name]
    options = {"transparency": made.info["transparency"]} if "transparency" in made.info else {}
    np.testing.assert_array_equal(load(made, **options).mask(), SHAPE)


def test_soft_edges_stay_soft() -> None:
    soft = np.linspace(0, 255, 80).round().astype(np.uint8).reshape(8, 10)
    opaque = np.full_like(soft, 255)
    for made in (
        image(soft),
        image(soft, "RGB"),
        image(np.dstack([soft, opaque])),
        layers(np.dstack([opaque] * 3), soft),
    ):
        assert np.abs(load(made).mask() - soft / 255).max() < 1e-6


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (image(MANY), "map of labels"),
        (layers(np.dstack([WHITE] * 3), 255 - WHITE), "one mask and its alpha is another"),
        (layers(np.dstack([WHITE] * 3), np.roll(WHITE, 2, axis=0)), "one mask and its alpha is another"),
    ],
)
def test_what_is_no_mask_is_said_to_be_none(made: Image.Image, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        load(made).mask()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_orientation_mark_is_carried_out(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    turned = {
        1: GREY,
        2: GREY[:, ::-1],
        3: GREY[::-1, ::-1],
        4: GREY[::-1],
        5: GREY.T,
        6: np.rot90(GREY, -1),
        7: GREY[::-1, ::-1].T,
        8: np.rot90(GREY),
    }
    found = load(image(GREY), exif=exif)
    np.testing.assert_array_equal(found.colour[..., 0], turned[orientation])
    as_stored = read_picture(saved(image(GREY), exif=exif), 10_000, upright=False)
    np.testing.assert_array_equal(as_stored.colour[..., 0], GREY)


def test_transparent_pixels_lie_over_black_and_keep_their_colour() -> None:
    found = load(layers(np.full((8, 10, 3), 200, np.uint8), np.full((8, 10), 128, np.uint8)))
    assert (found.over_black() == 100).all()
    assert (found.colour == 200).all()
    hidden = load(image(GREY), transparency=60)
    assert hidden.alpha is not None
    np.testing.assert_array_equal(hidden.alpha > 0, SHAPE)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (saved(image(GREY.astype(np.float32)), "TIFF"), "without a range"),
        (saved(image(GREY.astype(np.int32)), "TIFF"), "without a range"),
        (saved(image(GREY), "TIFF", save_all=True, append_images=[image(GREY)] * 2), "3 pictures"),
        (saved(image(GREY), "GIF", save_all=True, append_images=[image(WHITE)]), "2 pictures"),
        (saved(image(GREY))[:60], "."),
        (b"", "not a picture"),
        (b"\x89PNG\r\n\x1a\n" + bytes(40), "."),
    ],
)
def test_what_cannot_be_read_is_one_line(data: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        read_picture(data, 10_000)
    assert "\n" not in str(caught.value)


def test_a_picture_is_refused_by_its_header() -> None:
    with pytest.raises(OverflowError, match="10x8 pixels"):
        read_picture(saved(image(GREY)), 79)
