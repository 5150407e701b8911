"""The process in which `truth` renders: `python -m lightloom.editbench.child CATALOGUE DEVICE FOLDER...`.

Each folder holds a spec, `spec.json`, and gets the files of its clip.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import cast

from datagen.blender import session
from datagen.choices import DeviceKind
from datagen.single import render_spec
from lightloom.editbench.truth import SPEC, finish
from manifests.errors import LightloomError
from scenes.catalogue import Catalogue


def main() -> int:
    """Render every folder's spec; the first failure is the last line of stderr."""
    catalogue, device, *folders = sys.argv[1:]
    assets = Catalogue.load(Path(catalogue))
    for folder in map(Path, folders):
        try:
            render_spec(folder / SPEC, folder, assets, "exact", cast(DeviceKind, device))
        except LightloomError as error:
            print(error, file=sys.stderr)
            return 1
        finish(folder)
    return 0


if __name__ == "__main__":
    session.leave(main)
