"""The light convention, proved: what Cycles renders is what our stored environment and rotation predict."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from datagen.blender import session
from datagen.blender.render import render_scene
from manifests.contract.clip import Clip
from manifests.contract.environment import Environment, encode_ldr, sample_latlong
from tests.datagen import analytic


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    session.start("CPU")
    folder = tmp_path_factory.mktemp("mirror")
    return render_scene(analytic.mirror_ball(), analytic.resolver(folder), folder).clips[0]


def reflections(clip: Clip, frame: int) -> tuple[np.ndarray, np.ndarray]:
    """(inside (H, W), world direction (H, W, 3)) that each pixel of the ball mirrors."""
    assert clip.camera is not None
    inside, normals, _ = analytic.sphere_hits(clip.camera, frame, clip.size)
    rays = clip.camera.rays(*clip.size) @ clip.camera.camera_to_world[frame, :3, :3].T
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    return inside, rays - 2 * (rays * normals).sum(-1, keepdims=True) * normals


def psnr(clip: Clip, predicted: list[np.ndarray], where: list[np.ndarray]) -> float:
    """PSNR in dB of the tone-mapped pixels `where`, over all frames."""
    errors = [
        (encode_ldr(image[inside]) - encode_ldr(clip.arrays["rgb"][frame][inside])) ** 2
        for frame, (image, inside) in enumerate(zip(predicted, where, strict=True))
    ]
    return float(-10 * np.log10(np.concatenate(errors).mean()))


def mirrored_by(clip: Clip, environment: Environment) -> float:
    hits = [reflections(clip, frame) for frame in range(clip.frames)]
    predicted = [environment.radiance(direction, frame) for frame, (_, direction) in enumerate(hits)]
    return psnr(clip, predicted, [inside for inside, _ in hits])


def test_mirror_ball_shows_the_stored_environment(clip: Clip) -> None:
    assert clip.environment is not None
    assert mirrored_by(clip, clip.environment) > 38


def test_background_shows_the_stored_environment(clip: Clip) -> None:
    assert clip.environment is not None and clip.camera is not None
    predicted, where = [], []
    for frame in range(clip.frames):
        rays = clip.camera.rays(*clip.size) @ clip.camera.camera_to_world[frame, :3, :3].T
        rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
        predicted.append(clip.environment.radiance(rays, frame))
        where.append(clip.arrays["mask"][frame, ..., 0] == 0)
    assert min(inside.sum() for inside in where) > 100
    assert psnr(clip, predicted, where) > 38


@pytest.mark.parametrize("wrong", ["mirrored", "upside down", "inverse rotation", "no rotation", "quarter turn"])
def test_any_other_convention_fails_the_mirror_ball(clip: Clip, wrong: str) -> None:
    assert clip.environment is not None
    image, rotation = clip.environment.image, clip.environment.rotation
    quarter = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    other = {
        "mirrored": Environment(image[:, ::-1], rotation),
        "upside down": Environment(image[::-1], rotation),
        "inverse rotation": Environment(image, np.swapaxes(rotation, 1, 2)),
        "no rotation": Environment(image, np.broadcast_to(np.eye(3), rotation.shape)),
        "quarter turn": Environment(image, rotation @ quarter),
    }[wrong]
    assert mirrored_by(clip, other) < 20


def test_camera_frame_images_follow_the_released_direction_convention(clip: Clip) -> None:
    """E_dir's grid: the direction (sin t sin p, cos t, sin t cos p) in the camera frame, centre column +z."""
    assert clip.environment is not None and clip.camera is not None
    predicted, mirrored, where = [], [], []
    height, width = 128, 256
    for frame in range(clip.frames):
        inside, world = reflections(clip, frame)
        pose = clip.camera.camera_to_world[frame]
        image = clip.environment.in_camera(pose, frame, height, width)
        x, y, z = np.moveaxis(world @ pose[:3, :3], -1, 0)
        # sample_latlong finds (x, y, z) of a z-up frame at the centre column for +x, the left edge side for +y
        found = sample_latlong(image, np.stack([z, -x, y], axis=-1))
        predicted.append(found)
        mirrored.append(sample_latlong(image, np.stack([z, x, y], axis=-1)))
        where.append(inside)
    assert psnr(clip, predicted, where) > 34
    assert psnr(clip, mirrored, where) < 20


def test_mirrored_light_is_stored_as_it_is_rendered(tmp_path: Path, cpu: None) -> None:
    spec = analytic.mirror_ball(frames=1)
    light = msgspec.structs.replace(spec.lights[0], mirror=True, strength=2.0)
    rendered = render_scene(analytic.mirror_ball(frames=1, lights=(light,)), analytic.resolver(tmp_path), tmp_path)
    clip = rendered.clips[0]
    assert clip.environment is not None
    np.testing.assert_allclose(clip.environment.image, 2 * analytic.lobes()[:, ::-1], rtol=1e-6)
    assert mirrored_by(clip, clip.environment) > 38
