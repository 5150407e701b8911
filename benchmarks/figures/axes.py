"""One figure for each frame of reference of docs/conventions.md. Nothing is placed by hand: points in space go through
the product's camera, directions through its environment, values are read off rendered clips."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from benchmarks.figures.drawing import BLUE, GREEN, INK, PALE, RED, WARM, Point, Sheet
from benchmarks.figures.stage import (
    ASIDE,
    BETWEEN,
    CAMERA,
    FRONT,
    OUTSIDE,
    ball_row,
    letters_scene,
    rendered,
    still_life,
)
from manifests.contract.camera import Camera
from manifests.contract.clip import Clip
from manifests.contract.color import srgb_encode
from manifests.contract.environment import camera_directions

_AXES = ((RED, "x"), (GREEN, "y"), (BLUE, "z"))


def world() -> Sheet:
    """World axes over a rendered scene."""
    clip = rendered(still_life(OUTSIDE, (640, 420)))
    sheet = Sheet(640, 420)
    sheet.picture(shown(clip), (0, 0))
    seen = _projector(clip.camera)
    for k in range(-2, 3):
        sheet.line([seen((k, -2, 0)), seen((k, 2, 0))], PALE, 0.8)
        sheet.line([seen((-2, k, 0)), seen((2, k, 0))], PALE, 0.8)
    for axis, (colour, name) in zip(np.eye(3) * 1.3, _AXES, strict=True):
        sheet.arrow(seen((0, 0, 0)), seen(axis), colour)
        sheet.text(seen(axis * 1.1), name, colour, 20, "mm")
    sheet.dot(seen((0, 0, 0)))
    sheet.text((12, 382), "world: right-handed, z up; the ground is z = 0")
    sheet.text((12, 404), "one square is one scene unit", size=13)
    return sheet


def camera() -> Sheet:
    """A camera seen from outside, and what it sees."""
    outside, inside = rendered(still_life(ASIDE, (480, 400))), rendered(still_life(CAMERA, (320, 240)))
    sheet = Sheet(840, 400)
    sheet.picture(shown(outside), (0, 0))
    seen, pose = _projector(outside.camera), inside.camera.camera_to_world[0]

    def of(point: tuple[float, float, float]) -> Point:
        return seen(pose[:3, :3] @ np.asarray(point) + pose[:3, 3])

    corners = [ray * 0.9 for ray in _corners(inside.camera, (240, 320))]
    for corner in corners:
        sheet.line([of((0, 0, 0)), of(corner)], INK)
    sheet.line([of(corner) for corner in (*corners, corners[0])], INK)
    for axis, (colour, name) in zip(np.eye(3) * 0.75, _AXES, strict=True):
        sheet.arrow(of((0, 0, 0)), of(axis), colour)
        sheet.text(of(axis * 1.2), name, colour, 18, "mm")
    sheet.dot(of((0, 0, 0)))
    sheet.text((12, 20), "camera: x right, y up, z toward the viewer")
    sheet.text((12, 382), "what is in front of the camera has negative z", size=13)
    left, top = 500, 70
    sheet.picture(shown(inside), (left, top))
    sheet.text((left, top - 14), "the picture it takes", size=14)
    middle = (left + 160, top + 120)
    sheet.arrow(middle, (middle[0] + 90, middle[1]), RED)
    sheet.text((middle[0] + 104, middle[1]), "x", RED, 18, "mm")
    sheet.arrow(middle, (middle[0], middle[1] - 85), GREEN)
    sheet.text((middle[0], middle[1] - 98), "y", GREEN, 18, "mm")
    sheet.circle(middle, 9, BLUE, 3)
    sheet.dot(middle, BLUE, 3)
    sheet.text((middle[0] - 18, middle[1] + 16), "z, out of the page", BLUE, 14, "rm")
    return sheet


def image() -> Sheet:
    """Pixel coordinates, and where a point of the world falls."""
    clip = rendered(still_life(CAMERA, (320, 240)))
    sheet = Sheet(840, 392)
    left, top, zoom = 70, 70, 1.0
    sheet.picture(shown(clip), (left, top))
    sheet.arrow((left, top), (left + 350, top), RED)
    sheet.text((left + 362, top), "u", RED, 18, "mm")
    sheet.arrow((left, top), (left, top + 268), GREEN)
    sheet.text((left, top + 282), "v", GREEN, 18, "mm")
    sheet.dot((left, top))
    sheet.text((left - 8, top - 14), "(0, 0)", size=14, anchor="rm")
    sheet.text((left + 320, top + 240 + 14), "(W, H) = (320, 240)", size=14, anchor="rm")
    point = np.array([-1.0, 0.75, 0.0])
    (u, v), depth = _seen_at(clip.camera, point)
    sheet.dot((left + zoom * u, top + zoom * v), WARM)
    sheet.text((left + 14, top + 304), f"world (-1, 0.75, 0) is seen at ({u:.1f}, {v:.1f}), depth {depth:.2f}", size=13)
    grid_left, grid_top, cell = 520, 96, 62
    sheet.text((grid_left, grid_top - 26), "the first pixels", size=14)
    first = shown(clip)[:3, :4]
    sheet.picture(0.35 * first + 0.65, (grid_left, grid_top), (4 * cell, 3 * cell), smooth=False)
    for row in range(3):
        for column in range(4):
            x, y = grid_left + (column + 0.5) * cell, grid_top + (row + 0.5) * cell
            sheet.dot((x, y), INK, 2.5)
            sheet.text((x, y + 14), f"({column + 0.5}, {row + 0.5})", size=11, anchor="mm", halo=False)
    for k in range(5):
        sheet.line([(grid_left + k * cell, grid_top), (grid_left + k * cell, grid_top + 3 * cell)], PALE)
    for k in range(4):
        sheet.line([(grid_left, grid_top + k * cell), (grid_left + 4 * cell, grid_top + k * cell)], PALE)
    sheet.dot((grid_left, grid_top))
    sheet.text((grid_left, grid_top + 3 * cell + 22), "pixel centres lie at half-integers", size=14)
    sheet.text((12, 20), "image: origin in the top-left corner, u right, v down, in pixels")
    return sheet


def depth() -> Sheet:
    """Three balls at one planar depth."""
    clip = rendered(ball_row((420, 240)))
    plane = clip.arrays["depth"][0, ..., 0]
    near, far = plane[np.isfinite(plane)].min(), plane[np.isfinite(plane)].max()
    sheet = Sheet(840, 330)
    left, top = 12, 56
    sheet.picture(np.where(np.isfinite(plane), 1 - 0.8 * (plane - near) / (far - near), 0.0), (left, top))
    sheet.text((12, 20), "depth is -z of the camera frame, not the length of the ray")
    sheet.text((12, 314), "near is bright; the background is black: +inf", size=13)
    rays = clip.camera.rays(*clip.size)
    instances = clip.arrays["instance"][0, ..., 0]
    origin, scale = (640.0, 306.0), 62.0
    sheet.line([(460, 306), (820, 306)], PALE)
    sheet.text((820, 318), "the camera, from above", size=13, anchor="rm")
    for number, colour in ((2, RED), (3, GREEN), (4, BLUE)):
        inside = instances == number
        row, column = np.unravel_index(np.argmin(np.where(inside, plane, np.inf)), plane.shape)
        value = float(plane[row, column])
        ray = rays[row, column] * value
        sheet.dot((left + column + 0.5, top + row + 0.5), colour)
        foot = (origin[0] + scale * ray[0], origin[1] - scale * value)
        sheet.line([origin, foot], colour, 2)
        sheet.dot(foot, colour)
        sheet.text((foot[0], foot[1] - 30), f"depth {value:.2f}", colour, 14, "mm")
        sheet.text((foot[0], foot[1] - 14), f"ray {np.linalg.norm(ray):.2f}", PALE, 13, "mm")
    sheet.dot(origin)
    return sheet


def normals() -> Sheet:
    """The normals of a ball."""
    clip = rendered(letters_scene(FRONT, (320, 320)))
    field = clip.arrays["normal"][0]
    sheet = Sheet(760, 400)
    left, top = 60, 56
    sheet.picture(0.5 * field + 0.5, (left, top))
    sheet.text((12, 20), "normals are in the camera's frame; shown as 0.5 n + 0.5")
    inside = clip.arrays["mask"][0, ..., 0] > 0.99
    rows, columns = np.nonzero(inside)
    middle = (rows.mean(), columns.mean())
    wanted = {"left": (-0.8, 0.0), "right": (0.8, 0.0), "top": (0.0, 0.8), "bottom": (0.0, -0.8), "middle": (0.0, 0.0)}
    for number, (x, y) in enumerate(wanted.values()):
        target = np.array([x, y, np.sqrt(1 - x * x - y * y)])
        row, column = np.unravel_index(np.argmax(np.where(inside, field @ target, -2)), inside.shape)
        value = field[row, column] + 0.0
        at = (left + column + 0.5, top + row + 0.5)
        sheet.arrow(at, (at[0] + 46 * value[0], at[1] - 46 * value[1]), INK, 2)
        sheet.dot(at, WARM)
        sheet.text((at[0] + 8, at[1] + 15), "abcde"[number], size=15)
        words = ", ".join(f"{v:5.2f}" for v in np.round(value, 2) + 0.0)
        sheet.text((440, 96 + 30 * number), f"{'abcde'[number]}   ({words})", size=15, halo=False)
    assert abs(middle[0] - 160) < 2 and abs(middle[1] - 160) < 2
    sheet.text((440, 66), "n = (x, y, z) at the marked pixels", size=14, halo=False)
    sheet.text((440, 260), "x right (red), y up (green),", size=14, halo=False)
    sheet.text((440, 282), "z toward the viewer (blue)", size=14, halo=False)
    sheet.text((440, 318), "background: (0, 0, 1)", size=14, halo=False)
    sheet.arrow((left, top + 320), (left + 60, top + 320), RED)
    sheet.text((left + 72, top + 320), "x", RED, 18, "mm")
    sheet.arrow((left, top + 320), (left, top + 260), GREEN)
    sheet.text((left, top + 246), "y", GREEN, 18, "mm")
    return sheet


def environment() -> Sheet:
    """The stored image, and what turns with its rotation."""
    clip = rendered(letters_scene(BETWEEN, (400, 270), turn=45.0))
    stored = srgb_encode(clip.environment.image)
    sheet = Sheet(840, 640)
    width, height, left, top = 540, 270, 12, 44
    sheet.text((12, 20), "the stored image: the environment's own frame, z up")
    sheet.picture(stored, (left, top), (width, height))
    for u, words, anchor in ((0.0, "u = 0", "lm"), (0.5, "u = 0.5", "mm"), (1.0, "u = 1", "rm")):
        sheet.line([(left + u * width, top + height), (left + u * width, top + height + 6)])
        sheet.text((left + u * width, top + height + 16), words, size=13, anchor=anchor)
    sheet.text((left + width / 2, top + 14), "v = 0: up, +z", size=13, anchor="mm")
    sheet.text((left + width / 2, top + height - 14), "v = 1: down, -z", size=13, anchor="mm")
    notes = (
        "u = 0.5 - atan2(y, x) / 2 pi",
        "v = acos(z) / pi",
        "",
        "light that arrives from world",
        "direction d in frame t is",
        "image(R_t^T d)",
        "",
        "R_t turns the light: what the",
        "image has at +x comes from",
        "R_t (1, 0, 0) in the world.",
        "",
        "(discs below: seen from above;",
        "black: the way the camera looks)",
    )
    for number, words in enumerate(notes):
        sheet.text((572, 54 + 20 * number), words, size=14, halo=False)
    for frame, (x, name) in enumerate(((12, "R_0: not turned"), (428, "R_1: turned by 45 degrees about z"))):
        y = 354
        sheet.picture(shown(clip, frame), (x, y))
        _compass(sheet, (x + 346, y + 214), clip.camera.camera_to_world[frame], clip.environment.rotation[frame])
        sheet.text((x + 6, y + 258), name, size=13)
    return sheet


def panorama() -> Sheet:
    """What the networks see of the light: the camera's frame."""
    clip = rendered(letters_scene(BETWEEN, (400, 300), turn=0.0))
    pose = clip.camera.camera_to_world[0]
    sheet = Sheet(840, 330)
    height, width, left, top = 256, 512, 12, 44
    sheet.picture(srgb_encode(clip.environment.in_camera(pose, 0, height, width)), (left, top))
    directions = camera_directions(height, width)
    marks = {
        "behind the camera, +z": (0, 0, 1),
        "right, +x": (1, 0, 0),
        "left, -x": (-1, 0, 0),
        "up, +y": (0, 1, 0),
        "down, -y": (0, -1, 0),
        "ahead, -z": (0, 0, -1),
    }
    for words, direction in marks.items():
        row, column = np.unravel_index(np.argmax(directions @ np.array(direction, float)), (height, width))
        if direction[1]:
            column = width // 2
        anchor = "lm" if column < 40 else "rm" if column > width - 40 else "mm"
        at = (left + column, top + float(row))
        sheet.dot(at, WARM, 3)
        sheet.text(
            (
                at[0] + {"lm": 8, "rm": -8, "mm": 0}[anchor],
                at[1] + (14 if direction[1] > 0 else -14 if direction[1] else 16),
            ),
            words,
            size=13,
            anchor=anchor,
        )
    sheet.text((12, 20), "the networks' light: the camera's frame, y up")
    sheet.text(
        (left, 316), "the edges meet straight ahead; +x is on the right, so letters read as in a mirror", size=13
    )
    sheet.picture(shown(clip), (548, 90), (280, 210))
    sheet.text((548, 76), "the camera sees", size=14)
    return sheet


