"""Cameras in files: what was solved, kept as JSON beside an output; COLMAP's folders; transforms.json."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np

from labeling.cameras.camera_solving import CameraKind, CameraSolution, camera_in_world, solve_tracks
from labeling.cameras.feature_tracks import FeatureTracks, track_features
from labeling.sources.colmap import MODEL_FILES, cameras_of, parse_colmap
from labeling.sources.footage import Footage, natural
from labeling.sources.frame_reader import numbering
from labeling.sources.transforms import camera_of, parse_transforms, pose_of
from manifests.contract.camera import Camera
from manifests.errors import FootageError, InputError
from manifests.files import write_bytes
from manifests.untrusted import decode_json, read_bounded

VERSION = 3
_MOST_BYTES = 1 << 28
_LONGEST = 600
"""Frames of a film that is solved."""
_CUT = 0.1
"""A cut keeps less than this share of the corners."""


class SolvedShot(msgspec.Struct, frozen=True, kw_only=True):
    """Frames `first` to `last` of a film, and what `CameraSolution` says of them; poses and lenses where solved.

    `camera_to_world` are 4x4 rows of each frame (OpenGL: x right, y up, z toward the viewer; world z up), `intrinsics`
    3x3 rows of each frame in pixels of the film, `points` the places of corners, of a moving camera.
    """

    first: int
    last: int
    kind: CameraKind
    lens: str = "assumed"
    up: str = "assumed"
    error: float = 0.0
    share: float = 0.0
    reason: str = ""
    camera_to_world: list[list[list[float]]] = []
    intrinsics: list[list[list[float]]] = []
    points: list[list[float]] = []

    def camera(self) -> Camera | None:
        """Its camera, with an intrinsic matrix a frame; None where it is unsolved."""
        if self.kind == "unsolved":
            return None
        return Camera(np.array(self.intrinsics, dtype=float), np.array(self.camera_to_world, dtype=float))

    def line(self) -> str:
        """For people."""
        if self.kind == "unsolved":
            return f"frames {self.first} to {self.last}: not solved ({self.reason}); taken to stand still and level"
        roughly = f" roughly ({self.reason})" if self.reason else ""
        return (
            f"frames {self.first} to {self.last}: {self.kind}{roughly}, off by {self.error:.2f} pixels, explains "
            f"{self.share:.0%} of the picture; focal length {self.lens}, up {self.up}"
        )


class FilmCameras(msgspec.Struct, frozen=True, kw_only=True):
    """The cameras of a film of `size` (H, W), shot by shot; `digest` names the film and options they are of."""

    version: int = VERSION
    digest: str = ""
    size: tuple[int, int]
    shots: list[SolvedShot]


def solve_film(
    frames: Iterable[np.ndarray], size: tuple[int, int], fov_degrees: float, digest: str = ""
) -> FilmCameras:
    """The camera of every shot of a film, whose frames (H, W, 3) uint8 are looked at once.

    digest: of the film and what it is solved with (`film_digest`).
    """
    tracks = track_features(_bounded(frames))
    count = len(tracks.places)
    if count > _LONGEST:
        unsolved = CameraSolution("unsolved", None, reason=f"films of more than {_LONGEST} frames are not solved")
        return FilmCameras(size=size, digest=digest, shots=[_shot(0, count, unsolved)])
    shots = [_shot(a, b, solve_tracks(_part(tracks, a, b), size, fov_degrees)) for a, b in pairwise(_cuts(tracks))]
    return FilmCameras(size=size, digest=digest, shots=shots)


def film_digest(footage: Footage, fov_degrees: float) -> str:
    """SHA-256, in hex, of the contents of a film (names, sizes and times of a folder's files) and the options."""
    total = hashlib.sha256(f"{VERSION} {fov_degrees!r} {footage.images}\n".encode())
    path = Path(footage.path)
    if path.is_file():
        with path.open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    else:
        for part in sorted(path.rglob("*")):
            known = part.stat()
            total.update(f"{part.relative_to(path).as_posix()} {known.st_size} {known.st_mtime_ns}\n".encode())
    return total.hexdigest()


def write_cameras(path: Path, cameras: FilmCameras) -> None:
    """Write our JSON, whole or not at all."""
    write_bytes(path, msgspec.json.encode(cameras))


def kept_cameras(path: Path, digest: str) -> FilmCameras | None:
    """What was solved before for the same film and options, or None."""
    try:
        found = decode_json(read_bounded(path, _MOST_BYTES), FilmCameras)
    except (OSError, InputError, msgspec.DecodeError):
        return None
    return found if found.version == VERSION and found.digest == digest else None


def read_cameras(path: Path, frames: int, size: tuple[int, int]) -> FilmCameras:
    """Cameras of a film of so many frames of `size` (H, W): our JSON, a COLMAP folder, transforms.json.

    InputError where they are none, or not this film's.
    """
    try:
        if path.is_dir():
            return _one_shot(_from_colmap(path, frames, size), frames, size)
        data = read_bounded(path, _MOST_BYTES)
    except OSError as error:
        raise _bad(path, error.strerror or str(error)) from None
    try:
        found = decode_json(data, FilmCameras)
    except msgspec.DecodeError as error:
        if b'"shots"' in data[:200]:
            raise _bad(path, str(error)) from None
        try:
            return _one_shot(_from_transforms(data, frames, size), frames, size)
        except FootageError as wrong:
            raise _bad(path, str(wrong)) from None
    for shot in found.shots:
        many = shot.last - shot.first + 1
        shapes: tuple[tuple[int, ...], tuple[int, ...]] = (), ()
        with suppress(ValueError):  # of rows of several lengths
            shapes = np.shape(shot.camera_to_world), np.shape(shot.intrinsics)
        if shot.kind != "unsolved" and shapes != ((many, 4, 4), (many, 3, 3)):
            raise _bad(path, f"frames {shot.first} to {shot.last} lack poses or intrinsics")
        if any(len(point) != 3 for point in shot.points):
            raise _bad(path, f"frames {shot.first} to {shot.last} have points that are not of three numbers")
    ends = [(shot.first, shot.last) for shot in found.shots]
    joined = all(one[1] + 1 == two[0] for one, two in pairwise(ends))
    if not ends or ends[0][0] != 0 or ends[-1][1] + 1 != frames or not joined or tuple(found.size) != tuple(size):
        raise _bad(path, f"cameras of another film: this one has {frames} frames of {size[1]}x{size[0]}")
    return found


def _bad(path: Path, what: str) -> InputError:
    return InputError(
        f"cannot be used as cameras: {what}", "give `camera` solve, assume, or a file", where=path, fields=("camera",)
    )


def _bounded(frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    for index, rgb in enumerate(frames):
        if index > _LONGEST:
            return
        yield rgb


def _cuts(tracks: FeatureTracks) -> list[int]:
    """First frames of shots, and the number of frames: where hardly any corner can be followed on."""
    seen = tracks.seen
    kept = (seen[1:] & seen[:-1]).sum(axis=1) / np.maximum(seen[:-1].sum(axis=1), 1)
    return [0, *(np.flatnonzero(kept < _CUT) + 1).tolist(), len(seen)]


def _part(tracks: FeatureTracks, first: int, stop: int) -> FeatureTracks:
    places = tracks.places[first:stop]
    edges = {frame - first: lines for frame, lines in tracks.edges.items() if first <= frame < stop}
    return FeatureTracks(places[:, np.isfinite(places[..., 0]).sum(axis=0) >= 2], tracks.size, edges)


def _shot(first: int, stop: int, found: CameraSolution) -> SolvedShot:
    known = found.camera
    return SolvedShot(
        first=first,
        last=stop - 1,
        kind=found.kind,
        lens=found.lens,
        up=found.up,
        error=round(found.error, 4),
        share=round(found.share, 4),
        reason=found.reason,
        camera_to_world=[] if known is None else known.camera_to_world.tolist(),
        intrinsics=[] if known is None else known.frame_intrinsics.tolist(),
        points=np.round(found.points, 5).tolist(),
    )


def _one_shot(camera: Camera, frames: int, size: tuple[int, int]) -> FilmCameras:
    moves = np.ptp(camera.camera_to_world[:, :3, 3], axis=0).max() > 0
    kind: CameraKind = "moving" if moves else "turning"
    return FilmCameras(size=size, shots=[_shot(0, frames, CameraSolution(kind, camera, "solved", "seen", share=1.0))])


def _from_colmap(path: Path, frames: int, size: tuple[int, int]) -> Camera:
    file = next((path / name for name in MODEL_FILES if (path / name).is_file()), None)
    if file is None:
        raise _bad(path, f"holds neither {' nor '.join(MODEL_FILES)}")
    try:
        parts = [read_bounded(path / name, _MOST_BYTES) for name in (cameras_of(file.name), file.name)]
        model = parse_colmap(parts[0], parts[1], text=file.suffix == ".txt")
        images = sorted(model.frames, key=lambda image: natural(image.file_path))
        if len(images) != frames:
            raise _bad(path, f"it has poses of {len(images)} of the film's {frames} frames")
        lenses = [camera_of(image, {}, size, size).intrinsics for image in images]
    except (OSError, FootageError) as error:
        raise _bad(path, error.what if isinstance(error, FootageError) else error.strerror or str(error)) from None
    seen = np.linalg.inv(np.array([image.transform_matrix for image in images]) @ np.diag([1.0, -1.0, -1.0, 1.0]))
    return Camera(np.stack(lenses), camera_in_world(seen[:, :3, :3], seen[:, :3, 3]))


def _from_transforms(data: bytes, frames: int, size: tuple[int, int]) -> Camera:
    found = parse_transforms(data)
    entries = found.entries()
    places, _ = numbering(sorted(entries, key=natural))
    first = min(places.values(), default=0)
    poses = {place - first: pose for stem, place in places.items() if (pose := pose_of(entries[stem])) is not None}
    camera = camera_of(found, poses, size, size).window(range(frames))
    if camera is None or len(poses) != frames:
        raise InputError(f"transforms.json has poses of {len(poses)} frames, the film has {frames}", fields=("camera",))
    return camera
