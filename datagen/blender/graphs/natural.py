"""Wood, stone and earth."""

from __future__ import annotations

from datagen.blender.graphs import lattices
from datagen.blender.graphs.node_canvas import Canvas, MaterialParameters, Surface


def wood(canvas: Canvas, params: MaterialParameters) -> Surface:
    """Year rings and fibres along x: a solid block, or boards with joints, each cut from a place of its own."""
    planks = params.choice("style", "solid", "planks") == "planks"
    rings, wobble = params.number("rings"), params.number("wobble")
    if planks:
        board = lattices.planks(canvas, params.number("length"))
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
    dark = canvas.math("MULTIPLY_ADD", fibre, params.number("grain"), canvas.math("MULTIPLY", late, 0.7), clamp=True)
    colour = canvas.blend(dark, params.colour("light"), params.colour("dark"))
    roughness = canvas.mix(dark, params.number("roughness"), params.number("grain_roughness"))
    groove = canvas.math("MULTIPLY_ADD", fibre, 8.0, -4.0)  # a random slope across the fibres
    if planks:
        gap = params.number("gap")
        solid = canvas.ramp(board.edge, 0.4 * gap, 1.4 * gap)
        tone, _, _ = canvas.split(chance)
        colour = canvas.blend(canvas.math("MULTIPLY", tone, params.number("tone")), colour, params.colour("dark"))
        colour = canvas.blend(solid, (0.02, 0.02, 0.02), colour)
        roughness = canvas.mix(solid, 0.95, roughness)
        steep = canvas.ramp_slope(board.edge, 0.4 * gap, 1.4 * gap)
        rise = canvas.math("MULTIPLY_ADD", board.away_v, steep, groove)
        return Surface(colour, roughness, 0.0, canvas.unfold(canvas.math("MULTIPLY", board.away_u, steep), rise))
    return Surface(colour, roughness, 0.0, canvas.join(0.0, groove, groove))


def marble(canvas: Canvas, params: MaterialParameters) -> Surface:
    """Clouded stone with warped veins, which may be gilded."""
    swirl = canvas.noise_vector(canvas.position, 1.0, detail=2.0)
    warped = canvas.vector("MULTIPLY_ADD", swirl, (params.number("warp"),) * 3, canvas.position)
    ridge = canvas.math("ABSOLUTE", canvas.math("SUBTRACT", canvas.noise(warped, 1.1, detail=2.0), 0.5))
    width = params.number("width")
    cloud, breaks, _ = canvas.split(swirl)
    vein = canvas.math("MULTIPLY", canvas.ramp(ridge, width, 0.15 * width), canvas.ramp(breaks, 0.3, 0.55))
    colour = canvas.blend(canvas.ramp(cloud, 0.35, 0.65), params.colour("stone"), params.colour("cloud"))
    colour = canvas.blend(vein, colour, params.colour("vein"))
    polish = canvas.math("MULTIPLY_ADD", cloud, 0.12, params.number("roughness") - 0.04)
    roughness = canvas.mix(vein, polish, params.number("vein_roughness"))
    metallic = canvas.math("MULTIPLY", vein, params.number("vein_metallic"))
    return Surface(colour, roughness, metallic, canvas.centred(swirl, 12.0))


def concrete(canvas: Canvas, params: MaterialParameters) -> Surface:
    """Concrete and plaster: blotches, fine grain and air bubbles; polished or raw."""
    blotch = canvas.noise(canvas.position, 1.6, detail=2.0, roughness=0.6)
    rubble = canvas.noise_vector(canvas.position, 14.0, detail=1.0)
    grain, _, _ = canvas.split(rubble)
    distance, chance, point = canvas.cells(canvas.position, 7.0)
    one, _, _ = canvas.split(chance)
    pits = params.number("pits")
    pit = canvas.ramp(canvas.math("MULTIPLY_ADD", one, -pits, distance), 0.05, -0.06)
    stain = canvas.ramp(canvas.math("MULTIPLY_ADD", grain, 0.3, blotch), 0.5, 0.82)
    stain = canvas.math("MULTIPLY", stain, params.number("stain_amount"))
    dirt = canvas.math("MULTIPLY_ADD", canvas.ramp(grain, 0.5, 0.75), 0.4, stain, clamp=True)
    colour = canvas.blend(dirt, params.colour("base"), params.colour("stain"))
    colour = canvas.blend(pit, colour, params.colour("pit"))
    roughness = canvas.mix(stain, params.number("roughness"), params.number("stain_roughness"))
    roughness = canvas.mix(pit, roughness, 0.95)
    hole = canvas.vector(
        "SCALE", canvas.vector("SUBTRACT", canvas.position, point), canvas.math("MULTIPLY", pit, 300.0)
    )
    return Surface(colour, roughness, 0.0, canvas.vector("ADD", canvas.centred(rubble, 28.0), hole))


def gravel(canvas: Canvas, params: MaterialParameters) -> Surface:
    """Pebbles of two kinds in soil; wet ground shines between them."""
    distance, chance, point = canvas.cells(canvas.position, 1.0)
    which, light, kept = canvas.split(chance)
    radius = canvas.math("MULTIPLY_ADD", canvas.ramp(kept, 0.0, 0.5), params.number("fill"), 0.02)
    inside = canvas.math("DIVIDE", distance, radius)
    dome = canvas.math(
        "SQRT", canvas.math("MULTIPLY_ADD", inside, canvas.math("MULTIPLY", inside, -1.0), 1.0, clamp=True)
    )
    stone = canvas.ramp(dome, 0.05, 0.3)
    rubble = canvas.noise_vector(canvas.position, 5.0, detail=1.0)
    grain, _, _ = canvas.split(rubble)
    pebble = canvas.blend(canvas.ramp(which, 0.35, 0.65), params.colour("first"), params.colour("second"))
    pebble = canvas.blend(canvas.math("MULTIPLY", light, 0.5), pebble, params.colour("soil"))
    soil = canvas.blend(canvas.ramp(grain, 0.3, 0.75), (0.03, 0.025, 0.02), params.colour("soil"))
    colour = canvas.blend(stone, soil, pebble)
    dry = canvas.math("MULTIPLY_ADD", grain, 0.3, params.number("roughness") - 0.15)
    roughness = canvas.mix(stone, params.number("soil_roughness"), dry)
    fall = canvas.math("DIVIDE", stone, canvas.math("MULTIPLY", radius, canvas.math("MULTIPLY", radius, -1.0)))
    fall = canvas.math("DIVIDE", fall, canvas.math("MAXIMUM", dome, 0.4))
    slope = canvas.vector("SCALE", canvas.vector("SUBTRACT", canvas.position, point), fall)
    slope = canvas.vector("ADD", slope, canvas.centred(rubble, 7.0))
    if params.number("wet") > 0:
        level = params.number("wet")
        dry_land = canvas.ramp(canvas.math("MULTIPLY_ADD", grain, 0.3, dome), level, level + 0.12)
        roughness = canvas.mix(dry_land, params.number("soil_roughness"), roughness)
        slope = canvas.vector("SCALE", slope, dry_land)
    return Surface(colour, roughness, 0.0, slope)
