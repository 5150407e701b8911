"""Clips to files and back: what each codec promises, and that no bytes can hurt the reader."""

from __future__ import annotations

import dataclasses
import io
import json

import av
import numpy as np
import pytest

from manifests.codec import compact
from manifests.codec.clip_json import MAX_JSON
from manifests.codec.codecs import decode_clip, encode_clip
from manifests.codec.exr import read_exr
from manifests.codec.formats import QUALITIES
from manifests.codec.quantize import DEPTH_STEP
from manifests.contract.attributes import ATTRIBUTES
from manifests.contract.azimuthal import STEPS
from manifests.contract.clip import Clip
from manifests.contract.color import srgb_encode
from manifests.errors import ClipError, CodecError
from tests.manifests.clips import sphere_clip
from tests.manifests.codec_clips import make_clip

CODECS = ("exact", "compact")
SURFACE_ERROR = {"normal": 0.5, "depth": 0.003, "roughness": 0.004, "metallic": 0.004}


def _kept(scheme: str, coding: str, **fields: object) -> dict[str, object]:
    return {"scheme": scheme, "coding": coding, "file": "x.mkv", **fields}


@pytest.fixture(scope="module")
def clip() -> Clip:
    return make_clip(frames=8)


@pytest.fixture(scope="module")
def compact_files(clip: Clip) -> dict[str, bytes]:
    return encode_clip(clip, "compact")[0]


@pytest.fixture(scope="module")
def exact_files(clip: Clip) -> dict[str, bytes]:
    return encode_clip(clip, "exact")[0]


def test_exact_returns_half_representable_values_bit_for_bit(clip: Clip) -> None:
    halved = {
        name: array.astype(np.float16).astype(np.float32) if ATTRIBUTES[name].exact == "half" else array
        for name, array in clip.arrays.items()
    }
    given = dataclasses.replace(clip, arrays=halved)
    files, errors = encode_clip(given, "exact")
    back = decode_clip(given.key, files)
    assert errors == {}
    for name, array in given.arrays.items():
        assert back.arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(back.arrays[name], array)


def test_exact_rounds_other_values_to_the_nearest_half(clip: Clip, exact_files: dict[str, bytes]) -> None:
    back = decode_clip(clip.key, exact_files)
    np.testing.assert_array_equal(back.arrays["rgb"], clip.arrays["rgb"].astype(np.float16).astype(np.float32))
    for name in ("depth", "flow"):
        np.testing.assert_array_equal(back.arrays[name], clip.arrays[name])


def test_an_exact_frame_is_a_multilayer_exr_that_names_its_channels(exact_files: dict[str, bytes]) -> None:
    channels = read_exr(exact_files["0003.exr"])
    assert set(channels) >= {"rgb.R", "basecolor.B", "normal.X", "depth.Z", "roughness.Y", "mask.Y", "instance.I"}
    assert set(channels) >= {"flow.X", "flow.W", "flow_visible.X", "flow_visible.Y"}
    assert channels["depth.Z"].dtype == np.float32 and channels["instance.I"].dtype == np.uint32


@pytest.mark.parametrize("codec", CODECS)
def test_everything_but_pixels_survives_exactly(clip: Clip, codec: str, request: pytest.FixtureRequest) -> None:
    back = decode_clip(clip.key, request.getfixturevalue(f"{codec}_files"))
    assert (back.key, back.fps, back.exposure, dict(back.meta)) == (clip.key, 12.5, 0.75, dict(clip.meta))
    assert back.camera and clip.camera and back.environment and clip.environment
    np.testing.assert_array_equal(back.camera.intrinsics, clip.camera.intrinsics)
    np.testing.assert_array_equal(back.camera.camera_to_world, clip.camera.camera_to_world)
    np.testing.assert_array_equal(back.environment.image, clip.environment.image)
    np.testing.assert_array_equal(back.environment.rotation, clip.environment.rotation)


