"""Lighting estimation: pictures in, E_ldr and E_log of the light around the first camera out; rendered clips only."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from manifests.errors import TrainingError
from renderers.backbone import LightingInputs, LightingModel
from renderers.light import panoramas
from renderers.lighting_estimator import LightingEstimator
from training.data.batch import Batch
from training.objectives.objective import Called, Losses, Needs, Objective, denoising, grid, one_step


class LightingObjective(Objective):
    """Estimates light as two images, compared with the true environment's on the panorama's solid angles."""

    pipeline = LightingEstimator
    known = ("ldr", "log")

    @property
    def needs(self) -> Needs:
        """All G-buffers, which the network may be shown, and the light, which it is to find."""
        return Needs(panorama=True, multiple=self.backbone.lighting_multiple(self.network, self.space))

    def losses(self, network: nn.Module, batch: Batch) -> Losses:
        """See `Objective`."""
        model = self._model(network, batch)
        ldr, log = self._true(batch, model.shape[1])
        if self.config.sampler == "diffusion":
            with torch.no_grad():
                latents = [self.space.encode(2 * image - 1) for image in (ldr, log)]
                clean = torch.cat(latents, dim=2) * self.space.scaling
            return denoising(model.predict, clean, batch)
        predicted = model.images(one_step(model.predict, model.shape, self.config, batch.rgb))
        height, width = self.config.data.panorama
        weight = panoramas.solid_angles(height, width).to(batch.rgb).expand(batch.size, 1, 1, height, width)
        estimated = {name: image[:, None] for name, image in zip(self.known, predicted, strict=True)}
        return self.parts(estimated, {"ldr": ldr[:, :1], "log": log[:, :1]}, weight)

    def pictures(self, batch: Batch) -> dict[str, Tensor]:
        """Of some clips E_ldr and E_log, each with its truth to the right."""
        if self.config.sampler == "diffusion":
            return {}
        model = self._model(self.network, batch)
        estimated = model.images(one_step(model.predict, model.shape, self.config, batch.rgb))
        true = self._true(batch, 1)
        pairs = [
            (image[clip], answer[clip, 0])
            for clip in range(batch.size)
            for image, answer in zip(estimated, true, strict=True)
        ]
        return {"lighting": grid([[image.float(), answer] for image, answer in pairs])}

    def _model(self, network: nn.Module, batch: Batch) -> LightingModel:
        poses = batch.camera_to_world
        inputs = LightingInputs(
            rgb=batch.rgb,
            intrinsics=batch.intrinsics,
            gbuffers=batch.gbuffers if self.config.gbuffers else None,
            rotations=None if poses is None else _to_first(poses),
            size=self.config.data.panorama,
        )
        return self.backbone.lighting(self.space, Called(network, self.network), self.networks.env_encoder, inputs)

    @torch.no_grad()
    def _true(self, batch: Batch, frames: int) -> tuple[Tensor, Tensor]:
        """E_ldr and E_log (B, frames, 3, h, w) of each frame's light as the first camera would see it."""
        if batch.panorama is None or batch.camera_to_world is None:
            raise TrainingError(
                "lighting is trained on clips with light and camera poses", where=f"clip {batch.keys[0]}"
            )
        light, turned = batch.panorama[:, :frames], _to_first(batch.camera_to_world[:, :frames])
        if frames > 1:
            flat = panoramas.rotate(light.flatten(0, 1), turned.flatten(0, 1))  # (B, T, ...) -> (B * T, ...)
            light = flat.unflatten(0, light.shape[:2])
        return panoramas.encode_ldr(light), panoramas.encode_log(light)


def _to_first(poses: Tensor) -> Tensor:
    """Rotations (B, T, 3, 3) from each camera's frame to the first one's, from poses (B, T, 4, 4)."""
    rotations = poses[:, :, :3, :3]
    return rotations[:, :1].transpose(2, 3) @ rotations
