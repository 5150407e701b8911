"""`lightloom relight`, `edit` and `insert`: a film in, a film out. They declare options and call room `editing`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from tqdm import tqdm
from tyro.conf import Positional

import editing
from editing.settings import DEFAULT, FilmSettings
from lightloom.saying import say
from manifests.errors import InputError

if TYPE_CHECKING:
    from editing.film import Film

Video = Annotated[str, tyro.conf.arg(metavar="VIDEO")]
Pixels = tyro.conf.UseAppendAction[Annotated[tuple[str, ...], tyro.conf.arg(metavar="X,Y")]]
FilmOptions = Annotated[FilmSettings, tyro.conf.arg(name="")]

_INSTANCE = re.compile(r"instance=(\d+)")
_PIXEL = re.compile(r"(\d{1,5}),(\d{1,5})")


def relight(
    video: Positional[Video],
    /,
    *,
    env: tuple[str, ...],
    out: Path,
    rotate: float = 0.0,
    background: Literal["keep", "light", "blur"] = "keep",
    gbuffers: Path | None = None,
    exr: bool = False,
    show: bool = False,
    settings: FilmOptions = DEFAULT,
) -> int:
    """Show a video, or a picture, under another light; under several at once, as a sheet. Keeps frame rate and size.

    Example: lightloom relight cat.mp4 --env courtyard --rotate 360 --out out/cat.mp4

    Args:
        video: video file, picture, folder of frames, or DATASET:KEY.
        env: .hdr or .exr files, or built-in lights such as courtyard or studio/0007.
        out: the .mp4 to write; of a picture, a .png or .jpg too.
        rotate: degrees that the light turns over the video.
        background: where there is no surface: keep the video's own, graded; the light itself, sharp or as a blur.
        gbuffers: folder for the G-buffers, as a video and a still each.
        exr: write their exact values too, an EXR per frame.
        show: write the video's own light, estimated from its beginning, beside OUT (.light.exr, .light.png).
        settings: which renderers, and how.
    """
    from editing.film import open_film

    with open_film(video) as film:
        _load("relight", film)
        written = editing.relight(
            film,
            env,
            out,
            rotate=rotate,
            background=background,
            gbuffers=gbuffers,
            exr=exr,
            show=show,
            settings=settings,
        )
        say(*written, *film.camera_said)
        _say_problems(film)
    return 0


def edit(
    video: Positional[Video],
    /,
    *,
    out: Path,
    change: Annotated[tuple[str, ...], tyro.conf.arg(name="set", metavar="NAME=VALUE")] = (),
    select: str | None = None,
    mask: Path | None = None,
    pick: Pixels = (),
    exclude: Annotated[Pixels, tyro.conf.arg(name="not")] = (),
    tolerance: float = 0.5,
    strength: float | None = None,
    truth: bool = False,
    mask_out: Path | None = None,
    show: bool = False,
    settings: FilmOptions = DEFAULT,
) -> int:
    """Change the material of something in a video; all else stays as it is. Keeps frame rate and size.

    Example: lightloom edit cat.mp4 --pick 120,80 --set roughness=0.1 metallic=1 basecolor=#c0c0c0 --out out/cat.mp4

    Args:
        video: video file, picture, folder of frames, or DATASET:KEY.
        out: the .mp4 to write; of a picture, a .png or .jpg too.
        change: roughness=0..1, metallic=0..1, basecolor=#rrggbb, a name such as navy, or texture.png.
        select: `instance=N` of a synthetic clip.
        mask: what to edit in white: a picture for the first frame, or a video for all of them.
        pick: a pixel of the first frame, from its top left; what it lies on is selected. Give it again for more.
        exclude: a pixel on what does not belong to it. Give it again for more.
        tolerance: how much is taken, from 0 (the surest) to 1 (nearly everything).
        strength: how much of the change is made, 0 to 1. By default 1 with --truth; without, 0.85, and 0.5 where only
            roughness changes, since estimates exaggerate.
        truth: use the true G-buffers, camera and light of a synthetic clip in place of estimated ones.
        mask_out: write the selection to this file too.
        show: write the light, estimated from the beginning, beside OUT (.light.exr, .light.png).
        settings: which renderers, and how.
    """
    from editing.film import open_film
    from editing.material_edits import parse_change

    number = _INSTANCE.fullmatch(select) if select is not None else None
    if select is not None and number is None:
        raise InputError(f"--select {select!r} is not understood", 'it looks like --select "instance=2"')
    changed = parse_change(change)
    with open_film(video) as film:
        _load("edit", film)
        written = editing.edit(
            film,
            changed,
            out,
            instance=int(number[1]) if number else None,
            mask=mask,
            pick=[_pixel("--pick", words) for words in pick],
            exclude=[_pixel("--not", words) for words in exclude],
            tolerance=tolerance,
            strength=strength,
            truth=truth,
            mask_out=mask_out,
            show=show,
            settings=settings,
        )
        say(*written, *film.camera_said)
        _say_problems(film)
    return 0


def insert(
    video: Positional[Video],
    /,
    *,
    asset: tyro.conf.UseAppendAction[tuple[str, ...]],
    at: Pixels,
    out: Path,
    scale: tyro.conf.UseAppendAction[tuple[str, ...]] = (),
    rotate: tyro.conf.UseAppendAction[tuple[float, ...]] = (),
    spin: tyro.conf.UseAppendAction[tuple[float, ...]] = (),
    depth: tyro.conf.UseAppendAction[tuple[float, ...]] = (),
    camera_height: float | None = None,
    render: Literal["cycles", "network"] = "cycles",
    catalogue: Path | None = None,
    gbuffers: Path | None = None,
    settings: FilmOptions = DEFAULT,
) -> int:
    """Put things into a video: they stand on what the first frame shows at a pixel, in the video's own light.

    Example: lightloom insert cat.mp4 --asset chair.glb --at 320,400 --scale 30% --out out/chair.mp4

    For several, give --asset and --at again; --scale, --rotate, --spin and --depth once for all or once for each.

    Args:
        video: video file, picture, folder of frames, or DATASET:KEY, whose true G-buffers, camera and light are used.
        asset: mesh file (.glb, .gltf, .obj, .fbx, .ply, .stl, .usd), or uid of a mesh of the catalogue.
        at: pixel of the first frame, from the top left.
        out: the .mp4 to write; of a picture, a .png or .jpg too.
        scale: longest side in scene units, or as a part of the picture such as 30%; at most a quarter by default.
        rotate: degrees about the upright axis.
        spin: degrees that it turns over the video.
        depth: distance along the viewing axis to stand at, in place of what is seen at the pixel.
        camera_height: metres of the camera above what the things stand on; --scale is in metres then.
        render: who shows it: Cycles, under the video's light, or the forward renderer (`network`).
        catalogue: Parquet file of `lightloom assets build`; the built-in one if not given.
        gbuffers: folder for the G-buffers with the things, as a clip of exact codec.
        settings: which renderers, and how.
    """
    from editing.film import open_film
    from editing.insertion import Thing

    places = [_pixel("--at", words) for words in at]
    if not asset or len(asset) != len(places):
        raise InputError(f"{len(asset)} --asset and {len(places)} --at were given", "give one --at for each --asset")
    how = [
        _each(f"--{name}", values, len(asset), default)
        for name, values, default in (
            ("scale", scale, None), ("rotate", rotate, 0.0), ("spin", spin, 0.0), ("depth", depth, None),
        )
    ]  # fmt: skip
    first, *others = (Thing(*parts) for parts in zip(asset, places, *how, strict=True))
    with open_film(video) as film:
        _load("insert", film)
        made = editing.insert(
            film,
            first.asset,
            first.at,
            out,
            scale=first.scale,
            rotate=first.rotate,
            spin=first.spin,
            depth=first.depth,
            others=others,
            camera_height=camera_height,
            render=render,
            catalogue=catalogue,
            gbuffers=gbuffers,
            settings=settings,
        )
        say(*made.said, *(f"object     {line}" for line in made.placed), *made.written)
        _say_problems(film)
    return 0


def _each(option: str, values: tuple[Any, ...], count: int, default: Any) -> list[Any]:
    """A value for each of `count` things: what was given for each, or once for all, or the default."""
    if len(values) not in {0, 1, count}:
        raise InputError(f"{option} was given {len(values)} times for {count} things", "give it once, or once for each")
    return [*values] if len(values) == count else [values[0] if values else default] * count


def _load(name: Literal["relight", "edit", "insert"], film: Film) -> None:
    """Load what makes a film, and torch with it, behind a bar that stands from the first second (on a terminal)."""
    with tqdm(total=film.frames, desc=f"{name}: loading", unit="frame", leave=False, disable=None):
        getattr(editing, name)


def _say_problems(film: Film) -> None:
    """What could not be used of the film, once, after all that was made of it."""
    say(*(f"lightloom: {film.name}: {problem}" for problem in film.problems), error=True)


def _pixel(option: str, words: str) -> tuple[int, int]:
    """(x, y) of X,Y."""
    found = _PIXEL.fullmatch(words)
    if found is None:
        raise InputError(f"{option} {words!r} is no pixel", "give two numbers such as 320,240")
    return int(found[1]), int(found[2])
