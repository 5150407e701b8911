"""True renders of specs, each made once: by `truth_worker` in a process of its own, as Blender and torch do not mix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from datagen.child import run_python
from manifests.codec.codecs import decode_clip
from manifests.contract.clip import Clip
from manifests.errors import RunError
from manifests.files import write_bytes
from pipeline.options import DeviceKind
from scenes.spec import SceneSpec, digest, to_json

WORKER = "editing.benchmark.truth_worker"
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
            write_bytes(spec_file(place), to_json(spec))
        ended = run_python("-m", WORKER, str(self.catalogue), self.device, *map(str, missing))
        left = [spec for place, spec in missing.items() if not place.is_dir()]
        if left:
            where = spec_file(self._place(left[0]))
            raise RunError(f"not rendered ({ended.why})", f"its spec is {where}", where=f"scene {left[0].index}")

    def clip(self, spec: SceneSpec) -> Clip:
        """The spec's clip under its first light, rendered now if it was not; raises RunError."""
        self.render([spec])
        key = f"{spec.index:08d}-00"
        files = {path.name.removeprefix(f"{key}."): path.read_bytes() for path in self._place(spec).glob(f"{key}.*")}
        return decode_clip(key, files)

    def _place(self, spec: SceneSpec) -> Path:
        return self.folder / digest(spec)[:16]


def spec_file(place: Path) -> Path:
    """Where the spec of the clip that is rendered to `place` lies."""
    return place.with_name(f"{place.name}.{SPEC}")
