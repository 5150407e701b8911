"""The process in which `truth` renders: Blender, no torch. Arguments: catalogue, device, folders with a spec each."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import cast

from datagen.blender import session
from datagen.render_stage import render_spec
from editing.benchmark.truth import SPEC, finish
from manifests.errors import LightloomError
from pipeline.options import DeviceKind
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
