"""Where a thing stands: the plane under a pixel, which way is up there, how large it should be, and what hides it.

Estimated depth waves; estimated normals of floors do not. So the plane has the direction in which most of the floor
around looks, and the distance that the median of the depth around the pixel gives it. What is nearer than the thing
must be so by more than depth is off from that plane on the floor itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from datagen.insert_render import Part
from manifests.contract.camera import Camera, fitted
from manifests.errors import InputError

SHARE = 0.25
"""Without a scale, the longest side would span this share of the picture's smaller side, where it stands."""
_HEIGHTS = 0.35
"""It is no longer than this share of the camera's height above the plane, so that it is not larger than a house."""
_LEAST = 0.05
"""Share of the picture's smaller side that it spans at least."""

_TILT = np.cos(np.radians(60.0))
_FLOOR = np.cos(np.radians(50.0))
"""A surface that leans more than this holds nothing."""
_KERNEL = np.radians(15.0)
_AROUND = 0.35
"""Standard deviation, in larger sides of the picture, of what counts as around the pixel when up is looked for."""
_PATCH = 0.02
_RAMP = {True: np.cos(np.radians(3.0)), False: np.cos(np.radians(20.0))}
"""From where on a floor's own direction is not taken for up, where normals are exact and where they are estimated."""
_LEVEL = np.cos(np.radians(25.0))
"""What leans less than this is floor."""
_NEARER = 0.08
_BEYOND = 0.25
"""Share by which something is farther than the plane that surely lies below it."""
_SPOT = 2e-3
_LOOKED_AT = 640
_MEDIAN_OF, _LEAST_FRAMES = 15, 5
_CHANGED = 20.0
"""Of 255, by which something that passes differs from what is behind it."""
_MOST_CHANGED = 0.3
_DISK = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))
_REACH = 2.5
"""Lengths of a thing from its foot within which its shadow is looked for."""


@dataclass(frozen=True, eq=False)
class Stand:
    """Where an object stands: `object_to_world` (4, 4) with its scale, its foot `position` (3,), `up` (3,), and the
    `normal` (3,) of the surface under it."""

    object_to_world: np.ndarray
    position: np.ndarray
    up: np.ndarray
    scale: float
    normal: np.ndarray

    def turning(self, degrees: float, frames: int) -> np.ndarray:
        """`object_to_world` (T, 4, 4) of so many frames while it turns by `degrees`; (1, 4, 4) where it does not."""
        if not degrees:
            return self.object_to_world[None]
        turned = np.repeat(self.object_to_world[None], frames, axis=0)
        for frame, angle in enumerate(np.radians(degrees) * np.arange(frames) / frames):
            turned[frame, :3, :3] = self.object_to_world[:3, :3] @ _about_z(angle)
        return turned


