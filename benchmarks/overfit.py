"""Does diffusion train? A narrow `svd` learns a few clips by heart with the real loop, and gives them back by sampling.

    lightloom datagen run out/one --recipe out/small.yaml --clips 1        (docs/svd.md has the recipe)
    python -m benchmarks.overfit out/one

First a narrow autoencoder of the published class learns the clips' pictures and G-buffers, since no pretrained one is
at hand; then the narrow inverse UNet learns to denoise its latents, one attribute a pass; then it is fine-tuned to one
step, end to end. What the real samplers make of the clips is compared with the truth, at 20 steps and at one.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
import tyro
from diffusers import AutoencoderKLTemporalDecoder
from torch import Tensor

from manifests.attributes import GBUFFERS
from renderers import modelspace
from renderers.autoencoder import space_of
from renderers.inverse import InverseRenderer
from renderers.samplers import default_scheduler
from renderers.svd.unet import InverseUNet
from training.coded import stacked
from training.config import make_config
from training.run import Request, train
from training.samples import pack
from training.source import open_source

UNET: dict[str, Any] = {
    "block_out_channels": (32, 64, 96, 96),
    "num_attention_heads": (1, 2, 3, 3),
    "layers_per_block": 1,
    "addition_time_embed_dim": 32,
    "projection_class_embeddings_input_dim": 96,
    "cross_attention_dim": 64,
}
ONE_STEP = {"basecolor.l1": 1.0, "normal.cosine": 1.0, "depth.l1": 1.0, "roughness.l1": 1.0, "metallic.l1": 1.0}


@dataclass(frozen=True)
class Settings:
    """What to learn, and for how long: steps of the autoencoder, of diffusion, and of the one-step fine-tuning."""

    dataset: tyro.conf.Positional[Path]
    autoencoder: int = 2000
    diffusion: int = 3000
    one_step: int = 400
    sampled: int = 20
    seed: int = 0


def clips_of(dataset: Path) -> list[dict[str, Tensor]]:
    """Pictures and G-buffers of all clips of `dataset`, (T, C, H, W) in model space."""
    source = open_source(dataset, dataset, 1)
    names = ("rgb", "mask", *GBUFFERS)
    clips = []
    for index in range(len(source.entries)):
        made = stacked([pack(source.clip(index, names, None, light=False), None)]).samples()
        video = {"rgb": made.rgb} | {name: modelspace.to_model(name, made.gbuffers[name]) for name in GBUFFERS}
        clips.append({name: planes[0] for name, planes in video.items()})
    return clips


def learned_autoencoder(clips: list[dict[str, Tensor]], steps: int) -> AutoencoderKLTemporalDecoder:
    """A narrow autoencoder that knows these pictures; its latents' scale goes into its `scaling_factor`."""
    videos = torch.stack([modelspace.replicate(video) for clip in clips for video in clip.values()])  # (N, T, 3, H, W)
    frames = videos.shape[1]
    vae = AutoencoderKLTemporalDecoder(
        down_block_types=("DownEncoderBlock2D",) * 3, block_out_channels=(32, 32, 64), layers_per_block=1
    )
    optimizer = torch.optim.AdamW(vae.parameters(), lr=2e-3, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps, pct_start=0.1)
    draw = torch.Generator().manual_seed(0)
    for _ in range(steps):
        chosen = videos[torch.randperm(len(videos), generator=draw)[:3]].flatten(0, 1)
        decoded = vae.decode(vae.encode(chosen).latent_dist.mode(), num_frames=frames).sample
        loss = F.l1_loss(decoded, chosen) + F.mse_loss(decoded, chosen)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        spread = torch.cat([vae.encode(video).latent_dist.mode() for video in videos]).std()
    vae.register_to_config(scaling_factor=float(1 / spread))
    return vae.eval()


def psnr(made: Tensor, true: Tensor) -> float:
    """dB between videos in model space, whose range is 2."""
    return float(10 * torch.log10(4 / (made - true).square().mean()))


