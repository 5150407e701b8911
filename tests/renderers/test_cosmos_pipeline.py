"""How the cosmos networks are fed: latents and their statistics, conditions, noise levels, windows, canvases."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from manifests.errors import CheckpointError, InputError
from renderers.backbone import RenderInputs
from renderers.cosmos.cosmos_backbone import CosmosBackbone
from renderers.cosmos.cosmos_space import CosmosSpace
from renderers.forward import ForwardRenderer
from renderers.inverse import InverseRenderer
from renderers.sampling import samplers
from renderers.sampling.windows import Cut, plan_canvas, plan_grouped, plan_tiles
from tests.renderers import cosmos_reference
from tests.renderers.narrow_cosmos import HEADS, as_published, narrow_cosmos, narrow_video_vae
from tests.renderers.test_borders import moving_ball

torch.set_num_threads(1)
BACKBONE = CosmosBackbone()
LEVELS = (80, 56.037, 38.511, 25.909, 17.022, 10.886, 6.754, 4.046, 2.327, 1.277, 0.662, 0.321, 0.143, 0.0573, 0.02)


def seeded(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def space() -> CosmosSpace:
    return CosmosSpace(narrow_video_vae())


# --- latents


@torch.no_grad()
@pytest.mark.parametrize("frames", [9, 25])
def test_latents_are_normalised_by_channel_and_place_in_the_window(space: CosmosSpace, frames: int) -> None:
    video = seeded(1, frames, 3, 32, 32).tanh()
    raw = space.vae.encode(video.transpose(1, 2)).latent_dist.mode()  # (1, 16, k + 1, 4, 4)
    latents = space.encode(video)
    assert latents.shape == (1, (frames - 1) // 8 + 1, 16, 4, 4)
    config = space.vae.config
    for place in range(latents.shape[1]):
        for channel in (0, 7, 15):
            number = 16 * channel + place
            wanted = (raw[0, channel, place] - config.latents_mean[number]) / config.latents_std[number]
            torch.testing.assert_close(latents[0, place, channel], wanted, atol=1e-5, rtol=0)
    torch.testing.assert_close(space.raw(latents), raw.transpose(1, 2), atol=1e-5, rtol=0)
    assert (latents - raw.transpose(1, 2)).abs().max() > 0.1, "statistics matter"


@torch.no_grad()
def test_a_single_picture_has_statistics_of_its_own(space: CosmosSpace) -> None:
    picture = seeded(1, 1, 1, 32, 32).tanh()
    raw = space.vae.encode(picture.expand(-1, -1, 3, -1, -1).transpose(1, 2)).latent_dist.mode()[0, :, 0]
    mean, deviation = (torch.tensor(space.vae.config[f"image_{name}"])[:, None, None] for name in ("mean", "std"))
    latents = space.encode(picture)
    torch.testing.assert_close(latents[0, 0], (raw - mean) / deviation, atol=1e-5, rtol=0)
    gray = space.decode("roughness", latents)
    colours = space.vae.decode(raw[None, :, None]).sample
    assert gray.shape == (1, 1, 1, 32, 32)
    torch.testing.assert_close(gray[0, 0, 0], colours[0, :, 0].mean(dim=0), atol=1e-4, rtol=0)
    with pytest.raises(InputError, match="no statistics of single images"):
        CosmosSpace(narrow_video_vae(images=False)).encode(picture)
    for frames in (2, 8, 24):
        with pytest.raises(InputError, match="8 k \\+ 1"):
            space.encode(picture.expand(-1, frames, -1, -1, -1))
    with pytest.raises(InputError, match="121 are the most"):
        space.normalised(torch.zeros(1, 17, 16, 2, 2))


@torch.no_grad()
def test_tiles_go_through_the_autoencoder_in_place_of_the_whole() -> None:
    vae, video = narrow_video_vae(), seeded(1, 9, 3, 96, 160).tanh()
    whole, tiled = CosmosSpace(vae), CosmosSpace(vae, area=96 * 96)
    seen: list[int] = []
    hook = vae.encoder.register_forward_pre_hook(lambda _, args: seen.append(args[0].shape[-2] * args[0].shape[-1]))
    latents, pieces = whole.encode(video), tiled.encode(video)
    hook.remove()
    assert seen[0] == 96 * 160 and len(seen) > 2 and max(seen[1:]) <= 96 * 96
    assert latents.shape == pieces.shape
    assert (latents[..., :4] - pieces[..., :4]).abs().mean() < 0.5 * latents.abs().mean()
    assert tiled.decode("rgb", pieces).shape == video.shape
    assert BACKBONE.space(vae, 4) == CosmosSpace(vae, area=512 * 512)
    with pytest.raises(CheckpointError, match="no small decoder"):
        BACKBONE.space(vae, decoder=vae)


# --- conditions, sign, scale, time


class Tags:
    """A space whose latents are the pictures, each channel the first one: shows what is encoded, in which order."""

    factor, scaling = 1, 1.0

    def encode(self, video: Tensor) -> Tensor:
        return video[:, :, :1].expand(-1, -1, 16, -1, -1)


def test_conditions_come_in_the_published_order_with_their_masks() -> None:
    values = {"metallic": 0.1, "roughness": 0.2, "depth": 0.3}
    maps = {name: torch.full((1, 2, 1, 4, 8), value) for name, value in values.items()}
    maps["basecolor"] = torch.full((1, 2, 3, 4, 8), 0.25)
    maps["normal"] = torch.tensor([-0.6, 0.0, 0.8]).view(1, 1, 3, 1, 1).expand(1, 2, 3, 4, 8)
    light = torch.full((1, 1, 3, 4, 8), 2.5)
    inputs = RenderInputs(maps, light, torch.eye(3))
    space: Any = Tags()
    condition, features = BACKBONE.forward_inputs(space, None, inputs, lambda video: video)
    srgb = 1.055 * 0.25 ** (1 / 2.4) - 0.055
    wanted = [2 * srgb - 1, -0.6, 2 * 0.1 - 1, 2 * 0.2 - 1, 2 * 0.3 - 1]
    assert condition.shape == (1, 2, 85, 4, 8)
    for index, value in enumerate(wanted):
        part = condition[:, :, 17 * index : 17 * index + 17]
        torch.testing.assert_close(part[:, :, :16], torch.full((1, 2, 16, 4, 8), 0.5 * value), atol=1e-5, rtol=0)
        assert bool((part[:, :, 16] == 1).all())
    (images,) = features
    tone = 2.5 * (1 + 2.5 / 256) / (1 + 2.5)
    ldr, log = (1.055 * x ** (1 / 2.4) - 0.055 for x in (tone, math.log(3.5) / math.log(10_001)))
    for index, value in enumerate((ldr, log)):
        torch.testing.assert_close(images[0, 0, 17 * index], torch.full((4, 8), value - 0.5), atol=1e-5, rtol=0)
    assert images.shape == (1, 2, 51, 4, 8) and bool((images[:, :, 16::17] == 1).all())


def test_the_light_behind_the_camera_is_in_the_middle_of_the_direction_image() -> None:
    seen: list[Tensor] = []

    class Keep(Tags):
        def encode(self, video: Tensor) -> Tensor:
            seen.append(video)
            return super().encode(video)

    space: Any = Keep()
    maps = {"depth": torch.zeros(1, 1, 1, 16, 32)}
    BACKBONE.forward_inputs(space, None, RenderInputs(maps, torch.ones(1, 1, 3, 16, 32), torch.eye(3)), lambda x: x)
    directions = seen[-1][0, 0]
    for row, column in ((0, 0), (7, 16), (9, 24), (15, 31)):
        theta = math.pi * np.linspace(1 / 16, 1 - 1 / 16, 16)[row]
        phi = math.pi * np.linspace(-1 + 1 / 32, 1 - 1 / 32, 32)[column]
        wanted = [math.sin(theta) * math.sin(phi), math.cos(theta), math.sin(theta) * math.cos(phi)]
        torch.testing.assert_close(directions[:, row, column], torch.tensor(wanted), atol=1e-5, rtol=0)
    assert directions[2, 7, 16] > 0.9 and directions[2, 7, 0] < -0.9 and directions[0, 7, 24] > 0.9


def test_what_is_absent_or_withheld_is_zero_with_its_mask() -> None:
    maps = {"normal": torch.ones(2, 1, 3, 4, 8), "depth": torch.full((2, 1, 1, 4, 8), 0.9)}
    light = torch.ones(2, 1, 3, 4, 8)
    dropped = {"normal": torch.tensor([True, False]), "environment": torch.tensor([False, True])}
    space: Any = Tags()
    inputs = RenderInputs(maps, light, torch.eye(3), dropped=dropped)
    condition, (images,) = BACKBONE.forward_inputs(space, None, inputs, lambda video: video)
    there = [bool(condition[0, :, 17 * index : 17 * index + 17].any()) for index in range(5)]
    assert there == [False, False, False, False, True]
    assert bool(condition[1, :, 17:34].any()) and bool(images[0].any()) and not bool(images[1].any())
    condition, features = BACKBONE.forward_inputs(space, None, RenderInputs(maps, None, torch.eye(3)), lambda x: x)
    assert features == ()


@torch.no_grad()
@pytest.mark.parametrize("sigma", [0.02, 1.3, 80.0])
@pytest.mark.parametrize("kind", ["inverse", "forward"])
def test_denoising_is_edms_with_latents_of_half_the_deviation(kind: str, sigma: float) -> None:
    """The inverse renderer's condition is halved there, the forward renderer's is as `forward_inputs` made it."""
    network = narrow_cosmos(kind).double()
    channels, half = (16, 0.5) if kind == "inverse" else (136, 1.0)
    noisy = 0.5 * seeded(1, 2, 16, 4, 6).double() * (1 + sigma)
    given = seeded(1, 2, channels, 4, 6, seed=1).double()
    table = network.context_embedding.weight[2] if kind == "inverse" else torch.zeros(16, dtype=torch.float64)
    root = math.sqrt(sigma**2 + 0.25)
    planar = [part[0].transpose(0, 1) for part in (noisy / root, half * given)]
    tensors, time = as_published(network), 0.25 * math.log(sigma)
    output = cosmos_reference.transformer(tensors, *planar, time, table.expand(512, -1), HEADS)
    wanted = 0.25 / (sigma**2 + 0.25) * noisy + 0.5 * sigma / root * output.transpose(0, 1)[None]
    level = torch.tensor([2 * sigma], dtype=torch.float64)
    scales = samplers.coefficients(level)
    seen = (network, scales.c_in * 2 * noisy, scales.c_noise)
    if kind == "inverse":
        predicted = BACKBONE.inverse(*seen, given, torch.tensor([2]))
    else:
        predicted = BACKBONE.forward(*seen, given[:, :, :85], (given[:, :, 85:],))
    denoised = 0.5 * samplers.denoise(predicted, 2 * noisy, level)
    torch.testing.assert_close(denoised, wanted, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_sampling_is_the_published_euler_with_its_levels_and_times() -> None:
    def network(scaled: Tensor, time: Tensor) -> Tensor:
        times.append(float(time))
        return (1.3 * scaled + 0.2 * time).tanh()

    times: list[float] = []
    shape = (1, 2, 4, 3, 3)
    drawn = samplers.sample(
        lambda noisy, time, _: -network(noisy, time + 0.25 * math.log(0.5)),
        shape,
        sampler="diffusion",
        scheduler=BACKBONE.scheduler("v"),
        steps=15,
        generator=torch.Generator().manual_seed(4),
    )
    np.testing.assert_allclose(times, [0.25 * math.log(level) for level in LEVELS], atol=2e-3)
    ramp = [(80 ** (1 / 7) + i / 14 * (0.02 ** (1 / 7) - 80 ** (1 / 7))) ** 7 for i in range(15)]
    state = 80 * torch.randn(shape, generator=torch.Generator().manual_seed(4)).double()
    for level, following in zip(ramp, [*ramp[1:], 0.0], strict=True):
        root = math.sqrt(level**2 + 0.25)
        clean = 0.25 / root**2 * state + 0.5 * level / root * network(
            state / root, torch.tensor(0.25 * math.log(level))
        )
        state = state + (following - level) * (state - clean) / level
    torch.testing.assert_close(drawn, (2 * state).float(), atol=2e-3, rtol=0)


# --- windows and canvases


@pytest.mark.parametrize(
    ("frames", "starts", "size"),
    [
        (1, [0], 1),
        (2, [0], 9),
        (57, [0], 57),
        (58, [0, 8], 57),
        (121, [0, 32, 64], 57),
        (200, [0, 32, 72, 104, 144], 57),
    ],
)
def test_windows_start_on_the_grid_of_latent_frames(frames: int, starts: list[int], size: int) -> None:
    plan = plan_grouped(frames, 57, 16, 8)
    assert [window.start for window in plan.windows] == starts
    assert {window.size for window in plan.windows} == {size}
    assert plan.windows[-1].stop == frames
    video = torch.arange(float(frames)).view(1, frames, 1, 1, 1)
    assert torch.equal(plan.blend(window.take(video) for window in plan.windows), video)
    cut = Cut(plan, plan_tiles(8, 8), plan_tiles(1, 1), 8)
    assert max(cut.places) == -(-(frames - 1) // 8)
    assert cut.cell_plan.frames == len(cut.places) == len(starts) * ((size - 1) // 8 + 1)


@pytest.mark.parametrize(
    ("size", "canvas", "tiles"),
    [
        ((704, 1280), (704, 1280), 1),
        ((288, 512), (288, 528), 1),
        ((512, 512), (512, 944), 1),
        ((480, 720), (480, 880), 1),
        ((1080, 1920), (1088, 1920), 4),
        ((1280, 720), (1280, 1280), 2),
    ],
)
def test_canvases_have_the_trained_aspect(size: tuple[int, int], canvas: tuple[int, int], tiles: int) -> None:
    tiling = plan_canvas(*size, 16, (704, 1280))
    assert (tiling.rows.frames, tiling.columns.frames) == canvas
    assert len(tiling.tiles) == tiles
    shapes = {(tile.height, tile.width) for tile in tiling.tiles}
    assert len(shapes) == 1 and all(abs(width / height - 20 / 11) < 0.1 for height, width in shapes)
    picture = torch.rand(1, 1, 1, *size)
    assert torch.equal(tiling.crop(tiling.pad(picture)), picture)
    with pytest.raises(InputError, match="no tile fits"):
        plan_canvas(*size, 16, (704, 1280), area=100)


def test_pictures_are_mirrored_as_often_as_their_canvas_needs() -> None:
    picture = torch.arange(3.0).expand(1, 1, 1, 2, 3)
    padded = plan_canvas(2, 3, 2, (4, 12)).pad(picture)
    assert padded[0, 0, 0, 0].tolist()[:7] == [0, 1, 2, 1, 0, 1, 2][: padded.shape[-1]]


@torch.no_grad()
def test_windows_agree_on_the_latents_they_share_and_keep_their_first_ones(space: CosmosSpace) -> None:
    plan = plan_grouped(41, 25, 8, 8)  # latents 0 to 3, and 2 to 5 of the grid
    assert [window.start for window in plan.windows] == [0, 16]
    cut = Cut(plan, plan_tiles(8, 8), plan_tiles(1, 1), 8)
    noisy, output = seeded(1, 8, 16, 2, 2), seeded(1, 8, 16, 2, 2, seed=1)
    time = torch.tensor(0.4)
    agreed = BACKBONE.agreed(space, cut, output, noisy, time)
    sigma = float((4 * time).exp())
    root = math.sqrt(sigma**2 + 1)
    before, after = ((noisy - sigma * v) / root for v in (output, agreed))
    old, new = ([space.raw(window.take(x)) for window in cut.cell_plan.windows] for x in (before, after))
    torch.testing.assert_close(new[0][:, 3], new[1][:, 1], atol=1e-4, rtol=0)
    torch.testing.assert_close(new[0][:, 3], 0.5 * (old[0][:, 3] + old[1][:, 1]), atol=1e-4, rtol=0)
    torch.testing.assert_close(new[1][:, 0], old[1][:, 0], atol=1e-4, rtol=0)
    torch.testing.assert_close(new[0][:, :3], old[0][:, :3], atol=1e-4, rtol=0)


# --- the pipelines


def inverse(**settings: Any) -> InverseRenderer:
    renderer = InverseRenderer(narrow_cosmos("inverse"), vae=narrow_video_vae(images=settings.pop("images", True)))
    renderer.set_progress_bar_config(disable=True)
    return renderer


def forward() -> ForwardRenderer:
    renderer = ForwardRenderer(narrow_cosmos("forward"), vae=narrow_video_vae())
    renderer.set_progress_bar_config(disable=True)
    return renderer


def test_an_attribute_is_the_same_alone_as_beside_others_and_a_seed_decides() -> None:
    renderer, video = inverse(), moving_ball(5, 32)

    def call(seed: int, *names: str) -> dict[str, Any]:
        generator = torch.Generator().manual_seed(seed)
        return dict(renderer(video, steps=2, attributes=names, generator=generator).gbuffers)

    both, alone = call(1, "depth", "normal"), call(1, "normal")
    np.testing.assert_allclose(both["normal"], alone["normal"], atol=1e-4)
    assert np.abs(call(2, "normal")["normal"] - alone["normal"]).max() > 1e-2


@pytest.mark.parametrize("images", [True, False])
def test_a_single_picture_is_one_or_nine(images: bool) -> None:
    renderer, lengths = inverse(images=images), []
    hook = renderer.vae.encoder.register_forward_pre_hook(lambda _, args: lengths.append(args[0].shape[2]))
    output = renderer(moving_ball(1, 40)[0], steps=1, attributes=("basecolor",))
    hook.remove()
    assert lengths == [1 if images else 9]
    assert output.gbuffers["basecolor"].shape == (1, 40, 40, 3)


def test_the_forward_renderer_does_without_some_gbuffers_and_without_light() -> None:
    renderer, frames = forward(), 10
    maps = {"normal": np.broadcast_to(np.float32([0, 0, 1]), (frames, 32, 48, 3)).copy()}
    sky = np.random.default_rng(0).random((8, 16, 3), dtype=np.float32)

    def call(environment: np.ndarray | None, **more: Any) -> np.ndarray:
        return renderer(maps, environment, steps=2, generator=torch.Generator().manual_seed(0), **more).video

    dark, lit = call(None), call(sky)
    assert dark.shape == (frames, 32, 48, 3) and np.abs(dark - lit).max() > 1e-2
    moving = call(np.stack([sky] * (frames - 1) + [3 * sky]))
    assert np.abs(moving - lit).max() > 1e-3
    assert np.abs(call(sky, guidance=1.5) - lit).max() > 1e-3
    with pytest.raises(InputError, match="G-buffers lack"):
        renderer({"mask": np.ones((1, 8, 8, 1), np.float32)}, sky)


def test_tiles_see_all_of_the_light_and_their_part_of_the_picture() -> None:
    renderer = forward()
    maps = {"depth": np.random.default_rng(0).random((1, 48, 160, 1), dtype=np.float32)}
    calls: list[torch.Size] = []
    hook = renderer.unet.register_forward_pre_hook(lambda _, args: calls.append(args[0].shape))
    video = renderer(maps, np.ones((8, 16, 3), np.float32), steps=1, tile_pixels=64 * 112).video
    hook.remove()
    assert video.shape == (1, 48, 160, 3)
    assert len(calls) > 1 and {tuple(shape[-2:]) for shape in calls} == {(6, 14)}


@pytest.mark.parametrize("sampler", ["diffusion", "one-step"])
def test_long_videos_are_windows_that_cross_fade_with_depth_on_one_scale(sampler: Any) -> None:
    renderer = InverseRenderer(narrow_cosmos("inverse"), vae=narrow_video_vae(), sampler=sampler)
    renderer.set_progress_bar_config(disable=True)
    seen: list[Tensor] = []
    decode = renderer.vae.decode
    renderer.vae.decode = lambda latents: (seen.append(decode(latents).sample), decode(latents))[1]
    names = ("depth", "normal")
    output = renderer(moving_ball(33, 32), attributes=names, window=17, overlap=8, steps=2)
    plan = plan_grouped(33, 17, 8, 8)
    assert [window.start for window in plan.windows] == [0, 8, 16] and len(seen) == 2 * 3
    depth = output.gbuffers["depth"]
    assert depth.shape == (33, 32, 32, 1) and depth.min() >= 0 and depth.max() <= 1