def test_compact_keeps_what_the_dataset_promises(clip: Clip, compact_files: dict[str, bytes]) -> None:
    back = decode_clip(clip.key, compact_files)
    surface = clip.arrays["mask"][..., 0] > 0
    for name, factor in (("rgb", clip.exposure), ("basecolor", 1.0)):
        shown = [np.clip(srgb_encode(one.arrays[name] * factor), 0, 1) for one in (clip, back)]
        assert -10 * np.log10(np.square(shown[0] - shown[1]).mean()) >= 42
    cosine = np.clip((clip.arrays["normal"] * back.arrays["normal"]).sum(-1), -1, 1)
    assert np.degrees(np.arccos(cosine))[surface].mean() <= SURFACE_ERROR["normal"]
    np.testing.assert_allclose(np.linalg.norm(back.arrays["normal"], axis=-1), 1, atol=1e-5)
    true, kept = clip.arrays["depth"][surface], back.arrays["depth"][surface]
    relative = np.abs(true - kept) / true
    assert relative.mean() <= SURFACE_ERROR["depth"]
    for name in ("roughness", "metallic"):
        assert np.abs(clip.arrays[name] - back.arrays[name])[surface].mean() <= SURFACE_ERROR[name]
    assert np.abs(clip.arrays["mask"] - back.arrays["mask"]).max() <= 0.01
    for name in ("instance", "flow_visible"):
        np.testing.assert_array_equal(back.arrays[name], clip.arrays[name])
    flow = clip.arrays["flow"]
    assert (np.abs(back.arrays["flow"] - flow) <= 0.51 * np.hypot(32, flow) / 2048).all()
    assert (back.arrays["flow"][flow == 0] == 0).all()


def test_compact_restores_every_background_exactly(clip: Clip, compact_files: dict[str, bytes]) -> None:
    back = decode_clip(clip.key, compact_files)
    outside = clip.arrays["mask"][..., 0] == 0
    np.testing.assert_array_equal(back.arrays["mask"][..., 0] == 0, outside)
    np.testing.assert_array_equal(np.isinf(back.arrays["depth"]), np.isinf(clip.arrays["depth"]))
    for name in ("basecolor", "normal", "depth", "roughness", "metallic", "mask", "instance"):
        assert (back.arrays[name][outside] == ATTRIBUTES[name].background_array()).all(), name


def test_an_environment_behind_the_scene_is_kept_as_background_of_rgb(
    clip: Clip, compact_files: dict[str, bytes]
) -> None:
    outside = clip.arrays["mask"][..., 0] == 0
    back = decode_clip(clip.key, compact_files, ["rgb"])
    assert np.abs(back.arrays["rgb"] - np.minimum(clip.arrays["rgb"], 1 / 0.75))[outside].mean() < 0.02


def test_measured_errors_are_those_of_a_reader(clip: Clip) -> None:
    files, errors = encode_clip(clip, "compact")
    back = decode_clip(clip.key, files)
    surface = clip.arrays["mask"][..., 0] > 0
    expected = np.abs(clip.arrays["roughness"] - back.arrays["roughness"])[surface].mean()
    assert errors["roughness.mean_absolute"] == pytest.approx(expected, rel=1e-3)
    assert errors["instance.mean_absolute"] == 0
    assert set(errors) == {
        "rgb.psnr_db",
        "basecolor.psnr_db",
        "normal.mean_angle_degrees",
        "normal.p99_angle_degrees",
        "depth.mean_relative",
        "depth.max_relative",
        "roughness.mean_absolute",
        "metallic.mean_absolute",
        "mask.mean_absolute",
        "instance.mean_absolute",
        "flow.mean_pixels",
        "flow.p99_pixels",
        "flow_visible.mean_absolute",
    }
    ends = np.linalg.norm((clip.arrays["flow"] - back.arrays["flow"]).reshape(-1, 2), axis=-1)
    assert errors["flow.mean_pixels"] == pytest.approx(ends.mean(), rel=1e-3) and 0 < ends.mean() < 0.01
    assert errors["flow.p99_pixels"] == pytest.approx(np.percentile(ends, 99), rel=1e-3)
    depth, kept = clip.arrays["depth"][surface], back.arrays["depth"][surface]
    assert errors["depth.max_relative"] == pytest.approx((np.abs(kept - depth) / depth).max(), rel=1e-3)


def test_a_clip_of_pure_noise_is_encoded_again_until_it_meets_the_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    shape = (3, 48, 48)
    normal = rng.normal((0, 0, 1.5), size=(*shape, 3))
    arrays = {
        "basecolor": rng.random((*shape, 3)).astype(np.float32),
        "normal": (normal / np.linalg.norm(normal, axis=-1, keepdims=True)).astype(np.float32),
        "roughness": rng.random((*shape, 1)).astype(np.float32),
    }
    quantizers: list[tuple[int, int]] = []
    really_encode = compact.encode_video

    def watch(planes: list[np.ndarray], coding: object, fps: float, options: dict[str, str]) -> bytes:
        quantizers.append((len(planes), int(options["qp"])))
        return really_encode(planes, coding, fps, options)

    monkeypatch.setattr(compact, "encode_video", watch)
    _, errors = encode_clip(Clip("noise", arrays), "compact")
    assert errors["basecolor.psnr_db"] >= QUALITIES["basecolor"].bound
    assert errors["normal.mean_angle_degrees"] <= QUALITIES["normal"].bound
    assert errors["roughness.mean_absolute"] <= QUALITIES["roughness"].bound
    assert len(quantizers) > len(arrays)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize(("frames", "height", "width"), [(1, 64, 64), (2, 33, 47), (3, 1, 40), (1, 1, 1), (30, 16, 24)])
