"""Flat layouts: which cell of a tiling a point is in and how far it is from that cell's edge."""

from __future__ import annotations

import math
from dataclasses import dataclass

from datagen.blender.graphs.node_canvas import Canvas, Socket


@dataclass(frozen=True)
class Cell:
    """Where a point is in its cell.

    `identity` is constant in a cell, `u` and `v` run over about [-0.5, 0.5], `edge` is the distance to the nearest
    edge and (`away_u`, `away_v`) the unit direction away from it.
    """

    identity: Socket
    u: Socket
    v: Socket
    edge: Socket
    away_u: Socket
    away_v: Socket


def grid(canvas: Canvas, width: float = 1.0, stagger: float = 0.0) -> Cell:
    """Rectangles `width` x 1; every row is shifted against the one below by `stagger` of the width."""
    u, v, _ = canvas.split(canvas.planar)
    row = canvas.math("FLOOR", v)
    return _rectangle(canvas, (u, v, row), width, canvas.math("MULTIPLY", row, stagger))


def planks(canvas: Canvas, length: float) -> Cell:
    """Boards of width 1 and the given length, with random joints."""
    u, v, _ = canvas.split(canvas.planar)
    row = canvas.math("FLOOR", v)
    shift, _, _ = canvas.split(canvas.random(canvas.join(row, 7.0)))
    return _rectangle(canvas, (u, v, row), length, shift)


def _rectangle(canvas: Canvas, place: tuple[Socket, Socket, Socket], width: float, shift: Socket) -> Cell:
    u, v, row = place
    scaled = canvas.math("MULTIPLY_ADD", u, 1.0 / width, shift)
    local_u = canvas.math("SUBTRACT", canvas.math("FRACT", scaled), 0.5)
    local_v = canvas.math("SUBTRACT", canvas.math("FRACT", v), 0.5)
    across = canvas.math("SUBTRACT", 0.5, canvas.math("ABSOLUTE", local_v))
    along = canvas.math("MULTIPLY_ADD", canvas.math("ABSOLUTE", local_u), -width, 0.5 * width)
    beside = canvas.math("LESS_THAN", across, along)
    return Cell(
        canvas.join(canvas.math("FLOOR", scaled), row),
        local_u,
        local_v,
        canvas.math("MINIMUM", across, along),
        canvas.math("MULTIPLY", canvas.math("SIGN", local_u), canvas.math("SUBTRACT", beside, 1.0)),
        canvas.math("MULTIPLY", canvas.math("SIGN", local_v), canvas.math("MULTIPLY", beside, -1.0)),
    )


def hexagons(canvas: Canvas) -> Cell:
    """Regular hexagons of width 1 (flat to flat): the nearer of two interleaved rectangular lattices."""
    period = (1.0, math.sqrt(3.0), 1.0)
    half = (0.5, math.sqrt(3.0) / 2, 0.0)
    flat = canvas.planar

    def local(shifted: Socket) -> Socket:
        return canvas.vector(
            "SUBTRACT",
            canvas.vector("MODULO", canvas.vector("ADD", shifted, (512.0, 512.0 * period[1], 0.0)), period),
            half,
        )

    first = local(flat)
    second = local(canvas.vector("SUBTRACT", flat, half))
    nearer = canvas.math("LESS_THAN", canvas.vector("LENGTH", second), canvas.vector("LENGTH", first))
    centred = canvas.blend(nearer, first, second)
    u, v, _ = canvas.split(centred)
    folded_u = canvas.math("ABSOLUTE", u)
    slanted = canvas.math("MULTIPLY_ADD", canvas.math("ABSOLUTE", v), half[1], canvas.math("MULTIPLY", folded_u, 0.5))
    edge = canvas.math("SUBTRACT", 0.5, canvas.math("MAXIMUM", folded_u, slanted))
    beside = canvas.math("GREATER_THAN", folded_u, slanted)
    away_u = canvas.math("MULTIPLY", canvas.math("SIGN", u), canvas.math("MULTIPLY_ADD", beside, -0.5, -0.5))
    away_v = canvas.math("MULTIPLY", canvas.math("SIGN", v), canvas.math("MULTIPLY_ADD", beside, half[1], -half[1]))
    centre = canvas.vector("SUBTRACT", flat, centred)
    identity = canvas.vector("SNAP", canvas.vector("ADD", centre, (0.25, 0.25, 0.0)), (0.5, 0.5, 1.0))
    return Cell(identity, u, v, edge, away_u, away_v)
