"""Wood, stone and earth."""

from __future__ import annotations

from datagen.blender.graphs import lattices
from datagen.blender.graphs.node_canvas import Canvas, Knobs, Surface


def wood(canvas: Canvas, knobs: Knobs) -> Surface:
    """Year rings and fibres along x: a solid block, or boards with joints, each cut from another place."""
    planks = knobs.choice("style", "solid", "planks") == "planks"
    rings, wobble = knobs.number("rings"), knobs.number("wobble")
    if planks:
        board = lattices.planks(canvas, knobs.number("length"))
        chance = canvas.random(board.identity)
        place = canvas.vector("ADD", canvas.planar, canvas.vector("SCALE", chance, 31.0))
        across = canvas.math("MULTIPLY_ADD", board.v, 0.8 * rings, 0.0)
        lively = 3.5 * wobble
        coarse = canvas.stretch(place, 0.22, 1.0, 1.0)
    else:
        place = canvas.position
        _, y, z = canvas.split(canvas.own)
        across = canvas.math(
            "MULTIPLY", canvas.vector("LENGTH", canvas.join(y, canvas.math("SUBTRACT", z, 0.35))), rings
        )
        lively = 1.6 * wobble
        coarse = canvas.stretch(place, 0.35, 1.1, 1.1)
    bend = canvas.noise(coarse, 1.0, detail=1.0)
    age = canvas.math("FRACT", canvas.math("MULTIPLY_ADD", bend, 2.5 * lively, across))
    late = canvas.math("MULTIPLY", canvas.ramp(age, 0.15, 0.85), canvas.ramp(age, 1.0, 0.9))
    fibre = canvas.noise(canvas.stretch(place, 1.0, 24.0, 24.0), 1.3, detail=1.0)
    fibre = canvas.ramp(fibre, 0.3, 0.7)
    dark = canvas.math("MULTIPLY_ADD", fibre, knobs.number("grain"), canvas.math("MULTIPLY", late, 0.7), clamp=True)
    colour = canvas.blend(dark, knobs.colour("light"), knobs.colour("dark"))
    roughness = canvas.mix(dark, knobs.number("roughness"), knobs.number("grain_roughness"))
    groove = canvas.math("MULTIPLY_ADD", fibre, 8.0, -4.0)  # a random slope across the fibres
    if planks:
        gap = knobs.number("gap")
        solid = canvas.ramp(board.edge, 0.4 * gap, 1.4 * gap)
        tone, _, _ = canvas.split(chance)
        colour = canvas.blend(canvas.math("MULTIPLY", tone, knobs.number("tone")), colour, knobs.colour("dark"))
        colour = canvas.blend(solid, (0.02, 0.02, 0.02), colour)
        roughness = canvas.mix(solid, 0.95, roughness)
        steep = canvas.ramp_slope(board.edge, 0.4 * gap, 1.4 * gap)
        rise = canvas.math("MULTIPLY_ADD", board.away_v, steep, groove)
        return Surface(colour, roughness, 0.0, canvas.unfold(canvas.math("MULTIPLY", board.away_u, steep), rise))
    return Surface(colour, roughness, 0.0, canvas.join(0.0, groove, groove))


def marble(canvas: Canvas, knobs: Knobs) -> Surface:
    """Clouded stone with warped veins, which may be gilded."""
    swirl = canvas.noise_vector(canvas.position, 1.0, detail=2.0)
    warped = canvas.vector("MULTIPLY_ADD", swirl, (knobs.number("warp"),) * 3, canvas.position)
    ridge = canvas.math("ABSOLUTE", canvas.math("SUBTRACT", canvas.noise(warped, 1.1, detail=2.0), 0.5))
    width = knobs.number("width")
    cloud, breaks, _ = canvas.split(swirl)
    vein = canvas.math("MULTIPLY", canvas.ramp(ridge, width, 0.15 * width), canvas.ramp(breaks, 0.3, 0.55))
    colour = canvas.blend(canvas.ramp(cloud, 0.35, 0.65), knobs.colour("stone"), knobs.colour("cloud"))
    colour = canvas.blend(vein, colour, knobs.colour("vein"))
    polish = canvas.math("MULTIPLY_ADD", cloud, 0.12, knobs.number("roughness") - 0.04)
    roughness = canvas.mix(vein, polish, knobs.number("vein_roughness"))
    metallic = canvas.math("MULTIPLY", vein, knobs.number("vein_metallic"))
    return Surface(colour, roughness, metallic, canvas.centred(swirl, 12.0))