def test_any_size_and_length_survives(codec: str, frames: int, height: int, width: int) -> None:
    given = make_clip(frames, height, width)
    back = decode_clip(given.key, encode_clip(given, codec)[0])
    assert {name: array.shape for name, array in back.arrays.items()} == {
        name: array.shape for name, array in given.arrays.items()
    }
    np.testing.assert_array_equal(back.arrays["instance"], given.arrays["instance"])


@pytest.mark.parametrize("codec", CODECS)
def test_a_clip_of_one_attribute_without_camera_light_or_mask_survives(codec: str, clip: Clip) -> None:
    given = Clip("real-video_3", {"roughness": clip.arrays["roughness"]})
    back = decode_clip(given.key, encode_clip(given, codec)[0])
    assert list(back.arrays) == ["roughness"] and back.camera is None and back.environment is None
    assert np.abs(back.arrays["roughness"] - given.arrays["roughness"]).mean() <= 0.004


@pytest.mark.parametrize(("near", "far"), [(0.1, 1e4), (1e-3, 1e5), (5.0, 5.2)])
def test_depth_keeps_its_bound_from_at_hand_to_the_horizon(near: float, far: float) -> None:
    depth = np.geomspace(near, far, 4 * 32 * 48).astype(np.float32).reshape(4, 32, 48, 1)
    depth[:, :4] = np.inf
    files, errors = encode_clip(Clip("far", {"depth": depth}), "compact")
    back = decode_clip("far", files).arrays["depth"]
    np.testing.assert_array_equal(np.isinf(back), np.isinf(depth))
    finite = np.isfinite(depth)
    relative = np.abs(back[finite].astype(np.float64) - depth[finite]) / depth[finite]
    assert relative.max() <= 0.501 * DEPTH_STEP
    assert errors["depth.max_relative"] == pytest.approx(relative.max(), rel=1e-3)
    assert errors["depth.mean_relative"] == pytest.approx(relative.mean(), rel=1e-3)


def test_flow_of_many_images_keeps_its_relative_bound() -> None:
    far = np.geomspace(1e-3, 16384, 2 * 16 * 24).astype(np.float32).reshape(2, 16, 24, 1)
    flow = np.concatenate([far, -far, np.flip(far), 0 * far], axis=-1)
    files, _ = encode_clip(Clip("quick", {"flow": flow}), "compact")
    back = decode_clip("quick", files).arrays["flow"]
    assert (np.abs(back - flow) <= 0.51 * np.hypot(32, flow) / 2048).all()
    assert (back[..., 3] == 0).all()


def test_instances_beyond_one_byte_survive(clip: Clip) -> None:
    index = clip.arrays["instance"] * np.uint16(30_000)
    files, _ = encode_clip(Clip("many", {"instance": index}), "compact")
    np.testing.assert_array_equal(decode_clip("many", files).arrays["instance"], index)


@pytest.mark.parametrize("codec", CODECS)
def test_equal_clips_give_equal_bytes(codec: str) -> None:
    assert encode_clip(make_clip(4), codec) == encode_clip(make_clip(4), codec)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("frames", [slice(2, 5), slice(None, None, 3), [6], [5, 0, 5], [-1]])
def test_chosen_frames_and_attributes_equal_those_of_the_whole_clip(
    codec: str, frames: slice | list[int], clip: Clip, request: pytest.FixtureRequest
) -> None:
    files = request.getfixturevalue(f"{codec}_files")
    whole, some = decode_clip(clip.key, files), decode_clip(clip.key, files, ["normal", "depth"], frames)
    assert list(some.arrays) == ["normal", "depth"]
    for name, array in some.arrays.items():
        np.testing.assert_array_equal(array, whole.arrays[name][frames])
    assert some.camera and whole.camera and some.environment and whole.environment
    np.testing.assert_array_equal(some.camera.camera_to_world, whole.camera.camera_to_world[frames])
    np.testing.assert_array_equal(some.environment.rotation, whole.environment.rotation[frames])


def test_threads_change_no_byte(clip: Clip) -> None:
    assert encode_clip(clip, "compact", threads=5) == encode_clip(clip, "compact")


