"""Errors of the renderers: one line that says what, where and what to do next."""

from __future__ import annotations

from manifests.errors import LightloomError


class RendererError(LightloomError):
    """Base of what goes wrong while building, loading or running a renderer."""


class InputError(RendererError):
    """What was handed to a renderer cannot be used; the message names the argument, what it is and what is expected."""


class CheckpointError(RendererError):
    """A checkpoint is missing, unsafe, incomplete or of another kind; the message names the file and what to do."""
