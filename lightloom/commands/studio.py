"""`lightloom studio`: the editing commands in a browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import Positional

from editing.settings import DEFAULT, FilmRenderers
from lightloom.commands.film_commands import FilmOptions
from lightloom.studio.serving import require_gradio, serve
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
    settings: FilmOptions = DEFAULT,
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
        settings: which renderers, and how.
    """
    if not 0 < port < 1 << 16 or frames < 1 or megabytes < 1:
        raise InputError("--port takes 1 to 65535, --frames and --megabytes at least 1")
    FilmRenderers(settings).require("inverse", "forward")  # before anything is opened
    require_gradio()
    from lightloom.studio.page_content import offered

    serve(settings, offered(clips), host=host, port=port, work=work, most_frames=frames, megabytes=megabytes)
    return 0
