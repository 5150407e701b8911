"""The label stage: an item of footage is decoded, labelled segment by segment, and its clips encoded with their rows.

Three things happen at once in a worker: a thread decodes what comes next, of the next footage too; the networks work on
the main thread; another thread encodes what was labelled. The networks never wait unless the others are slower.
"""

from __future__ import annotations

import os
import queue
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from threading import Semaphore
from typing import NamedTuple

import msgspec
import numpy as np

from labeling.cameras.camera_solving import solve_camera
from labeling.label_rows import NAME, Origin, complete, sample_of
from labeling.label_settings import LabelSettings
from labeling.segments import Dropped, Segment, plan
from labeling.sources.footage import Footage, FootageProblem
from labeling.sources.frame_reader import open_footage
from manifests.contract.row import Sample
from manifests.errors import CheckpointError, ClipError, InputError, ItemError, LightloomError
from pipeline.options import encoders
from pipeline.stage import Encode

_POLL_S = 0.1
LOW_CONFIDENCE = "low-confidence"
_AHEAD = 2
type _Piece = Segment | Dropped | tuple[FootageProblem, ...]


@dataclass(frozen=True)
class LabelStage:
    """Labels item `index` of `footage`.

    Attributes:
        source: name of the source, as the credits call it.
        footage: the work items, in order.
        settings: how they are labelled.
    """

    source: str
    footage: tuple[Footage, ...]
    settings: LabelSettings
    name: str = NAME

    @property
    def items(self) -> int:
        """Number of items of footage."""
        return len(self.footage)

    @property
    def per_shard(self) -> int:
        """Items of footage in a shard."""
        return self.settings.per_shard

    def make_worker(self) -> LabelWorker:
        """Load the networks in this process."""
        return LabelWorker(self)

    def describe(self, index: int) -> str:
        """The item and the settings as JSON."""
        return msgspec.json.encode(
            {"footage": self.footage[index], "settings": self.settings.identity()}, order="deterministic"
        ).decode()


class LabelWorker:
    """The networks in this process, a thread that decodes and those that encode."""

    def __init__(self, stage: LabelStage) -> None:
        # torch is first imported here, with the threads that the engine gives this worker; threads that wait must
        # sleep, since those of the decoder and the encoder need the cores
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        from labeling.labels import Labeler

        self._stage = stage
        self._labeler = Labeler(stage.settings)
        self._decoder = ThreadPoolExecutor(1, thread_name_prefix="decode")
        at_a_time = encoders(int(os.environ.get("OMP_NUM_THREADS", "1")))
        self._encoder = ThreadPoolExecutor(at_a_time, thread_name_prefix="encode-clip")
        self._room = Semaphore(at_a_time + 1)
        self._following: int | None = None
        self._next: tuple[int, SegmentPrefetch[_Piece]] | None = None

    def prefetch(self, index: int) -> None:
        """Decode item `index` as soon as the one that is produced before it is decoded."""
        self._following = index

    def produce(self, index: int) -> Encode:
        """Label every segment of an item; what is left is to wait for the encoder. Raises ItemError."""
        pieces = self._take(index)
        if self._following is not None:  # only now: the decoder takes one after the other, this item first
            self._next, self._following = (self._following, self._ahead(self._following)), None
        origin = self._origin(index)
        dropped: Counter[str] = Counter()
        problems: tuple[FootageProblem, ...] = ()
        futures: list[Future[Sample]] = []
        try:
            for piece in pieces:
                match piece:
                    case Segment():
                        future = self._label(origin, piece)
                        if future is None:
                            dropped[LOW_CONFIDENCE] += 1
                        else:
                            futures.append(future)
                    case Dropped():
                        dropped[piece.reason] += 1
                    case _:
                        problems = piece
        except (ClipError, InputError, CheckpointError) as error:
            raise _bad_clip(error) from error
        finally:
            pieces.close()
        if not futures:
            raise _nothing(origin.footage, dropped, problems)
        return lambda: _finished(futures, dropped, problems)

    def close(self) -> None:
        """End the threads."""
        if self._next is not None:
            self._next[1].close()
        self._decoder.shutdown(cancel_futures=True)
        self._encoder.shutdown()

    def _take(self, index: int) -> SegmentPrefetch[_Piece]:
        """The item's pieces, under way already if this is the item that was announced."""
        announced, self._next = self._next, None
        if announced is not None and announced[0] == index:
            return announced[1]
        if announced is not None:
            announced[1].close()
        return self._ahead(index)

    def _ahead(self, index: int) -> SegmentPrefetch[_Piece]:
        return SegmentPrefetch(self._decoder, lambda: _pieces(self._stage.footage[index], self._stage.settings), _AHEAD)

    def _origin(self, index: int) -> Origin:
        stage = self._stage
        return Origin(index, stage.source, stage.footage[index], stage.settings, self._labeler.device_name)

    def _label(self, origin: Origin, segment: Segment) -> Future[Sample] | None:
        """Label a segment and leave it to the encoder, once that has room; None when it is not trusted enough."""
        from labeling.confidence import overall

        settings = self._stage.settings
        words = np.random.SeedSequence([settings.seed, origin.index, segment.start]).generate_state(1, np.uint64)
        seed = int(words[0] >> np.uint64(2))
        found = segment.solution if segment.camera is None else None
        camera, points = (segment.camera, None) if found is None else (found.camera, found.points)
        labels = self._labeler(segment.frames, camera, seed, points if points is not None and len(points) else None)
        if overall(labels.confidence) < settings.min_confidence:
            return None
        self._room.acquire()
        future = self._encoder.submit(sample_of, origin, segment, labels, seed)
        future.add_done_callback(lambda _: self._room.release())
        return future


