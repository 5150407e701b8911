"""Films in and out: a video, a picture or a dataset's clip, window by window, and an mp4 that plays everywhere.

Windows bound the memory: a film of any length is read, rendered and written a few frames at a time. Of a window,
networks see small pictures; its own frames wait, 8 bits each, until they are composed one by one. Reading is
`labeling.sources`' (strangers' files, bounded, upright, square pixels). Frames that a file lacks are filled with the
one before, so that every frame has its place and its time, and the result is as long as the video.
"""

from __future__ import annotations

import glob
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

import av
import cv2
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Interpolation
from PIL import Image

from editing.sound import SoundTrack
from labeling.sources.discovery import discover
from labeling.sources.footage import Footage, Reader, uid_of, video_footage
from labeling.sources.frame_reader import open_footage
from labeling.sources.frame_stores import is_image
from labeling.sources.video_reader import VideoReader
from manifests.codec.codecs import decode_clip
from manifests.contract.camera import Camera, fitted, intrinsics_from_fov, level_camera
from manifests.contract.clip import Clip
from manifests.contract.color import on_screen
from manifests.errors import InputError
from manifests.files import atomic_file, atomic_path, check_no_folder
from manifests.picture_file import Picture, read_picture
from manifests.store.dataset import open_dataset
from manifests.store.layout import HEADER

if TYPE_CHECKING:
    from renderers.sampling.windows import Window, WindowPlan

_CLOCK = 90_000
"""Time stamps per second, the usual clock of video: holds any rate, and rates that vary."""
_BT709 = 1
_MOST_PIXELS = 1 << 26
_ALONG_Y_TO_X = np.array([[0.0, 1.0, 0.0, 0.0], [-1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]])
"""Solved cameras begin by looking along +y, as in datasets; a film looks at the middle of a light's image, +x."""
_EXACT = Interpolation.AREA | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT


@dataclass(frozen=True, eq=False)
class Piece:
    """The frames of one window as networks see them: seen (n, h, w, 3) float32 sRGB in [0, 1]."""

    window: Window
    seen: np.ndarray


Waiting = deque[tuple[np.ndarray, float]]
"""Frames (H, W, 3), uint8 sRGB, and the seconds at which each is shown, until they are composed."""


