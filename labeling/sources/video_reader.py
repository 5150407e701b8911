"""Frames of a video file, with FFmpeg through PyAV.

The file is a stranger's: it is opened by us and handed over as bytes, so that FFmpeg has no protocol to open anything
else with; only plain containers and well-worn decoders are allowed; sizes and counts are bounded before memory is.

The file is read twice. The first pass only takes time stamps: they say which track is the film (a thumbnail holds one
frame), and give the number of frames, the rate, and each frame's place, whatever a header claims. A frame that does not
decode leaves a gap at its place, up to the next key frame, because what follows would be built on it.

Decoded frames become upright 8-bit sRGB: matrix, range, alpha, clean aperture, pixel shape and rotation are each taken
from the file.
The conversion is spelled out because every default in the chain guesses: an untagged range or matrix is read as players
read it (limited range; BT.709 above 576 lines, BT.601 up to there). BT.601, BT.709 and sRGB transfer curves are all
shown as they are on the same displays, so their values are taken for sRGB. PQ and HLG in BT.2020 are tone-mapped
(`tone_map.py`) and flagged; logarithmic and linear footage has no reading that players agree on and is refused.
"""

from __future__ import annotations

import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

import av
import cv2
import numpy as np
from av.container.input import InputContainer
from av.sidedata.sidedata import Type
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Interpolation, VideoReformatter

from labeling.sources.footage import MAX_FRAMES, MAX_PIXELS, Footage, Frame, Reader
from labeling.sources.tone_map import CURVES, tone_mapped
from manifests.contract.camera import fitted
from manifests.errors import FootageError
from manifests.picture_file import over_black

SUFFIXES = (
    *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".m2v", ".ts", ".mts", ".m2ts", ".3gp"),
    *(".ogv", ".flv", ".wmv", ".asf", ".gif", ".y4m"),
)

_CONTAINERS = "mov,matroska,avi,mpeg,mpegvideo,mpegts,ogg,flv,asf,gif,yuv4mpegpipe"
_DECODERS = (
    "h264,hevc,av1,libdav1d,vp8,vp9,libvpx,libvpx-vp9,mpeg1video,mpeg2video,mpeg4,h263,msmpeg4v1,msmpeg4v2,msmpeg4,"
    "wmv1,wmv2,wmv3,vc1,flv,theora,mjpeg,prores,dnxhd,dvvideo,ffv1,ffvhuff,huffyuv,utvideo,rawvideo,wrapped_avframe,"
    "png,gif,cinepak,qtrle,svq1,svq3"
)
_SOUND_DECODERS = "aac,ac3,eac3,mp2float,mp3float,mp2,mp3"
"""Where a container does not say how sound is sampled (MPEG-TS), its first packets do."""
_OPTIONS = {"protocol_whitelist": "none", "format_whitelist": _CONTAINERS, "codec_whitelist": _DECODERS}
_LIMITS = {"max_pixels": str(MAX_PIXELS), "codec_whitelist": _DECODERS, "err_detect": "crccheck+explode"}
_VARIES = 0.25
"""Intervals that differ from the usual one by more than this share make a variable frame rate."""
_MOSTLY = 0.95
"""With this share of usual intervals and whole multiples for the rest, the rate is constant and frames are missing."""
_WHOLE = "is the recording or the download complete?"
_SHORT = 0.25
"""Seconds by which a file may end before what its header announces."""
_RATES = (0.01, 1000.0)
_DEFAULT_RATE = 24.0

_UNSPECIFIED = 2
_MATRICES = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9}
"""Code points of ITU-T H.273 to those of the scaler: BT.709, FCC, BT.601 (625 and 525), SMPTE 240M, BT.2020."""
_RGB = 0
_TRANSFERS = {8: "linear", 9: "logarithmic", 10: "logarithmic", 17: "SMPTE 428", 256: "V-Log"}
_BT2020 = 9
_WIDE = {_BT2020, 11, 12}
"""BT.2020, DCI-P3 and Display P3 primaries."""
_EXACT = Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
_MOST_ASPECT = 4
_CROP = struct.Struct("<4I")
"""Rows above and below, columns left and right that are not shown: QuickTime's clean aperture, Matroska's PixelCrop."""
_DOLBY = struct.Struct("8B")
"""Dolby's record of a stream (ETSI GS CCM 001), whose last byte says what the base layer fits."""
_ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
"""FFmpeg's own decoders do not look at the alpha that WebM keeps beside the pictures."""


