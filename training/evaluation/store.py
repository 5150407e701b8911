"""What an evaluation keeps on disk while it runs: one file a scene, so that an interrupted one goes on where it was."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from manifests.atomic import write_bytes
from training.evaluation.errors import EvaluationError
from training.evaluation.gallery import Strip
from training.evaluation.scores import Score

SETTINGS = "settings.json"
_WORK = "work"


@dataclass(frozen=True)
class SceneResult:
    """Scores of one scene, and the strips of its clips by task."""

    scores: list[Score]
    strips: dict[str, list[Strip]]


class Store:
    """Results by scene in the folder `out`; raises EvaluationError when `out` holds another evaluation."""

    def __init__(self, out: Path, identity: dict[str, Any]) -> None:
        self._folder = out / _WORK
        self._folder.mkdir(parents=True, exist_ok=True)
        path, wanted = out / SETTINGS, msgspec.json.format(msgspec.json.encode(identity), indent=2) + b"\n"
        if path.is_file() and path.read_bytes() != wanted:
            raise EvaluationError(f"{out}: holds another evaluation (see its {SETTINGS}); give another folder")
        if not path.is_file() and any(self._folder.iterdir()):
            raise EvaluationError(f"{out}: has {_WORK}/ but no {SETTINGS}; give another folder")
        write_bytes(path, wanted)

    def get(self, part: str, scene: int) -> SceneResult | None:
        """What was kept of a scene, or None."""
        path = self._path(part, scene)
        if not path.is_file():
            return None
        try:
            return msgspec.json.decode(path.read_bytes(), type=SceneResult)
        except msgspec.DecodeError as error:
            raise EvaluationError(f"{path}: cannot be read ({error}); delete it and run again") from None

    def put(self, part: str, scene: int, result: SceneResult) -> None:
        """Keep a scene's results, whole or not at all."""
        write_bytes(self._path(part, scene), msgspec.json.encode(result))

    def _path(self, part: str, scene: int) -> Path:
        return self._folder / f"{part}-{scene:06d}.json"
