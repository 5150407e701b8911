"""`write_report`: one self-contained HTML page about a dataset, for eyes that judge renders for a living.

All text from the dataset is escaped.
"""

from __future__ import annotations

from html import escape
from pathlib import Path
from string import Template

from manifests import layout
from manifests.atomic import write_bytes
from manifests.dataset import Dataset, open_dataset
from manifests.report import sections
from manifests.report.gather import gather
from manifests.report.shell import page_asset, shell, transport

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
