"""Nodes as expressions: what adds them to a tree, and arithmetic on terms that are constants or sockets of one tree.

In `NodeMath` constants stay constants: a node is added only where a value really depends on the shading point.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import bpy

from manifests.contract.color import LUMINANCE

Colour = tuple[float, float, float]
type Term = Any
"""float | Colour | bpy.types.NodeSocket: a scalar, a linear colour, or an output socket."""

MARK = "lightloom"
"""Label of every node that this package adds to a material that is not its own."""


def is_socket(term: Term) -> bool:
    """True when the value has to be evaluated at the shading point."""
    return isinstance(term, bpy.types.NodeSocket)


def value_of(socket: Any) -> Term:
    """What feeds an input socket: the linked output, or the constant that is set on it."""
    link = live_link(socket)
    if link is None:
        return _plain(socket)
    source = link.from_socket
    while source.node.bl_idname == "NodeReroute":
        link = live_link(source.node.inputs[0])
        if link is None:
            return _plain(source)
        source = link.from_socket
    node = source.node
    if node.mute:
        return link.from_socket
    if node.bl_idname == "ShaderNodeLightPath":
        return 1.0 if source.name == "Is Camera Ray" else 0.0  # AOVs are written by camera rays alone
    if node.bl_idname in {"ShaderNodeValue", "ShaderNodeRGB"}:
        return _plain(source)
    return source


def live_link(socket: Any) -> Any | None:
    """The link into an input socket that Cycles follows: neither muted nor invalid."""
    return next((link for link in socket.links if not link.is_muted and link.is_valid), None)


def _plain(socket: Any) -> float | Colour:
    value = getattr(socket, "default_value", 0.0)
    if isinstance(value, bool | int | float):
        return float(value)
    red, green, blue = value[:3]
    return float(red), float(green), float(blue)


def as_number(term: Term) -> Term:
    """A constant colour as a scalar (Rec.709 luminance, as Cycles converts it); sockets convert on their own."""
    if isinstance(term, tuple):
        return LUMINANCE[0] * term[0] + LUMINANCE[1] * term[1] + LUMINANCE[2] * term[2]
    return term


def as_colour(term: Term) -> Term:
    """A constant scalar as a grey; sockets convert on their own."""
    return (float(term),) * 3 if isinstance(term, int | float) else term


def clamped(term: Term) -> Term:
    """A constant scalar kept in [0, 1]."""
    return term if is_socket(term) else min(max(term, 0.0), 1.0)


class NodeBuilder:
    """Adds nodes to one node tree. A value that feeds one is a socket, a number, or a tuple: a vector or a colour."""

    def __init__(self, tree: Any) -> None:
        self.tree = tree

    def node(self, kind: str, **properties: object) -> Any:
        """Add a node of type `kind` and set its properties."""
        node = self.tree.nodes.new(kind)
        for name, value in properties.items():
            setattr(node, name, value)
        return node

    def feed(self, socket: Any, value: Term) -> None:
        """Link or set one input; a constant becomes a colour (alpha 1) or a number where the socket is one."""
        if is_socket(value):
            self.tree.links.new(value, socket)
        elif socket.type == "RGBA":
            socket.default_value = (*as_colour(value)[:3], 1.0)
        else:
            socket.default_value = as_number(value) if socket.type == "VALUE" else value

    def math(self, operation: str, *values: Term, clamp: bool = False) -> Any:
        """A Math node; `clamp` keeps the result in [0, 1]."""
        node = self.node("ShaderNodeMath", operation=operation, use_clamp=clamp)
        for socket, value in zip(node.inputs, values, strict=False):
            self.feed(socket, value)
        return node.outputs[0]

    def mix(self, factor: Term, first: Term, second: Term) -> Any:
        """Linear blend of two numbers, factor clamped to [0, 1]."""
        return self._mix("FLOAT", "Float", factor, first, second)

    def blend(self, factor: Term, first: Term, second: Term, **properties: object) -> Any:
        """Linear blend of two colours, factor clamped to [0, 1]."""
        return self._mix("RGBA", "Color", factor, first, second, **properties)

    def _mix(self, data_type: str, suffix: str, factor: Term, first: Term, second: Term, **properties: object) -> Any:
        node = self.node("ShaderNodeMix", data_type=data_type, **properties)
        inputs = {socket.identifier: socket for socket in node.inputs}
        self.feed(inputs["Factor_Float"], factor)
        self.feed(inputs[f"A_{suffix}"], first)
        self.feed(inputs[f"B_{suffix}"], second)
        return next(socket for socket in node.outputs if socket.identifier == f"Result_{suffix}")


class NodeMath(NodeBuilder):
    """Expressions of terms in a material that is not our own: constants are folded, every node is marked."""

    def node(self, kind: str, **properties: object) -> Any:
        """A new, marked node."""
        return super().node(kind, label=MARK, hide=True, **properties)

    def times(self, first: Term, second: Term) -> Term:
        """Product of two scalars in [0, 1]."""
        if first == 0.0 or second == 0.0:
            return 0.0
        if first == 1.0 or second == 1.0:
            return second if first == 1.0 else first
        if is_socket(first) or is_socket(second):
            return self.math("MULTIPLY", first, second, clamp=True)
        return min(max(first * second, 0.0), 1.0)

    def plus(self, first: Term, second: Term) -> Term:
        """Sum of two scalars, clamped to [0, 1]."""
        if not (is_socket(first) or is_socket(second)):
            return min(max(first + second, 0.0), 1.0)
        if first == 0.0 or second == 0.0:
            return second if first == 0.0 else first
        return self.math("ADD", first, second, clamp=True)

    def rest(self, term: Term) -> Term:
        """1 - term."""
        return self.math("SUBTRACT", 1.0, term, clamp=True) if is_socket(term) else 1.0 - term

    def share(self, part: Term, other: Term) -> Term:
        """part / (part + other), where 0 / 0 is 0."""
        if part == 0.0 or other == 0.0:
            return 0.0 if part == 0.0 else 1.0
        if not (is_socket(part) or is_socket(other)):
            return part / (part + other)
        return self.math("DIVIDE", part, self.math("ADD", part, other), clamp=True)

    def number(self, factor: Term, first: Term, second: Term) -> Term:
        """Scalar blend: `first` at factor 0, `second` at 1."""
        return self._folded(factor, as_number(first), as_number(second), self.mix)

    def colour(self, factor: Term, first: Term, second: Term) -> Term:
        """Colour blend: `first` at factor 0, `second` at 1."""
        return self._folded(factor, as_colour(first), as_colour(second), self.blend)

    def _folded(self, factor: Term, first: Term, second: Term, mixing: Callable[[Term, Term, Term], Any]) -> Term:
        factor = clamped(as_number(factor))
        if factor in (0.0, 1.0):
            return second if factor else first
        if first == second:
            return first
        if first == 0.0 and second == 1.0:
            return factor
        if any(is_socket(term) for term in (factor, first, second)):
            return mixing(factor, first, second)
        if isinstance(first, tuple):
            return tuple(a + (b - a) * factor for a, b in zip(first, second, strict=True))
        return first + (second - first) * factor

    def gated(self, gate: Term, term: Term) -> Term:
        """Scalar clamped to [0, 1], times a gate that is 0 or 1."""
        if is_socket(gate) or is_socket(term):
            return self.math("MULTIPLY", gate, as_number(term), clamp=True) if gate != 0.0 else 0.0
        return clamped(term) * gate

    def gated_colour(self, gate: Term, term: Term) -> Term:
        """Colour clamped to [0, 1], times a gate that is 0 or 1."""
        term = as_colour(term)
        if gate == 0.0:
            return (0.0, 0.0, 0.0)
        if gate == 1.0 and isinstance(term, tuple):
            return tuple(clamped(part) for part in term)
        return self.blend(gate, (0.0, 0.0, 0.0), term, clamp_result=True)
