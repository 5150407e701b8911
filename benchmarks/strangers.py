"""Read every file of a folder of strangers' content, and compare its values with an independent reader's.

    python -m benchmarks.strangers FOLDER

Lights (.hdr, .exr), pictures as frames and masks, texture folders, meshes (imported in a process of their own) and
videos: accepted, refused by reason, and how many agree with OpenCV (pictures, Radiance, videos) or trimesh (meshes)
where that is installed. Disagreements are listed.
"""

from __future__ import annotations

import argparse
import importlib
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from datagen.assets.isolation import ImportProcess
from labeling.sources.discovery import discover
from labeling.sources.frame_reader import open_footage
from manifests.codec.light_file import read_light
from manifests.errors import LightloomError
from manifests.picture_file import read_picture
from scenes.providers.file_checks import ENVIRONMENT_SUFFIXES, MESH_SUFFIXES, shown
from scenes.providers.folder import folder_catalogue

PICTURES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"}
VIDEOS = {".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v"}
_MOST_PIXELS = 64 << 20
_CODE = 3.0  # of 255, on average: decoders round chroma differently
_SHARE = 2e-3
_LENGTH = 1e-3

Told = tuple[str, str]
"""A verdict: (accepted, or the reason; how it compares: "", "agrees" or what differs)."""


def _installed(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def light(path: Path) -> Told:
    """A light, and OpenCV's pixels of a Radiance file."""
    image = read_light(path)
    cv2 = _installed("cv2")
    other = None if cv2 is None or path.suffix.lower() == ".exr" else cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if other is None or other.ndim != 3:
        return "accepted", ""
    wrong = float(np.abs(image - other[..., ::-1]).mean() / max(float(image.mean()), 1e-9))
    return "accepted", "agrees" if wrong < _SHARE else f"mean differs by {100 * wrong:.2f} %"


def picture(path: Path) -> Told:
    """A picture as a frame, and OpenCV's, which carries out orientation marks, too."""
    found = read_picture(path, _MOST_PIXELS)
    cv2 = _installed("cv2")
    other = None if cv2 is None else cv2.imread(str(path), cv2.IMREAD_COLOR)
    if other is None:
        return "accepted", ""
    mine = (found.values * 255).astype(np.float32)
    if mine.shape != other.shape:
        return "accepted", f"{mine.shape} for {other.shape}"
    wrong = float(np.abs(mine - other[..., ::-1]).mean())
    return "accepted", "agrees" if wrong < _CODE else f"{wrong:.1f} codes off"


def mask(path: Path) -> Told:
    """The same picture as a mask."""
    read_picture(path, _MOST_PIXELS).mask()
    return "accepted", ""


def mesh(path: Path, process: ImportProcess) -> Told:
    """An imported mesh, and the size that trimesh finds (y up, but for files that say otherwise)."""
    verdict = process.examine(path)
    if verdict.reason:
        return verdict.reason, ""
    trimesh = _installed("trimesh")
    if trimesh is None:
        return "accepted", ""
    try:
        x, y, z = (float(side) for side in trimesh.load_scene(path).extents)
    except Exception:  # a reader of formats of its own, with errors of its own
        return "accepted", ""
    told = (x, y, z) if path.suffix.lower() in (".ply", ".stl") else (x, z, y)
    agree = np.allclose(verdict.size, told, rtol=_LENGTH)
    return "accepted", "agrees" if agree else f"{verdict.size} for {(x, y, z)}"


def video(path: Path) -> Told:
    """A film's frames, and OpenCV's number and first of them."""
    found = discover(path)
    if not found.footage:
        return (found.problems[0].reason if found.problems else "not found"), ""
    frames, first = 0, None
    with open_footage(found.footage[0]) as reader:
        for frame in reader:
            first, frames = (frame.rgb if first is None else first), frames + 1
    cv2 = _installed("cv2")
    if cv2 is None or first is None:
        return "accepted", ""
    capture, count, seen = cv2.VideoCapture(str(path)), 0, None
    while (read := capture.read())[0]:
        seen, count = (read[1] if seen is None else seen), count + 1
    if seen is None:
        return "accepted", ""
    if frames != count or first.shape != seen.shape:
        return "accepted", f"{frames} frames of {first.shape} for {count} of {seen.shape}"
    wrong = float(np.abs(first.astype(np.float32) - seen[..., ::-1]).mean())
    return "accepted", "agrees" if wrong < _CODE else f"{wrong:.1f} codes off"


def _scan(title: str, paths: list[Path], root: Path, read: Callable[[Path], Told]) -> list[str]:
    """Lines for one kind: counts, refusals by reason, and each disagreement."""
    counts: Counter[str] = Counter()
    lines: list[str] = []
    for path in paths:
        name = shown(path.relative_to(root).as_posix())
        try:
            verdict, compared = read(path)
        except (LightloomError, ValueError, OverflowError) as error:
            reason = " ".join(str(error).split()).replace(str(path), "").strip(": ")
            verdict, compared = getattr(error, "reason", "refused"), ""
            lines.append(f"  {name}: {reason}")
        counts[verdict] += 1
        if compared:
            counts["agrees" if compared == "agrees" else "differs"] += 1
        if compared not in ("", "agrees"):
            lines.append(f"  {name}: {compared}")
    told = ", ".join(f"{number} {what}" for what, number in counts.most_common()) or "none"
    return [f"{title:<9} {len(paths):>4} files: {told}", *lines]


def main() -> None:
    """Print the table of a folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    root = parser.parse_args().folder.resolve()
    files = sorted(Path(folder) / name for folder, _, names in os.walk(root) for name in names)

    def of(suffixes: set[str] | frozenset[str]) -> list[Path]:
        return [path for path in files if path.suffix.lower() in suffixes]

    print(*_scan("lights", of(ENVIRONMENT_SUFFIXES), root, light), sep="\n")
    print(*_scan("pictures", of(PICTURES), root, picture), sep="\n")
    print(*_scan("masks", of(PICTURES), root, mask)[:1], sep="\n")
    catalogue = folder_catalogue(root, "strangers")
    sets = [asset for asset in catalogue.assets if asset.kind == "material"]
    print(f"textures  {len(sets):>4} sets")
    print(*(f"  {problem.path}: {problem.reason}" for problem in catalogue.problems), sep="\n")
    with ImportProcess() as process:
        print(*_scan("meshes", of(MESH_SUFFIXES), root, lambda path: mesh(path, process)), sep="\n")
    print(*_scan("videos", of(VIDEOS), root, video), sep="\n")


if __name__ == "__main__":
    main()