class VideoReader(Reader):
    """Reads a video file. Raises FootageError when nothing of it can be used; see `Reader`.

    Attributes:
        begins: when the first frame is shown, in seconds on the file's own clock.
    """

    begins: float = 0.0

    def __init__(self, footage: Footage, side: int | None = None, *, threads: int = 1) -> None:
        self.footage = footage
        self.camera = None
        self.flags: set[str] = set()
        self.problems = []
        self._threads = threads
        self._file = _open_file(footage)
        self._container: InputContainer | None = None
        self._track: int | None = None
        try:
            self._scan()
            self._frames = self._decode()
            first = next(self._frames, None)
            if first is None:
                raise FootageError("unreadable", "no frame of the video can be decoded", where=footage.name)
            self._first: tuple[int, float, VideoFrame] | None = first
            self._convert = PixelConverter(first[2], self._aspect, side, self._crop)
            self.size = self._convert.size
            self._convert(first[2])
        except FootageError as error:
            self.close()
            raise FootageError(error.reason, error.what, error.advice, where=error.where or footage.name) from None
        except (av.FFmpegError, ValueError, OverflowError, MemoryError) as error:
            self.close()
            raise FootageError(
                "unreadable", f"not a video that can be read: {_why(error)}", _WHOLE, where=footage.name
            ) from None

    def __iter__(self) -> Iterator[Frame]:
        """Frames in ascending index; once."""
        delivered, skipped = 0, 0
        while self._first is not None:
            index, seconds, frame = self._first
            if (frame.height, frame.width) == self._convert.stored:
                yield Frame(index, self._convert(frame), seconds)
            else:
                skipped += 1
            delivered += 1
            self.flags |= self._convert.flags
            self._first = next(self._frames, None)
        if skipped:
            height, width = self._convert.stored
            self.report("size-changed", f"{skipped} frames are not {width}x{height} as the first one; left out")
        if delivered < self._count:
            self.report("damaged", f"{self._count - delivered} of {self._count} frames cannot be decoded; left out")

    def reopened(self) -> tuple[BinaryIO, InputContainer]:
        """The file opened once more, under the same bounds, for whoever wants its other tracks; close both."""
        file = _open_file(self.footage)
        options = {**_OPTIONS, "codec_whitelist": f"{_DECODERS},{_SOUND_DECODERS}"}
        return file, av.open(file, "r", options=options)

    def close(self) -> None:
        """Close the file."""
        if self._container is not None:
            self._container.close()
            self._container = None
        self._file.close()

    def _open(self) -> tuple[InputContainer, list[av.VideoStream]]:
        """The file, and its tracks of pictures: all of them, or the one that is the film once that is known."""
        self._file.seek(0)
        container = av.open(self._file, "r", options=dict(_OPTIONS))
        streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
        streams = [s for s in streams if s.codec_context is not None and self._track in (None, s.index)]
        if not streams:
            sound = bool(container.streams.audio)
            container.close()
            raise FootageError("unreadable", "the file holds no video that can be decoded", "" if sound else _WHOLE)
        return container, streams

    def _scan(self) -> None:
        """Choose the track, count its frames and learn when each is shown, without decoding."""
        container, streams = self._open()
        tracks = {stream.index: _Track(stream) for stream in streams}
        left, ends, broken = MAX_FRAMES, 0.0, ""
        with container:
            try:
                for packet in container.demux():
                    if packet.is_corrupt or not packet.size:
                        continue
                    ends = max(ends, float(((packet.pts or 0) + (packet.duration or 0)) * packet.time_base))
                    if track := tracks.get(packet.stream_index):
                        track.packets += 1
                        if not packet.is_discard:
                            track.stamps.append(packet.pts)
                            left -= 1
                    if left < 0:
                        break
            except av.FFmpegError as error:
                broken = f"the file cannot be read to its end: {_why(error)}"
            film = max(tracks.values(), key=lambda track: track.likely)
            self._choose(film, [track for track in tracks.values() if len(track.stamps) > 1])
            if left < 0:
                self.report("too-many-frames", f"more than {MAX_FRAMES} frames; the rest is not read")
                del film.stamps[MAX_FRAMES:]
            elif said := broken or _cut_off(container, film, ends):
                self.report("truncated", said)
            self._count = len(film.stamps)
            base, average = float(film.stream.time_base or 0), float(film.stream.average_rate or 0)
            self._by_stamp = container.format.name != "avi"  # whose stamps are of decoding: right for the n-th shown
        self._set_times(film.stamps, base, average)

    def _choose(self, film: _Track, films: list[_Track]) -> None:
        """Take this track of those that are longer than a picture, and what its header says of the pictures."""
        self._track = film.stream.index
        context = film.stream.codec_context
        size = f"{context.width}x{context.height}"
        if not film.stamps:
            raise FootageError("unreadable", "the file holds no frame", _WHOLE)
        if context.width * context.height > MAX_PIXELS:
            raise FootageError("refused", f"{size} pixels, at most {MAX_PIXELS} are read")
        if len(films) > 1:
            self.report("several-tracks", f"the file holds {len(films)} films; one of {size} pixels is read")
        sides = _side_data(context)
        if len(dolby := sides.get("dovi_conf", b"")) >= _DOLBY.size and not _DOLBY.unpack_from(dolby)[-1]:
            raise FootageError(
                "hdr", "the video is Dolby Vision without a picture that others show", "convert it first"
            )
        self._crop = _CROP.unpack_from(sides.get("frame_cropping", bytes(_CROP.size)).ljust(_CROP.size, b"\0"))
        aspect = context.sample_aspect_ratio
        self._aspect = Fraction(aspect.numerator, aspect.denominator) if aspect else None

    def _set_times(self, stamps: list[int | None], base: float, average: float) -> None:
        """Places and rate from the time stamps; where they are missing or equal, from the order and average rate."""
        known = sorted(stamp for stamp in stamps if stamp is not None)
        self._stamps: np.ndarray | None = None
        if base and len(known) == len(stamps) > 1 and all(a < b for a, b in pairwise(known)):
            stamps_array = np.array(known, dtype=np.int64)
            seconds = (stamps_array - stamps_array[0]) * base
            usual = float(np.median(np.diff(seconds)))
            varies = bool((np.abs(np.diff(seconds) / usual - 1) > _VARIES).any())
            if varies:  # unless the clock is too coarse for the rate
                even = np.linspace(0, seconds[-1], len(seconds))
                varies = bool(np.abs(seconds - even).max() > base)
            fps = 1 / usual if varies else (len(known) - 1) / float(seconds[-1])
            if not varies and average and abs((len(known) - 1) / average - seconds[-1]) <= base:
                fps = average  # what the file states, where its clock cannot say otherwise
            if _RATES[0] <= fps <= _RATES[1]:
                self._stamps, self._seconds, self.fps = stamps_array, seconds, fps
                self.begins = known[0] * base
                self._set_places(seconds / usual, varies)
                return
        if len(stamps) > 1:
            self.flags.add("no-timestamps")
        rate = average
        if not _RATES[0] <= rate <= _RATES[1]:
            rate = _DEFAULT_RATE
            self.flags.add("assumed-fps")
        self.fps, self._seconds = rate, np.arange(self._count) / rate
        self._places = np.arange(self._count)
        self.frames = self._count

    def _set_places(self, times: np.ndarray, varies: bool) -> None:
        """Index of each frame, from times in units of the usual interval: a constant rate may have holes."""
        count = len(times)
        self._places = np.arange(count)
        if varies:
            steps = np.diff(times)
            whole = np.maximum(np.round(steps), 1)
            even = np.abs(steps - whole).max() < _VARIES and (whole == 1).mean() >= _MOSTLY
            if even and whole.sum() < MAX_FRAMES:
                self._places[1:] = np.cumsum(whole)
                self.fps = float(self._places[-1] / self._seconds[-1])
                missing = self._places[-1] + 1 - count
                self.report("missing-frames", f"{missing} frames are missing by the time stamps of the other {count}")
            else:
                self.flags.add("variable-frame-rate")
        self.frames = int(self._places[-1]) + 1

    def _decode(self) -> Iterator[tuple[int, float, VideoFrame]]:
        """(index, seconds, frame) of every sound frame, ascending in index."""
        self._container, (stream,) = self._open()
        place, broken = 0, False
        for frame in _frames(self._container, stream, self._decoder(stream)):
            if frame is None:
                broken = True
                continue
            if self._by_stamp and self._stamps is not None:
                found = int(np.searchsorted(self._stamps, frame.pts)) if frame.pts is not None else self._count
                if found >= self._count or self._stamps[found] != frame.pts or found < place:
                    continue
            else:
                found = place + (1 if broken else 0)  # how many are lost is not known: leave a gap
            if (broken and not frame.key_frame) or frame.is_corrupt:
                broken = True
                continue
            if found >= self._count:
                return
            place, broken = found + 1, False
            yield int(self._places[found]), float(self._seconds[found]), frame

    def _decoder(self, stream: av.VideoStream) -> av.VideoCodecContext:
        """What decodes the track, within limits."""
        context = stream.codec_context
        if stream.metadata.get("alpha_mode") == "1" and context.name in _ALPHA_DECODERS:
            made = av.CodecContext.create(_ALPHA_DECODERS[context.name], "r")
            assert isinstance(made, av.VideoCodecContext)
            context = made
        context.options = dict(_LIMITS)
        context.thread_count = self._threads
        context.thread_type = "SLICE" if self._threads == 1 else "AUTO"
        return context


