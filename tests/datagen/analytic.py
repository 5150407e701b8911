"""Small analytic scenes for tests that render, and what they must look like."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from datagen.resolver import Resolver
from manifests.codec.exr import write_exr
from manifests.contract.camera import Camera
from manifests.contract.environment import latlong_directions
from scenes.spec import (
    Builtin,
    CameraView,
    File,
    Footprint,
    Ground,
    LightRotation,
    Material,
    Object,
    Orbit,
    Principled,
    RenderSettings,
    SceneLight,
    SceneSpec,
    from_json,
    to_json,
)

GREY = Principled(uid="grey", basecolor=(0.25, 0.5, 0.75), roughness=0.6, metallic=0.0)
MIRROR = Principled(uid="mirror", basecolor=(1.0, 1.0, 1.0), roughness=0.0, metallic=1.0)
WHITE_LIGHT = SceneLight(map=Builtin(uid="white", generator="constant", params={"colour": (1.0, 1.0, 1.0)}))
VIEW = CameraView(target=(0.0, 0.0, 0.5), distance=3.0, azimuth=-60.0, elevation=25.0, fov=40.0)


def settings(**changes: object) -> RenderSettings:
    """48x48, 4 samples, no denoiser, small light."""
    values: dict[str, object] = {
        "width": 48,
        "height": 48,
        "samples": 4,
        "adaptive_threshold": 0.0,
        "denoiser": "none",
        "environment_height": 32,
        "importance_width": 64,
    }
    return RenderSettings(**(values | changes))  # type: ignore[arg-type]


def sphere(instance: int = 2, segments: int = 192, material: Material = GREY, **changes: object) -> Object:
    """A ball of diameter `scale` (1) that touches the ground under `position`."""
    values: dict[str, object] = {
        "name": f"ball{instance}",
        "role": "object",
        "mesh": Builtin(uid="ball", generator="ellipsoid", params={"x": 1.0, "y": 1.0, "z": 1.0, "segments": segments}),
        "scale": 1.0,
        "yaw": 0.0,
        "position": (0.0, 0.0),
        "footprint": Footprint(radius=0.71, height=1.0),
    }
    return Object(instance=instance, material=material, **(values | changes))  # type: ignore[arg-type]


def scene(**changes: object) -> SceneSpec:
    """One ball on a ground under white light, 1 frame; read back from JSON, as specs are."""
    values: dict[str, object] = {
        "recipe": "test",
        "seed": 7,
        "index": 3,
        "frames": 1,
        "fps": 24.0,
        "ground": Ground(material=GREY),
        "objects": (sphere(),),
        "lights": (WHITE_LIGHT,),
        "view": VIEW,
        "render": settings(),
    }
    return from_json(to_json(SceneSpec(**(values | changes))))  # type: ignore[arg-type]


def mirror_ball(frames: int = 3, **changes: object) -> SceneSpec:
    """A mirror ball in mid-air but for the light: moving camera, environment turned frame by frame."""
    values: dict[str, object] = {
        "frames": frames,
        "ground": None,
        "objects": (sphere(material=MIRROR),),
        "lights": (SceneLight(map=environment_file("lobes.exr"), yaw=35.0),),
        "light_motion": LightRotation(degrees=80.0),
        "view": CameraView(
            target=(0.0, 0.0, 0.5),
            distance=3.0,
            azimuth=-50.0,
            elevation=20.0,
            fov=30.0,
            motions=(Orbit(degrees=70.0),),
        ),
        "render": settings(width=64, height=48, samples=16, environment_height=64, importance_width=128),
    }
    return scene(**(values | changes))


def lobes(height: int = 64) -> np.ndarray:
    """Asymmetric HDR environment (height, 2 height, 3): coloured lobes in directions without any symmetry."""
    directions = latlong_directions(height, 2 * height)
    image = np.full((height, 2 * height, 3), 0.05)
    for towards, sharpness, colour in (
        ((0.8, 0.3, 0.2), 12, (6.0, 0.4, 0.1)),
        ((-0.2, 0.9, 0.5), 6, (0.1, 2.0, 0.2)),
        ((-0.7, -0.5, -0.3), 10, (0.1, 0.3, 4.0)),
        ((0.3, -0.6, 0.8), 20, (8.0, 8.0, 5.0)),
    ):
        axis = np.asarray(towards) / np.linalg.norm(towards)
        image += np.exp(sharpness * (directions @ axis - 1))[..., None] * np.asarray(colour)
    return image.astype(np.float32)


def environment_file(name: str) -> File:
    """A map in the provider "test" (`resolver` fills its folder)."""
    return File(uid=name, provider="test", path=name, sha256="")


def write_environment(path: Path, image: np.ndarray) -> None:
    """Write (h, w, 3) as an EXR with channels R, G, B."""
    path.write_bytes(write_exr({name: np.ascontiguousarray(image[..., i]) for i, name in enumerate("RGB")}))


def resolver(folder: Path) -> Resolver:
    """Resolver with a provider "test" whose folder holds `lobes.exr`."""
    root = folder / "assets"
    root.mkdir(exist_ok=True)
    write_environment(root / "lobes.exr", lobes())
    return Resolver({"test": root}, folder / "cache")


def sphere_hits(camera: Camera, frame: int, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ball of diameter 1 at (0, 0, 0.5) seen through pixel centres.

    Returns (inside (H, W) bool: well inside the outline, world normals (H, W, 3), planar depth (H, W)).
    """
    pose = camera.camera_to_world[frame]
    rays = camera.at([frame]).rays(*size).reshape(*size, 3) @ pose[:3, :3].T
    offset = pose[:3, 3] - np.array([0.0, 0.0, 0.5])
    a, b, c = (rays**2).sum(-1), rays @ offset, offset @ offset - 0.25
    discriminant = b**2 - a * c
    depth = (-b - np.sqrt(np.maximum(discriminant, 0))) / a
    normals = (offset + depth[..., None] * rays) / 0.5
    facing = -(normals * rays).sum(-1) / np.sqrt(a)
    return (discriminant > 0) & (facing > 0.35), normals, depth


def angles(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Degrees between unit vectors (..., 3)."""
    return np.degrees(np.arccos(np.clip((first * second).sum(-1), -1, 1)))
