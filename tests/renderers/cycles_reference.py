"""Cycles renders for tests in the torch rooms: a separate program, because torch and bpy must not meet in a process.

`render(names, folder)` runs this module as a program and returns the clips' arrays. Scenes, all of one ball in mid-air
under the smooth asymmetric HDR map of `tests.datagen.analytic`: "mirror" is the mirror-ball proof's own scene;
"<dielectric|metal> <roughness>" are balls of one material.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from manifests.contract.camera import Camera

ROOT = Path(__file__).parents[2]
COLOUR = (0.8, 0.5, 0.25)
ARRAYS = ("rgb", "basecolor", "normal", "depth", "roughness", "metallic", "mask")


@dataclass(frozen=True, eq=False)
class Reference:
    """What Cycles rendered: `arrays` (T, H, W, C) by attribute name and the clip's light, camera and exposure."""

    arrays: dict[str, np.ndarray]
    image: np.ndarray
    rotation: np.ndarray
    intrinsics: np.ndarray
    camera_to_world: np.ndarray
    exposure: float

    @property
    def camera(self) -> Camera:
        """The clip's camera."""
        return Camera(self.intrinsics, self.camera_to_world)


def render(names: Sequence[str], folder: Path) -> dict[str, Reference]:
    """Render the scenes called `names` in a subprocess, which writes to `folder`."""
    command = [sys.executable, "-m", "tests.renderers.cycles_reference", str(folder), *names]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return {name: _read(folder / f"{name}.npz") for name in names}


def _read(path: Path) -> Reference:
    with np.load(path) as file:
        return Reference(
            arrays={name: file[name] for name in ARRAYS},
            image=file["image"],
            rotation=file["rotation"],
            intrinsics=file["intrinsics"],
            camera_to_world=file["camera_to_world"],
            exposure=float(file["exposure"]),
        )


def _main(folder: Path, names: list[str]) -> None:
    from datagen.blender import session
    from datagen.blender.render import render_scene
    from scenes.spec import Principled
    from tests.datagen import analytic

    def ball(kind: str, roughness: str) -> object:
        material = Principled(
            uid="ball", basecolor=COLOUR, roughness=float(roughness), metallic=1.0 if kind == "metal" else 0.0
        )
        settings = analytic.settings(width=64, height=64, samples=192, environment_height=64, importance_width=128)
        return analytic.mirror_ball(frames=1, objects=(analytic.sphere(material=material),), render=settings)

    session.start("CPU")
    resolver = analytic.resolver(folder)
    for name in names:
        scene = analytic.mirror_ball() if name == "mirror" else ball(*name.split())
        clip = render_scene(scene, resolver, folder).clips[0]
        np.savez(
            folder / f"{name}.npz",
            image=clip.environment.image,
            rotation=clip.environment.rotation,
            intrinsics=clip.camera.intrinsics,
            camera_to_world=clip.camera.camera_to_world,
            exposure=clip.exposure,
            **{array: clip.arrays[array] for array in ARRAYS},
        )


if __name__ == "__main__":
    _main(Path(sys.argv[1]), sys.argv[2:])
    sys.stdout.flush()
    os._exit(0)  # Blender may crash while it is torn down, after everything is written
