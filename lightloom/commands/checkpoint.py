"""`lightloom checkpoint`: what a renderer's weights are, and published weights in Lightloom's layout."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import tyro
from tyro.conf import Positional
from tyro.extras import SubcommandApp

from lightloom.saying import say
from manifests.errors import InputError

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
    kind: Literal["inverse", "forward"] | None = None,
    licence: str | None = None,
    sampler: Literal["diffusion", "one-step"] = "diffusion",
    variant: str | None = None,
    autoencoder: str | None = None,
    whole: bool = False,
) -> int:
    """Turn a published checkpoint into one in Lightloom's layout; every tensor's name and shape is checked first.

    Example: lightloom checkpoint convert downloads/inverse-svd out/inverse --kind inverse --licence LicenseRef-NC
    Example: lightloom checkpoint convert downloads/inverse-cosmos/model.pt out/inverse

    Args:
        source: the published folder (unet, vae, scheduler, ...), or a hub id `owner/name` to download; of `cosmos`, its
            `model.pt`, or a fine-tune of that layout.
        destination: new folder; it appears when it is complete.
        kind: what the checkpoint renders; `cosmos` tells.
        licence: licence of the weights, as an SPDX id or LicenseRef-...; it is recorded, not checked. Of `cosmos`,
            NVIDIA's unless something else is given.
        sampler: how the weights were trained to be sampled; the files do not tell.
        variant: take `NAME.VARIANT.safetensors` files, such as fp16.
        autoencoder: of `cosmos`, folder or hub id with its autoencoder in diffusers' format (`vae`); what lies beside
            the source, or NVIDIA's, if not given.
        whole: of `cosmos`, keep the cross-attention, which is constant and folded otherwise.
    """
    from renderers.checkpoints.conversion import convert as write
    from renderers.checkpoints.summary import inspect
    from renderers.cosmos import published_weights as cosmos

    if cosmos.takes(source):
        licence = licence or cosmos.LICENCE
        try:
            cosmos.convert_cosmos(source, destination, kind=kind, licence=licence, autoencoder=autoencoder, whole=whole)
        except cosmos.LayoutError as error:
            say(*error.differences, error=True)
            raise
    elif kind is None:
        raise InputError("this layout does not say what it renders", "give `kind`", fields=("kind",))
    else:
        write(source, destination, kind, licence=licence or "", sampler=sampler, variant=variant)
    say(*inspect(destination, variant=variant).table().splitlines())
    return 0
