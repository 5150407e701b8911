"""What the renderers cost: our way against the released script's way, one step against twenty, and real sizes on a GPU.

    python -m benchmarks.renderers cpu      # a scaled-down svd with random weights, one thread, CPU seconds
    python -m benchmarks.renderers gpu      # the published sizes with random bf16 weights; needs CUDA and 24 GB

`cpu` compares, with the same weights, noise and scheduler, the five G-buffers of a clip by `InverseRenderer` and the
way the released script works: for each attribute it encodes the RGB frames again, runs all steps and decodes. Both are
run alternately, the medians are compared, and so are the results. Random weights cost what trained ones cost.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKLTemporalDecoder, AutoencoderTiny

from manifests.contract.attributes import ATTRIBUTES, GBUFFERS
from renderers.base import Renderer, base_seed
from renderers.forward import ForwardRenderer
from renderers.inverse import InverseRenderer
from renderers.modelspace import channels_last, from_model, planar, unreplicate
from renderers.sampling.samplers import Sampler, default_scheduler
from renderers.svd.environment_encoder import EnvironmentEncoder
from renderers.svd.unet import ForwardUNet, InverseUNet

SEED = 0
SCALED_DOWN: dict[str, Any] = {"block_out_channels": (64, 128, 256, 256), "num_attention_heads": (1, 2, 4, 4)}
"""A fifth of the published widths, heads as wide as published; everything else as published."""


def autoencoder(widths: tuple[int, ...]) -> AutoencoderKLTemporalDecoder:
    """SVD's autoencoder with other widths; as published with (128, 256, 512, 512)."""
    return AutoencoderKLTemporalDecoder(
        down_block_types=("DownEncoderBlock2D",) * 4, block_out_channels=widths, layers_per_block=2
    )


def small_decoder(width: int) -> AutoencoderTiny:
    """A distilled autoencoder with another width; TAESD's is 64."""
    widths = (width,) * 4
    return AutoencoderTiny(encoder_block_out_channels=widths, decoder_block_out_channels=widths)


def seeded() -> torch.Generator:
    """The noise of every run: the same."""
    return torch.Generator().manual_seed(SEED)


def clip(frames: int, size: int) -> np.ndarray:
    """A video of noise, (T, size, size, 3) in [0, 1]: pixels do not change what it costs."""
    return np.random.default_rng(SEED).random((frames, size, size, 3), dtype=np.float32)


@torch.no_grad()
def released_way(renderer: InverseRenderer, video: np.ndarray, steps: int) -> dict[str, np.ndarray]:
    """The five G-buffers as the released script makes them: attribute by attribute, from RGB frames to RGB frames."""
    unet, vae, scheduler = renderer.unet, renderer.vae, default_scheduler()
    seed, scaling = base_seed(seeded()), vae.config.scaling_factor
    results = {}
    for name in GBUFFERS:
        row = ATTRIBUTES[name].embedding
        assert row is not None
        rgb = vae.encode(2 * planar(video)[0] - 1).latent_dist.mode()[None]  # (T, 3, H, W) -> (1, T, 4, h, w)
        scheduler.set_timesteps(steps)
        noise = torch.randn(rgb.shape, generator=torch.Generator().manual_seed(seed + row))
        latents = noise * scheduler.init_noise_sigma
        for timestep in scheduler.timesteps:
            seen = torch.cat([scheduler.scale_model_input(latents, timestep), rgb], dim=2)  # (1, T, 8, h, w)
            output = unet(seen, timestep, torch.tensor([row]))
            latents = scheduler.step(output, timestep, latents, return_dict=False)[0]
        decoded = vae.decode(latents[0] / scaling, num_frames=len(video)).sample[None]  # (1, T, 3, H, W)
        native = unreplicate(decoded) if ATTRIBUTES[name].channels == 1 else decoded
        results[name] = channels_last(from_model(name, native))
    return results


def our_way(renderer: InverseRenderer, video: np.ndarray, steps: int) -> dict[str, np.ndarray]:
    """The same by the pipeline."""
    return dict(renderer(video, steps=steps, generator=seeded()).gbuffers)


