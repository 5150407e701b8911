"""`python -m benchmarks.weights pack`: finished runs as the small folders that the package ships, each with its card.

Weights are stored in half precision, which loads back as float32; what that changes is measured on a clip of the
benchmark and limited. Nothing of the machine that trained them goes along: no optimizer state, no path.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.weights.cards import Facts, card, commit
from editing.settings import INDEX, KINDS, LORA, Kind
from manifests.codec.codecs import decode_clip
from manifests.contract.attributes import GBUFFERS
from manifests.contract.clip import Clip
from manifests.errors import CheckpointError
from manifests.files import atomic_folder, write_bytes
from manifests.store.dataset import open_dataset
from renderers import ForwardRenderer, InverseRenderer, LightingEstimator
from renderers.checkpoints.half_precision import halve
from training.evaluation.benchmark import open_benchmark
from training.evaluation.evaluation_report import RESULTS

LIMIT = 25_000_000
"""Bytes of safetensors that the package may ship."""

TOLERANCE = 1e-2
"""Largest change of any output value in [-1, 1] by storing weights in half precision."""

CARD = "README.md"
HISTORY = "history.json"
"""What a card says of runs and data, for the cards of weights whose training starts from these."""

_RUN = "run.json"
_LONGEST = 8  # runs that started from one another
_CLASSES: dict[Kind, Any] = {"inverse": InverseRenderer, "forward": ForwardRenderer, "lighting": LightingEstimator}


@dataclass(frozen=True)
class Packed:
    """One packed part: its folder, the bytes of its weights, and the largest change of its outputs (None: a LoRA)."""

    name: str
    folder: Path
    bytes: int
    change: float | None


def pack(
    checkpoints: Mapping[Kind, Path],
    lora: Path | None,
    evaluations: Sequence[Path],
    out: Path,
    *,
    source: Path | None = None,
) -> list[Packed]:
    """Write `checkpoints` (OUT/renderer of runs) and the folder `lora` to `out`, one subfolder each.

    evaluations: results.json of `lightloom evaluate run`; each checkpoint must be measured by one of them. source: the
    source tree whose commit the cards name. Raises CheckpointError, and whatever is wrong with a checkpoint.
    """
    reports = [_json(path / RESULTS if path.is_dir() else path) for path in evaluations]
    clip = _probe(reports)
    revision = commit(source)
    done = []
    for kind in KINDS:
        if kind in checkpoints:
            origin = checkpoints[kind]
            measured = [report for report in reports if _measures(report, kind, origin)]
            if not measured:
                raise CheckpointError(
                    "none of the evaluations measured it", "run `lightloom evaluate run` on it", where=origin
                )
            done.append(_pack_renderer(kind, origin, out / kind, clip, measured, revision))
    if lora is not None:
        done.append(_pack_lora(lora, out / "lora", reports, revision))
    total = _size(out)  # with what was packed there before
    if total > LIMIT:
        raise CheckpointError(
            f"{total / 1e6:.1f} MB of weights, more than the {LIMIT / 1e6:.0f} MB that may ship", where=out
        )
    return done


def _pack_renderer(
    kind: Kind, origin: Path, target: Path, clip: Clip, reports: list[dict[str, Any]], revision: str
) -> Packed:
    before = _CLASSES[kind].from_pretrained(origin)
    index, history = _records(origin)
    with atomic_folder(target) as folder:
        for weights in sorted(origin.glob("*/*.safetensors")):
            if weights.name != LORA:
                halve(weights, folder / weights.relative_to(origin))
        for config in sorted(origin.glob("*/*.json")):
            plain = {name: value for name, value in _json(config).items() if name != "_name_or_path"}
            _write_json(folder / config.relative_to(origin), plain)
        _write_json(folder / INDEX, index)
        change = _difference(kind, before, _CLASSES[kind].from_pretrained(folder), clip)
        if not change <= TOLERANCE:
            raise CheckpointError(
                f"half precision changes outputs by {change:.2g}, more than {TOLERANCE:g}", where=origin
            )
        size = _size(folder)
        facts = Facts(kind, index, history, _trained_on(origin), _real(origin), revision, size, change)
        _write_json(folder / HISTORY, {"runs": history, "datasets": facts.datasets, "real": facts.real})
        write_bytes(folder / CARD, card(facts, reports).encode())
    return Packed(kind, target, size, change)


def _pack_lora(origin: Path, target: Path, reports: list[dict[str, Any]], revision: str) -> Packed:
    """`origin` holds the LoRA's file, or is a renderer that has it in its folder `lora`."""
    folder = origin if (origin / LORA).is_file() else origin / "lora"
    if not (folder / LORA).is_file():
        raise CheckpointError(f"no LoRA here ({LORA})", "co-training writes it to OUT/renderer/lora", where=origin)
    run = folder.parent
    index, history = _records(run)
    with atomic_folder(target) as packed:
        halve(folder / LORA, packed / LORA)
        size = _size(packed)
        measured = [report for report in reports if _measures(report, "forward", run)]
        facts = Facts("lora", index, history, _trained_on(run), _real(run), revision, size, None)
        write_bytes(packed / CARD, card(facts, measured).encode())
    return Packed("lora", target, size, None)


