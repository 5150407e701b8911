"""What has to be true of a dataset after workers, drivers and machines died under it."""

from __future__ import annotations

from typing import Any

import msgspec

from manifests.audit.verify import verify
from manifests.files import is_temporary
from manifests.object_path import ObjectPath, Place, entries
from manifests.store import layout
from manifests.store.dataset import Dataset, open_dataset

VOLATILE = {"seconds", "encode_seconds", "worker", "attempts"}
FOLLOWS = {"offset", "size", "sha256"}  # of the bytes in the tar, which hold the row's volatile fields too

Content = dict[str, tuple[dict[str, Any], dict[str, bytes]]]


def content(dataset: Dataset) -> Content:
    """Rows without what depends on the moment, and files, by key."""
    found = {}
    for row in dataset.rows():
        plain = {name: value for name, value in msgspec.to_builtins(row).items() if name not in VOLATILE | FOLLOWS}
        found[row.key] = plain, dataset.files(row)
    return found


def assert_whole(path: Place, expected: Content, told: object) -> None:
    """The dataset is verified, holds what is expected without a failure, and nothing was left lying about."""
    dataset = open_dataset(path)
    assert verify(path).ok
    assert content(dataset) == expected, told
    assert dataset.failures() == []
    assert (left := _left_lying(path / layout.WORK)) == [], left
    assert isinstance(path, ObjectPath) or not [file for file in path.rglob("*") if is_temporary(file)]


def _left_lying(work: Place) -> list[str]:
    """Names; an object store may list a folder in which nothing is, and in it an object of its own name."""
    if isinstance(work, ObjectPath):
        return sorted((work.stats().keys() | (work / layout.LOGS).stats().keys()) - {layout.WORK, layout.LOGS})
    return [path.name for path in entries(work)]
