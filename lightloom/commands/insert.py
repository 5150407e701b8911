"""`lightloom insert`: an object put into a video, lit by its light, throwing its shadow."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import Positional

from editing.settings import DEFAULT, Flags, settings_of
from manifests.errors import InputError

_PIXEL = re.compile(r"(\d{1,5}),(\d{1,5})")


def insert(
    video: Positional[Annotated[str, tyro.conf.arg(metavar="VIDEO")]],
    /,
    *,
    asset: str,
    at: Annotated[str, tyro.conf.arg(metavar="X,Y")],
    out: Path,
    scale: float | None = None,
    rotate: float = 0.0,
    depth: float | None = None,
    catalogue: Path | None = None,
    gbuffers: Path | None = None,
    rendering: Flags = DEFAULT,
) -> int:
    """Put an object into a video: it stands on what the first frame shows at a pixel, in the video's own light.

    Example: lightloom insert cat.mp4 --asset chair.glb --at 320,400 --out out/chair.mp4

    Args:
        video: video file, folder of frames, or DATASET:KEY, whose true G-buffers, camera and light are used.
        asset: mesh file (.glb, .gltf, .obj, .fbx, .usd), or uid of a mesh of the catalogue.
        at: pixel of the first frame, from the top left.
        out: the .mp4 to write.
        scale: length of the longest side in scene units; a quarter of the picture at that depth, if not given.
        rotate: degrees about the upright axis.
        depth: distance along the viewing axis to stand at, in place of what is seen at the pixel.
        catalogue: Parquet file of `lightloom assets build`; the built-in one if not given.
        gbuffers: folder for the G-buffers with the object, as a clip of exact codec.
        rendering: which renderers, and how.
    """
    from datagen.insert_render import find_asset
    from editing.film import open_film
    from editing.insertion import Place, insert_into
    from editing.weights import check, load_forward
    from lightloom.commands.assets import load

    settings = settings_of(rendering)
    found = _PIXEL.fullmatch(at)
    if found is None:
        raise InputError(f"--at {at!r} is no pixel", "give two numbers such as 320,240")
    place = Place((int(found[1]), int(found[2])), scale, rotate, depth)
    check(forward=rendering.forward)  # before anything is read
    thing = find_asset(asset, load(catalogue))
    with open_film(video) as film:
        if film.clip is None:
            check(inverse=rendering.inverse)
        forward = load_forward(rendering.forward, rendering.device, lora=film.clip is None)
        for line in insert_into(film, thing, place, forward, out, settings, rendering, gbuffers):
            print(line)
    return 0
