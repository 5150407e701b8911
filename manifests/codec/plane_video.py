"""Videos of integer planes to and from bytes: the container, the pixel format and the colour flags of `compact`.

A G-buffer in a video file is ruined by a silent conversion: chroma subsampling, limited range, a colour matrix
applied once too often. So planes go in and come out as integers, without any conversion, and every flag that
a player would act on is written explicitly and checked on the way back.

Equal planes give equal bytes: one encoder thread, no time stamps of the wall clock, no random identifiers.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

import av
import numpy as np
from av.video.frame import VideoFrame

from manifests.errors import CodecError

_GROUP = 24
"""Frames from one key frame to the next; reading starts at a key frame."""
_FULL_RANGE = 2
_UNSPECIFIED = 2
_BUFFER = 1 << 20
_NO_DECODER = "none"
"""Opening a file decodes its first frame to learn the pixel format, unless no decoder may be used; ours is checked."""
_SMALLEST = 16
"""Sides below this are padded with copies of the last row or column: some encoders refuse them."""
_SLACK = 64
"""Codecs code whole blocks, so what a decoder allocates may exceed the picture by less than this on each side."""


@dataclass(frozen=True)
class Format:
    """How planes are coded.

    `pixels` is the encoder's pixel format and `decoded` what a decoder reports for it; `planes` counts the
    planes that carry data (a decoder may add neutral ones). `matrix`, `primaries` and `transfer` are the code
    points of ITU-T H.273; 2 means "unspecified", for planes that are not colours.
    """

    encoder: str
    decoder: str
    container: Literal["mp4", "matroska"]
    pixels: str
    decoded: str
    planes: int
    dtype: Literal["uint8", "uint16"]
    options: Mapping[str, str] = field(default_factory=dict)
    matrix: int = _UNSPECIFIED
    primaries: int = _UNSPECIFIED
    transfer: int = _UNSPECIFIED

    @property
    def suffix(self) -> str:
        """File suffix of the container."""
        return {"mp4": "mp4", "matroska": "mkv"}[self.container]


def encode_video(
    planes: Sequence[np.ndarray], coding: Format, fps: float = 24.0, options: Mapping[str, str] | None = None
) -> bytes:
    """Bytes of a video of `planes`, each (T, H, W) of the format's dtype; `options` add to the format's own."""
    frames, height, width = planes[0].shape
    below, right = max(0, _SMALLEST - height), max(0, _SMALLEST - width)
    if below or right:
        planes = [np.pad(plane, ((0, 0), (0, below), (0, right)), mode="edge") for plane in planes]
        height, width = height + below, width + right
    stream_options = _stream_options(coding, options or {})
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=coding.container, container_options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream(coding.encoder, rate=_rate(fps), options=stream_options)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = width, height, coding.pixels
        context = stream.codec_context
        context.thread_count = 1
        context.color_range, context.colorspace = _FULL_RANGE, coding.matrix
        context.color_primaries, context.color_trc = coding.primaries, coding.transfer
        for index in range(frames):
            frame = VideoFrame(width, height, coding.pixels)
            frame.color_range, frame.colorspace = _FULL_RANGE, coding.matrix
            frame.color_primaries, frame.color_trc = coding.primaries, coding.transfer
            for plane, target in zip(planes, frame.planes, strict=True):
                rows = np.frombuffer(target, dtype=coding.dtype).reshape(target.height, -1)
                rows[:, : target.width] = plane[index]
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return buffer.getvalue()


def decode_video(
    data: bytes, coding: Format, size: tuple[int, int], total: int, wanted: np.ndarray, *, threads: int = 1
) -> Iterator[tuple[int, list[np.ndarray]]]:
    """Yield (frame, planes) for each of the `wanted` frame indices, ascending and without doubles.

    The video must hold exactly `total` frames of `size` (H, W). Planes are (H, W) views that are only valid until
    the next step. Decoding starts at the last key frame before the first wanted frame and ends after the last.
    Raises CodecError on anything else than what `encode_video` made of such planes.
    """
    limits = {"max_pixels": str((size[0] + _SLACK) * (size[1] + _SLACK)), "err_detect": "crccheck+explode"}
    try:
        buffer = min(max(len(data), 1 << 12), _BUFFER)  # clearing a large one costs as much as a small clip
        unprobed = {**limits, "codec_whitelist": _NO_DECODER}
        with av.open(io.BytesIO(data), "r", format=coding.container, options=unprobed, buffer_size=buffer) as container:
            if len(container.streams.video) != 1 or len(container.streams) != 1:
                raise CodecError(f"{len(container.streams)} streams, expected one video")
            stream = container.streams.video[0]
            context = stream.codec_context
            coded = (max(size[0], _SMALLEST), max(size[1], _SMALLEST))
            if context is None or context.name != coding.decoder:
                raise CodecError(f"not {coding.decoder}")
            if (context.height, context.width) != coded:
                raise CodecError(f"{context.width}x{context.height} pixels, expected {coded[1]}x{coded[0]}")
            context.options = {**limits, "codec_whitelist": coding.decoder}
            context.thread_count = threads
            context.thread_type = "SLICE" if threads == 1 else "AUTO"
            packets = []
            for packet in container.demux(stream):
                if packet.size:
                    packets.append(packet)
                if len(packets) > total:
                    break
            if len(packets) != total:
                count = f"more than {total}" if len(packets) > total else str(len(packets))
                raise CodecError(f"{count} frames, expected {total}")
            for index, frame in _wanted_frames(context, packets, wanted):
                planes = _planes(frame, coding, coded)
                yield index, [plane[: size[0], : size[1]] for plane in planes]
    except (av.FFmpegError, ValueError, OverflowError, MemoryError) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise CodecError(f"not a whole {coding.suffix}: {reason}") from None


def _wanted_frames(
    context: av.VideoCodecContext, packets: list[av.Packet], wanted: np.ndarray
) -> Iterator[tuple[int, VideoFrame]]:
    """Groups are closed, so the frames of a group come out in order, after as many as there were packets before."""
    queue = wanted.tolist()
    if not queue:
        return
    index = max((number for number in range(queue[0] + 1) if packets[number].is_keyframe), default=0)
    for packet in [*packets[index:], None]:
        for frame in context.decode(packet):
            if queue and index == queue[0]:
                yield queue.pop(0), frame
            index += 1
        if not queue:
            return
    raise CodecError(f"the video ends at frame {index}, before frame {queue[0]}")


def _planes(frame: VideoFrame, coding: Format, size: tuple[int, int]) -> list[np.ndarray]:
    if frame.is_corrupt:
        raise CodecError("a frame is damaged")
    if (frame.height, frame.width) != size or frame.format.name != coding.decoded:
        raise CodecError(
            f"frames of {frame.width}x{frame.height} {frame.format.name}, expected {size[1]}x{size[0]} {coding.decoded}"
        )
    flags = (frame.color_range, frame.colorspace, frame.color_primaries, frame.color_trc)
    expected = (_FULL_RANGE, coding.matrix, coding.primaries, coding.transfer)
    if flags != expected:
        raise CodecError(f"colour flags (range, matrix, primaries, transfer) {flags}, expected {expected}")
    sources = frame.planes[: coding.planes]  # asked for once: every time makes new ones
    return [np.frombuffer(source, coding.dtype).reshape(size[0], -1) for source in sources]


def _stream_options(coding: Format, options: Mapping[str, str]) -> dict[str, str]:
    """The options, with what keeps the bytes reproducible and the groups closed in each encoder's own words."""
    merged = {"g": str(_GROUP), "flags": "+bitexact+cgop", **coding.options, **options}
    if coding.encoder == "libx265":
        own = f"pools=none:frame-threads=1:info=0:log-level=none:open-gop=0:keyint={_GROUP}"
        merged["x265-params"] = ":".join(filter(None, (own, merged.get("x265-params"))))
    return merged


def _rate(fps: float) -> Fraction:
    """Frame rate of the container, which only players use: the exact value is in clip.json."""
    return min(max(Fraction(fps).limit_denominator(1001), Fraction(1, 1001)), Fraction(1000))
