"""The sections of a recipe, as plain data; docs/recipes.md explains every field and its limits."""

from __future__ import annotations

from typing import Annotated

from msgspec import UNSET, Meta, UnsetType

from scenes.distributions import DrawLimits, LogUniform, NearEnds, Spread, SquaredUniform
from scenes.spec import SpecData, Unit


class SettingWeights(SpecData, frozen=True, kw_only=True):
    """Relative weights of the settings: things on a ground, rooms, open land, streets."""

    table: Annotated[float, Meta(ge=0.0)] = 0.0
    room: Annotated[float, Meta(ge=0.0)] = 0.0
    terrain: Annotated[float, Meta(ge=0.0)] = 0.0
    street: Annotated[float, Meta(ge=0.0)] = 0.0


Count = tuple[Annotated[int, Meta(ge=0, le=64)], Annotated[int, Meta(ge=0, le=64)]]
"""[fewest, most]."""


class ArrangementRules(SpecData, frozen=True, kw_only=True):
    """Relative weights of how the things of a table-top lie: standing apart, in a heap, spilt, stacked, fallen over.

    `count` things of `scale` make a heap or a spill, `stack_count` a stack; fallen ones are those of `objects` and
    `primitives`.
    """

    standing: Annotated[float, Meta(ge=0.0)] = 0.0
    heap: Annotated[float, Meta(ge=0.0)] = 0.0
    spill: Annotated[float, Meta(ge=0.0)] = 0.0
    stack: Annotated[float, Meta(ge=0.0)] = 0.0
    fallen: Annotated[float, Meta(ge=0.0)] = 0.0
    count: Count = (5, 9)
    stack_count: Count = (2, 5)
    scale: Annotated[Spread, DrawLimits(0.01, 100)] = (0.35, 0.8)


class ObjectRules(SpecData, frozen=True, kw_only=True):
    """The main meshes. `count` is [fewest, most]; positions lie within +-`area`; `scale` is the longest side."""

    count: Count = (1, 3)
    scale: Annotated[Spread, DrawLimits(0.01, 100)] = (1.0, 1.5)
    area: Annotated[float, Meta(gt=0.0, le=1000.0)] = 1.0
    min_score: Unit = 0.0


class PrimitiveRules(SpecData, frozen=True, kw_only=True):
    """Cubes, spheres, cylinders and the like beside the objects; the fields mean the same."""

    count: Count = (0, 4)
    scale: Annotated[Spread, DrawLimits(0.01, 100)] = (0.3, 0.8)
    area: Annotated[float, Meta(gt=0.0, le=1000.0)] = 1.5


class MaterialRules(SpecData, frozen=True, kw_only=True):
    """`native`: share of imported meshes that keep their own. Of the rest, `constant` have drawn constants, the others
    a material of the catalogue whose natural size is multiplied by `texture_scale`."""

    native: Unit = 0.8
    constant: Unit = 0.3
    roughness: Annotated[Spread, DrawLimits(0, 1)] = SquaredUniform(low=0.0, high=0.8)
    metallic: Annotated[Spread, DrawLimits(0, 1)] = NearEnds(deviation=0.25)
    texture_scale: Annotated[Spread, DrawLimits(0.01, 100)] = LogUniform(low=0.5, high=2.0)


class GroundRules(SpecData, frozen=True, kw_only=True):
    """`probability` of a ground plane, and its side length in scene units."""

    probability: Unit = 0.95
    size: Annotated[Spread, DrawLimits(1, 100_000)] = (30.0, 50.0)


class LightKindWeights(SpecData, frozen=True, kw_only=True):
    """Relative weights of captured environment maps, physical skies and procedural studios."""

    hdri: Annotated[float, Meta(ge=0.0)] = 0.4
    sky: Annotated[float, Meta(ge=0.0)] = 0.2
    studio: Annotated[float, Meta(ge=0.0)] = 0.4


class LightRules(SpecData, frozen=True, kw_only=True):
    """`per_scene` environments light each scene, one clip under each; `mirror` is a probability."""

    per_scene: Annotated[int, Meta(ge=1, le=64)] = 1
    kinds: LightKindWeights = LightKindWeights()
    yaw: Annotated[Spread, DrawLimits(-360, 360)] = (0.0, 360.0)
    mirror: Unit = 0.5
    strength: Annotated[Spread, DrawLimits(0.001, 1000)] = LogUniform(low=0.5, high=2.0)


