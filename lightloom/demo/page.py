"""`write_page`: one self-contained HTML page that tells the demo's story, in the style of the datasets' own pages.

All text that comes from files is escaped.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from string import Template

from lightloom.demo import evaluation_section, page_sections
from lightloom.demo.demo_commands import Chain
from lightloom.stages import Record
from manifests.files import write_bytes
from manifests.report.dataset_page import page_asset, shell, transport

PAGE = "index.html"
_HERE = "lightloom.demo"


def write_page(chain: Chain, records: Sequence[Record]) -> Path:
    """Write the page of a finished demo to OUT/index.html and return its path."""
    path = chain.out / PAGE
    write_bytes(path, page(chain, records).encode())
    return path


def page(chain: Chain, records: Sequence[Record]) -> str:
    """The page as HTML text."""
    main = Template(page_asset("page.html", _HERE)).substitute(
        transport=transport(),
        result=page_sections.result(chain),
        dataset=page_sections.dataset(chain, records),
        training=page_sections.training(chain, records),
        footage=page_sections.footage(chain, records),
        cotraining=page_sections.cotraining(chain, records),
        evaluation=evaluation_section.evaluation(chain, records),
        edits=page_sections.edits(chain, records),
        time=page_sections.time(records),
        next=page_sections.what_next(chain),
    )
    return shell(
        title="Lightloom demo",
        eyebrow="Lightloom demo",
        heading="From nothing to a relit video",
        summary=page_sections.summary(chain),
        totals=page_sections.totals(chain, records),
        main=main,
        style=page_asset("page.css", _HERE),
    )
