"""Errors that a user can act on: one line that says what, where and what to do next."""

from __future__ import annotations

import re


class LightloomError(Exception):
    """Base of every error shown to the user as one line (exit code 1; the traceback comes with --debug)."""


class ClipError(LightloomError):
    """A clip breaks its contract; the message names the clip, the attribute and the frame."""


class DatasetError(LightloomError):
    """A dataset on disk is not what it says it is; the message names the file and what to do."""


class CodecError(LightloomError):
    """Bytes cannot be decoded into the attribute they claim to hold."""


class DiskFull(LightloomError):  # noqa: N818 - it is a state of the machine, not an error of ours
    """The disk has no room left for a file that was being written; nothing half-written stays behind."""


CRASH = "crash"
TIMEOUT = "timeout"
OUT_OF_MEMORY = "out-of-memory"
ERROR = "error"

_REASON = re.compile(r"[a-z][a-z0-9-]*")


class ItemError(LightloomError):
    """An item that can never be made, whatever the machine: `reason` is a short lower-case-with-dashes name for it.

    `log_tail` is the end of what a library printed, where it did not go to the worker's log.
    """

    log_tail: str = ""

    def __init__(self, reason: str, message: str) -> None:
        if not _REASON.fullmatch(reason):
            raise ValueError(f"failure reason {reason!r} must be lower-case words joined by dashes")
        super().__init__(message)
        self.reason = reason

    def __reduce__(self) -> tuple[type[ItemError], tuple[str, str]]:
        return ItemError, (self.reason, str(self))


class RunError(LightloomError):
    """A run that stopped before its dataset was complete; what is finished stays, and the same command goes on."""


class InterruptedRunError(RunError):
    """Stopped by Ctrl-C or SIGTERM."""


class RayLostError(RunError):
    """Ray itself died under the run."""


class TooManyFailuresError(RunError):
    """So many items were quarantined that something general must be wrong."""


class WorkerStartError(RunError):
    """Workers cannot be built, so no item can be tried."""


class RendererError(LightloomError):
    """Base of what goes wrong while building, loading or running a renderer."""


class InputError(RendererError):
    """What was handed to a renderer cannot be used; the message names the argument, what it is and what is expected."""


class CheckpointError(RendererError):
    """A checkpoint is missing, unsafe, incomplete or of another kind; the message names the file and what to do."""


class RenderError(ItemError):
    """A scene that would fail again if tried again: `reason` is a short fixed word, the message one line.

    Reasons: `missing-asset`, `changed-asset`, `unsafe-path`, `corrupt-asset`, `missing-texture`,
    `bad-environment`, `unknown-generator`, `bad-spec`, `bad-image`, `render-error`, `device`.
    `log_tail` is the end of what Blender printed.
    """

    def __init__(self, reason: str, message: str, log_tail: str = "") -> None:
        super().__init__(reason, message)
        self.log_tail = log_tail

    def __reduce__(self) -> tuple[type[RenderError], tuple[str, str, str]]:  # type: ignore[override]
        """Keep all three arguments when the error crosses a process boundary."""
        return RenderError, (self.reason, str(self), self.log_tail)


class LabelingError(LightloomError):
    """Base of what can go wrong while real footage is labelled."""


class FootageSourceError(LabelingError):
    """What was given as a source cannot be searched for footage at all (missing, unreadable, wrong options)."""


class FootageError(LabelingError):
    """One item of footage cannot be used. `reason` is one of `labeling.sources.footage.Reason`."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason

    def __reduce__(self) -> tuple[type[FootageError], tuple[str, str]]:
        """Both arguments, so that the error survives the way from an actor to the driver."""
        return type(self), (self.reason, str(self))


class TrainingError(LightloomError):
    """Training cannot go on; the message says at which step, with which clips, and what to do."""


class ConfigError(TrainingError):
    """A preset that cannot be used; the message names the preset and the field."""


class ClipSourceError(TrainingError):
    """Training data that is not there or not what it should be; the message names the folder, URL or clip."""


class EvaluationError(LightloomError):
    """A benchmark, a checkpoint or a metric's input that cannot be used; the message names it and what to do."""


class DemoError(LightloomError):
    """A demo that cannot go on; the message says which stage, and what to do."""
