"""Networks of a few million parameters that two CPU cores train in minutes and run in real time at 64 pixels."""

from renderers.tiny.tiny_lighting import TinyLighting
from renderers.tiny.tiny_renderers import TinyForward, TinyInverse

__all__ = ["TinyForward", "TinyInverse", "TinyLighting"]