@pytest.mark.parametrize("codec", ["compact", "exact"])
def test_codes_are_the_rounded_values(codec: str, clip: Clip, request: pytest.FixtureRequest) -> None:
    files = request.getfixturevalue(f"{codec}_files")
    backwards = list(range(clip.frames))[::-1]
    values, coded = (decode_clip(clip.key, files, frames=backwards, coded=coded) for coded in (False, True))
    for name, array in coded.arrays.items():
        assert array.transpose(0, 3, 1, 2).flags.c_contiguous, "planar memory, in whatever order frames were asked for"
        known = values.arrays[name]
        if ATTRIBUTES[name].is_vector:
            x, y = (array[..., axis] / STEPS for axis in range(2))
            height = 1 - (x**2 + y**2) / 2
            back = np.stack([x * np.sqrt((1 + height) / 2), y * np.sqrt((1 + height) / 2), height], axis=-1)
            known = known / np.linalg.norm(known, axis=-1, keepdims=True)
            assert np.degrees(np.linalg.norm(back - known, axis=-1)).max() < 0.003
            continue
        if array.dtype != np.uint8:
            np.testing.assert_allclose(array, known, rtol=2**-11, atol=2**-25)
            continue
        if ATTRIBUTES[name].compact == "srgb":
            known = np.minimum(srgb_encode(known * np.float32(clip.exposure if name == "rgb" else 1)), 1)
        assert np.abs(array - 255.0 * known).max() <= 0.5 + 0.1  # the table of linear values has 4,096 steps


@pytest.mark.parametrize("together", [1, 2, 3])
def test_how_many_frames_are_restored_at_once_changes_nothing(
    together: int, clip: Clip, compact_files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = decode_clip(clip.key, compact_files)
    monkeypatch.setattr(compact, "_TOGETHER", together * clip.size[0] * clip.size[1])
    parted = decode_clip(clip.key, compact_files)
    for name, array in whole.arrays.items():
        np.testing.assert_array_equal(parted.arrays[name], array)


def test_only_the_files_that_are_needed_are_read(clip: Clip, compact_files: dict[str, bytes]) -> None:
    needed = {name: compact_files[name] for name in ("clip.json", "basecolor.mp4", "mask.mkv")}
    back = decode_clip(clip.key, needed, ["basecolor"], light=False)
    assert list(back.arrays) == ["basecolor"] and back.environment is None


def test_any_player_opens_the_files(compact_files: dict[str, bytes]) -> None:
    for suffix, data in compact_files.items():
        if suffix.endswith((".mp4", ".mkv")):
            with av.open(io.BytesIO(data)) as container:
                assert sum(1 for _ in container.decode(video=0)) == 8
    assert json.loads(compact_files["clip.json"])["attributes"]["depth"]["scheme"] == "log-depth"


def test_a_missing_file_is_named(clip: Clip, compact_files: dict[str, bytes]) -> None:
    files = {name: data for name, data in compact_files.items() if name != "normal.mp4"}
    with pytest.raises(CodecError, match=rf"clip {clip.key}: its file normal\.mp4 is missing"):
        decode_clip(clip.key, files)


def test_a_damaged_file_is_named_with_its_attribute(clip: Clip, compact_files: dict[str, bytes]) -> None:
    with pytest.raises(CodecError, match=rf"clip {clip.key}, depth: "):
        decode_clip(clip.key, {**compact_files, "depth.mkv": compact_files["depth.mkv"][:200]})
    with pytest.raises(CodecError, match=rf"clip {clip.key}, rgb: .*expected 64x64"):
        other = encode_clip(make_clip(8, 32, 32), "compact")[0]
        decode_clip(clip.key, {**compact_files, "rgb.mp4": other["rgb.mp4"]})
    with pytest.raises(CodecError, match=rf"clip {clip.key}, rgb: more than 8 frames"):
        other = encode_clip(make_clip(9), "compact")[0]
        decode_clip(clip.key, {**compact_files, "rgb.mp4": other["rgb.mp4"]})


def test_requests_that_a_clip_cannot_meet_say_so(clip: Clip, compact_files: dict[str, bytes]) -> None:
    with pytest.raises(CodecError, match="does not hold geometric_normal"):
        decode_clip(clip.key, compact_files, ["geometric_normal"])
    with pytest.raises(CodecError, match=r"frames \[8\] of 8"):
        decode_clip(clip.key, compact_files, frames=[8])
    with pytest.raises(CodecError, match="no frame"):
        decode_clip(clip.key, compact_files, frames=slice(3, 3))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 999}, "contract version 999"),
        ({"frames": 60_000, "height": 16_384, "width": 16_384}, "at most"),
        ({"frames": 10**9}, "frames"),
        ({"frames": 7}, "camera has 8 poses for 7 frames"),
        ({"exposure": 0.0}, "exposure"),
        ({"fps": -1.0}, "fps"),
        ({"attributes": {"rgb": {"scheme": "index"}}}, "kept as index"),
        ({"attributes": {"colour": {"scheme": "srgb"}}}, r"unknown attributes \['colour'\]"),
        ({"codec": "zip"}, "codec"),
        ({"attributes": {"instance": _kept("index", "ffv1-gray8", masked=True)}}, "cleared by the mask"),
        ({"attributes": {"depth": _kept("log-depth", "ffv1-gray12", levels=10**30)}}, "levels"),
        ({"attributes": {"depth": _kept("log-depth", "ffv1-gray12", low=-1.0, levels=9)}}, "ranges over"),
        ({"attributes": {"normal": _kept("azimuthal", "h264-planes", masked=True)}}, "a mask that the clip does not"),
    ],
)
def test_a_header_that_lies_is_refused(
    change: dict[str, object], message: str, clip: Clip, compact_files: dict[str, bytes]
) -> None:
    header = json.loads(compact_files["clip.json"]) | change
    with pytest.raises(CodecError, match=message):
        decode_clip(clip.key, {**compact_files, "clip.json": json.dumps(header).encode()})