FIGURES: dict[str, Callable[[], Sheet]] = {
    "world-axes": world,
    "camera-axes": camera,
    "image-axes": image,
    "depth": depth,
    "normals": normals,
    "environment": environment,
    "panorama": panorama,
}


def shown(clip: Clip, frame: int = 0) -> np.ndarray:
    """A frame as a viewer sees it, (H, W, 3) in [0, 1]."""
    return np.clip(srgb_encode(clip.exposure * clip.arrays["rgb"][frame]), 0, 1)


def _compass(sheet: Sheet, at: Point, pose: np.ndarray, rotation: np.ndarray) -> None:
    """From above: the world's axes (grey), the image's x and y, and which way the camera looks."""
    sheet.disc(at, 48, "white")
    for axis, (colour, name) in zip(np.eye(3)[:2], _AXES, strict=False):
        sheet.line([at, (at[0] + 34 * axis[0], at[1] - 34 * axis[1])], PALE, 1.5)
        turned = rotation @ axis
        sheet.arrow(at, (at[0] + 32 * turned[0], at[1] - 32 * turned[1]), colour, 2.5)
        sheet.text((at[0] + 42 * turned[0], at[1] - 42 * turned[1]), name, colour, 14, "mm", halo=False)
    ahead = -pose[:2, 2] / np.linalg.norm(pose[:2, 2])
    place = (at[0] - 38 * ahead[0], at[1] + 38 * ahead[1])
    sheet.arrow(place, (place[0] + 24 * ahead[0], place[1] - 24 * ahead[1]), INK, 2)
    sheet.dot(place, INK, 3)


def _seen_at(seer: Camera, point: np.ndarray, frame: int = 0) -> tuple[Point, float]:
    pixels, depths = seer.project(np.asarray(point, float)[None])
    return (float(pixels[frame, 0, 0]), float(pixels[frame, 0, 1])), float(depths[frame, 0])


def _projector(seer: Camera, frame: int = 0) -> Callable[[object], Point]:
    return lambda point: _seen_at(seer, np.asarray(point), frame)[0]


def _corners(seer: Camera, size: tuple[int, int]) -> list[np.ndarray]:
    rays = seer.rays(*size)
    return [rays[0, 0], rays[0, -1], rays[-1, -1], rays[-1, 0]]
