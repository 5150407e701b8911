"""What `render_scene` promises beside the pixels of one clip."""

from __future__ import annotations

import resource
from pathlib import Path

import msgspec
import numpy as np
import pytest

from datagen.blender import session
from datagen.blender.render import render_scene
from datagen.resolver import Resolver
from manifests import object_path
from manifests.errors import RenderError, StorageError
from manifests.object_path import place
from scenes import motion
from scenes.spec import Builtin, File, Native, ObjectRotation, ObjectTranslation, SceneLight, digest, from_json
from tests.datagen import analytic
from tests.object_store import connected

pytestmark = pytest.mark.usefixtures("cpu")
TWO_LIGHTS = (
    SceneLight(map=analytic.environment_file("lobes.exr"), yaw=10.0),
    SceneLight(map=Builtin(uid="red", generator="constant", params={"colour": (2.0, 0.1, 0.1)})),
)


def test_lights_share_everything_but_rgb_and_environment(resolver: Resolver, tmp_path: Path) -> None:
    spec = analytic.scene(lights=TWO_LIGHTS, frames=2)
    rendered = render_scene(spec, resolver, tmp_path)
    first, second = rendered.clips
    assert [clip.key for clip in rendered.clips] == ["00000003-00", "00000003-01"]
    for name in first.arrays:
        assert (first.arrays[name] is second.arrays[name]) == (name != "rgb")
    assert len(rendered.seconds) == len(rendered.samples) == len(rendered.flags) == 2
    red = second.arrays["rgb"]
    background = second.arrays["mask"][..., 0] == 0
    np.testing.assert_allclose(red[background], np.tile((2.0, 0.1, 0.1), (background.sum(), 1)), rtol=1e-3)
    assert not list(tmp_path.glob("frames-*"))


def test_a_second_light_renders_as_if_it_were_the_only_one(resolver: Resolver, tmp_path: Path) -> None:
    sharp = analytic.settings(samples=64)
    both = render_scene(analytic.scene(lights=TWO_LIGHTS[::-1], render=sharp), resolver, tmp_path).clips[1]
    alone = render_scene(analytic.scene(lights=TWO_LIGHTS[:1], render=sharp), resolver, tmp_path).clips[0]
    difference = np.abs(both.arrays["rgb"] - alone.arrays["rgb"]).mean() / alone.arrays["rgb"].mean()
    assert difference < 0.05  # other noise, same light


def test_a_clip_says_how_to_render_it_again(resolver: Resolver, tmp_path: Path) -> None:
    spec = analytic.mirror_ball(frames=2)
    rendered = render_scene(spec, resolver, tmp_path)
    clip = rendered.clips[0]
    assert from_json(rendered.spec_json) == spec
    assert clip.meta == {"spec_digest": digest(spec), "light": 0} and rendered.spec_digest == digest(spec)
    assert clip.camera is not None and clip.environment is not None
    np.testing.assert_array_equal(clip.camera.camera_to_world, motion.camera_to_world(spec.view, 2))
    np.testing.assert_array_equal(
        clip.environment.rotation, motion.light_rotations(spec.lights[0], spec.light_motion, 2)
    )
    assert rendered.device.startswith("CPU ")
    assert rendered.samples == [16.0]
    assert "Saved" in rendered.log_tail


def test_adaptive_sampling_reports_the_samples_really_taken(resolver: Resolver, tmp_path: Path) -> None:
    adaptive = analytic.settings(samples=256, adaptive_threshold=0.1)
    (samples,) = render_scene(analytic.scene(render=adaptive), resolver, tmp_path).samples
    assert 4 < samples < 200


def test_material_areas_are_shares_of_the_surface_pixels(resolver: Resolver, tmp_path: Path) -> None:
    rendered = render_scene(analytic.scene(objects=(analytic.sphere(material=analytic.MIRROR),)), resolver, tmp_path)
    areas = {use.name: use.area for use in rendered.materials}
    instance = rendered.clips[0].arrays["instance"]
    assert areas["mirror"] == pytest.approx((instance == 2).sum() / (instance > 0).sum(), abs=1e-5)
    assert sum(areas.values()) == pytest.approx(1.0, abs=1e-5)
    assert {use.status for use in rendered.materials} == {"resolved"}


def test_objects_move_as_the_spec_says(resolver: Resolver, tmp_path: Path) -> None:
    ball = analytic.sphere(scale=0.4, motions=(ObjectTranslation(offset=(0.8, 0.4)), ObjectRotation(degrees=90.0)))
    spec = analytic.scene(frames=3, objects=(ball,), ground=None, render=analytic.settings(width=64, height=64))
    clip = render_scene(spec, resolver, tmp_path).clips[0]
    assert clip.camera is not None
    places = motion.object_to_world(ball, 3) @ [0.0, 0.0, 0.5, 1.0]
    pixels, _ = clip.camera.project(places[:, :3])
    for frame in range(3):
        shown = np.argwhere(clip.arrays["instance"][frame, ..., 0] == 2).mean(axis=0) + 0.5
        assert np.abs(shown[::-1] - pixels[frame, frame]).max() < 0.5


