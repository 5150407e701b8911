"""Finds the metallic-roughness parameters of ANY material and writes them out as AOVs.

The walk starts at the output node that Cycles uses and follows links, never names: through mixes, additions, node
groups, reroutes and muted nodes down to the BSDFs (`bsdf_readers`). What feeds a parameter is linked to an AOV node,
so textures, factors and vertex colours come along as they are. A group's inner values leave it through extra
group outputs, added to a copy of the group that only this material uses.

AOVs add up over all surfaces on a camera ray until one is opaque enough, so every AOV here is multiplied by
(alpha >= threshold): each pixel sample counts exactly one surface.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from datagen.blender.bsdf_readers import NOTHING, READERS, Lobe, added, coated, mixed, unknown
from datagen.blender.node_math import MARK, NodeMath, Term, is_socket, live_link, value_of
from manifests.contract.row import MaterialUse

Status = Literal["resolved", "approximated", "unlit", "constant-fallback", "missing-texture", "empty"]

COLOUR_AOVS = ("basecolor", "geometric_normal")
VALUE_AOVS = ("roughness", "metallic", "mask")
ALPHA_THRESHOLD = 0.5
_TOLERANCE = 1e-5  # Cycles arrives at the same alpha by another sum
_FRESNEL = {"ShaderNodeFresnel", "ShaderNodeLayerWeight"}
_MAX_DEPTH = 200


def instrument(material: Any, threshold: float = ALPHA_THRESHOLD, want_geometric_normal: bool = False) -> MaterialUse:
    """Add the AOV outputs `basecolor`, `roughness`, `metallic`, `mask` (and `geometric_normal`) to a material.

    `threshold` must be the view layer's `pass_alpha_threshold`. AOV outputs of these names that the material
    already has are removed first. Statuses, worst last:

    - `resolved`: the parameters are exactly those of the material (`detail` may name layers on top: coat, sheen);
    - `approximated`: a reading was found for something that the model cannot express; `detail` says what;
    - `unlit`: emission only; base colour 0, roughness 0.5, metallic 0;
    - `constant-fallback`: a shader without a reading got constants;
    - `missing-texture`: an image is missing or cannot be read; `detail` names it;
    - `empty`: there is no surface shader; constants as for `unlit`.
    """
    tree = material.node_tree
    for node in [node for node in tree.nodes if _is_own_output(node)]:
        tree.nodes.remove(node)
    output = tree.get_output_node("CYCLES")
    level = _Level(tree)
    lobe = NOTHING if output is None else _Walk().shader(output.inputs["Surface"], level)
    _write(level.nodes, lobe, threshold, want_geometric_normal)
    status, detail = _status(lobe)
    if status in ("resolved", "approximated") and (veil := _veil(lobe.alpha, threshold)):
        detail = f"{detail}; {veil}" if detail else veil
    missing = sorted(set(_missing_images(tree, {output} if output is not None else set())))
    if missing:
        status, detail = "missing-texture", ", ".join(missing)
    return MaterialUse(name=material.name, status=status, detail=detail)


def _is_own_output(node: Any) -> bool:
    return node.bl_idname == "ShaderNodeOutputAOV" and node.aov_name in COLOUR_AOVS + VALUE_AOVS


def _status(lobe: Lobe) -> tuple[Status, str]:
    ranks = {rank for rank, _ in lobe.findings}
    everything = "; ".join(sorted(detail for _, detail in lobe.findings))
    if lobe == NOTHING:
        return "empty", "no surface shader"
    if "constant-fallback" in ranks:
        return "constant-fallback", everything
    if lobe.reflecting == 0.0 and "emission" in ranks:
        return "unlit", everything
    if lobe.reflecting == 0.0:
        return "resolved", "fully transparent" if lobe.alpha == 0.0 else "reflects nothing"
    return ("approximated" if "approximated" in ranks else "resolved"), everything


def _veil(alpha: Term, threshold: float) -> str:
    """What becomes of a surface that is not wholly opaque."""
    if is_socket(alpha):
        return f"alpha is cut at {threshold:g}"
    if not isinstance(alpha, float) or not 0.0 < alpha < 1.0 - _TOLERANCE:
        return ""
    return f"alpha {alpha:.3g} is taken as {'clear' if alpha < threshold - _TOLERANCE else 'opaque'}"


# --- the walk --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Level:
    """One node tree on the way down: the material's own, or a group's copy, its instance node and the level above."""

    tree: Any
    instance: Any = None
    above: _Level | None = None

    @property
    def nodes(self) -> NodeMath:
        return NodeMath(self.tree)


class _Walk:
    """Resolves shader sockets to lobes; what was resolved once is not built again."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, str, str], Lobe] = {}
        self._depth = 0

    def shader(self, socket: Any, level: _Level) -> Lobe:
        """What arrives at the shader input `socket`."""
        link = live_link(socket)
        return NOTHING if link is None else self._output(link.from_node, link.from_socket, level)

    def _output(self, node: Any, socket: Any, level: _Level) -> Lobe:
        key = (level.tree.session_uid, node.name, socket.identifier)
        if key not in self._known:
            self._depth += 1
            too_deep = self._depth > _MAX_DEPTH
            found = unknown(node) if too_deep else self._resolve(node, socket, level)
            self._depth -= 1
            self._known[key] = found
        return self._known[key]

    def _resolve(self, node: Any, socket: Any, level: _Level) -> Lobe:  # noqa: PLR0911 - one line per node type
        if node.mute:
            passed = next((link.from_socket for link in node.internal_links if link.to_socket == socket), None)
            return NOTHING if passed is None else self.shader(passed, level)
        match node.bl_idname:
            case "NodeReroute":
                return self.shader(node.inputs[0], level)
            case "ShaderNodeMixShader":
                return self._mix(node, level)
            case "ShaderNodeAddShader":
                return added(level.nodes, self.shader(node.inputs[0], level), self.shader(node.inputs[1], level))
            case "ShaderNodeGroup":
                return self._group(node, socket, level)
            case "NodeGroupInput":
                return self._group_input(node, socket, level)
            case kind:
                return READERS.get(kind, unknown)(node)

    def _mix(self, node: Any, level: _Level) -> Lobe:
        factor = value_of(node.inputs[0])
        first, second = self.shader(node.inputs[1], level), self.shader(node.inputs[2], level)
        by_angle = is_socket(factor) and factor.node.bl_idname in _FRESNEL
        if by_angle and (first.metallic, second.metallic) == (0.0, 1.0):
            return coated(first, second)
        return mixed(level.nodes, factor, first, second)

    def _group(self, node: Any, socket: Any, level: _Level) -> Lobe:
        """A group's shader output: resolved inside, its values led out through new group outputs."""
        if node.node_tree is None:
            return unknown(node)
        if node.label != MARK:
            node.node_tree, node.label = node.node_tree.copy(), MARK
        inner = _Level(node.node_tree, node, level)
        ends = [end for end in inner.tree.nodes if end.bl_idname == "NodeGroupOutput"]
        end = next((end for end in ends if end.is_active_output), None)
        if end is None:
            return NOTHING
        lobe = self.shader(_by_identifier(end.inputs, socket.identifier), inner)

        def lead_out(term: Term) -> Term:
            if not is_socket(term):
                return term
            item = inner.tree.interface.new_socket(MARK, in_out="OUTPUT", socket_type=_socket_type(term))
            inner.tree.links.new(term, _by_identifier(end.inputs, item.identifier))
            return _by_identifier(node.outputs, item.identifier)

        return _each(lobe, lead_out)

    def _group_input(self, node: Any, socket: Any, level: _Level) -> Lobe:
        """A shader handed into a group: resolved outside, its values led in through new group inputs."""
        above = level.above
        if above is None:
            return NOTHING
        lobe = self.shader(_by_identifier(level.instance.inputs, socket.identifier), above)

        def lead_in(term: Term) -> Term:
            if not is_socket(term):
                return term
            item = level.tree.interface.new_socket(MARK, in_out="INPUT", socket_type=_socket_type(term))
            above.tree.links.new(term, _by_identifier(level.instance.inputs, item.identifier))
            return _by_identifier(node.outputs, item.identifier)

        return _each(lobe, lead_in)


