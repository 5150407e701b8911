"""`lightloom studio`: the editing commands in a browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import Positional

from editing.settings import DEFAULT, Flags, settings_of
from manifests.errors import InputError


def studio(
    clips: Positional[Annotated[tuple[str, ...], tyro.conf.arg(metavar="CLIP")]] = (),
    /,
    *,
    host: str = "127.0.0.1",
    port: int = 7860,
    work: Path | None = None,
    frames: int = 600,
    megabytes: int = 512,
    rendering: Flags = DEFAULT,
) -> int:
    """Relight, re-material and insert objects in a browser. Serves this machine only, until ctrl-c.

    Example: lightloom studio cat.mp4 out/set

    Args:
        clips: clips that the page offers beside uploads: video files, DATASET:KEY, or DATASET for its first 32.
        host: address to serve; anyone who reaches another than the default can use the studio.
        port: to serve at.
        work: folder for uploads and results, kept at the end; a fresh one, removed at the end, if not given.
        frames: longer clips are refused.
        megabytes: larger uploads are refused.
        rendering: which renderers, and how.
    """
    from editing.weights import check
    from lightloom.studio.limits import Limits, require_gradio

    if not 0 < port < 1 << 16 or frames < 1 or megabytes < 1:
        raise InputError("--port takes 1 to 65535, --frames and --megabytes at least 1")
    check(inverse=rendering.inverse, forward=rendering.forward)  # before anything is opened
    require_gradio()
    from lightloom.studio.listing import offered
    from lightloom.studio.serving import serve

    settings_of(rendering)
    serve(rendering, offered(clips), Limits(frames, megabytes), host=host, port=port, work=work)
    return 0
