"""`SceneSpec`: a whole scene as plain data. What it says, and the assets it names, is all that a render needs.

A spec is written as canonical JSON, so equal specs are equal byte for byte and `digest` identifies one.
World frame: right-handed, z up, the ground is z = 0; lengths in scene units, angles in degrees, colours linear
Rec.709. Motions are functions of the frame (`scenes/motion.py`), never keyframes. Fields that came later are UNSET
where they do not apply and are then not written, so that earlier specs keep their bytes.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from manifests.errors import SpecError
from manifests.untrusted import decode_json

SPEC_VERSION = 1

Vector = tuple[float, float, float]
Quaternion = tuple[float, float, float, float]
"""(w, x, y, z), of length 1."""
Unit = Annotated[float, Meta(ge=0.0, le=1.0)]
Positive = Annotated[float, Meta(gt=0.0)]
Value = float | int | str | tuple[float, ...]


class SpecData(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of all plain data here: immutable, unknown fields are an error (`kw_only` is not inherited)."""


# --- where things come from -----------------------------------------------------------------------------------


class Builtin(SpecData, frozen=True, kw_only=True, tag="builtin", tag_field="source"):
    """Made by our own code: `generator` names the function, `params` are its arguments."""

    uid: str
    generator: str
    params: dict[str, Value] = {}


class File(SpecData, frozen=True, kw_only=True, tag="file", tag_field="source"):
    """A provider's file: `path` is relative to the provider's root, so specs do not depend on the machine."""

    uid: str
    provider: str
    path: str
    sha256: str


Source = Builtin | File


# --- materials -------------------------------------------------------------------------------------------------


class Principled(SpecData, frozen=True, kw_only=True, tag="principled", tag_field="kind"):
    """One constant metallic-roughness material."""

    uid: str
    basecolor: tuple[Unit, Unit, Unit]
    roughness: Unit
    metallic: Unit
    ior: Positive = 1.5
    transmission: Unit = 0.0
    coat: Unit = 0.0
    sheen: Unit = 0.0


class Procedural(SpecData, frozen=True, kw_only=True, tag="procedural", tag_field="kind"):
    """A node-graph material: `params` are those of its `family`, `size` is the pattern's length in scene units."""

    uid: str
    family: str
    size: Positive
    params: dict[str, Value] = {}


class TextureSet(SpecData, frozen=True, kw_only=True, tag="textures", tag_field="kind"):
    """A folder of PBR texture maps, tiled every `size` scene units."""

    uid: str
    provider: str
    path: str
    sha256: str
    size: Positive


class Native(SpecData, frozen=True, kw_only=True, tag="native", tag_field="kind"):
    """The materials that came with an imported mesh."""


Material = Principled | Procedural | TextureSet | Native


# --- objects ---------------------------------------------------------------------------------------------------


class ObjectRotation(SpecData, frozen=True, kw_only=True, tag="object_rotation", tag_field="kind"):
    """Turn about the object's own vertical axis: `degrees` from the first frame to the last."""

    degrees: float


class ObjectTranslation(SpecData, frozen=True, kw_only=True, tag="object_translation", tag_field="kind"):
    """Slide on the ground along `offset` (x, y); `there_and_back` returns to the start on a cosine."""

    offset: tuple[float, float]
    there_and_back: bool = False


class Fall(SpecData, frozen=True, kw_only=True, tag="fall", tag_field="kind"):
    """Fall freely and knock against others: `poses` at equally spaced times from the first frame to the last.

    Each is (x, y, z, qw, qx, qy, qz): where the mesh frame's origin is, and its rotation. They take the place of the
    object's own pose, which is that of the first frame. Between two, positions go straight and turns the short way.
    """

    poses: Annotated[tuple[tuple[float, float, float, float, float, float, float], ...], Meta(min_length=1)]


ObjectMotion = ObjectRotation | ObjectTranslation | Fall