class CameraRules(SpecData, frozen=True, kw_only=True):
    """The camera in the first frame. It looks at the subject with probability `look_at_subject`, else at the middle."""

    distance: Annotated[Spread, DrawLimits(0.1, 1000)] = (2.0, 4.0)
    azimuth: Annotated[Spread, DrawLimits(-360, 360)] = (0.0, 360.0)
    elevation: Annotated[Spread, DrawLimits(0, 88)] = (5.0, 85.0)
    fov: Annotated[Spread, DrawLimits(1, 150)] = 45.0
    look_at_subject: Unit = 0.6


class OrbitRules(SpecData, frozen=True, kw_only=True):
    """Degrees of azimuth over the clip, either way round."""

    probability: Unit = 0.35
    degrees: Annotated[Spread, DrawLimits(0, 1440)] = LogUniform(low=30.0, high=360.0)


class OscillationRules(SpecData, frozen=True, kw_only=True):
    """Amplitudes in degrees and periods over the clip."""

    probability: Unit = 0.25
    azimuth: Annotated[Spread, DrawLimits(0, 180)] = (5.0, 30.0)
    elevation: Annotated[Spread, DrawLimits(0, 80)] = (2.0, 12.0)
    cycles: Annotated[Spread, DrawLimits(0.1, 5)] = (0.5, 1.5)


class DollyRules(SpecData, frozen=True, kw_only=True):
    """Distance in the last frame relative to the first."""

    probability: Unit = 0.15
    factor: Annotated[Spread, DrawLimits(0.05, 20)] = LogUniform(low=0.65, high=1.5)


class WalkRules(SpecData, frozen=True, kw_only=True):
    """The camera is carried on foot: `speed` and `steps` a second, `turn` over the clip either way round, `heading`
    relative to where it looks. The defaults suit scenes in metres."""

    # Steps come at 2 +- 0.13 Hz whoever walks (MacDougall and Moore 2005, doi:10.1152/japplphysiol.00138.2005).
    probability: Unit = 0.3
    speed: Annotated[Spread, DrawLimits(0, 100)] = (0.6, 1.6)
    heading: Annotated[Spread, DrawLimits(-180, 180)] = (-30.0, 30.0)
    turn: Annotated[Spread, DrawLimits(0, 360)] = (0.0, 20.0)
    steps: Annotated[Spread, DrawLimits(0.1, 10)] = (1.75, 2.25)
    bob: Annotated[Spread, DrawLimits(0, 10)] = (0.01, 0.03)
    sway: Annotated[Spread, DrawLimits(0, 10)] = (0.005, 0.02)


class FlightRules(SpecData, frozen=True, kw_only=True):
    """The camera flies: `speed` and `climb` a second, `turn` over the clip and `heading` either way round."""

    probability: Unit = 0.3
    speed: Annotated[Spread, DrawLimits(0, 1000)] = LogUniform(low=1.0, high=10.0)
    climb: Annotated[Spread, DrawLimits(-1000, 1000)] = (-0.5, 1.5)
    heading: Annotated[Spread, DrawLimits(0, 180)] = (0.0, 90.0)
    turn: Annotated[Spread, DrawLimits(0, 360)] = (0.0, 45.0)


class PanRules(SpecData, frozen=True, kw_only=True):
    """Degrees that the camera turns in its place over the clip, either way round."""

    probability: Unit = 0.2
    degrees: Annotated[Spread, DrawLimits(0, 360)] = (5.0, 40.0)


class TiltRules(SpecData, frozen=True, kw_only=True):
    """Degrees that the camera looks up or down over the clip."""

    probability: Unit = 0.15
    degrees: Annotated[Spread, DrawLimits(0, 90)] = (3.0, 20.0)