class Film:
    """A video, or a clip of a dataset. A context manager.

    Attributes:
        name: for people.
        size: (H, W).
        frames: T.
        fps: frames per second.
        clip: the dataset's clip, or None for a video.
        points: (N, 3) places in the world of a moving camera that was found, which tell the unit of its steps.
        level: whether a camera that was found knows which way is up, in every shot.
        camera_said: lines for people: what `find_camera` found, shot by shot.
        remarks: lines for people: what whoever works on it could not do; `problems` has them too.
    """

    def __init__(self, name: str, source: Reader | Clip) -> None:
        self.name, self._source = name, source
        self.clip = source if isinstance(source, Clip) else None
        self.size, self.frames, self.fps = source.size, source.frames, source.fps
        self.points = np.zeros((0, 3))
        self.level = False
        self.camera_said: list[str] = []
        self.remarks: list[str] = []
        self._camera = None if self.clip is None else self.clip.camera
        self._sound: SoundTrack | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(self._source, Reader):
            self._source.close()

    @property
    def problems(self) -> list[str]:
        """What to know of the film, and of what was done with it, a line each; complete once it has been written."""
        found = (self._source.said if isinstance(self._source, Reader) else []) + self.remarks
        return found + ([self._sound.missing] if self._sound is not None and self._sound.missing else [])

    def sound(self) -> SoundTrack | None:
        """The film's sound, for one `VideoWriter`; None where it can have none."""
        if isinstance(self._source, VideoReader):
            self._sound = SoundTrack(self._source)
        return self._sound

    def pieces(
        self,
        plan: WindowPlan,
        size: tuple[int, int],
        waiting: Waiting | None = None,
        on_frame: Callable[[], None] = lambda: None,
    ) -> Iterator[Piece]:
        """The windows of the plan in order, once, at a size (h, w).

        Every frame read is put into `waiting` as it is, and `on_frame` called then.
        """
        source = self._stored()
        held: list[np.ndarray] = []
        start = 0
        for window in plan.windows:
            held = held[window.start - start :]
            start = window.start
            while len(held) < window.stop - start:
                frame, seconds = next(source)
                if waiting is not None:
                    waiting.append((eight_bits(frame), seconds))
                held.append(floats(resized(frame[None], size)[0]))
                on_frame()
            yield Piece(window, np.stack(held))

    def frame(self, index: int) -> np.ndarray:
        """Frame `index`, or the last one, (H, W, 3) float32 sRGB in [0, 1]; it reads up to there, once."""
        return next(islice(self.read(), min(index, self.frames - 1), None))[0]

    def read(self) -> Iterator[tuple[np.ndarray, float]]:
        """Every frame (H, W, 3) float32 sRGB in [0, 1] and the seconds at which it is shown; once."""
        for frame, seconds in self._stored():
            yield floats(frame), seconds

    def _stored(self) -> Iterator[tuple[np.ndarray, float]]:
        """The same, uint8 where the film is a video."""
        if isinstance(self._source, Reader):
            yield from steady(self._source)
        else:
            for frame, rgb in enumerate(self.shown):
                yield rgb, frame / self.fps

    def find_camera(self, how: str | None, fov_degrees: float, out: Path) -> None:
        """Let the film know its camera: "assume" (or None) one that stands still and level, "solve" it, or read it.

        A clip keeps its own. What is solved is kept in the folder of `out` (FILM.camera.json), for everything that is
        made of the film there; the film is read once more for that. fov_degrees: where nothing shows the lens.
        InputError for a file that cannot be used.
        """
        if how is None or how == "assume" or not isinstance(self._source, Reader):
            return
        from labeling.cameras.camera_files import film_digest, kept_cameras, read_cameras, solve_film, write_cameras

        if how == "solve":
            footage = self._source.footage
            kept = out.parent / f"{Path(footage.path).stem}.camera.json"
            digest = film_digest(footage, fov_degrees)
            found = kept_cameras(kept, digest)
            if found is None:
                with open_footage(footage) as again:
                    found = solve_film((rgb for rgb, _ in steady(again)), self.size, fov_degrees, digest)
                make_folder(kept.parent)
                write_cameras(kept, found)
        else:
            found = read_cameras(Path(how), self.frames, self.size)
        poses = facing_camera(self.frames)
        lens = np.tile(intrinsics_from_fov(fov_degrees, *self.size), (self.frames, 1, 1))
        for shot in found.shots:
            camera = shot.camera()
            if camera is not None:
                frames = slice(shot.first, shot.last + 1)
                poses[frames] = (_ALONG_Y_TO_X @ camera.camera_to_world)[: self.frames - shot.first]
                lens[frames] = camera.intrinsics[: self.frames - shot.first]
        self._camera = Camera(lens if np.ptp(lens, axis=0).any() else lens[0], poses)
        if len(found.shots) == 1 and found.shots[0].points:
            self.points = np.array(found.shots[0].points) @ _ALONG_Y_TO_X[:3, :3].T
        self.level = all(shot.up == "seen" for shot in found.shots)
        self.camera_said = [shot.line() for shot in found.shots]

    @property
    def camera(self) -> Camera | None:
        """Its camera at its own size, where it is known; a film looks along +x in its first frame."""
        return self._camera

    def steadfast_camera(self, size: tuple[int, int], fov_degrees: float) -> tuple[Camera, str]:
        """Its camera at `size` without its steps, whose unit no estimated depth has, and what is known, for people."""
        intrinsics = self.intrinsics(size)
        if self._camera is None or intrinsics is None:
            assumed = Camera(intrinsics_from_fov(fov_degrees, *size), facing_camera(self.frames))
            lens = f"a field of view of {fov_degrees:g} degrees (option fov)"
            if self.frames == 1:
                return assumed, f"assumed to have {lens}"
            moves = "where it moves, the object does not move along (option camera)"
            return assumed, f"assumed to stand still, with {lens}: {moves}"
        poses = self._camera.camera_to_world.copy()
        steps = bool(np.ptp(poses[:, :3, 3], axis=0).max() > 0)
        poses[:, :3, 3] = 0.0
        return Camera(intrinsics, poses), "; ".join(self.camera_said) + (": no steps are followed" if steps else "")

    def poses(self, window: Window) -> np.ndarray:
        """camera_to_world (n, 4, 4) in a window: as known, or a level camera that looks at the light's middle."""
        if self._camera is not None:
            return self._camera.camera_to_world[window.start : window.stop]
        return facing_camera(window.stop - window.start)

    def pose(self, frame: int) -> np.ndarray:
        """camera_to_world (4, 4) of one frame, as `poses`."""
        return facing_camera(1)[0] if self._camera is None else self._camera.camera_to_world[frame]

    def seen_size(self, side: int) -> tuple[int, int]:
        """(H, W) at which networks see the film: its larger side at most `side`, its own size where that is 0."""
        return fitted(self.size, side or None)

    def intrinsics(self, size: tuple[int, int], window: Window | None = None) -> np.ndarray | None:
        """The camera's intrinsics for its pictures at `size`, or None where the film does not know them.

        (3, 3), or (n, 3, 3) of the frames in the window (None: all) where the camera zooms.
        """
        if self._camera is None:
            return None
        scale = np.diag([size[1] / self.size[1], size[0] / self.size[0], 1.0])
        return scale @ self._camera.at(slice(window.start, window.stop) if window else slice(None)).intrinsics

    @cached_property
    def shown(self) -> np.ndarray:
        """The clip's rgb (T, H, W, 3) as a screen shows it, sRGB in [0, 1]."""
        assert self.clip is not None
        return on_screen(self.clip.exposure * self.clip.arrays["rgb"])


