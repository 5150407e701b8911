"""Finds the footage below a path: videos, folders of frames, DL3DV scenes. Nothing is decoded, everything is named."""

from __future__ import annotations

import fnmatch
import glob
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from labeling.sources import dl3dv
from labeling.sources.bucket_footage import outline
from labeling.sources.footage import (
    Discovery,
    Footage,
    FootageProblem,
    Reason,
    SourceKind,
    SourceOptions,
    uid_of,
    video_footage,
)
from labeling.sources.frame_stores import of_kind, speakable
from labeling.sources.video_reader import SUFFIXES
from manifests.errors import FootageError, InputError
from manifests.object_path import ObjectPath, Place, place
from manifests.sidecars import SidecarRule, read_rules

SIDECAR = "lightloom-footage.yaml"
TRANSFORMS = "transforms*.json"
_DEPTH = 12
_NAMED = 3
"""So many names of ignored files are given."""
DEFAULTS = SourceOptions()


def discover(path: str | Place, *, kind: SourceKind = "auto", options: SourceOptions = DEFAULTS) -> Discovery:
    """All footage at `path` (a file, a folder, or its URL), in the order of its uid, with every problem on the way.

    kind: look for one kind only. Raises InputError if `path` cannot be searched.
    """
    given = place(path)
    if isinstance(given, ObjectPath):
        return _in_bucket(given, kind, options)
    root = given.resolve()
    if not root.exists():
        raise _nothing(given)
    if root.is_file():
        return _Search(root.parent, kind, options).single(root)
    if not root.is_dir():
        raise InputError(f"{given} is neither a regular file nor a folder")
    return _Search(root, kind, options).run()


def _nothing(given: Place) -> InputError:
    advice = "give a video, a folder of videos or frames, or a DL3DV tree"
    return InputError("no such file or folder", advice, where=given)


def _in_bucket(given: ObjectPath, kind: SourceKind, options: SourceOptions) -> Discovery:
    """The same of a bucket, searched in an outline of it; of a plain server one file."""
    root, files, single = given, given.tree() if given.lists else {}, ""
    if not files:
        if not given.is_file():
            raise _nothing(given)
        root, single = given.parent, given.name
        files = {single: given.stat()}
        if root.lists and (root / SIDECAR).is_file():
            files[SIDECAR] = (root / SIDECAR).stat()
    with tempfile.TemporaryDirectory(prefix="lightloom-") as scratch:
        folder = Path(scratch).resolve() / (root.name or "bucket")
        folder.mkdir()
        problems = outline(root, files, folder)
        cameras = f"transforms_{root.name}.json"  # of a split, above it
        if root.lists and root.key and (root.parent / cameras).is_file():
            (folder.parent / cameras).touch()
        found = discover(folder / single, kind=kind, options=options)

        def there(item: Footage) -> Footage:
            return msgspec.structs.replace(item, path=str(root / Path(item.path).relative_to(folder).as_posix()))

        footage = tuple(map(there, found.footage))
        return Discovery(root=str(root), footage=footage, problems=(*problems, *found.problems))


