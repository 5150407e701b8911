"""A DL3DV-10K tree: scenes as `{batch}/{hash}.zip` or extracted folders, with an index of hash, label, batch, duration.

A partial download looks whole, so what is there is held against what is announced: the tree against its index here,
each scene's images against its transforms.json when it is opened (`labeling/sources/frame_reader.py`).
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from labeling.sources.colmap import MODEL_FILES, cameras_of
from labeling.sources.footage import FootageProblem
from labeling.sources.frame_stores import is_image, open_store
from manifests.errors import FootageError

LICENCE = "CC-BY-NC-4.0"
AUTHOR = "DL3DV-10K (Ling et al.)"
URL = "https://dl3dv-10k.github.io/DL3DV-10K/"

_HASH = re.compile(r"[0-9a-f]{64}")
_IMAGES = re.compile(r"images(_\d+)?")
_PREFERRED = ("images_4", "images_8", "images_2", "images")
_LARGEST_INDEX = 64 << 20
_COLUMNS = {"hash", "batch"}


@dataclass(frozen=True)
class Listed:
    """What the index says of a scene; `duration` in seconds, 0 where it cannot be read."""

    label: str
    batch: str
    duration: float


@dataclass(frozen=True)
class Dl3dvScene:
    """A scene's image folder and transforms.json, as names inside it; empty where there is none."""

    images: str
    transforms: str


def is_hash(name: str) -> bool:
    """Whether a folder or zip is named as DL3DV names its scenes."""
    return bool(_HASH.fullmatch(name))


def looks_like_scene(folder: Path, inside: Iterable[str]) -> bool:
    """Whether a folder with such entries is a scene rather than a place for others."""
    entries = set(inside)
    return (
        is_hash(folder.name)
        or any(_IMAGES.fullmatch(name) and name != "images" for name in entries)
        or ("images" in entries and bool(entries & {"transforms.json", "sparse", "colmap"}))
    )


def inspect(path: Path, name: str, images: str | None) -> tuple[Dl3dvScene, list[FootageProblem]]:
    """Find a scene's parts by name. Raises FootageError if there is nothing to read in it.

    images: the folder asked for; None takes images_4, images_8, images_2 or images, the first there is.
    """
    store = open_store(path)
    try:
        names = store.names
        refused = Counter((reason, message) for reason, _, message in store.refused)
        first = {(reason, message): where for reason, where, message in reversed(store.refused)}
    finally:
        store.close()
    problems = [
        FootageProblem(
            reason=reason, path=name, message=f"{count} files left out, first {first[reason, message]!r}: {message}"
        )
        for (reason, message), count in refused.items()
    ]
    folders = {PurePosixPath(file).parent for file in names if is_image(file)}
    folders = {folder for folder in folders if _IMAGES.fullmatch(folder.name)}
    found = sorted((file for file in names if PurePosixPath(file).name == "transforms.json"), key=_depth)
    roots = [PurePosixPath(file).parent for file in found] or sorted({folder.parent for folder in folders}, key=_depth)
    if len(roots) > 1:
        message = f"holds {len(roots)} scenes or copies of one; {str(roots[0])!r} is used"
        problems.append(FootageProblem(reason="duplicate", path=name, message=message))
    here = {folder.name: folder for folder in folders if roots and folder.parent == roots[0]}
    wanted = (images,) if images else _PREFERRED
    chosen = next((here[option] for option in wanted if option in here), None)
    if chosen is None:
        asked = images or "images_4, images_8, images_2 or images"
        raise FootageError(
            "no-images", f"no {asked} with frames in it", f"there is: {', '.join(sorted(here)) or 'none'}"
        )
    models = sorted((file for file in names if _is_model(file, set(names))), key=_depth)
    return Dl3dvScene(images=str(chosen), transforms=next(iter([*found, *models]), "")), problems


def _is_model(file: str, names: set[str]) -> bool:
    """Whether a file holds the images of a COLMAP model whose cameras lie beside it."""
    return PurePosixPath(file).name in MODEL_FILES and cameras_of(file) in names


def find_index(root: Path) -> Path | None:
    """The CSV file in `root` whose first line names the columns of an index, if there is one."""
    for path in sorted(root.glob("*.csv")):
        try:
            with path.open("r", encoding="utf-8-sig", errors="replace", newline="") as file:
                if set(csv.DictReader([file.readline(10_000)]).fieldnames or ()) >= _COLUMNS:
                    return path
        except (OSError, csv.Error):
            continue
    return None


def read_index(path: Path) -> tuple[dict[str, Listed], list[FootageProblem]]:
    """Scenes by hash. Lines that cannot be read are reported together."""
    listed: dict[str, Listed] = {}
    wrong: list[int] = []
    try:
        if path.stat().st_size > _LARGEST_INDEX:
            return {}, [_index_problem(path, f"larger than {_LARGEST_INDEX >> 20} MiB")]
        with path.open("r", encoding="utf-8-sig", errors="replace", newline="") as file:
            reader = csv.DictReader(file)
            if not set(reader.fieldnames or ()) >= _COLUMNS:
                return {}, [_index_problem(path, "its first line does not name the columns hash and batch")]
            for row in reader:
                name = (row["hash"] or "").strip().lower()
                if not re.fullmatch(r"[0-9a-z_-]+", name) or name in listed:
                    wrong.append(reader.line_num)
                    continue
                entry = Listed((row.get("label") or "").strip(), (row["batch"] or "").strip(), _seconds(row))
                listed[name] = entry
    except (OSError, csv.Error) as error:
        return {}, [_index_problem(path, str(error))]
    if wrong:
        return listed, [_index_problem(path, f"{len(wrong)} lines without a hash of their own, first line {wrong[0]}")]
    return listed, []


def compare(listed: Mapping[str, Listed], found: Mapping[str, str]) -> list[FootageProblem]:
    """What the index lists and is not there, batch by batch, and what is there and not listed (name by hash)."""
    problems = [
        FootageProblem(reason="unlisted", path=name, message="the index does not list this scene")
        for scene, name in sorted(found.items())
        if scene not in listed
    ]
    total = Counter(entry.batch for entry in listed.values())
    missing: dict[str, list[str]] = {}
    for scene, entry in listed.items():
        if scene not in found:
            missing.setdefault(entry.batch, []).append(scene)
    for batch, scenes in sorted(missing.items()):
        message = f"{len(scenes)} of the {total[batch]} scenes that the index lists are not there, first {min(scenes)}"
        problems.append(FootageProblem(reason="missing-scenes", path=batch or ".", message=message))
    return problems


def _seconds(row: Mapping[str, str | None]) -> float:
    """Seconds from "61.5" or "0:01:01.5"; 0 for anything else."""
    text = (row.get("duration") or "").strip()
    if not re.fullmatch(r"(\d{1,3}:){0,2}\d{1,7}(\.\d{1,9})?", text):
        return 0.0
    seconds = 0.0
    for part in text.split(":"):
        seconds = seconds * 60 + float(part)
    return seconds


def _depth(name: PurePosixPath | str) -> tuple[int, str]:
    return len(PurePosixPath(name).parts), str(name)


def _index_problem(path: Path, message: str) -> FootageProblem:
    return FootageProblem(reason="bad-index", path=path.name, message=message)
