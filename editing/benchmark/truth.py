"""True renders of specs, each made once: in processes of their own, because Blender and torch crash each other."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from datagen.blender import session
from datagen.child import run_python
from datagen.render_stage import render_spec
from manifests.codec.codecs import decode_clip
from manifests.contract.clip import Clip
from manifests.errors import LightloomError, RunError
from pipeline.options import DeviceKind
from scenes.catalogue import Catalogue
from scenes.spec import SceneSpec, digest, to_json

CHILD = "editing.benchmark.truth"
SPEC = "spec.json"


@dataclass(frozen=True)
class Truths:
    """Clips by spec, kept in `folder`: a spec that was rendered before is only read.

    Attributes:
        folder: one subfolder a spec, named by its digest.
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
        scratch = []
        for place, spec in missing.items():
            folder = _unfinished(place)
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            (folder / SPEC).write_bytes(to_json(spec))
            scratch.append(str(folder))
        ended = run_python("-m", CHILD, str(self.catalogue), self.device, *scratch)
        left = [spec for place, spec in missing.items() if not place.is_dir()]
        if left:
            where = _unfinished(self._place(left[0])) / SPEC
            raise RunError(f"not rendered ({ended.why})", f"its spec is {where}", where=f"scene {left[0].index}")

    def clip(self, spec: SceneSpec) -> Clip:
        """The spec's clip under its first light, rendered now if it was not; raises RunError."""
        self.render([spec])
        key = f"{spec.index:08d}-00"
        files = {path.name.removeprefix(f"{key}."): path.read_bytes() for path in self._place(spec).glob(f"{key}.*")}
        return decode_clip(key, files)

    def _place(self, spec: SceneSpec) -> Path:
        return self.folder / digest(spec)[:16]


def finish(folder: Path) -> None:
    """Give a rendered folder its final name."""
    folder.rename(folder.with_name(folder.name.removeprefix(".").removesuffix(".tmp")))


def _unfinished(place: Path) -> Path:
    return place.with_name(f".{place.name}.tmp")


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
