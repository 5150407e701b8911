"""Errors of auto-labeling. Each carries a `reason`: the word by which the stage counts and reports it."""

from __future__ import annotations

from manifests.errors import LightloomError


class LabelingError(LightloomError):
    """Base of what can go wrong while real footage is labelled."""


class SourceError(LabelingError):
    """What was given as a source cannot be searched for footage at all (missing, unreadable, wrong options)."""


class FootageError(LabelingError):
    """One item of footage cannot be used. `reason` is one of `labeling.sources.base.Reason`."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason

    def __reduce__(self) -> tuple[type[FootageError], tuple[str, str]]:
        """Both arguments, so that the error survives the way from an actor to the driver."""
        return type(self), (self.reason, str(self))
