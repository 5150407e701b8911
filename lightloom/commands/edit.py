"""`lightloom edit`: something in a video, made of another material."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import Positional

from editing.settings import DEFAULT, Flags, settings_of


def edit(
    video: Positional[Annotated[str, tyro.conf.arg(metavar="VIDEO")]],
    /,
    *,
    out: Path,
    change: Annotated[tuple[str, ...], tyro.conf.arg(name="set", metavar="NAME=VALUE")] = (),
    select: str | None = None,
    mask: Path | None = None,
    pick: Annotated[str | None, tyro.conf.arg(metavar="X,Y")] = None,
    tolerance: float = 0.12,
    strength: float | None = None,
    truth: bool = False,
    mask_out: Path | None = None,
    show: bool = False,
    rendering: Flags = DEFAULT,
) -> int:
    """Change the material of something in a video; all else stays as it is. Keeps frame rate and size.

    Example: lightloom edit cat.mp4 --pick 120,80 --set roughness=0.1 metallic=1 basecolor=#c0c0c0 --out out/cat.mp4

    Args:
        video: video file, folder of frames, or DATASET:KEY.
        out: the .mp4 to write.
        change: roughness=0..1, metallic=0..1, basecolor=#rrggbb or basecolor=texture.png.
        select: `instance=N` of a synthetic clip.
        mask: what to edit in white: a picture for the first frame, or a video for all of them.
        pick: a pixel of the first frame, from its top left; what is connected to it and looks alike is selected.
        tolerance: how alike, from 0 (equal) to 1.
        strength: how much of the change is made, 0 to 1. By default 1 with --truth; without, 0.85, and 0.5 where only
            roughness changes, since estimates exaggerate.
        truth: use the true G-buffers, camera and light of a synthetic clip in place of estimated ones.
        mask_out: write the selection to this .mp4 too.
        show: write the light, estimated from the beginning, beside OUT (.light.exr, .light.png).
        rendering: which renderers, and how.
    """
    from editing.film import open_film
    from editing.material_edits import edit_film, parse_material
    from editing.selection import Choice
    from editing.weights import check, load_estimator, load_forward, load_inverse

    settings = replace(settings_of(rendering), strength=strength)
    choice = Choice.parse(select, mask, pick, tolerance)
    material = parse_material(change)
    check(forward=rendering.forward, **({} if truth else {"inverse": rendering.inverse}))  # before anything is read
    with open_film(video) as film:
        written = edit_film(
            film,
            choice,
            material,
            None if truth else load_inverse(rendering.inverse, rendering.device),
            load_forward(rendering.forward, rendering.device, lora=not truth),
            load_estimator(rendering.lighting, rendering.device),
            out,
            settings=settings,
            mask_out=mask_out,
            show=show,
        )
    for path in written:
        print(path)
    return 0
