"""What footage is: the items that a source holds, what is wrong with them, and how their frames are read.

`Footage` is plain data, so it travels to actors and into reports. Reading is streaming: whatever is wrong with an item
is found while it is read, and what cannot be used is left out and reported as a `FootageProblem`, never guessed over.
"""

from __future__ import annotations

import hashlib
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

import msgspec
import numpy as np
import tyro

from manifests.contract.camera import Camera
from manifests.files import Scratch

Kind = Literal["video", "frames", "dl3dv"]
SourceKind = Literal["auto", "video", "frames", "dl3dv"]

Reason = Literal[
    "unreadable",  # nothing of it can be opened
    "damaged",  # some frames cannot be decoded; the others are used
    "truncated",  # the file ends before what its header announces
    "refused",  # too large, encrypted, or of a format that is not read on purpose
    "leaves-folder",  # a name or link points outside the source
    "hdr",  # a linear or logarithmic curve, or colours without a defined conversion
    "several-tracks",  # more than one film in a file; the one that is played by default, or the largest, is read
    "size-changed",  # frames of another size than the item's
    "too-many-frames",  # longer than the limit; the rest is not read
    "missing-frames",  # frames that a listing or the numbering announces are not there
    "no-transforms",  # a DL3DV scene without transforms.json
    "bad-transforms",  # transforms.json, or what it says of the intrinsics, cannot be used
    "no-pose",  # frames without a pose
    "bad-pose",  # poses that are not rigid
    "no-images",  # no image folder, or not the one asked for
    "missing-scenes",  # the index lists scenes that are not there
    "unlisted",  # a scene that the index does not list
    "bad-index",  # the index, or some of its lines, cannot be read
    "bad-sidecar",  # the file that states licences cannot be read
    "duplicate",  # the same item twice
    "irregular-names",  # frame names without a regular number: order and gaps rest on the sorted names
    "several-kinds",  # pictures of several kinds for the same frames; none is chosen
    "not-footage",  # files that are no footage
]

MEANINGS = {
    "tone-mapped": "HDR (HLG or PQ) is brought to sRGB: reference white is white, highlights roll off",
    "linear-light": "linear light is brought to sRGB: 1 is white, highlights roll off",
    "alpha": "what is transparent is taken for black",
    "interlaced": "interlaced, and taken as it is",
    "wide-gamut": "colours of BT.2020 or P3 are taken for those of sRGB",
    "colour-profile": "a colour profile is not applied",
    "no-timestamps": "no time stamps; frames are taken at an even rate",
    "assumed-fps": "no frame rate is stated; 24 per second are taken",
    "distorted-lens": "the lens bends straight lines; frames are taken as they are",
    "damaged": "some frames cannot be decoded; left out",
    "truncated": "the file ends before what its header announces",
    "several-tracks": "several films in a file; the default or largest one is taken",
    "size-changed": "some frames have another size; left out",
    "too-many-frames": "longer than the limit; the rest is not read",
    "missing-frames": "some frames are not there",
    "no-transforms": "no transforms.json: no poses",
    "bad-transforms": "transforms.json cannot be used: no poses",
    "no-pose": "some frames have no pose",
    "bad-pose": "some poses are not rigid",
    "irregular-names": "frames are not numbered evenly: taken in sorted order, gaps unseen",
}
"""What flags and reasons of footage that is used say to people; a problem's own message says more."""

MAX_PIXELS = 1 << 26
"""Larger frames are refused: 8192 x 8192, 192 MiB as 8-bit RGB."""
MAX_FRAMES = 1 << 20
"""Frames of one item beyond this are not read: 12 hours at 24 frames per second."""

_UID_LENGTH = 40


class FootageProblem(msgspec.Struct, frozen=True, kw_only=True):
    """Something that a source or one of its items gets wrong; `path` is relative to the source where it can be."""

    reason: Reason
    path: str
    message: str


class Footage(msgspec.Struct, frozen=True, kw_only=True):
    """One item of real footage: a video file, a folder of frames, or a DL3DV scene.

    `uid` is made of a-z, 0-9, `_` and `-`, at most 40 characters, unique in its source and the same wherever the
    source lies: it can stand in `Clip.key`. `name` is the path below the source. `path` is absolute: the video, the
    folder or the zip; `images` (a folder) and `transforms` (a file) are names inside it (DL3DV); of a folder of
    frames both are patterns of names, `images` empty for all, `transforms` of files in it or (`../`) just above
    it. In a bucket `path` is a URL. `fps` is the rate stated by the user, `duration` the seconds stated by the index; 0
    where nothing is stated. Videos use their own.
    `licence` is an SPDX id or "unknown".
    """

    uid: str
    kind: Kind
    name: str
    path: str
    images: str = ""
    transforms: str = ""
    label: str = ""
    licence: str = "unknown"
    author: str = ""
    url: str = ""
    fps: float = 0.0
    duration: float = 0.0


