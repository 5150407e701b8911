"""An augmented clip is a valid clip: geometry, light and colours change together."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import cv2
import numpy as np
import pytest
import torch

from manifests.contract.camera import Camera
from manifests.contract.color import srgb_decode, srgb_encode
from manifests.contract.environment import Environment, camera_directions
from renderers.light.panoramas import backgrounds, panoramas, stored_to_panorama
from renderers.modelspace import relative_depth
from tests.manifests.clips import SUN, sphere_clip
from tests.training.sets import normals_from_depth
from training.data import clip_light
from training.data.augment import (
    Augmentation,
    ClipCut,
    apply_cut,
    crop,
    draw_cut,
    fits,
    mirror,
    permute,
    scaled,
    select,
)
from training.data.batch import (
    Batch,
    ClipCodes,
    ClipEntry,
    Visit,
    _directions,
    _indexed,
    _looked_up,
    codes_of,
    collate,
    depth_limits,
)

SIZE = 32
WANTED = ("rgb", "basecolor", "normal", "depth", "roughness", "metallic", "mask")


@pytest.fixture(scope="module", params=[1.0, 1.4], ids=["still-lens", "zoom"])
def clip(request):  # type: ignore[no-untyped-def]
    """A sphere on a plane seen by an orbiting camera, colours encoded as those of an image folder."""
    made = sphere_clip("ball", frames=4, size=SIZE, seed=3, zoom=request.param)
    arrays = {name: made.arrays[name] for name in WANTED}
    for name in ("rgb", "basecolor"):
        arrays[name] = np.clip(srgb_encode(arrays[name]), 0, 1).astype(np.float32)
    return type(made)(made.key, arrays, made.camera, made.environment, made.fps, made.exposure)


def values(clips: Sequence[ClipCodes], gains: Sequence[float] = (1.0, 1.0)) -> Batch:
    """A batch of clips with changes of exposure."""
    entry = ClipEntry("clip", 4, SIZE, SIZE)
    return collate([Visit(codes, entry, gain) for codes, gain in zip(clips, gains, strict=False)]).to("cpu")


@pytest.fixture(scope="module")
def packed(clip) -> ClipCodes:  # type: ignore[no-untyped-def]
    return codes_of(clip, (16, 32), background=True)


def seen(codes: ClipCodes) -> tuple[np.ndarray, np.ndarray]:
    """Panoramas (T, 3, h, w) and what lies behind the pixels (T, 3, H, W)."""
    assert codes.light is not None
    panorama, behind = codes.light.seen(codes.light.stored.image)
    assert behind is not None
    return panorama.numpy(), behind.numpy()


def normals(codes: np.ndarray) -> np.ndarray:
    """(T, H, W, 3) unit vectors of `ClipCodes` normals."""
    return _directions(torch.from_numpy(np.ascontiguousarray(codes))[None])[0].permute(0, 2, 3, 1).double().numpy()


def _agreement(packed: ClipCodes) -> float:
    """Median angle in degrees between stored normals and those of the depth's slopes, where they lean to a side."""
    depth = packed.arrays["depth"][:, 0].astype(np.float64)
    depth[~np.isfinite(depth)] = 1e3
    slopes = normals_from_depth(depth, packed.intrinsics)
    stored = normals(packed.arrays["normal"])[:, 1:-1, 1:-1]
    solid = np.isfinite(packed.arrays["depth"][:, 0])[:, 1:-1, 1:-1]
    cosine = np.clip((slopes * stored).sum(-1)[solid & (np.abs(stored[..., 0]) > 0.2)], -1, 1)
    return float(np.degrees(np.median(np.arccos(cosine))))


def test_mirrored_normals_agree_with_mirrored_depth(packed: ClipCodes) -> None:
    assert _agreement(packed) < 6
    assert _agreement(mirror(packed)) < 6
    flipped = mirror(packed)
    wrong = {**flipped.arrays, "normal": packed.arrays["normal"][..., ::-1]}
    assert _agreement(ClipCodes(wrong, None, 1.0, flipped.intrinsics, None)) > 30, (
        "the check must see an unturned normal"
    )


