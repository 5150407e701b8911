"""Lights by name: an HDR file of the user's, or one of the built-in catalogue; and the same light turning over a clip.

Maps that come with Blender are read as files and studios are drawn, so nothing here needs Blender itself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from manifests.contract.environment import Environment, sanitize
from manifests.errors import InputError

_PREFIX = "builtin/environment/"
_STUDIO_HEIGHT = 256
_SUFFIXES = (".hdr", ".exr")


@dataclass(frozen=True, eq=False)
class NamedLight:
    """name: for people. image: (h, 2h, 3) linear radiance, stored convention (docs/conventions.md)."""

    name: str
    image: np.ndarray

    def turning(self, frames: int, degrees: float = 0.0, start: int = 0, stop: int | None = None) -> Environment:
        """The light over frames [start, stop) of a clip of `frames`, turning by `degrees` about the vertical.

        The turn is even and closes: frame `frames`, which is not there, would stand at `degrees`.
        """
        angles = np.radians(degrees) * np.arange(start, frames if stop is None else stop) / frames
        rotation = np.zeros((len(angles), 3, 3))
        rotation[:, 0, 0] = rotation[:, 1, 1] = np.cos(angles)
        rotation[:, 1, 0] = np.sin(angles)
        rotation[:, 0, 1] = -rotation[:, 1, 0]
        rotation[:, 2, 2] = 1.0
        return Environment(self.image, rotation)

    def turned(self, degrees: float) -> NamedLight:
        """The light after a turn in the sense of `turning`, by whole pixels of its image."""
        width = self.image.shape[1]
        return NamedLight(self.name, np.roll(self.image, -round(degrees / 360 * width), axis=1))


def backdrop(
    light: Environment, frame: int, pose: np.ndarray, intrinsics: np.ndarray, size: tuple[int, int], blur: float = 0.0
) -> np.ndarray:
    """The light (h, w, 3), linear, as the camera sees it in one frame where nothing stands before it.

    pose: (4, 4) camera to world. intrinsics: (3, 3) in pixels of `size` (h, w). blur: as a share of the larger side.
    """
    import cv2
    import torch

    from renderers.light.panoramas import backgrounds
    from renderers.shading.view_geometry import camera_rays

    rays = camera_rays(*size, torch.from_numpy(np.asarray(intrinsics, dtype=np.float32))).permute(1, 2, 0).numpy()
    seen = backgrounds(light.image, light.rotation[frame][None], pose[None], rays)[0].permute(1, 2, 0).numpy()
    if not blur:
        return seen
    return np.asarray(cv2.GaussianBlur(seen, (0, 0), blur * max(size), borderType=cv2.BORDER_REFLECT))


def light_names() -> list[str]:
    """Names of the built-in lights: Blender's maps by their place, and the studios as `studio/0000`."""
    return sorted(_builtin())


def find_light(light: str | Path | NamedLight) -> NamedLight:
    """Light of an .hdr or .exr file (FILE.exr#LAYER), or of a built-in name; LightloomError says what is there."""
    if isinstance(light, NamedLight):
        return light
    name, path = str(light), Path(re.sub(r"(\.exr)#.*", r"\1", str(light), flags=re.IGNORECASE))
    if path.suffix.lower() in _SUFFIXES:
        from manifests.codec.light_file import read_hdr

        return NamedLight(path.stem, read_hdr(light))
    known = _builtin()
    if name not in known:
        maps = ", ".join(key for key in sorted(known) if "/" not in key)
        raise InputError(f"no light {name!r}", f"give an .hdr or .exr file, studio/0000 and on, or one of {maps}")
    return NamedLight(name, sanitize(_image(known[name]))[0])


def _builtin() -> dict[str, object]:
    """Sources of the built-in lights that need no Blender, by their short name."""
    from scenes.providers.builtin import builtin_environments
    from scenes.spec import Builtin

    found: dict[str, object] = {}
    catalogue = builtin_environments()
    for asset in catalogue.assets:
        source = asset.environment
        if source is None or (isinstance(source, Builtin) and source.generator != "studio"):
            continue
        found[asset.uid.removeprefix(_PREFIX)] = (
            source if isinstance(source, Builtin) else catalogue.roots[source.provider] / source.path
        )
    return found


def _image(source: object) -> np.ndarray:
    if isinstance(source, Path):
        from manifests.codec.light_file import read_hdr

        return read_hdr(source)
    from scenes.spec import Builtin
    from scenes.studio_light import studio_image

    assert isinstance(source, Builtin)
    return studio_image(source.params, _STUDIO_HEIGHT)