def test_suzanne_stands_in_the_normalised_frame(resolver: Resolver, tmp_path: Path) -> None:
    monkey = analytic.sphere(mesh=Builtin(uid="suzanne", generator="suzanne"))
    clip = render_scene(analytic.scene(objects=(monkey,)), resolver, tmp_path).clips[0]
    assert (clip.arrays["instance"] == 2).mean() > 0.05
    from datagen.blender.mesh_objects import suzanne

    with session.current().scene():
        points = np.array([vertex.co for vertex in suzanne().data.vertices])
    low, high = points.min(axis=0), points.max(axis=0)
    np.testing.assert_allclose([low[2], (high - low).max()], [0.0, 1.0], atol=1e-6)
    np.testing.assert_allclose((low + high)[:2], 0.0, atol=1e-6)


def test_imported_meshes_keep_their_own_materials_or_take_another(resolver: Resolver, tmp_path: Path) -> None:
    folder = resolver.roots["test"]
    (folder / "two.mtl").write_text("newmtl left\nKd 1 0 0\nnewmtl right\nKd 0 0 1\n")
    corners = [(x, y, z) for x in (0, 1, 2) for y in (0, 1) for z in (0, 1)]
    faces = {"left": ["1 2 4 3", "1 5 6 2", "3 4 8 7", "1 3 7 5", "2 6 8 4"]}
    faces["right"] = ["9 11 12 10", "5 9 10 6", "7 8 12 11", "5 7 11 9", "6 10 12 8"]
    lines = ["mtllib two.mtl", *(f"v {x} {y} {z}" for x, y, z in corners)]
    lines += [line for name, listed in faces.items() for line in (f"usemtl {name}", *(f"f {face}" for face in listed))]
    (folder / "two.obj").write_text("\n".join(lines) + "\n")
    block = analytic.sphere(mesh=File(uid="two", provider="test", path="two.obj", sha256=""), material=Native())
    rendered = render_scene(analytic.scene(objects=(block,)), resolver, tmp_path)
    shown = rendered.clips[0].arrays["instance"][0, ..., 0] == 2
    colours = rendered.clips[0].arrays["basecolor"][0][shown & (rendered.clips[0].arrays["mask"][0, ..., 0] == 1)]
    red, blue = colours[:, 0] > 0.9, colours[:, 2] > 0.9
    assert red.mean() > 0.2 and blue.mean() > 0.2
    areas = {use.name: use.area for use in rendered.materials}
    assert areas["left"] == pytest.approx(areas["right"], rel=1e-3)
    plain = msgspec.structs.replace(block, material=analytic.MIRROR)
    clip = render_scene(analytic.scene(objects=(plain,)), resolver, tmp_path).clips[0]
    inside = (clip.arrays["instance"][0, ..., 0] == 2) & (clip.arrays["mask"][0, ..., 0] == 1)
    assert np.median(clip.arrays["metallic"][0][inside]) == 1.0


@pytest.mark.parametrize(
    ("mesh", "reason"),
    [
        (Builtin(uid="x", generator="no-such-mesh"), "bad-spec"),
        (Builtin(uid="x", generator="ellipsoid", params={"flavour": 1}), "bad-spec"),
        (File(uid="x", provider="test", path="absent.glb", sha256=""), "missing-asset"),
    ],
)
def test_a_spec_that_cannot_be_built_is_a_typed_failure_and_leaves_no_trace(
    resolver: Resolver, tmp_path: Path, mesh: Builtin | File, reason: str
) -> None:
    before = session.snapshot()
    with pytest.raises(RenderError) as caught:
        render_scene(analytic.scene(objects=(analytic.sphere(mesh=mesh),)), resolver, tmp_path)
    assert caught.value.reason == reason
    assert session.snapshot() == before


def test_frames_that_cannot_be_written_are_a_typed_failure(resolver: Resolver, tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(RenderError, match="scene 3: ") as caught:
            render_scene(analytic.scene(), resolver, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.reason == "render-error"
    assert "0000.exr" in caught.value.log_tail
    assert not list(tmp_path.glob("frames-*"))


@pytest.mark.slow
def test_memory_does_not_creep(resolver: Resolver, tmp_path: Path) -> None:
    def resident() -> float:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20

    levels = []
    for index in range(120):
        light = SceneLight(map=analytic.environment_file("lobes.exr"), yaw=float(index))
        spec = analytic.scene(index=index, frames=2, lights=(light,), objects=(analytic.sphere(segments=48 + index),))
        render_scene(spec, resolver, tmp_path)
        levels.append(resident())
    assert levels[-1] - levels[20] < 60


def test_a_bucket_that_does_not_answer_is_no_fault_of_the_scene(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(object_path, "TRIES", 0)
    monkeypatch.setattr(object_path, "_PAUSES_S", ())
    block = analytic.sphere(mesh=File(uid="a", provider="test", path="a.obj", sha256="0" * 64))
    with connected(monkeypatch, "http://127.0.0.1:9"), pytest.raises(StorageError, match=r"cannot be reached"):
        render_scene(analytic.scene(objects=(block,)), Resolver({"test": place("s3://tests/a")}, tmp_path), tmp_path)
