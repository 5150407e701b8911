"""Networks of a few million parameters that two CPU cores train in minutes and run in real time at 64 pixels."""

from renderers.tiny.forward import TinyForward
from renderers.tiny.inverse import TinyInverse
from renderers.tiny.lighting import TinyLighting

__all__ = ["TinyForward", "TinyInverse", "TinyLighting"]
