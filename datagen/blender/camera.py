"""The pinhole camera: `manifests.camera.Camera` handed to Blender."""

from __future__ import annotations

from typing import Any

import bpy
import numpy as np

from datagen.blender.poses import pose
from manifests.camera import Camera

_CLIP = (1e-3, 1e5)


def add_camera(scene: Any, camera: Camera, height: int, width: int) -> Any:
    """Set the scene's image size and its camera: square pixels, centred, sharp at every distance."""
    scene.render.resolution_x, scene.render.resolution_y = width, height
    scene.render.resolution_percentage = 100
    scene.render.pixel_aspect_x = scene.render.pixel_aspect_y = 1.0
    lens = bpy.data.cameras.new("camera")
    lens.sensor_fit = "AUTO"  # the field of view belongs to the larger side
    lens.sensor_width = lens.sensor_height = 36.0
    lens.angle = float(2 * np.arctan(0.5 * max(height, width) / camera.intrinsics[0, 0]))
    lens.clip_start, lens.clip_end = _CLIP
    obj = bpy.data.objects.new("camera", lens)
    scene.collection.objects.link(obj)
    scene.camera = obj
    pose(obj, camera.camera_to_world)
    return obj
