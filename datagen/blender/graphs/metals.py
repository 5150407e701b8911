"""Metals, and paints on metals: the families in which metalness itself varies over the surface."""

from __future__ import annotations

import math

from datagen.blender.graphs.node_canvas import Canvas, MaterialParameters, Socket, Surface


def rust(canvas: Canvas, params: MaterialParameters) -> Surface:
    """Paint chipped to bare metal, metal eaten by rust (dielectric); without paint the metal itself rusts."""
    broad = canvas.noise(canvas.position, 1.5, detail=2.0, roughness=0.65)
    fine = canvas.noise(canvas.position, 11.0, detail=1.0, roughness=0.6)
    decay = canvas.math("MULTIPLY_ADD", fine, 0.14, canvas.math("SUBTRACT", broad, 0.07))
    limit = 0.5 + 0.4 * (0.5 - params.number("amount"))
    eaten = canvas.ramp(decay, limit, limit + 0.025)
    ochre = canvas.blend(canvas.ramp(fine, 0.32, 0.68), params.colour("rust_dark"), params.colour("rust"))
    crust = canvas.math("MULTIPLY", fine, 1.2)
    if params.number("painted") > 0.5:
        edge = limit - params.number("chipped")
        chipped = canvas.ramp(decay, edge, edge + 0.01)
        sound = canvas.blend(chipped, params.colour("paint"), params.colour("metal"))
        finish = canvas.mix(chipped, params.number("paint_roughness"), params.number("metal_roughness"))
        finish = canvas.math("MULTIPLY_ADD", canvas.ramp(broad, 0.3, 0.6), 0.12, finish)
        metallic = canvas.math("SUBTRACT", chipped, eaten, clamp=True)
        skin: Socket | float = canvas.math("SUBTRACT", 1.0, chipped)
    else:
        stained = canvas.math("MULTIPLY", canvas.ramp(decay, limit - 0.15, limit), 0.5)
        sound = canvas.blend(stained, params.colour("metal"), params.colour("rust"))
        finish = canvas.mix(stained, params.number("metal_roughness"), params.number("rust_roughness"))
        metallic = canvas.math("SUBTRACT", 1.0, eaten)
        skin = 0.3
    colour = canvas.blend(eaten, sound, ochre)
    roughness = canvas.mix(eaten, finish, params.number("rust_roughness"))
    return Surface(colour, roughness, metallic, height=canvas.mix(eaten, skin, crust))


def brushed(canvas: Canvas, params: MaterialParameters) -> Surface:
    """Fine parallel grooves and greasy smudges."""
    streak = canvas.noise(
        canvas.stretch(canvas.planar, 0.25, params.number("stretch"), 1.0), 1.0, detail=2.0, dimensions="2D"
    )
    streak = canvas.ramp(streak, 0.25, 0.75)
    cloud = canvas.ramp(canvas.noise(canvas.position, 1.4, detail=2.0), 0.4, 0.65)
    dull = canvas.blend(params.number("tarnish"), (0.15, 0.15, 0.15), params.colour("metal"))
    colour = canvas.blend(
        canvas.math("MULTIPLY_ADD", cloud, 0.5, canvas.math("MULTIPLY", streak, 0.5)), params.colour("metal"), dull
    )
    roughness = canvas.mix(streak, params.number("roughness"), params.number("streak_roughness"))
    roughness = canvas.math("MULTIPLY_ADD", cloud, params.number("smudge"), roughness, clamp=True)
    slope = canvas.unfold(0.0, canvas.math("MULTIPLY_ADD", streak, 60.0, -30.0))  # a random slope across the grooves
    return Surface(colour, roughness, 1.0, slope)