def test_a_mirrored_clip_is_lit_and_placed_as_the_mirrored_world(packed: ClipCodes) -> None:
    """The plane z = 0 and its checker stay where the mirrored world has them, and the sun shines from its mirror."""
    flipped = mirror(packed)
    assert flipped.camera_to_world is not None
    rotations = flipped.camera_to_world[:, :3, :3]
    np.testing.assert_allclose(
        rotations @ rotations.transpose(0, 2, 1), np.broadcast_to(np.eye(3), (4, 3, 3)), atol=1e-9
    )
    assert (np.linalg.det(rotations) > 0).all()
    camera = Camera(flipped.intrinsics, flipped.camera_to_world)
    depth = flipped.arrays["depth"][:, 0].astype(np.float64)
    sun = SUN * np.array([-1, 1, 1])
    for frame in range(4):
        points = (
            camera.at([frame]).rays(SIZE, SIZE).reshape(SIZE, SIZE, 3)
            * np.nan_to_num(depth, posinf=0.0)[frame, ..., None]
            @ rotations[frame].T
            + camera.camera_to_world[frame, :3, 3]
        )
        normal = normals(flipped.arrays["normal"])[frame] @ rotations[frame].T
        solid = np.isfinite(depth[frame])
        ground = solid & (normal[..., 2] > 0.999)
        assert np.abs(points[ground][:, 2]).max() < 0.02
        shade = 0.15 + np.maximum(normal @ sun, 0)
        base = flipped.arrays["basecolor"][frame].transpose(1, 2, 0) / 255
        seen = flipped.arrays["rgb"][frame].transpose(1, 2, 0) / 255
        expected = np.clip(srgb_encode(((base + 0.055) / 1.055).clip(0.04) ** 2.4 * shade[..., None]), 0, 1)
        bright = solid & (base.min(-1) > 0.2)
        assert np.abs(seen - expected)[bright].mean() < 0.02


def test_mirroring_reflects_the_panorama_and_what_lies_behind(packed: ClipCodes) -> None:
    flipped = mirror(packed)
    directions = camera_directions(16, 32)
    reflected = directions * np.array([-1, 1, 1])
    order = np.abs(directions[:, ::-1] - reflected).max()
    assert order < 1e-12, "the panorama's grid must be symmetric, so that a flip is a reflection"
    for one, other in zip(seen(flipped), seen(packed), strict=True):
        np.testing.assert_array_equal(one, other[..., ::-1])


def test_panorama_and_background_show_the_light_that_the_camera_would_see(clip, packed: ClipCodes) -> None:  # type: ignore[no-untyped-def]
    pose, light = clip.camera.camera_to_world[2], clip.environment
    rays = clip.camera.at([2]).rays(SIZE, SIZE).reshape(SIZE, SIZE, 3)
    world = rays / np.linalg.norm(rays, axis=-1, keepdims=True) @ pose[:3, :3].T
    expected = light.radiance(world, 2)
    panorama, behind = seen(packed)
    np.testing.assert_allclose(behind[2].transpose(1, 2, 0), expected, rtol=2e-3, atol=1e-3)
    total = light.image.mean()
    assert panorama.astype(np.float64).mean() == pytest.approx(total, rel=0.5)


def test_a_cut_sees_what_the_whole_clip_turned_frame_by_frame_and_then_cut_would_show(clip, packed: ClipCodes) -> None:  # type: ignore[no-untyped-def]
    """Every frame turned by itself, then cut, scaled by OpenCV, mirrored and permuted as pictures are."""
    light, camera = clip.environment, clip.camera
    cut = ClipCut((3, 1), (5, 2, 22, 25), (11, 14), mirrored=True, channels=(2, 0, 1), gain=1.0, unconditional=False)
    for _ in range(2):  # the second time from what was made before
        panorama, behind = seen(apply_cut(packed, cut))
        for place, frame in enumerate(cut.frames):
            turn, pose = light.rotation[[frame]], camera.camera_to_world[[frame]]
            whole = panoramas(light.image, turn, pose, 16, 32)[0].numpy()
            np.testing.assert_allclose(panorama[place], whole[[2, 0, 1], :, ::-1], rtol=2e-3, atol=1e-3)
            rays = camera.at([frame]).rays(SIZE, SIZE).reshape(SIZE, SIZE, 3)
            picture = backgrounds(light.image, turn, pose, rays)[0].numpy()[:, 5:27, 2:27]
            small = np.stack([cv2.resize(plane, (14, 11), interpolation=cv2.INTER_AREA) for plane in picture])
            np.testing.assert_allclose(behind[place], small[[2, 0, 1], :, ::-1], rtol=2e-3, atol=1e-3)


