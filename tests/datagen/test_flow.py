"""Flow against analytic motion, against Cycles' own motion vectors, and against the depth of the neighbouring frame."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from benchmarks.flow import render, reprojection_errors
from datagen.blender import session
from datagen.blender.assembly import assemble
from datagen.blender.cycles_settings import apply_settings, frame_path, set_output
from datagen.blender.light_image import light_image
from datagen.blender.passes import enable_passes
from datagen.blender.render import render_scene
from datagen.flow import optical_flow
from datagen.render_stage import samples_of
from datagen.resolver import Resolver
from manifests.codec.codecs import decode_clip
from manifests.codec.exr import read_exr
from manifests.contract.attributes import Codec
from manifests.contract.camera import Camera, intrinsics_from_fov
from manifests.contract.clip import Clip
from scenes.providers.builtin import builtin_catalogue
from scenes.spec import (
    CameraView,
    Dolly,
    ObjectRotation,
    ObjectTranslation,
    Orbit,
    Oscillation,
    SceneSpec,
    Zoom,
    to_json,
)
from tests.datagen import analytic

SIZE = (48, 64)
FLOW = analytic.settings(width=SIZE[1], height=SIZE[0], samples=2, flow=True)
MOVING = CameraView(
    target=(0.1, 0.0, 0.3),
    distance=2.6,
    azimuth=-70.0,
    elevation=12.0,
    fov=55.0,
    motions=(Orbit(degrees=15.0), Oscillation(azimuth=3.0, elevation=4.0, cycles=0.7), Dolly(factor=0.8)),
)
pytestmark = pytest.mark.usefixtures("cpu")
STILL = CameraView(target=(0.0, 0.0, 0.5), distance=2.2, azimuth=-60.0, elevation=25.0, fov=40.0)


def clip_of(resolver: Resolver, folder: Path, **changes: object) -> Clip:
    spec = analytic.scene(**({"render": FLOW, "frames": 3} | changes))
    return render_scene(spec, resolver, folder).clips[0]


def centres() -> np.ndarray:
    rows, columns = np.indices(SIZE)
    return np.stack([columns, rows], axis=-1) + 0.5


def both_ways(clip: Clip):  # type: ignore[no-untyped-def]
    """(here, there, flow (H, W, 2), visible (H, W)) of all neighbouring frames."""
    for here in range(clip.frames):
        for direction, there in enumerate((here + 1, here - 1)):
            if 0 <= there < clip.frames:
                flow = clip.arrays["flow"][here, ..., 2 * direction : 2 * direction + 2]
                yield here, there, flow, clip.arrays["flow_visible"][here, ..., direction] == 1


def test_the_ground_and_the_sky_move_as_the_camera_does(resolver: Resolver, tmp_path: Path) -> None:
    clip = clip_of(resolver, tmp_path, objects=(), view=MOVING)
    assert clip.camera is not None
    count = 0
    for here, there, flow, _ in both_ways(clip):
        poses = clip.camera.camera_to_world
        rays = clip.camera.rays(*SIZE) @ poses[here, :3, :3].T
        with np.errstate(divide="ignore"):
            place = poses[here, :3, 3] - rays * (poses[here, 2, 3] / rays[..., 2:])
        ground = (rays[..., 2] < 0) & (np.abs(place[..., :2]).max(axis=-1) < 19.9)
        sky = (rays[..., 2] > 0) | (np.abs(place[..., :2]).max(axis=-1) > 20.1)
        assert ground.sum() > 500 and sky.sum() > 500
        expected, _ = clip.camera.project(place[ground])
        assert np.abs(flow[ground] - (expected[there] - centres()[ground])).max() < 2e-3
        expected, _ = clip.camera.project(poses[there, :3, 3] + rays[sky])  # directions: as far as one likes
        assert np.abs(flow[sky] - (expected[there] - centres()[sky])).max() < 1e-3
        count += int(np.abs(flow).max() > 2)
    assert count == 4


def test_a_ball_that_turns_and_slides_takes_its_points_along(resolver: Resolver, tmp_path: Path) -> None:
    motions = (ObjectRotation(degrees=24.0), ObjectTranslation(offset=(0.3, -0.2)))
    clip = clip_of(resolver, tmp_path, objects=(analytic.sphere(motions=motions),), view=STILL, ground=None)
    assert clip.camera is not None
    for here, there, flow, _ in both_ways(clip):
        moved = [np.array([0.3, -0.2, 0.0]) * frame / 2 for frame in (here, there)]
        pose = clip.camera.camera_to_world[here].copy()
        pose[:3, 3] -= moved[0]
        inside, normals, _ = analytic.sphere_hits(Camera(clip.camera.intrinsics, pose[None]), 0, SIZE)
        angle = np.radians(12.0 * (there - here))
        turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
        points = 0.5 * normals[inside] @ turn.T + [0, 0, 0.5] + moved[1]
        expected, _ = clip.camera.project(points)
        assert inside.sum() > 300
        assert np.abs(flow[inside] - (expected[there] - centres()[inside])).max() < 0.01
        outside = clip.arrays["instance"][here, ..., 0] == 0
        assert np.abs(flow[outside]).max() < 1e-3


def test_a_zoom_moves_ground_ball_and_sky_from_the_middle(resolver: Resolver, tmp_path: Path) -> None:
    clip = clip_of(resolver, tmp_path, view=msgspec.structs.replace(STILL, elevation=5.0, motions=(Zoom(factor=1.5),)))
    assert clip.camera is not None and {0, 1, 2} == set(np.unique(clip.arrays["instance"]))
    focal = clip.camera.intrinsics[:, 0, 0]
    for here, there, flow, _ in both_ways(clip):
        np.testing.assert_allclose(flow, (centres() - [32, 24]) * (focal[there] / focal[here] - 1), atol=1e-4)
    assert focal[2] == pytest.approx(1.5 * focal[0])


def test_a_zoom_leaves_in_view_what_stays_inside_the_image() -> None:
    focal = np.array([80.0, 100.0, 130.0])
    intrinsics = np.stack([intrinsics_from_fov(45.0, *SIZE)] * 3)
    intrinsics[:, 0, 0] = intrinsics[:, 1, 1] = focal
    pose = np.stack([np.eye(4)] * 3)
    depth = np.full((3, *SIZE, 1), 7.0, np.float32)
    depth[:, :20] = np.inf
    instance = np.isfinite(depth).astype(np.uint16)
    flow, visible = optical_flow(depth, instance, Camera(intrinsics, pose), {})
    for here, there, first in ((0, 1, 0), (1, 2, 0), (1, 0, 2), (2, 1, 2)):
        end = (centres() - [32, 24]) * focal[there] / focal[here] + [32, 24]
        np.testing.assert_allclose(flow[here, ..., first : first + 2], end - centres(), atol=1e-4)
        inside = (end >= 0).all(axis=-1) & (end < [64, 48]).all(axis=-1)
        edge = np.abs(end[..., 1] - 20) < 1.5
        np.testing.assert_array_equal(visible[here, ..., first // 2][~edge], inside[~edge])


def test_flow_is_zero_and_unseen_where_there_is_no_other_frame_or_no_point(resolver: Resolver, tmp_path: Path) -> None:
    clip = clip_of(resolver, tmp_path, view=MOVING)
    flow, visible = clip.arrays["flow"], clip.arrays["flow_visible"]
    assert np.isfinite(flow).all() and set(np.unique(visible)) == {0, 1}
    for frame, channels, direction in ((0, slice(2, 4), 1), (2, slice(0, 2), 0)):
        assert (flow[frame, ..., channels] == 0).all() and (visible[frame, ..., direction] == 0).all()
    assert (visible[1] == 1).mean() > 0.5
    ahead = np.stack([np.eye(4)] * 2)
    ahead[1, 2, 3] = -5.0  # past a wall that stood 3 ahead
    depth = np.full((2, *SIZE, 1), 3.0, np.float32)
    camera = Camera(intrinsics_from_fov(45.0, *SIZE), ahead)
    flow, visible = optical_flow(depth, np.ones(depth.shape, np.uint16), camera, {})
    assert (flow[0] == 0).all() and (visible == 0).all()
    assert (np.abs(flow[1, ..., 2:]) > 0).any()


def test_visible_is_what_a_ray_from_the_other_camera_meets_first(resolver: Resolver, tmp_path: Path) -> None:
    """The ground and a ball that slides over it, the camera moving too: hidden by the ball, or outside, or seen."""
    offset = np.array([0.8, 0.5, 0.0])
    ball = analytic.sphere(motions=(ObjectTranslation(offset=(0.8, 0.5)),))
    clip = clip_of(resolver, tmp_path, objects=(ball,), view=MOVING)
    assert clip.camera is not None
    hidden = shown = 0
    for here, there, _, visible in both_ways(clip):
        pose, other = clip.camera.camera_to_world[here], clip.camera.camera_to_world[there]
        depth, number = clip.arrays["depth"][here, ..., 0], clip.arrays["instance"][here, ..., 0]
        ground = number == 1
        points = (clip.camera.rays(*SIZE)[ground] * depth[ground][:, None]) @ pose[:3, :3].T + pose[:3, 3]
        pixels, _ = clip.camera.project(points)
        inside = (pixels[there] >= 0).all(axis=-1) & (pixels[there] < SIZE[::-1]).all(axis=-1)
        way = points - other[:3, 3]
        towards = np.array([0, 0, 0.5]) + offset * there / 2 - other[:3, 3]
        along = np.clip((way @ towards) / (way**2).sum(-1), 0, 1)
        gap = np.linalg.norm(along[:, None] * way - towards, axis=-1)  # from the ball's middle to the line of sight
        sure = np.abs(gap - 0.5) > 0.06  # a pixel and a half
        sure &= np.abs(points[:, :2]).max(axis=-1) < 8  # far from the edge of the ground, which pixels meet or miss
        np.testing.assert_array_equal(visible[ground][sure & inside], (gap > 0.5)[sure & inside])
        assert not visible[ground][~inside].any()
        hidden += int((sure & inside & (gap < 0.5)).sum())
        shown += int((sure & inside & (gap > 0.5)).sum())
    assert hidden > 100 and shown > 1000


def test_it_agrees_with_the_motion_vectors_of_cycles(resolver: Resolver, tmp_path: Path) -> None:
    """Camera, zoom and objects at once; Cycles' pass from one sample near the centre, which is no average."""
    objects = (
        analytic.sphere(2, motions=(ObjectRotation(degrees=50.0),)),
        analytic.sphere(5, scale=0.5, position=(0.9, 0.0), motions=(ObjectTranslation(offset=(0.3, 0.4)),)),
    )
    view = msgspec.structs.replace(MOVING, motions=(*MOVING.motions, Zoom(factor=1.3)))
    spec = analytic.scene(frames=3, objects=objects, view=view, render=FLOW)
    vectors, given = rendered_vectors(spec, resolver, tmp_path)
    flow, _ = optical_flow(*given)
    surface = given[1][..., 0] > 0
    assert np.abs(flow[1][surface[1]]).max() > 5
    for frame, channels in ((0, slice(0, 2)), (1, slice(0, 4)), (2, slice(2, 4))):
        error = np.abs(flow[frame] - vectors[frame])[..., channels][surface[frame]]
        assert np.median(error) < 1e-3 and np.quantile(error, 0.99) < 0.01