def stand(
    camera: Camera,
    gbuffers: Mapping[str, np.ndarray],
    pixel: tuple[int, int],
    up: np.ndarray,
    *,
    scale: float | None = None,
    share: float | None = None,
    rotate: float = 0.0,
    distance: float | None = None,
    measured: bool = True,
    called: tuple[int, int] | None = None,
    camera_height: float | None = None,
) -> Stand:
    """Stand an object on the surface that the first frame shows at `pixel`.

    Args:
        camera: of the clip.
        gbuffers: `depth` (T, H, W, 1), planar, in the units of the camera's poses, +inf for background, and `normal`
            (T, H, W, 3), camera frame.
        pixel: (x, y), x to the right and y down from the top-left pixel (0, 0).
        up: (3,) world direction that the object's z axis takes.
        scale: longest side in scene units.
        share: the same, as the share of the picture's smaller side that it would span there. Without either it is
            `SHARE`, or less where the camera is low above the surface.
        rotate: degrees about `up`: of the world's axes where depth is exact, as in datasets; else from facing the
            camera.
        distance: planar depth to stand at, in place of what is seen at the pixel.
        measured: whether depth and normals are exact, and not estimates.
        camera_height: metres of the camera above the surface; `scale` is in metres then.
        called: the pixel's name in messages, where it is one of a larger picture.

    Raises InputError for a pixel outside the picture or without a surface that can hold something, and for sizes that
    are not positive.
    """
    depth, normal = gbuffers["depth"][0, ..., 0], gbuffers["normal"][0]
    height, width = depth.shape
    (x, y), name = pixel, "{},{}".format(*(called or pixel))
    if not (0 <= x < width and 0 <= y < height):
        raise InputError(f"pixel {name} is outside of the picture of {width}x{height} pixels")
    up = up / np.linalg.norm(up)
    pose, rays = camera.camera_to_world[0], camera.at(slice(1)).rays(height, width).reshape(height, width, 3)
    turned = rays @ pose[:3, :3].T  # (H, W, 3), world
    if distance is None:
        seen, surface = _surface(depth, normal @ pose[:3, :3].T, turned, pixel, up, measured, name)
    else:
        seen, surface = distance, up
    if any(size is not None and not (np.isfinite(size) and size > 0) for size in (seen, scale, share)):
        given = scale if share is None else share
        raise InputError(f"`depth` {seen:g} and `scale` {given} must be positive numbers", fields=("depth", "scale"))
    position = turned[y, x] * seen + pose[:3, 3]
    spans = min(height, width) / camera.frame_intrinsics[0, 0, 0] * seen  # the picture's smaller side, there
    above = abs(float(surface @ (turned[y, x] * seen)))
    if scale is not None and camera_height is not None:
        scale *= above / camera_height
    if scale is None and share is None:
        scale = max(min(SHARE * spans, _HEIGHTS * above), _LEAST * spans)
    elif scale is None:
        scale = share * spans
    matrix = np.eye(4)
    turn = np.radians(rotate) + (0.0 if measured else facing(pose[:3, 3] - position, up))
    matrix[:3, :3] = scale * upright(up) @ _about_z(turn)
    matrix[:3, 3] = position
    return Stand(matrix, position, matrix[:3, 2] / scale, float(scale), surface)


def _surface(
    depth: np.ndarray,
    normal: np.ndarray,
    rays: np.ndarray,
    pixel: tuple[int, int],
    up: np.ndarray,
    measured: bool,
    name: str,
) -> tuple[float, np.ndarray]:
    """Depth along the pixel's ray of the surface around it, and its direction (3,). All (H, W, ...) in the world."""
    x, y = pixel
    side = max(2, round(_PATCH * max(depth.shape)))
    rows, columns = (slice(max(value - side, 0), value + side + 1) for value in (y, x))
    there = np.isfinite(depth[rows, columns])
    if not np.isfinite(depth[y, x]):
        raise InputError(
            f"no surface is seen at pixel {name}", "choose another, or say how far with `depth`", fields=("depth",)
        )
    around = normal[rows, columns][there]  # (n, 3)
    flat = around @ up > _FLOOR
    if flat.mean() < 0.5:
        raise InputError(
            f"nothing can stand at pixel {name}: the surface there is upright",
            "choose a pixel on a floor, or say how far with `depth`",
            fields=("depth",),
        )
    own = _unit(np.median(around[flat], axis=0))
    surface = up if own @ up > _RAMP[measured] else own
    offsets = (rays[rows, columns][there][flat] * depth[rows, columns][there][flat][:, None]) @ surface
    falling = float(rays[y, x] @ surface)
    if falling > -0.02:  # seen along its edge, a plane is nowhere
        return float(depth[y, x]), surface
    offset = float(rays[y, x] @ surface) * depth[y, x] if measured else float(np.median(offsets))
    return offset / falling, surface


