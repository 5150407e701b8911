"""Errors that a user can act on: what is wrong, where, and what to do next.

They are data: code that looks at an error reads its fields, and one line of text is made at the edge, by the command
line or the studio.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Literal

CRASH = "crash"
TIMEOUT = "timeout"
OUT_OF_MEMORY = "out-of-memory"
ERROR = "error"
"""Reasons for which an item fails without an `ItemError`."""

RunKind = Literal["failed", "interrupted", "ray-lost", "too-many-failures", "no-workers"]

_REASON = re.compile(r"[a-z][a-z0-9-]*")


class LightloomError(Exception):
    """Base of every error shown to the user as one line (exit code 1; the traceback comes with --debug).

    Attributes:
        what: what is wrong, in a few words.
        advice: what to do next; may be empty.
        where: the file, clip, option or field; may be empty.
        fields: names of arguments that `what` and `advice` mention in backticks.

    `str(error)` is "where: what; advice". Errors cross process boundaries whole.
    """

    def __init__(self, what: str, advice: str = "", *, where: object = "", fields: tuple[str, ...] = ()) -> None:
        super().__init__(what)
        self.what = what
        self.advice = advice
        self.where = str(where)
        self.fields = fields

    def __str__(self) -> str:
        return self.told()

    def told(self, name: Callable[[str], str] | None = None) -> str:
        """The error as one line; `name` says how an argument is called there ("--pick", or the label of a button)."""
        line = f"{self.where}: {self.what}" if self.where else self.what
        line += f"; {self.advice}" if self.advice else ""
        for field in self.fields if name else ():
            line = line.replace(f"`{field}`", name(field) if name else field)
        return line

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (type(self), self.__dict__)


def _again(kind: type[LightloomError], fields: dict[str, Any]) -> LightloomError:
    """An error as it was in the process that raised it."""
    error = kind.__new__(kind, fields["what"])
    error.__dict__.update(fields)
    return error


class InputError(LightloomError):
    """What was handed over cannot be used: an argument, an option, a preset's field, a file that was named."""


class ClipError(LightloomError):
    """A clip breaks its contract; the message names the clip, the attribute and the frame."""


class DatasetError(LightloomError):
    """A dataset on disk, ours or somebody's, is not there or not what it says it is; names the file."""


class CodecError(LightloomError):
    """Bytes cannot be decoded into the attribute they claim to hold."""


class DiskFull(LightloomError):  # noqa: N818 - it is a state of the machine, not an error of ours
    """The disk takes no more of a file that was being written: no room, a limit; nothing half-written stays behind."""


class StorageError(LightloomError):
    """A bucket or a server is not there, refuses, or does not answer, however often it is asked; names the object."""


class SpecError(LightloomError):
    """What is to be rendered is described wrongly, or cannot be: a spec, a recipe, a catalogue, a generated asset."""


class CheckpointError(LightloomError):
    """A checkpoint is missing, unsafe, incomplete or of another kind; the message names the file."""


class TrainingError(LightloomError):
    """Training cannot go on; the message says at which step, with which clips, and what to do."""


class RunError(LightloomError):
    """A run that stopped before it was complete; what is finished stays, and the same command goes on.

    `kind` says why: it was `interrupted` by Ctrl-C or SIGTERM, Ray died under it (`ray-lost`), so many items were
    quarantined that something general must be wrong (`too-many-failures`), no worker could be built (`no-workers`), or
    a part of it `failed`.
    """

    def __init__(self, what: str, advice: str = "", *, where: object = "", kind: RunKind = "failed") -> None:
        super().__init__(what, advice, where=where)
        self.kind = kind


class ItemError(LightloomError):
    """An item that can never be made, whatever the machine: `reason` is a short lower-case-with-dashes name for it.

    `log_tail` is the end of what a library printed, where it did not go to the worker's log.
    """

    def __init__(self, reason: str, what: str, advice: str = "", *, where: object = "", log_tail: str = "") -> None:
        if not _REASON.fullmatch(reason):
            raise ValueError(f"failure reason {reason!r} must be lower-case words joined by dashes")
        super().__init__(what, advice, where=where)
        self.reason = reason
        self.log_tail = log_tail


class RenderError(ItemError):
    """A scene that would fail again if tried again.

    Reasons: `missing-asset`, `changed-asset`, `unsafe-path`, `corrupt-asset`, `missing-texture`,
    `bad-environment`, `unknown-generator`, `bad-spec`, `bad-image`, `render-error`, `device`.
    """


class FootageError(ItemError):
    """One item of footage cannot be used; `reason` is one of `labeling.sources.footage.Reason`."""