def scored(renderer: InverseRenderer, clips: list[dict[str, Tensor]], steps: int) -> tuple[dict[str, float], float]:
    """Mean PSNR of each attribute over the clips, and seconds of a clip, by the pipeline itself."""
    renderer.set_progress_bar_config(disable=True)
    found: dict[str, list[float]] = {name: [] for name in GBUFFERS}
    began = time.process_time()
    made = []
    for number, clip in enumerate(clips):
        video = modelspace.display(clip["rgb"]).permute(0, 2, 3, 1).numpy()
        made.append(
            renderer(video, steps=steps, generator=torch.Generator().manual_seed(number), output_type="pt").gbuffers
        )
    seconds = (time.process_time() - began) / len(clips)
    for clip, gbuffers in zip(clips, made, strict=True):
        for name in GBUFFERS:
            found[name].append(psnr(modelspace.to_model(name, torch.as_tensor(gbuffers[name])), clip[name]))
    return {name: sum(values) / len(values) for name, values in found.items()}, seconds


def trained(folder: Path, name: str, start: Path, settings: Settings, **changes: Any) -> Path:
    """The renderer that a run of the real loop leaves in `folder`/`name`."""
    plain: dict[str, Any] = {"name": name, "backbone": "svd", "start": str(start), "seed": settings.seed}
    plain |= {"data": {"frames": 4, "mirror": False, "cache_gib": 1.0, "threads": 1}}
    plain |= {"keep": {"log": 100, "pictures": 1_000_000, "checkpoint": 1_000_000, "checkpoints": 1}}
    out = folder / name
    train(Request("inverse", make_config(plain | changes), (str(settings.dataset),), out))
    return out / "renderer"


def main(settings: Settings) -> None:
    """Train and print a Markdown table."""
    torch.manual_seed(settings.seed)
    clips = clips_of(settings.dataset)
    shape = tuple(clips[0]["rgb"].shape)
    print(f"{settings.dataset}: {len(clips)} clips of {shape[0]} frames of {shape[3]}x{shape[2]}\n")
    rows: list[tuple[str, dict[str, float], str]] = []
    vae = learned_autoencoder(clips, settings.autoencoder)
    space = space_of(vae)
    with torch.no_grad():
        kept = {
            name: [
                psnr(space.decode(name, space.encode(clip[name][None]) * space.scaling)[0], clip[name])
                for clip in clips
            ]
            for name in GBUFFERS
        }
    rows.append(("autoencoder alone", {name: sum(values) / len(values) for name, values in kept.items()}, ""))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        unet = InverseUNet(in_channels=8, out_channels=4, **UNET)
        InverseRenderer(unet, default_scheduler(), vae, licence="Apache-2.0").save_pretrained(folder / "random")
        rate = {"batch": 5, "learning_rate": 1e-3, "warmup": 50, "schedule": "linear", "final_rate": 0.0, "ema": 0.995}
        optimise = rate | {"steps": settings.diffusion}
        many = trained(
            folder, "diffusion", folder / "random", settings, sampler="diffusion", prediction="v", optimise=optimise
        )
        one = trained(
            folder,
            "one-step",
            many,
            settings,
            sampler="one-step",
            prediction="v",
            losses=ONE_STEP,
            optimise=rate | {"steps": settings.one_step, "learning_rate": 3e-4},
        )
        for name, path, steps in (
            ("before training", folder / "random", settings.sampled),
            (f"diffusion, {settings.sampled} steps", many, settings.sampled),
            ("diffusion's weights in one step", many, 1),
            ("one step, fine-tuned", one, 1),
        ):
            renderer = InverseRenderer.from_pretrained(path)
            values, seconds = scored(renderer, clips, steps)
            rows.append((name, values, f"{seconds:.2f}"))
    print(f"| dB | {' | '.join(GBUFFERS)} | CPU s a clip |\n|{'---|' * (len(GBUFFERS) + 2)}")
    for name, values, seconds in rows:
        print(f"| {name} | {' | '.join(f'{values[attribute]:.1f}' for attribute in GBUFFERS)} | {seconds} |")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(tyro.cli(Settings))
