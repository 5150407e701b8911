"""`lightloom relight`: a video under another light."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import Positional

from editing.settings import DEFAULT, Flags, settings_of
from manifests.errors import InputError


def relight(
    video: Positional[Annotated[str, tyro.conf.arg(metavar="VIDEO")]],
    /,
    *,
    env: tuple[str, ...],
    out: Path,
    rotate: float = 0.0,
    gbuffers: Path | None = None,
    exr: bool = False,
    show: bool = False,
    rendering: Flags = DEFAULT,
) -> int:
    """Show a video under another light; under several at once, as a comparison sheet. Keeps frame rate and size.

    Example: lightloom relight cat.mp4 --env courtyard --rotate 360 --out out/cat.mp4

    Args:
        video: video file, folder of frames, or DATASET:KEY.
        env: .hdr or .exr files, or built-in lights such as courtyard or studio/0007.
        out: the .mp4 to write.
        rotate: degrees that the light turns over the video.
        gbuffers: folder for the G-buffers, as a video and a still each.
        exr: write their exact values too, an EXR a frame.
        show: write the video's own light, estimated from its beginning, beside OUT (.light.exr, .light.png).
        rendering: which renderers, and how.
    """
    from editing.film import open_film
    from editing.lights import find_light
    from editing.relighting import relight_film
    from editing.weights import check, load_estimator, load_forward, load_inverse

    settings = settings_of(rendering)
    if not env:
        raise InputError("no light was given", "give --env FILE or NAME, several for a comparison")
    if exr and gbuffers is None:
        raise InputError("--exr says how G-buffers are written", "give --gbuffers FOLDER too")
    check(inverse=rendering.inverse, forward=rendering.forward)  # before anything is read
    lights = [find_light(name) for name in env]
    with open_film(video) as film:
        written = relight_film(
            film,
            lights,
            load_inverse(rendering.inverse, rendering.device),
            load_forward(rendering.forward, rendering.device),
            out,
            rotate=rotate,
            settings=settings,
            gbuffers=gbuffers,
            exact=exr,
            estimator=load_estimator(rendering.lighting, rendering.device) if show else None,
        )
    for path in written:
        print(path)
    return 0
