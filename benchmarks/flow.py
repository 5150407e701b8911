"""How far `flow` leads from where the other frame's own depth says that a surface came from.

    python -m benchmarks.flow --clips 100

Renders small clips and follows the flow of each pixel that moves and stays visible to the neighbouring frame. The
depth rendered there, between four pixels of one smooth surface, gives a point; the poses take it back, and it should be
seen at the centre of the pixel that the flow began at.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np

from datagen.resolver import Resolver
from manifests.contract.camera import Camera
from manifests.contract.clip import Clip
from scenes.motion import object_to_world
from scenes.providers.builtin import builtin_catalogue
from scenes.recipes import load_recipe
from scenes.sampling import sample_scene
from scenes.spec import SceneSpec

_MOVES = 0.1
"""Pixels below which nothing is shown by following the flow."""
_SMOOTH = 0.02
"""Relative difference of four neighbouring depths from which there may be an edge between them."""


def render(count: int, size: int = 64, frames: int = 4, recipe: str = "tiny") -> Iterator[tuple[SceneSpec, Clip]]:
    """The first `count` scenes of a recipe with their flow, at one sample a pixel, which depth does not mind."""
    from datagen.blender.render import render_scene

    catalogue, rules = builtin_catalogue(), load_recipe(recipe)
    settings = msgspec.structs.replace(
        rules.render, width=size, height=size, samples=1, denoiser="none", environment_height=16, flow=True
    )
    rules = msgspec.structs.replace(rules, frames=frames, render=settings)
    with tempfile.TemporaryDirectory() as scratch:
        for index in range(count):
            spec = sample_scene(catalogue, rules, 5, index)
            yield spec, render_scene(spec, Resolver(catalogue.roots, Path(scratch)), Path(scratch)).clips[0]


def reprojection_errors(spec: SceneSpec, clip: Clip) -> np.ndarray:
    """Pixels (N,) by which the visible flow of a clip is off, where there is some and it does not end at an edge."""
    found = [
        _errors(spec, clip, here, there, direction)
        for here in range(clip.frames)
        for direction, there in enumerate((here + 1, here - 1))
        if 0 <= there < clip.frames
    ]
    return np.concatenate(found)


def _errors(spec: SceneSpec, clip: Clip, here: int, there: int, direction: int) -> np.ndarray:
    assert clip.camera is not None
    height, width = clip.size
    instance, depth = clip.arrays["instance"][..., 0], clip.arrays["depth"][..., 0].astype(np.float64)
    visible = (clip.arrays["flow_visible"][here, ..., direction] == 1) & (instance[here] > 0)
    rows, columns = np.nonzero(visible)
    start = np.stack([columns, rows], axis=-1) + 0.5
    number = instance[here, rows, columns]
    end = start + clip.arrays["flow"][here, rows, columns, 2 * direction : 2 * direction + 2]
    corner = np.floor(end - 0.5).astype(int)
    share = end - 0.5 - corner
    usable = (np.linalg.norm(end - start, axis=-1) > _MOVES) & (corner >= 0).all(-1)
    usable &= (corner < [width - 1, height - 1]).all(-1)
    corner = np.where(usable[:, None], corner, 0)
    nearness, near, far = np.zeros(len(end)), np.zeros(len(end)), np.full(len(end), np.inf)
    for dx, dy in np.ndindex(2, 2):
        column, row = corner[:, 0] + dx, corner[:, 1] + dy
        weight = np.abs(1 - dx - share[:, 0]) * np.abs(1 - dy - share[:, 1])
        usable &= instance[there, row, column] == number
        one = 1 / depth[there, row, column]
        nearness, near, far = nearness + weight * one, np.maximum(near, one), np.minimum(far, one)
    usable &= near < far * (1 + _SMOOTH)
    lens = clip.camera.frame_intrinsics
    focal, middle = lens[there, [0, 1], [0, 1]], lens[there, :2, 2]
    rays = np.concatenate([(end - middle) / focal * [1, -1], -np.ones((len(end), 1))], axis=-1)
    pose = clip.camera.camera_to_world[there]
    with np.errstate(divide="ignore"):
        world = (rays / nearness[:, None]) @ pose[:3, :3].T + pose[:3, 3]
    for obj in spec.objects:
        own = number == obj.instance
        poses = object_to_world(obj, clip.frames)
        back = poses[here] @ np.linalg.inv(poses[there])
        world[own] = world[own] @ back[:3, :3].T + back[:3, 3]
    seen, _ = Camera(lens[here], clip.camera.camera_to_world[here : here + 1]).project(world[usable])
    return np.linalg.norm(seen[0] - start[usable], axis=-1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=100)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--recipe", default="tiny")
    options = parser.parse_args()
    medians, pixels = [], []
    for spec, clip in render(options.clips, options.size, recipe=options.recipe):
        errors = reprojection_errors(spec, clip)
        medians.append(float(np.median(errors)) if len(errors) else 0.0)
        pixels.append(errors)
    together = np.concatenate(pixels)
    print("| clips | pixels | median | 95 % | 99 % | median of the worst clip |\n|---|---|---|---|---|---|")
    figures = [*np.quantile(together, [0.5, 0.95, 0.99]), max(medians)]
    print(f"| {len(medians)} | {len(together)} | " + " | ".join(f"{value:.4f}" for value in figures) + " |")


if __name__ == "__main__":
    main()
