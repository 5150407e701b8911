"""Made things: tiles, terrazzo, cloth, leather, glazes, mouldings and printed or inlaid patterns."""

from __future__ import annotations

import math

from datagen.blender.graphs import lattices
from datagen.blender.graphs.node_canvas import Canvas, MaterialParameters, Socket, Surface

_TURN = 2 * math.pi


def tiles(canvas: Canvas, params: MaterialParameters) -> Surface:
    """Square, brick or hexagonal tiles with grout; every tile has its own tone, polish and slight tilt."""
    layout = params.choice("layout", "grid", "brick", "hex")
    if layout == "hex":
        tile = lattices.hexagons(canvas)
    else:
        tile = lattices.grid(canvas, 1.0 if layout == "grid" else 2.2, 0.0 if layout == "grid" else 0.5)
    chance = canvas.random(tile.identity)
    which, tone, tilt = canvas.split(chance)
    gap = params.number("gap")
    body = canvas.ramp(tile.edge, 0.7 * gap, 1.1 * gap)
    mottle = canvas.noise(canvas.position, 3.0, detail=1.0)
    colour = canvas.blend(canvas.math("GREATER_THAN", which, 0.5), params.colour("first"), params.colour("second"))
    darker = canvas.vector("SCALE", colour, 0.45)
    dark = canvas.math(
        "MULTIPLY_ADD",
        tone,
        params.number("tone"),
        canvas.math("MULTIPLY", canvas.ramp(mottle, 0.4, 0.7), params.number("mottle")),
    )
    colour = canvas.blend(body, params.colour("grout"), canvas.blend(dark, colour, darker))
    polish = canvas.math("MULTIPLY_ADD", tone, params.number("roughness_spread"), params.number("roughness"))
    polish = canvas.math("MULTIPLY_ADD", mottle, 0.1, polish)
    roughness = canvas.mix(body, params.number("grout_roughness"), polish)
    steep = canvas.ramp_slope(tile.edge, 0.6 * gap, gap + params.number("bevel"))
    slope_u = canvas.math("MULTIPLY_ADD", tile.away_u, steep, canvas.math("MULTIPLY_ADD", tilt, 1.2, -0.6))
    slope_v = canvas.math("MULTIPLY_ADD", tile.away_v, steep, canvas.math("MULTIPLY_ADD", which, 1.2, -0.6))
    metallic = canvas.math("MULTIPLY", body, params.number("metallic"))
    return Surface(colour, roughness, metallic, canvas.unfold(slope_u, slope_v))


def terrazzo(canvas: Canvas, params: MaterialParameters) -> Surface:
    """Angular chips of two stones, and sometimes brass, in a binder."""
    distance, chance, _ = canvas.cells(canvas.position, 1.0, metric="MANHATTAN")
    which, brass, width = canvas.split(chance)
    reach = canvas.math("MULTIPLY_ADD", width, 0.5, params.number("fill") - 0.1)
    chip = canvas.ramp(canvas.math("SUBTRACT", distance, reach), 0.0, -0.05)
    metal = canvas.math("MULTIPLY", canvas.math("LESS_THAN", brass, params.number("metal_share")), chip)
    cloud = canvas.noise(canvas.position, 2.5, detail=1.0)
    stone = canvas.blend(canvas.math("GREATER_THAN", which, 0.5), params.colour("first"), params.colour("second"))
    stone = canvas.blend(canvas.math("MULTIPLY", brass, 0.35), stone, params.colour("binder"))
    binder = canvas.blend(canvas.ramp(cloud, 0.3, 0.7), params.colour("binder"), canvas.vector("SCALE", stone, 0.5))
    binder = canvas.blend(0.25, params.colour("binder"), binder)
    colour = canvas.blend(metal, canvas.blend(chip, binder, stone), params.colour("third"))
    roughness = canvas.mix(
        chip, params.number("binder_roughness"), canvas.math("MULTIPLY_ADD", which, 0.1, params.number("roughness"))
    )
    return Surface(colour, roughness, metal, canvas.vector("SCALE", canvas.centred(chance, 10.0), chip))


