"""`write_report`: one self-contained HTML page about a dataset, for eyes that judge renders for a living.

All text from the dataset is escaped.
"""

from __future__ import annotations

import base64
import hashlib
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template

from manifests.files import write_bytes
from manifests.report import sections
from manifests.report.gather import gather
from manifests.store import layout
from manifests.store.dataset import Dataset, open_dataset

PACKAGE = "manifests.report"


def page_asset(name: str, package: str = PACKAGE) -> str:
    """Text of a file that lies beside the code of `package`."""
    return files(package).joinpath(name).read_text(encoding="utf-8")


def transport() -> str:
    """Controls that play all clips of a page together."""
    return page_asset("transport.html")


def shell(*, title: str, eyebrow: str, heading: str, summary: str, totals: str, main: str, style: str = "") -> str:
    """A page as HTML text. All parts are HTML already, escaped by who made them; `style` adds to the common one."""
    script = page_asset("report.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return Template(page_asset("shell.html")).substitute(
        policy=f"default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'",
        title=title,
        eyebrow=eyebrow,
        heading=heading,
        summary=summary,
        totals=totals,
        main=main,
        style=page_asset("report.css") + style,
        script=script,
    )


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
    name = escape(dataset.path.resolve().name)
    main = Template(page_asset("report.html")).substitute(
        transport=transport(),
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
    return shell(
        title=f"{name} - Lightloom dataset",
        eyebrow="Lightloom dataset",
        heading=name,
        summary=sections.summary(content),
        totals=sections.totals(content),
        main=main,
    )
