"""How the cosmos networks are fed and called: order and masks of conditions, sign, scale and time of predictions."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from manifests.errors import CheckpointError
from renderers.backbone import Backbone, LightFeatures, LightingInputs, LightingModel, RenderInputs, like
from renderers.checkpoints.summary import Kind
from renderers.cosmos.cosmos_space import STRIDE, CosmosSpace
from renderers.light import panoramas
from renderers.modelspace import DECODE_FRAMES, Space
from renderers.sampling.windows import Cut, Window, WindowPlan, plan_canvas, plan_grouped

CONDITIONS = ("basecolor", "normal", "metallic", "roughness", "depth")
"""The forward renderer's G-buffers, in its order; environment images follow: ldr, log, directions."""
LIGHT = "environment"
TRAINED = (704, 1280)
"""Height and width of the pictures that the published networks were trained on."""
SIGMA_DATA = 0.5
_TILE_PIXELS = 256 * 256


class CosmosBackbone(Backbone):
    """The published 7 B layout: DiffusionRenderer on Cosmos.

    Networks denoise and see latents of deviation 0.5 (`SIGMA_DATA`), where Lightloom's samplers have unit variance: in
    these the noise levels are twice as high, the network's time is that of half the level, and v is minus its output
    (Karras et al. 2022, table 1). A transformer's input is, 16 channels a latent,

        inverse     16 noisy + 16 rgb                                                  -> 16
        forward     16 noisy + 8 x (16 + 1 mask): basecolor, normal, metallic,
                    roughness, depth, E_ldr, E_log, directions                         -> 16

    A mask is 1 where a condition is given; one that is not has zeros for latents and mask. Conditions are halved
    latents, and not scaled with the noise level.
    """

    name = "cosmos"
    networks: ClassVar[Mapping[Kind, str]] = {
        "inverse": "CosmosInverseTransformer",
        "forward": "CosmosForwardTransformer",
    }
    classes: ClassVar[Mapping[str, tuple[str, tuple[str, ...]]]] = {
        "CosmosInverseTransformer": ("renderers.cosmos.cosmos_transformer", ("unet",)),
        "CosmosForwardTransformer": ("renderers.cosmos.cosmos_transformer", ("unet",)),
        "CosmosAutoencoder": ("renderers.cosmos.cosmos_autoencoder", ("vae",)),
    }
    sampler = "diffusion"
    prediction = "v"
    latent = True
    hints = False
    native = max(TRAINED)
    environment_size = None
    stride = STRIDE
    sigmas = (0.02 / SIGMA_DATA, 80.0 / SIGMA_DATA)
    steps = 15
    window = 57
    overlap = 16
    guidance = 1.0
    lora_scale = 1.0
    partial = True
    half = True
    memory = 16.0
    frame_bytes = 250  # of pictures, maps and gains: the networks work in the GPU's memory

    def space(self, vae: Any, frames: int = DECODE_FRAMES, decoder: Any = None) -> Space:
        """Latents of the video autoencoder; with fewer `frames` at a time, tiles go through it instead."""
        if decoder is not None:
            raise CheckpointError("there is no small decoder for latents of videos", "load the renderer without one")
        return CosmosSpace(vae, None if frames >= DECODE_FRAMES else frames * _TILE_PIXELS)

    def multiple(self, network: Any) -> int:
        """Patches of 2 x 2 latents."""
        return 2

    def out_channels(self, network: Any) -> int:
        """16: one attribute a pass."""
        return int(network.config.out_channels)

    def cut(
        self, space: Space, network: Any, size: tuple[int, int], frames: int, windows: tuple[int, int], area: int | None
    ) -> Cut:
        """Windows of 8 k + 1 frames on the grid of latent frames; pictures and tiles of the aspect trained on.

        A picture that is no larger than those is continued, mirrored, to their aspect; a larger one is cut into tiles
        of it. `area` None is their size. One picture is shown nine times to an autoencoder that knows no single ones.
        """
        pixels = plan_canvas(*size, self.multiple(network) * space.factor, TRAINED, area)
        plan = plan_grouped(frames, *windows, STRIDE)
        if frames == 1 and not getattr(space, "images", True):
            plan = WindowPlan(1, (Window(0, 1, STRIDE + 1),))
        return Cut(plan, pixels, pixels.divided(space.factor), STRIDE)

    def agreed(self, space: Any, cut: Cut, output: Tensor, noisy: Tensor, timestep: Tensor) -> Tensor:
        """v predictions whose denoised latents agree where windows overlap.

        Latents are cross-faded as the autoencoder has them: by its place in the window the same one is normalised
        differently. A window's first latent is one picture, its neighbours' latents there are eight: it stays.
        """
        if len(cut.plan.windows) == 1:
            return output
        sigma = (4 * timestep.float()).exp()
        root = (sigma**2 + 1).sqrt()
        denoised = (noisy.float() - sigma * output.float()) / root
        raw = [space.raw(window.take(denoised)) for window in cut.cell_plan.windows]
        shared = cut.groups
        whole = shared.blend(window[:, 1:] for window in raw)
        windows = [
            space.normalised(torch.cat([window[:, :1], place.take(whole)], dim=1))
            for window, place in zip(raw, shared.windows, strict=True)
        ]
        return output - ((torch.cat(windows, dim=1) - denoised) * root / sigma).to(output.dtype)

    def inverse(self, network: Any, noisy: Tensor, timestep: Tensor, rgb: Tensor, rows: Tensor) -> Tensor:
        """The noisy latents, then the RGB latents."""
        seen = SIGMA_DATA * like(rgb, noisy)
        return -network(torch.cat([noisy, seen], dim=2), _time(timestep), rows)

    def forward_inputs(
        self, space: Space, encoder: Any | None, inputs: RenderInputs, pad: Callable[[Tensor], Tensor]
    ) -> tuple[Tensor, LightFeatures]:
        """Five G-buffers and three environment images, latents and mask of each: 85 and 51 channels."""
        given = inputs.model_space()
        latents = {name: space.encode(pad(given[name])) for name in CONDITIONS if name in given}
        blank = torch.zeros_like(next(iter(latents.values())))
        buffers = [_masked(latents.get(name, blank), inputs.dropped.get(name), name in given) for name in CONDITIONS]
        if inputs.panorama is None:
            return torch.cat(buffers, dim=2), ()
        frames = next(iter(given.values())).shape[1]
        directions = panoramas.panorama_directions(*inputs.panorama.shape[-2:]).to(inputs.panorama)
        images = (
            2 * panoramas.encode_ldr(inputs.panorama) - 1,
            2 * panoramas.encode_log(inputs.panorama) - 1,
            directions.expand(len(inputs.panorama), 1, -1, -1, -1),
        )
        videos = [image.expand(-1, frames, -1, -1, -1) for image in images]
        light = [_masked(space.encode(video), inputs.dropped.get(LIGHT), present=True) for video in videos]
        return torch.cat(buffers, dim=2), (torch.cat(light, dim=2),)

    def forward(self, network: Any, noisy: Tensor, timestep: Tensor, condition: Tensor, light: LightFeatures) -> Tensor:
        """The noisy latents, the G-buffers, the light or zeros."""
        seen = [noisy, like(condition, noisy)]
        missing = network.config.in_channels - noisy.shape[2] - condition.shape[2]
        seen.append(like(light[0], noisy) if light else noisy.new_zeros(1).expand(*_planes(noisy, missing)))
        return -network(torch.cat(seen, dim=2), _time(timestep))

    def lighting(self, space: Space, network: Any, encoder: Any | None, inputs: LightingInputs) -> LightingModel:
        """There is none."""
        raise CheckpointError(f"backbone {self.name} has no lighting network", "use one of another backbone")


def _time(timestep: Tensor) -> Tensor:
    """log(sigma) / 4 of latents of deviation 0.5."""
    return timestep + 0.25 * math.log(SIGMA_DATA)


def _masked(latents: Tensor, dropped: Tensor | None, present: bool) -> Tensor:
    """Halved latents (B, T, 16, h, w) with their mask: (B, T, 17, h, w), zeros where withheld."""
    mask = latents.new_full(_planes(latents, 1), float(present))
    masked = torch.cat([SIGMA_DATA * latents, mask], dim=2)
    return masked if dropped is None else masked * (~dropped).to(masked).view(-1, 1, 1, 1, 1)


def _planes(like_this: Tensor, channels: int) -> tuple[int, ...]:
    """The shape of a video of another number of channels."""
    return (*like_this.shape[:2], channels, *like_this.shape[3:])