def _records(renderer: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A renderer's model_index.json, and the training records of its run and those that it started from; no paths."""
    index = _json(renderer / INDEX)
    training = index.get("training") or {}
    records, start = [training], training.get("config", {}).get("start")
    while start and (Path(start) / INDEX).is_file() and len(records) < _LONGEST:
        if (Path(start) / HISTORY).is_file():
            records = [*_json(Path(start) / HISTORY)["runs"], *records]
            break
        records.insert(0, _json(Path(start) / INDEX).get("training") or {})
        start = records[0].get("config", {}).get("start")
    return index | {"training": _without_paths(training)}, [_without_paths(record) for record in records]


@torch.no_grad()
def _difference(kind: Kind, before: Any, after: Any, clip: Clip) -> float:
    """Largest change of any output on `clip`, values in [-1, 1]; light is compared as it is displayed.

    Pixels whose coverage falls on the other side of a half, beyond which depth is 1, do not count: at a silhouette
    there is always one that nearly does.
    """
    made, surfaces = [], []
    for renderer in (before, after):
        renderer.set_progress_bar_config(disable=True)
        output = renderer(clip)
        match kind:
            case "inverse":
                made.append([np.asarray(output.gbuffers[name]) for name in GBUFFERS if name in output.gbuffers])
                surfaces.append(None if output.coverage is None else np.asarray(output.coverage) > 0.5)
            case "forward":
                made.append([np.asarray(output.video)])
            case "lighting":
                made.append([np.asarray(output.ldr), np.asarray(output.log)])
    same = True if not surfaces or surfaces[0] is None else surfaces[0] == surfaces[1]
    return max(float(np.abs((one - other) * same).max()) for one, other in zip(*made, strict=True))


def _probe(reports: Sequence[dict[str, Any]]) -> Clip:
    """The first clip of the first evaluation's benchmark."""
    if not reports:
        raise CheckpointError("no evaluation was given", "a model card states what was measured")
    path = Path(reports[0]["settings"]["benchmark"])
    part = open_benchmark(path).parts[0]
    row = part.rows[0]
    return decode_clip(row.key, part.dataset.files(row))


def _measures(report: dict[str, Any], kind: Kind, origin: Path) -> bool:
    named = report["settings"].get(kind)
    return named is not None and Path(named).resolve() == origin.resolve()


def _trained_on(renderer: Path) -> list[dict[str, Any]]:
    """Header and number of clips of each dataset of the runs that led to this OUT/renderer."""
    return _datasets(renderer, "datasets")


def _real(renderer: Path) -> list[dict[str, Any]]:
    return _datasets(renderer, "real")


def _datasets(renderer: Path, role: str) -> list[dict[str, Any]]:
    wanted = {(path, run.get("task") == "judge"): None for run in _runs(renderer) for path in run.get(role, [])}
    facts = [data for data in _before(renderer)[role] if not data["judge"]]  # of another judge
    for path, judge in wanted:
        dataset = open_dataset(path)
        header, rows = dataset.header, dataset.rows()
        licences = sorted({use.licence for row in rows for use in row.assets})
        size = f"{rows[0].frames} frames of {rows[0].width}x{rows[0].height}" if rows else "empty"
        facts.append(
            {
                "stage": header.stage,
                "judge": judge,
                "recipe": _told(header.recipe),
                "seed": header.seed,
                "clips": len(rows),
                "size": size,
                "catalogue": header.catalogue,
                "licences": licences,
            }
        )
    return facts


def _runs(renderer: Path) -> list[dict[str, Any]]:
    """run.json of the run whose OUT/renderer this is, and of those that it started from, the first one first."""
    runs: list[dict[str, Any]] = []
    at: Path | None = renderer
    while at is not None and len(runs) < _LONGEST:
        run = at.parent / _RUN
        if not run.is_file():
            if runs:
                break
            raise CheckpointError(
                "missing", "give OUT/renderer of a training run, so that its card can say of what", where=run
            )
        runs.insert(0, _json(run))
        start = runs[0].get("config", {}).get("start")
        at = None if start is None else Path(start)
    return runs


def _told(recipe: dict[str, Any]) -> dict[str, Any]:
    """What a card says of a recipe."""
    samples = recipe.get("render", {}).get("samples", "?")
    return {"name": recipe.get("name", "?"), "split": recipe.get("split", "?"), "render": {"samples": samples}}


def _before(renderer: Path) -> dict[str, Any]:
    """The history of the packed weights that the runs that led here began with; empty where there are none."""
    start = _runs(renderer)[0].get("config", {}).get("start")
    kept = None if start is None else Path(start) / HISTORY
    return _json(kept) if kept is not None and kept.is_file() else {"datasets": [], "real": []}


def _without_paths(value: Any) -> Any:
    """A training record whose absolute paths are cut to their last two names: where files lay is nobody's business."""
    if isinstance(value, dict):
        return {name: _without_paths(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_without_paths(item) for item in value]
    if isinstance(value, str) and Path(value).is_absolute():
        return "/".join(Path(value).parts[-2:])
    return value


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*.safetensors"))


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"cannot be read ({error})", where=path) from error
    if not isinstance(found, dict):
        raise CheckpointError(f"holds a JSON {type(found).__name__}, expected an object", where=path)
    return found


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, (json.dumps(value, indent=2) + "\n").encode())