def open_film(film: str | Path | Film) -> Film:
    """A video file, a folder of frames, or DATASET:KEY; a Film is itself. LightloomError when there is none."""
    if isinstance(film, Film):
        return film
    name = str(film)
    if not name:
        raise InputError("the name of the film is empty", "give a video file, a folder of frames, or DATASET:KEY")
    if (Path(name) / HEADER).is_file():  # its previews are pictures, but no frames of a film
        raise InputError("is a dataset", "give one of its clips, as DATASET:KEY", where=name)
    folder, colon, key = name.rpartition(":")
    if not (colon and (Path(folder) / HEADER).is_file()):
        return Film(name, open_video(Path(name)))
    dataset = open_dataset(folder)
    row = next((row for row in dataset.rows() if row.key == key), None)
    if row is None:
        raise InputError(f"holds no clip {key!r}", "`lightloom data verify` counts its clips", where=folder)
    clip = decode_clip(key, dataset.files(row))
    if "rgb" not in clip.arrays:
        raise InputError(f"the clip holds no rgb, only {', '.join(clip.arrays)}", where=name)
    return Film(name, clip)


def open_video(path: Path) -> Reader:
    """A reader of the one video at `path`: a video file, a picture, a folder of frames, or some of its files, as
    "dir/rgba_*.png".

    LightloomError if there is none.
    """
    picture = path.is_file() and is_image(path.name)
    if path.is_file() and not picture and path.suffix.lower() != ".zip":
        path = path.resolve()
        return VideoReader(video_footage(path, path.name))
    if picture or (not path.exists() and set("*?") & set(path.name) and path.parent.is_dir()):
        folder = path.parent.resolve()
        images = glob.escape(path.name) if picture else path.name
        return open_footage(
            Footage(uid=uid_of(folder.name), kind="frames", name=path.name, path=str(folder), images=images)
        )
    searched = discover(path)
    found = searched.footage
    if len(found) != 1:
        said = f" ({searched.problems[0].message})" if searched.problems else ""
        raise InputError(
            f"holds {len(found)} videos, expected one{said}", "give a video file or a folder of frames", where=path
        )
    return open_footage(found[0])


