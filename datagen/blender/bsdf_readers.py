"""What each BSDF node says in metallic-roughness terms, and how two such surfaces mix.

A `Lobe` describes a shader at a point. `alpha` is its opacity and `reflecting` how much of it reflects light: all
of the opacity for a BSDF, 0 for emission and transparency. The parameters of a mix are averages weighted by what
reflects, so a transparent or emitting part changes the opacity or the status but never the colour of the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from datagen.blender.node_math import Colour, NodeMath, Term, as_colour, as_number, clamped, is_socket, value_of

Rank = Literal["note", "approximated", "constant-fallback", "emission"]
Finding = tuple[Rank, str]

FALLBACK_COLOUR: Colour = (0.5, 0.5, 0.5)
FALLBACK_ROUGHNESS = 0.5
_SPEC_GLOSS_IOR = 10.0  # the glTF importer writes 1000; no real dielectric comes near


@dataclass(frozen=True)
class Lobe:
    """Effective parameters of a shader; `findings` says what was lost on the way."""

    basecolor: Term = (0.0, 0.0, 0.0)
    roughness: Term = FALLBACK_ROUGHNESS
    metallic: Term = 0.0
    alpha: Term = 1.0
    reflecting: Term = 1.0
    findings: frozenset[Finding] = field(default_factory=frozenset)

    def noting(self, rank: Rank, detail: str) -> Lobe:
        """The same with one more finding."""
        return replace(self, findings=self.findings | {(rank, detail)})


NOTHING = Lobe(reflecting=0.0)
"""An unconnected shader socket: black and opaque."""


def _is_on(socket: Any) -> bool:
    value = value_of(socket)
    return is_socket(value) or any(part > 0 for part in (value if isinstance(value, tuple) else (value,)))


def principled(node: Any) -> Lobe:
    """Principled BSDF: base colour, roughness, metallic and alpha as they are; layers on top are noted."""
    inputs = node.inputs
    alpha = clamped(as_number(value_of(inputs["Alpha"])))
    lobe = Lobe(
        as_colour(value_of(inputs["Base Color"])),
        as_number(value_of(inputs["Roughness"])),
        as_number(value_of(inputs["Metallic"])),
        alpha,
        alpha,
    )
    for name in ("Coat", "Sheen", "Subsurface"):
        if _is_on(inputs[f"{name} Weight"]):
            lobe = lobe.noting("note", name.lower())
    if _is_on(inputs["Emission Strength"]) and _is_on(inputs["Emission Color"]):
        lobe = lobe.noting("note", "emits")
    if _is_on(inputs["Transmission Weight"]):
        lobe = lobe.noting("approximated", "transmission taken as base colour")
    ior = value_of(inputs["IOR"])
    if not is_socket(ior) and ior > _SPEC_GLOSS_IOR:
        lobe = lobe.noting("approximated", f"IOR {ior:g}: specular-glossiness imported as metallic-roughness")
    return lobe


def _diffuse(node: Any) -> Lobe:
    return Lobe(as_colour(value_of(node.inputs["Color"])), 1.0)


def _glossy(node: Any) -> Lobe:
    return Lobe(as_colour(value_of(node.inputs["Color"])), as_number(value_of(node.inputs["Roughness"])), 1.0)


def _metallic(node: Any) -> Lobe:
    roughness = as_number(value_of(node.inputs["Roughness"]))
    if node.fresnel_type == "F82":
        return Lobe(as_colour(value_of(node.inputs["Base Color"])), roughness, 1.0)
    n, k = value_of(node.inputs["IOR"]), value_of(node.inputs["Extinction"])
    if is_socket(n) or is_socket(k):
        return Lobe(FALLBACK_COLOUR, roughness, 1.0).noting("constant-fallback", "conductor with textured IOR")
    red, green, blue = (((a - 1) ** 2 + b**2) / ((a + 1) ** 2 + b**2) for a, b in zip(n, k, strict=True))
    return Lobe((red, green, blue), roughness, 1.0)  # reflectance of a conductor at normal incidence


def _transparent(node: Any) -> Lobe:
    colour = value_of(node.inputs["Color"])
    if is_socket(colour):
        return Lobe(alpha=0.0, reflecting=0.0).noting("approximated", "textured transparency taken as clear")
    clear = sum(colour) / 3 if isinstance(colour, tuple) else float(colour)
    return Lobe(alpha=min(max(1.0 - clear, 0.0), 1.0), reflecting=0.0)


def _emission(node: Any) -> Lobe:
    if not _is_on(node.inputs["Strength"]):
        return NOTHING.noting("note", "emission of strength 0")
    return NOTHING.noting("emission", "emission")


def _coloured(kind: str, roughness: float | None = None) -> Callable[[Any], Lobe]:
    def read(node: Any) -> Lobe:
        rough = as_number(value_of(node.inputs["Roughness"])) if roughness is None else roughness
        return Lobe(as_colour(value_of(node.inputs["Color"])), rough).noting(
            "approximated", f"{kind} taken as base colour"
        )

    return read


def unknown(node: Any) -> Lobe:
    """A shader that has no metallic-roughness reading: constants, and counted."""
    return Lobe(FALLBACK_COLOUR, FALLBACK_ROUGHNESS).noting("constant-fallback", f"{node.bl_label} has no reading")


READERS: dict[str, Callable[[Any], Lobe]] = {
    "ShaderNodeBsdfPrincipled": principled,
    "ShaderNodeBsdfDiffuse": _diffuse,
    "ShaderNodeBsdfGlossy": _glossy,
    "ShaderNodeBsdfAnisotropic": _glossy,
    "ShaderNodeBsdfMetallic": _metallic,
    "ShaderNodeBsdfTransparent": _transparent,
    "ShaderNodeEmission": _emission,
    "ShaderNodeBsdfGlass": _coloured("glass"),
    "ShaderNodeBsdfRefraction": _coloured("refraction"),
    "ShaderNodeBsdfSheen": _coloured("sheen"),
    "ShaderNodeBsdfTranslucent": _coloured("translucency", 1.0),
    "ShaderNodeSubsurfaceScattering": _coloured("subsurface scattering", 1.0),
    "ShaderNodeBsdfToon": _coloured("toon", 1.0),
}
"""How to read a node by its type; mixes, groups and routing belong to `material_aovs`."""


def mixed(nodes: NodeMath, factor: Term, first: Lobe, second: Lobe) -> Lobe:
    """Mix Shader: every parameter blends by the same factor among the parts that reflect."""
    factor = clamped(as_number(factor))
    if factor in (0.0, 1.0):
        return second if factor else first
    if first.reflecting == second.reflecting:
        share = factor
    else:
        other = nodes.times(nodes.rest(factor), first.reflecting)
        share = nodes.share(nodes.times(factor, second.reflecting), other)
    lobe = Lobe(
        nodes.colour(share, first.basecolor, second.basecolor),
        nodes.number(share, first.roughness, second.roughness),
        nodes.number(share, first.metallic, second.metallic),
        nodes.number(factor, first.alpha, second.alpha),
        nodes.number(factor, first.reflecting, second.reflecting),
        first.findings | second.findings,
    )
    return _beside_emission(lobe)


def added(nodes: NodeMath, first: Lobe, second: Lobe) -> Lobe:
    """Add Shader: transparencies add up; a diffuse plus a glossy lobe is a dielectric, others are averaged."""
    alpha = nodes.rest(nodes.plus(nodes.rest(first.alpha), nodes.rest(second.alpha)))
    findings = first.findings | second.findings
    if first.reflecting == 0.0 or second.reflecting == 0.0:
        main = second if first.reflecting == 0.0 else first
        return _beside_emission(replace(main, alpha=alpha, findings=findings))
    if (first.metallic, second.metallic) in ((0.0, 1.0), (1.0, 0.0)):
        body, gloss = (first, second) if first.metallic == 0.0 else (second, first)
        return replace(coated(body, gloss), alpha=alpha)
    lobe = Lobe(
        nodes.colour(0.5, first.basecolor, second.basecolor),
        nodes.number(0.5, first.roughness, second.roughness),
        nodes.number(0.5, first.metallic, second.metallic),
        alpha,
        alpha,
        findings,
    )
    return lobe.noting("approximated", "added shaders averaged")


def coated(body: Lobe, gloss: Lobe) -> Lobe:
    """A glossy lobe over a body, by Fresnel or added: a dielectric with the body's colour, the gloss's roughness."""
    lobe = replace(body, roughness=gloss.roughness, findings=body.findings | gloss.findings)
    return lobe.noting("approximated", "glossy lobe over a body taken as a dielectric")


def _beside_emission(lobe: Lobe) -> Lobe:
    """Emission next to a BSDF is not `unlit`, but there is more to see than the parameters tell."""
    kept = frozenset(finding for finding in lobe.findings if finding[0] != "emission")
    if lobe.reflecting == 0.0 or kept == lobe.findings:
        return lobe
    return replace(lobe, findings=kept).noting("approximated", "emission beside a BSDF")
