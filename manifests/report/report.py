"""`write_report`: one self-contained HTML page about a dataset, for eyes that judge renders for a living.

The page makes no request: pictures and videos are inside it, and its content security policy forbids any. All text
from the dataset is escaped; only the page's own script may run.
"""

from __future__ import annotations

import base64
import hashlib
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template

from manifests import layout
from manifests.atomic import write_bytes
from manifests.dataset import Dataset, open_dataset
from manifests.report import sections
from manifests.report.gather import gather

CLIPS = 8


def write_report(dataset: Dataset | Path | str, out: Path | None = None, clips: int = CLIPS) -> Path:
    """Write the report of a dataset and return its path: `out`, or report.html in the dataset's folder.

    `clips` is how many clips can be played, spread over the dataset. DatasetError when manifests cannot be read.
    """
    dataset = dataset if isinstance(dataset, Dataset) else open_dataset(dataset)
    path = out or dataset.path / layout.REPORTS[0]
    write_bytes(path, page(dataset, clips).encode())
    return path


def page(dataset: Dataset, clips: int = CLIPS) -> str:
    """The report as HTML text."""
    content = gather(dataset, clips)
    script, style = _asset("report.js"), _asset("report.css")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    name = dataset.path.resolve().name
    return Template(_asset("report.html")).substitute(
        policy=f"default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'",
        style=style,
        script=script,
        name=escape(name),
        summary=sections.summary(content),
        totals=sections.totals(content),
        clips=sections.clips(content),
        sheets=sections.sheets(content),
        scenes=sections.scenes(content),
        pixels=sections.pixels(content),
        cost=sections.cost(content),
        codec=sections.codec(content),
        failures=sections.failures(content),
        licences=sections.licences(content),
        recipe=sections.recipe(content),
    )


def _asset(name: str) -> str:
    return files("manifests.report").joinpath(name).read_text(encoding="utf-8")
