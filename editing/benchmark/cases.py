"""Which edits are scored: for each scene of a benchmark, its spec before and after each edit.

The object that fills most of the picture is the subject. An edit of its material must be exact in the spec, so a
subject whose material varies over its surface is first made of one constant, its own mean; the clip that is edited
shows that. Insertion has two clips of its own: one whose camera stands still, and one that is larger, whose camera
circles the scene: what is put in has to stay where it is.
"""

from __future__ import annotations

import colorsys
from dataclasses import dataclass
from typing import Literal

import msgspec
import numpy as np

from editing.support import SHARE
from manifests.contract.clip import Clip
from manifests.contract.color import srgb_decode
from scenes.motion import object_to_world
from scenes.spec import Object, Orbit, Principled, SceneSpec

Edit = Literal["colour", "gloss", "metal", "insert", "insert, camera moves"]
EDITS: tuple[Edit, ...] = ("colour", "gloss", "metal", "insert", "insert, camera moves")

FRAMES = 6
SAMPLES = 64
MOVING_FRAMES, MOVING_SIDE, MOVING_SAMPLES = 12, 192, 24
"""Of the clip whose camera moves: a camera is not to be found in less."""
_CIRCLES = 24.0
_MOST = 0.5
_LEAST = 0.01
_MARGIN = 0.15
_GROUND = 1


@dataclass(frozen=True)
class Change:
    """New values of the subject's material, None keeps what is there; `old` is its base colour, linear."""

    old: tuple[float, float, float]
    basecolor: tuple[float, float, float] | None = None
    roughness: float | None = None
    metallic: float | None = None


@dataclass(frozen=True)
class InsertedObject:
    """The object that is put in, and the pixel (x, y) of the first frame where it stands."""

    thing: Object
    pixel: tuple[int, int]


@dataclass(frozen=True)
class Case:
    """One edit of one scene: the specs `before` and `after`, and the number of the edited or inserted instance."""

    edit: Edit
    scene: int
    before: SceneSpec
    after: SceneSpec
    instance: int
    change: Change | None = None
    inserted: InsertedObject | None = None


def shortened(spec: SceneSpec, light: int) -> SceneSpec:
    """The scene under one of its lights, in a few frames over the same motion, rendered finely."""
    render = msgspec.structs.replace(spec.render, samples=SAMPLES, denoiser="accurate", adaptive_threshold=0.0)
    return msgspec.structs.replace(spec, lights=(spec.lights[light % len(spec.lights)],), frames=FRAMES, render=render)


def subject_of(spec: SceneSpec, clip: Clip) -> Object | None:
    """The object that fills most of the picture but not more than half; None where all are nearly hidden."""
    instance = clip.arrays["instance"]
    shares = {thing.instance: float((instance == thing.instance).mean()) for thing in spec.objects}
    seen = [thing for thing in spec.objects if _LEAST < shares[thing.instance] < _MOST]
    return max(seen, key=lambda thing: (thing.role == "object", shares[thing.instance]), default=None)


def plain(spec: SceneSpec, subject: Object, clip: Clip) -> tuple[SceneSpec, Principled]:
    """The scene whose subject is of one constant material: its own if it is one, else its mean in `clip`."""
    own = subject.material
    if isinstance(own, Principled) and not (own.transmission or own.coat or own.sheen):
        return spec, own
    arrays = clip.arrays
    where = (arrays["instance"][..., 0] == subject.instance) & (arrays["mask"][..., 0] > 0.99)
    if not where.any():
        where = arrays["instance"][..., 0] == subject.instance
    red, green, blue = (round(float(part), 4) for part in np.clip(arrays["basecolor"][where].mean(axis=0), 0, 1))
    constant = Principled(
        uid="constant/mean",
        basecolor=(red, green, blue),
        roughness=round(float(np.clip(arrays["roughness"][where].mean(), 0, 1)), 4),
        metallic=float(arrays["metallic"][where].mean() > 0.5),
    )
    return with_material(spec, subject.instance, constant), constant


def with_material(spec: SceneSpec, instance: int, material: Principled) -> SceneSpec:
    """The scene with one instance of another material."""
    objects = tuple(
        msgspec.structs.replace(thing, material=material) if thing.instance == instance else thing
        for thing in spec.objects
    )
    return msgspec.structs.replace(spec, objects=objects)