def fabric(canvas: Canvas, params: MaterialParameters) -> Surface:
    """Warp and weft threads, plain or twill, or knitted ribs; the weft may be metal thread."""
    u, v, _ = canvas.split(canvas.planar)
    weave = params.choice("weave", "plain", "twill", "knit")
    fuzz = canvas.noise(canvas.position, 4.0, detail=1.0, roughness=0.6)

    def thread(coordinate: Socket) -> tuple[Socket, Socket]:
        """(-1 to 1 across the thread, its round height)."""
        centred = canvas.math("MULTIPLY_ADD", canvas.math("FRACT", coordinate), 2.0, -1.0)
        return centred, canvas.math("MULTIPLY_ADD", centred, canvas.math("MULTIPLY", centred, -1.0), 1.0)

    if weave == "knit":
        leg = canvas.math("ABSOLUTE", canvas.math("SUBTRACT", canvas.math("FRACT", u), 0.5))
        side_u, round_u = thread(canvas.math("MULTIPLY", u, 2.0))
        side_v, round_v = thread(canvas.math("MULTIPLY_ADD", leg, 1.4, v))
        relief = canvas.math("MULTIPLY", round_u, round_v)
        over = canvas.math("GREATER_THAN", canvas.math("FRACT", canvas.math("MULTIPLY", v, 0.1)), 0.5)
        slope_u, slope_v = canvas.math("MULTIPLY", side_u, -4.0), canvas.math("MULTIPLY", side_v, -4.0)
    else:
        step = canvas.math("ADD", canvas.math("FLOOR", u), canvas.math("FLOOR", v))
        period = 2.0 if weave == "plain" else 4.0
        over = canvas.math("LESS_THAN", canvas.math("FRACT", canvas.math("MULTIPLY_ADD", step, 1 / period, 0.01)), 0.5)
        (side_u, round_u), (side_v, round_v) = thread(u), thread(v)
        across, along = canvas.mix(over, round_v, round_u), canvas.mix(over, round_u, round_v)
        relief = canvas.math("MULTIPLY", across, canvas.math("MULTIPLY_ADD", along, 0.5, 0.5))
        slope_u = canvas.math("MULTIPLY", side_u, canvas.math("MULTIPLY_ADD", over, -2.5, -1.5))
        slope_v = canvas.math("MULTIPLY", side_v, canvas.math("MULTIPLY_ADD", over, 2.5, -4.0))
    colour = canvas.blend(over, params.colour("weft"), params.colour("warp"))
    shaded = canvas.vector("SCALE", colour, params.number("gap_shade"))
    lit = canvas.math(
        "SUBTRACT", canvas.math("MULTIPLY", relief, 1.8), canvas.math("MULTIPLY", fuzz, params.number("fuzz"))
    )
    colour = canvas.blend(lit, shaded, colour)
    roughness = canvas.mix(over, params.number("weft_roughness"), params.number("roughness"))
    roughness = canvas.math("MULTIPLY_ADD", canvas.math("SUBTRACT", fuzz, 0.5), 0.3, roughness, clamp=True)
    metallic = canvas.math("MULTIPLY", canvas.math("SUBTRACT", 1.0, over), params.number("weft_metallic"))
    return Surface(colour, roughness, metallic, canvas.unfold(slope_u, slope_v))


def leather(canvas: Canvas, params: MaterialParameters) -> Surface:
    """Cells divided by creases, worn lighter in patches."""
    patches = canvas.noise_vector(canvas.position, 0.5, detail=1.0)
    wear, _, _ = canvas.split(patches)
    place = canvas.vector("MULTIPLY_ADD", patches, (0.8, 0.8, 0.8), canvas.position)
    distance, _, point = canvas.cells(place, 1.0)
    crease = canvas.ramp(distance, 0.35, 0.72)
    rubbed = canvas.math("MULTIPLY", canvas.ramp(wear, 0.45, 0.7), params.number("wear"))
    colour = canvas.blend(rubbed, params.colour("base"), params.colour("worn"))
    colour = canvas.blend(crease, colour, params.colour("crease"))
    finish = canvas.math("MULTIPLY_ADD", wear, 0.3, params.number("roughness") - 0.12)
    roughness = canvas.mix(crease, finish, params.number("crease_roughness"))
    steep = canvas.math("MULTIPLY_ADD", crease, -6.0, -1.0)
    return Surface(colour, roughness, 0.0, canvas.vector("SCALE", canvas.vector("SUBTRACT", place, point), steep))


