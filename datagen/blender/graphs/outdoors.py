"""What open land is painted with: the ground of a landscape, water, and the mottled skins of stones and plants."""

from __future__ import annotations

from datagen.blender.graphs.node_canvas import Canvas, MaterialParameters, Surface

_NO_SNOW = 5000.0
_BRIGHTEST = (0.9, 0.9, 0.9)


def land(canvas: Canvas, params: MaterialParameters) -> Surface:
    """Two covers in patches over soil; rock where it is steep, a shore near the water, snow above a line.

    For meshes in place, in metres: position and normal are the world's. All borders wander with noise.
    """
    place = canvas.position
    _, _, height = canvas.split(canvas.own)
    _, _, upward = canvas.split(canvas.node("ShaderNodeTexCoord").outputs["Normal"])
    steep = canvas.math("SUBTRACT", 1.0, upward)
    fine = canvas.noise_vector(place, 10.0, detail=2.0)
    grain, speck, _ = canvas.split(fine)
    medium = canvas.noise_vector(place, 0.8, detail=1.0)
    blotch, clump, _ = canvas.split(medium)
    broad = canvas.noise(place, 0.03, detail=3.0, roughness=0.6)
    wander = canvas.math("ADD", broad, canvas.math("MULTIPLY_ADD", grain, 0.35, canvas.math("MULTIPLY", blotch, 0.3)))
    patch = params.number("patch")
    colour = canvas.blend(
        canvas.ramp(wander, patch - 0.1, patch + 0.1), params.colour("first"), params.colour("second")
    )
    bare = canvas.math("MULTIPLY_ADD", speck, 0.6, clump)
    bald = canvas.ramp(bare, 1.1 - params.number("bald"), 0.86 - params.number("bald"))
    colour = canvas.blend(bald, params.colour("soil"), colour)
    colour = canvas.vector("SCALE", colour, canvas.math("MULTIPLY_ADD", grain, 0.9, 0.55))
    roughness = canvas.math("MULTIPLY_ADD", speck, 0.2, 0.78, clamp=True)
    rocky = canvas.math("MULTIPLY_ADD", wander, 0.3, canvas.math("SUBTRACT", steep, 0.25))
    rocky = canvas.ramp(rocky, params.number("rocky"), params.number("rocky") + 0.05)
    stone = canvas.vector("SCALE", params.colour("rock"), canvas.math("MULTIPLY_ADD", clump, 1.1, 0.45))
    colour = canvas.blend(rocky, colour, stone)
    roughness = canvas.mix(rocky, roughness, canvas.math("MULTIPLY_ADD", speck, 0.3, 0.5))
    relief = canvas.math("MULTIPLY_ADD", rocky, 2.0, params.number("relief"))
    slope = canvas.vector("ADD", canvas.centred(medium, 0.5), canvas.vector("SCALE", canvas.centred(fine, 1.0), relief))
    if params.number("ripple") > 0:
        x, _, _ = canvas.split(canvas.own)
        phase = canvas.math("MULTIPLY_ADD", blotch, 1.5, canvas.math("MULTIPLY_ADD", broad, 12.0, x))
        wave = canvas.math("COSINE", canvas.math("MULTIPLY", phase, 16.0))
        wave = canvas.math("MULTIPLY", wave, canvas.ramp(canvas.noise(place, 0.15), 0.35, 0.6))
        slope = canvas.vector("ADD", slope, canvas.join(canvas.math("MULTIPLY", wave, params.number("ripple")), 0.0))
    if params.number("beach") > 0:
        above = canvas.math("SUBTRACT", height, params.number("water"))
        ragged = canvas.math("MULTIPLY_ADD", wander, 1.2 * params.number("beach"), above)
        beach = canvas.ramp(ragged, 2.2 * params.number("beach"), 1.5 * params.number("beach"))
        colour = canvas.blend(
            beach, colour, canvas.vector("SCALE", params.colour("shore"), canvas.mix(grain, 0.7, 1.3))
        )
        slope = canvas.vector("SCALE", slope, canvas.mix(beach, 1.0, 0.5))
        wet = canvas.ramp(canvas.math("MULTIPLY_ADD", blotch, 0.3, above), 0.4, 0.18)
        colour = canvas.vector("SCALE", colour, canvas.mix(wet, 1.0, 0.5))
        roughness = canvas.mix(wet, roughness, 0.22)
        slope = canvas.vector("SCALE", slope, canvas.mix(wet, 1.0, 0.4))
    if params.number("snow") < _NO_SNOW:
        cold = canvas.math("MULTIPLY_ADD", broad, 260.0, canvas.math("MULTIPLY_ADD", blotch, 12.0, height))
        cold = canvas.math("MULTIPLY_ADD", steep, -1600.0, cold)
        snow = canvas.ramp(cold, params.number("snow") + 130.0, params.number("snow") + 150.0)
        colour = canvas.blend(snow, colour, (0.82, 0.85, 0.89))
        roughness = canvas.mix(snow, roughness, 0.55)
        slope = canvas.vector("SCALE", slope, canvas.mix(snow, 1.0, 0.25))
    return Surface(canvas.vector("MINIMUM", colour, _BRIGHTEST), roughness, 0.0, slope)


def mottled(canvas: Canvas, params: MaterialParameters) -> Surface:
    """Two colours mixed by noise, a third on some copies more than on others: bark, leaves, petals, stones.

    `streak` stretches the pattern upward. Copies of one mesh differ in tone by where they stand.
    """
    chance, other, _ = canvas.split(canvas.random(canvas.node("ShaderNodeObjectInfo").outputs["Location"]))
    grain = canvas.noise_vector(
        canvas.stretch(canvas.position, 1.0, 1.0, 1.0 / params.number("streak")), 1.0, detail=1.0
    )
    first, second, third = canvas.split(grain)
    colour = canvas.blend(canvas.ramp(first, 0.35, 0.65), params.colour("first"), params.colour("second"))
    share = canvas.math("MULTIPLY_ADD", other, params.number("share"), canvas.math("MULTIPLY_ADD", third, 1.6, -0.8))
    colour = canvas.blend(
        canvas.math("MAXIMUM", canvas.math("MINIMUM", share, 1.0), 0.0), colour, params.colour("third")
    )
    tone = params.number("tone")
    colour = canvas.vector("SCALE", colour, canvas.math("MULTIPLY_ADD", chance, 2 * tone, 1 - tone))
    roughness = canvas.math("MULTIPLY_ADD", second, 0.4, params.number("roughness") - 0.2, clamp=True)
    return Surface(canvas.vector("MINIMUM", colour, _BRIGHTEST), roughness, 0.0, canvas.centred(grain, 4.0))


def water(canvas: Canvas, params: MaterialParameters) -> Surface:
    """An opaque dielectric of water's index: the sky in ripples, over the little light that deep water gives back."""
    gust = canvas.ramp(canvas.noise(canvas.position, 0.04, detail=2.0), 0.35, 0.65)
    ripple = canvas.centred(canvas.noise_vector(canvas.stretch(canvas.position, 1.0, 1.0, 0.0), 2.2, detail=2.0), 1.0)
    ripple = canvas.vector("SCALE", ripple, canvas.math("MULTIPLY_ADD", gust, 0.8, 0.2))
    return Surface(params.colour("colour"), params.number("roughness"), 0.0, ripple, ior=1.333)