def material_cases(scene: int, spec: SceneSpec, subject: Object, own: Principled) -> list[Case]:
    """Another colour, the other finish, and metal for what is none or the reverse. `spec` has the plain subject."""
    colour = _other_colour(own.basecolor, np.random.default_rng([spec.seed, spec.index, 1]))
    changes: dict[Edit, Change] = {
        "colour": Change(own.basecolor, basecolor=colour),
        "gloss": Change(own.basecolor, roughness=0.8 if own.roughness < 0.45 else 0.12),
        "metal": Change(own.basecolor, metallic=0.0 if own.metallic > 0.5 else 1.0),
    }
    cases = []
    for edit, change in changes.items():
        new = {name: value for name, value in vars(change).items() if name != "old" and value is not None}
        after = with_material(spec, subject.instance, msgspec.structs.replace(own, **new))
        cases.append(Case(edit, scene, spec, after, subject.instance, change=change))
    return cases


def still(spec: SceneSpec) -> SceneSpec:
    """The scene seen by a camera that stands still."""
    return msgspec.structs.replace(spec, view=msgspec.structs.replace(spec.view, motions=()))


def circled(spec: SceneSpec) -> SceneSpec:
    """The scene, in which nothing moves, in a larger picture, by a camera that circles it."""
    factor = max(1.0, MOVING_SIDE / max(spec.render.width, spec.render.height))
    render = msgspec.structs.replace(
        spec.render,
        width=round(factor * spec.render.width),
        height=round(factor * spec.render.height),
        samples=MOVING_SAMPLES,
    )
    turn = Orbit(degrees=_CIRCLES * (1 if spec.index % 2 else -1))
    return msgspec.structs.replace(
        spec,
        frames=MOVING_FRAMES,
        render=render,
        view=msgspec.structs.replace(spec.view, motions=(turn,)),
        objects=tuple(msgspec.structs.replace(thing, motions=()) for thing in spec.objects),
    )


def insertion_case(scene: int, spec: SceneSpec, clip: Clip, thing: Object) -> Case | None:
    """`thing`, in a material of its own, on free ground as near as can be to the picture's lower middle.

    `clip` is the render of `spec`. None where no free ground is seen.
    """
    assert clip.camera is not None
    height, width = clip.size
    depth, instance = clip.arrays["depth"][0, ..., 0], clip.arrays["instance"][0, ..., 0]
    focal = float(clip.camera.frame_intrinsics[0, 0, 0])
    pose = clip.camera.camera_to_world[0]
    rays = clip.camera.at(slice(1)).rays(height, width).reshape(height, width, 3)
    rows, columns = np.nonzero(instance == _GROUND)
    order = np.argsort(np.hypot((columns + 0.5) / width - 0.5, (rows + 0.5) / height - 0.62))
    for x, y in zip(columns[order].tolist(), rows[order].tolist(), strict=True):
        scale = SHARE * min(height, width) / focal * float(depth[y, x])
        x_world, y_world, _ = pose[:3, :3] @ (rays[y, x] * float(depth[y, x])) + pose[:3, 3]
        placed = msgspec.structs.replace(
            thing,
            name="inserted",
            instance=max(other.instance for other in spec.objects) + 1,
            material=_showy(np.random.default_rng([spec.seed, spec.index, 2])),
            scale=scale,
            position=(float(x_world), float(y_world)),
            motions=(),
        )
        if _free(spec, placed):
            after = msgspec.structs.replace(spec, objects=(*spec.objects, placed))
            edit: Edit = "insert, camera moves" if spec.view.motions else "insert"
            return Case(edit, scene, spec, after, placed.instance, inserted=InsertedObject(placed, (x, y)))
    return None


def _free(spec: SceneSpec, placed: Object) -> bool:
    """Whether the object stands clear of all others in every frame."""
    radius = placed.footprint.radius * placed.scale
    for other in spec.objects:
        places = object_to_world(other, spec.frames)[:, :2, 3]
        apart = np.linalg.norm(places - np.array(placed.position), axis=-1).min()
        if apart < radius + other.footprint.radius * other.scale + _MARGIN:
            return False
    return True


def _other_colour(old: tuple[float, float, float], rng: np.random.Generator) -> tuple[float, float, float]:
    """A saturated paint, linear, whose hue is far from the old one."""
    hue = colorsys.rgb_to_hsv(*old)[0]
    turned = (hue + rng.uniform(0.3, 0.7)) % 1.0
    display = colorsys.hsv_to_rgb(turned, rng.uniform(0.55, 0.85), rng.uniform(0.55, 0.85))
    red, green, blue = (round(float(part), 4) for part in srgb_decode(np.array(display)))
    return red, green, blue


def _showy(rng: np.random.Generator) -> Principled:
    """What the inserted object is made of: a paint, or one time in three a metal."""
    colour = _other_colour((1.0, 0.0, 0.0), rng)
    metallic = float(rng.random() < 1 / 3)
    return Principled(
        uid="constant/inserted", basecolor=colour, roughness=round(float(rng.uniform(0.15, 0.6)), 4), metallic=metallic
    )
