"""What the figures show: a few things on the ground, and balls under a light whose directions are written on it."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from datagen.blender import session
from datagen.blender.render import render_scene
from datagen.resolver import Resolver, cache_folder
from manifests.codec.exr import write_exr
from manifests.contract.clip import Clip
from manifests.contract.color import srgb_decode
from scenes.catalogue import Asset
from scenes.providers.builtin import builtin_catalogue
from scenes.spec import (
    Builtin,
    CameraView,
    File,
    Footprint,
    Ground,
    LightRotation,
    Material,
    Object,
    Principled,
    RenderSettings,
    SceneLight,
    SceneSpec,
)

OUTSIDE = CameraView(target=(0.0, 0.1, 0.5), distance=5.6, azimuth=-52.0, elevation=27.0, fov=40.0)
CAMERA = CameraView(target=(0.0, 0.0, 0.4), distance=2.5, azimuth=-100.0, elevation=18.0, fov=45.0)
FRONT = CameraView(target=(0.0, 0.0, 0.5), distance=3.2, azimuth=-90.0, elevation=0.0, fov=28.0)
ASIDE = CameraView(target=(0.0, -1.3, 0.6), distance=6.6, azimuth=-22.0, elevation=24.0, fov=40.0)
BETWEEN = CameraView(target=(0.0, 0.0, 1.0), distance=2.6, azimuth=-135.0, elevation=6.0, fov=105.0)
LETTERS = "letters.exr"
MIRROR = Principled(uid="mirror", basecolor=(0.98, 0.98, 0.98), roughness=0.0, metallic=1.0)
_ROOM = Footprint(radius=0.71, height=1.0)
_HEIGHT = 512


@cache
def _builtin() -> dict[str, Asset]:
    return {asset.uid: asset for asset in builtin_catalogue().assets}


def paint(name: str, colour: tuple[float, float, float], roughness: float = 0.45) -> Principled:
    """A plain material."""
    return Principled(uid=name, basecolor=colour, roughness=roughness, metallic=0.0)


def thing(
    number: int, mesh: str, material: Material, position: tuple[float, float], scale: float = 0.7, yaw: float = 0.0
) -> Object:
    """A mesh of the built-in catalogue standing at `position`."""
    source = _builtin()[mesh].mesh
    assert source is not None
    return Object(
        name=mesh,
        instance=number,
        role="object",
        mesh=source,
        material=material,
        scale=scale,
        yaw=yaw,
        position=position,
        footprint=_ROOM,
    )


def ball(number: int, material: Material, position: tuple[float, float], scale: float = 1.0) -> Object:
    """A smooth ball of diameter `scale`."""
    params = {"x": 1.0, "y": 1.0, "z": 1.0, "segments": 256}
    return Object(
        name=f"ball{number}",
        instance=number,
        role="object",
        scale=scale,
        yaw=0.0,
        position=position,
        mesh=Builtin(uid="ball", generator="ellipsoid", params=params),
        material=material,
        footprint=_ROOM,
    )


def still_life(view: CameraView, size: tuple[int, int]) -> SceneSpec:
    """Three things on grey ground under a studio's light; `size` is (width, height)."""
    things = (
        thing(2, "builtin/mesh/suzanne", paint("clay", (0.75, 0.32, 0.2)), (0.0, 0.0), 0.9, 10.0),
        thing(3, "builtin/mesh/cube", paint("blue", (0.12, 0.28, 0.6)), (-1.0, 0.75), 0.55, 25.0),
        thing(4, "builtin/mesh/lathe/vase/0000", paint("green", (0.2, 0.5, 0.25)), (0.95, 0.8), 0.85),
    )
    light = _builtin()["builtin/environment/studio/0003"].environment
    assert light is not None
    return _spec(things, view, size, SceneLight(map=light), Ground(material=paint("grey", (0.5, 0.5, 0.5), 0.8)))


def letters_scene(view: CameraView, size: tuple[int, int], turn: float = 0.0) -> SceneSpec:
    """A mirror ball in mid-air under the light with letters, which turns by `turn` degrees from frame 0 to frame 1."""
    light = SceneLight(map=File(uid=LETTERS, provider="figures", path=LETTERS, sha256=""))
    return _spec((ball(2, MIRROR, (0.0, 0.0)),), view, size, light, None, turn)


def ball_row(size: tuple[int, int]) -> SceneSpec:
    """Three balls on a line that is parallel to the image plane."""
    colours = ((0.75, 0.3, 0.25), (0.3, 0.6, 0.35), (0.25, 0.4, 0.75))
    balls = tuple(
        ball(number, paint(f"paint{number}", colour), (x, 0.0), 0.8)
        for number, (colour, x) in enumerate(zip(colours, (-1.7, 0.0, 1.7), strict=True), start=2)
    )
    view = CameraView(target=(0.0, 0.0, 0.4), distance=3.4, azimuth=-90.0, elevation=0.0, fov=70.0)
    light = SceneLight(map=Builtin(uid="white", generator="constant", params={"colour": (1.0, 1.0, 1.0)}))
    return _spec(balls, view, size, light, None)


def _spec(
    things: tuple[Object, ...],
    view: CameraView,
    size: tuple[int, int],
    light: SceneLight,
    ground: Ground | None,
    turn: float | None = None,
) -> SceneSpec:
    return SceneSpec(
        recipe="figures",
        seed=0,
        index=0,
        frames=1 if turn is None else 2,
        fps=1.0,
        ground=ground,
        objects=things,
        lights=(light,),
        light_motion=None if turn is None else LightRotation(degrees=turn),
        view=view,
        render=RenderSettings(
            width=size[0], height=size[1], samples=64, environment_height=_HEIGHT, importance_width=1024
        ),
    )


def rendered(spec: SceneSpec) -> Clip:
    """The clip that the factory makes of a spec."""
    session.start("CPU")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        image = letters()
        (folder / LETTERS).write_bytes(
            write_exr({name: np.ascontiguousarray(image[..., i]) for i, name in enumerate("RGB")})
        )
        roots = {**builtin_catalogue().roots, "figures": folder}
        return render_scene(spec, Resolver(roots, cache_folder(folder)), folder).clips[0]


def letters() -> np.ndarray:
    """A stored environment (h, 2h, 3), linear: a sky over ground, with the name of each horizontal axis on it.

    The places of the names are those of `manifests.contract.environment`: the centre column looks along +x, +y is a
    quarter to the left, the edges meet at -x.
    """
    height, width = _HEIGHT, 2 * _HEIGHT
    rows = np.linspace(0, 1, height)[:, None, None]
    sky = np.array([0.78, 0.87, 0.97]) * (1 - rows) + np.array([0.95, 0.93, 0.88]) * rows
    image = np.where(rows < 0.5, sky, np.array([0.62, 0.57, 0.5])) * np.ones((1, width, 1))
    page = Image.fromarray((image * 255).astype(np.uint8))
    draw = ImageDraw.Draw(page)
    font = ImageFont.load_default(height / 4)
    marks = (("+x", 0.5, "#d0241c"), ("+y", 0.25, "#157a2b"), ("-y", 0.75, "#0f8f8a"), ("-x", 0.0, "#8a2be2"))
    for words, u, colour in marks:
        for shift in (0, 1) if u == 0.0 else (0,):  # the edge cuts the letters of -x in two
            draw.text(((u + shift) * width, 0.45 * height), words, fill=colour, font=font, anchor="mm")
    return srgb_decode(np.asarray(page) / 255.0).astype(np.float32)