def rendered_vectors(
    spec: SceneSpec, resolver: Resolver, folder: Path
) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray, Camera, dict[int, np.ndarray]]]:
    """Cycles' Vector pass in the order and signs of `flow`, and what `optical_flow` takes of the same render."""
    with session.current().scene() as scene:
        assembled = assemble(scene, spec, resolver)
        set_output(scene, folder, spec.frames, spec.fps)
        light = light_image(spec.lights[0], 16, resolver).image
        assembled.world.show(light, np.tile(np.eye(3), (spec.frames, 1, 1)))
        apply_settings(scene, analytic.settings(samples=1), 1)
        scene.cycles.filter_width = 0.01
        enable_passes(scene.view_layers[0], ["depth", "instance"])
        scene.view_layers[0].use_pass_vector = True
        session.current().render(scene, "vectors", animation=True)
    planes = [read_exr(frame_path(folder, frame).read_bytes()) for frame in range(spec.frames)]
    pick = lambda name: np.stack([frame[f"ViewLayer.{name}"] for frame in planes])  # noqa: E731
    vectors = np.stack([-pick("Vector.Z"), pick("Vector.W"), pick("Vector.X"), -pick("Vector.Y")], axis=-1)
    depth = np.where(pick("Depth.Z") < 9e9, pick("Depth.Z"), np.inf).astype(np.float32)[..., None]
    instance = pick("Object Index.X").astype(np.uint16)[..., None]
    return vectors, (depth, instance, assembled.camera, assembled.poses)


