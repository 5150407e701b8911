"""What every page of ours has around its sections: head, style, header and script, in one file that asks for nothing.

The page makes no request: pictures and videos are inside it, and its content security policy forbids any. Only the
script that ships with it may run, by its hash.
"""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files
from string import Template

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
