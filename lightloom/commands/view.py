"""`lightloom view`: clips in rerun's viewer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import Positional

from lightloom.saying import say
from manifests.errors import InputError


def view(
    dataset: Positional[Annotated[str, tyro.conf.arg(metavar="DATASET")]],
    /,
    *,
    clips: int = 4,
    save: Path | None = None,
) -> int:
    """Open clips in rerun: frames, G-buffers, depth as points in space, the camera's way and the light.

    Example: lightloom view out/set --save out/set.rrd

    Args:
        dataset: folder or URL of a dataset, or DATASET:KEY for one clip.
        clips: how many clips of a dataset to open, from its beginning.
        save: write an .rrd file in place of opening the viewer, for machines without a display.
    """
    from lightloom.viewing import find_clips, show

    if clips < 1:
        raise InputError("at least 1 is needed", where=f"--clips {clips}")
    if save is not None and save.suffix != ".rrd":
        raise InputError("rerun's files end in .rrd", where=f"--save {save}")
    found = find_clips(dataset, clips)
    show(found, dataset, save)
    if save is not None:
        say(f"{save}: {len(found)} clips; `rerun {save}` shows them")
    return 0