class Object(SpecData, frozen=True, kw_only=True):
    """One thing on the ground, or on others.

    The mesh is in its normalised frame (see `Footprint`): bounding-box centre over the origin, lowest point at
    z = 0, longest bounding-box side 1. It is scaled by `scale`, turned by `yaw` about z and moved to `position`, its
    lowest point at height `height` (0 when UNSET). A thing that does not stand upright has an `orientation` instead of
    a yaw (0 then): the rotation of the mesh frame about its origin, which `position` and `height` place.
    """

    name: str
    instance: Annotated[int, Meta(ge=2, le=65535)]
    role: Literal["object", "primitive"]
    mesh: Source
    material: Material
    scale: Positive
    yaw: float
    position: tuple[float, float]
    footprint: Footprint
    motions: tuple[ObjectMotion, ...] = ()
    height: float | UnsetType = UNSET
    orientation: Quaternion | UnsetType = UNSET


class Footprint(SpecData, frozen=True, kw_only=True):
    """Upright bounding cylinder of a normalised mesh about the vertical axis through its bounding-box centre."""

    radius: Positive
    height: Positive


class Ground(SpecData, frozen=True, kw_only=True):
    """A square plane at z = 0, instance 1, centred on the origin, `size` scene units along each side."""

    material: Material
    size: Positive = 40.0


# --- setting ---------------------------------------------------------------------------------------------------


class SettingPiece(SpecData, frozen=True, kw_only=True):
    """A part of a setting, such as a wall, a hill or all plants of a kind; it stands still.

    `mesh` names a generator of `scenes.settings.pieces`, in scene units and in place. `copies`, if given, names a
    generator of poses there: the mesh is shown once at each, from one datablock. Pieces of one thing (a house's bricks
    and panes) share an `instance`; 1 is the ground. `material` may be an index of `Setting.materials`.
    """

    name: str
    instance: Annotated[int, Meta(ge=1, le=65535)]
    mesh: Builtin
    material: Material | Annotated[int, Meta(ge=0)]
    copies: Builtin | UnsetType = UNSET


class Portal(SpecData, frozen=True, kw_only=True):
    """A rectangular opening through which the environment lights a room: light passes it along `yaw` (0 is +x).

    `size` is (width, height); the rectangle stands upright. It changes noise, never the picture.
    """

    centre: Vector
    yaw: float
    size: tuple[Positive, Positive]


class Setting(SpecData, frozen=True, kw_only=True):
    """What surrounds the things of a scene that is not a table-top; lengths are metres.

    `materials` are those that several pieces have, so that a street of a hundred windows says once what glass is.
    """

    kind: Literal["room", "terrain", "street"]
    pieces: tuple[SettingPiece, ...]
    portals: tuple[Portal, ...] = ()
    materials: tuple[Material, ...] = ()

    def material_of(self, piece: SettingPiece) -> Material:
        """The material of one of the pieces."""
        return self.materials[piece.material] if isinstance(piece.material, int) else piece.material

    def shared(self) -> Setting:
        """The same setting with every material said once that more than one piece has."""
        counts = Counter(msgspec.json.encode(self.material_of(piece)) for piece in self.pieces)
        index: dict[bytes, int] = {}
        materials: list[Material] = []
        pieces = []
        for piece in self.pieces:
            material = self.material_of(piece)
            key = msgspec.json.encode(material)
            if counts[key] > 1 and key not in index:
                index[key] = len(materials)
                materials.append(material)
            pieces.append(msgspec.structs.replace(piece, material=index.get(key, material)))
        return msgspec.structs.replace(self, pieces=tuple(pieces), materials=tuple(materials))


# --- light -----------------------------------------------------------------------------------------------------


class SceneLight(SpecData, frozen=True, kw_only=True):
    """An environment: the image's source, then mirror (left-right), strength (a factor) and a turn about z.

    Mirror and strength are applied to the stored image itself; `yaw` is part of the stored rotation.
    """

    map: Source
    yaw: float = 0.0
    mirror: bool = False
    strength: Positive = 1.0


