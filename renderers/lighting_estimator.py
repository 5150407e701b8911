"""`LightingEstimator`: a video in, the HDR light around its first camera out.

Light is estimated as E_ldr and E_log and fused back to HDR (as LuxDiT does, arXiv 2509.03680: white point 16, log
maximum 10,000). Whatever is called with a video and gives a `LightingOutput` can stand in its place (`Estimator`):
`SolverLightingEstimator` needs no weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from diffusers.utils import BaseOutput
from torch import Tensor

from manifests.contract.clip import Clip
from manifests.errors import InputError
from renderers.backbone import LightingInputs
from renderers.backbones import backbone_of
from renderers.base import Generator, Renderer, StepCallback, base_seed, checked_size
from renderers.checkpoints.summary import Kind
from renderers.light.panoramas import decode_hdr, encode_ldr, encode_log, resize_panorama
from renderers.light.solver import Fit, solve_light
from renderers.modelspace import Video, channels_last, display, gbuffer_values, model_video, planar
from renderers.sampling.samplers import Prediction, Sampler
from renderers.sampling.windows import WINDOW, Cut
from renderers.shading.view_geometry import pinhole

HEIGHT = 32


@dataclass
class LightingOutput(BaseOutput):
    """Estimated light of one video, in the frame of its first camera.

    Attributes:
        environment: (h, w, 3) float32 linear HDR panorama on `contract.environment.camera_directions(h, w)`: y up,
            centre column +z (behind the camera), in the video's exposure.
        ldr: (h, w, 3) in [0, 1], E_ldr: extended Reinhard, white point 16.
        log: (h, w, 3) in [0, 1], E_log: log1p over log1p(10,000).
    """

    environment: np.ndarray
    ldr: np.ndarray
    log: np.ndarray


class Estimator(Protocol):
    """Anything that estimates light from a video."""

    def __call__(
        self,
        video: Video,
        gbuffers: Mapping[str, np.ndarray] | Clip | None = None,
        *,
        fov_degrees: float = 45.0,
        intrinsics: np.ndarray | None = None,
        camera_rotations: np.ndarray | None = None,
        height: int = HEIGHT,
    ) -> LightingOutput:
        """Estimate the light around the first camera of `video`, as a panorama of `height` x 2 `height` pixels."""


class LightingEstimator(Renderer):
    """Estimates light with a trained network.

    Args:
        unet: network of a registered backbone (`renderers.backbones`).
        scheduler: EulerDiscreteScheduler for "diffusion"; None is the published one.
        vae: autoencoder of backbones that work in latents.
        env_encoder: encoder of the video's (and its G-buffers') latents, of backbones that have one.
        sampler: "diffusion" or "one-step"; None is the backbone's default.
        prediction: "v" or "sample"; None is the backbone's default.
        environment_size: (h, w) of the panorama that a latent network makes; None is the backbone's default.
        training: JSON record of how it was trained.
        licence: licence of the weights (SPDX).
    """

    kind: ClassVar[Kind] = "lighting"
    model_cpu_offload_seq = "env_encoder->unet->vae"  # type: ignore[assignment]  # None in the base
    _optional_components = ["scheduler", "vae", "env_encoder"]  # noqa: RUF012  (as diffusers declares it)

    def __init__(
        self,
        unet: Any,
        scheduler: Any = None,
        vae: Any = None,
        env_encoder: Any = None,
        *,
        sampler: Sampler | None = None,
        prediction: Prediction | None = None,
        environment_size: tuple[int, int] | None = None,
        training: Mapping[str, Any] | None = None,
        licence: str | None = None,
    ) -> None:
        components = {"unet": unet, "scheduler": scheduler, "vae": vae, "env_encoder": env_encoder}
        size = checked_size(environment_size or backbone_of(unet).environment_size)
        self._setup(components, sampler, prediction, training, licence, environment_size=size)

    @torch.no_grad()
    def __call__(
        self,
        video: Video,
        gbuffers: Mapping[str, np.ndarray] | Clip | None = None,
        *,
        fov_degrees: float = 45.0,
        intrinsics: np.ndarray | None = None,
        camera_rotations: np.ndarray | None = None,
        height: int = HEIGHT,
        steps: int = 20,
        window: int = WINDOW,
        generator: Generator = None,
        callback_on_step_end: StepCallback | None = None,
    ) -> LightingOutput:
        """Estimate the light of one video.

        Args:
            video: (T, H, W, 3) sRGB, floats in [0, 1] or uint8; (H, W, 3) for one image; or a Clip, which also gives
                its camera.
            gbuffers: the five G-buffers of the video, or a Clip that holds them, where known.
            fov_degrees: angle of the larger image side, where no intrinsics are known.
            intrinsics: (3, 3) in pixels, or (T, 3, 3) where the camera zooms.
            camera_rotations: (T, 3, 3) from each camera's frame to the first one's; None where it does not turn.
            height: rows of the panorama; it has twice as many columns.
            steps: denoising steps of a "diffusion" checkpoint.
            window: frames that the network sees; a longer video is sampled evenly.
            generator: seeds the noise.
            callback_on_step_end: `callback(pipeline, step, timestep, {"latents": ...})` after every step.
        """
        seen = observe(video, gbuffers, fov_degrees, intrinsics, camera_rotations, frames=window, height=height)
        cropped = seen.cropped(self.backbone.lighting_multiple(self.unet, self.space))
        inputs = cropped.inputs(tuple(self.config["environment_size"]), self._execution_device)
        model = self.backbone.lighting(self.space, self.unet, self.env_encoder, inputs)
        with self.progress_bar(total=self._steps(steps)) as bar:
            sampled = self._draw(
                lambda noisy, timestep, *_: model.predict(noisy, timestep),
                model.shape,
                Cut.whole(model.shape[1], *model.shape[-2:]),
                steps=steps,
                generator=torch.Generator().manual_seed(base_seed(generator)),
                callback=callback_on_step_end,
                bar=bar,
            )
        ldr, log = (image.float().cpu() for image in model.images(sampled))
        self.maybe_free_model_hooks()
        panorama = resize_panorama(decode_hdr(ldr, log), height, 2 * height)
        return LightingOutput(*(channels_last(image[None])[0] for image in (panorama, ldr, log)))


@dataclass(frozen=True)
class SolverLightingEstimator:
    """Estimates light without weights, by inverting the shading of known G-buffers (`renderers.light.solver`).

    Attributes:
        fit: how light is fitted.
        rows: rows of the panorama that is solved for; more would be a larger problem, not a sharper answer.
        frames: a longer video is sampled evenly.
    """

    fit: Fit = field(default_factory=Fit)
    rows: int = 16
    frames: int = WINDOW

    def __call__(
        self,
        video: Video,
        gbuffers: Mapping[str, np.ndarray] | Clip | None = None,
        *,
        fov_degrees: float = 45.0,
        intrinsics: np.ndarray | None = None,
        camera_rotations: np.ndarray | None = None,
        height: int = HEIGHT,
    ) -> LightingOutput:
        """As `LightingEstimator`; G-buffers are needed here."""
        if gbuffers is None:
            raise InputError(
                "light cannot be solved without G-buffers", "give gbuffers, from an InverseRenderer if need be"
            )
        seen = observe(video, gbuffers, fov_degrees, intrinsics, camera_rotations, frames=self.frames, height=height)
        assert seen.gbuffers is not None
        solved = solve_light(
            channels_last(display(seen.rgb)),
            {name: channels_last(value) for name, value in seen.gbuffers.items()},
            intrinsics=seen.intrinsics.squeeze(0).numpy(),  # (1, T, 3, 3) -> (T, 3, 3)
            camera_rotations=None if seen.rotations is None else seen.rotations[0].numpy(),
            height=min(self.rows, height),
            fit=self.fit,
        )
        panorama = resize_panorama(planar(solved[None])[0], height, 2 * height)
        images = (panorama, encode_ldr(panorama), encode_log(panorama))
        return LightingOutput(*(channels_last(image[None])[0] for image in images))


def estimator(checkpoint: str | Path | None = None) -> Estimator:
    """The estimator of a lighting checkpoint, or the solver where there is none."""
    return SolverLightingEstimator() if checkpoint is None else LightingEstimator.from_pretrained(checkpoint)


@dataclass(frozen=True)
class Observation:
    """A checked video with what is known of it: tensors as in `LightingInputs`, (1, T, ...)."""

    rgb: Tensor
    gbuffers: Mapping[str, Tensor] | None
    intrinsics: Tensor
    rotations: Tensor | None

    def cropped(self, multiple: int) -> Observation:
        """Rows below and columns on the right cut off, so that height and width are multiples of `multiple`."""
        height, width = (size // multiple * multiple for size in self.rgb.shape[-2:])
        if not height or not width:
            size = f"{self.rgb.shape[-2]}x{self.rgb.shape[-1]}"
            raise InputError(f"a video of {size} pixels is too small for light to be seen", f"{multiple} are needed")
        known = self.gbuffers
        cut = None if known is None else {name: value[..., :height, :width] for name, value in known.items()}
        return replace(self, rgb=self.rgb[..., :height, :width], gbuffers=cut)

    def inputs(self, size: tuple[int, int], device: torch.device) -> LightingInputs:
        """What a network is shown, on `device`."""
        known = None if self.gbuffers is None else {name: value.to(device) for name, value in self.gbuffers.items()}
        turned = None if self.rotations is None else self.rotations.to(device)
        return LightingInputs(self.rgb.to(device), self.intrinsics.to(device), known, turned, size)


def observe(
    video: Any, gbuffers: Any, fov_degrees: float, intrinsics: Any, camera_rotations: Any, *, frames: int, height: int
) -> Observation:
    """Check what an estimator is given, and keep at most `frames` frames, evenly spread, the first one included."""
    if height < 4:
        raise InputError(f"a panorama of {height}x{2 * height} pixels", "at least 4x8 are needed")
    rgb = model_video(video)
    values = None if gbuffers is None else gbuffer_values(gbuffers)
    if values is not None and values["depth"].shape[1] != rgb.shape[1]:
        raise InputError(f"the video has {rgb.shape[1]} frames, its G-buffers {values['depth'].shape[1]}")
    if values is not None and values["depth"].shape[-2:] != rgb.shape[-2:]:
        raise InputError(f"frames of {tuple(rgb.shape[-2:])} pixels, G-buffers of {tuple(values['depth'].shape[-2:])}")
    if isinstance(video, Clip) and video.camera is not None:
        intrinsics = video.camera.intrinsics if intrinsics is None else intrinsics
        turns = video.camera.camera_to_world[:, :3, :3]
        camera_rotations = turns[0].T @ turns if camera_rotations is None else camera_rotations
    rotations = None
    if camera_rotations is not None:
        rotations = torch.as_tensor(np.asarray(camera_rotations), dtype=torch.float32)[None]
        if rotations.shape[1:] != (rgb.shape[1], 3, 3) or not bool(torch.isfinite(rotations).all()):
            raise InputError(
                f"camera_rotations have shape {tuple(rotations.shape[1:])}, expected ({rgb.shape[1]}, 3, 3)"
            )
    lens = pinhole(fov_degrees, intrinsics, rgb.shape[-2], rgb.shape[-1], rgb.shape[1])
    kept = torch.linspace(0, rgb.shape[1] - 1, min(frames, rgb.shape[1])).round().long()
    return Observation(
        rgb[:, kept],
        None if values is None else {name: value[:, kept] for name, value in values.items()},
        lens if lens.ndim == 2 else lens[:, kept],
        None if rotations is None else rotations[:, kept],
    )