def _pieces(footage: Footage, settings: LabelSettings) -> Iterator[_Piece]:
    """The segments of an item and those dropped, then the problems that came up; raises FootageError."""
    with open_footage(footage, size=settings.size or None) as reader:
        for piece in plan(reader, settings.segments):
            if settings.camera == "solve" and isinstance(piece, Segment) and piece.camera is None:
                yield replace(piece, solution=solve_camera(piece.frames, piece.frames.shape[1:3], settings.fov).sure())
            else:
                yield piece
        yield tuple(reader.problems)


def _finished(
    futures: list[Future[Sample]], dropped: Counter[str], problems: tuple[FootageProblem, ...]
) -> list[Sample]:
    try:
        samples = [future.result() for future in futures]
    except ClipError as error:
        raise _bad_clip(error) from error
    return complete(samples, dropped, sorted({problem.reason for problem in problems}))


def _bad_clip(error: LightloomError) -> ItemError:
    return ItemError("bad-clip", error.what, error.advice, where=error.where)


def _nothing(footage: Footage, dropped: Counter[str], problems: tuple[FootageProblem, ...]) -> ItemError:
    """Why an item has no clip: the one reason for which all its segments were dropped, or `no-clip` for several."""
    counts = ", ".join(f"{count} {reason}" for reason, count in sorted(dropped.items()))
    details = "; ".join(problem.message for problem in problems)
    reason = next(iter(dropped)) if len(dropped) == 1 else "no-clip"
    said = f" ({details})" if details else ""
    return ItemError(reason, f"no segment could be used: {counts or 'there was none'}{said}", where=footage.name)


class SegmentPrefetch[T]:
    """Iterates over `make()` on `executor`, at most `depth` pieces ahead of its reader.

    With an executor of one thread, what is made next starts when this one has nothing left to decode. An error
    reaches the reader in its place. `close` ends the iteration early, as do `for` loops that leave their context.
    """

    def __init__(self, executor: Executor, make: Callable[[], Iterable[T]], depth: int = 1) -> None:
        self._queue: queue.Queue[T | _End] = queue.Queue(depth)
        self._closed = threading.Event()
        self._future = executor.submit(self._run, make)

    def __iter__(self) -> Iterator[T]:
        while True:
            piece = self._queue.get()
            if isinstance(piece, _End):
                if piece.error is not None:
                    raise piece.error
                return
            yield piece

    def close(self) -> None:
        """Stop decoding; returns at once."""
        self._closed.set()
        self._future.cancel()

    def _run(self, make: Callable[[], Iterable[T]]) -> None:
        error: BaseException | None = None
        try:
            for piece in make():
                if not self._put(piece):
                    return
        except BaseException as caught:
            error = caught
        self._put(_End(error))

    def _put(self, piece: T | _End) -> bool:
        """Wait for room; False when nobody wants the piece any more."""
        while not self._closed.is_set():
            try:
                self._queue.put(piece, timeout=_POLL_S)
            except queue.Full:
                continue
            return True
        return False


class _End(NamedTuple):
    """What stands behind the last piece: how the iteration ended."""

    error: BaseException | None
