"""`write_page`: one self-contained HTML page that tells the demo's story, in the style of the datasets' own pages.

The page makes no request: videos and pictures are inside it, and its content security policy forbids any. All text that
comes from files is escaped; only the datasets' pages' script runs.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from string import Template

from lightloom.demo import measured, story
from lightloom.demo.chain import Chain
from lightloom.demo.stages import Record
from manifests.atomic import write_bytes

PAGE = "index.html"


def write_page(chain: Chain, records: Sequence[Record]) -> Path:
    """Write the page of a finished demo to OUT/index.html and return its path."""
    path = chain.out / PAGE
    write_bytes(path, page(chain, records).encode())
    return path


def page(chain: Chain, records: Sequence[Record]) -> str:
    """The page as HTML text."""
    style = _shared("report.css") + _own("page.css")
    script = _shared("report.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return Template(_own("page.html")).substitute(
        policy=f"default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'",
        style=style,
        script=script,
        summary=story.summary(chain),
        totals=story.totals(chain, records),
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


def _shared(name: str) -> str:
    return files("manifests.report").joinpath(name).read_text(encoding="utf-8")


def _own(name: str) -> str:
    return files("lightloom.demo").joinpath(name).read_text(encoding="utf-8")
