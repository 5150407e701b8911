"""Errors of training, each one line that says what, where and what to do next."""

from __future__ import annotations

from manifests.errors import LightloomError


class TrainingError(LightloomError):
    """Training cannot go on; the message says at which step, with which clips, and what to do."""


class ConfigError(TrainingError):
    """A preset that cannot be used; the message names the preset and the field."""


class SourceError(TrainingError):
    """Training data that is not there or not what it should be; the message names the folder, URL or clip."""
