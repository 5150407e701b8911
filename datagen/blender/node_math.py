"""Arithmetic on shader parameters that are either known constants or sockets of one node tree.

Constants stay constants: a node is added only where a value really depends on the shading point.
"""

from __future__ import annotations

from typing import Any

import bpy

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
        return 0.2126 * term[0] + 0.7152 * term[1] + 0.0722 * term[2]
    return term


def as_colour(term: Term) -> Term:
    """A constant scalar as a grey; sockets convert on their own."""
    return (float(term),) * 3 if isinstance(term, int | float) else term


def clamped(term: Term) -> Term:
    """A constant scalar kept in [0, 1]."""
    return term if is_socket(term) else min(max(term, 0.0), 1.0)


class NodeMath:
    """Adds the nodes of an expression to one node tree."""

    def __init__(self, tree: Any) -> None:
        self.tree = tree

    def node(self, kind: str) -> Any:
        """A new, marked node."""
        node = self.tree.nodes.new(kind)
        node.label = MARK
        node.hide = True
        return node

    def feed(self, socket: Any, term: Term) -> None:
        """Link or set an input."""
        if is_socket(term):
            self.tree.links.new(term, socket)
        elif socket.type == "RGBA":
            socket.default_value = (*as_colour(term), 1.0)
        else:
            socket.default_value = as_number(term)

    def math(self, operation: str, first: Term, second: Term, clamp: bool = False) -> Any:
        """A Math node of two scalars."""
        node = self.node("ShaderNodeMath")
        node.operation, node.use_clamp = operation, clamp
        self.feed(node.inputs[0], first)
        self.feed(node.inputs[1], second)
        return node.outputs[0]

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
        return self._blend(as_number(factor), as_number(first), as_number(second), "FLOAT", "Float")

    def colour(self, factor: Term, first: Term, second: Term) -> Term:
        """Colour blend: `first` at factor 0, `second` at 1."""
        return self._blend(as_number(factor), as_colour(first), as_colour(second), "RGBA", "Color")

    def _blend(self, factor: Term, first: Term, second: Term, kind: str, suffix: str) -> Term:
        factor = clamped(factor)
        if factor in (0.0, 1.0):
            return second if factor else first
        if first == second:
            return first
        if first == 0.0 and second == 1.0:
            return factor
        if not any(is_socket(term) for term in (factor, first, second)):
            if isinstance(first, tuple):
                return tuple(a + (b - a) * factor for a, b in zip(first, second, strict=True))
            return first + (second - first) * factor
        node = self.node("ShaderNodeMix")
        node.data_type, node.clamp_factor = kind, True
        inputs = {socket.identifier: socket for socket in node.inputs}
        self.feed(inputs["Factor_Float"], factor)
        self.feed(inputs[f"A_{suffix}"], first)
        self.feed(inputs[f"B_{suffix}"], second)
        return next(socket for socket in node.outputs if socket.identifier == f"Result_{suffix}")

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
        node = self.node("ShaderNodeMix")
        node.data_type, node.clamp_result = "RGBA", True
        inputs = {socket.identifier: socket for socket in node.inputs}
        self.feed(inputs["Factor_Float"], gate)
        self.feed(inputs["A_Color"], (0.0, 0.0, 0.0))
        self.feed(inputs["B_Color"], term)
        return next(socket for socket in node.outputs if socket.identifier == "Result_Color")
