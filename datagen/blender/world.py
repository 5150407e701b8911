"""The environment in Blender: an array as a float image on the world, turned frame by frame."""

from __future__ import annotations

from typing import Any

import bpy
import numpy as np

from datagen import importance
from datagen.blender.poses import rotate_socket


class World:
    """The scene's world. `show` gives it an image and its rotations; the nodes stay, so Cycles keeps the scene."""

    def __init__(self, scene: Any, importance_width: int) -> None:
        scene.world = self._world = world = bpy.data.worlds.new("environment")
        # AUTOMATIC builds a map four times as wide as the image: a second a scene, and dearer samples.
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
        self._world.cycles.sample_map_resolution = importance.importance_width(image, self._importance_width)
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