def floor_up(camera: Camera, normal: np.ndarray, covered: np.ndarray, pixel: tuple[int, int]) -> np.ndarray:
    """World direction (3,) that is up, where the world's own is not known: where floors around `pixel` (x, y) look.

    Of the normals (H, W, 3) of the first frame, camera frame, that lie within 60 degrees of the camera's up, the mode;
    what is near the pixel counts more. `covered` (H, W, 1) says what is surface. The camera's up where there are none.
    """
    height, width = normal.shape[:2]
    rows, columns = np.mgrid[:height, :width]
    away = np.hypot(columns - pixel[0], rows - pixel[1]) / (_AROUND * max(height, width))
    weight = covered[..., 0] * np.exp(-0.5 * away**2) * (normal[..., 1] > _TILT)
    found = np.array([0.0, 1.0, 0.0])
    if weight.sum() > 1e-3 * height * width:
        floor, share = normal[weight > 0], weight[weight > 0]
        found = _unit(share @ floor)
        for _ in range(20):
            apart = np.arccos(np.clip(floor @ found, -1.0, 1.0))
            found = _unit((share * np.exp(-0.5 * (apart / _KERNEL) ** 2)) @ floor)
    return np.asarray(camera.camera_to_world[0, :3, :3] @ found)


def hiding(
    camera: Camera, gbuffers: Mapping[str, np.ndarray], place: Stand, *, measured: bool
) -> tuple[np.ndarray, np.ndarray]:
    """What stands before a thing, and what of the picture can catch its shadow: two shares (T, H, W, 1).

    Estimated depth is first brought onto the plane where floors show it. Then only what is nearer than the thing by
    more than floors are off hides it; what lies below the plane, beyond its edge, catches nothing. With `measured`
    depth nothing is said to hide it: compare depth.
    """
    depth, normal = gbuffers["depth"][..., 0], gbuffers["normal"]
    frames, height, width = depth.shape
    rays = np.broadcast_to(camera.rays(height, width), (frames, height, width, 3))
    before, under = np.zeros_like(depth), np.zeros_like(depth)
    reach = 0.5 * place.scale
    for frame in range(frames):
        pose = camera.camera_to_world[frame]
        surface, foot, plane = _plane_seen(rays[frame], pose, place)
        lean = normal[frame] @ surface
        known = np.isfinite(depth[frame])
        if measured:
            off = (rays[frame] * np.where(known, depth[frame], 0.0)[..., None] - foot) @ surface
            under[frame] = known * (off > -0.1 * place.scale)
            continue
        floor = known & (lean > _LEVEL) & np.isfinite(plane)
        seen, error = _on_plane(depth[frame], plane, floor)
        margin = 1 - max(_NEARER, 3 * error)
        off = known & (seen < margin * (-foot[2] - reach)) & (seen < margin * plane)
        near = _touching(off, lean < _FLOOR)
        before[frame] = cv2.morphologyEx(near.astype(np.float32), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
        before[frame] = _without_spots(_standing(before[frame], plane < -foot[2]))
        below = np.isfinite(plane) & (seen * margin > (1 + _BEYOND) * plane)
        under[frame] = known & ~below & ~near
    return before[..., None], under[..., None].astype(np.float32)


def off_plane(
    camera: Camera, gbuffers: Mapping[str, np.ndarray], place: Stand, *, measured: bool
) -> tuple[np.ndarray, float]:
    """The first frame's depth (H, W), if estimated brought onto the plane of a thing, and how far floors are off it."""
    depth, normal = gbuffers["depth"][0, ..., 0], gbuffers["normal"][0]
    if measured:
        return depth, 0.0
    rays = camera.at(slice(1)).rays(*depth.shape).reshape(*depth.shape, 3)
    surface, _, plane = _plane_seen(rays, camera.camera_to_world[0], place)
    return _on_plane(depth, plane, np.isfinite(depth) & (normal @ surface > _LEVEL) & np.isfinite(plane))


def _plane_seen(rays: np.ndarray, pose: np.ndarray, place: Stand) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A thing's plane as a camera sees it: its normal and the foot (3,), its depth (H, W), +inf where there is none."""
    surface, foot = pose[:3, :3].T @ place.normal, pose[:3, :3].T @ (place.position - pose[:3, 3])
    falling = rays @ surface
    return surface, foot, np.where(falling < -1e-3, (foot @ surface) / np.minimum(falling, -1e-3), np.inf)


class Passers:
    """Things that pass before a still camera, nearer than what stands there: seen against the median of the film.

    frames: (H, W, 3) uint8. camera: of the first frame, at the size (h, w) of the networks' picture. Something nearer
    touches the surface at a lower place of the picture; where the whole picture changes, nothing is said to pass.
    """

    def __init__(self, frames: Sequence[np.ndarray], camera: Camera, seen: tuple[int, int], stands: Sequence[Stand]):
        self._size = fitted(frames[0].shape[:2], _LOOKED_AT)
        step = max(1, len(frames) // _MEDIAN_OF)
        shrunk = np.stack([self._shrunk(frame) for frame in frames[::step]])
        self._rest = np.median(shrunk, axis=0) if len(shrunk) >= _LEAST_FRAMES else None
        self._noise = 4 * float(np.median(np.abs(shrunk - np.median(shrunk, axis=0)))) + _CHANGED
        first = camera.at(slice(1)).resized(seen, self._size)
        rays, pose = first.rays(*self._size), first.camera_to_world[0]
        self._near = np.ones(self._size, dtype=bool)  # where the surface is nearer than everything that stands on it
        for one in stands:
            _, foot, plane = _plane_seen(rays, pose, one)
            self._near &= plane < -foot[2] - 0.5 * one.scale
        rows = np.arange(self._size[0])[:, None]
        self._lowest = np.where(self._near, rows, self._size[0]).min(axis=0)  # (w,)

    def _shrunk(self, frame: np.ndarray) -> np.ndarray:
        return cv2.resize(frame, self._size[::-1], interpolation=cv2.INTER_AREA).astype(np.float32)

    def before(self, frame: np.ndarray) -> np.ndarray:
        """1 where something nearer passes in a frame, (y, x, 1), at a size of its own."""
        found = np.zeros(self._size, dtype=np.float32)
        if self._rest is None:
            return found[..., None]
        moved = (np.abs(self._shrunk(frame) - self._rest).max(axis=-1) > self._noise).astype(np.uint8)
        moved = cv2.morphologyEx(cv2.morphologyEx(moved, cv2.MORPH_OPEN, _DISK), cv2.MORPH_CLOSE, _DISK)
        if moved.mean() > _MOST_CHANGED:
            return found[..., None]
        count, labels, stats, _ = cv2.connectedComponentsWithStats(moved)
        for number in range(1, count):
            _, top, _, height, area = stats[number]
            feet = top + height - 1
            under = np.flatnonzero(labels[feet] == number)
            if area > _SPOT / 4 * moved.size and (feet > self._lowest[under]).all():
                found[labels == number] = 1
        return found[..., None]


def _on_plane(depth: np.ndarray, plane: np.ndarray, floor: np.ndarray) -> tuple[np.ndarray, float]:
    """Depth (H, W) scaled and shifted so that floors lie on the plane, and how far they are off (share, robust)."""
    if floor.sum() < 50:
        return depth, 1.0
    known, wanted = depth[floor], plane[floor]
    weight = np.ones(len(known))
    scale, shift = 1.0, 0.0
    for _ in range(8):
        rows = np.stack([known, np.ones_like(known)], axis=1) / wanted[:, None]
        (scale, shift), *_ = np.linalg.lstsq(rows * weight[:, None], weight, rcond=None)
        residual = np.abs(rows @ (scale, shift) - 1)
        weight = 1 / np.sqrt(1 + (residual / (1.5 * np.median(residual) + 1e-6)) ** 2)
    if scale <= 0:
        return depth, 1.0
    return scale * depth + shift, float(np.median(residual))


def _touching(mask: np.ndarray, sure: np.ndarray) -> np.ndarray:
    """The parts of a mask (H, W) that are somewhere `sure`: the top of a thing looks up, as floors do."""
    labels = cv2.connectedComponents(mask.astype(np.uint8))[1]
    return mask & np.isin(labels, labels[mask & sure])


def _standing(mask: np.ndarray, nearer: np.ndarray) -> np.ndarray:
    """A mask (H, W) where what it shows touches the plane, in the same column, at a place that is `nearer` (H, W)."""
    count, found = cv2.connectedComponents((mask > 0).astype(np.uint8))
    labels: np.ndarray = found.astype(int)
    rows, columns = np.nonzero(labels)
    lowest = np.zeros((count, mask.shape[1]), dtype=int)
    np.maximum.at(lowest, (labels[rows, columns], columns), rows)
    kept = np.zeros_like(mask)
    kept[rows, columns] = nearer[lowest[labels[rows, columns], columns], columns]
    return kept


def _without_spots(mask: np.ndarray) -> np.ndarray:
    """A mask (H, W) without parts that are too small to be a thing."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats((mask > 0).astype(np.uint8))
    keep = stats[:, cv2.CC_STAT_AREA] > _SPOT * mask.size
    keep[0] = False
    return mask * keep[labels] if count > 1 else mask


def upright(up: np.ndarray) -> np.ndarray:
    """Rotation (3, 3) that takes z to `up` by the shortest way."""
    if up[2] < -1 + 1e-9:
        return np.diag([1.0, -1.0, -1.0])
    axis = np.array([-up[1], up[0], 0.0])  # z x up
    cross = np.array([[0.0, 0.0, axis[1]], [0.0, 0.0, -axis[0]], [-axis[1], axis[0], 0.0]])
    return np.eye(3) + cross + cross @ cross / (1 + up[2])


def facing(toward: np.ndarray, up: np.ndarray) -> float:
    """Radians about `up` by which a thing turns its front, -y, in a direction (3,)."""
    x, y, _ = upright(up).T @ toward
    return float(np.arctan2(y, x) + np.pi / 2)


def _about_z(angle: float) -> np.ndarray:
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])


def _unit(vector: np.ndarray) -> np.ndarray:
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-9))


def reached(camera: Camera, stands: Sequence[Stand], size: tuple[int, int]) -> dict[int, tuple[Part, Part]]:
    """By frame in which they are seen: what things reach in the picture (H, W), and what they and their shadows do.

    Each of the two has one size in all frames. Empty where no thing is ever seen.
    """
    across, up = np.linspace(-1.0, 1.0, 33), np.linspace(0.0, 1.05, 9)
    box = np.stack(np.meshgrid(0.75 * across, 0.75 * across, up), axis=-1).reshape(-1, 3)  # at any angle of a spin
    ground = np.stack(np.meshgrid(_REACH * across, _REACH * across, [0.0]), axis=-1).reshape(-1, 3)
    things, reach = (
        _seen(camera, np.concatenate([shape @ one.object_to_world[:3, :3].T + one.position for one in stands]), size)
        for shape in (box, np.concatenate([box, ground]))
    )
    if not things:
        return {}
    around = np.array(list(reach.values()))
    middles = (around[:, :2] + around[:, 2:]) // 2
    found = [things.get(frame, (*middle, *middle)) for frame, middle in zip(reach, middles, strict=True)]
    parts = _of_one_size(np.array(found), size)
    both = [np.minimum(parts, around)[:, :2], np.maximum(parts, around)[:, 2:]]
    pairs = np.stack([parts, _of_one_size(np.concatenate(both, axis=1), size)], axis=1).tolist()
    return {frame: (tuple(part), tuple(wide)) for frame, (part, wide) in zip(reach, pairs, strict=True)}


def _seen(camera: Camera, points: np.ndarray, size: tuple[int, int]) -> dict[int, Part]:
    """The part of the picture (H, W) that world points (N, 3) reach, by frame in which they reach any."""
    found = {}
    for frame, (pixels, depth) in enumerate(zip(*camera.project(points), strict=True)):
        before = pixels[depth > 1e-6]
        if not len(before):
            continue
        ends = np.floor(before.min(axis=0)), np.ceil(before.max(axis=0))
        (left, top), (right, bottom) = np.clip(ends, 0, size[::-1]).astype(int).tolist()
        if min(bottom - top, right - left) > 1:
            found[frame] = top, left, bottom, right
    return found


def _of_one_size(parts: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Parts (n, 4) of the picture (H, W), grown to the largest height and width among them."""
    sides = (parts[:, 2:] - parts[:, :2]).max(axis=0)
    first = np.clip((parts[:, :2] + parts[:, 2:] - sides) // 2, 0, size - sides)
    return np.concatenate([first, first + sides], axis=1)
