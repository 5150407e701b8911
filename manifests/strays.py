"""Files that a dataset folder should not hold: found by `verify`, moved out of the way by `repair`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from manifests import layout
from manifests.atomic import is_temporary
from manifests.dataset import Dataset

_KNOWN = {layout.HEADER, layout.LOCK, layout.CATALOGUE, *layout.REPORTS}
_FOLDERS = {*layout.SUFFIX, layout.WORK, layout.QUARANTINE}


@dataclass(frozen=True)
class Stray:
    """A file that is out of place.

    `kind` says what repair does: "foreign" is moved to `quarantine/`, "leftover" of a killed run removed, and
    "uncommitted" is a shard's file without the manifest that makes it count: its clips are saved first.
    """

    path: str
    what: str
    advice: str
    kind: str
    shard: int | None = None


def strays(dataset: Dataset) -> Iterator[Stray]:
    """Every file below the dataset's folder that does not belong there, in order of path; links are never followed."""
    for path in sorted(dataset.path.iterdir()):
        if path.name in _FOLDERS and path.is_dir() and not path.is_symlink():
            if path.name == layout.QUARANTINE:
                continue
            for inner in sorted(path.iterdir()):
                stray = _work(dataset, inner) if path.name == layout.WORK else _shard_file(dataset, path.name, inner)
                if stray:
                    yield stray
        elif is_temporary(path):
            yield _leftover(dataset, path)
        elif path.name not in _KNOWN or path.is_symlink() or not path.is_file():
            yield _foreign(dataset, path)


def _shard_file(dataset: Dataset, folder: str, path: Path) -> Stray | None:
    shard = layout.shard_number(path, folder)
    if is_temporary(path):
        return _leftover(dataset, path)
    if shard is None or shard >= dataset.header.shards or path.is_symlink() or not path.is_file():
        return _foreign(dataset, path)
    if folder != layout.MANIFEST and not dataset.committed(shard):
        what = f"shard {shard} has no manifest, so it does not count"
        advice = "resume the run, or `lightloom data repair`"
        return Stray(_relative(dataset, path), what, advice, "uncommitted", shard)
    return None


def _work(dataset: Dataset, path: Path) -> Stray | None:
    if is_temporary(path):
        return _leftover(dataset, path)
    if path.name == layout.LOGS and path.is_dir() and not path.is_symlink():
        return None
    item = layout.item_number(path)
    if item is None or path.is_symlink() or not path.is_file() or dataset.header.sources:
        return _foreign(dataset, path)
    if item >= dataset.header.items:
        return _foreign(dataset, path)
    if dataset.committed(dataset.shard_of(item)):
        what = f"a work item of shard {dataset.shard_of(item)}, which is already committed"
        return Stray(_relative(dataset, path), what, "resume the run, or `lightloom data repair`", "leftover")
    return None


def _leftover(dataset: Dataset, path: Path) -> Stray:
    what = "a file that a killed run had not finished"
    return Stray(_relative(dataset, path), what, "resume the run, or `lightloom data repair`", "leftover")


def _foreign(dataset: Dataset, path: Path) -> Stray:
    what = "is a link" if path.is_symlink() else "does not belong into a dataset"
    return Stray(_relative(dataset, path), what, "move it away, or `lightloom data repair` does", "foreign")


def _relative(dataset: Dataset, path: Path) -> str:
    return str(path.relative_to(dataset.path))
