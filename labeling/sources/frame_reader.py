"""Frames that are image files, in a folder or a DL3DV scene: their order, their gaps, their size, their cameras.

Order and gaps come from the numbers in the names. A file that is missing, damaged or of another size leaves a gap at
its place, so that no segment quietly jumps over it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

import cv2
import numpy as np

from labeling.sources.bucket_footage import fetch
from labeling.sources.colmap import cameras_of, parse_colmap
from labeling.sources.footage import MAX_FRAMES, MAX_PIXELS, Footage, Frame, Reader, Reason, natural
from labeling.sources.frame_stores import MAX_FILE, FrameStore, is_image, kind_of, of_kind, open_store
from labeling.sources.tone_map import rolled_off
from labeling.sources.transforms import Transforms, bends, camera_of, checked, of_folder, parse_transforms, pose_of
from labeling.sources.video_reader import VideoReader
from manifests.codec.light_file import read_exr_picture
from manifests.contract.camera import fitted
from manifests.errors import CodecError, FootageError
from manifests.files import Scratch
from manifests.object_path import ObjectPath, place
from manifests.picture_file import read_picture
from manifests.untrusted import read_bounded

FRAME_FORMATS = ("PNG", "JPEG", "WEBP", "TIFF")
_PROBES = 9
_DIGITS = re.compile(r"[0-9]+")
_RATES = (0.1, 240.0)
_DEFAULT_RATE = 24.0


def open_footage(footage: Footage, *, size: int | None = None) -> Reader:
    """A reader whose frames have a larger side of at most `size` pixels; FootageError if nothing can be read.

    Close it, or use it as a context manager; that removes the copy of an item from a bucket, too. Everything that is
    wrong with single frames lands in `Reader.problems`. Raises StorageError where a bucket does not answer.
    """
    where = place(footage.path)
    if isinstance(where, ObjectPath):
        scratch = Scratch()
        try:
            reader = open_footage(fetch(footage, where, scratch.path), size=size)
        except BaseException:
            scratch.close()
            raise
        reader.footage, reader.held = footage, scratch
        return reader
    if footage.kind == "video":
        return VideoReader(footage, size)
    return FrameReader(footage, size)


class FrameReader(Reader):
    """Reads image files as frames. Raises FootageError when nothing can be used; see `Reader`."""

    def __init__(self, footage: Footage, side: int | None = None) -> None:
        self.footage = footage
        self.camera = None
        self.flags: set[str] = set()
        self.problems = []
        self._store: FrameStore = open_store(Path(footage.path))
        try:
            transforms = self._transforms()
            self._names = self._list(transforms)
            self._stored = self._usual_size()
            self.size = fitted(self._stored, side)
            self.fps = self._rate()
            if transforms is not None:
                self._set_camera(transforms)
        except BaseException:
            self.close()
            raise

    def __iter__(self) -> Iterator[Frame]:
        """Frames in ascending index; once."""
        damaged: list[str] = []
        others: list[str] = []
        for index, name in self._names:
            try:
                image = self._load(name)
            except FootageError as error:
                damaged.append(str(error))
                continue
            if image.shape[:2] != self._stored:
                others.append(f"{name} is {image.shape[1]}x{image.shape[0]}")
                continue
            if self.size != self._stored:
                image = cv2.resize(image, (self.size[1], self.size[0]), interpolation=cv2.INTER_AREA)
            yield Frame(index, image, index / self.fps)
        if damaged:
            self.report("damaged", f"{len(damaged)} frames cannot be read; left out. First: {damaged[0]}")
        if others:
            height, width = self._stored
            self.report("size-changed", f"{len(others)} frames are not {width}x{height}; left out. First: {others[0]}")

    def close(self) -> None:
        """Close the zip, if it is one."""
        self._store.close()

    def _transforms(self) -> Transforms | None:
        if not self.footage.transforms:
            if self.footage.kind == "dl3dv":
                self.report("no-transforms", "no transforms.json: no poses, and missing frames show by number only")
            return None
        name = self.footage.transforms
        try:
            if self.footage.kind == "frames":
                return self._of_splits(name)
            if name.endswith(".json"):
                return parse_transforms(self._store.read(name))
            cameras, images = self._store.read(cameras_of(name)), self._store.read(name)
            return checked(parse_colmap(cameras, images, text=name.endswith(".txt")))
        except FootageError as error:
            self.report("bad-transforms", str(error))
            return None

    def _of_splits(self, pattern: str) -> Transforms | None:
        """Of a folder of frames: what the files say that lie in it or just above."""
        folder = Path(self.footage.path)
        above = folder.parent if pattern.startswith("../") else folder
        try:
            files = [path for path in above.glob(pattern.removeprefix("../")) if not path.is_symlink()]
            found = of_folder([read_bounded(path, MAX_FILE) for path in sorted(files)], folder.name)
        except OSError as error:
            raise FootageError("bad-transforms", f"{error.strerror}", where=error.filename) from None
        if found is None:
            self.report("no-pose", f"{pattern.removeprefix('../')} names none of these frames")
        return found

    def _list(self, transforms: Transforms | None) -> list[tuple[int, str]]:
        """(index, name) of every image that is there; what should be there beside them only counts for the index."""
        frames = self.footage.kind == "frames"
        folder = PurePosixPath("." if frames else self.footage.images or ".")
        images = [name for name in self._store.names if _lies_in(name, folder)]
        if frames and self.footage.images:
            images = of_kind(images, self.footage.images)
        if kinds := several_kinds(images):
            raise FootageError(
                "several-kinds",
                f"holds several kinds of pictures for the same frames: {', '.join(kinds)}",
                f"name one, as {f'FOLDER/{kinds[0]}' if frames else 'a folder of its own'!r}",
                where=self.footage.name,
            )
        names = {PurePosixPath(name).stem: name for name in images}
        if not names:
            raise FootageError(
                "no-images", f"holds no images in {self.footage.images or 'it'}", where=self.footage.name
            )
        announced = transforms.entries() if transforms else {}
        places, regular = numbering(sorted(names.keys() | announced.keys(), key=natural))
        if not regular:
            self.report("irregular-names", "the names are not numbered evenly: taken in sorted order, gaps unseen")
        self.frames = max(places.values()) + 1
        if missing := [stem for stem in places if stem not in names]:
            gone = f"{len(missing)} of its {len(announced)} frames that are not there"
            first = min(missing, key=natural)[:80]
            self.report("missing-frames", f"{self.footage.transforms} lists {gone}, first {first}")
        if holes := self.frames - len(places):
            self.report("missing-frames", f"{holes} of {self.frames} numbers are missing among the frames")
        return sorted((places[stem], name) for stem, name in names.items())

    def _usual_size(self) -> tuple[int, int]:
        """(H, W) that most of a few images share, upright."""
        sizes: Counter[tuple[int, int]] = Counter()
        problems = []
        steps = np.linspace(0, len(self._names) - 1, min(_PROBES, len(self._names))).round().astype(int)
        for step in steps.tolist():
            try:
                sizes[self._load(self._names[step][1]).shape[:2]] += 1
            except FootageError as error:
                problems.append(str(error))
        if not sizes:
            raise FootageError("unreadable", f"no frame can be read: {problems[0]}", where=self.footage.name)
        return max(sizes, key=lambda size: (sizes[size], size))

    def _rate(self) -> float:
        stated = self.footage.fps
        if not stated and self.footage.duration > 0:
            stated = self.frames / self.footage.duration
        if _RATES[0] <= stated <= _RATES[1]:
            return stated
        if self.frames > 1:
            self.flags.add("assumed-fps")
        return _DEFAULT_RATE

    def _set_camera(self, transforms: Transforms) -> None:
        matrices = transforms.entries()
        poses: dict[int, np.ndarray] = {}
        without, wrong = 0, 0
        for index, name in self._names:
            matrix = matrices.get(PurePosixPath(name).stem)
            pose = pose_of(matrix) if matrix is not None else None
            if pose is not None:
                poses[index] = pose
            without, wrong = without + (matrix is None), wrong + (matrix is not None and pose is None)
        if without:
            self.report("no-pose", f"{without} of {len(self._names)} frames have no pose")
        if wrong:
            self.report("bad-pose", f"{wrong} of {len(self._names)} frames have a pose that is not rigid")
        try:
            self.camera = camera_of(transforms, poses, self._stored, self.size)
        except FootageError as error:
            self.report("bad-transforms", str(error))
            return
        if bends(self.camera, self.size):
            self.flags.add("distorted-lens")

    def _load(self, name: str) -> np.ndarray:
        """(H, W, 3) uint8 of one image file, upright unless it belongs to poses (they describe it as stored)."""
        image, flags = read_image(name, self._store.read(name), upright=not self.footage.transforms)
        self.flags |= flags
        return image


def several_kinds(names: Sequence[str]) -> list[str]:
    """The kinds of pictures, as patterns, where several show the same frames; empty where each frame has one picture.

    `rgba_*.png` and `depth_*.png` are two kinds if they share numbers, `*.jpg` and `*.png` if they share names.
    """
    kinds: dict[str, list[str]] = {}
    for name in names:
        kinds.setdefault(kind_of(name), []).append(name)
    sets = {kind: {_first_number(name) for name in held} for kind, held in kinds.items() if len(held) > 1}
    shared = [kind for kind in sets if any(sets[kind] & sets[other] for other in sets if other != kind)]
    stems = Counter(PurePosixPath(name).stem for name in names)
    if max(stems.values(), default=0) > 1:
        shared += (
            [f"*{suffix}" for suffix in sorted({PurePosixPath(name).suffix for name in names})] if not shared else []
        )
    return shared


def _first_number(name: str) -> str:
    found = _DIGITS.search(PurePosixPath(name).name)
    return found[0] if found else ""


def numbering(stems: Sequence[str]) -> tuple[dict[str, int], bool]:
    """Place of each frame from the last number in its name, counted in the usual step, and whether that is regular.

    frame_010, frame_020, frame_040 stand at 0, 1 and 3. Where prefixes differ, numbers repeat, do not fit a step, or
    would spread over absurdly many places, the given order counts and nothing can be said of gaps.
    """
    parts = [re.fullmatch(r"(.*?)([0-9]{1,18})([^0-9]*)", stem, re.DOTALL) for stem in stems]
    numbers = [int(part[2]) for part in parts if part]
    plain = {stem: place for place, stem in enumerate(stems)}
    alike = {(part[1], part[3]) for part in parts if part}
    if len(stems) == 1:
        return plain, True
    if len(numbers) < len(stems) or len(alike) > 1 or len(set(numbers)) < len(numbers):
        return plain, False
    step = min(b - a for a, b in zip(sorted(numbers), sorted(numbers)[1:], strict=False))
    first, last = min(numbers), max(numbers)
    if any((number - first) % step for number in numbers) or (last - first) // step >= MAX_FRAMES:
        return plain, False
    return {stem: (number - first) // step for stem, number in zip(stems, numbers, strict=True)}, True


def read_image(name: str, data: bytes, *, upright: bool) -> tuple[np.ndarray, set[str]]:
    """(H, W, 3) uint8 sRGB and flags, from a PNG, JPEG, WebP, TIFF or EXR; transparent pixels lie over black.

    An EXR holds linear light, of which 1 is white and what is brighter rolls off (`tone_map.py`).
    Raises FootageError ("damaged" or "refused"). `upright` applies the camera's orientation mark.
    """
    if name.lower().endswith(".exr"):
        try:
            return rolled_off(read_exr_picture(data)), {"linear-light"}
        except CodecError as error:
            raise FootageError("damaged", f"{error}", where=name) from None
    try:
        picture = read_picture(data, MAX_PIXELS, FRAME_FORMATS, upright=upright)
    except OverflowError as error:
        raise FootageError("refused", f"{name} is {error}") from None
    except ValueError as error:
        reason: Reason = "refused" if "without a range" in str(error) else "damaged"
        raise FootageError(reason, f"{error}", where=name) from None
    flags = {"alpha"} if picture.alpha is not None else set()
    return picture.over_black(), flags | ({"colour-profile"} if picture.profile else set())


def _lies_in(name: str, folder: PurePosixPath) -> bool:
    return PurePosixPath(name).parent == folder and is_image(name)
