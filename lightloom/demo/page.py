"""`write_page`: one self-contained HTML page that tells the demo's story, in the style of the datasets' own pages.

All text that comes from files is escaped.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from string import Template

from lightloom.demo import measured, story
from lightloom.demo.chain import Chain
from lightloom.demo.stages import Record
from manifests.atomic import write_bytes
from manifests.report.shell import page_asset, shell, transport

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
        result=story.result(chain),
        dataset=story.dataset(chain, records),
        training=story.training(chain, records),
        footage=story.footage(chain, records),
        cotraining=story.cotraining(chain, records),
        evaluation=measured.evaluation(chain, records),
        edits=story.edits(chain, records),
        time=story.time(records),
        next=story.what_next(chain),
    )
    return shell(
        title="Lightloom demo",
        eyebrow="Lightloom demo",
        heading="From nothing to a relit video",
        summary=story.summary(chain),
        totals=story.totals(chain, records),
        main=main,
        style=page_asset("page.css", _HERE),
    )
