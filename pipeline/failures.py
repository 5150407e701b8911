"""What can go wrong with a work item or with a run, by name."""

from __future__ import annotations

import re

from manifests.errors import LightloomError

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
