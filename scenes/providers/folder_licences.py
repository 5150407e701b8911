"""Licence and author of files in a user's folder: from `lightloom-assets.yaml`, else from a licence file nearby.

A licence file is only believed when it names exactly one known licence; everything else stays "unknown", and the
default policy leaves it out.
"""

from __future__ import annotations

import contextlib
import re
from pathlib import Path, PurePosixPath

import msgspec

from manifests.errors import InputError
from manifests.sidecars import SidecarRule, read_rules
from scenes.licences import UNKNOWN, normalise
from scenes.spec import Positive

SIDECAR = "lightloom-assets.yaml"
_LARGEST_NOTE = 200_000
_NOTE_NAME = re.compile(r"(.*(licen[sc]e|copying).*|readme.*)", re.IGNORECASE)
_PHRASES = (
    (re.compile(r"creative commons zero|\bcc-?0\b|publicdomain/zero", re.IGNORECASE), "CC0-1.0"),
    (re.compile(r"permission is hereby granted, free of charge", re.IGNORECASE), "MIT"),
    (re.compile(r"apache license,?\s+version 2\.0", re.IGNORECASE), "Apache-2.0"),
)
_CC = re.compile(
    r"creativecommons\.org/licenses/([a-z-]+)/(\d\.\d)|\bcc[ -](by(?:-nc)?(?:-sa|-nd)?)[ -](\d\.\d)", re.IGNORECASE
)


class AssetRule(SidecarRule, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Facts about asset files.

    `size`: scene units that one tile of a texture set covers. `place`: what place an environment shows.
    """

    licence: str = UNKNOWN
    size: Positive = 1.0
    place: str = ""


class Sidecars:
    """Rules of every sidecar under a root. The nearest folder's sidecar counts first, in it the first rule that fits.

    `problems` lists sidecars that could not be read, with the reason, and rules with a licence that is not known.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.problems: list[tuple[Path, str]] = []
        self._rules: dict[Path, tuple[AssetRule, ...]] = {}
        self._notes: dict[Path, str | None] = {}

    def rule(self, path: Path) -> AssetRule:
        """Facts about a file or texture folder under the root; the licence is an SPDX id or "unknown"."""
        is_folder = path.is_dir()
        folders = _upward(path / "_" if is_folder else path, self.root)
        for folder in folders:
            name = PurePosixPath(path.relative_to(folder).as_posix())
            for rule in self._read(folder):
                if rule.fits(name) or (is_folder and rule.fits(name / "_")):
                    return rule
        for folder in folders:
            if (licence := self._note(folder)) is not None:
                return AssetRule(path="", licence=licence)
        return AssetRule(path="")

    def _read(self, folder: Path) -> tuple[AssetRule, ...]:
        if folder not in self._rules:
            self._rules[folder] = self._parse(folder / SIDECAR)
        return self._rules[folder]

    def _parse(self, path: Path) -> tuple[AssetRule, ...]:
        try:
            read = () if path.is_symlink() else read_rules(path, "assets", AssetRule)
        except InputError as error:
            self.problems.append((path, error.what))
            return ()
        rules = []
        for rule in read:
            licence = normalise(rule.licence)
            if licence == UNKNOWN and rule.licence != UNKNOWN:
                self.problems.append((path, f"{rule.path}: licence {rule.licence!r} is not a known SPDX id"))
            rules.append(msgspec.structs.replace(rule, licence=licence))
        return tuple(rules)

    def _note(self, folder: Path) -> str | None:
        """The one licence that the licence and readme files of a folder name, or None."""
        if folder not in self._notes:
            found: set[str] = set()
            for path in sorted(folder.iterdir()):
                if _NOTE_NAME.fullmatch(path.name) and path.is_file() and not path.is_symlink():
                    with contextlib.suppress(OSError), path.open("rb") as stream:
                        found |= licences_in(stream.read(_LARGEST_NOTE).decode("utf-8", "replace"))
            self._notes[folder] = found.pop() if len(found) == 1 else None
        return self._notes[folder]


def licences_in(text: str) -> set[str]:
    """SPDX ids of the licences that a text names by their usual words or addresses."""
    found = {licence for phrase, licence in _PHRASES if phrase.search(text)}
    for slug, version, short, short_version in _CC.findall(text):
        found.add(normalise(f"CC-{(slug or short).upper()}-{version or short_version}"))
    return found


def _upward(path: Path, root: Path) -> list[Path]:
    """Folders from the path's parent up to root."""
    return [folder for folder in path.parents if folder.is_relative_to(root)]
