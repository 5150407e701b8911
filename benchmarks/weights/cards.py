"""Model cards: what shipped weights are, written from the training record, the datasets and the evaluation by code."""

from __future__ import annotations

import importlib.metadata
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

import lightloom
from manifests.report.templates import render
from training.evaluation.scores import Table

TITLES = {
    "inverse": "inverse renderer: video in, G-buffers out",
    "forward": "forward renderer: G-buffers and light in, video out",
    "lighting": "lighting estimator: video in, HDR panorama of the light out",
    "lora": "LoRA of the forward renderer: what footage differs in from rendered clips",
}
_TASKS = {
    "inverse": ("inverse",),
    "forward": ("forward", "relighting", "turn"),
    "lighting": ("lighting",),
    "lora": ("forward",),
}
_INVERSE_BARS = ("base colour", "normals", "depth", "metallic", "roughness")
_LIMITS = {
    "inverse": (
        "Whether a surface is dark or badly lit cannot be told from few pixels: base colours may be off by a factor.",
        "Depth is relative to the clip; background, glass and mirrors are not what it was made for.",
    ),
    "forward": (
        "It adds what analytic shading with traced screen-space shadows lacks, and cannot show what no G-buffer holds: "
        "things outside of the picture throw no shadow into it.",
        "Transmission, coats and subsurface scattering are not rendered.",
    ),
    "lighting": (
        "What lies behind the camera is guessed; small bright lights come out larger and dimmer than they are.",
        "The panorama has 32x64 pixels: enough to light by, too coarse to be seen in a mirror.",
    ),
    "lora": ("It knows the footage it was trained on and little else; its strength at rendering is free, 0 is off.",),
}
_BACKBONES = {
    "tiny": (
        "Small networks for small pictures, trained on rendered scenes of simple meshes and materials. They show that "
        "the whole chain works; film work wants larger networks, pictures and catalogues.",
    ),
    "photo": (
        "Trained on rendered rooms, streets, open land and table-tops of 96 to 224 pixels: it finds shapes, ground "
        "and sky of photographs, knows few materials, no people, no animals, and nothing finer than its 224 pixels.",
    ),
}


@dataclass(frozen=True)
class Facts:
    """What a card is made of.

    Attributes:
        kind: inverse, forward, lighting or lora.
        index: the checkpoint's model_index.json, its training record without paths.
        history: the training records of the runs that led here, the first one first.
        datasets, real: of each dataset of rendered clips, and of footage: stage, whether only the judge learned from
            it, recipe, seed, clips, size, catalogue, licences.
        revision: commit of the source tree that packed the weights.
        size: bytes of safetensors.
        change: largest change of an output by storing half precision; None where it was not measured.
    """

    kind: str
    index: dict[str, Any]
    history: Sequence[dict[str, Any]]
    datasets: Sequence[dict[str, Any]]
    real: Sequence[dict[str, Any]]
    revision: str
    size: int
    change: float | None


def card(facts: Facts, reports: Sequence[dict[str, Any]]) -> str:
    """The model card in Markdown; `reports` are the results.json of evaluations that measured these weights."""
    bars = [[bar for bar in report["bars"] if _bar_kind(bar) == facts.kind] for report in reports]
    found = [
        [table for table in report["tables"] if table["title"].split(" · ")[0] in _TASKS[facts.kind]]
        for report in reports
    ]
    return render(
        "benchmarks.weights/card.md",
        facts=facts,
        title=TITLES[facts.kind],
        measured=[
            ([bar for bar in of_one if bar["measured"] is not None], msgspec.convert(tables, list[Table]))
            for of_one, tables in zip(bars, found, strict=True)
        ],
        limits=[*_BACKBONES.get(facts.index.get("backbone", ""), ()), *_LIMITS[facts.kind]],
        failed=[bar for of_one in bars for bar in of_one if bar["holds"] is False],
    )


def commit(source: Path | None = None) -> str:
    """The commit of the source tree at `source` (None: this one), marked where it has changes; or the version."""
    root = source or Path(lightloom.__file__).parents[1]

    def git(*words: str) -> str | None:
        done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else None

    try:
        head = git("rev-parse", "HEAD")
        changes = git("status", "--porcelain", "--untracked-files=no")
    except OSError:
        head = changes = None
    if not head:
        return f"lightloom {importlib.metadata.version('lightloom')}"
    return head + (" with changes" if changes else "")


def _bar_kind(bar: dict[str, Any]) -> str:
    if bar["name"].startswith("LoRA"):
        return "lora"
    return "inverse" if bar["name"].startswith(_INVERSE_BARS) else "forward"