def scratched(canvas: Canvas, params: MaterialParameters) -> Surface:
    """A coat (paint or metal) with long scratches down to bare metal and worn patches."""
    width, wear = params.number("width"), params.number("wear")
    patches = canvas.noise(canvas.position, 1.3, detail=2.0, roughness=0.6)
    reach = canvas.math("MULTIPLY_ADD", canvas.ramp(patches, 0.62 - 0.3 * wear, 0.75 - 0.3 * wear), width, 0.001)

    def scratch(degrees: float, lengthwise: float) -> tuple[Socket, Socket]:
        """(how much this is a scratch, the slope of its groove): level lines of a stretched noise."""
        cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        along = canvas.vector("DOT_PRODUCT", canvas.planar, (cosine * lengthwise, sine * lengthwise, 0.0))
        across = canvas.vector("DOT_PRODUCT", canvas.planar, (-sine * 4.0, cosine * 4.0, 0.0))
        level = canvas.noise(canvas.join(along, across), 1.0, detail=1.0, dimensions="2D")
        side = canvas.math("DIVIDE", canvas.math("SUBTRACT", level, 0.5), reach)
        line = canvas.ramp(canvas.math("ABSOLUTE", side), 1.2, 0.8)
        steep = canvas.math("MULTIPLY", side, line)
        return line, canvas.vector("SCALE", canvas.join(-25.0 * sine, 25.0 * cosine), steep)

    angle = params.number("angle")
    (first, first_slope), (second, second_slope) = scratch(angle, 0.3), scratch(angle + 52.0, 0.22)
    line = canvas.math("MAXIMUM", first, second)
    worn = canvas.ramp(patches, 0.78 - 0.12 * wear, 0.8 - 0.12 * wear)
    bare = canvas.math("MAXIMUM", line, worn)
    colour = canvas.blend(bare, params.colour("coat"), params.colour("bare"))
    finish = canvas.math(
        "MULTIPLY_ADD", canvas.ramp(patches, 0.35, 0.6), params.number("smudge"), params.number("roughness")
    )
    roughness = canvas.mix(bare, finish, params.number("bare_roughness"))
    metallic = canvas.mix(bare, params.number("coat_metallic"), 1.0)
    slope_u, slope_v, _ = canvas.split(canvas.vector("ADD", first_slope, second_slope))
    return Surface(colour, roughness, metallic, canvas.unfold(slope_u, slope_v))


def flakes(canvas: Canvas, params: MaterialParameters) -> Surface:
    """Glossy paint with metal flakes, each tilted its own way."""
    distance, chance, _ = canvas.cells(canvas.position, 1.0)
    which, _, _ = canvas.split(chance)
    share = params.number("share")
    flake = canvas.math("MULTIPLY", canvas.ramp(which, share, share - 0.02), canvas.ramp(distance, 0.5, 0.42))
    colour = canvas.blend(flake, params.colour("base"), params.colour("flake"))
    peel = canvas.noise(canvas.position, 0.12, detail=1.0)
    finish = canvas.math("MULTIPLY_ADD", peel, params.number("peel"), params.number("roughness"))
    roughness = canvas.mix(flake, finish, params.number("flake_roughness"))
    return Surface(colour, roughness, flake, canvas.vector("SCALE", canvas.centred(chance, 1.0), flake))


def hammered(canvas: Canvas, params: MaterialParameters) -> Surface:
    """Overlapping dents, with a patina (dielectric) that gathers on the ridges and in patches."""
    distance, _, point = canvas.cells(canvas.position, 1.0)
    dent = canvas.math("MULTIPLY", distance, distance)
    cloud = canvas.noise(canvas.position, 0.45, detail=2.0, roughness=0.6)
    amount = params.number("amount")
    limit = 0.72 - 0.35 * amount
    aged = canvas.ramp(canvas.math("MULTIPLY_ADD", dent, 0.22, cloud), limit, limit + 0.1) if amount > 0 else 0.0
    colour = canvas.blend(aged, params.colour("metal"), params.colour("patina"))
    finish = canvas.math(
        "MULTIPLY_ADD", canvas.ramp(cloud, 0.35, 0.65), params.number("smudge"), params.number("roughness")
    )
    roughness = canvas.mix(aged, finish, params.number("patina_roughness"))
    metallic = canvas.math("SUBTRACT", 1.0, aged) if amount > 0 else 1.0
    slope = canvas.vector("SCALE", canvas.vector("SUBTRACT", canvas.position, point), 2.0)
    return Surface(colour, roughness, metallic, slope)
