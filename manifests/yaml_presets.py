"""YAML that says what differs from a base: how recipes and presets are read, with errors that name file and field."""

from __future__ import annotations

import difflib
import sys
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import msgspec

from manifests.errors import LightloomError
from manifests.untrusted import LARGEST_YAML, decode_yaml, read_bounded

_DEEPEST_BASE = 8

Plain = dict[str, Any]


def guide(name: str) -> Path:
    """Where "docs/recipes.md" is to be read: in the checkout, or where the wheel has put its guides."""
    here = Path(__file__).parents[1] / name
    return here if here.is_file() else Path(sys.prefix, "share", "doc", "lightloom", Path(name).name)


@dataclass(frozen=True)
class Layered:
    """A family of YAML files. Each may say `base:` with a shipped name or a path relative to itself.

    Attributes:
        what: what a file is called in messages: "recipe".
        folder: where those lie that come with the package, as NAME.yaml.
        names: the shipped ones.
        shown: those of them that messages list.
        guide: what explains the fields, by its path in a checkout.
        error: what is raised.
        whole: whether the mapping of a key replaces the one below it, given (key, below, above); others are merged.
    """

    what: str
    folder: Path
    names: tuple[str, ...]
    shown: tuple[str, ...]
    guide: str
    error: type[LightloomError]
    whole: Callable[[str, Plain, Plain], bool]

    def read(self, label: str) -> Plain:
        """Plain data of a shipped name or a path, over that of its bases; without a `name`, the file's is taken."""
        plain = self._read(label, 0)
        if label not in self.names and "name" not in self._parse(label):
            plain["name"] = Path(label).stem
        return plain

    def convert[T: msgspec.Struct](self, plain: Any, wanted: type[T], label: str) -> T:
        """Plain data as `wanted`; unknown fields and wrong values are errors that say `label` and the field."""
        self._refuse_unknown(plain, wanted, "", label)
        try:
            return msgspec.convert(plain, wanted)
        except msgspec.ValidationError as error:
            message, _, path = str(error).partition(" - at ")
            where = path.strip("`").removeprefix("$").removeprefix(".") or "top level"
            raise self.error(f"{where}: {message}", where=label) from None

    def merge(self, below: Mapping[str, Any], above: Mapping[str, Any]) -> Plain:
        """`above` over `below`, mapping by mapping."""
        merged = dict(below)
        for key, value in above.items():
            old = merged.get(key)
            if isinstance(old, dict) and isinstance(value, dict) and not self.whole(key, old, value):
                merged[key] = self.merge(old, value)
            else:
                merged[key] = value
        return merged

    def _read(self, label: str, depth: int) -> Plain:
        plain = self._parse(label)
        base = plain.pop("base", None)
        if base is None:
            return plain
        if not isinstance(base, str):
            raise self.error(f"base: expected the name of a {self.what} or a path, got {base!r}", where=label)
        if depth == _DEEPEST_BASE:
            deep = f"more than {_DEEPEST_BASE} {self.what}s deep"
            raise self.error(f"base: {deep}", "do two of them name each other?", where=label)
        below = base if base in self.names else str(Path(label).parent / base)
        return self.merge(self._read(below, depth + 1), plain)

    def _parse(self, label: str) -> Plain:
        path = self.folder / f"{label}.yaml" if label in self.names else Path(label)
        try:
            data = read_bounded(path, LARGEST_YAML)
        except (OSError, ValueError) as error:
            hint = _nearest(Path(label).name, self.names) or f"shipped {self.what}s are {', '.join(self.shown)}"
            raise self.error(f"cannot be read as a {self.what} ({error})", hint, where=label) from None
        try:
            plain = decode_yaml(data)
        except ValueError as error:
            raise self.error(f"not YAML: {error}", where=label) from None
        if not isinstance(plain, dict) or not all(isinstance(key, str) for key in plain):
            raise self.error(
                f"a {self.what} is a mapping of field names to values", f"see {guide(self.guide)}", where=label
            )
        return plain

    def _refuse_unknown(self, plain: Any, wanted: Any, path: str, label: str) -> None:
        if not isinstance(plain, dict):
            return
        if not (isinstance(wanted, type) and issubclass(wanted, msgspec.Struct)):
            tagged = {str(t.__struct_config__.tag): t for t in get_args(wanted) if hasattr(t, "__struct_config__")}
            kind = plain.get("kind")
            if isinstance(kind, str) and kind in tagged:
                inner = {key: value for key, value in plain.items() if key != "kind"}
                self._refuse_unknown(inner, tagged[kind], path, label)
            return
        types = typing.get_type_hints(wanted)
        for key, value in plain.items():
            if key not in types:
                hint = _nearest(str(key), types) or f"known are {', '.join(types)}"
                raise self.error(f"{path}{key}: no such field", hint, where=label)
            self._refuse_unknown(value, types[key], f"{path}{key}.", label)


def _nearest(word: str, known: typing.Iterable[str]) -> str:
    near = difflib.get_close_matches(word, list(known), 1, cutoff=0.5)
    return f"did you mean {near[0]}?" if near else ""
