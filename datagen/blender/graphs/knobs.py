"""Typed reading of a procedural material's knobs, with errors that name the family and the knob."""

from __future__ import annotations

from collections.abc import Mapping

from scenes.spec import SpecError, Value


class Knobs:
    """The `params` of one material."""

    def __init__(self, family: str, params: Mapping[str, Value]) -> None:
        self._family = family
        self._params = params

    def _get(self, name: str) -> Value:
        try:
            return self._params[name]
        except KeyError:
            raise SpecError(f"material family {self._family!r} needs the knob {name!r}; add it to params") from None

    def number(self, name: str) -> float:
        """A scalar knob."""
        value = self._get(name)
        if isinstance(value, str | tuple):
            raise SpecError(f"knob {name!r} of material family {self._family!r} must be a number, got {value!r}")
        return float(value)

    def colour(self, name: str) -> tuple[float, float, float]:
        """A linear Rec.709 colour knob."""
        value = self._get(name)
        if not isinstance(value, tuple) or len(value) != 3:
            raise SpecError(f"knob {name!r} of material family {self._family!r} must be three numbers, got {value!r}")
        return float(value[0]), float(value[1]), float(value[2])

    def choice(self, name: str, *known: str) -> str:
        """A knob that is one of the `known` words."""
        value = self._get(name)
        if value not in known:
            raise SpecError(
                f"knob {name!r} of material family {self._family!r} is {value!r}; known: {', '.join(known)}"
            )
        return str(value)