def steady(reader: Reader) -> Iterator[tuple[np.ndarray, float]]:
    """(rgb (H, W, 3) uint8, seconds) of each of `reader.frames` frames; a missing frame repeats its neighbour."""
    place, last, seconds = 0, None, 0.0
    for frame in reader:
        while place < min(frame.index, reader.frames):
            yield (frame.rgb if last is None else last), place / reader.fps
            place += 1
        if place >= reader.frames:
            return
        yield frame.rgb, frame.seconds
        place, last, seconds = frame.index + 1, frame.rgb, frame.seconds
    if last is None:
        raise InputError("no frame of the video can be decoded", where=reader.footage.name)
    for _ in range(place, reader.frames):
        seconds += 1 / reader.fps
        yield last, seconds


def floats(frame: np.ndarray) -> np.ndarray:
    """Pictures as floats in [0, 1]: uint8, or what is floats already."""
    return frame.astype(np.float32) / 255 if frame.dtype == np.uint8 else frame


def eight_bits(frame: np.ndarray) -> np.ndarray:
    """Pictures as uint8: floats in [0, 1], or what is uint8 already."""
    return frame if frame.dtype == np.uint8 else (np.clip(frame, 0.0, 1.0) * 255 + 0.5).astype(np.uint8)


def facing_camera(frames: int) -> np.ndarray:
    """Poses (frames, 4, 4) where none are known: level, still, looking at the middle of a light's image, which is +x.

    Labelled datasets look along +y instead; here a light stands around the film as its image shows it.
    """
    return level_camera(frames, toward=(1.0, 0.0))


def picture_of(source: Path | bytes, use: str) -> Picture:
    """A picture file; InputError where it is too large, or cannot be read as the "mask" or "texture" of its `use`."""
    where = source if isinstance(source, Path) else None
    try:
        return read_picture(source, _MOST_PIXELS)
    except OverflowError as error:
        raise InputError(f"a {use} of {error} is too large", where=where) from None
    except ValueError as error:
        raise InputError(f"cannot be read as a {use}: {error}", where=where) from None


