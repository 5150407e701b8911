"""Licence and author of files that a user brings: rules in a YAML file beside them, the first that fits counts.

    assets:
      - {path: "rocks/**", licence: CC-BY-4.0, author: A. Sculptor, url: "https://example.org"}
      - {path: "*.glb", licence: CC0-1.0}

Assets and footage have files of their own name and key, and rules with a few more fields each.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import msgspec
import yaml

from manifests.errors import InputError

_LARGEST = 2_000_000


class SidecarRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Facts about the files that `path` matches: a glob relative to the sidecar's folder, `**` spans folders."""

    path: str
    licence: str = ""
    author: str = ""
    url: str = ""

    def fits(self, name: str | PurePosixPath) -> bool:
        """True for the name, relative to the sidecar's folder, of a file that this rule is about."""
        return PurePosixPath(name).full_match(self.path)


def read_rules[Rule: SidecarRule](path: Path, key: str, rule: type[Rule]) -> tuple[Rule, ...]:
    """The rules under `key` of the sidecar at `path`, none where there is no file.

    Raises InputError for one that is too large, that is no list of rules, or that uses YAML's aliases: a few lines of
    those expand without end.
    """
    try:
        if not path.is_file():
            return ()
        if path.stat().st_size > _LARGEST:
            raise ValueError(f"larger than {_LARGEST} bytes")
        text = path.read_text("utf-8")
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text)):
            raise ValueError("aliases are not read")
        plain = yaml.safe_load(text)
        if not isinstance(plain, dict) or plain.keys() != {key}:
            raise ValueError(f"`{key}`, and nothing else, holds the rules")
        return msgspec.convert(plain[key], tuple[rule, ...])  # type: ignore[valid-type]
    except (OSError, ValueError, RecursionError, yaml.YAMLError, msgspec.ValidationError) as error:
        what = " ".join(str(error).split())[:300]
        raise InputError(f"is not a list of rules: {what}", where=path) from None
