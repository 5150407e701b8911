"""Errors that a user can act on: one line that says what, where and what to do next."""

from __future__ import annotations


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
