"""Where a dataset's files are: the one place that spells their names (docs/dataset.md)."""

from __future__ import annotations

import re

from manifests.object_path import Place

HEADER = "dataset.json"
LOCK = ".lock"
LEDGER = "ledger.json"
"""What the committed shards hold, added up, and how the last run went: a copy, made again where it is wrong."""

CATALOGUE = "catalogue.parquet"
"""The assets that the clips were drawn from, where the stage keeps a copy; its digest is in the header."""

LOGS = "logs"
"""Folder in `work/` where a run's workers write their output while it lasts."""

SHARDS, MANIFEST, FAILURES, PREVIEWS, WORK = "shards", "manifest", "failures", "previews", "work"
QUARANTINE = "quarantine"
SUFFIX = {SHARDS: ".tar", MANIFEST: ".parquet", FAILURES: ".parquet", PREVIEWS: ".webp"}
"""The four files of a shard: folder and suffix. The manifest comes last when writing: its presence is the commit."""

TOGETHER = {MANIFEST: "clips.parquet", FAILURES: "failures.parquet"}
"""The rows of all shards of a complete dataset in one file each: copies, made again where they are wrong."""

VERIFIED = "verified.jsonl"
"""Shards that a verification which was interrupted had found whole; gone once it is complete."""

REPORTS = ("report.html", "ATTRIBUTION.md", "attribution.csv")
"""What the `data` commands may leave beside the dataset."""

_NUMBER = re.compile(r"\d{6}|[1-9]\d{6,}")
_ITEM = re.compile(r"(\d{8}|[1-9]\d{8,})\.(tar|failure\.json)")


def shard_file(dataset: Place, folder: str, shard: int) -> Place:
    """Path of one of a shard's four files, `folder` being a key of `SUFFIX`."""
    return dataset / folder / f"{shard:06d}{SUFFIX[folder]}"


def shard_number(path: Place, folder: str) -> int | None:
    """The shard that a file of `folder` belongs to, or None when it is not named like one."""
    if path.suffix != SUFFIX[folder] or not _NUMBER.fullmatch(path.stem):
        return None
    return int(path.stem)


def item_file(dataset: Place, item: int) -> Place:
    """Path of a finished work item that waits for its shard."""
    return dataset / WORK / f"{item:08d}.tar"


def failure_file(dataset: Place, item: int) -> Place:
    """Path of the note about a quarantined work item that waits for its shard."""
    return dataset / WORK / f"{item:08d}.failure.json"


def item_number(path: Place) -> int | None:
    """The work item that a file of `work/` belongs to, or None when it is not named like one."""
    match = _ITEM.fullmatch(path.name)
    return int(match.group(1)) if match else None