class _Search:
    """One walk over a source."""

    def __init__(self, root: Path, kind: str, options: SourceOptions) -> None:
        self._root, self._options = root, options
        self._kinds = {"video", "frames", "dl3dv"} if kind == "auto" else {kind}
        self._found: dict[str, Footage] = {}
        self._problems: list[FootageProblem] = []
        self._ignored: list[str] = []
        self._scenes: dict[str, str] = {}
        self._rules: tuple[FootageRule, ...] = ()
        try:
            self._rules = read_rules(root / SIDECAR, "footage", FootageRule)
        except InputError as error:
            self._problems.append(FootageProblem(reason="bad-sidecar", path=SIDECAR, message=error.what))
        self._index: Mapping[str, dl3dv.Listed] = {}
        self._index_file: Path | None = None

    def run(self) -> Discovery:
        """Search the whole folder."""
        if "dl3dv" in self._kinds:
            self._index_file = self._options.index or dl3dv.find_index(self._root)
            if self._index_file:
                self._index, problems = dl3dv.read_index(self._index_file)
                self._problems += problems
        for folder, folders, files in self._walk(self._root, _DEPTH):
            self._folder(folder, folders, files)
        if self._index:
            self._problems += dl3dv.compare(self._index, self._scenes)
        return self._result()

    def single(self, path: Path) -> Discovery:
        """The one file that was asked for."""
        if path.suffix.lower() == ".zip" and "dl3dv" in self._kinds:
            self._scene(path)
        elif "video" in self._kinds:
            self._add(video_footage(path, path.name))
        else:
            raise InputError(f"{path.name} is a file", "frames lie in a folder, scenes in a folder or a zip")
        return self._result()

    def _walk(self, folder: Path, depth: int) -> Iterator[tuple[Path, list[str], list[str]]]:
        """(folder, its folders, its files) top down; scenes and frame folders are not descended into."""
        folders, files = [], []
        try:
            with os.scandir(folder) as entries:
                for entry in sorted(entries, key=lambda entry: entry.name):
                    if entry.name.startswith("."):
                        continue
                    if not speakable(entry.name):
                        self._report("refused", folder, f"a name that is not UTF-8: {entry.name!a}")
                    elif entry.is_symlink() and not Path(entry.path).resolve().is_relative_to(self._root):
                        self._report("leaves-folder", Path(entry.path), "a link that leads out of the source")
                    elif entry.is_dir(follow_symlinks=False):
                        folders.append(entry.name)
                    elif entry.is_file():
                        files.append(entry.name)
        except OSError as error:
            self._report("unreadable", folder, error.strerror or str(error))
            return
        yield folder, folders, files
        if "dl3dv" in self._kinds and dl3dv.looks_like_scene(folder, (*folders, *files)):
            return
        for name in folders if depth else ():
            yield from self._walk(folder / name, depth - 1)

    def _folder(self, folder: Path, folders: list[str], files: list[str]) -> None:
        if "dl3dv" in self._kinds and dl3dv.looks_like_scene(folder, (*folders, *files)):
            self._scene(folder)
            return
        videos = [name for name in files if name.lower().endswith(tuple(SUFFIXES))]
        wanted = self._options.images or ""
        pattern = wanted if set("*?[") & set(wanted) else ""
        images = of_kind(files, pattern or "*")
        zips = [name for name in files if name.lower().endswith(".zip")]
        used: set[str] = set()
        if "dl3dv" in self._kinds:
            used.update(zips)
            for name in zips:
                self._scene(folder / name)
        if "video" in self._kinds:
            used.update(videos)
            for name in videos:
                self._video(folder / name)
        if "frames" in self._kinds and len(images) > 1 and not ("video" in self._kinds and videos):
            used.update(images)
            where, cameras = self._name(folder), self._cameras_of(folder, files)
            self._add(
                Footage(
                    uid=uid_of(where), kind="frames", name=where, path=str(folder), images=pattern, transforms=cameras
                )
            )
            used.update(name for name in files if fnmatch.fnmatchcase(name, cameras))
        index = self._index_file.name if self._index_file and folder == self._root else ""
        if folders:
            used.update(fnmatch.filter(files, TRANSFORMS))
        self._ignored += [self._name(folder / name) for name in files if name not in used | {SIDECAR, index}]

    def _cameras_of(self, folder: Path, files: list[str]) -> str:
        """Which files have the cameras of a folder of frames, as a pattern below it; empty for none.

        Those of a split have its name and lie above it, as in NeRF's synthetic scenes: `transforms_train.json` of
        `train`.
        """
        own = f"transforms_{folder.name}.json"
        if (folder.parent / own).is_file():
            return f"../{glob.escape(own)}"
        if fnmatch.filter(files, TRANSFORMS):
            return TRANSFORMS
        above = folder != self._root and next(folder.parent.glob(TRANSFORMS), None)
        return f"../{TRANSFORMS}" if above else ""

    def _video(self, path: Path) -> None:
        if path.stat().st_size == 0:
            self._report("unreadable", path, "the file is empty")
            return
        self._add(video_footage(path, self._name(path)))

    def _scene(self, path: Path) -> None:
        """A folder or zip that should be a scene. Where both are there, the one that comes first stands."""
        scene = path.name.removesuffix(".zip").lower()
        listed = self._index.get(scene)
        name = self._name(path)
        self._scenes.setdefault(scene, name)
        try:
            parts, problems = dl3dv.inspect(path, name, self._options.images)
        except FootageError as error:
            self._report(error.reason, path, str(error))  # type: ignore[arg-type]
            return
        self._problems += problems
        known = dl3dv.is_hash(scene) or listed is not None
        self._add(
            Footage(
                uid=scene[:40] if dl3dv.is_hash(scene) else uid_of(name.removesuffix(".zip")),
                kind="dl3dv",
                name=name,
                path=str(path),
                images=parts.images,
                transforms=parts.transforms,
                label=listed.label if listed else "",
                licence=dl3dv.LICENCE if known else "unknown",
                author=dl3dv.AUTHOR if known else "",
                url=dl3dv.URL if known else "",
                duration=listed.duration if listed else 0.0,
            )
        )

    def _add(self, footage: Footage) -> None:
        """Take an item in, with what the sidecar, or else the options, state about it."""
        if footage.uid in self._found:
            other = self._found[footage.uid].name
            self._report("duplicate", Path(footage.path), f"the same item as {other}, which is used")
            return
        options = self._options
        rule = next((rule for rule in self._rules if rule.fits(footage.name)), FootageRule())
        stated = FootageRule(licence=options.licence, author=options.author, url=options.url, label=options.label)
        facts = {
            field: getattr(rule, field) or getattr(stated, field) or getattr(footage, field)
            for field in ("licence", "author", "url", "label")
        }
        fps = rule.fps or options.fps if footage.kind != "video" else 0.0
        self._found[footage.uid] = msgspec.structs.replace(footage, **facts, fps=fps)

    def _result(self) -> Discovery:
        if self._ignored:
            some = ", ".join(self._ignored[:_NAMED]) + (" ..." if len(self._ignored) > _NAMED else "")
            message = f"{len(self._ignored)} files are no footage and were left out: {some}"
            self._problems.append(FootageProblem(reason="not-footage", path=".", message=message))
        ordered = tuple(self._found[uid] for uid in sorted(self._found))
        return Discovery(root=str(self._root), footage=ordered, problems=tuple(self._problems))

    def _name(self, path: Path) -> str:
        """Name below the source; the source's own name for the source itself."""
        return path.relative_to(self._root).as_posix() if path != self._root else path.name

    def _report(self, reason: Reason, path: Path, message: str) -> None:
        self._problems.append(FootageProblem(reason=reason, path=self._name(path), message=message))


class FootageRule(SidecarRule, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a user states about footage that the files cannot say, above all its licence.

        footage:
          - {path: "city/**", licence: CC-BY-4.0, author: Ada, url: "https://example.org", label: street}

    `fps` counts for frame folders and scenes, videos have their own.
    """

    path: Annotated[str, Meta(min_length=1, max_length=4096)] = "**"
    label: str = ""
    fps: Annotated[float, Meta(ge=0, le=1000)] = 0.0
