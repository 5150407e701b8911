"""Clips of a dataset in rerun: pictures, G-buffers, depth as points of the world, the way of the camera, the light.

rerun (the extra `view`) is imported on use. Frames and axes are those of docs/conventions.md; rerun knows them by name:
the world is right-handed with z up, a camera has x right, y up and z back.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from manifests.codec.codecs import decode_clip
from manifests.contract.attributes import GBUFFERS
from manifests.contract.clip import Clip
from manifests.display import light_picture, pictures
from manifests.errors import InputError
from manifests.object_path import place
from manifests.store.dataset import open_dataset
from manifests.store.layout import HEADER

_PICTURES = ("rgb", *(name for name in GBUFFERS if name != "depth"), "geometric_normal", "mask", "flow")
_MOST_POINTS = 1 << 16
_LIGHT_HEIGHT = 256
_PLANE = 0.15


def find_clips(name: str, count: int) -> list[Clip]:
    """The clip of DATASET:KEY, or the first `count` clips of DATASET. Raises InputError, DatasetError, CodecError."""
    folder, colon, key = name.rpartition(":")
    chosen = bool(colon) and not key.startswith("/") and (place(folder) / HEADER).is_file()
    dataset = open_dataset(folder if chosen else name)
    rows = [row for row in dataset.rows() if not chosen or row.key == key][: 1 if chosen else count]
    if not rows:
        what = f"no clip {key!r}" if chosen else "no clip yet"
        raise InputError(
            f"holds {what}", f"`lightloom data stats {dataset.path}` counts what there is", where=dataset.path
        )
    return [decode_clip(row.key, dataset.files(row)) for row in rows]


def show(clips: Iterable[Clip], title: str, save: Path | None) -> None:
    """Log clips to a file, or to a viewer that is started. Raises InputError where rerun or its viewer is missing."""
    try:
        import rerun
    except ImportError:
        raise InputError("rerun is not installed", "pip install 'lightloom[view]'") from None
    recording = rerun.RecordingStream("lightloom", make_default=False)
    recording.send_recording_name(title)
    try:
        if save is None:
            recording.spawn()
        else:
            save.parent.mkdir(parents=True, exist_ok=True)
            recording.save(save)
    except (OSError, RuntimeError) as error:
        where = "no viewer can be started" if save is None else f"{save}: cannot be written"
        raise InputError(
            f"{str(error).splitlines()[0]}", "`save` FILE.rrd writes a file", where=where, fields=("save",)
        ) from None
    for clip in clips:
        log_clip(rerun, recording, clip)
    recording.flush()
    recording.disconnect()


def log_clip(rerun: Any, recording: Any, clip: Clip) -> None:
    """Log one clip under its key, over the timelines `frame` and `time`."""
    root = clip.key
    recording.log(root, rerun.ViewCoordinates.RIGHT_HAND_Z_UP, static=True)
    shown = {name: pictures(clip, name) for name in _PICTURES if name in clip.arrays}
    if clip.environment is not None:
        light = np.asarray(light_picture(clip.environment.image, _LIGHT_HEIGHT).convert("RGB"))
        recording.log(f"{root}/environment", rerun.Image(light), static=True)
    if clip.camera is not None:
        height, width = clip.size
        view = {"resolution": [width, height], "camera_xyz": rerun.ViewCoordinates.RUB}
        lenses = [
            rerun.Pinhole(image_from_camera=matrix, image_plane_distance=_plane(clip), **view)
            for matrix in (clip.camera.intrinsics if clip.camera.zooms else clip.camera.intrinsics[None])
        ]
        if not clip.camera.zooms:
            recording.log(f"{root}/camera", lenses[0], static=True)
        way = clip.camera.camera_to_world[:, :3, 3]
        recording.log(f"{root}/path", rerun.LineStrips3D([way], colors=[(240, 186, 120)]), static=True)
    for frame in range(clip.frames):
        recording.set_time("frame", sequence=frame)
        recording.set_time("time", duration=frame / clip.fps)
        for name, video in shown.items():
            parent = f"{root}/camera" if name == "rgb" and clip.camera is not None else root
            recording.log(f"{parent}/{name}", rerun.Image(video[frame]))
        if "instance" in clip.arrays:
            recording.log(f"{root}/instance", rerun.SegmentationImage(clip.arrays["instance"][frame, ..., 0]))
        if "depth" in clip.arrays:
            recording.log(f"{root}/depth", rerun.DepthImage(clip.arrays["depth"][frame, ..., 0], meter=1.0))
        if clip.camera is not None:
            pose = clip.camera.camera_to_world[frame]
            if clip.camera.zooms:
                recording.log(f"{root}/camera", lenses[frame])
            recording.log(f"{root}/camera", rerun.Transform3D(translation=pose[:3, 3], mat3x3=pose[:3, :3]))
        if clip.camera is not None and "depth" in clip.arrays:
            places, colours = points(clip, frame, shown.get("rgb"))
            recording.log(f"{root}/points", rerun.Points3D(places, colors=colours))


def points(clip: Clip, frame: int, video: np.ndarray | None) -> tuple[np.ndarray, np.ndarray | None]:
    """World points (N, 3) of what a frame's depth shows, and their colours (N, 3) uint8 from `video`; a bounded N.

    Labels' relative depth is taken as it is, or to the units of their camera where they say those.
    """
    assert clip.camera is not None
    step = max(1, int(np.ceil(np.sqrt(clip.size[0] * clip.size[1] / _MOST_POINTS))))
    near, far = clip.depth_range or (0.0, 1.0)
    depth = near + (far - near) * clip.arrays["depth"][frame, ::step, ::step]
    rays = clip.camera.at([frame]).rays(*clip.size).reshape(*clip.size, 3)[::step, ::step]
    seen = np.isfinite(depth[..., 0]) & (depth[..., 0] > 0)
    pose = clip.camera.camera_to_world[frame]
    local = (rays * depth.astype(np.float64))[seen]  # (h, w, 3) -> (N, 3)
    places = (local @ pose[:3, :3].T + pose[:3, 3]).astype(np.float32)
    return places, None if video is None else video[frame, ::step, ::step][seen]


def _plane(clip: Clip) -> float:
    """How far before the camera its picture hangs: a part of the scene's depth."""
    depth = clip.arrays.get("depth")
    finite = depth[np.isfinite(depth)] if depth is not None else np.empty(0)
    return _PLANE * float(np.median(finite)) if finite.size else 1.0