class HandheldRules(SpecData, frozen=True, kw_only=True):
    """Shake: root mean squares of its rotation and shift, and its lowest and highest frequency in Hz."""

    probability: Unit = 0.4
    degrees: Annotated[Spread, DrawLimits(0, 45)] = LogUniform(low=0.1, high=1.0)
    shift: Annotated[Spread, DrawLimits(0, 10)] = LogUniform(low=0.002, high=0.02)
    slowest: Annotated[Spread, DrawLimits(0.01, 60)] = 0.3
    fastest: Annotated[Spread, DrawLimits(0.01, 60)] = (4.0, 12.0)


class ZoomRules(SpecData, frozen=True, kw_only=True):
    """Focal length in the last frame relative to the first. Where `camera.fov` is a range, a zoom stays within it."""

    probability: Unit = 0.15
    factor: Annotated[Spread, DrawLimits(0.05, 20)] = LogUniform(low=0.6, high=1.7)


class LightRotationRules(SpecData, frozen=True, kw_only=True):
    """Degrees that the environment turns over the clip, either way round."""

    probability: Unit = 0.3
    degrees: Annotated[Spread, DrawLimits(0, 3600)] = (60.0, 360.0)


class ObjectRotationRules(SpecData, frozen=True, kw_only=True):
    """Degrees over the clip, either way round; each thing joins in with probability `share`, at least the subject."""

    probability: Unit = 0.3
    share: Unit = 0.4
    degrees: Annotated[Spread, DrawLimits(0, 3600)] = (45.0, 360.0)


class ObjectTranslationRules(SpecData, frozen=True, kw_only=True):
    """Distance slid; each thing joins in with probability `share`, at least the subject."""

    probability: Unit = 0.3
    share: Unit = 0.3
    distance: Annotated[Spread, DrawLimits(0, 1000)] = (0.2, 1.0)
    there_and_back: Unit = 0.5


class FallRules(SpecData, frozen=True, kw_only=True):
    """Things that do not stand are shown while they fall; the clip begins `start` seconds after they were let go."""

    probability: Unit = 0.3
    start: Annotated[Spread, DrawLimits(0, 60)] = (0.0, 0.25)


class MotionRules(SpecData, frozen=True, kw_only=True):
    """Each motion is drawn by itself; a clip that drew none gets one, by the same weights. What is left out or does not
    suit a scene's setting never happens there."""

    orbit: OrbitRules = OrbitRules()
    oscillation: OscillationRules = OscillationRules()
    dolly: DollyRules = DollyRules()
    light_rotation: LightRotationRules = LightRotationRules()
    object_rotation: ObjectRotationRules = ObjectRotationRules()
    object_translation: ObjectTranslationRules = ObjectTranslationRules()
    walk: WalkRules | UnsetType = UNSET
    flight: FlightRules | UnsetType = UNSET
    pan: PanRules | UnsetType = UNSET
    tilt: TiltRules | UnsetType = UNSET
    handheld: HandheldRules | UnsetType = UNSET
    zoom: ZoomRules | UnsetType = UNSET
    fall: FallRules | UnsetType = UNSET


SUITED_MOTIONS = {
    "table": frozenset(MotionRules.__struct_fields__) - {"walk", "flight"},
    "room": frozenset({"dolly", "light_rotation", "walk", "pan", "tilt", "handheld", "zoom"}),
    "terrain": frozenset({"light_rotation", "walk", "flight", "pan", "tilt", "handheld", "zoom"}),
    "street": frozenset({"light_rotation", "walk", "flight", "pan", "tilt", "handheld", "zoom"}),
}
"""The motions that happen in each setting. Those about a target suit things that are near, or they would race."""


class PlacementRules(SpecData, frozen=True, kw_only=True):
    """Smallest gaps in scene units between things and around the camera; whole draws of a scene before giving up."""

    margin: Annotated[float, Meta(ge=0.0, le=100.0)] = 0.03
    camera_margin: Annotated[float, Meta(gt=0.0, le=100.0)] = 0.15
    attempts: Annotated[int, Meta(ge=1, le=10_000)] = 50


class FramingRules(SpecData, frozen=True, kw_only=True):
    """In every frame: the subject's size as a share of the image height, how much of its extent is inside the image;
    and the largest share of frames in which something may stand in front of its middle."""

    size: Unit = 0.2
    inside: Unit = 0.6
    hidden: Unit = 0.34
