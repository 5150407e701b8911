"""Poses and the camera as keyframes that are exact at every frame. Frame t of a clip is Blender's frame t."""

from __future__ import annotations

from typing import Any

import bpy
import numpy as np
from mathutils import Matrix

from manifests.contract.camera import Camera

_LINEAR = 1  # value of KeyframePoint.interpolation in foreach_set
_CLIP = (1e-3, 1e5)  # nearest and farthest depth, in scene units


def keyframe(owner: Any, path: str, values: np.ndarray) -> None:
    """Animate property `path` of datablock `owner` with values (T, n), one row per frame; n is 1 for a plain number.

    A property that does not change gets its value and no keyframes, so that Cycles need not update it.
    """
    _assign(owner, path, values[0])
    if np.ptp(values, axis=0).max() == 0:
        return
    if owner.animation_data is None:
        owner.animation_data_create()
    if owner.animation_data.action is None:
        owner.animation_data.action = bpy.data.actions.new(owner.name)
    frames = np.arange(len(values), dtype=np.float32)
    for index in range(values.shape[1]):
        curve = owner.animation_data.action.fcurve_ensure_for_datablock(owner, path, index=index)
        curve.keyframe_points.clear()
        curve.keyframe_points.add(len(values))
        points = np.stack([frames, values[:, index].astype(np.float32)], axis=1)
        curve.keyframe_points.foreach_set("co", points.ravel())
        curve.keyframe_points.foreach_set("interpolation", [_LINEAR] * len(values))
        curve.update()


def pose(obj: Any, matrices: np.ndarray) -> None:
    """Place object `obj`: object-to-world matrices (T, 4, 4) of rotation, positive scale and translation."""
    parts = [Matrix(matrix.tolist()).decompose() for matrix in matrices]
    obj.rotation_mode = "QUATERNION"
    keyframe(obj, "location", np.array([location for location, _, _ in parts]))
    keyframe(obj, "rotation_quaternion", np.array([rotation for _, rotation, _ in parts]))
    keyframe(obj, "scale", np.array([scale for _, _, scale in parts]))


def rotate_socket(socket: Any, rotations: np.ndarray) -> None:
    """Animate a node's Euler input with rotation matrices (T, 3, 3)."""
    angles = np.array([Matrix(rotation.tolist()).to_euler("XYZ") for rotation in rotations])
    keyframe(socket.id_data, socket.path_from_id("default_value"), angles)


def _assign(owner: Any, path: str, value: np.ndarray) -> None:
    holder, _, name = path.rpartition(".")
    given = value.tolist() if len(value) > 1 else float(value[0])
    setattr(owner.path_resolve(holder) if holder else owner, name, given)


def set_focal(lens: Any, focal: np.ndarray) -> None:
    """Animate the focal length (T,) of a lens, given in sides of the picture to which its sensor fits."""
    keyframe(lens, "lens", lens.sensor_width * focal[:, None])


def add_camera(scene: Any, camera: Camera, height: int, width: int) -> Any:
    """Set the scene's image size and its camera: square pixels, centred, sharp at every distance."""
    scene.render.resolution_x, scene.render.resolution_y = width, height
    scene.render.resolution_percentage = 100
    scene.render.pixel_aspect_x = scene.render.pixel_aspect_y = 1.0
    lens = bpy.data.cameras.new("camera")
    lens.sensor_fit = "AUTO"  # the field of view belongs to the larger side
    lens.sensor_width = lens.sensor_height = 36.0
    if camera.zooms:
        set_focal(lens, camera.intrinsics[:, 0, 0] / max(height, width))
    else:
        lens.angle = float(2 * np.arctan(0.5 * max(height, width) / camera.intrinsics[0, 0]))
    lens.clip_start, lens.clip_end = _CLIP
    obj = bpy.data.objects.new("camera", lens)
    scene.collection.objects.link(obj)
    scene.camera = obj
    pose(obj, camera.camera_to_world)
    return obj
