"""`lightloom checkpoint`: what a renderer's weights are, and published weights in Lightloom's layout."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import tyro
from tyro.conf import Positional
from tyro.extras import SubcommandApp

from lightloom.saying import say

app = SubcommandApp()
Folder = Annotated[Path, tyro.conf.arg(metavar="CHECKPOINT")]


@app.command(name="inspect")
def inspect_(checkpoint: Positional[Folder], /, *, variant: str | None = None, json: bool = False) -> int:
    """Say what a checkpoint holds: kind, backbone, attributes, sampler, tensors, training, licence. Reads no weights.

    Example: lightloom checkpoint inspect out/inverse

    Args:
        checkpoint: folder of the checkpoint, in Lightloom's layout or as published.
        variant: look at `NAME.VARIANT.safetensors` files, such as fp16.
        json: print JSON in place of a table.
    """
    from renderers.checkpoints.summary import inspect

    summary = inspect(checkpoint, variant=variant)
    say(*(summary.json() if json else summary.table()).splitlines())
    return 0


@app.command
def convert(
    source: Positional[Annotated[str, tyro.conf.arg(metavar="SOURCE")]],
    destination: Positional[Annotated[Path, tyro.conf.arg(metavar="DESTINATION")]],
    /,
    *,
    kind: Literal["inverse", "forward"],
    licence: str,
    sampler: Literal["diffusion", "one-step"] = "diffusion",
    variant: str | None = None,
) -> int:
    """Turn a published checkpoint into one in Lightloom's layout; every tensor's name and shape is checked first.

    Example: lightloom checkpoint convert downloads/inverse-svd out/inverse --kind inverse --licence LicenseRef-NC

    Args:
        source: the published folder (unet, vae, scheduler, ...), or a hub id `owner/name` to download.
        destination: new folder; it appears when it is complete.
        kind: what the checkpoint renders.
        licence: licence of the weights, as an SPDX id or LicenseRef-...; it is recorded, not checked.
        sampler: how the weights were trained to be sampled; the files do not tell.
        variant: take `NAME.VARIANT.safetensors` files, such as fp16.
    """
    from renderers.checkpoints.conversion import convert as write
    from renderers.checkpoints.summary import inspect

    write(source, destination, kind, licence=licence, sampler=sampler, variant=variant)
    say(*inspect(destination, variant=variant).table().splitlines())
    return 0
