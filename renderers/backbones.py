"""How each backbone's networks are fed and called: the one difference between backbones, so that nothing else has any.

A wiring says what a network takes beside the noisy sample, in which order and scale; windows, samplers, spaces and
attributes are shared. Pipelines and training objectives go through the same wiring, so what was trained is what is run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from manifests.contract.attributes import ATTRIBUTES, GBUFFERS
from manifests.errors import CheckpointError, InputError
from renderers import modelspace
from renderers.light import panoramas
from renderers.sampling.spaces import Space
from renderers.shading import hints
from renderers.svd import layout
from renderers.svd.environment_encoder import as_tokens

JOINT = "joint"
"""Name of the pass that predicts all G-buffers at once."""

Light = tuple[Tensor, ...]
"""What carries light (or, for the lighting estimator, the video) into a network: tensors (B, T, ...), by frame."""


@dataclass(frozen=True)
class Scene:
    """What a forward renderer renders, B clips of T frames.

    Attributes:
        gbuffers: the five (B, T, C, H, W) as values, depth relative.
        panorama: (B, T, 3, h, w), or (B, 1, 3, h, w) where it stays the same, linear HDR in the camera frame, exposed.
        intrinsics: (B, 3, 3) or (3, 3) in pixels.
        mask: (B, T, 1, H, W) surface coverage, None where unknown.
        behind: (B, T, 3, H, W) the light along every viewing ray, linear and exposed; None is what the panorama has.
    """

    gbuffers: Mapping[str, Tensor]
    panorama: Tensor
    intrinsics: Tensor
    mask: Tensor | None = None
    behind: Tensor | None = None

    def model_space(self) -> dict[str, Tensor]:
        """The G-buffers in model space, native channels, in GBUFFERS order."""
        return {name: modelspace.to_model(name, self.gbuffers[name]) for name in GBUFFERS}


@dataclass(frozen=True)
class View:
    """What a lighting estimator is shown, B clips of T frames, and the panorama it shall give.

    Attributes:
        rgb: (B, T, 3, H, W) in model space.
        rays: (B, 3, H, W) unit viewing rays in the camera frame.
        gbuffers: (B, T, C, H, W) by name, as values, depth relative; None where unknown.
        rotations: (B, T, 3, 3) from each camera's frame to the first one's; None for a camera that does not turn.
        size: (h, w) of the panorama.
    """

    rgb: Tensor
    rays: Tensor
    gbuffers: Mapping[str, Tensor] | None
    rotations: Tensor | None
    size: tuple[int, int]


@dataclass(frozen=True)
class LightingModel:
    """`predict(noisy, timestep) -> prediction`, both of `shape` (B, T, c, h, w) in the network's space.

    `images(latents)` gives E_ldr and E_log (B, 3, h, w) in [0, 1], in the first camera's frame, of what was sampled.
    """

    shape: tuple[int, ...]
    predict: Callable[[Tensor, Tensor], Tensor]
    images: Callable[[Tensor], tuple[Tensor, Tensor]]


class Wiring(Protocol):
    """How one backbone is called.

    `noisy` is (N, T, c, h, w) in the network's space. Conditions have its N and T, or N = 1. `pad` continues images
    (B, T, C, H, W) to the size that the network takes.
    """

    def multiple(self, network: Any) -> int:
        """Height and width, in the network's space, must be multiples of this."""

    def out_channels(self, network: Any) -> int:
        """Channels of the network's output."""

    def inverse(self, network: Any, noisy: Tensor, timestep: Tensor, rgb: Tensor, rows: Tensor) -> Tensor:
        """Prediction for the attributes `rows` (N,) given the encoded video `rgb`, unscaled."""

    def forward(self, network: Any, noisy: Tensor, timestep: Tensor, condition: Tensor, light: Light) -> Tensor:
        """Prediction of the picture given what `forward_inputs` made; all zeros mean "without"."""

    def forward_inputs(
        self, space: Space, encoder: Any | None, scene: Scene, pad: Callable[[Tensor], Tensor]
    ) -> tuple[Tensor, Light]:
        """The condition (B, T, C, h, w) and the light of `forward`, encoded once for all steps."""

    def lighting(self, space: Space, network: Any, encoder: Any | None, view: View) -> LightingModel:
        """A lighting network bound to what it is shown: every condition encoded once."""