@dataclass(eq=False)
class _Track:
    """What the file holds of a track of pictures: the time stamps of its frames, and how many there are in all."""

    stream: av.VideoStream
    stamps: list[int | None] = field(default_factory=list)
    packets: int = 0

    @property
    def likely(self) -> tuple[bool, bool, int]:
        """The film among tracks is longer than a picture, is played by default, and is the largest."""
        context = self.stream.codec_context
        return len(self.stamps) > 1, bool(self.stream.disposition & Disposition.default), context.width * context.height


def _side_data(context: av.VideoCodecContext) -> dict[str, bytes]:
    return {name: bytes(data) for name, data in context.coded_side_data.items()}


def _cut_off(container: InputContainer, film: _Track, ends: float) -> str:
    """What is missing of a file that `ends` (in seconds, over all tracks) before what its header announces."""
    kind, frames, announced = container.format.name, film.stream.frames, 0.0
    if kind.startswith("mov") and film.packets < frames:
        return f"the file announces {frames} frames and holds {film.packets}"
    if kind == "avi":
        announced = frames / float(film.stream.average_rate or 1)
    elif kind.startswith(("mov", "matroska", "flv")) and film.packets > frames:  # films in pieces do not count them
        announced = ((container.duration or 0) + (container.start_time or 0)) / av.time_base
    return f"the file announces {announced:.1f} s and ends after {ends:.1f} s" if ends + _SHORT < announced else ""


