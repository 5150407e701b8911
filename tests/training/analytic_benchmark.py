"""A benchmark on disk whose every number can be worked out: flat ground under even light, with a painted shadow."""

from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from manifests.codec.codecs import encode_clip
from manifests.contract.camera import Camera, intrinsics_from_fov
from manifests.contract.clip import Clip
from manifests.contract.environment import Environment
from manifests.contract.row import AssetUse, ClipRow, Sample
from manifests.store.dataset import open_or_create
from manifests.store.header import Header
from manifests.store.shards import write_shard

FRAMES, SIZE = 3, 32
LIGHTS = ((0.8, 0.6, 0.4), (0.3, 0.4, 0.8))
"""Even radiance of each light."""

GROUND, THING = (0.5, 0.4, 0.3), (0.2, 0.3, 0.6)
TILT = 72.0
"""Degrees between the camera and straight down."""

DARK = 0.3
"""What the painted shadow leaves of the light."""


def clip_of(scene: int, light: int, *, moving_light: bool = False, frames: int = FRAMES) -> Clip:
    """The plane z = 0 seen from height 3 just below the horizon; the right third of the picture is a thing."""
    tilt = np.radians(TILT)
    pose = np.eye(4)
    pose[:3, :3] = [[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]]
    pose[:3, 3] = 0, -3, 3
    poses = np.tile(pose, (frames, 1, 1))
    if not moving_light:
        poses[:, 0, 3] = 0.05 * np.arange(frames)
    camera = Camera(intrinsics_from_fov(45, SIZE, SIZE), poses)
    falling = (camera.rays(SIZE, SIZE) @ pose[:3, :3].T)[..., 2]  # (H, W), negative below the horizon
    seen = falling < -0.05
    depth = np.where(seen, 3 / np.where(seen, -falling, 1), np.inf).astype(np.float32)
    shape = (frames, SIZE, SIZE, 1)
    thing = np.zeros((SIZE, SIZE, 1), dtype=bool)
    thing[:, 2 * SIZE // 3 :] = True
    thing &= seen[..., None]
    basecolor = np.where(thing, THING, GROUND) * seen[..., None]
    shade = np.ones(shape)
    for t in range(frames):
        left = 4 * light + (6 * t if moving_light else 0)
        shade[t, 12:26, left : left + 8] = DARK
    shade = np.where(thing, 1.0, shade)
    radiance = np.where(seen[..., None], basecolor * shade, 1.0) * LIGHTS[light]
    normal = np.where(seen[..., None], pose[:3, :3].T @ [0, 0, 1], [0, 0, 1])

    def still(image: np.ndarray) -> np.ndarray:
        return np.broadcast_to(image, (frames, *image.shape)).astype(np.float32)

    arrays = {
        "rgb": radiance.astype(np.float32),
        "basecolor": still(basecolor),
        "normal": still(normal),
        "depth": still(depth[..., None]),
        "roughness": still(np.where(seen[..., None], 0.9, 0.5)),
        "metallic": np.zeros(shape, dtype=np.float32),
        "mask": still(seen[..., None]),
        "instance": still(np.where(thing, 2, 1) * seen[..., None]).astype(np.uint16),
    }
    image = np.broadcast_to(np.float32(LIGHTS[light]), (16, 32, 3)).copy()
    environment = Environment(image, np.tile(np.eye(3), (frames, 1, 1)))
    return Clip(f"{scene:08d}-{light:02d}", arrays, camera, environment)


def write_part(
    folder: Path,
    scenes: int,
    lights: int = len(LIGHTS),
    *,
    moving_light: bool = False,
    frames: int = FRAMES,
    uids: tuple[str, ...] = ("mesh/a",),
) -> Path:
    """Write a dataset of such clips that use the assets `uids`; returns its folder."""
    header = Header(stage="datagen", codec="exact", recipe={}, seed=0, items=scenes, per_shard=scenes, lights=lights)
    dataset = open_or_create(folder, header)
    uses = tuple(AssetUse(uid=uid, kind="mesh", source="builtin", licence="CC0-1.0", author="nobody") for uid in uids)
    spec = {"objects": [{"instance": 2, "motions": []}]}

    def sample(scene: int, light: int) -> Sample:
        clip = clip_of(scene, light, moving_light=moving_light, frames=frames)
        files = {**encode_clip(clip, "exact")[0], "spec.json": msgspec.json.encode(spec)}
        row = ClipRow(
            key=clip.key,
            item=scene,
            part=light,
            stage="datagen",
            recipe="analytic",
            frames=frames,
            height=SIZE,
            width=SIZE,
            fps=24.0,
            attributes=tuple(clip.arrays),
            assets=uses,
        )
        return Sample(clip.key, files, row)

    write_shard(dataset.path, 0, [[sample(scene, light) for light in range(lights)] for scene in range(scenes)], [])
    return folder


def write_catalogue(folder: Path, rows: list[tuple[str, str, str]]) -> None:
    """A catalogue.parquet with (uid, place, split)."""
    names = ("uid", "place", "split")
    table = pa.Table.from_pylist([dict(zip(names, row, strict=True)) for row in rows])
    pq.write_table(table, folder / "catalogue.parquet")