def test_light_is_turned_once_for_every_pose(monkeypatch: pytest.MonkeyPatch) -> None:
    made = sphere_clip("still", frames=4, size=SIZE)
    poses = made.camera.camera_to_world[[0, 0, 1, 1]]
    light = Environment(made.environment.image, np.repeat(made.environment.rotation[:1], 4, axis=0))
    still = dataclasses.replace(made, camera=Camera(made.camera.intrinsics, poses), environment=light)
    turned: list[int] = []

    def counted(image: torch.Tensor, turns: torch.Tensor, *size: int) -> torch.Tensor:
        turned.append(len(turns))
        return stored_to_panorama(image, turns, *size)

    monkeypatch.setattr(clip_light, "stored_to_panorama", counted)
    codes = codes_of(still, (16, 32), background=True)
    for frames, expected in (((0, 1), [1]), ((1, 2, 3), [1, 1]), ((0, 1, 2, 3), [1, 1])):
        seen(select(codes, frames))
        assert turned == expected
    assert codes.light is not None
    assert (
        codes.light.stored.nbytes
        >= sum(each.nbytes for pair in codes.light.stored.turned.values() for each in pair)
        + codes.light.stored.image.nbytes
    )


def test_cropping_moves_the_principal_point(packed: ClipCodes) -> None:
    small = crop(packed, 5, 9, 16, 12)
    assert small.arrays["rgb"].shape == (4, 3, 16, 12)
    poses = np.tile(np.eye(4), (4, 1, 1))
    whole, part = Camera(packed.intrinsics, poses), Camera(small.intrinsics, poses)
    np.testing.assert_allclose(part.rays(16, 12), whole.rays(SIZE, SIZE)[..., 5:21, 9:21, :], atol=1e-12)
    np.testing.assert_array_equal(small.arrays["depth"], packed.arrays["depth"][..., 5:21, 9:21])


def test_frames_are_selected_with_their_lenses() -> None:
    zooming = sphere_clip("zoom", frames=4, size=SIZE, zoom=2.0)
    whole = codes_of(zooming, (16, 32), background=True)
    for frames in ((0, 2), (3, 2, 1), (1,)):
        cut = select(whole, frames)
        np.testing.assert_array_equal(cut.intrinsics, zooming.camera.intrinsics[list(frames)])


def test_a_still_camera_that_zooms_sees_another_background_in_every_frame() -> None:
    made = sphere_clip("zoom", frames=3, size=SIZE, zoom=2.0)
    still = np.repeat(made.camera.camera_to_world[:1], 3, axis=0)
    light = Environment(made.environment.image, np.repeat(made.environment.rotation[:1], 3, axis=0))
    fixed = dataclasses.replace(made, camera=Camera(made.camera.intrinsics, still), environment=light)
    _, behind = seen(codes_of(fixed, (16, 32), background=True))
    for frame in range(3):
        rays = fixed.camera.rays(SIZE, SIZE)[frame] @ still[0, :3, :3].T
        expected = light.radiance(rays / np.linalg.norm(rays, axis=-1, keepdims=True), frame)
        np.testing.assert_allclose(behind[frame].transpose(1, 2, 0), expected, rtol=2e-3, atol=1e-3)


def test_a_batch_of_zooms_and_still_lenses_has_a_lens_for_every_frame() -> None:
    still, zooming = (codes_of(sphere_clip("c", frames=4, size=SIZE, zoom=zoom), None) for zoom in (1.0, 2.0))
    assert values([still, still]).intrinsics.shape == (2, 3, 3)
    lens = values([still, zooming]).intrinsics
    assert lens.shape == (2, 4, 3, 3)
    for codes, row in ((still, 0), (zooming, 1)):
        expected = np.broadcast_to(codes.intrinsics, (4, 3, 3))
        np.testing.assert_allclose(lens[row].numpy(), expected, rtol=1e-6)