class SvdWiring:
    """The published layout (DiffusionRenderer, section 4, and the behaviour of its released code).

    Conditions follow the noisy latent. The RGB latent is not multiplied by the autoencoder's scaling factor, which is
    SVD's own convention; G-buffers and what is denoised are.
    """

    def multiple(self, network: Any) -> int:
        """Every level but the last halves the latents."""
        return int(2 ** (len(network.config.block_out_channels) - 1))

    def out_channels(self, network: Any) -> int:
        """4, or 20 where all attributes are predicted jointly."""
        return int(network.config.out_channels)

    def inverse(self, network: Any, noisy: Tensor, timestep: Tensor, rgb: Tensor, rows: Tensor) -> Tensor:
        """The noisy latent, then the RGB latent."""
        return network(torch.cat([noisy, _to(rgb, noisy)], dim=2), timestep, rows)

    def forward(self, network: Any, noisy: Tensor, timestep: Tensor, condition: Tensor, light: Light) -> Tensor:
        """The noisy latent, then the conditions; light features are keys and values of their frame."""
        tokens = [_to(level, noisy).flatten(0, 1) for level in light]  # (N, T, n, W) -> (N * T, n, W)
        return network(torch.cat([noisy, _to(condition, noisy)], dim=2), timestep, tokens)

    def forward_inputs(
        self, space: Space, encoder: Any | None, scene: Scene, pad: Callable[[Tensor], Tensor]
    ) -> tuple[Tensor, Light]:
        """Five G-buffer latents (20 channels), and the environment encoder's features, level by level."""
        if encoder is None:
            raise CheckpointError("this forward renderer has no env_encoder", "load the complete checkpoint")
        latents = [space.encode(pad(video)) * space.scaling for video in scene.model_space().values()]
        return torch.cat(latents, dim=2), self.features(encoder, light_latents(space, scene.panorama))

    def lighting(self, space: Space, network: Any, encoder: Any | None, view: View) -> LightingModel:
        """E_ldr and E_log latents (8 channels) are denoised beside the E_dir latent; the video gives keys and values.

        The encoder sees the RGB latent, and with 24 channels the five G-buffer latents after it. Every frame gives an
        estimate in the first camera's frame, at that frame's time; the first one is the answer.
        """
        if encoder is None:
            raise CheckpointError("this lighting estimator has no env_encoder", "load the complete checkpoint")
        latents = [space.encode(view.rgb)]
        if encoder.config.in_channels > space.channels("rgb"):
            known = view.gbuffers
            if known is None:
                raise InputError("this lighting estimator was trained with G-buffers", "give gbuffers as well")
            latents += [space.encode(modelspace.to_model(name, known[name])) * space.scaling for name in GBUFFERS]
        features = self.features(encoder, torch.cat(latents, dim=2))
        batch, frames = view.rgb.shape[:2]
        directions = 2 * direction_image(view.rgb.new_zeros(batch, 1, 3, *view.size)) - 1
        condition = space.encode(directions) * space.scaling  # (B, 1, 4, h, w)
        count = 2 * condition.shape[2]

        def predict(noisy: Tensor, timestep: Tensor) -> Tensor:
            return self.forward(network, noisy, timestep, condition, features)

        def images(sampled: Tensor) -> tuple[Tensor, Tensor]:
            ldr, log = (space.decode("rgb", part) for part in sampled[:, :1].split(count // 2, dim=2))
            return modelspace.display(ldr)[:, 0], modelspace.display(log)[:, 0]

        return LightingModel((batch, frames, count, *condition.shape[-2:]), predict, images)

    def features(self, encoder: Any, latents: Tensor) -> Light:
        """Keys and values (B, T, n_i, W_i), level by level, of latents (B, T, C, h, w)."""
        levels = as_tokens(encoder(latents.to(encoder.dtype)))
        return tuple(level.unflatten(0, latents.shape[:2]) for level in levels)  # (B * T, n, W) -> (B, T, n, W)


class TinyWiring:
    """Pixels in, pixels out, one step: the sample is ignored, conditions are images, light is a vector a frame."""

    def multiple(self, network: Any) -> int:
        """As the network says."""
        return int(network.multiple)

    def out_channels(self, network: Any) -> int:
        """9 where all attributes are predicted jointly, else 3."""
        return int(getattr(network, "out_channels", 3))

    def inverse(self, network: Any, noisy: Tensor, timestep: Tensor, rgb: Tensor, rows: Tensor) -> Tensor:
        """RGB in model space, and the attribute's row where attributes are predicted one by one."""
        return network(noisy, timestep, condition=_to(rgb, noisy), attribute=rows)

    def forward(self, network: Any, noisy: Tensor, timestep: Tensor, condition: Tensor, light: Light) -> Tensor:
        """Stacked G-buffers and hints, and the light vector."""
        return network(noisy, timestep, condition=_to(condition, noisy), light=_to(light[0], noisy))

    def forward_inputs(
        self, space: Space, encoder: Any | None, scene: Scene, pad: Callable[[Tensor], Tensor]
    ) -> tuple[Tensor, Light]:
        """The nine channels of the G-buffers, then the hint images; the light vector of `renderers.shading.hints`."""
        stacked = modelspace.stack(scene.model_space())
        panorama = scene.panorama.expand(-1, stacked.shape[1], -1, -1, -1)
        shaded = hints.hints(scene.gbuffers, panorama, scene.intrinsics, mask=scene.mask, behind=scene.behind)
        return pad(torch.cat([stacked, shaded.image], dim=2)), (shaded.light,)

    def lighting(self, space: Space, network: Any, encoder: Any | None, view: View) -> LightingModel:
        """One pass over all frames; what the pixels say is gathered on the panorama inside the network."""
        values = view.gbuffers
        known = None
        if values is not None:
            known = modelspace.stack({name: modelspace.to_model(name, values[name]) for name in GBUFFERS})
        shape = (len(view.rgb), 1, 6, network.height, 2 * network.height)

        def predict(noisy: Tensor, timestep: Tensor) -> Tensor:
            rgb = view.rgb.to(noisy.dtype)
            stacked = None if known is None else known.to(noisy.dtype)
            images = network(condition=rgb, rays=view.rays, gbuffers=stacked, rotations=view.rotations)
            return 2 * images[:, None] - 1  # (B, 6, h, w) in [0, 1] -> (B, 1, 6, h, w) in model space

        def images(sampled: Tensor) -> tuple[Tensor, Tensor]:
            ldr, log = modelspace.display(sampled[:, 0]).split(3, dim=1)
            return ldr, log

        return LightingModel(shape, predict, images)


WIRINGS: dict[str, Wiring] = {"svd": SvdWiring(), "tiny": TinyWiring()}
"""Wiring by the backbone's name."""


def attribute_rows(names: Sequence[str]) -> Tensor:
    """Rows (N,) int64 of the attribute table for `names`; JOINT asks for all five at once. Raises InputError."""
    known = {name: entry.embedding for name, entry in ATTRIBUTES.items()} | {JOINT: layout.JOINT_ROW}
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


def _to(condition: Tensor, noisy: Tensor) -> Tensor:
    """`condition` in the dtype of the noisy sample, for as many clips and frames."""
    return condition.to(noisy.dtype).expand(*noisy.shape[:2], *condition.shape[2:])
