"""What can go wrong in a demo."""

from __future__ import annotations

from manifests.errors import LightloomError


class DemoError(LightloomError):
    """A demo that cannot go on; the message says which stage, and what to do."""
