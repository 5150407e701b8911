"""What a film shows beside the plane that a thing stands on, as a mesh: walls and things that catch its shadow.

The mesh is the first frame's depth, cut where it jumps. Of estimated depth, which is first brought onto the plane, only
what surely stands off the plane and hides no thing is taken, and keeps no light off; the plane catches the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from datagen.insert_render import Relief
from editing.support import Stand, off_plane
from manifests.contract.camera import Camera

_JUMP = 0.08
"""Share by which depth may change from pixel to pixel on one surface."""
_OFF = {True: 0.01, False: 0.06}
"""Share of depth that something must stand off the plane, where depth is exact and where it is estimated."""
_AROUND = 1.3
"""A thing's box is so much larger than it is: what stands before it there would hide it."""


def scene_mesh(
    camera: Camera, gbuffers: Mapping[str, np.ndarray], stands: Sequence[Stand], *, measured: bool
) -> Relief | None:
    """The first frame's surfaces that stand above the planes of things; None where there are none.

    gbuffers: `depth`, `normal`, `basecolor`, `roughness`, `metallic` (T, H, W, C), as `stand` takes them.
    """
    depth, error = off_plane(camera, gbuffers, stands[0], measured=measured)
    height, width = depth.shape
    pose = camera.camera_to_world[0]
    rays = camera.at(slice(1)).rays(height, width).reshape(height, width, 3)
    there = np.isfinite(depth)
    local = rays * np.where(there, depth, 1.0)[..., None]
    places = local @ pose[:3, :3].T + pose[:3, 3]
    least = max(_OFF[measured], 2 * error)
    for one in stands:
        above = (places - one.position) @ one.normal
        there &= above > least * np.where(there, depth, 1.0) * np.abs(rays @ (pose[:3, :3].T @ one.normal))
    hides = np.any([_before(camera, one, depth) for one in stands], axis=0) & (not measured)
    there &= ~hides
    if not measured:
        there = cv2.morphologyEx(there.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)) > 0
    reach = cv2.dilate(there.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0  # down to where it meets the plane
    triangles = _triangles(np.where(reach & ~hides, depth, np.inf))
    if not len(triangles):
        return None
    kept, triangles = np.unique(triangles, return_inverse=True)
    flat = {
        name: gbuffers[name][0].reshape(height * width, -1)[kept] for name in ("basecolor", "roughness", "metallic")
    }
    return Relief(
        places.reshape(-1, 3)[kept].astype(np.float32),
        triangles.reshape(-1, 3).astype(np.int32),
        np.clip(flat["basecolor"], 0.02, 1.0),
        flat["roughness"][:, 0],
        flat["metallic"][:, 0] * measured,
        solid=measured,
    )


def _before(camera: Camera, one: Stand, depth: np.ndarray) -> np.ndarray:
    """Where (H, W) something is nearer than a thing in the part of the picture that the thing may fill."""
    half = 0.5 * _AROUND
    corners = np.array([[x, y, z] for x in (-half, half) for y in (-half, half) for z in (0.0, _AROUND)])
    pixels, away = camera.at(slice(1)).project(corners @ one.object_to_world[:3, :3].T + one.position)
    inside = np.zeros(depth.shape, dtype=bool)
    if (away <= 1e-6).any():
        return ~inside
    (left, top), (right, bottom) = np.floor(pixels[0].min(axis=0)), np.ceil(pixels[0].max(axis=0))
    rows, columns = (np.clip(part, 0, None).astype(int) for part in ((top, bottom), (left, right)))
    inside[rows[0] : rows[1], columns[0] : columns[1]] = True
    return inside & (depth < float(np.median(away)))


def _triangles(depth: np.ndarray) -> np.ndarray:
    """Indices (M, 3) of pixels of depth (H, W) that make surfaces, +inf where there are none."""
    height, width = depth.shape
    index = np.arange(height * width).reshape(height, width)
    corners = index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]
    quads = np.stack([part.ravel() for part in corners], axis=1)
    faces = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
    seen = depth.ravel()[faces]
    with np.errstate(invalid="ignore"):
        whole = np.isfinite(seen).all(axis=1) & (seen.max(axis=1) < (1 + _JUMP) * seen.min(axis=1))
    return np.asarray(faces[whole])