def test_scaling_keeps_rays_light_and_surfaces(packed: ClipCodes) -> None:
    small = scaled(packed, SIZE // 2, SIZE // 4)
    poses = np.tile(np.eye(4), (4, 1, 1))
    whole, part = Camera(packed.intrinsics, poses), Camera(small.intrinsics, poses)
    rays = whole.rays(SIZE, SIZE).reshape(-1, SIZE // 2, 2, SIZE // 4, 4, 3).mean(axis=(2, 4))
    np.testing.assert_allclose(part.rays(SIZE // 2, SIZE // 4).reshape(rays.shape), rays, atol=1e-12)
    linear = srgb_decode(packed.arrays["rgb"] / 255).reshape(4, 3, SIZE // 2, 2, SIZE // 4, 4).mean(axis=(3, 5))
    assert np.abs(small.arrays["rgb"] - 255 * srgb_encode(linear)).max() <= 0.51
    for name in ("depth", "normal"):
        np.testing.assert_array_equal(small.arrays[name], packed.arrays[name][..., 1::2, 2::4])
    assert {name: array.dtype for name, array in small.arrays.items()} == {
        name: array.dtype for name, array in packed.arrays.items()
    }


def test_a_wide_film_fills_a_square_size_without_distortion() -> None:
    rng = np.random.default_rng(0)
    cuts = [draw_cut(Augmentation(1, (64, 64)), 1, 214, 512, rng) for _ in range(200)]
    heights = [cut.window[2] for cut in cuts]
    assert min(heights) < 70 and max(heights) > 200
    assert all(cut.window[2] == cut.window[3] for cut in cuts)


def test_exposure_brightens_picture_and_light_alike(packed: ClipCodes) -> None:
    plain, bright = values([packed]), values([packed], [2.0])
    assert plain.panorama is not None and bright.panorama is not None and bright.background is not None
    torch.testing.assert_close(bright.panorama, 2 * plain.panorama)
    torch.testing.assert_close(bright.background, 2 * plain.background)
    linear = [((sample.rgb / 2 + 0.5 + 0.055) / 1.055) ** 2.4 for sample in (plain, bright)]
    inside = (linear[1] < 0.95) & (linear[0] > 0.02)
    torch.testing.assert_close(linear[1][inside], 2 * linear[0][inside], rtol=1e-3, atol=1e-3)


def test_channels_trade_places_in_picture_base_colour_and_light(packed: ClipCodes) -> None:
    moved = permute(packed, (2, 0, 1))
    for name in ("rgb", "basecolor"):
        np.testing.assert_array_equal(moved.arrays[name][:, 0], packed.arrays[name][:, 2])
    for one, other in zip(seen(moved), seen(packed), strict=True):
        np.testing.assert_array_equal(one[:, [0, 1]], other[:, [2, 0]])
    assert moved.arrays["normal"] is packed.arrays["normal"]


def test_views_use_every_window_stride_and_choice() -> None:
    rng = np.random.default_rng(0)
    options = Augmentation(
        3, (8, 8), (1, 2), mirror=True, permute=True, reverse=True, exposure_stops=(-1, 1), dropout=0.2
    )
    cuts = [draw_cut(options, 6, 10, 12, rng) for _ in range(400)]
    assert {cut.frames for cut in cuts} >= {(0, 1, 2), (3, 4, 5), (0, 2, 4), (1, 3, 5), (5, 3, 1)}
    tops, lefts, heights, widths = (set(values) for values in zip(*(cut.window for cut in cuts), strict=True))
    assert tops == {0, 1, 2} and lefts == {0, 1, 2, 3, 4}
    assert heights == widths == {8, 9, 10} and {cut.size for cut in cuts} == {(8, 8)}
    assert {cut.channels for cut in cuts} == {(a, b, 3 - a - b) for a in range(3) for b in range(3) if a != b}
    assert 0.4 < np.mean([cut.mirrored for cut in cuts]) < 0.6
    assert 0.12 < np.mean([cut.unconditional for cut in cuts]) < 0.28
    assert 0.5 <= min(cut.gain for cut in cuts) < 0.6 and 1.8 < max(cut.gain for cut in cuts) <= 2


def test_options_do_not_shift_each_others_draws() -> None:
    with_all = Augmentation(2, mirror=True, permute=True, exposure_stops=(-1, 1))
    without = Augmentation(2, mirror=False)
    pairs = [
        (
            draw_cut(with_all, 9, 8, 8, np.random.default_rng(seed)),
            draw_cut(without, 9, 8, 8, np.random.default_rng(seed)),
        )
        for seed in range(20)
    ]
    assert all(one.frames == other.frames for one, other in pairs)
    assert not any(other.mirrored for _, other in pairs)


def test_clips_that_are_too_short_or_small_do_not_fit() -> None:
    options = Augmentation(4, (16, 16), (2, 3))
    assert fits(options, 7, 16, 16)
    assert not fits(options, 6, 16, 16)
    assert not fits(options, 7, 16, 15)
    assert fits(Augmentation(4, (16, 16), (2, 3), enlarge=1.25), 7, 13, 16)
    assert not fits(Augmentation(4, (16, 16), (2, 3), enlarge=1.25), 7, 12, 16)


def test_a_small_clip_is_enlarged_as_it_is(packed: ClipCodes) -> None:
    frames, _, height, width = packed.arrays["rgb"].shape
    size = height * 3 // 2, width
    options = Augmentation(1, size, enlarge=2.0, mirror=False)
    cuts = [draw_cut(options, frames, height, width, np.random.default_rng(seed)) for seed in range(8)]
    assert {cut.window[2:] for cut in cuts} == {(height, round(width / 1.5))}  # its aspect is kept
    made = apply_cut(packed, cuts[0])
    assert made.arrays["rgb"].shape[-2:] == size == made.arrays["depth"].shape[-2:]
    assert np.allclose(made.intrinsics[..., 0, 0], 1.5 * select(packed, cuts[0].frames).intrinsics[..., 0, 0], rtol=0.1)


def test_values_come_back_as_the_table_says(clip, packed: ClipCodes) -> None:  # type: ignore[no-untyped-def]
    cut = ClipCut(
        (1, 2), (0, 0, SIZE, SIZE), (SIZE, SIZE), mirrored=False, channels=(0, 1, 2), gain=1.0, unconditional=False
    )
    sample = values([apply_cut(packed, cut)])
    truth = {name: torch.from_numpy(clip.arrays[name][1:3].transpose(0, 3, 1, 2)) for name in WANTED}
    torch.testing.assert_close(sample.rgb[0], 2 * truth["rgb"] - 1, rtol=0, atol=1 / 255 + 1e-6)
    for name in ("roughness", "metallic"):
        torch.testing.assert_close(sample.gbuffers[name][0], truth[name], rtol=0, atol=0.5 / 255 + 1e-6)
    assert torch.rad2deg(torch.acos((sample.gbuffers["normal"][0] * truth["normal"]).sum(1).clamp(-1, 1))).max() < 0.1
    near, far = sample.depth_range[0]
    solid = torch.isfinite(truth["depth"])
    expected = ((truth["depth"] - near) / (far - near)).clamp(0, 1)
    torch.testing.assert_close(sample.gbuffers["depth"][0][solid], expected[solid], rtol=0, atol=2e-3)
    assert (sample.gbuffers["depth"][0][~solid] == 1).all()


def test_codes_become_the_same_values_on_every_device() -> None:
    codes = torch.randint(0, 256, (2, 3, 1, 5, 7), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    tables = torch.rand(2, 256)
    assert torch.equal(_looked_up(tables, codes), _indexed(tables, codes))


def test_clips_without_a_mask_are_all_surface_and_the_others_keep_theirs(packed: ClipCodes) -> None:
    half = np.zeros_like(packed.arrays["mask"])
    half[..., : SIZE // 2] = 255
    bare = dataclasses.replace(packed, arrays={name: packed.arrays[name] for name in ("rgb", "depth")})
    assert (values([bare]).mask == 1).all()
    known, unknown = values([dataclasses.replace(bare, arrays={**bare.arrays, "mask": half}), bare]).mask
    assert (unknown == 1).all()
    assert (known[..., : SIZE // 2] == 1).all() and (known[..., SIZE // 2 :] == 0).all()


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9999, 1.0])
def test_depth_limits_are_those_of_relative_depth(share: float) -> None:
    rng = np.random.default_rng(5)
    halves = rng.uniform(0.01, 900, (3, 1, 31, 17)).astype(np.float16)
    halves[rng.random(halves.shape) < share] = np.inf
    depth = torch.from_numpy(halves).float()[None]
    near, far = depth_limits(halves[..., ::-1])
    _, *expected = relative_depth(depth)
    assert [near, far] == expected
    torch.testing.assert_close(relative_depth(depth, (near[None], far[None]))[0], relative_depth(depth)[0])
