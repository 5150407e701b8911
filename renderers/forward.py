"""`ForwardRenderer`: G-buffers and light in, a video out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from diffusers.utils import BaseOutput
from torch import Tensor

from manifests.contract.clip import Clip
from manifests.contract.environment import Environment
from manifests.errors import InputError
from renderers.backbone import RenderInputs
from renderers.backbones import backbone_of
from renderers.base import Generator, Renderer, StepCallback, base_seed, checked_size
from renderers.checkpoints.summary import Kind
from renderers.light.panoramas import given_light
from renderers.modelspace import channels_last, display, gbuffer_values
from renderers.sampling.samplers import Guidance, Prediction, Sampler
from renderers.sampling.windows import Tile, Window
from renderers.shading.view_geometry import pinhole
from renderers.svd import lora


@dataclass
class ForwardOutput(BaseOutput):
    """One rendered video: (T, H, W, 3) float32 sRGB in [0, 1]."""

    video: np.ndarray | Tensor


class ForwardRenderer(Renderer):
    """Renders a video from its G-buffers under any light.

    DiffusionRenderer, section 4.2: G-buffers are a condition beside the noisy picture, light comes in as features of a
    panorama in each frame's camera frame. A LoRA that absorbed real footage has a free strength (section 4.3).

    Args:
        unet: network of a registered backbone (`renderers.backbones`).
        scheduler: EulerDiscreteScheduler for "diffusion"; None is the published one.
        vae: autoencoder of backbones that work in latents.
        env_encoder: environment encoder of backbones that have one.
        decoder: distilled decoder in place of the autoencoder's own (`load_small_decoder`).
        sampler: "diffusion" or "one-step"; None is the backbone's default.
        prediction: "v" or "sample"; None is the backbone's default.
        environment_size: (h, w) of the panoramas that the network sees; None is the backbone's default.
        training: JSON record of how it was trained.
        licence: licence of the weights (SPDX).
    """

    kind: ClassVar[Kind] = "forward"
    model_cpu_offload_seq = "env_encoder->unet->vae->decoder"  # type: ignore[assignment]  # None in the base
    _optional_components = ["scheduler", "vae", "env_encoder", "decoder"]  # noqa: RUF012  (as diffusers declares it)

    def __init__(
        self,
        unet: Any,
        scheduler: Any = None,
        vae: Any = None,
        env_encoder: Any = None,
        decoder: Any = None,
        *,
        sampler: Sampler | None = None,
        prediction: Prediction | None = None,
        environment_size: tuple[int, int] | None = None,
        training: Mapping[str, Any] | None = None,
        licence: str | None = None,
    ) -> None:
        given = environment_size or backbone_of(unet).environment_size
        size = None if given is None else checked_size(given)
        components = {"unet": unet, "scheduler": scheduler, "vae": vae, "env_encoder": env_encoder, "decoder": decoder}
        self._setup(components, sampler, prediction, training, licence, environment_size=size)

    @torch.no_grad()
    def __call__(
        self,
        gbuffers: Mapping[str, np.ndarray] | Clip,
        environment: np.ndarray | Environment | None = None,
        *,
        camera_to_world: np.ndarray | None = None,
        fov_degrees: float = 45.0,
        intrinsics: np.ndarray | None = None,
        exposure: float = 1.0,
        steps: int | None = None,
        guidance: Guidance | None = None,
        lora_scale: float | None = None,
        window: int | None = None,
        overlap: int | None = None,
        tile_pixels: int | None = None,
        generator: Generator = None,
        callback_on_step_end: StepCallback | None = None,
        output_type: Literal["np", "pt"] = "np",
    ) -> ForwardOutput:
        """Render one video.

        Args:
            gbuffers: the five G-buffers (T, H, W, C) in the attribute table's conventions, depth in scene units or
                relative; or a Clip, which also gives camera, light and exposure where these are not given. `cosmos`
                does without some of them.
            environment: panorama (h, w, 3), or one per frame (T, h, w, 3), linear HDR, in the camera frame on the grid
                of `camera_directions`; or an Environment in the world. Without one, `cosmos` invents the light.
            camera_to_world: (T, 4, 4) poses, for an Environment.
            fov_degrees: angle of the larger image side, where no intrinsics are known.
            intrinsics: (3, 3) in pixels, or (T, 3, 3) where the camera zooms.
            exposure: factor on the light; with a Clip's own light the clip's exposure multiplies it.
            steps: denoising steps of a "diffusion" checkpoint, by default 20 (`cosmos` 15); "one-step" ones take one.
            guidance: strength of classifier-free guidance, or (first frame's, last frame's); None is 1.2 for
                "diffusion" and 1 (off) for "one-step" and `cosmos`.
            lora_scale: strength of the LoRA, 0 to about 0.5; None is 0.25 where one is loaded (`cosmos` 1).
            window: frames that the network sees at a time, by default 24 (`cosmos` 57, and always 8 k + 1).
            overlap: frames that neighbouring windows share and cross-fade, by default 6 (`cosmos` 16); fewer where
                windows are as short.
            tile_pixels: pictures with more pixels are cut into overlapping tiles; None never cuts, and `cosmos` to the
                size that it was trained on.
            generator: seeds the noise.
            callback_on_step_end: `callback(pipeline, step, timestep, {"latents": ...})` after every step.
            output_type: "np" gives a (T, H, W, 3) array, "pt" a (T, 3, H, W) tensor.

        Returns:
            ForwardOutput, sRGB in [0, 1].
        """
        if output_type not in ("np", "pt"):
            raise InputError(f"output_type is {output_type!r}, expected 'np' or 'pt'")
        partial = self.backbone.partial
        values = gbuffer_values(gbuffers, partial=partial)
        frames, _, height, width = next(iter(values.values())).shape[1:]
        if isinstance(gbuffers, Clip):
            camera = gbuffers.camera
            if camera is not None:
                camera_to_world = camera.camera_to_world if camera_to_world is None else camera_to_world
                intrinsics = camera.intrinsics if intrinsics is None else intrinsics
            if environment is None:
                environment, exposure = gbuffers.environment, exposure * gbuffers.exposure
        if environment is None and not partial:
            raise InputError("no light was given: pass a panorama (h, w, 3), or an Environment with camera_to_world")
        cut = self._cut((height, width), frames, window, overlap, tile_pixels)
        tile = cut.pixels.tiles[0]
        device = self._execution_device
        given = None if environment is None else given_light(environment, frames, camera_to_world, exposure)
        size = self.config["environment_size"] or (tile.height, tile.width)
        matrix = pinhole(fov_degrees, intrinsics, height, width, frames)
        inputs = RenderInputs(
            {name: value.to(device) for name, value in values.items() if name != "mask"},
            None if given is None else given.panorama(*size).to(device),
            matrix.to(device),
            values["mask"].to(device) if "mask" in values else None,
            lambda: None if given is None else given.behind(matrix, height, width).to(device),
        )
        space = self._space(cut)
        condition, light = self.backbone.forward_inputs(space, self.env_encoder, inputs, cut.pixels.pad)
        backbone, network = self.backbone, self.unet

        def predict(noisy: Tensor, timestep: Tensor, unconditional: Tensor, window: Window, tile: Tile) -> Tensor:
            cells = condition.shape[1]
            seen = [tile.take(window.take(condition)), *(window.take(_framed(part, cells)) for part in light)]
            if len(unconditional) > 1:  # guidance: zero conditions, and the same clip with them, in one call
                seen = [_without(part, unconditional) for part in seen]
            return backbone.forward(network, noisy, timestep, seen[0], tuple(seen[1:]))

        if guidance is None:
            guidance = backbone.guidance if self.config["sampler"] == "diffusion" else 1.0
        strength = backbone.lora_scale if lora_scale is None and lora.has_lora(network) else lora_scale or 0.0
        with lora.lora_scale(network, strength), self.progress_bar(total=self._steps(steps)) as bar:
            sampled = self._draw(
                predict,
                (1, condition.shape[1], space.channels("rgb"), *condition.shape[-2:]),
                cut,
                steps=self._steps(steps),
                guidance=guidance,
                generator=torch.Generator().manual_seed(base_seed(generator)),
                callback=callback_on_step_end,
                bar=bar,
            )
        video = display(cut.pixels.crop(space.decode("rgb", sampled))).float()
        self.maybe_free_model_hooks()
        return ForwardOutput(video=channels_last(video) if output_type == "np" else video[0].cpu())


def _framed(part: Tensor, frames: int) -> Tensor:
    """A condition (B, 1 or T, ...) for all T frames, without a copy."""
    return part.expand(-1, frames, *part.shape[2:])


def _without(part: Tensor, unconditional: Tensor) -> Tensor:
    """A condition (1, T, ...) for each of N clips: zeros where `unconditional` (N,)."""
    kept = (~unconditional).to(part.dtype).view(-1, *[1] * (part.ndim - 1))  # (N,) -> (N, 1, ...)
    return part * kept
