"""The sound of a film, copied packet by packet into what is made of it: nothing is decoded, nothing loses quality."""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import Any, BinaryIO, Self

import av
from av.container import InputContainer, OutputContainer

from labeling.sources.video_reader import VideoReader
from manifests.errors import FootageError


class SoundTrack:
    """The first sound track of a video file that an mp4 holds, from the film's first picture on. A context manager.

    `missing` says in one line why there is none although the file has one; it is empty otherwise.
    """

    def __init__(self, reader: VideoReader) -> None:
        self.missing = ""
        self._begins = reader.begins
        self._packets: Iterator[av.Packet] = iter(())
        self._waiting: av.Packet | None = None
        self._out: Any = None
        self._file: BinaryIO | None = None
        self._container: InputContainer | None = None
        try:
            self._file, self._container = reader.reopened()
        except (FootageError, av.FFmpegError, OSError) as error:
            self.missing = f"its sound cannot be read: {error}"

    def join(self, container: OutputContainer) -> None:
        """Give `container` a track for the sound, before its first packet is written."""
        tracks = self._container.streams.audio if self._container is not None else ()
        if self._container is None or not tracks:
            return
        for track in tracks:
            context = track.codec_context  # None for what FFmpeg has no name for, such as Apple's spatial sound
            if context and context.sample_rate and context.codec.canonical_name in container.supported_codecs:
                self._out = container.add_stream_from_template(track)
                self._packets = self._container.demux(track)
                self._waiting = self._next()
                return
        name = tracks[0].codec_context.codec.canonical_name if tracks[0].codec_context else "of an unknown kind"
        self.missing = f"its sound ({name}) is left out: an mp4 does not hold it"

    def write(self, container: OutputContainer, until: float) -> None:
        """Copy the packets that are heard before `until`, in seconds from the first picture."""
        while self._waiting is not None and self._seconds(self._waiting) < until:
            packet = self._waiting
            shift = round(self._begins / packet.time_base)
            packet.pts = (packet.pts or 0) - shift
            packet.dts = packet.pts if packet.dts is None else packet.dts - shift
            packet.stream = self._out
            container.mux(packet)
            self._waiting = self._next()

    def _next(self) -> av.Packet | None:
        """The next packet that is heard at the first picture or later."""
        try:
            for packet in self._packets:
                if packet.size and packet.pts is not None and self._seconds(packet) >= 0:
                    return packet
        except av.FFmpegError as error:
            self.missing = f"its sound ends early: {error.strerror or error}"
        return None

    def _seconds(self, packet: av.Packet) -> float:
        return float((packet.pts or 0) * packet.time_base) - self._begins

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._container is not None:
            self._container.close()
        if self._file is not None:
            self._file.close()
