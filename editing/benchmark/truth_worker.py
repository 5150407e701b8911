"""The process in which `truth` renders: Blender, no torch. Arguments: catalogue, device, folders to make."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import cast

from datagen.blender import session
from datagen.child import end_with_parent
from datagen.render_stage import render_spec
from editing.benchmark.truth import spec_file
from manifests.errors import LightloomError
from manifests.files import atomic_folder
from pipeline.options import DeviceKind
from scenes.catalogue import Catalogue


def main() -> int:
    """Render the spec of every folder that is named; the first failure is the last line of stderr."""
    end_with_parent()
    catalogue, device, *places = sys.argv[1:]
    assets = Catalogue.load(Path(catalogue))
    for place in map(Path, places):
        try:
            with atomic_folder(place) as folder:
                render_spec(spec_file(place), folder, assets, "exact", cast(DeviceKind, device))
        except LightloomError as error:
            print(error, file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    session.leave(main)
