"""What `lightloom relight` and `edit` cost on a film, and how much they flicker, beside another checkout.

    python -m benchmarks.relighting FILM [--frames 48] [--size 1920x1080] [--against CHECKOUT] [--edit X,Y] [OPTIONS]

FILM is cut and brought to the size first; other options go to the command. Each line is a process of its own: wall
clock, processor time of the program and of the system, peak resident memory, seconds until its progress moves. Flicker
is the mean change between neighbouring frames along the optical flow of the input (DIS), of the logarithm of what a
screen shows, over that of the input: 1 adds nothing.
"""

from __future__ import annotations

import argparse
import os
import re
import select
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path

import cv2
import numpy as np

from editing.film import VideoWriter, open_video, steady

_LIGHTS = ("courtyard", "studio/0003", "spruit_sunrise")
_SIDE = 640
_LIFT = 0.04
_MOVED = re.compile(rb"\s([1-9]\d*)%\|")
_PROGRAM = "import sys; from lightloom.cli import main; sys.exit(main())"


@dataclass(frozen=True)
class Cost:
    """One run: seconds of wall clock, of the program and of the system; peak MB; seconds until progress moved."""

    wall: float
    user: float
    system: float
    resident: float
    first: float


def cut(film: Path, frames: int, size: tuple[int, int], out: Path) -> None:
    """The first frames of a film as an mp4 of `size` (H, W)."""
    with open_video(film) as reader, VideoWriter(out, size, reader.fps) as video:
        for rgb, _ in islice(steady(reader), frames):
            video.write(cv2.resize(rgb, size[::-1], interpolation=cv2.INTER_CUBIC))


def measured(words: Sequence[str], checkout: Path) -> Cost:
    """What a `lightloom` command of a checkout costs; RuntimeError where it fails."""
    begun, first, said = time.monotonic(), float("nan"), b""
    read, write = os.pipe()
    child = os.posix_spawn(
        sys.executable,
        [sys.executable, "-c", _PROGRAM, *words],
        os.environ | {"PYTHONPATH": str(checkout)},
        file_actions=[(os.POSIX_SPAWN_DUP2, write, 1), (os.POSIX_SPAWN_DUP2, write, 2), (os.POSIX_SPAWN_CLOSE, read)],
    )
    os.close(write)
    while select.select([read], [], [])[0] and (part := os.read(read, 1 << 16)):
        said = (said + part)[-(1 << 16) :]
        if np.isnan(first) and _MOVED.search(said):
            first = time.monotonic() - begun
    os.close(read)
    _, status, used = os.wait4(child, 0)
    if status:
        raise RuntimeError(f"{' '.join(words)}: {said.decode(errors='replace')[-2000:]}")
    return Cost(time.monotonic() - begun, used.ru_utime, used.ru_stime, used.ru_maxrss / 1024, first)


def flicker(before: Path, after: Path) -> float:
    """Change between frames along the flow of `before`, of `after` over that of `before`."""
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    changes: list[tuple[float, float]] = []
    for (old, made), (old_next, made_next) in pairwise(zip(_small(before), _small(after), strict=True)):
        greys = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in (old_next, old)]
        height, width = greys[0].shape
        grid = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).astype(np.float32)
        at = grid + flow.calc(*greys, None)
        changes.append(tuple(_change(first, second, at) for first, second in ((old, old_next), (made, made_next))))
    return float(np.divide(*np.mean(changes, axis=0)[::-1]))


def _change(first: np.ndarray, second: np.ndarray, at: np.ndarray) -> float:
    """Mean change of the logarithm, from a frame to the next one, whose pixels come from `at`."""
    logs = [np.log(frame.astype(np.float32) / 255 + _LIFT) for frame in (first, second)]
    led = cv2.remap(logs[0], at, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=(9, 9, 9))
    return float(np.abs(logs[1] - led)[led[..., 0] < 1].mean())


def _small(film: Path) -> Iterator[np.ndarray]:
    with open_video(film) as reader:
        for rgb, _ in steady(reader):
            scale = min(1.0, _SIDE / max(rgb.shape))
            yield cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("film", type=Path)
    parser.add_argument("--frames", type=int, default=48)
    parser.add_argument("--size", default="1920x1080")
    parser.add_argument("--against", type=Path, help="another checkout of the project, measured first")
    parser.add_argument("--edit", help="pixel X,Y to pick; edits instead of relighting")
    parser.add_argument("--lights", type=int, default=2, help="the most lights at once")
    given, options = parser.parse_known_args()
    width, height = map(int, given.size.split("x"))
    here = Path(__file__).parents[1]
    with tempfile.TemporaryDirectory() as scratch:
        film, out = Path(scratch) / "film.mp4", Path(scratch) / "out.mp4"
        cut(given.film, given.frames, (height, width), film)
        print("| checkout | command | wall s | user s | system s | MB | first progress s | flicker |\n|" + "---|" * 8)
        for checkout in [given.against, here] if given.against else [here]:
            for count in [0] if given.edit else range(1, given.lights + 1):
                command = ["edit", str(film), "--pick", given.edit, "--set", "basecolor=#c02020"]
                if count:
                    command = ["relight", str(film), "--env", *_LIGHTS[:count]]
                cost = measured([*command, "--out", str(out), *options], checkout)
                shown = f"{flicker(film, out):.2f}" if count < 2 else ""
                name = f"relight, {count} lights" if count else "edit"
                print(
                    f"| {checkout.name} | {name} | {cost.wall:.0f} | {cost.user:.0f} | {cost.system:.0f} | "
                    f"{cost.resident:.0f} | {cost.first:.1f} | {shown} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
