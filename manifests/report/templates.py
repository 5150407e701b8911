"""The Jinja2 environment of all pages: HTML is escaped, and templates lie beside the code that fills them.

A file is named by its package and itself, as `manifests.report/page.html`; Markdown templates end in .md and escape
nothing.
"""

from __future__ import annotations

import base64
import hashlib
import math
from importlib.resources import files
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from manifests.display import human_size


def render(template: str, **values: Any) -> str:
    """The text of a template with these values."""
    return _ENVIRONMENT.get_template(template).render(values)


def macro(template: str, name: str, *arguments: Any) -> Markup:
    """The HTML that one macro of a template makes."""
    return Markup(getattr(_ENVIRONMENT.get_template(template).module, name)(*arguments))


def number(value: float) -> str:
    """A number as people read it: 1,234 or 0.0512 or 3.4."""
    value = float(value)
    if not math.isfinite(value):
        return str(value)
    if value == round(value) and abs(value) < 1e15:
        return f"{round(value):,}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _asset(name: str) -> str:
    """Text of a file."""
    package, _, file = name.partition("/")
    return files(package).joinpath(file).read_text(encoding="utf-8")


def _data_uri(data: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def _digest(script: str) -> str:
    """How a content security policy names the one script that may run."""
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}"


_ENVIRONMENT = Environment(
    loader=FunctionLoader(lambda name: (_asset(name), name, None)),
    autoescape=select_autoescape(("html",), ("md",), default=True),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
_ENVIRONMENT.filters |= {"number": number, "bytes": human_size, "data_uri": _data_uri, "digest": _digest}
_ENVIRONMENT.globals |= {"asset": lambda name: Markup(_asset(name))}