def test_it_leads_where_the_depth_of_the_other_frame_came_from() -> None:
    errors = np.concatenate([reprojection_errors(spec, clip) for spec, clip in render(4, size=48, frames=3)])
    assert len(errors) > 2_000 and np.median(errors) < 0.05


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_it_does_so_in_a_hundred_clips() -> None:
    errors = [reprojection_errors(spec, clip) for spec, clip in render(100)]
    assert len(errors) == 100 and np.median(np.concatenate(errors)) < 0.05
    assert sum(np.median(one) < 0.05 for one in errors if len(one)) >= 0.95 * sum(1 for one in errors if len(one))


def test_it_is_there_only_where_a_recipe_asks(resolver: Resolver, tmp_path: Path) -> None:
    assert not {"flow", "flow_visible"} & set(clip_of(resolver, tmp_path, render=analytic.settings()).arrays)
    assert b"flow" not in to_json(analytic.scene()) and b'"flow":true' in to_json(analytic.scene(render=FLOW))


@pytest.mark.parametrize("codec", ["exact", "compact"])
def test_a_clip_with_flow_becomes_a_sample_and_a_clip_again(codec: Codec, resolver: Resolver, tmp_path: Path) -> None:
    spec = analytic.scene(frames=2, view=MOVING, render=FLOW)
    rendered = render_scene(spec, resolver, tmp_path)
    (sample,) = samples_of(spec, rendered, builtin_catalogue(), codec)
    assert {"flow", "flow_visible"} <= set(sample.row.attributes)
    back = decode_clip(sample.key, sample.files)
    flow, visible = (rendered.clips[0].arrays[name] for name in ("flow", "flow_visible"))
    np.testing.assert_array_equal(back.arrays["flow_visible"], visible)
    if codec == "exact":
        np.testing.assert_array_equal(back.arrays["flow"], flow)
    else:
        assert np.abs(back.arrays["flow"] - flow).max() < 0.02
        assert 0 < sample.row.codec_errors["flow.p99_pixels"] < 0.02
