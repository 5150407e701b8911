"""True renders of specs, each made once: in processes of their own, because Blender and torch crash each other."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from datagen.child import run_python
from datagen.render_stage import render_spec
from manifests.codec.codecs import decode_clip
from manifests.contract.clip import Clip
from manifests.errors import LightloomError, RunError
from manifests.files import atomic_folder, write_bytes
from pipeline.options import DeviceKind
from scenes.catalogue import Catalogue
from scenes.spec import SceneSpec, digest, to_json

CHILD = "editing.benchmark.truth"
SPEC = "spec.json"


@dataclass(frozen=True)
class Truths:
    """Clips by spec, kept in `folder`: a spec that was rendered before is only read.

    Attributes:
        folder: one subfolder per spec, named by its digest, and the spec itself beside it.
        catalogue: Parquet file with the assets that specs name.
        device: what renders.
    """

    folder: Path
    catalogue: Path
    device: DeviceKind = "auto"

    def render(self, specs: Sequence[SceneSpec]) -> None:
        """Render those that were not; raises RunError when Blender cannot."""
        missing = {self._place(spec): spec for spec in specs if not self._place(spec).is_dir()}
        if not missing:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        for place, spec in missing.items():
            write_bytes(_spec_file(place), to_json(spec))
        ended = run_python("-m", CHILD, str(self.catalogue), self.device, *map(str, missing))
        left = [spec for place, spec in missing.items() if not place.is_dir()]
        if left:
            where = _spec_file(self._place(left[0]))
            raise RunError(f"not rendered ({ended.why})", f"its spec is {where}", where=f"scene {left[0].index}")

    def clip(self, spec: SceneSpec) -> Clip:
        """The spec's clip under its first light, rendered now if it was not; raises RunError."""
        self.render([spec])
        key = f"{spec.index:08d}-00"
        files = {path.name.removeprefix(f"{key}."): path.read_bytes() for path in self._place(spec).glob(f"{key}.*")}
        return decode_clip(key, files)

    def _place(self, spec: SceneSpec) -> Path:
        return self.folder / digest(spec)[:16]


def _spec_file(place: Path) -> Path:
    return place.with_name(f"{place.name}.{SPEC}")


def main() -> int:
    """Render the spec of every folder that is named; the first failure is the last line of stderr."""
    catalogue, device, *places = sys.argv[1:]
    assets = Catalogue.load(Path(catalogue))
    for place in map(Path, places):
        try:
            with atomic_folder(place) as folder:
                render_spec(_spec_file(place), folder, assets, "exact", cast(DeviceKind, device))
        except LightloomError as error:
            print(error, file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    from datagen.blender import (
        session,  # bpy must not be loaded by the process that imports this module, which has torch
    )

    session.leave(main)
