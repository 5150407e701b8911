import gc
import weakref

import pytest
import torch

from manifests.errors import InputError
from renderers.inverse import align_depth, blend_depth
from renderers.sampling.windows import Window, WindowPlan, plan_windows, stream, windowed

LENGTHS = (1, 5, 23, 24, 25, 30, 42, 43, 96, 97, 241)


def video(frames: int, channels: int = 2) -> torch.Tensor:
    return torch.randn(2, frames, channels, 3, 4, generator=torch.Generator().manual_seed(frames))


@pytest.mark.parametrize("frames", LENGTHS)
def test_windows_cover_every_frame_and_share_at_least_the_overlap(frames: int) -> None:
    plan = plan_windows(frames, 24, 6)
    assert plan.windows[0].start == 0
    assert plan.windows[-1].stop == frames
    assert len(plan.windows) == max(1, -(-(frames - 6) // 18))
    for before, after in zip(plan.windows, plan.windows[1:], strict=False):
        assert before.start < after.start
        assert before.stop - after.start >= 6
        assert after.size == after.stop - after.start == 24


def weights_of(plan: WindowPlan) -> torch.Tensor:
    """Share of each window in each frame, (windows, T)."""
    count = len(plan.windows)
    one_hot = torch.eye(count).view(count, 1, 1, count, 1, 1)  # per window (B, T, C, H, W), a channel for each window
    outputs = (one_hot[index].expand(-1, window.size, -1, -1, -1) for index, window in enumerate(plan.windows))
    return plan.blend(outputs)[0, :, :, 0, 0].T  # (1, T, windows, 1, 1) -> (windows, T)


@pytest.mark.parametrize(("size", "overlap"), [(24, 6), (24, 0), (5, 4), (8, 7)])
def test_weights_of_all_windows_sum_to_one_on_every_frame(size: int, overlap: int) -> None:
    for frames in LENGTHS:
        plan = plan_windows(frames, size, overlap)
        weights = weights_of(plan)
        assert weights.shape == (len(plan.windows), frames)
        assert weights.min() >= 0
        torch.testing.assert_close(weights.sum(0), torch.ones(frames))
        for window, row in zip(plan.windows, weights, strict=True):
            assert row[: window.start].count_nonzero() == row[window.stop :].count_nonzero() == 0


def test_two_windows_cross_fade_linearly() -> None:
    plan = WindowPlan(6, (Window(0, 4, 4), Window(1, 6, 5)))
    zeros, fours = torch.zeros(1, 4, 1, 1, 1), torch.full((1, 5, 1, 1, 1), 4.0)
    assert plan.blend([zeros, fours]).flatten().tolist() == [0, 1, 2, 3, 4, 4]


def test_windows_that_agree_give_the_video_back_bit_for_bit() -> None:
    for frames in LENGTHS:
        original = video(frames)
        plan = plan_windows(frames, 24, 6)
        assert torch.equal(plan.blend(window.take(original) for window in plan.windows), original)


def test_a_model_of_one_length_gets_the_last_frame_repeated_and_the_repeats_are_dropped() -> None:
    short = video(5)
    plan = plan_windows(5, 24, 6, exact=True)
    given = plan.windows[0].take(short)
    assert given.shape[1] == 24
    assert torch.equal(given[:, 5:], short[:, 4:].expand(-1, 19, -1, -1, -1))
    assert torch.equal(plan.blend([given]), short)
    assert plan_windows(5, 24, 6).windows[0].take(short).shape[1] == 5


def test_half_precision_stays_half_precision() -> None:
    whole = video(40).to(torch.bfloat16)
    plan = plan_windows(40)
    assert torch.equal(plan.blend(window.take(whole) for window in plan.windows), whole)


def test_a_very_long_video_streams_and_holds_one_window_at_a_time() -> None:
    plan = plan_windows(20_000)
    alive: list[weakref.ref[torch.Tensor]] = []
    most = 0

    def outputs():  # type: ignore[no-untyped-def]
        nonlocal most
        for window in plan.windows:
            output = torch.full((1, window.size, 1, 1, 1), float(window.start))
            alive.append(weakref.ref(output))
            alive[:] = [reference for reference in alive if reference() is not None]
            most = max(most, len(alive))
            yield output
            del output

    gc.disable()
    frames = sum(piece.shape[1] for piece in stream(plan, outputs()))
    gc.enable()
    assert frames == 20_000
    assert most <= 3


def test_frames_come_out_as_soon_as_no_later_window_can_change_them() -> None:
    plan = plan_windows(42, 24, 6)
    consumed = []

    def outputs():  # type: ignore[no-untyped-def]
        for window in plan.windows:
            consumed.append(window.start)
            yield torch.zeros(1, window.size, 1, 1, 1)

    pieces = stream(plan, outputs())
    assert next(pieces).shape[1] == 18
    assert consumed == [0]


def test_a_windowed_denoiser_averages_what_its_windows_say() -> None:
    plan = plan_windows(42, 24, 6)
    starts = windowed(plan, lambda noisy, window: torch.full_like(noisy, float(window.start)))
    said = starts(video(42))[0, :, 0, 0, 0]
    torch.testing.assert_close(said, (weights_of(plan) * torch.tensor([[0.0], [18.0]])).sum(0))
    per_frame = windowed(plan, lambda noisy, _: noisy**2)
    torch.testing.assert_close(per_frame(video(42)), video(42) ** 2)


@pytest.mark.parametrize(
    ("frames", "size", "overlap", "words"), [(0, 24, 6, "0 frames"), (9, 4, 4, "overlap"), (9, 4, -1, "overlap")]
)
def test_impossible_plans_are_refused(frames: int, size: int, overlap: int, words: str) -> None:
    with pytest.raises(InputError, match=words):
        plan_windows(frames, size, overlap)


def test_outputs_of_another_plan_are_refused() -> None:
    plan = plan_windows(42, 24, 6)
    with pytest.raises(InputError, match="window 0 of 2 has 24 frames, but 23 frames came"):
        plan.blend([torch.zeros(1, 23, 1, 1, 1)])
    with pytest.raises(InputError, match="no more windows"):
        plan.blend([torch.zeros(1, 24, 1, 1, 1)])


def scene_depth(frames: int) -> torch.Tensor:
    """Relative depth of a slanted plane in front of background, drifting: (1, T, 1, 16, 16) in [0, 1]."""
    grid = torch.linspace(0.0, 0.9, 16)
    plane = (grid[:, None] + 0.3 * grid[None, :]).expand(frames, 1, 16, 16) / 1.3
    depth = plane + 0.05 * torch.sin(torch.arange(frames) / 10.0).view(-1, 1, 1, 1) + 0.05
    depth[..., 12:, 12:] = 1.0
    return depth.unsqueeze(0)


def skewed(plan: WindowPlan, depth: torch.Tensor, noise: float, outliers: float) -> list[torch.Tensor]:
    """Each window of `depth` with a scale and shift of its own; background stays 1."""
    generator = torch.Generator().manual_seed(0)
    pieces = []
    for window in plan.windows:
        piece = window.take(depth)
        scale, shift = 0.6 + 0.35 * torch.rand(1, generator=generator), 0.04 * torch.rand(1, generator=generator)
        other = piece * scale + shift + noise * torch.randn(piece.shape, generator=generator)
        wild = torch.rand(piece.shape, generator=generator) < outliers
        other = torch.where(wild, torch.rand(piece.shape, generator=generator), other).clamp(0, 0.97)
        pieces.append(torch.where(piece == 1.0, piece, other))
    return pieces


def affine_error(result: torch.Tensor, depth: torch.Tensor) -> float:
    """Median distance of the surfaces after the best scale and shift for the whole clip (outliers stay outliers)."""
    surface = depth < 1.0
    x, y = result[surface].double(), depth[surface].double()
    design = torch.stack([x, torch.ones_like(x)], dim=1)
    return float((design @ torch.linalg.lstsq(design, y[:, None]).solution - y[:, None]).abs().median())


def test_depth_windows_of_different_scale_become_one_scale() -> None:
    depth = scene_depth(96)
    plan = plan_windows(96)
    pieces = skewed(plan, depth, noise=0.01, outliers=0.05)
    aligned, naive = blend_depth(plan, pieces), plan.blend(pieces)
    background = (depth == 1.0).expand_as(aligned)
    assert (aligned[background] == 1.0).all()
    assert aligned.min() == 0.0
    ours, theirs = affine_error(aligned, depth), affine_error(naive, depth)
    print(f"depth error after one affine fit of the clip: aligned {ours:.4f}, blended as they are {theirs:.4f}")
    assert ours < 0.03
    assert theirs > 2 * ours


def test_depth_scale_does_not_drift_over_a_hundred_noisy_windows() -> None:
    frames = 24 + 18 * 100
    depth = scene_depth(frames)
    plan = plan_windows(frames)
    generator = torch.Generator().manual_seed(1)
    noisy = torch.where(
        depth == 1.0, depth, (depth + 0.03 * torch.randn(depth.shape, generator=generator)).clamp(0, 0.97)
    )
    pieces = [torch.cat([piece := window.take(noisy), (piece >= 0.98).float()], dim=2) for window in plan.windows]
    last = list(align_depth(plan, pieces))[-1][:, :, :1]
    surface = pieces[-1][:, :, 1:] == 0
    slope = last[surface].std() / pieces[-1][:, :, :1][surface].std()
    assert 0.9 < slope < 1.1


def test_one_window_of_depth_and_a_clip_of_background_come_back_as_they_are() -> None:
    depth = scene_depth(10)
    assert torch.equal(blend_depth(plan_windows(10), [depth]), depth)
    plan = plan_windows(42)
    empty = torch.ones(2, 42, 1, 4, 4)
    assert torch.equal(blend_depth(plan, (window.take(empty) for window in plan.windows)), empty)
