"""Forward rendering, relighting and turning light: pictures against the path-traced ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch

from manifests.contract.environment import Environment
from renderers.light.panoramas import rotate
from training.baselines.forward_baselines import SPLIT_SUM, flattened, forward_baselines, relighting_baselines
from training.evaluation import metrics
from training.evaluation.acceptance import (
    ESTIMATED_LIGHT,
    FROM_INVERSE,
    FROM_INVERSE_METERED,
    METERED,
    NO_LIGHT,
    OURS,
    WITH_LORA,
    WITHOUT_LORA,
    WRONG_LIGHT,
)
from training.evaluation.benchmark import Maps, Shot
from training.evaluation.models import EvaluationModels
from training.evaluation.perceptual import Perceptual
from training.evaluation.scores import Score
from training.evaluation.shadows import ground_light, region_psnr, shadow_turn, swap_partner

Videos = dict[str, np.ndarray]


def score_forward(
    models: EvaluationModels, shots: Sequence[Shot], index: int, predicted: Maps | None, perceptual: Perceptual
) -> tuple[list[Score], Videos]:
    """Scores of shot `index` of a scene rendered from its true G-buffers, and the videos by method.

    `predicted` are the inverse renderer's G-buffers of the same shot, if there are any.
    """
    shot = shots[index]
    partner = shots[swap_partner(index, range(len(shots)))]
    light, exposure, scale = shot.environment, shot.clip.exposure, models.settings.lora_scale
    truth = shot.maps
    videos: Videos = {OURS: models.picture(shot, truth, light, exposure, scale)}
    if models.has_lora:
        name, other = (WITHOUT_LORA, 0.0) if scale else (WITH_LORA, models.lora_scale)
        videos[name] = models.picture(shot, truth, light, exposure, other)
    videos[NO_LIGHT] = models.picture(shot, truth, flattened(shot.panorama), 1.0, scale)
    if partner is not shot:
        videos[WRONG_LIGHT] = models.picture(shot, truth, partner.environment, partner.clip.exposure, scale)
    if predicted is not None:
        videos[FROM_INVERSE] = models.picture(shot, predicted, light, exposure, scale)
        metered = models.metered(shot, predicted, light)
        videos[FROM_INVERSE_METERED] = models.picture(shot, predicted, light, metered, scale)
    if models.lighting is not None:
        videos[ESTIMATED_LIGHT] = models.picture(shot, truth, posed(models.light(shot, predicted), shot), 1.0, scale)
    videos |= forward_baselines(shot)
    return list(_scores("forward", shot, videos, perceptual)), videos


def score_relighting(
    models: EvaluationModels, shots: Sequence[Shot], index: int, predicted: Maps, perceptual: Perceptual
) -> tuple[list[Score], Videos]:
    """Scores of "shot `index` under the next light of its scene": inverse under one, forward under the other."""
    source = shots[index]
    target = shots[swap_partner(index, range(len(shots)))]
    scale = models.settings.lora_scale
    light = target.environment
    videos: Videos = {
        OURS: models.picture(source, predicted, light, target.clip.exposure, scale),
        METERED: models.picture(source, predicted, light, models.metered(source, predicted, light), scale),
    }
    videos |= relighting_baselines(source, target)
    return list(_scores("relighting", target, videos, perceptual)), videos


def score_turn(models: EvaluationModels, shot: Shot) -> tuple[list[Score], Videos]:
    """Scores of a shot in which only the light moves: does the picture follow the light, or the first frame?"""
    light = shot.environment
    still = Environment(light.image, np.repeat(light.rotation[:1], len(light.rotation), axis=0))
    arguments = (shot.clip.exposure, models.settings.lora_scale)
    turned, unturned = (models.picture(shot, shot.maps, one, *arguments) for one in (light, still))
    frozen = np.repeat(shot.panorama[:1], len(shot.panorama), axis=0)  # the camera stands still here
    baselines = forward_baselines(shot), forward_baselines(shot, frozen)
    pairs = {OURS: (turned, unturned)} | {name: (baselines[0][name], baselines[1][name]) for name in baselines[0]}
    shadows = ground_light(shot.video, baselines[0][SPLIT_SUM], shot.ground)
    scores = []
    for method, (one, other) in pairs.items():
        turn = shadow_turn(one, other, shot.video, shadows)
        if turn is not None:
            scores += [
                _score("turn", shot, method, "turn_gain", turn.gain),
                _score("turn", shot, method, "turn_parting", turn.parting),
            ]
    return scores, {OURS: turned, "ours, light standing still": unturned, SPLIT_SUM: baselines[0][SPLIT_SUM]}


def posed(panorama: np.ndarray, shot: Shot) -> np.ndarray:
    """A panorama (h, w, 3) in the first camera's frame as one per frame, (T, h, w, 3): the light stands still."""
    rotations = shot.camera.camera_to_world[:, :3, :3]
    to_frame = torch.from_numpy(rotations.transpose(0, 2, 1) @ rotations[0]).float()  # first camera to camera t
    planar = torch.from_numpy(np.ascontiguousarray(panorama.transpose(2, 0, 1), dtype=np.float32))
    return rotate(planar.expand(len(to_frame), -1, -1, -1), to_frame).permute(0, 2, 3, 1).contiguous().numpy()


def _scores(task: str, shot: Shot, videos: Mapping[str, np.ndarray], perceptual: Perceptual) -> Iterator[Score]:
    """Every picture metric of every video (T, H, W, 3) against the true picture of `shot`."""
    truth = shot.video
    flow = metrics.true_flow(shot.clip, shot.moving)
    split_sum = videos[SPLIT_SUM] if SPLIT_SUM in videos else forward_baselines(shot)[SPLIT_SUM]
    light = ground_light(truth, split_sum, shot.ground)
    for method, video in videos.items():
        yield _score(task, shot, method, "surface_psnr", metrics.psnr(video, truth, shot.surface))
        yield _score(task, shot, method, "psnr", metrics.psnr(video, truth))
        yield _score(task, shot, method, "ssim", metrics.ssim(video, truth))
        yield _score(task, shot, method, perceptual.label, perceptual(video, truth))
        change = metrics.temporal_error(video, truth, flow)
        if change is not None:
            yield _score(task, shot, method, "temporal", change)
        for name, where in (("shadow_psnr", light.shadow), ("lit_psnr", light.lit)):
            value = region_psnr(video, truth, where)
            if value is not None:
                yield _score(task, shot, method, name, value)


def _score(task: str, shot: Shot, method: str, metric: str, value: float) -> Score:
    return Score(shot.part, shot.scene, shot.light, task, method, "", metric, value)
