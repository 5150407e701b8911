"""`evaluate`: every task on every scene of a benchmark, then the tables, the galleries and the bars."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from tqdm import tqdm

from manifests.errors import InputError
from manifests.files import write_bytes
from manifests.store.dataset import open_dataset
from training.baselines.inverse_baselines import Averages, gather_averages
from training.evaluation.acceptance import OURS
from training.evaluation.benchmark import Benchmark, Maps, Part, Shot, open_benchmark, seen_in_training
from training.evaluation.evaluation_report import RANKED_BY, Evaluation
from training.evaluation.evaluation_settings import EvaluationSettings
from training.evaluation.gallery import Strip, map_strip, video_strip
from training.evaluation.models import EvaluationModels, load_models
from training.evaluation.perceptual import Perceptual, load_perceptual
from training.evaluation.score_estimates import score_inverse, score_lighting
from training.evaluation.score_forward import Videos, score_forward, score_relighting, score_turn
from training.evaluation.scores import Score
from training.evaluation.shadows import swap_partner

SETTINGS = "settings.json"
_WORK = "work"
_STRIP_VIDEOS = 4


def evaluate(path: Path, settings: EvaluationSettings, out: Path) -> Evaluation:
    """Measure renderers on the benchmark at `path` and write the report to `out`; an interrupted run goes on there.

    Raises InputError or DatasetError, each saying what to do.
    """
    if settings.inverse is None and settings.forward is None:
        raise InputError("nothing to evaluate", "give `inverse`, `forward`, or both", fields=("inverse", "forward"))
    benchmark = open_benchmark(path)
    seen, averages = _training(settings, benchmark)
    store = ResultStore(out, settings.identity(path))
    scorer = _Scorer(load_models(settings), averages, load_perceptual())
    results = []
    for part, scene in tqdm(list(benchmark.chosen(settings.scenes)), desc="evaluate", unit="scene"):
        result = store.get(part.name, scene)
        if result is None:
            result = scorer.scene(part, scene)
            store.put(part.name, scene, result)
        results.append(result)
    scores = [score for result in results for score in result.scores]
    strips: dict[str, list[Strip]] = {}
    for result in results:
        for task, found in result.strips.items():
            strips.setdefault(task, []).extend(found)
    evaluation = Evaluation(settings, benchmark, scores, strips, seen)
    evaluation.write(out)
    return evaluation


def _training(settings: EvaluationSettings, benchmark: Benchmark) -> tuple[list[str] | None, Averages | None]:
    """Assets that training had seen, and the training set's averages; None without a training set."""
    if settings.training is None:
        return None, None
    training = open_dataset(settings.training)
    return seen_in_training(benchmark, training), gather_averages(training)


@dataclass(frozen=True)
class _Scorer:
    """All tasks on one scene."""

    models: EvaluationModels
    averages: Averages | None
    perceptual: Perceptual

    def scene(self, part: Part, scene: int) -> SceneResult:
        result = SceneResult([], {})
        shots = part.shots(scene)
        if part.name == "turns":
            if self.models.forward is not None:
                for shot in shots:
                    self._keep(result, "turn", shot, *score_turn(self.models, shot))
            return result
        predicted = [self._inverse(result, shot) for shot in shots]
        if self.models.forward is None:
            return result
        for index, shot in enumerate(shots):
            scored = score_forward(self.models, shots, index, predicted[index], self.perceptual)
            self._keep(result, "forward", shot, *scored)
            maps = predicted[index]
            if maps is not None and len(shots) > 1:
                target = shots[swap_partner(index, range(len(shots)))]
                scored = score_relighting(self.models, shots, index, maps, self.perceptual)
                self._keep(result, "relighting", target, *scored)
        return result

    def _inverse(self, result: SceneResult, shot: Shot) -> Maps | None:
        """The inverse task, and the lighting task, of one shot; the estimated G-buffers."""
        maps = None
        if self.models.inverse is not None:
            scores, maps = score_inverse(self.models, shot, self.averages, self.perceptual)
            result.scores.extend(scores)
            value = _ranking("inverse", scores)
            if value is not None:
                result.strips.setdefault("inverse", []).append(map_strip(_name(shot), value, shot, maps))
        if self.models.lighting is not None:
            result.scores.extend(score_lighting(self.models.light(shot, maps), shot))
        return maps

    def _keep(self, result: SceneResult, task: str, shot: Shot, scores: Sequence[Score], videos: Videos) -> None:
        result.scores.extend(scores)
        value = _ranking(task, scores)
        if value is not None:
            shown = dict(list(videos.items())[:1] + list(videos.items())[1:][-_STRIP_VIDEOS:])
            result.strips.setdefault(task, []).append(video_strip(_name(shot), value, shown, shot.video))


def _ranking(task: str, scores: Sequence[Score]) -> float | None:
    """The value that ranks one clip at a task: that of our network."""
    metric, attribute = RANKED_BY[task]
    found = [s.value for s in scores if (s.method, s.metric, s.attribute) == (OURS, metric, attribute)]
    return found[0] if found else None


def _name(shot: Shot) -> str:
    return f"{shot.part} {shot.clip.key}"


@dataclass(frozen=True)
class SceneResult:
    """Scores of one scene, and the strips of its clips by task."""

    scores: list[Score]
    strips: dict[str, list[Strip]]


class ResultStore:
    """Results in the folder `out`, a file per scene, so that an interrupted evaluation goes on where it was.

    Raises InputError when `out` holds another evaluation.
    """

    def __init__(self, out: Path, identity: dict[str, Any]) -> None:
        self._folder = out / _WORK
        self._folder.mkdir(parents=True, exist_ok=True)
        path, wanted = out / SETTINGS, msgspec.json.format(msgspec.json.encode(identity), indent=2) + b"\n"
        if path.is_file() and path.read_bytes() != wanted:
            raise InputError(f"holds another evaluation (see its {SETTINGS})", "give another folder", where=out)
        if not path.is_file() and any(self._folder.iterdir()):
            raise InputError(f"has {_WORK}/ but no {SETTINGS}", "give another folder", where=out)
        write_bytes(path, wanted)

    def get(self, part: str, scene: int) -> SceneResult | None:
        """What was kept of a scene, or None."""
        path = self._path(part, scene)
        if not path.is_file():
            return None
        try:
            return msgspec.json.decode(path.read_bytes(), type=SceneResult)
        except msgspec.DecodeError as error:
            raise InputError(f"cannot be read ({error})", "delete it and run again", where=path) from None

    def put(self, part: str, scene: int, result: SceneResult) -> None:
        """Keep a scene's results, whole or not at all."""
        write_bytes(self._path(part, scene), msgspec.json.encode(result))

    def _path(self, part: str, scene: int) -> Path:
        return self._folder / f"{part}-{scene:06d}.json"
