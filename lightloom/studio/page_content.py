"""What the studio's page offers and shows: clips, lights, meshes and looks; frames, selections and maps as pictures."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from editing.film import open_film, resized
from editing.lights import NamedLight, find_light, light_names
from manifests.contract.attributes import GBUFFERS
from manifests.contract.clip import Clip
from manifests.display import light_picture, pictures
from manifests.errors import InputError
from manifests.store.dataset import open_dataset
from manifests.store.layout import HEADER

_STUDIOS = 10
_CLIPS = 32
_PLAIN = ("sphere", "cube", "rounded_cube", "torus", "cylinder", "cone", "capsule", "suzanne")
_SHAPED = ("composite/chair", "composite/lamp", "composite/cairn", "bolt", "rock/asteroid")

MESHES = {
    **{name.replace("_", " "): f"builtin/mesh/{name}" for name in _PLAIN},
    **{name.rpartition("/")[2]: f"builtin/mesh/{name}/0000" for name in _SHAPED},
}
"""Names for people, and uids of the built-in catalogue."""

CHANGES = {"base colour": "basecolor", "roughness": "roughness", "metallic": "metallic"}
"""What can be changed: names for people, and the edit's own."""

LOOKS = {
    "chrome": ("#c8c8cc", 0.05, 1.0),
    "gold": ("#ffd88a", 0.2, 1.0),
    "copper": ("#f0a27e", 0.35, 1.0),
    "red lacquer": ("#a01515", 0.08, 0.0),
    "white plastic": ("#e6e6e6", 0.35, 0.0),
    "black rubber": ("#1c1c1c", 0.85, 0.0),
    "clay": ("#b07a5c", 0.95, 0.0),
}
"""Base colour, roughness and metallic by name."""

_HEX = re.compile(r"#[0-9a-fA-F]{6}")
_NUMBER = r"\s*([0-9]{1,3}(?:\.[0-9]{0,20})?)\s*"
_RGB = re.compile(rf"rgba?\({_NUMBER},{_NUMBER},{_NUMBER}(?:,[0-9.\s]{{1,25}})?\)")

_SIDE = 960
_TINT = np.array([1.0, 0.62, 0.16], dtype=np.float32)
_LIGHT_HEIGHT = 128


def lights() -> list[NamedLight]:
    """Every map of a place, and the first few studios."""
    names = light_names()
    places = [name for name in names if "/" not in name]
    return [find_light(name) for name in (*places, *[name for name in names if "/" in name][:_STUDIOS])]


def offered(names: Sequence[str]) -> dict[str, str]:
    """What `open_film` takes, by names for people; a dataset stands for its first clips."""
    found: dict[str, str] = {}
    for name in names:
        if (Path(name) / HEADER).is_file():
            keys = [row.key for row in islice(open_dataset(name).rows(), _CLIPS)]
            found.update({f"{Path(name).name}:{key}": f"{name}:{key}" for key in keys})
        else:
            with open_film(name):
                found[Path(name).name] = name
    return found


def material_values(
    changes: Sequence[str], colour: str, texture: str | None, roughness: float, metallic: float
) -> dict[str, str | float]:
    """The ticked changes as `editing.edit` takes them; a texture's path stands in place of the colour."""
    if not changes:
        raise InputError("nothing is ticked under Change", "say what is to change")
    values: dict[str, str | float] = {
        "basecolor": texture or hex_colour(colour),
        "roughness": roughness,
        "metallic": metallic,
    }
    return {CHANGES[change]: values[CHANGES[change]] for change in changes}


def hex_colour(colour: str) -> str:
    """`#rrggbb` of what a colour picker gives: that, or `rgb(r, g, b)` and `rgba(r, g, b, a)` with fractions.

    InputError for anything else: an edit would take another text for the path of a texture.
    """
    given = str(colour).strip()
    if _HEX.fullmatch(given):
        return given
    if (found := _RGB.fullmatch(given)) is None:
        raise InputError("the base colour is no colour", "choose one")
    return "#" + "".join(f"{min(round(float(number)), 255):02x}" for number in found.groups())


def fitted(picture: np.ndarray) -> np.ndarray:
    """A picture (H, W, 3) with its larger side at 960, uint8: small clips fill the view, large ones travel fast."""
    height, width = picture.shape[:2]
    scale = _SIDE / max(height, width)
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    return eight_bits(resized(picture.astype(np.float32)[None], size)[0])


def film_pixel(shown: tuple[int, int], size: tuple[int, int]) -> tuple[int, int]:
    """The pixel (x, y) of a film of `size` (H, W) at a pixel of its `fitted` picture."""
    scale = max(size) / _SIDE
    return (
        min(max(int((shown[0] + 0.5) * scale), 0), size[1] - 1),
        min(max(int((shown[1] + 0.5) * scale), 0), size[0] - 1),
    )


def marked(picture: np.ndarray, mask: np.ndarray | None, points: Sequence[tuple[tuple[int, int], bool]]) -> np.ndarray:
    """A frame (H, W, 3) as `fitted`, with a selection (h, w, 1) tinted and outlined, and marks at a film's pixels.

    A cross where something is selected or is to stand, a minus where something is taken away.
    """
    shown = fitted(picture)
    height, width = shown.shape[:2]
    if mask is not None:
        soft = resized(mask[None].astype(np.float32), (height, width))[0]
        shown = eight_bits(shown / 255 * (1 - 0.4 * soft) + 0.4 * soft * _TINT)
        edge, _ = cv2.findContours((soft[..., 0] > 0.5).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
        shown = cv2.drawContours(np.ascontiguousarray(shown), edge, -1, (255, 210, 120), 2, cv2.LINE_AA)
    scale = _SIDE / max(picture.shape[:2])
    for (x, y), belongs in points:
        across, down = int((x + 0.5) * scale), int((y + 0.5) * scale)
        for colour, thick in (((20, 20, 20), 5), ((255, 255, 255), 2)):
            shown = cv2.line(np.ascontiguousarray(shown), (across - 14, down), (across + 14, down), colour, thick)
            if belongs:
                shown = cv2.line(shown, (across, down - 14), (across, down + 14), colour, thick)
    return shown


def gbuffer_pictures(gbuffers: Mapping[str, np.ndarray]) -> list[tuple[np.ndarray, str]]:
    """(picture, name) of each G-buffer of the first frame, from arrays (T, h, w, C)."""
    clip = Clip("shown", {name: gbuffers[name][:1].astype(np.float32) for name in GBUFFERS})
    return [(fitted(pictures(clip, name)[0] / 255), name) for name in GBUFFERS]


def light_strip(image: np.ndarray) -> np.ndarray:
    """A stored light (h, 2h, 3) as a picture: its centre is what a level camera looks at."""
    return np.asarray(light_picture(image, _LIGHT_HEIGHT).convert("RGB"))


def eight_bits(picture: np.ndarray) -> np.ndarray:
    """uint8 of floats in [0, 1]."""
    return (np.clip(picture, 0.0, 1.0) * 255 + 0.5).astype(np.uint8)
