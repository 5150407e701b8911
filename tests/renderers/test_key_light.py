"""The main light of a picture, found in its shading and shadows."""

from __future__ import annotations

import numpy as np
import pytest

from manifests.contract.camera import Camera, intrinsics_from_fov
from manifests.contract.color import srgb_encode
from manifests.contract.environment import camera_directions
from renderers.light.key_light import with_key_light

HEIGHT, WIDTH = 72, 96
UP = np.array([0.0, np.cos(0.6), np.sin(0.6)])  # the camera looks down
BALLS = ((0.0, 0.35, 3.0, 0.35), (-0.9, 0.25, 3.6, 0.25), (0.8, 0.3, 2.5, 0.3))
"""x, height of the centre above the ground, distance along it, radius; the camera is 1.6 above the ground."""


def place(x: float, height: float, along: float) -> np.ndarray:
    """A point in the camera's frame."""
    ahead = np.array([0.0, np.sin(0.6), -np.cos(0.6)])
    return np.array([x, 0.0, 0.0]) + (height - 1.6) * UP + along * ahead


def hits(origin: np.ndarray, towards: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distance (...) along unit rays to the ground or a ball, inf if there is none, and the normal there (..., 3)."""
    falling = towards @ UP
    with np.errstate(divide="ignore", invalid="ignore"):
        best = np.where(falling < -1e-6, -((origin @ UP) + 1.6) / falling, np.inf)
    best = np.where(best > 1e-4, best, np.inf)
    normal = np.broadcast_to(UP, (*best.shape, 3)).copy()
    for x, height, along, radius in BALLS:
        apart = origin - place(x, height, along)
        half = (apart * towards).sum(axis=-1)
        inside = half**2 - (apart**2).sum(axis=-1) + radius**2
        away = np.where(inside > 0, -half - np.sqrt(np.maximum(inside, 0)), np.inf)
        nearer = (away > 1e-3) & (away < best)
        best = np.where(nearer, away, best)
        normal = np.where(nearer[..., None], (apart + np.where(nearer, away, 0)[..., None] * towards) / radius, normal)
    return best, normal


@pytest.mark.parametrize("azimuth", [0.7, 2.6, -1.9])
def test_a_sun_is_found_by_its_shading_and_shadows_and_is_as_strong_as_it_is(azimuth):
    right = np.array([1.0, 0.0, 0.0])
    ahead = np.cross(UP, right)
    sun = np.sin(0.8) * UP + np.cos(0.8) * (np.cos(azimuth) * right + np.sin(azimuth) * ahead)
    lens = intrinsics_from_fov(50.0, HEIGHT, WIDTH)
    planar_rays = Camera(lens, np.eye(4)[None]).rays(HEIGHT, WIDTH)
    rays = planar_rays / np.linalg.norm(planar_rays, axis=-1, keepdims=True)
    away, normal = hits(np.zeros(3), rays)
    there = np.isfinite(away) & (away < 12)
    places = rays * np.where(there, away, 0)[..., None]
    free = np.isinf(hits(places + 2e-3 * normal, np.broadcast_to(sun, rays.shape))[0])
    ambient, direct = 0.25 * (1 + 0.5 * normal @ UP), 0.6 * np.maximum(normal @ sun, 0) * free / (sun @ UP)
    colour = np.random.default_rng(1).uniform(0.3, 0.7, (HEIGHT // 4, WIDTH // 4, 1)).repeat(4, 0).repeat(4, 1)
    own = np.repeat(colour, 3, axis=-1)
    rgb = srgb_encode(np.clip(own * (ambient + direct)[..., None] * there[..., None], 0, 1))
    depth = np.where(there, away * -rays[..., 2], np.inf)
    maps = {"basecolor": own, "normal": normal, "depth": depth[..., None], "mask": there[..., None].astype(float)}
    smooth = np.full((16, 32, 3), 0.9)
    made = with_key_light(smooth, rgb, {name: values.astype(np.float32) for name, values in maps.items()}, lens, UP)
    directions = camera_directions(*made.shape[:2])
    found = directions.reshape(-1, 3)[made[..., 1].argmax()]
    assert np.degrees(np.arccos(found @ sun)) < 15
    solid = np.sin((np.arange(64) + 0.5) / 64 * np.pi)[:, None] * np.maximum(directions @ UP, 0)
    received = (made[..., 1] * solid).sum() / solid.sum()
    assert received == pytest.approx(0.9, rel=0.03)
    share = 1 - (np.median(made[..., 1]) * solid).sum() / solid.sum() / received
    assert share == pytest.approx(0.6 / 0.975, abs=0.15)


def test_a_picture_that_says_nothing_gets_a_usual_light_from_above():
    lens = intrinsics_from_fov(50.0, 20, 30)
    flat = {
        "basecolor": np.full((20, 30, 3), 0.5, np.float32),
        "normal": np.broadcast_to(UP.astype(np.float32), (20, 30, 3)),
        "depth": np.full((20, 30, 1), np.inf, np.float32),
        "mask": np.zeros((20, 30, 1), np.float32),
    }
    made = with_key_light(np.ones((16, 32, 3)), np.full((20, 30, 3), 0.5), flat, lens, UP)
    directions = camera_directions(64, 128)
    assert np.isfinite(made).all()
    assert directions.reshape(-1, 3)[made[..., 1].argmax()] @ UP > np.cos(np.radians(15))
    assert made.min() == pytest.approx(0.6, abs=0.01)