def concrete(canvas: Canvas, knobs: Knobs) -> Surface:
    """Concrete and plaster: blotches, fine grain and air bubbles; polished or raw."""
    blotch = canvas.noise(canvas.position, 1.6, detail=2.0, roughness=0.6)
    rubble = canvas.noise_vector(canvas.position, 14.0, detail=1.0)
    grain, _, _ = canvas.split(rubble)
    distance, chance, point = canvas.cells(canvas.position, 7.0)
    one, _, _ = canvas.split(chance)
    pits = knobs.number("pits")
    pit = canvas.ramp(canvas.math("MULTIPLY_ADD", one, -pits, distance), 0.05, -0.06)
    stain = canvas.ramp(canvas.math("MULTIPLY_ADD", grain, 0.3, blotch), 0.5, 0.82)
    stain = canvas.math("MULTIPLY", stain, knobs.number("stain_amount"))
    dirt = canvas.math("MULTIPLY_ADD", canvas.ramp(grain, 0.5, 0.75), 0.4, stain, clamp=True)
    colour = canvas.blend(dirt, knobs.colour("base"), knobs.colour("stain"))
    colour = canvas.blend(pit, colour, knobs.colour("pit"))
    roughness = canvas.mix(stain, knobs.number("roughness"), knobs.number("stain_roughness"))
    roughness = canvas.mix(pit, roughness, 0.95)
    hole = canvas.vector(
        "SCALE", canvas.vector("SUBTRACT", canvas.position, point), canvas.math("MULTIPLY", pit, 300.0)
    )
    return Surface(colour, roughness, 0.0, canvas.vector("ADD", canvas.centred(rubble, 28.0), hole))


def gravel(canvas: Canvas, knobs: Knobs) -> Surface:
    """Pebbles of two kinds in soil; wet ground shines between them."""
    distance, chance, point = canvas.cells(canvas.position, 1.0)
    which, light, kept = canvas.split(chance)
    radius = canvas.math("MULTIPLY_ADD", canvas.ramp(kept, 0.0, 0.5), knobs.number("fill"), 0.02)
    inside = canvas.math("DIVIDE", distance, radius)
    dome = canvas.math(
        "SQRT", canvas.math("MULTIPLY_ADD", inside, canvas.math("MULTIPLY", inside, -1.0), 1.0, clamp=True)
    )
    stone = canvas.ramp(dome, 0.05, 0.3)
    rubble = canvas.noise_vector(canvas.position, 5.0, detail=1.0)
    grain, _, _ = canvas.split(rubble)
    pebble = canvas.blend(canvas.ramp(which, 0.35, 0.65), knobs.colour("first"), knobs.colour("second"))
    pebble = canvas.blend(canvas.math("MULTIPLY", light, 0.5), pebble, knobs.colour("soil"))
    soil = canvas.blend(canvas.ramp(grain, 0.3, 0.75), (0.03, 0.025, 0.02), knobs.colour("soil"))
    colour = canvas.blend(stone, soil, pebble)
    dry = canvas.math("MULTIPLY_ADD", grain, 0.3, knobs.number("roughness") - 0.15)
    roughness = canvas.mix(stone, knobs.number("soil_roughness"), dry)
    fall = canvas.math("DIVIDE", stone, canvas.math("MULTIPLY", radius, canvas.math("MULTIPLY", radius, -1.0)))
    fall = canvas.math("DIVIDE", fall, canvas.math("MAXIMUM", dome, 0.4))
    slope = canvas.vector("SCALE", canvas.vector("SUBTRACT", canvas.position, point), fall)
    slope = canvas.vector("ADD", slope, canvas.centred(rubble, 7.0))
    if knobs.number("wet") > 0:
        level = knobs.number("wet")
        dry_land = canvas.ramp(canvas.math("MULTIPLY_ADD", grain, 0.3, dome), level, level + 0.12)
        roughness = canvas.mix(dry_land, knobs.number("soil_roughness"), roughness)
        slope = canvas.vector("SCALE", slope, dry_land)
    return Surface(colour, roughness, 0.0, slope)
