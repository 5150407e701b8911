"""Draw the figures of docs/conventions.md: `python -m benchmarks.figures docs/images [NAME ...]`."""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.figures.axes import FIGURES
from datagen.blender import session


def main() -> int:
    """Write each figure to a WebP in the folder; all of them if none is named."""
    folder, *names = sys.argv[1:] or ["docs/images"]
    for name in names or FIGURES:
        FIGURES[name]().save(Path(folder) / f"{name}.webp")
        print(f"{folder}/{name}.webp", flush=True)
    return 0


if __name__ == "__main__":
    session.leave(main)
