"""The environment in Blender: an array as a float image on the world, turned frame by frame, and how to sample it."""

from __future__ import annotations

from typing import Any

import bpy
import numpy as np

from datagen.blender.keyframes import rotate_socket
from manifests.contract.color import luminance

_NARROWEST = 64
_TOLERANCE = 1.25


class World:
    """The scene's world. `show` gives it an image and its rotations; the nodes stay, so Cycles keeps the scene."""

    def __init__(self, scene: Any, importance_width: int) -> None:
        scene.world = self._world = world = bpy.data.worlds.new("environment")
        # AUTOMATIC builds a map four times as wide as the image: a second per scene, and dearer samples.
        world.cycles.sampling_method = "MANUAL"
        self._importance_width = importance_width
        nodes, links = world.node_tree.nodes, world.node_tree.links
        coordinates = nodes.new("ShaderNodeTexCoord")
        self._mapping = nodes.new("ShaderNodeMapping")
        self._texture = nodes.new("ShaderNodeTexEnvironment")
        background = next(node for node in nodes if node.type == "BACKGROUND")
        self._mapping.vector_type = "POINT"
        self._texture.projection, self._texture.interpolation = "EQUIRECTANGULAR", "Linear"
        links.new(coordinates.outputs["Generated"], self._mapping.inputs["Vector"])
        links.new(self._mapping.outputs["Vector"], self._texture.inputs["Vector"])
        links.new(self._texture.outputs["Color"], background.inputs["Color"])

    def show(self, image: np.ndarray, rotations: np.ndarray) -> None:
        """Light the scene with `image` (h, w, 3), turned by `rotations` (T, 3, 3), environment frame to world."""
        height, width = image.shape[:2]
        self._world.cycles.sample_map_resolution = importance_width(image, self._importance_width)
        block = bpy.data.images.new("environment", width, height, alpha=False, float_buffer=True)
        block.colorspace_settings.name = "Linear Rec.709"
        pixels = np.ones((height, width, 4), dtype=np.float32)
        pixels[..., :3] = image[::-1]  # Blender's first row is the lowest
        block.pixels.foreach_set(pixels.ravel())
        self._texture.image = block
        if self._mapping.id_data.animation_data is not None:
            self._mapping.id_data.animation_data_clear()
        # The image is looked up along R^T d, and POINT multiplies.
        rotate_socket(self._mapping.inputs["Rotation"], np.swapaxes(rotations, 1, 2))


def importance_width(image: np.ndarray, limit: int) -> int:
    """Width of the importance map for a lat-long `image` (h, 2h, 3): at most `limit`, and at most twice the image's.

    Cycles draws light directions from a map that it fills by looking at the image at the centre of each of its cells.
    A fine map costs memory traffic at every sample (15 % of a render at 2,048 cells across), a coarse one misses small
    suns (8 dB in a scene with one). Which of the two it is can be read off the image: for each width the second moment
    of the light estimator is computed (multiple importance sampling taken as half map, half uniform); the narrowest
    width within 25 % of the smallest moment is chosen.
    """
    light = luminance(image).astype(np.float64)
    fine = _twice(light)
    sine = np.sin((np.arange(fine.shape[0]) + 0.5) / fine.shape[0] * np.pi)[:, None]
    moments = {width: _moment(fine * sine, cells, sine) for width, cells in _maps(light, fine) if width <= limit}
    if not moments:
        return limit
    best = min(moments.values())
    return min(width for width, moment in moments.items() if moment <= _TOLERANCE * best)


def _twice(light: np.ndarray) -> np.ndarray:
    """Bilinear image (2h, 2w) of (h, w), wrapped in azimuth: the values at the centres of quarter texels."""
    for axis, mode in ((0, "edge"), (1, "wrap")):
        width = [(1, 1) if number == axis else (0, 0) for number in range(2)]
        padded = np.moveaxis(np.pad(light, width, mode=mode), axis, 0)  # type: ignore[call-overload]
        pairs = np.stack([0.25 * padded[:-2] + 0.75 * padded[1:-1], 0.75 * padded[1:-1] + 0.25 * padded[2:]], axis=1)
        light = np.moveaxis(pairs.reshape(-1, *pairs.shape[2:]), 0, axis)
    return light


def _maps(light: np.ndarray, fine: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """Widths, and the bilinear values of `light` at the centres of the cells of maps that wide."""
    height, width = light.shape
    maps = [(2 * width, fine), (width, light)]
    block = 2
    while width // block >= _NARROWEST and height % block == 0:
        first = block // 2 - 1  # the centre of a block lies between its four middle texels
        rows = light[first::block] + light[first + 1 :: block]
        maps.append((width // block, (rows[:, first::block] + rows[:, first + 1 :: block]) / 4))
        block *= 2
    return maps


def _moment(integrand: np.ndarray, cells: np.ndarray, sine: np.ndarray) -> float:
    """Second moment of the estimator, relative to that of a perfect one."""
    heights = np.sin((np.arange(cells.shape[0]) + 0.5) / cells.shape[0] * np.pi)[:, None]
    scale = integrand.shape[0] // cells.shape[0]
    drawn = np.repeat(np.repeat(cells * heights, scale, axis=0), scale, axis=1)
    uniform = np.broadcast_to(sine, integrand.shape)
    density = 0.5 * drawn / drawn.sum() if drawn.sum() > 0 else np.zeros_like(drawn)
    density = density + 0.5 * uniform / uniform.sum()
    return float((integrand**2 / density).sum() / integrand.sum() ** 2)