def resized(frames: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Frames (T, H, W, C) at another size (height, width): averaged where they shrink, bilinear where they grow."""
    if frames.shape[1:3] == tuple(size):
        return frames
    shrinks = size[0] * size[1] < frames.shape[1] * frames.shape[2]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    made = [cv2.resize(np.ascontiguousarray(frame), (size[1], size[0]), interpolation=method) for frame in frames]
    return np.stack(made).reshape(len(frames), *size, frames.shape[-1])  # OpenCV drops an axis of one channel


def make_folder(folder: Path) -> None:
    """Make a folder for what is to be written; InputError where there can be none."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"no folder can be made here: {error.strerror or error}", where=folder) from None


class FilmWriter(Protocol):
    """What frames are written to, one after the other. A context manager."""

    def write(self, rgb: np.ndarray, seconds: float | None = None) -> None:
        """Append a frame (H, W, 3), uint8 or floats in [0, 1]."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def film_writer(path: Path, film: Film, size: tuple[int, int] | None = None, *, sound: bool = True) -> FilmWriter:
    """Writes what is made of `film`, (H, W) as large as it or as `size`: an mp4 with its sound, or one picture."""
    if path.suffix.lower() in STILLS:
        if film.frames > 1:
            raise InputError(f"a picture cannot hold {film.frames} frames", "give a name that ends in .mp4", where=path)
        return StillWriter(path)
    return VideoWriter(path, size or film.size, film.fps, sound=film.sound() if sound else None)


STILLS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}
"""Formats in which a film of one frame may be written, by suffix."""


class StillWriter:
    """A film of one frame as a picture, sRGB. A context manager, as `VideoWriter`."""

    def __init__(self, path: Path) -> None:
        check_no_folder(path)
        make_folder(path.parent)
        self._path = path

    def write(self, rgb: np.ndarray, seconds: float | None = None) -> None:
        """Write the frame (H, W, 3), uint8 or floats in [0, 1]; `seconds` say nothing about a picture."""
        with atomic_file(self._path) as file:
            Image.fromarray(eight_bits(rgb)).save(file, STILLS[self._path.suffix.lower()], quality=95)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is left open."""


class VideoWriter:
    """Writes an H.264 mp4 (8 bits, 4:2:0, BT.709, limited range). A context manager: the file is whole or absent.

    4:2:0 has even sides only: an odd side gets one more row or column, a copy of the last one. `sound` is copied beside
    the pictures, as long as they last.
    """

    def __init__(
        self, path: Path, size: tuple[int, int], fps: float, *, crf: int = 12, sound: SoundTrack | None = None
    ) -> None:
        if path.suffix.lower() != ".mp4":
            raise InputError("videos are written as .mp4", "give a name that ends so", where=path)
        check_no_folder(path)  # or it would be said when all frames are rendered
        make_folder(path.parent)
        self._path, self._size = path, size
        self._closing = ExitStack()
        temporary = self._closing.enter_context(atomic_path(path, sweep=True))
        if sound is not None:
            self._closing.enter_context(sound)
        self._padding = (size[0] % 2, size[1] % 2)
        self._stamp = -1
        try:
            self._container = av.open(
                f"file:{temporary}", "w", format="mp4", container_options={"movflags": "faststart"}
            )
        except (OSError, av.FFmpegError) as error:
            raise InputError(f"cannot be written: {error.strerror or error}", where=path) from None
        self._closing.callback(self._container.close)
        self._closing.push(self._flush)
        rate = min(max(Fraction(fps).limit_denominator(1001), Fraction(1, 1001)), Fraction(1000))
        stream = self._container.add_stream("libx264", rate=rate, options={"crf": str(crf), "preset": "superfast"})
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width = size[0] + self._padding[0], size[1] + self._padding[1]
        stream.pix_fmt = "yuv420p"
        stream.time_base = Fraction(1, _CLOCK)
        context = stream.codec_context
        context.time_base = stream.time_base
        context.color_range = ColorRange.MPEG
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        self._stream, self._interval, self._sound = stream, 1 / float(rate), sound
        if sound is not None:
            sound.join(self._container)

    def write(self, rgb: np.ndarray, seconds: float | None = None) -> None:
        """Append a frame (H, W, 3), uint8 or floats in [0, 1], shown at `seconds`; None is at the constant rate."""
        rgb = eight_bits(rgb)
        if rgb.shape != (*self._size, 3):
            raise InputError(f"a frame has shape {rgb.shape}, expected {(*self._size, 3)}", where=self._path)
        if any(self._padding):
            rgb = np.pad(rgb, ((0, self._padding[0]), (0, self._padding[1]), (0, 0)), mode="edge")
        frame = VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24").reformat(
            format="yuv420p",
            src_color_range=ColorRange.JPEG,
            dst_color_range=ColorRange.MPEG,
            dst_colorspace=_BT709,
            interpolation=_EXACT,
        )
        frame.colorspace = frame.color_primaries = frame.color_trc = _BT709
        frame.color_range = ColorRange.MPEG
        due = (self._stamp + round(self._interval * _CLOCK)) if self._stamp >= 0 else 0
        self._stamp = due if seconds is None else max(round(seconds * _CLOCK), self._stamp + 1)
        frame.pts, frame.time_base = self._stamp, Fraction(1, _CLOCK)
        if self._sound is not None:
            self._sound.write(self._container, self._stamp / _CLOCK)
        self._container.mux(self._stream.encode(frame))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Finish the file, or remove what there is of it when the block failed."""
        self._closing.__exit__(kind, error, trace)

    def _flush(self, kind: type[BaseException] | None, _error: object, _trace: object) -> None:
        if kind is None:
            if self._sound is not None:
                self._sound.write(self._container, max(self._stamp, 0) / _CLOCK + self._interval)
            self._container.mux(self._stream.encode(None))
