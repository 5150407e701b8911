"""What the studio takes, and how it says no. Light to import: neither torch nor gradio."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec

from manifests.errors import InputError


@dataclass(frozen=True)
class Limits:
    """Clips of at most so many frames, uploads of at most so many megabytes."""

    frames: int = 600
    megabytes: int = 512


def require_gradio() -> None:
    """Raise InputError where the extra `studio` is not installed."""
    if find_spec("gradio") is None:
        raise InputError("gradio is not installed", "pip install 'lightloom[studio]'")