class LightRotation(SpecData, frozen=True, kw_only=True):
    """Turn of the environment about z: `degrees` from the first frame to the last."""

    degrees: float


# --- camera ----------------------------------------------------------------------------------------------------


class Orbit(SpecData, frozen=True, kw_only=True, tag="orbit", tag_field="kind"):
    """Azimuth moves by `degrees` from the first frame to the last."""

    degrees: float


class Oscillation(SpecData, frozen=True, kw_only=True, tag="oscillation", tag_field="kind"):
    """Azimuth and elevation swing on sines, `cycles` periods over the clip."""

    azimuth: float
    elevation: float
    cycles: Positive


class Dolly(SpecData, frozen=True, kw_only=True, tag="dolly", tag_field="kind"):
    """Distance to the target is scaled from 1 at the first frame to `factor` at the last."""

    factor: Positive


class Walk(SpecData, frozen=True, kw_only=True, tag="walk", tag_field="kind"):
    """The camera is carried on foot along an arc: `distance` scene units long over the clip, at one speed.

    It sets out at `heading` degrees from the direction in which it looks, counter-clockwise from above, and turns with
    its path by `turn` degrees. The ground rises by `rise`. Each of the `steps` moves the camera up and down by `bob`;
    every two move it left and right by `sway`.
    """

    distance: float
    heading: float = 0.0
    turn: float = 0.0
    rise: float = 0.0
    steps: Positive
    bob: float
    sway: float


class Flight(SpecData, frozen=True, kw_only=True, tag="flight", tag_field="kind"):
    """The camera flies along an arc that climbs by `rise`; the other fields are those of `Walk`."""

    distance: float
    heading: float = 0.0
    turn: float = 0.0
    rise: float = 0.0


class Pan(SpecData, frozen=True, kw_only=True, tag="pan", tag_field="kind"):
    """The camera turns about the vertical in its own place, `degrees` over the clip, to the left if positive.

    Halfway it looks where it would without.
    """

    degrees: float


class Tilt(SpecData, frozen=True, kw_only=True, tag="tilt", tag_field="kind"):
    """As `Pan`, up and down; positive is up."""

    degrees: float


class Handheld(SpecData, frozen=True, kw_only=True, tag="handheld", tag_field="kind"):
    """Shake: about and along each of the camera's axes a noise of its own, which `seed` chooses.

    `degrees` and `shift` (scene units) are root mean squares. The noise has no frequencies below `slowest` or above
    `fastest`, in cycles over the clip, and between them the spectrum of a random walk.
    """

    seed: Annotated[int, Meta(ge=0, lt=2**32)]
    degrees: Annotated[float, Meta(ge=0.0)]
    shift: Annotated[float, Meta(ge=0.0)]
    slowest: Positive
    fastest: Positive


class Zoom(SpecData, frozen=True, kw_only=True, tag="zoom", tag_field="kind"):
    """The focal length goes from 1 at the first frame to `factor` at the last, gently at both ends."""

    factor: Positive


CameraMotion = Orbit | Oscillation | Dolly | Walk | Flight | Pan | Tilt | Handheld | Zoom


class CameraView(SpecData, frozen=True, kw_only=True):
    """A pinhole that looks at `target` from spherical coordinates around it, world z up.

    `fov` spans the larger image side, in the first frame of a zoom. Azimuth 0 puts the camera on the target's +x side,
    counter-clockwise from above. Motions add up; whatever their order in `motions`, the camera first goes about its
    target (orbit, oscillation, dolly), is carried away from there (walk, flight), turns (pan, tilt), and shakes.
    """

    target: Vector
    distance: Positive
    azimuth: float
    elevation: Annotated[float, Meta(ge=-89.0, le=89.0)]
    fov: Annotated[float, Meta(gt=0.0, lt=170.0)]
    motions: tuple[CameraMotion, ...] = ()


# --- rendering -------------------------------------------------------------------------------------------------


