"""`lightloom evaluate edits`: every case of a benchmark's scenes, rendered, edited and scored."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage
from tqdm import tqdm

from datagen.render_stage import CATALOGUE
from editing.benchmark.cases import Case, circled, insertion_case, material_cases, plain, shortened, still, subject_of
from editing.benchmark.edit_report import Findings, Row
from editing.benchmark.edit_videos import MODES, OURS, Mode, run_case, shown
from editing.benchmark.truth import SPEC, Truths
from editing.settings import FilmRenderers, FilmSettings
from manifests.codec.codecs import decode_clip
from manifests.contract.clip import Clip
from manifests.errors import InputError
from manifests.store.dataset import Dataset
from pipeline.options import DeviceKind
from scenes.catalogue import Catalogue
from scenes.spec import Object, SceneSpec, from_json
from training.baselines import edit_baselines
from training.evaluation.benchmark import open_benchmark
from training.evaluation.metrics import psnr
from training.evaluation.scores import Score

_SHOWN = (edit_baselines.RATIO, edit_baselines.CHROMA, edit_baselines.PASTE, edit_baselines.BEST_GAIN)

CHANGED = 0.04
"""A pixel beside an inserted object counts as its shadow or reflection where the true picture changes by more."""


def score_edits(
    benchmark: Path, out: Path, settings: FilmSettings, *, scenes: int | None = None, device: DeviceKind = "auto"
) -> Findings:
    """Score edits on the scenes of a benchmark; true renders are kept in OUT/truth, so a second run only scores."""
    renderers = FilmRenderers(settings)
    renderers.require("inverse", "forward")  # before anything is rendered
    dataset = _scenes(benchmark)
    chosen = _scene_clips(dataset)[:scenes]
    table = Path(dataset.path) / CATALOGUE
    catalogue = Catalogue.load(table)
    truths = Truths(out / "truth", table, device)
    plain_settings: dict[str, Any] = {"benchmark": str(benchmark), "scenes": len(chosen), **asdict(settings)}
    findings = Findings(plain_settings)
    for case in tqdm(list(_cases(chosen, truths)), desc="edits", unit="edit"):
        before, after = truths.clip(case.before), truths.clip(case.after)
        pictures: dict[str, np.ndarray] = {}
        for mode in MODES:
            made = run_case(case, mode, before, after, renderers.without_lora(), catalogue.roots)
            if made.problem:
                findings.problems.append(f"{case.edit} {case.scene}, {mode}: {made.problem}")
            if not made.by_method:
                continue
            findings.scores += score(case, mode, case.scene, made.by_method, before, after)
            if made.foot is not None:
                off = foot_off(case, made.foot, before)
                worst = float(np.percentile(off, 95))
                findings.scores.append(Score(case.edit, case.scene, case.scene, mode, OURS, "", "foot_pixels", worst))
                findings.feet.setdefault((mode, case.edit), []).extend(off.tolist())
            pictures[f"{OURS}, {mode}"] = made.by_method[OURS]
            pictures |= {name: made.by_method[name] for name in _SHOWN if name in made.by_method and mode == "truth"}
        exposure = before.exposure
        videos = {"input": shown(before, exposure), "truth": shown(after, exposure)} | pictures
        middle = len(videos["input"]) // 2
        row = {caption: video[middle] for caption, video in videos.items()}
        findings.rows.append(Row(f"{case.edit} {case.scene}", row))
    findings.write(out)
    return findings


def _scenes(benchmark: Path) -> Dataset:
    parts = {part.name: part.dataset for part in open_benchmark(benchmark).parts}
    if "scenes" not in parts:
        raise InputError("has no part `scenes`", "build it with `lightloom evaluate build`", where=benchmark)
    return parts["scenes"]


def _scene_clips(dataset: Dataset) -> list[tuple[SceneSpec, Clip]]:
    """The spec of each scene and its clip under the first light, in order."""
    made = []
    for row in sorted(dataset.rows(), key=lambda row: row.item):
        if row.part == 0:
            files = dataset.files(row)
            made.append((from_json(files[SPEC]), decode_clip(row.key, files)))
    return made


def _cases(scenes: list[tuple[SceneSpec, Clip]], truths: Truths) -> Iterator[Case]:
    """The cases of all scenes, rendered."""
    things: list[Object] = [spec.objects[0] for spec, _ in scenes]
    for number, (spec, clip) in enumerate(tqdm(scenes, desc="truth", unit="scene")):
        short = shortened(spec, number)
        fixed = still(short)
        subject = subject_of(short, clip)
        cases: list[Case] = []
        if subject is not None:
            base, own = plain(short, subject, clip)
            cases = material_cases(spec.index, base, subject, own)
        around = circled(short)
        truths.render([fixed, around, *(part for case in cases for part in (case.before, case.after))])
        for clear in (fixed, around):
            inserted = insertion_case(spec.index, clear, truths.clip(clear), things[(number + 1) % len(things)])
            if inserted is not None:
                truths.render([inserted.after])
                cases.append(inserted)
        yield from cases


@dataclass(frozen=True, eq=False)
class Regions:
    """(T, H, W) bool. `whole`: what is scored as the region; `thing` and `shadow` are its parts; `outside` the rest.

    Pixels beside the object are in none: they show both.
    """

    whole: np.ndarray
    thing: np.ndarray
    shadow: np.ndarray
    outside: np.ndarray


def regions(case: Case, before: Clip, after: Clip) -> Regions:
    """The regions of a case: the edited or inserted object, and for an inserted one what its presence changes."""
    thing = after.arrays["instance"][..., 0] == case.instance
    near = ndimage.binary_dilation(thing, np.ones((1, 3, 3), dtype=bool))
    shadow = np.zeros_like(thing)
    if case.inserted is not None:
        change = np.abs(shown(after, before.exposure) - shown(before, before.exposure)).max(axis=-1)
        shadow = (change > CHANGED) & ~near
    return Regions(thing | shadow, thing, shadow, ~(near | shadow))


def boxed(thing: np.ndarray) -> np.ndarray:
    """(T, H, W) bool: a box around the thing in each frame, twice its size."""
    boxes = np.zeros_like(thing)
    for box, there in zip(boxes, thing, strict=True):
        if there.any():
            rows, columns = np.nonzero(there)
            sides = []
            for along in (rows, columns):
                first, end = along.min(), along.max() + 1
                middle, half = (first + end) / 2, end - first  # half of twice the side
                sides.append(slice(max(int(middle - half), 0), int(np.ceil(middle + half))))
            box[tuple(sides)] = True
    return boxes


def foot_off(case: Case, foot: np.ndarray, before: Clip) -> np.ndarray:
    """Pixels (T,) by which the foot (T, 2) of our inserted thing is off that of the true one."""
    assert case.inserted is not None
    assert before.camera is not None
    true = before.camera.project(np.array([[*case.inserted.thing.position, 0.0]]))[0][:, 0]
    return np.asarray(np.linalg.norm(foot - true, axis=-1))


def score(
    case: Case, mode: Mode, light: int, videos: Mapping[str, np.ndarray], before: Clip, after: Clip
) -> list[Score]:
    """PSNR in dB of each video (T, H, W, 3), sRGB, against the true edited clip at the input's exposure."""
    truth = shown(after, before.exposure)
    where = regions(case, before, after)
    parts = {"region_psnr": where.whole, "outside_psnr": where.outside}
    if case.inserted is not None:
        parts |= {"object_psnr": where.thing, "shadow_psnr": where.shadow, "box_psnr": boxed(where.thing)}
    return [
        Score(case.edit, case.scene, light, mode, method, "", metric, psnr(video, truth, chosen))
        for method, video in videos.items()
        for metric, chosen in parts.items()
        if chosen.any()
    ]