def _frames(
    container: InputContainer, stream: av.VideoStream, context: av.VideoCodecContext
) -> Iterator[VideoFrame | None]:
    """Frames in the order in which they are shown; None where something could not be read or decoded."""
    packets = container.demux(stream)
    ended = False
    while not ended:
        decoded: list[VideoFrame] = []
        try:
            packet = next(packets, None)
            if packet is not None and packet.is_corrupt:
                yield None
                continue
            ended = packet is None or not packet.size
            decoded = context.decode(None if ended else packet)
        except av.error.EOFError:
            ended = True
        except av.FFmpegError:
            yield None
        yield from decoded


def _open_file(footage: Footage) -> BinaryIO:
    path = Path(footage.path)
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise FootageError("refused", "not a regular file", where=footage.name)
        return path.open("rb")
    except OSError as error:
        raise FootageError("unreadable", f"{error.strerror or error}", where=footage.name) from None


def _why(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


@dataclass(frozen=True)
class Orientation:
    """How stored pixels become upright: transposed first, then flipped."""

    transposed: bool = False
    flip_rows: bool = False
    flip_columns: bool = False

    def apply(self, image: np.ndarray) -> np.ndarray:
        """(H, W, C) as stored to upright, contiguous."""
        if self.transposed:
            image = image.transpose(1, 0, 2)  # (H, W, C) -> (W, H, C)
        image = image[::-1] if self.flip_rows else image
        image = image[:, ::-1] if self.flip_columns else image
        return np.ascontiguousarray(image)

    def size(self, size: tuple[int, int]) -> tuple[int, int]:
        """(H, W) as stored to upright; its own inverse."""
        return (size[1], size[0]) if self.transposed else size


def orientation(frame: VideoFrame) -> Orientation:
    """From the frame's display matrix (ISO 14496-12, 8.2.2): any right angle, mirrored or not."""
    data = frame.side_data.get(Type.DISPLAYMATRIX)
    if data is None:
        return Orientation()
    values = struct.unpack("=9i", bytes(data)[:36])
    a, b, c, d = (values[i] for i in (0, 1, 3, 4))  # x' = a x + c y, y' = b x + d y, in 16.16 fixed point
    straight, turned = min(abs(a), abs(d)), min(abs(b), abs(c))
    if straight and max(abs(b), abs(c)) <= straight / 64:
        return Orientation(False, d < 0, a < 0)
    if turned and max(abs(a), abs(d)) <= turned / 64:
        return Orientation(True, b < 0, c < 0)
    raise FootageError("refused", "the video is to be shown turned by an angle that is not a right one")


class PixelConverter:
    """Converts the frames of one video, given its first one. `size` is the upright (H, W) that comes out.

    `aspect` is the width of a pixel over its height: frames come out with square pixels. `side` bounds the larger side.
    `crop`: rows above and below, columns left and right that are not shown.
    """

    def __init__(
        self, first: VideoFrame, aspect: Fraction | None, side: int | None, crop: tuple[int, ...] = (0, 0, 0, 0)
    ) -> None:
        self._orientation = orientation(first)
        self.stored = (first.height, first.width)
        top, bottom, left, right = crop
        height, width = first.height - top - bottom, first.width - left - right
        if height < 1 or width < 1:
            raise FootageError("unreadable", "the file says that nothing of its pictures is shown")
        self._shown = np.s_[top : top + height, left : left + width]
        self.flags: set[str] = set()
        if aspect and aspect != 1 and Fraction(1, _MOST_ASPECT) <= aspect <= _MOST_ASPECT:
            width = max(1, round(width * aspect))
            self.flags.add("non-square-pixels")
        self.size = fitted(self._orientation.size((height, width)), side)
        self._target = self._orientation.size(self.size)  # (H, W) before turning
        self._converted = self.stored if any(crop) else self._target
        shrinks = self._target[0] < first.height or self._target[1] < first.width
        self._interpolation = _EXACT | (Interpolation.AREA if shrinks else Interpolation.BICUBIC)
        self._reformatter = VideoReformatter()

    def __call__(self, frame: VideoFrame) -> np.ndarray:
        """(H, W, 3) uint8 sRGB. Raises FootageError for footage whose colours have no defined conversion."""
        matrix, limited = self._colours(frame)
        high = frame.color_trc in CURVES
        alpha = any(component.is_alpha for component in frame.format.components)
        converted = self._reformatter.reformat(
            frame,
            width=self._converted[1],
            height=self._converted[0],
            format="rgb48le" if high else "rgba" if alpha else "rgb24",
            src_colorspace=matrix,
            src_color_range=ColorRange.MPEG if limited else ColorRange.JPEG,
            dst_color_range=ColorRange.JPEG,
            interpolation=self._interpolation,
            threads=1,
        )
        pixels: np.ndarray = converted.to_ndarray()
        if self._converted != self._target:
            pixels = cv2.resize(pixels[self._shown], self._target[::-1], interpolation=cv2.INTER_AREA)
        pixels = self._orientation.apply(pixels)
        if high:
            self.flags.add("tone-mapped")
            return tone_mapped(pixels, frame.color_trc)
        if alpha:
            self.flags.add("alpha")
            return over_black(pixels)
        return pixels

    def _colours(self, frame: VideoFrame) -> tuple[int | None, bool]:
        """The scaler's matrix (None for RGB) and whether the range is limited."""
        if name := _TRANSFERS.get(frame.color_trc):
            raise FootageError("hdr", f"the video has a {name} transfer curve", "tone-map it to SDR first")
        if frame.color_trc in CURVES and frame.color_primaries not in (_BT2020, _UNSPECIFIED):
            raise FootageError("hdr", "the video has HDR colours that are not BT.2020's", "convert it to SDR first")
        if frame.color_primaries in _WIDE and frame.color_trc not in CURVES:
            self.flags.add("wide-gamut")
        if frame.interlaced_frame:
            self.flags.add("interlaced")
        if frame.format.is_rgb or frame.format.name.startswith("pal"):
            return None, False
        matrix = frame.colorspace
        if matrix in (_UNSPECIFIED, _RGB) and frame.color_trc in CURVES:
            matrix = _BT2020
        elif matrix in (_UNSPECIFIED, _RGB):
            matrix = 1 if self.stored[0] > 576 else 5
        if matrix not in _MATRICES:
            raise FootageError("hdr", f"the video has colour matrix {matrix} (ITU-T H.273), which is not converted")
        full = frame.color_range == ColorRange.JPEG or frame.format.name.startswith("yuvj")
        return _MATRICES[matrix], not full