def pattern(canvas: Canvas, params: MaterialParameters) -> Surface:
    """Two materials side by side: checker, stripes, dots or diamonds; either may be metal."""
    layout = params.choice("layout", "checker", "stripes", "dots", "diamonds")
    share = params.number("share")
    u, v, _ = canvas.split(canvas.planar)
    along_v = canvas.math("SUBTRACT", canvas.math("FRACT", v), 0.5)
    if layout == "checker":
        step = canvas.math("ADD", canvas.math("FLOOR", u), canvas.math("FLOOR", v))
        second: Socket = canvas.math(
            "LESS_THAN", canvas.math("FRACT", canvas.math("MULTIPLY_ADD", step, 0.5, 0.01)), 0.25
        )
        pillow = canvas.unfold(canvas.math("SUBTRACT", canvas.math("FRACT", u), 0.5), along_v)
    elif layout == "stripes":
        second = canvas.math("LESS_THAN", canvas.math("ABSOLUTE", along_v), 0.5 * share)
        pillow = canvas.vector("SCALE", canvas.unfold(0.0, along_v), second)
    else:
        cell = lattices.grid(canvas, 1.0, 0.5)
        if layout == "dots":
            radius = canvas.vector("LENGTH", canvas.join(cell.u, cell.v))
        else:
            radius = canvas.math("ADD", canvas.math("ABSOLUTE", cell.u), canvas.math("ABSOLUTE", cell.v))
        second = canvas.ramp(radius, 0.75 * share + 0.01, 0.75 * share - 0.01)
        pillow = canvas.vector("SCALE", canvas.unfold(cell.u, cell.v), second)
    cloud = canvas.ramp(canvas.noise(canvas.position, 1.2, detail=1.0), 0.35, 0.65)
    colour = canvas.blend(second, params.colour("first"), params.colour("second"))
    colour = canvas.blend(canvas.math("MULTIPLY", cloud, 0.25), colour, canvas.vector("SCALE", colour, 0.5))
    roughness = canvas.mix(second, params.number("first_roughness"), params.number("second_roughness"))
    roughness = canvas.math("MULTIPLY_ADD", cloud, params.number("smudge"), roughness, clamp=True)
    metallic = canvas.mix(second, params.number("first_metallic"), params.number("second_metallic"))
    return Surface(colour, roughness, metallic, canvas.vector("SCALE", pillow, -16.0))


def ceramic(canvas: Canvas, params: MaterialParameters) -> Surface:
    """Glaze that pools unevenly over a net of fine cracks."""
    swirl = canvas.noise_vector(canvas.position, 0.6, detail=1.0)
    cloud, _, _ = canvas.split(swirl)
    border = canvas.borders(canvas.vector("ADD", swirl, canvas.position), 1.0)
    width = params.number("crackle")
    crack = canvas.ramp(border, width, 0.3 * width)
    pooled = canvas.ramp(cloud, 0.4, 0.65)
    colour = canvas.blend(pooled, params.colour("glaze"), params.colour("pool"))
    colour = canvas.blend(crack, colour, params.colour("crack"))
    roughness = canvas.mix(pooled, params.number("roughness"), params.number("pool_roughness"))
    roughness = canvas.mix(crack, roughness, params.number("crack_roughness"))
    return Surface(colour, roughness, 0.0, canvas.centred(swirl, 14.0))


def plastic(canvas: Canvas, params: MaterialParameters) -> Surface:
    """Moulded plastic: a fine grain, pebbles or ribs, scuffed in patches."""
    relief = params.choice("relief", "grain", "pebbles", "ribs")
    if relief == "grain":
        slope = canvas.centred(canvas.noise_vector(canvas.position, 2.5, detail=1.0), 10.0)
    elif relief == "pebbles":
        _, _, point = canvas.cells(canvas.position, 1.6)
        slope = canvas.vector("SCALE", canvas.vector("SUBTRACT", canvas.position, point), -5.0)
    else:
        _, v, _ = canvas.split(canvas.planar)
        wave = canvas.math("COSINE", canvas.math("MULTIPLY", v, 2 * _TURN))
        slope = canvas.unfold(0.0, canvas.math("MULTIPLY", wave, 4.0))
    patches = canvas.noise(canvas.position, 0.5, detail=2.0, roughness=0.65)
    scuff = canvas.math("MULTIPLY", canvas.ramp(patches, 0.48, 0.62), params.number("scuffs"))
    colour = canvas.blend(scuff, params.colour("base"), params.colour("scuff"))
    roughness = canvas.mix(scuff, params.number("roughness"), params.number("scuff_roughness"))
    return Surface(colour, roughness, 0.0, slope)
