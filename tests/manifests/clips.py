"""Small synthetic clips, samples and datasets for tests: an analytic sphere on a plane, no renderer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from manifests.codec import codecs
from manifests.contract.camera import Camera, intrinsics_from_fov
from manifests.contract.clip import Clip
from manifests.contract.clip_summary import summarise
from manifests.contract.environment import Environment
from manifests.contract.row import AssetUse, ClipRow, FailureRow, MaterialUse, Sample
from manifests.store.dataset import Dataset, Header, open_or_create
from manifests.store.shards import write_shard

SUN = np.array([0.4, -0.5, 0.77])


def environment(frames: int, seed: int = 0, height: int = 16) -> Environment:
    """A sky gradient with a sun, turning a little with every frame."""
    rng = np.random.default_rng([9, seed])
    image = np.empty((height, 2 * height, 3), dtype=np.float32)
    image[:] = np.linspace(1.2, 0.1, height)[:, None, None] * rng.uniform(0.3, 1.0, 3)
    image[rng.integers(2, height // 2), rng.integers(0, 2 * height)] = 200.0
    angle = np.linspace(0, 0.3, frames)
    cos, sin, zero, one = np.cos(angle), np.sin(angle), np.zeros(frames), np.ones(frames)
    return Environment(image, np.stack([cos, -sin, zero, sin, cos, zero, zero, zero, one], -1).reshape(frames, 3, 3))


def sphere_clip(key: str, frames: int = 3, size: int = 32, seed: int = 0, zoom: float = 1.0) -> Clip:
    """A unit-diameter sphere on a ground plane seen by an orbiting camera, every attribute exact per pixel centre.

    With a `zoom` the focal length grows by that factor over the clip.
    """
    rng = np.random.default_rng([7, seed])
    colours = rng.uniform(0.05, 0.9, (2, 3))
    rough, metal = rng.uniform(0.05, 1.0, 2), np.array([0.0, float(rng.random() > 0.5)])
    intrinsics = intrinsics_from_fov(45.0, size, size)
    start = rng.uniform(0, 2 * np.pi)
    poses = np.stack([_look_at(start + 0.25 * frame) for frame in range(frames)])
    if zoom != 1:
        growth = np.geomspace(1.0, zoom, frames)
        intrinsics = intrinsics * np.stack([growth, growth, np.ones(frames)], axis=1)[:, :, None]
        intrinsics[:, :2, 2] = size / 2
    camera = Camera(intrinsics, poses)
    rays = np.broadcast_to(camera.rays(size, size), (frames, size, size, 3))
    layers = [_trace(pose, rays[frame], colours, rough, metal) for frame, pose in enumerate(poses)]
    arrays = {name: np.stack([layer[name] for layer in layers]) for name in layers[0]}
    return Clip(key, arrays, camera, environment(frames, seed), fps=8.0, exposure=1.0, meta={"seed": seed})


def _look_at(azimuth: float) -> np.ndarray:
    eye = np.array([2.6 * np.cos(azimuth), 2.6 * np.sin(azimuth), 1.4])
    back = eye - np.array([0.0, 0.0, 0.4])
    back /= np.linalg.norm(back)
    right = np.cross([0.0, 0.0, 1.0], back)
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, np.cross(back, right), back], axis=-1)
    pose[:3, 3] = eye
    return pose


def _trace(pose: np.ndarray, rays: np.ndarray, colours: np.ndarray, rough: np.ndarray, metal: np.ndarray) -> dict:
    origin, direction = pose[:3, 3], rays @ pose[:3, :3].T
    centre = np.array([0.0, 0.0, 0.5])
    a = (direction**2).sum(-1)
    b = direction @ (origin - centre)
    disc = b**2 - a * (((origin - centre) ** 2).sum() - 0.25)
    ball = np.where(disc > 0, (-b - np.sqrt(np.maximum(disc, 0))) / a, np.inf)
    with np.errstate(divide="ignore", invalid="ignore"):
        ground = np.where(direction[..., 2] < 0, -origin[2] / direction[..., 2], np.inf)
        points = origin + direction * np.minimum(ball, ground)[..., None]
        ground = np.where(np.abs(points[..., :2]).max(-1) < 4, ground, np.inf)
    depth = np.minimum(ball, ground)
    hit, on_ball = np.isfinite(depth), ball < ground
    points = np.where(hit[..., None], origin + direction * np.where(hit, depth, 0)[..., None], 0.0)
    normal = np.where(on_ball[..., None], (points - centre) * 2, np.array([0.0, 0.0, 1.0]))
    checker = (np.floor(points[..., 0] * 2) + np.floor(points[..., 1] * 2)) % 2
    base = np.where(on_ball[..., None], colours[0], colours[1] * (0.5 + 0.5 * checker[..., None]))
    shade = 0.15 + np.maximum(normal @ SUN, 0)
    sky = np.array([0.35, 0.5, 0.8]) * (1 + 0.6 * np.clip(direction[..., 2:] / np.sqrt(a)[..., None], 0, 1))
    camera_normal = np.where(hit[..., None], normal @ pose[:3, :3], np.array([0.0, 0.0, 1.0]))
    camera_normal /= np.linalg.norm(camera_normal, axis=-1, keepdims=True)
    layers = {
        "rgb": np.where(hit[..., None], base * shade[..., None], sky),
        "basecolor": np.where(hit[..., None], base, 0.0),
        "normal": camera_normal,
        "depth": depth[..., None],
        "roughness": np.where(hit, np.where(on_ball, rough[0], rough[1]), 0.5)[..., None],
        "metallic": np.where(hit, np.where(on_ball, metal[1], 0.0), 0.0)[..., None],
        "mask": hit[..., None].astype(float),
    }
    arrays = {name: array.astype(np.float32) for name, array in layers.items()}
    arrays["instance"] = np.where(hit, np.where(on_ball, 2, 1), 0)[..., None].astype(np.uint16)
    return arrays


def row(key: str, scene: int, light: int = 0, **fields: object) -> ClipRow:
    """A row such as a stage fills it, varied by scene."""
    motions = (("orbit",), ("oscillation", "object_rotation"), ("dolly",), ())[scene % 4]
    assets = (
        AssetUse(uid=f"mesh-{scene % 3}", kind="mesh", source="builtin", licence="CC0-1.0", author="Lightloom"),
        AssetUse(uid="sky", kind="environment", source="folder", licence="CC-BY-4.0", author="A. Painter", url="https://example.org/sky"),
    )  # fmt: skip
    base = ClipRow(
        key=key, item=scene, part=light, item_clips=1, stage="datagen",
        split=("train", "train", "val", "test")[scene % 4],
        recipe="toy", seed=7, spec_digest=f"{scene:064x}", frames=3, height=32, width=32, fps=8.0, motions=motions,
        assets=assets, materials=(MaterialUse(name="ball", status="resolved", area=0.4),), seconds=1.5 + scene,
        encode_seconds=0.1, steps=16.0, device="CPU", worker="w0",
        attributes=("rgb", "basecolor", "normal", "depth", "roughness", "metallic", "mask", "instance"),
    )  # fmt: skip
    return ClipRow(**{name: getattr(base, name) for name in base.__struct_fields__} | fields)  # type: ignore[arg-type]


def raw_sample(scene: int, light: int = 0, size: int = 700) -> Sample:
    """A sample of arbitrary bytes: cheap, for whatever does not look into the files."""
    rng = np.random.default_rng([scene, light])
    key = f"{scene:08d}-{light:02d}"
    files = {"clip.json": b"{}", "rgb.mkv": rng.bytes(size), "depth.mkv": rng.bytes(size // 3)}
    return Sample(key, files, row(key, scene, light, attributes=("rgb", "depth")))


def clip_sample(
    scene: int, light: int = 0, size: int = 32, frames: int = 3, codec: str = "exact", zoom: float = 1.0
) -> Sample:
    """A sample whose clip decodes."""
    key = f"{scene:08d}-{light:02d}"
    clip = sphere_clip(key, frames=frames, size=size, seed=scene, zoom=zoom)
    files, errors = codecs.encode_clip(clip, codec)  # type: ignore[arg-type]
    details = {"statistics": summarise(clip), "codec_errors": errors}
    return Sample(key, files, row(key, scene, light, frames=frames, height=size, width=size, **details))


def header(**fields: object) -> Header:
    """Header of the test datasets: 7 scenes, 3 per shard, so that the last shard is short."""
    defaults = {
        "stage": "datagen", "codec": "exact", "recipe": {"name": "toy", "render": {"samples": 16}}, "seed": 7,
        "items": 7, "per_shard": 3, "catalogue": "c0ffee",
    }  # fmt: skip
    return Header(**(defaults | fields))  # type: ignore[arg-type]


def failure(scene: int, shard: int) -> FailureRow:
    return FailureRow(
        item=scene, shard=shard, reason="corrupt-asset", message=f"mesh of scene {scene} is cut", attempts=1,
        log_tail="Error: glTF", spec="{}",
    )  # fmt: skip


def make_dataset(
    path: Path,
    failed: Sequence[int] = (),
    sample: Callable[[int, int], Sample] = raw_sample,
    shards: Sequence[int] | None = None,
    **fields: object,
) -> Dataset:
    """A finished dataset with `sample(scene, light)` as clips; scenes in `failed` are quarantined."""
    dataset = open_or_create(path, header(**fields))
    for shard in range(dataset.header.shards) if shards is None else shards:
        items = dataset.header.shard_items(shard)
        lights = range(dataset.header.lights)
        clips = [[sample(scene, light) for light in lights] for scene in items if scene not in failed]
        write_shard(path, shard, clips, [failure(scene, shard) for scene in items if scene in failed])
    return dataset
