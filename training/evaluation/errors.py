"""Errors of the evaluation: one line that says what, where and what to do next."""

from __future__ import annotations

from manifests.errors import LightloomError


class EvaluationError(LightloomError):
    """A benchmark, a checkpoint or a metric's input that cannot be used; the message names it and what to do."""
