"""The backbones: which networks each has, and how these are fed and called. The one place where backbones differ.

A backbone says what a network takes beside the noisy sample, in which order and scale, and whether it works in pixels
or latents; windows, samplers, encodings and attributes are shared. Pipelines and training objectives go through it
alike, so what was trained is what is run. Another one is a subclass of `Backbone` (`renderers.backbone`), registered in
`BACKBONES`, and a folder with its networks.

A checkpoint's JSON is data from elsewhere: diffusers' own loader imports whatever library and class it names. Here a
class name is only looked up in a table (`component_class`); nothing else is ever imported, whatever a file says.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from manifests.contract.attributes import ATTRIBUTES, GBUFFERS
from manifests.errors import CheckpointError, InputError
from renderers.backbone import Backbone, LightFeatures, LightingInputs, LightingModel, RenderInputs, like
from renderers.checkpoints.summary import Kind
from renderers.cosmos.cosmos_backbone import CosmosBackbone
from renderers.light import panoramas
from renderers.modelspace import DECODE_FRAMES, LatentSpace, PixelSpace, Space, display, stack, to_model
from renderers.shading import hints
from renderers.shading.view_geometry import camera_rays
from renderers.svd.environment_encoder import as_tokens

JOINT = "joint"
"""Name of the pass that predicts all G-buffers at once."""
JOINT_ROW = 15
"""Its row of the attribute table; the published rows end at 5."""


class SvdBackbone(Backbone):
    """The published layout (DiffusionRenderer, section 4, and the behaviour of its released code).

    A network cannot tell a wrong order from bad data. Latents have 4 channels each, and a UNet's input is

        inverse     4 noisy + 4 rgb                                                          -> 4
        joint       5 x 4 noisy + 4 rgb                                                      -> 20   our own
        forward     4 noisy + 5 x 4 G-buffers; light: ldr, log, dir through the env_encoder  -> 4
        lighting    2 x 4 noisy (ldr, log) + 4 dir; the video and, if given, its five
                    G-buffers through the env_encoder                                        -> 8    our own

    Conditions follow the noisy latent. The RGB latent is not multiplied by the autoencoder's scaling factor, which is
    SVD's own convention; G-buffers and what is denoised are.
    """

    name = "svd"
    networks: ClassVar[Mapping[Kind, str]] = {
        "inverse": "InverseUNet",
        "forward": "ForwardUNet",
        "lighting": "ForwardUNet",
    }
    classes: ClassVar[Mapping[str, tuple[str, tuple[str, ...]]]] = {
        "InverseUNet": ("renderers.svd.unet", ("unet",)),
        "ForwardUNet": ("renderers.svd.unet", ("unet",)),
        "EnvironmentEncoder": ("renderers.svd.environment_encoder", ("env_encoder", "nrm_encoder")),
        "EnvironmentDecoder": ("renderers.svd.environment_encoder", ("env_decoder",)),
    }
    sampler = "diffusion"
    prediction = "v"
    latent = True
    encodes_light = True
    hints = False
    environment_size = (512, 512)

    def space(self, vae: Any, frames: int = DECODE_FRAMES, decoder: Any = None) -> Space:
        """Latents of Stable Video Diffusion's autoencoder."""
        return LatentSpace(vae, frames, decoder)

    def multiple(self, network: Any) -> int:
        """Every level but the last halves the latents."""
        return int(2 ** (len(network.config.block_out_channels) - 1))

    def lighting_multiple(self, network: Any, space: Space) -> int:
        """Whole latents; the encoder of the video takes any number of them."""
        return space.factor

    def out_channels(self, network: Any) -> int:
        """4, or 20 where all attributes are predicted jointly."""
        return int(network.config.out_channels)

    def inverse(self, network: Any, noisy: Tensor, timestep: Tensor, rgb: Tensor, rows: Tensor) -> Tensor:
        """The noisy latent, then the RGB latent."""
        return network(torch.cat([noisy, like(rgb, noisy)], dim=2), timestep, rows)

    def forward_inputs(
        self, space: Space, encoder: Any | None, inputs: RenderInputs, pad: Callable[[Tensor], Tensor]
    ) -> tuple[Tensor, LightFeatures]:
        """Five G-buffer latents (20 channels), and the environment encoder's features, level by level."""
        if encoder is None:
            raise CheckpointError("this forward renderer has no env_encoder", "load the complete checkpoint")
        latents = [space.encode(pad(video)) * space.scaling for video in inputs.model_space().values()]
        return torch.cat(latents, dim=2), self.features(encoder, light_latents(space, inputs.light))

    def forward(self, network: Any, noisy: Tensor, timestep: Tensor, condition: Tensor, light: LightFeatures) -> Tensor:
        """The noisy latent, then the conditions; light features are keys and values of their frame."""
        tokens = [like(level, noisy).flatten(0, 1) for level in light]  # (N, T, n, W) -> (N * T, n, W)
        return network(torch.cat([noisy, like(condition, noisy)], dim=2), timestep, tokens)

    def lighting(self, space: Space, network: Any, encoder: Any | None, inputs: LightingInputs) -> LightingModel:
        """E_ldr and E_log latents (8 channels) are denoised beside the E_dir latent; the video gives keys and values.

        The encoder sees the RGB latent, and with 24 channels the five G-buffer latents after it. Every frame gives an
        estimate in the first camera's frame, at that frame's time; the first one is the answer.
        """
        if encoder is None:
            raise CheckpointError("this lighting estimator has no env_encoder", "load the complete checkpoint")
        latents = [space.encode(inputs.rgb)]
        if encoder.config.in_channels > space.channels("rgb"):
            known = inputs.gbuffers
            if known is None:
                raise InputError("this lighting estimator was trained with G-buffers", "give gbuffers as well")
            latents += [space.encode(to_model(name, known[name])) * space.scaling for name in GBUFFERS]
        features = self.features(encoder, torch.cat(latents, dim=2))
        batch, frames = inputs.rgb.shape[:2]
        directions = 2 * direction_image(inputs.rgb.new_zeros(batch, 1, 3, *inputs.size)) - 1
        condition = space.encode(directions) * space.scaling  # (B, 1, 4, h, w)
        count = 2 * condition.shape[2]

        def predict(noisy: Tensor, timestep: Tensor) -> Tensor:
            return self.forward(network, noisy, timestep, condition, features)

        def images(sampled: Tensor) -> tuple[Tensor, Tensor]:
            ldr, log = (space.decode("rgb", part) for part in sampled[:, :1].split(count // 2, dim=2))
            return display(ldr)[:, 0], display(log)[:, 0]

        return LightingModel((batch, frames, count, *condition.shape[-2:]), predict, images)

    def features(self, encoder: Any, latents: Tensor) -> LightFeatures:
        """Keys and values (B, T, n_i, W_i), level by level, of latents (B, T, C, h, w)."""
        levels = as_tokens(encoder(latents.to(encoder.dtype)))
        return tuple(level.unflatten(0, latents.shape[:2]) for level in levels)  # (B * T, n, W) -> (B, T, n, W)


class TinyBackbone(Backbone):
    """Pixels in, pixels out, one step: the sample is ignored, conditions are images, light is a vector per frame."""

    name = "tiny"
    networks: ClassVar[Mapping[Kind, str]] = {
        "inverse": "TinyInverse",
        "forward": "TinyForward",
        "lighting": "TinyLighting",
    }
    classes: ClassVar[Mapping[str, tuple[str, tuple[str, ...]]]] = {
        "TinyInverse": ("renderers.tiny.tiny_renderers", ("unet",)),
        "TinyForward": ("renderers.tiny.tiny_renderers", ("unet",)),
        "TinyLighting": ("renderers.tiny.tiny_lighting", ("unet",)),
    }
    sampler = "one-step"
    prediction = "sample"
    latent = False
    hints = True
    environment_size = (32, 64)

    def space(self, vae: Any, frames: int = DECODE_FRAMES, decoder: Any = None) -> Space:
        """Pixels."""
        return PixelSpace()

    def multiple(self, network: Any) -> int:
        """As the network says."""
        return int(network.multiple)

    def out_channels(self, network: Any) -> int:
        """9 where all attributes are predicted jointly, else 3."""
        return int(getattr(network, "out_channels", 3))

    def inverse(self, network: Any, noisy: Tensor, timestep: Tensor, rgb: Tensor, rows: Tensor) -> Tensor:
        """RGB in model space, and the attribute's row where attributes are predicted one by one."""
        return network(noisy, timestep, condition=like(rgb, noisy), attribute=rows)

    def forward_inputs(
        self, space: Space, encoder: Any | None, inputs: RenderInputs, pad: Callable[[Tensor], Tensor]
    ) -> tuple[Tensor, LightFeatures]:
        """The nine channels of the G-buffers, then the hint images; the light vector of `renderers.shading.hints`."""
        stacked = stack(inputs.model_space())
        panorama = inputs.light.expand(-1, stacked.shape[1], -1, -1, -1)
        shaded = hints.hints(inputs.gbuffers, panorama, inputs.intrinsics, mask=inputs.mask, behind=inputs.behind())
        return pad(torch.cat([stacked, shaded.image], dim=2)), (shaded.light,)

    def forward(self, network: Any, noisy: Tensor, timestep: Tensor, condition: Tensor, light: LightFeatures) -> Tensor:
        """Stacked G-buffers and hints, and the light vector."""
        return network(noisy, timestep, condition=like(condition, noisy), light=like(light[0], noisy))

    def lighting(self, space: Space, network: Any, encoder: Any | None, inputs: LightingInputs) -> LightingModel:
        """One pass over all frames; what the pixels say is gathered on the panorama inside the network."""
        values = inputs.gbuffers
        known = None if values is None else stack({name: to_model(name, values[name]) for name in GBUFFERS})
        height, width = inputs.rgb.shape[-2:]
        lens = inputs.intrinsics[None] if inputs.intrinsics.ndim == 2 else inputs.intrinsics
        rays = camera_rays(height, width, lens).to(inputs.rgb)
        shape = (len(inputs.rgb), 1, 6, network.height, 2 * network.height)

        def predict(noisy: Tensor, timestep: Tensor) -> Tensor:
            rgb = inputs.rgb.to(noisy.dtype)
            stacked = None if known is None else known.to(noisy.dtype)
            images = network(condition=rgb, rays=rays, gbuffers=stacked, rotations=inputs.rotations)
            return 2 * images[:, None] - 1  # (B, 6, h, w) in [0, 1] -> (B, 1, 6, h, w) in model space

        def images(sampled: Tensor) -> tuple[Tensor, Tensor]:
            ldr, log = display(sampled[:, 0]).split(3, dim=1)
            return ldr, log

        return LightingModel(shape, predict, images)


class PhotoBackbone(TinyBackbone):
    """As `tiny`, on an encoder of photographs; the inverse network gives inverse depth, and coverage as a channel."""

    name = "photo"
    networks: ClassVar[Mapping[Kind, str]] = {"inverse": "PhotoInverse"}
    classes: ClassVar[Mapping[str, tuple[str, tuple[str, ...]]]] = {
        "PhotoInverse": ("renderers.photo.photo_inverse", ("unet",))
    }
    inverse_depth = True
    coverage = True


BACKBONES: dict[str, Backbone] = {
    known.name: known for known in (TinyBackbone(), PhotoBackbone(), SvdBackbone(), CosmosBackbone())
}
"""Backbones by name."""

_CLASSES: dict[str, tuple[str, tuple[str, ...]]] = {
    name: place for known in BACKBONES.values() for name, place in known.classes.items()
} | {
    "Judge": ("renderers.label_error", ("judge",)),
    "AutoencoderKLTemporalDecoder": ("diffusers", ("vae",)),
    "AutoencoderKLCosmos": ("diffusers", ("vae",)),
    "AutoencoderTiny": ("diffusers", ("decoder",)),
    "EulerDiscreteScheduler": ("diffusers", ("scheduler",)),
}
"""Every class that a checkpoint may name: its module, and the folders of a checkpoint where it may stand."""

_PUBLISHED = {
    "vae": "AutoencoderKLTemporalDecoder",
    "env_encoder": "EnvironmentEncoder",
    "env_decoder": "EnvironmentDecoder",
    "nrm_encoder": "EnvironmentEncoder",
    "scheduler": "EulerDiscreteScheduler",
}
"""The class that plays the role of a published folder: its own name exists nowhere but in the code it came with."""


def backbone(name: str) -> Backbone:
    """The backbone called `name`; raises CheckpointError naming the known ones."""
    if name not in BACKBONES:
        raise CheckpointError(f"unknown backbone {name!r}", f"known are {', '.join(BACKBONES)}")
    return BACKBONES[name]


def backbone_of(network: object) -> Backbone:
    """The backbone whose network this is, by its class or a class that it derives from."""
    names = {ancestor.__name__ for ancestor in type(network).__mro__}
    for known in BACKBONES.values():
        if names & set(known.networks.values()):
            return known
    raise CheckpointError(f"{type(network).__name__} is a network of no registered backbone ({', '.join(BACKBONES)})")


def named_class(name: str) -> Any:
    """The class registered as `name`, imported from the module this table gives."""
    module, _ = _CLASSES[name]
    return getattr(importlib.import_module(module), name)


def component_class(folder: str, name: str | None, kind: Kind, *, published: bool) -> Any:
    """The class to build from a checkpoint's `folder` (unet, vae, ...), whose JSON names class `name`.

    With `published` (model_index.json is not ours), a name that the table lacks is replaced by the class that plays
    that role in the published layout. Raises CheckpointError for a name that is unknown or stands in the wrong folder.
    """
    known = name in _CLASSES
    if not known and published and folder != "scheduler":
        name = BACKBONES["svd"].networks[kind] if folder == "unet" else _PUBLISHED.get(folder)
    if name not in _CLASSES:
        raise CheckpointError(
            f"class {name!r} is not one that Lightloom loads", f"known are {', '.join(_CLASSES)}", where=folder
        )
    if folder not in _CLASSES[name][1]:
        raise CheckpointError(f"class {name} belongs in {' or '.join(_CLASSES[name][1])}, not here", where=folder)
    if folder == "unet" and name not in [family.networks.get(kind) for family in BACKBONES.values()]:
        raise CheckpointError(
            f"unet: {name} is not the network of any {kind} renderer", "this checkpoint is of another kind"
        )
    return named_class(name)


def attribute_rows(names: Sequence[str]) -> Tensor:
    """Rows (N,) int64 of the attribute table for `names`; JOINT asks for all five at once. Raises InputError."""
    known = {name: entry.embedding for name, entry in ATTRIBUTES.items()} | {JOINT: JOINT_ROW}
    for name in names:
        if known.get(name) is None:
            able = ", ".join(key for key, row in known.items() if row is not None)
            raise InputError(f"no inverse renderer predicts {name!r}", f"the attribute table has {able}")
    return torch.tensor([known[name] for name in names], dtype=torch.int64)


def light_latents(space: Space, panorama: Tensor) -> Tensor:
    """Latents of E_ldr, E_log and E_dir, in this order: (B, T, 12, h, w) of panoramas (B, T, 3, H, W), linear HDR.

    Whether the published code multiplies them by the scaling factor is unknown; here they are, as the G-buffers.
    """
    images = (panoramas.encode_ldr(panorama), panoramas.encode_log(panorama), direction_image(panorama))
    latents = [space.encode(2 * image - 1).expand(-1, panorama.shape[1], -1, -1, -1) for image in images]
    return torch.cat(latents, dim=2) * space.scaling


def direction_image(panorama: Tensor) -> Tensor:
    """E_dir (B, 1, 3, H, W) in [0, 1] on the grid of panoramas (B, T, 3, H, W); the same in every frame."""
    directions = panoramas.encode_directions(*panorama.shape[-2:]).to(panorama)
    return directions.expand(len(panorama), 1, -1, -1, -1)
