"""`attribution`: every asset that is visible in a dataset, with licence and author, for the credits it owes.

Names, authors and links come from strangers: they are escaped for Markdown, and made harmless for spreadsheets.
"""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass

from manifests.audit.stats import connect
from manifests.files import write_bytes
from manifests.object_path import Place
from manifests.store.dataset import Dataset, open_dataset

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>()#+!|~&])")
_RESTRICTED = re.compile(r"(?:^|[-_ .])(nc|nd|noncommercial|noderivatives|noderivs)(?=$|[-_ .\d])", re.IGNORECASE)
_KEPT = re.compile(r"no[-_ ]?redistribution", re.IGNORECASE)
_UNKNOWN = {"", "unknown", "none", "other", "noassertion", "proprietary", "all rights reserved"}


@dataclass(frozen=True)
class Credit:
    """An asset in use: what it is, what is owed for it, and how many clips show it."""

    uid: str
    kind: str
    source: str
    licence: str
    author: str
    url: str
    clips: int

    @property
    def warning(self) -> str:
        """Why the licence needs a decision, or "" when it does not."""
        licence = self.licence.strip()
        inherited = "; labels inherit that" if self.kind == "checkpoint" else ""
        if licence.lower() in _UNKNOWN:
            return f"unknown licence{inherited}"
        forbidden = [
            "commercial use" if match.lower().startswith(("nc", "nonc")) else "derivatives"
            for match in _RESTRICTED.findall(licence)
        ]
        forbidden += ["redistribution"] if _KEPT.search(licence) else []
        if forbidden:
            return f"{licence} forbids {' and '.join(dict.fromkeys(forbidden))}{inherited}"
        if not self.author and licence.upper().startswith("CC-BY"):
            return f"{licence} asks for the author, who is not known"
        return ""


@dataclass(frozen=True)
class Attribution:
    """The credits of a dataset, by kind and uid."""

    title: str
    credits: tuple[Credit, ...]

    @property
    def warnings(self) -> list[str]:
        """One line for each asset whose licence needs a decision."""
        flagged = [one for one in self.credits if one.warning]
        return [f"{one.kind} {one.uid}: {one.warning}, in {one.clips} clip{'s'[: one.clips != 1]}" for one in flagged]

    def markdown(self) -> str:
        """A page with one table for each kind of asset; what needs a decision comes first."""
        lines = [f"# Assets in {_markdown(self.title)}", ""]
        if self.warnings:
            lines += ["## Needs a decision", "", *(f"- {_markdown(warning)}" for warning in self.warnings), ""]
        for kind in dict.fromkeys(one.kind for one in self.credits):
            lines += [
                f"## {_markdown(kind)}",
                "",
                "| asset | licence | author | source | clips |",
                "|---|---|---|---|---:|",
            ]
            for one in self.credits:
                if one.kind == kind:
                    name = f"[{_markdown(one.uid)}](<{one.url}>)" if _is_link(one.url) else _markdown(one.uid)
                    cells = (name, *map(_markdown, (one.licence, one.author, one.source)), str(one.clips))
                    lines.append(f"| {' | '.join(cells)} |")
            lines.append("")
        return "\n".join(lines)

    def csv(self) -> str:
        """All credits as CSV with a header line."""
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(["uid", "kind", "source", "licence", "author", "url", "clips", "warning"])
        for one in self.credits:
            cells = (one.uid, one.kind, one.source, one.licence, one.author, one.url)
            writer.writerow([*map(_cell, cells), one.clips, _cell(one.warning)])
        return buffer.getvalue()

    def write(self, folder: Place) -> tuple[Place, Place]:
        """Write ATTRIBUTION.md and attribution.csv into `folder`; returns their paths."""
        pages = (folder / "ATTRIBUTION.md", self.markdown()), (folder / "attribution.csv", self.csv())
        for path, text in pages:
            write_bytes(path, text.encode())
        return pages[0][0], pages[1][0]


def attribution(dataset: Dataset | Place | str) -> Attribution:
    """The credits of all committed clips; DatasetError when a manifest cannot be read."""
    dataset = dataset if isinstance(dataset, Dataset) else open_dataset(dataset)
    with connect(dataset) as connection:
        rows = connection.execute(
            "SELECT uid, kind, source, licence, author, url, count(DISTINCT key) "
            "FROM (SELECT key, unnest(assets, recursive := true) FROM clips) GROUP BY ALL ORDER BY kind, uid, licence"
        ).fetchall()
    return Attribution(dataset.path.resolve().name, tuple(Credit(*row) for row in rows))


def _markdown(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", " ".join(text.split())) or "-"


def _is_link(url: str) -> bool:
    return re.fullmatch(r"https?://[^\s<>\"|]+", url) is not None


def _cell(text: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{text}" if text[:1] in {"=", "+", "-", "@", "\t", "\r"} else text
