"""What the procedural families are painted with: pattern coordinates, noises and cells over `NodeBuilder`.

Coordinates are the object's own, multiplied by the object's scale in the world (parents included) and divided by the
material's size: a pattern has its right size on any mesh, needs no UVs and moves with the object. Solid patterns use
them in 3D. Patterns that are flat by nature use `planar`: two of the three, chosen by the side that the surface
faces (box projection).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from datagen.blender.node_math import NodeBuilder
from manifests.errors import SpecError
from scenes.spec import Value

Socket = Any  # bpy ships no types; always a bpy.types.NodeSocket
type Number = Socket | float
type Vector = Socket | tuple[float, ...]


@dataclass(frozen=True)
class Surface:
    """What a family paints: base colour, roughness, metalness and relief, which is one of two.

    `slope` is the gradient of the height along the object's axes, height and length in pattern units per `depth`:
    one vector at one point, hence cheap. `height` is for reliefs whose gradient is not known: Cycles evaluates all
    that feeds it three times more. `ior` is the index of refraction of a dielectric.
    """

    basecolor: Vector
    roughness: Number
    metallic: Number
    slope: Vector | None = None
    height: Number | None = None
    ior: float = 1.5


class Canvas(NodeBuilder):
    """Adds nodes to `tree`; `size` is the pattern unit in scene units, `offset` shifts the pattern (units)."""

    def __init__(self, tree: Any, size: float, offset: tuple[float, ...] = (0.0, 0.0, 0.0)) -> None:
        super().__init__(tree)
        self.size = size
        self.offset = offset
        self._own: Socket | None = None
        self._position: Socket | None = None
        self._planar: Socket | None = None
        self._sides: tuple[Socket, Socket] | None = None

    # --- arithmetic ----------------------------------------------------------------------------------------

    def vector(self, operation: str, *values: Vector | Number) -> Socket:
        """A Vector Math node; returns the scalar output for DOT_PRODUCT, LENGTH and DISTANCE."""
        node = self.node("ShaderNodeVectorMath", operation=operation)
        if operation == "SCALE":
            self.feed(node.inputs[0], values[0])
            self.feed(node.inputs["Scale"], values[1])
        else:
            for socket, value in zip(node.inputs, values, strict=False):
                self.feed(socket, value)
        return node.outputs["Value" if operation in {"DOT_PRODUCT", "LENGTH", "DISTANCE"} else "Vector"]

    def split(self, vector: Socket) -> tuple[Socket, Socket, Socket]:
        """The three components."""
        node = self.node("ShaderNodeSeparateXYZ")
        self.feed(node.inputs[0], vector)
        return node.outputs[0], node.outputs[1], node.outputs[2]

    def join(self, x: Number, y: Number, z: Number = 0.0) -> Socket:
        """A vector of three components."""
        node = self.node("ShaderNodeCombineXYZ")
        for socket, value in zip(node.inputs, (x, y, z), strict=True):
            self.feed(socket, value)
        return node.outputs[0]

    def ramp(self, value: Number, low: Number, high: Number) -> Socket:
        """Smooth step: 0 at `low` and below, 1 at `high` and above."""
        node = self.node("ShaderNodeMapRange", interpolation_type="SMOOTHSTEP")
        for name, number in (("Value", value), ("From Min", low), ("From Max", high)):
            self.feed(node.inputs[name], number)
        return node.outputs["Result"]

    def ramp_slope(self, value: Number, low: float, high: float) -> Socket:
        """Derivative of `ramp`."""
        node = self.node("ShaderNodeMapRange")
        for name, number in (("Value", value), ("From Min", low), ("From Max", high)):
            self.feed(node.inputs[name], number)
        part = node.outputs["Result"]
        return self.math("MULTIPLY", part, self.math("MULTIPLY_ADD", part, -6.0 / (high - low), 6.0 / (high - low)))

    def centred(self, noise: Vector, scale: float) -> Socket:
        """(noise - 0.5) * scale, component by component: a random slope from a random vector."""
        return self.vector("MULTIPLY_ADD", noise, (scale,) * 3, (-0.5 * scale,) * 3)

    # --- coordinates -------------------------------------------------------------------------------------------

    @property
    def own(self) -> Socket:
        """Object coordinates in pattern units, without the offset."""
        if self._own is None:
            unit = self.node(
                "ShaderNodeVectorTransform", vector_type="VECTOR", convert_from="OBJECT", convert_to="WORLD"
            )
            unit.inputs[0].default_value = (1.0 / self.size, 0.0, 0.0)
            self._own = self.vector(
                "SCALE", self.node("ShaderNodeTexCoord").outputs["Object"], self.vector("LENGTH", unit.outputs[0])
            )
        return self._own

    @property
    def position(self) -> Socket:
        """Solid coordinates in pattern units."""
        if self._position is None:
            self._position = self.vector("ADD", self.own, self.offset)
        return self._position

    @property
    def sides(self) -> tuple[Socket, Socket]:
        """Two flags, (faces up or down, faces along x), by the object-space normal; along y when both are 0."""
        if self._sides is None:
            normal = self.vector("ABSOLUTE", self.node("ShaderNodeTexCoord").outputs["Normal"])
            x, y, z = self.split(normal)
            upward = self.math("GREATER_THAN", self.math("MULTIPLY", z, 1.02), self.math("MAXIMUM", x, y))
            wider = self.math("GREATER_THAN", self.math("MULTIPLY", x, 1.01), y)
            self._sides = upward, self.math("SUBTRACT", wider, upward, clamp=True)
        return self._sides

    @property
    def planar(self) -> Socket:
        """Flat coordinates (u, v, 0) in pattern units: (x, y), (y, z) or (x, z) by the side that the surface faces."""
        if self._planar is None:
            x, y, z = self.split(self.position)
            upward, along_x = self.sides
            self._planar = self.join(self.mix(along_x, x, y), self.mix(upward, z, y))
        return self._planar

    def unfold(self, u: Number, v: Number) -> Socket:
        """A vector of the `planar` plane, (u, v), along the object's axes."""
        upward, along_x = self.sides
        y = self.math("MULTIPLY_ADD", u, along_x, self.math("MULTIPLY", v, upward))
        away_x = self.math("SUBTRACT", 1.0, along_x)
        return self.join(
            self.math("MULTIPLY", u, away_x), y, self.math("MULTIPLY", v, self.math("SUBTRACT", 1.0, upward))
        )

    def leaning(self, lean: Vector, rest: Number = 1.0) -> Socket:
        """World-space normal: `rest` times the object's own plus `lean` (object axes)."""
        normal = self.node("ShaderNodeTexCoord").outputs["Normal"]
        if rest != 1.0:
            normal = self.vector("SCALE", normal, rest)
        turn = self.node("ShaderNodeVectorTransform", vector_type="NORMAL", convert_from="OBJECT", convert_to="WORLD")
        self.feed(turn.inputs[0], self.vector("ADD", normal, lean))
        return turn.outputs[0]

    def stretch(self, vector: Socket, *scale: float) -> Socket:
        """Component-wise product with (x, y, z)."""
        return self.vector("MULTIPLY", vector, scale)

    # --- textures ----------------------------------------------------------------------------------------------

    def noise(
        self,
        vector: Socket,
        scale: float,
        detail: float = 1.0,
        roughness: float = 0.5,
        dimensions: Literal["2D", "3D"] = "3D",
    ) -> Socket:
        """Fractal noise around 0.5 (standard deviation about 0.12), `detail` octaves beyond the first."""
        return self._noise(vector, scale, detail, roughness, dimensions).outputs["Factor"]

    def noise_vector(self, vector: Socket, scale: float, detail: float = 1.0) -> Socket:
        """Three independent noises around 0.5."""
        return self._noise(vector, scale, detail, 0.5, "3D").outputs["Color"]

    def _noise(self, vector: Socket, scale: float, detail: float, roughness: float, dimensions: str) -> Any:
        node = self.node("ShaderNodeTexNoise", noise_dimensions=dimensions)
        self.feed(node.inputs["Vector"], vector)
        node.inputs["Scale"].default_value = scale
        node.inputs["Detail"].default_value = detail
        node.inputs["Roughness"].default_value = roughness
        return node

    def cells(self, vector: Socket, scale: float, metric: str = "EUCLIDEAN") -> tuple[Socket, Socket, Socket]:
        """Voronoi cells: (distance to the nearest point, the cell's random colour, the point's position)."""
        node = self.node("ShaderNodeTexVoronoi", feature="F1", distance=metric)
        self.feed(node.inputs["Vector"], vector)
        node.inputs["Scale"].default_value = scale
        return node.outputs["Distance"], node.outputs["Color"], node.outputs["Position"]

    def borders(self, vector: Socket, scale: float) -> Socket:
        """Distance to the nearest border between Voronoi cells."""
        node = self.node("ShaderNodeTexVoronoi", feature="DISTANCE_TO_EDGE")
        self.feed(node.inputs["Vector"], vector)
        node.inputs["Scale"].default_value = scale
        return node.outputs["Distance"]

    def random(self, vector: Socket) -> Socket:
        """Three random numbers in [0, 1] that depend on `vector` alone, as a colour."""
        node = self.node("ShaderNodeTexWhiteNoise", noise_dimensions="3D")
        self.feed(node.inputs["Vector"], vector)
        return node.outputs["Color"]


class MaterialParameters:
    """The `params` of one material."""

    def __init__(self, family: str, params: Mapping[str, Value]) -> None:
        self._family = family
        self._params = params

    def _get(self, name: str) -> Value:
        try:
            return self._params[name]
        except KeyError:
            raise SpecError(
                f"material family {self._family!r} needs the parameter {name!r}", "add it to params"
            ) from None

    def number(self, name: str) -> float:
        """A scalar."""
        value = self._get(name)
        if isinstance(value, str | tuple):
            raise SpecError(f"parameter {name!r} of material family {self._family!r} must be a number, got {value!r}")
        return float(value)

    def colour(self, name: str) -> tuple[float, float, float]:
        """A linear Rec.709 colour."""
        value = self._get(name)
        if not isinstance(value, tuple) or len(value) != 3:
            raise SpecError(
                f"parameter {name!r} of material family {self._family!r} must be three numbers, got {value!r}"
            )
        return float(value[0]), float(value[1]), float(value[2])

    def choice(self, name: str, *known: str) -> str:
        """One of the `known` words."""
        value = self._get(name)
        if value not in known:
            raise SpecError(
                f"parameter {name!r} of material family {self._family!r} is {value!r}", f"known: {', '.join(known)}"
            )
        return str(value)