def _each(lobe: Lobe, change: Callable[[Term], Term]) -> Lobe:
    """Apply `change` to every parameter once, keeping equal terms equal."""
    done: list[tuple[Term, Term]] = []

    def once(term: Term) -> Term:
        known = next((new for old, new in done if old == term), None)
        if known is None:
            known = change(term)
            done.append((term, known))
        return known

    return Lobe(
        once(lobe.basecolor),
        once(lobe.roughness),
        once(lobe.metallic),
        once(lobe.alpha),
        once(lobe.reflecting),
        lobe.findings,
    )


def _by_identifier(sockets: Any, identifier: str) -> Any:
    return next(socket for socket in sockets if socket.identifier == identifier)


def _socket_type(term: Any) -> str:
    return {"RGBA": "NodeSocketColor", "VECTOR": "NodeSocketVector"}.get(term.type, "NodeSocketFloat")


# --- the outputs -----------------------------------------------------------------------------------------------


def _write(nodes: NodeMath, lobe: Lobe, threshold: float, want_geometric_normal: bool) -> None:
    """Add the AOV nodes; clamping to [0, 1] and the alpha gate share one node each."""
    if is_socket(lobe.alpha):
        gate = nodes.math("GREATER_THAN", lobe.alpha, threshold - _TOLERANCE)
    else:
        gate = 1.0 if lobe.alpha >= threshold - _TOLERANCE else 0.0

    def output(name: str, kind: str, term: Term) -> None:
        node = nodes.node("ShaderNodeOutputAOV")
        node.aov_name = name
        nodes.feed(node.inputs[kind], term)

    output("basecolor", "Color", nodes.gated_colour(gate, lobe.basecolor))
    for name in ("roughness", "metallic"):
        output(name, "Value", nodes.gated(gate, getattr(lobe, name)))
    output("mask", "Value", gate)
    if want_geometric_normal:
        scale = nodes.node("ShaderNodeVectorMath")
        scale.operation = "SCALE"
        nodes.feed(scale.inputs[0], nodes.node("ShaderNodeNewGeometry").outputs["True Normal"])
        nodes.feed(scale.inputs["Scale"], gate)
        output("geometric_normal", "Color", scale.outputs[0])


# --- images ----------------------------------------------------------------------------------------------------


def _missing_images(tree: Any, ends: set[Any]) -> Iterator[str]:
    """Names of unreadable images among the nodes that feed `ends`, groups included."""
    for node in _upstream(ends):
        if node.bl_idname in {"ShaderNodeTexImage", "ShaderNodeTexEnvironment"} and not node.mute:
            if node.image is None:
                yield f"{node.name} has no image"
            elif 0 in node.image.size:
                yield node.image.name
        elif node.bl_idname == "ShaderNodeGroup" and node.node_tree is not None:
            inner = {end for end in node.node_tree.nodes if end.bl_idname == "NodeGroupOutput"}
            yield from _missing_images(node.node_tree, inner)


def _upstream(ends: set[Any]) -> Iterator[Any]:
    todo, seen = list(ends), set(ends)
    while todo:
        node = todo.pop()
        yield node
        for socket in node.inputs:
            link = live_link(socket)
            if link is not None and link.from_node not in seen:
                seen.add(link.from_node)
                todo.append(link.from_node)