@pytest.mark.parametrize("codec", CODECS)
def test_a_zoom_comes_back_and_a_lens_that_stays_is_written_as_ever(codec: str) -> None:
    zooming = sphere_clip("zoom", frames=4, zoom=1.7)
    files, _ = encode_clip(zooming, codec)
    header = json.loads(files["clip.json"])
    assert header["version"] == 2  # older readers refuse it, rather than take one lens for all
    assert "intrinsics" not in header["camera"]
    back, some = decode_clip("zoom", files), decode_clip("zoom", files, frames=[3, 1])
    assert back.camera is not None and some.camera is not None and zooming.camera is not None
    np.testing.assert_array_equal(back.camera.intrinsics, zooming.camera.intrinsics)
    np.testing.assert_array_equal(some.camera.intrinsics, zooming.camera.intrinsics[[3, 1]])
    still = json.loads(encode_clip(sphere_clip("still"), codec)[0]["clip.json"])
    assert still["version"] == 1
    assert list(still["camera"]) == ["intrinsics", "camera_to_world"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"intrinsics": np.eye(3).tolist()}, "both or neither"),
        ({"frame_intrinsics": [np.eye(3).tolist()] * 3}, "3 frame_intrinsics for 4 frames"),
        ({"frame_intrinsics": np.eye(3).tolist()}, "clip.json"),
    ],
)
def test_a_header_that_lies_about_its_lens_is_refused(change: dict[str, object], message: str) -> None:
    files, _ = encode_clip(sphere_clip("zoom", frames=4, zoom=1.7), "compact")
    header = json.loads(files["clip.json"])
    header["camera"] |= change
    with pytest.raises(CodecError, match=message):
        decode_clip("zoom", {**files, "clip.json": json.dumps(header).encode()})


@pytest.mark.parametrize("data", [b"", b"{", b"[" * 100_000, b"\xff\xfe", b" " * (MAX_JSON + 1), b"null"])
def test_a_header_that_is_no_header_is_refused(data: bytes) -> None:
    with pytest.raises(CodecError, match=r"clip k, clip\.json"):
        decode_clip("k", {"clip.json": data})


def test_meta_that_is_not_json_is_refused_when_encoding(clip: Clip) -> None:
    with pytest.raises(ClipError, match="meta"):
        encode_clip(dataclasses.replace(clip, meta={"bad": object()}), "exact")


@pytest.mark.parametrize("codec", CODECS)
def test_hundreds_of_mutilated_files_end_in_a_clip_or_a_codec_error(codec: str) -> None:
    files, _ = encode_clip(make_clip(3, 32, 32), codec)
    rng = np.random.default_rng(11)
    names = sorted(files)
    refused = 0
    for turn in range(300):
        name = names[turn % len(names)]
        data = bytearray(files[name])
        place = int(rng.integers(len(data)))
        match turn % 4:
            case 0:
                data[place] ^= 1 << int(rng.integers(8))
            case 1:
                del data[place:]
            case 2:
                data[place : place + 4] = b"\xff\xff\xff\x7f"
            case _:
                data[int(rng.integers(min(len(data), 500)))] = int(rng.integers(256))
        try:
            decode_clip("victim", {**files, name: bytes(data)})
        except CodecError as error:
            assert "victim" in str(error)
            refused += 1
    assert refused > 100