class RenderSettings(SpecData, frozen=True, kw_only=True):
    """Cycles settings; docs/benchmarks.md shows the curves behind the defaults.

    `samples` caps the samples per pixel; `adaptive_threshold` 0 turns adaptive sampling off. `environment_height`
    is the height of the lat-long image that is rendered and stored (width is twice that); `importance_width` the
    greatest width of Cycles' importance map of it (`datagen.blender.world`): twice the image's, or small suns are
    missed.
    `clamp_indirect` 0 means no clamp. `flow` true adds the attributes `flow` and `flow_visible`. `adaptive_minimum` are
    the samples before adaptive sampling first looks (16). `quality` asks for a PSNR in dB, and a pilot of each light
    chooses `samples`, `adaptive_threshold` and `adaptive_minimum` in place of what stands here
    (`datagen.blender.pilot`); "fixed", or nothing, takes them as they stand.
    """

    width: Annotated[int, Meta(ge=8, le=8192)]
    height: Annotated[int, Meta(ge=8, le=8192)]
    samples: Annotated[int, Meta(ge=1, le=65536)]
    adaptive_threshold: Annotated[float, Meta(ge=0.0, le=1.0)] = 0.07
    denoiser: Literal["none", "fast", "balanced", "accurate"] = "balanced"
    max_bounces: Annotated[int, Meta(ge=0, le=64)] = 4
    transparent_bounces: Annotated[int, Meta(ge=0, le=64)] = 8
    clamp_indirect: Annotated[float, Meta(ge=0.0)] = 10.0
    light_tree: bool = False
    environment_height: Annotated[int, Meta(ge=4, le=8192)] = 512
    importance_width: Annotated[int, Meta(ge=4, le=8192)] = 2048
    geometric_normal: bool = False
    flow: bool | UnsetType = UNSET
    adaptive_minimum: Annotated[int, Meta(ge=1, le=65536)] | UnsetType = UNSET
    quality: Annotated[float, Meta(ge=24.0, le=56.0)] | Literal["fixed"] | UnsetType = UNSET


class SceneSpec(SpecData, frozen=True, kw_only=True):
    """Everything that `datagen` needs to render one scene under each of its lights.

    `index` is the scene's place in the dataset; with K lights it yields K clips that share the G-buffers.
    `resampled` counts the draws that were thrown away because they could not be placed or framed. Without a `setting`
    the scene is a table-top: things on a ground, or on nothing, under an environment.
    """

    version: int = SPEC_VERSION
    recipe: str
    seed: int
    index: Annotated[int, Meta(ge=0)]
    split: Literal["train", "val", "test", "all"] = "all"
    frames: Annotated[int, Meta(ge=1, le=100_000)]
    fps: Positive
    ground: Ground | None
    objects: tuple[Object, ...]
    lights: Annotated[tuple[SceneLight, ...], Meta(min_length=1)]
    light_motion: LightRotation | None = None
    view: CameraView
    render: RenderSettings
    resampled: int = 0
    setting: Setting | UnsetType = UNSET


def to_json(data: SpecData) -> bytes:
    """Canonical JSON of a spec or recipe: fields in declared order, defaults included, mapping keys sorted, no spaces.

    Equal data give equal bytes.
    """
    plain = msgspec.json.encode(data)  # read back once, so that an int given for a float is written as a float
    return msgspec.json.encode(msgspec.json.decode(plain, type=type(data)), order="deterministic")


def from_json(data: bytes | str) -> SceneSpec:
    """Read a spec; SpecError names the field that does not fit."""
    try:
        spec = decode_json(data, SceneSpec)
    except msgspec.DecodeError as error:
        raise SpecError(f"not a scene spec: {error}") from None
    if spec.version != SPEC_VERSION:
        raise SpecError(f"scene spec of version {spec.version}", f"this release reads version {SPEC_VERSION}")
    return spec


def digest(spec: SceneSpec | bytes) -> str:
    """SHA-256, in hex, of the canonical JSON; bytes are taken as that."""
    return hashlib.sha256(spec if isinstance(spec, bytes) else to_json(spec)).hexdigest()
