"""`lightloom-footage.yaml`: what a user states about footage that the files cannot say, above all its licence.

    footage:
      - {path: "city/**", licence: CC-BY-4.0, author: Ada, url: "https://...", label: street}

The first rule whose glob (relative to the source) fits an item counts.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Annotated

import msgspec
import yaml
from msgspec import Meta

from labeling.sources.base import Problem

SIDECAR = "lightloom-footage.yaml"
_LARGEST = 1 << 20


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Facts about the items that `path` matches; `fps` counts for frame folders and scenes, videos have their own."""

    path: Annotated[str, Meta(min_length=1)] = "**"
    licence: str = ""
    author: str = ""
    url: str = ""
    label: str = ""
    fps: Annotated[float, Meta(ge=0, le=1000)] = 0.0


class _Sidecar(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    footage: tuple[Rule, ...]


def read_sidecar(root: Path) -> tuple[tuple[Rule, ...], list[Problem]]:
    """The rules in `root`, none where there is no sidecar."""
    path = root / SIDECAR
    try:
        if not path.is_file():
            return (), []
        if path.stat().st_size > _LARGEST:
            raise ValueError(f"larger than {_LARGEST >> 20} MiB")
        text = path.read_text("utf-8")
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text)):
            raise ValueError("aliases are not read")  # a few lines of them expand without end
        return msgspec.convert(yaml.safe_load(text), _Sidecar).footage, []
    except (OSError, ValueError, RecursionError, yaml.YAMLError, msgspec.ValidationError) as error:
        message = " ".join(str(error).split())[:300]
        return (), [Problem(reason="bad-sidecar", path=SIDECAR, message=message)]


def rule_for(rules: tuple[Rule, ...], name: str) -> Rule:
    """The first rule that fits an item's name; an empty one where none does."""
    return next((rule for rule in rules if PurePosixPath(name).full_match(rule.path)), Rule())
