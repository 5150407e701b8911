"""The renderers under test, asked in one way: G-buffers of a shot, a picture of G-buffers under a light, its light."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from manifests.contract.attributes import GBUFFERS
from manifests.contract.environment import Environment
from renderers.cosmos.memory_planner import load_placed
from renderers.forward import ForwardRenderer
from renderers.inverse import InverseRenderer
from renderers.lighting_estimator import LightingEstimator
from renderers.shading.split_sum import automatic_exposure
from renderers.svd.lora import has_lora
from training.evaluation.benchmark import Maps, Shot
from training.evaluation.evaluation_settings import EvaluationSettings


@dataclass(frozen=True)
class EvaluationModels:
    """Loaded pipelines, each None when it is not under test."""

    settings: EvaluationSettings
    inverse: InverseRenderer | None = None
    forward: ForwardRenderer | None = None
    lighting: LightingEstimator | None = None

    @property
    def has_lora(self) -> bool:
        """Whether the forward renderer carries a LoRA."""
        return self.forward is not None and has_lora(self.forward.unet)

    def gbuffers(self, shot: Shot) -> Maps:
        """The inverse renderer on the whole clip: values (T, H, W, C), depth relative."""
        return self._estimated(shot.video, shot)

    def gbuffers_by_frame(self, shot: Shot) -> Maps:
        """The same network as an image model: every frame by itself. Depth is then relative to its frame."""
        frames = [self._estimated(shot.video[t : t + 1], shot) for t in range(shot.clip.frames)]
        return {name: np.concatenate([frame[name] for frame in frames]) for name in frames[0]}

    def picture(
        self,
        shot: Shot,
        gbuffers: Mapping[str, np.ndarray],
        light: Environment | np.ndarray,
        exposure: float,
        lora_scale: float,
    ) -> np.ndarray:
        """The forward renderer: (T, H, W, 3) sRGB in [0, 1] of G-buffers seen by the shot's camera.

        light: an environment with a rotation per frame, or panoramas (T, h, w, 3) in the camera frame, times `exposure`
        """
        assert self.forward is not None
        output = self.forward(
            gbuffers,
            light,
            camera_to_world=shot.camera.camera_to_world,
            intrinsics=shot.camera.intrinsics,
            exposure=exposure,
            guidance=self.settings.guidance,
            lora_scale=lora_scale if self.has_lora else None,
            **self._sampling(shot),
        )
        return np.asarray(output.video)

    @property
    def lora_scale(self) -> float:
        """The strength that the forward renderer's LoRA has where none is asked for."""
        assert self.forward is not None
        return self.forward.backbone.lora_scale

    def metered(self, shot: Shot, gbuffers: Mapping[str, np.ndarray], light: Environment) -> float:
        """The exposure at which the datasets' rule would take what these G-buffers show, as `relight` does."""
        camera = shot.camera
        return automatic_exposure(gbuffers, light, camera_to_world=camera.camera_to_world, intrinsics=camera.intrinsics)

    def light(self, shot: Shot, predicted: Mapping[str, np.ndarray] | None) -> np.ndarray:
        """The lighting estimator: (h, w, 3) linear panorama in the first camera's frame, in the shot's exposure."""
        assert self.lighting is not None
        turns = shot.camera.camera_to_world[:, :3, :3]
        output = self.lighting(
            shot.video,
            predicted,
            intrinsics=shot.camera.intrinsics,
            camera_rotations=turns[0].T @ turns,
            steps=self.settings.steps or self.lighting.backbone.steps,
            generator=self._generator(shot),
        )
        return np.asarray(output.environment)

    def _estimated(self, video: np.ndarray, shot: Shot) -> Maps:
        assert self.inverse is not None
        output: Any = self.inverse(video, **self._sampling(shot))
        return {name: np.asarray(output.gbuffers[name]) for name in GBUFFERS if name in output.gbuffers}

    def _sampling(self, shot: Shot) -> dict[str, Any]:
        return {"steps": self.settings.steps, "window": self.settings.window, "generator": self._generator(shot)}

    def _generator(self, shot: Shot) -> torch.Generator:
        """The noise of a clip: the same one in every call, so that methods differ in nothing else."""
        seed = np.random.SeedSequence([self.settings.seed, shot.scene, shot.light]).generate_state(1)[0]
        return torch.Generator().manual_seed(int(seed))


def load_models(settings: EvaluationSettings) -> EvaluationModels:
    """Load the checkpoints that `settings` name, on the GPU when there is one; errors say what is wrong with one."""
    device = "cuda" if torch.cuda.is_available() else "cpu"

    def loaded(kind: Any, checkpoint: str | None) -> Any:
        if checkpoint is None:
            return None
        pipeline = load_placed(kind, checkpoint, device)
        pipeline.set_progress_bar_config(disable=True)
        return pipeline

    return EvaluationModels(
        settings,
        inverse=loaded(InverseRenderer, settings.inverse),
        forward=loaded(ForwardRenderer, settings.forward),
        lighting=loaded(LightingEstimator, settings.lighting),
    )
