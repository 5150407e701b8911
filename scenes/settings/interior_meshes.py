"""The meshes of a room's shell: walls with openings, slabs, skirting, frames of windows and doors, curtains.

`flat_faces`, `bevelled_boxes` and `cells` are what furniture is made of, too. A fitting stands in the frame of its
wall: x along the wall, y into the room, z up, the wall's face at y = 0 and its middle over the origin.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import product

import numpy as np

from scenes.meshes import by_name
from scenes.meshgen.solids import frustum
from scenes.meshgen.surface import MeshData, grid, join, place, rotation

_SINK = 0.05
"""How far walls reach into floor and ceiling, so that no light passes between them."""

Numbers = Sequence[float]


# --- building blocks ---------------------------------------------------------------------------------------------


def flat_faces(points: np.ndarray, sizes: np.ndarray) -> MeshData:
    """Flat faces with vertices of their own: corners (L, 3), face after face, and corners of each face (F,).

    One UV unit is one length unit; faces in one plane continue each other's.
    """
    starts = np.cumsum(sizes) - sizes
    first = points[starts]
    normal = np.cross(points[starts + 1] - first, points[starts + 2] - first)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    upright = np.abs(normal[:, 2:]) < 0.9
    across = np.cross(np.where(upright, [[0.0, 0.0, 1.0]], [[0.0, 1.0, 0.0]]), normal)
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    face = np.repeat(np.arange(len(sizes)), sizes)
    uvs = np.stack([(points * across[face]).sum(axis=1), (points * np.cross(normal, across)[face]).sum(axis=1)], axis=1)
    return MeshData(points, np.arange(len(points)), sizes, uvs, np.zeros(len(sizes), bool))


@cache
def _bevelled_cube() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Signs and shrunk axes (24, 3) of the vertices; corners and sizes of the 26 faces."""
    vertices = [(sign, axis) for sign in product((-1, 1), repeat=3) for axis in range(3)]
    number = {vertex: row for row, vertex in enumerate(vertices)}
    signs = np.array([sign for sign, _ in vertices], float)
    shrunk = 1.0 - np.eye(3)[[axis for _, axis in vertices]]
    unit = signs * (1 - 0.2 * shrunk)
    faces: list[list[int]] = []
    for axis in range(3):
        a, b = (axis + 1) % 3, (axis + 2) % 3
        for side in (-1, 1):
            ring = [{axis: side, a: s, b: t} for s, t in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
            faces.append([number[(corner[0], corner[1], corner[2]), axis] for corner in ring])
        for s, t in product((-1, 1), repeat=2):
            ends = [{axis: end, a: s, b: t} for end in (-1, 1)]
            low, high = ((end[0], end[1], end[2]) for end in ends)
            faces.append([number[low, a], number[low, b], number[high, b], number[high, a]])
    faces += [[number[sign, axis] for axis in range(3)] for sign in product((-1, 1), repeat=3)]
    for face in faces:
        p, q, r = unit[face[:3]]
        if np.cross(q - p, r - p) @ unit[face].mean(axis=0) < 0:
            face.reverse()
    return signs, shrunk, np.concatenate([np.array(face) for face in faces]), np.array([len(face) for face in faces])


def bevelled_boxes(boxes: Sequence[Numbers] | np.ndarray, bevel: float = 0.004) -> MeshData:
    """Boxes with chamfered edges, rows (size x, y, z, centre x, y, z); the bevel is at most a fifth of a side."""
    rows = np.asarray(boxes, float).reshape(-1, 6)
    half, centre = rows[:, None, :3] / 2, rows[:, None, 3:]
    signs, shrunk, corners, sizes = _bevelled_cube()
    width = np.minimum(bevel, 0.4 * half.min(axis=2, keepdims=True))
    points = centre + signs * (half - shrunk * width)
    return flat_faces(points[:, corners].reshape(-1, 3), np.tile(sizes, len(rows)))


def cells(front: np.ndarray, back: np.ndarray, full: np.ndarray, open_ends: bool = False) -> MeshData:
    """A slab between two grids of points (R + 1, C + 1, 3), where `full` (R, C) says which cells are not holes.

    Outward of the front is (along columns) x (along rows). The slab is closed; `open_ends` leaves the faces at the
    first and last column out, where another slab goes on.
    """
    rows, columns = (index.ravel() for index in np.indices(full.shape))
    padded = np.pad(full, ((1, 1), (1, 1)))
    if open_ends:
        padded[:, [0, -1]] = True
    f, b = front, back

    def at(points: np.ndarray, down: int, right: int) -> np.ndarray:
        return points[rows + down, columns + right]

    quads: list[tuple[np.ndarray, tuple[np.ndarray, ...]]] = [
        (full.ravel(), (at(f, 0, 0), at(f, 0, 1), at(f, 1, 1), at(f, 1, 0))),
        (full.ravel(), (at(b, 0, 0), at(b, 1, 0), at(b, 1, 1), at(b, 0, 1))),
        (~padded[1:-1, :-2].ravel(), (at(b, 0, 0), at(f, 0, 0), at(f, 1, 0), at(b, 1, 0))),
        (~padded[1:-1, 2:].ravel(), (at(f, 0, 1), at(b, 0, 1), at(b, 1, 1), at(f, 1, 1))),
        (~padded[:-2, 1:-1].ravel(), (at(f, 0, 0), at(b, 0, 0), at(b, 0, 1), at(f, 0, 1))),
        (~padded[2:, 1:-1].ravel(), (at(b, 1, 0), at(f, 1, 0), at(f, 1, 1), at(b, 1, 1))),
    ]
    chosen = [np.stack(corners, axis=1)[here & full.ravel()] for here, corners in quads]
    points = np.concatenate(chosen).reshape(-1, 3)
    return flat_faces(points, np.full(len(points) // 4, 4))


# --- the shell ---------------------------------------------------------------------------------------------------


def edge_frames(corners: Numbers) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Of a counter-clockwise plan x0, y0, x1, y1, ...: starts (K, 2), directions, inward normals, lengths (K,)."""
    starts = np.asarray(corners, float).reshape(-1, 2)
    steps = np.roll(starts, -1, axis=0) - starts
    lengths = np.linalg.norm(steps, axis=1)
    along = steps / lengths[:, None]
    return starts, along, np.stack([-along[:, 1], along[:, 0]], axis=1), lengths


def outline(corners: Numbers, by: float) -> np.ndarray:
    """The corners (K, 2) of a right-angled plan moved outward by a distance."""
    starts, _, inward, _ = edge_frames(corners)
    return starts - by * (inward + np.roll(inward, 1, axis=0))


def room_walls(corners: Numbers, height: float, thickness: float, openings: Numbers = ()) -> MeshData:
    """Walls around a right-angled plan, one closed ring; openings are rows (edge, start, stop, sill, top)."""
    holes = np.asarray(openings, float).reshape(-1, 5)
    holes[:, 3] = np.where(holes[:, 3] <= 0, -_SINK / 2, holes[:, 3])  # a threshold lies under the floor
    z = np.unique(np.concatenate([[-_SINK, height + _SINK], holes[:, 3:].ravel()]))
    starts, along, inward, lengths = edge_frames(corners)
    corner = outline(corners, thickness)
    parts = []
    for edge, (start, step, normal, length) in enumerate(zip(starts, along, inward, lengths, strict=True)):
        own = holes[holes[:, 0] == edge]
        u = np.unique(np.concatenate([[0.0, length], own[:, 1:3].ravel()]))
        inner = start + u[:, None] * step
        outer = inner - thickness * normal
        outer[0], outer[-1] = corner[edge], corner[(edge + 1) % len(corner)]
        middle_u, middle_z = (u[1:] + u[:-1]) / 2, (z[1:] + z[:-1])[:, None] / 2
        full = np.ones((len(z) - 1, len(u) - 1), bool)
        for _, left, right, sill, top in own:
            full &= ~((middle_u > left) & (middle_u < right) & (middle_z > sill) & (middle_z < top))
        front, back = (
            np.concatenate([np.broadcast_to(points, (len(z), len(u), 2)), np.tile(z[:, None, None], (len(u), 1))], 2)
            for points in (outer, inner)
        )
        parts.append(cells(front, back, full, open_ends=True))
    return join(parts)


def room_slab(corners: Numbers, beyond: float, low: float, high: float) -> MeshData:
    """Floor or ceiling: a right-angled plan, moved outward by `beyond`, between two heights."""
    edge = outline(corners, beyond)
    x, y = np.unique(edge[:, 0].round(9)), np.unique(edge[:, 1].round(9))
    middle = np.stack(np.meshgrid((x[1:] + x[:-1]) / 2, (y[1:] + y[:-1]) / 2), axis=-1)
    a, b = edge, np.roll(edge, -1, axis=0)
    right = (a[:, 0] > middle[..., :1]) & ((a[:, 1] > middle[..., 1:]) != (b[:, 1] > middle[..., 1:]))
    full = right.sum(axis=-1) % 2 == 1
    flat = np.stack(np.meshgrid(x, y), axis=-1)
    top, bottom = (np.concatenate([flat, np.full((*flat.shape[:2], 1), z)], axis=2) for z in (high, low))
    return cells(top, bottom, full)


def room_strip(corners: Numbers, low: float, high: float, depth: float, gaps: Numbers = ()) -> MeshData:
    """Skirting or cornice along all walls between two heights; gaps are rows (edge, start, stop)."""
    holes = np.asarray(gaps, float).reshape(-1, 3)
    starts, along, inward, lengths = edge_frames(corners)
    reflex = (np.roll(along, 1, axis=0) * inward).sum(axis=1) > 0  # the plan turns right there
    parts = []
    for edge, (start, step, normal, length) in enumerate(zip(starts, along, inward, lengths, strict=True)):
        # Each strip begins where the one before it ends: no two lie in the same place.
        ends = [0.0 if reflex[edge] else depth, length + (depth if reflex[(edge + 1) % len(starts)] else 0.0)]
        own = holes[holes[:, 0] == edge]
        cuts = np.concatenate([ends[:1], np.sort(own[:, 1:].ravel()), ends[1:]]).reshape(-1, 2)
        for left, right in cuts[cuts[:, 1] - cuts[:, 0] > 0.02]:
            bar = bevelled_boxes([[right - left, depth + 0.004, high - low, 0.0, 0.0, 0.0]])
            middle = start + (left + right) / 2 * step + (depth - 0.004) / 2 * normal
            parts.append(place(bar, [*middle, (low + high) / 2], rotation("z", _degrees(step))))
    return join(parts)


def _degrees(step: np.ndarray) -> float:
    return float(np.degrees(np.arctan2(step[1], step[0])))


# --- fittings ----------------------------------------------------------------------------------------------------


def window_frame(
    width: float, height: float, wall: float, bar: float, columns: int, rows: int, sill: float, casing: float
) -> MeshData:
    """Frame with mullions in an opening that begins at z = 0; an inner sill juts out by `sill`, boards of the width
    `casing` go round it on the wall."""
    deep, y = min(0.07, 0.6 * wall), -0.6 * wall
    boxes = [[bar, deep, height, side * (width - bar) / 2, y, height / 2] for side in (-1, 1)]
    boxes += [[width - 2 * bar, deep, bar, 0, y, z] for z in (bar / 2, height - bar / 2)]
    inner, tall, thin = width - 2 * bar, height - 2 * bar, 0.6 * bar
    boxes += [[thin, 0.8 * deep, tall, x, y, height / 2] for x in np.linspace(-inner / 2, inner / 2, columns + 1)[1:-1]]
    for z in np.linspace(bar, height - bar, rows + 1)[1:-1]:
        boxes.append([inner, 0.6 * deep, thin, 0, y, z])
    parts = [bevelled_boxes(boxes)]
    if sill > 0:
        long = width + 2 * max(casing, 0.05)
        parts.append(bevelled_boxes([[long, sill + 0.5 * wall, 0.03, 0, (sill - 0.5 * wall) / 2, 0.0]], 0.006))
    if casing > 0:
        parts.append(door_casing(width, height, casing))
    return join(parts)


def door_casing(width: float, height: float, casing: float) -> MeshData:
    """Boards on the wall along both sides and the top of an opening."""
    boxes = [[casing, 0.024, height, side * (width + casing) / 2, 0.008, height / 2] for side in (-1, 1)]
    return bevelled_boxes([*boxes, [width + 2 * casing, 0.026, casing, 0, 0.009, height + casing / 2]])


def door_leaf(width: float, height: float, panels: int) -> MeshData:
    """A closed door on the wall: a board with `panels` raised panels above each other in two columns, and a handle."""
    boxes = [[width, 0.02, height - 0.006, 0, 0.004, height / 2]]
    tall = (height - 0.12 * (panels + 1)) / max(panels, 1)
    for row in range(panels):
        z = 0.12 + tall / 2 + row * (tall + 0.12)
        boxes += [[width / 2 - 0.15, 0.012, tall, side * (width / 4 - 0.025), 0.016, z] for side in (-1, 1)]
    return bevelled_boxes(boxes, 0.006)


def door_handle(width: float) -> MeshData:
    """Plate and lever of a door of that width."""
    x = width / 2 - 0.07
    lever = place(frustum(0.009, 0.009, 0.12, 0.002, 16), [x - 0.045, 0.06, 1.03], rotation("y", 90))
    neck = place(frustum(0.009, 0.009, 0.05, 0.002, 16), [x, 0.035, 1.03], rotation("x", 90))
    return join([bevelled_boxes([[0.04, 0.008, 0.2, x, 0.017, 1.0]]), neck, lever])


def curtain(width: float, height: float, folds: int, depth: float, seed: int) -> MeshData:
    """A hanging cloth in folds, its lower edge at z = 0, gathered about y = 0."""
    rng = np.random.default_rng(seed)
    u, v = np.linspace(0.0, 1.0, 12 * folds + 1), np.linspace(0.0, 1.0, 9)[:, None]
    sway, phase = rng.uniform(-0.6, 0.6, 2), 2 * np.pi * folds * u
    wave = np.sin(phase + sway[0] * v + 0.5 * np.sin(3.1 * u + sway[1])) * (0.65 + 0.35 * v)
    shape = np.broadcast_shapes(wave.shape, u.shape)
    x = np.broadcast_to((u - 0.5) * width + 0.15 * width / folds * np.cos(phase), shape)
    z = np.broadcast_to(height * (1 - v), shape)
    front = np.stack([x, depth / 2 * wave, z], axis=-1)[::-1]
    back = front - [0.0, 0.006, 0.0]
    return join([grid(front[:, ::-1]), grid(back), _hem(front, back)])


def _hem(front: np.ndarray, back: np.ndarray) -> MeshData:
    """The rim between a front, which faces +y with columns along +x, and a back."""
    rim = [
        (edge(front), edge(back))
        for edge in (lambda p: p[0], lambda p: p[::-1, 0], lambda p: p[-1, ::-1], lambda p: p[:, -1])
    ]
    return join(grid(np.stack([near, far])) for near, far in rim)


def curtain_rod(width: float, radius: float) -> MeshData:
    """A rod along x with knobs at its ends."""
    rod = place(frustum(radius, radius, width, 0.0, 16), turn=rotation("y", 90))
    knobs = [
        place(frustum(2 * radius, 2 * radius, 3 * radius, radius, 16), [s * width / 2, 0, 0], rotation("y", 90))
        for s in (-1, 1)
    ]
    return join([rod, *knobs])


def blocks(boxes: Numbers) -> MeshData:
    """Beams, steps and the like: rows (size x, y, z, centre x, y, z)."""
    return bevelled_boxes(np.asarray(boxes, float), 0.012)


INTERIOR_PIECES = by_name(
    *(room_walls, room_slab, room_strip, blocks),
    *(window_frame, door_casing, door_leaf, door_handle, curtain, curtain_rod),
)
