"""Licence and author of files that a user brings: rules in a YAML file beside them, the first that fits counts.

    assets:
      - {path: "rocks/**", licence: CC-BY-4.0, author: A. Sculptor, url: "https://example.org"}
      - {path: "*.glb", licence: CC0-1.0}

Assets and footage have files of their own name and key, and rules with a few more fields each.
"""

from __future__ import annotations

import fnmatch
import itertools
import operator
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated

import msgspec

from manifests.errors import InputError
from manifests.untrusted import read_yaml

_LONGEST_PATTERN = 500
_TOKEN = re.compile(r"\[!?\]?[^\]]*\]|.", re.DOTALL)


class SidecarRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Facts about the files that `path` matches: a glob relative to the sidecar's folder, `**` spans folders."""

    path: Annotated[str, msgspec.Meta(max_length=_LONGEST_PATTERN)]
    licence: str = ""
    author: str = ""
    url: str = ""

    def fits(self, name: str | PurePosixPath) -> bool:
        """True for the name, relative to the sidecar's folder, of a file that this rule is about."""
        return _matches(PurePosixPath(name).parts, PurePosixPath(self.path).parts)


def read_rules[Rule: SidecarRule](path: Path, key: str, rule: type[Rule]) -> tuple[Rule, ...]:
    """The rules under `key` of the sidecar at `path`, none where there is no file.

    Raises InputError for one that `read_yaml` refuses, or that is no list of rules.
    """
    try:
        if not path.is_file():
            return ()
        plain = read_yaml(path)
        if not isinstance(plain, dict) or plain.keys() != {key}:
            raise ValueError(f"`{key}`, and nothing else, holds the rules")
        return msgspec.convert(plain[key], tuple[rule, ...])  # type: ignore[valid-type]
    except (OSError, ValueError) as error:
        what = " ".join(str(error).split())[:300]
        raise InputError(f"is not a list of rules: {what}", where=path) from None


def _matches(parts: Sequence[str], patterns: Sequence[str]) -> bool:
    """Whether a path fits a glob, both in parts, in time that is their product: a regular expression may not end."""
    fits = [True] + [False] * len(parts)  # [i]: whether the patterns so far fit the first i parts
    for pattern in patterns:
        if pattern == "**":
            fits = list(itertools.accumulate(fits, operator.or_))
        else:
            fits = [False] + [before and _fits_part(part, pattern) for before, part in zip(fits, parts, strict=False)]
    return fits[-1]


def _fits_part(part: str, pattern: str) -> bool:
    """The same for one part, letter by letter; `?`, `*` and classes such as `[a-z]` or `[!0]` as in a shell."""
    fits = [True] + [False] * len(part)
    for token in _TOKEN.findall(pattern):
        if True not in fits:
            return False
        if token == "*":
            fits = list(itertools.accumulate(fits, operator.or_))
        else:
            fits = [False] + [
                before and fnmatch.fnmatchcase(letter, token) for before, letter in zip(fits, part, strict=False)
            ]
    return fits[-1]