def video_footage(path: Path, name: str) -> Footage:
    """The video file at the absolute `path`, called `name` below its source."""
    return Footage(uid=uid_of(name), kind="video", name=name, path=str(path))


class Discovery(msgspec.Struct, frozen=True, kw_only=True):
    """What was found at `root`: footage in the order of its uid (work item i is footage i), and every problem."""

    root: str
    footage: tuple[Footage, ...]
    problems: tuple[FootageProblem, ...]


@dataclass(frozen=True, kw_only=True)
class SourceOptions:
    """What is known of a source from outside; a rule of its `lightloom-footage.yaml` goes before.

    Attributes:
        images: image folder of DL3DV scenes, such as images_8; the first of images_4, images_8, images_2, images if
            not given. With a wildcard, which files of folders of frames are the frames: 'rgba_*.png'.
        index: DL3DV's index CSV; if not given, the one in the source.
        licence: SPDX licence of footage that states none.
        author: author of footage that states none.
        url: address of footage that states none.
        label: what footage shows that states none.
        fps: frame rate of frame folders that state none.
    """

    images: str | None = None
    index: tyro.conf.Suppress[Path | None] = None
    licence: str = ""
    author: str = ""
    url: tyro.conf.Suppress[str] = ""
    label: tyro.conf.Suppress[str] = ""
    fps: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """A frame: index (a gap in the indices is a gap in the footage), (H, W, 3) uint8 sRGB, time in seconds."""

    index: int
    rgb: np.ndarray
    seconds: float


@dataclass(frozen=True, eq=False)
class FootageCamera:
    """Cameras of an item at its reader's size, in the convention of docs/conventions.md.

    intrinsics: (3, 3) in pixels of the frames as they are read. poses: camera_to_world (4, 4) by frame index; frames
    without a usable pose are missing. The world is the dataset's own: its origin, up and unit are arbitrary.
    distortion: OpenCV coefficients (k1, k2, p1, p2 ...) that are not zero; the frames are NOT undistorted.
    """

    intrinsics: np.ndarray
    poses: Mapping[int, np.ndarray]
    distortion: Mapping[str, float] = field(default_factory=dict)

    def window(self, indices: Iterable[int]) -> Camera | None:
        """The cameras of these frames as a clip carries them, or None unless every one of them has a pose."""
        poses = [self.poses.get(index) for index in indices]
        known = [pose for pose in poses if pose is not None]
        if not known or len(known) < len(poses):
            return None
        return Camera(intrinsics=self.intrinsics.copy(), camera_to_world=np.stack(known))


class Reader(ABC):
    """Reads the frames of one item once, in order, holding a few at a time. A context manager.

    Attributes:
        footage: the item.
        frames: how many frame indices it has, missing ones included.
        fps: frames per second (the median over the item, where the rate varies).
        size: (H, W) of the frames as they are yielded: upright, square pixels.
        camera: intrinsics and poses where known, else None.
        flags: what a user of the frames should know, e.g. "variable-frame-rate", "interlaced", "alpha",
            "distorted-lens", "assumed-fps"; complete after reading.
        problems: what could not be used; complete after reading.
    """

    footage: Footage
    frames: int
    fps: float
    size: tuple[int, int]
    camera: FootageCamera | None
    flags: set[str]
    problems: list[FootageProblem]
    held: Scratch | None = None  # the copy of an item from a bucket

    @abstractmethod
    def __iter__(self) -> Iterator[Frame]:
        """Frames in ascending index."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the file; reading is over."""

    @property
    def said(self) -> list[str]:
        """What people should know of the frames, a line each; complete after reading."""
        return [problem.message for problem in self.problems] + [
            MEANINGS[flag] for flag in sorted(self.flags) if flag in MEANINGS
        ]

    def report(self, reason: Reason, message: str) -> None:
        """Add a problem of this item."""
        self.problems.append(FootageProblem(reason=reason, path=self.footage.name, message=message))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()
        if self.held is not None:
            self.held.close()


def uid_of(name: str) -> str:
    """The uid of a name below the source: readable, and distinct by a digest of the whole name."""
    stem = re.sub(r"\.[A-Za-z0-9]{1,5}$", "", name)
    slug = re.sub(r"[^a-z0-9]+", "-", stem.lower()).strip("-")
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:8]
    return f"{slug[-(_UID_LENGTH - 9) :].strip('-')}-{digest}".lstrip("-")


def natural(name: str) -> tuple[tuple[int, int, str], ...]:
    """Sort key under which frame_9 comes before frame_10."""
    parts = re.findall(r"\d+|\D+", name)
    return tuple((0, int(part), part) if part.isascii() and part.isdigit() else (1, 0, part) for part in parts)