def median_seconds(ways: dict[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """CPU seconds of each way, `repeats` times, in turn: whatever else the machine does meets all of them alike."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            start = time.process_time()
            way()
            seconds[name].append(time.process_time() - start)
    return seconds


def on_cpu(frames: int, size: int, steps: int, repeats: int) -> None:
    """Print the CPU comparison."""
    torch.set_num_threads(1)
    torch.manual_seed(SEED)  # weights only; noise has its own generators
    unet, vae = InverseUNet(**SCALED_DOWN).eval(), autoencoder((32, 64, 96, 96)).eval()
    many, one = InverseRenderer(unet, vae=vae), InverseRenderer(unet, vae=vae, sampler="one-step")
    light = small_decoder(16).eval()
    many_light, one_light = (
        InverseRenderer(unet, vae=vae, decoder=light, sampler=sampler) for sampler in ("diffusion", "one-step")
    )
    for renderer in (many, one, many_light, one_light):
        renderer.set_progress_bar_config(disable=True)
    video = clip(frames, size)
    ours, theirs = our_way(many, video, steps), released_way(many, video, steps)
    worst = max(float(np.abs(ours[name] - theirs[name]).max()) for name in GBUFFERS)
    mean = max(float(np.abs(ours[name] - theirs[name]).mean()) for name in GBUFFERS)
    print(f"svd at a fifth of the width, {frames} frames of {size}x{size}, {steps} steps, {repeats} turns, one thread")
    print(f"results of the two ways differ by at most {worst:.1e}, by {mean:.1e} on average over the worst attribute")
    seconds = median_seconds(
        {
            "released": lambda: released_way(many, video, steps),
            "ours": lambda: our_way(many, video, steps),
            "one-step": lambda: our_way(one, video, steps),
            "ours, small decoder": lambda: our_way(many_light, video, steps),
            "one-step, small decoder": lambda: our_way(one_light, video, steps),
        },
        repeats,
    )
    print("\n| all five attributes | CPU s, median | runs | released way / this |\n|---|---|---|---|")
    for name, values in seconds.items():
        ratios = [theirs / ours for theirs, ours in zip(seconds["released"], values, strict=True)]
        runs = ", ".join(f"{value:.1f}" for value in values)
        print(f"| {name} | {statistics.median(values):.2f} | {runs} | {statistics.median(ratios):.2f} |")
    for more, what in (("", "the published decoder"), (", small decoder", "a small decoder")):
        pairs = zip(seconds["ours" + more], seconds["one-step" + more], strict=True)
        faster = statistics.median(many / one for many, one in pairs)
        print(f"\none step is {faster:.1f} times faster than {steps} steps, both our way with {what}")


@dataclass(frozen=True)
class Variant:
    """One set of options of the GPU runs; `key` is what `--variants` calls it."""

    key: str
    name: str
    batch: int | None = None
    channels_last: bool = False
    compiled: bool = False
    slices: int = 8


VARIANTS = (
    Variant("single", "one attribute at a time", batch=1),
    Variant("batched", "five attributes at once", batch=5),
    Variant("channels-last", "five at once, channels last", batch=5, channels_last=True),
    Variant("compiled", "five at once, channels last, compiled", batch=5, channels_last=True, compiled=True),
    Variant("single-compiled", "one at a time, channels last, compiled", batch=1, channels_last=True, compiled=True),
)


@contextmanager
def created_on(device: torch.device, dtype: torch.dtype) -> Iterator[None]:
    """Modules made inside are created where and how they are needed: no copy in float32 on the CPU."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with device:
            yield
    finally:
        torch.set_default_dtype(before)


def prepared(renderer: Renderer, variant: Variant) -> Renderer:
    """`renderer` with the options of `variant`."""
    renderer.set_progress_bar_config(disable=True)
    renderer.enable_vae_slicing(variant.slices)
    layout = torch.channels_last if variant.channels_last else torch.contiguous_format
    for network in (renderer.unet, renderer.vae):
        for parameter in network.parameters():
            if parameter.ndim == 4:  # convolutions over time have five dimensions, and no such layout
                parameter.data = parameter.data.contiguous(memory_format=layout)
    if variant.compiled:
        renderer.unet.compile()
    return renderer


def timed(run: Callable[[int], object], steps: int, repeats: int) -> tuple[float, float]:
    """Seconds (median of `repeats` after one of two steps to warm up) and peak GiB allocated."""
    run(min(steps, 2))
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        run(steps)
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds), torch.cuda.max_memory_allocated() / 2**30


def on_gpu(frames: int, size: int, steps: int, repeats: int, variants: list[str]) -> None:
    """Print seconds a clip and peak memory at the published sizes."""
    if not torch.cuda.is_available():
        raise SystemExit("no CUDA device here; `python -m benchmarks.renderers cpu` needs none")
    device = torch.device("cuda")
    properties = torch.cuda.get_device_properties(device)
    print(f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB, torch {torch.__version__}, bf16 weights")
    print(f"{frames} frames of {size}x{size}; median of {repeats} runs after a short one\n")
    print("| run | options | seconds a clip | peak GiB |\n|---|---|---|---|")
    video = clip(frames, size)
    torch.manual_seed(SEED)
    with created_on(device, torch.bfloat16):
        vae = autoencoder((128, 256, 512, 512)).eval().to(device)
        small = small_decoder(64).eval()
    ways: tuple[tuple[Sampler, AutoencoderTiny | None], ...] = (
        ("diffusion", None),
        ("one-step", None),
        ("one-step", small),
    )
    for variant in (variant for variant in VARIANTS if variant.key in variants):
        with created_on(device, torch.bfloat16):
            unet = InverseUNet().eval().to(device)  # diffusers makes its mixing factors on the CPU whatever is asked
        for sampler, decoder in ways:
            renderer = prepared(InverseRenderer(unet, vae=vae, decoder=decoder, sampler=sampler), variant)
            run = _inverse_run(renderer, video, variant)
            row(f"inverse, all five, {sampler}{', small decoder' if decoder else ''}", variant, run, steps, repeats)
        del unet, renderer, run
        torch._dynamo.reset()
        torch.cuda.empty_cache()
    with created_on(device, torch.bfloat16):
        encoder = EnvironmentEncoder().eval().to(device)
    for variant in (variant for variant in (VARIANTS[0], *VARIANTS[2:4]) if variant.key in variants):
        with created_on(device, torch.bfloat16):
            unet = ForwardUNet().eval().to(device)
        renderer = prepared(ForwardRenderer(unet, vae=vae, env_encoder=encoder), variant)
        for guidance in (1.2, 1.0):
            run = _forward_run(renderer, frames, size, guidance)
            row(f"forward, guidance {guidance}", variant, run, steps, repeats)
        del unet, renderer
        torch._dynamo.reset()
        torch.cuda.empty_cache()


def row(what: str, variant: Variant, run: Callable[[int], object], steps: int, repeats: int) -> None:
    """Print one line of the table; running out of memory is a result too."""
    try:
        seconds, peak = timed(run, steps, repeats)
        print(f"| {what} | {variant.name} | {seconds:.2f} | {peak:.1f} |", flush=True)
    except torch.OutOfMemoryError:
        print(f"| {what} | {variant.name} | out of memory | |", flush=True)


def _inverse_run(renderer: Renderer, video: np.ndarray, variant: Variant) -> Callable[[int], object]:
    return lambda steps: renderer(video, steps=steps, batch_attributes=variant.batch, generator=seeded())


def _forward_run(renderer: Renderer, frames: int, size: int, guidance: float) -> Callable[[int], object]:
    random = np.random.default_rng(SEED)
    shapes = {name: (frames, size, size, ATTRIBUTES[name].channels) for name in GBUFFERS}
    buffers = {name: random.random(shape, dtype=np.float32) for name, shape in shapes.items()}
    buffers["normal"] = np.broadcast_to(np.float32([0, 0, 1]), shapes["normal"]).copy()
    light = random.random((512, 512, 3), dtype=np.float32)
    return lambda steps: renderer(buffers, light, steps=steps, guidance=guidance, lora_scale=0.0, generator=seeded())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["cpu", "gpu"])
    parser.add_argument("--frames", type=int, default=None, help="frames of the clip; 8 for cpu, 24 for gpu")
    parser.add_argument("--size", type=int, default=None, help="height and width; 64 for cpu, 512 for gpu")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3)
    keys = [variant.key for variant in VARIANTS]
    parser.add_argument("--variants", nargs="+", choices=keys, default=keys, help="of the gpu part; all if not given")
    options = parser.parse_args()
    if options.part == "cpu":
        on_cpu(options.frames or 8, options.size or 64, options.steps, options.repeats)
    else:
        on_gpu(options.frames or 24, options.size or 512, options.steps, options.repeats, options.variants)


if __name__ == "__main__":
    main()
