"""Model cards: what shipped weights are, written from the training record, the datasets and the evaluation by code."""

from __future__ import annotations

import importlib.metadata
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

import lightloom
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
_EVERYWHERE = (
    "Small networks for small pictures, trained on rendered scenes of simple meshes and materials. They show that the "
    "whole chain works; film work wants larger networks, pictures and catalogues.",
)


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
    licence = facts.index.get("licence")
    lines = [
        "---",
        f"license: {licence.lower() if licence else 'unknown'}",
        "library_name: lightloom",
        f"tags: [lightloom, {facts.kind}]",
        "---",
        f"# Lightloom tiny: {TITLES[facts.kind]}",
        "",
        "Written by `python -m benchmarks.weights pack` from the training record and the evaluation below.",
        "`python -m benchmarks.weights build OUT` makes data, training, evaluation and this folder again.",
        "",
        "## What it is",
        "",
        *_list(_what(facts)),
        "",
        "## Data",
        "",
        *_list(_data(facts)),
        "",
        "## Recipe",
        "",
        *_list(_recipe(facts)),
        "",
        "## Measured",
        "",
        *_measured(facts.kind, reports),
        "## Limits",
        "",
        *_list([*_EVERYWHERE, *_LIMITS[facts.kind], *_failed(facts.kind, reports)]),
        "",
        "## Licence",
        "",
        f"{f'{licence}, weights and this card' if licence else 'Of the weights: not stated'}. The licences of the "
        "assets that were rendered to train it are named above; `lightloom data attribution DATASET` lists every one.",
        "",
    ]
    return "\n".join(lines)


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


def _what(facts: Facts) -> list[str]:
    index = facts.index
    lines = [f"weights: {facts.size / 1e6:.1f} MB of safetensors in float16; they load as float32"]
    if facts.kind != "lora":
        lines.insert(0, f"backbone {index['backbone']}, sampler {index['sampler']}, predicts {index['prediction']}")
    if facts.change is not None:
        lines.append(f"half precision changes no output on a clip of the benchmark by more than {facts.change:.1g}")
    return lines


def _data(facts: Facts) -> list[str]:
    lines = []
    for data in facts.datasets:
        recipe = data["recipe"]
        render = recipe.get("render", {})
        whom = "for the judge of its labels: " if data["judge"] else ""
        lines.append(
            f"{whom}{data['clips']:,} clips of {data['size']}, rendered in Cycles with {render.get('samples', '?')} "
            f"samples: recipe `{recipe.get('name', '?')}`, seed {data['seed']}, split {recipe.get('split', '?')}, "
            f"catalogue {data['catalogue'][:12]}; assets under {_joined(data['licences'])}"
        )
    return lines + [
        f"{data['clips']:,} clips of {data['size']} of footage with automatic labels (`lightloom label`), "
        f"under {_joined(data['licences']) or 'no licence that is recorded'}"
        for data in facts.real
    ]


def _recipe(facts: Facts) -> list[str]:
    lines = [line for number, training in enumerate(facts.history, 1) for line in _training(training, number)]
    return [*lines, f"packed at commit {facts.revision}"]


def _training(record: dict[str, Any], number: int) -> list[str]:
    """What one run did, by its record."""
    config = record.get("config", {})
    optimise, data = config.get("optimise", {}), config.get("data", {})
    rates = f"learning rate {optimise.get('learning_rate')}"
    if optimise.get("optimizer") == "muon":
        rates = f"muon rate {optimise.get('muon_rate')} for inner convolutions, {rates} for the rest (AdamW)"
    coarse = f", the first {100 * data['coarse']:.0f} % of the run at half size" if data.get("coarse") else ""
    losses = ", ".join(f"{weight:g} {name}" for name, weight in config.get("losses", {}).items())
    lines = [
        f"run {number}: preset {config.get('name')}, seed {config.get('seed')}, started from "
        f"{config.get('start') or 'random weights'}",
        f"{record.get('step', 0):,} steps of {optimise.get('batch')} samples of {data.get('frames')} frames{coarse}, "
        f"in {record.get('seconds', 0) / 60:.0f} minutes, {optimise.get('precision', 'float32')}",
        f"{rates}, {optimise.get('schedule', 'cosine')}, weight decay {optimise.get('weight_decay')}",
    ]
    if losses:
        lines.append(f"losses: {losses}")
    if record.get("clips", {}).get("real"):
        rank = config.get("lora", {}).get("rank")
        lines.append(f"a LoRA of rank {rank} learnt from {record['clips']['real']:,} clips of footage alone")
    return lines


def _measured(kind: str, reports: Sequence[dict[str, Any]]) -> list[str]:
    if not reports:
        return ["Nothing was measured.", ""]
    lines = [
        "On assets and places of the test split (`docs/evaluation.md`). Bold is the best that does not see the truth."
    ]
    lines.append("")
    for report in reports:
        bars = [bar for bar in report["bars"] if _bar_kind(bar) == kind and bar["measured"] is not None]
        if bars:
            lines += ["| bar | rule | measured | needed | |", "|---|---|---:|---:|---|"]
            lines += [_bar_row(bar) for bar in bars]
            lines.append("")
        for table in report["tables"]:
            if table["title"].split(" · ")[0] in _TASKS[kind]:
                made = msgspec.convert(table, Table)
                lines += [f"### {made.title} ({made.clips} clips)", "", made.markdown(), ""]
    return lines


def _failed(kind: str, reports: Sequence[dict[str, Any]]) -> list[str]:
    return [
        f'The bar "{bar["name"]}" does not hold: {bar["measured"]:.3g}, needed {bar["needed"]:g} ({bar["rule"]}).'
        for report in reports
        for bar in report["bars"]
        if bar["holds"] is False and _bar_kind(bar) == kind
    ]


def _bar_kind(bar: dict[str, Any]) -> str:
    if bar["name"].startswith("LoRA"):
        return "lora"
    return "inverse" if bar["name"].startswith(_INVERSE_BARS) else "forward"


def _bar_row(bar: dict[str, Any]) -> str:
    state = {True: "holds", False: "**fails**", None: "reported"}[bar["holds"]]
    needed = "" if bar["needed"] is None else f"{bar['needed']:g}"
    return f"| {bar['name']} | {bar['rule']} | {bar['measured']:.3f} | {needed} | {state} |"


def _joined(words: Iterable[str]) -> str:
    return ", ".join(words)


def _list(lines: Iterable[str]) -> list[str]:
    return [f"- {line}" for line in lines]
