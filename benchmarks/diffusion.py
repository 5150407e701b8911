"""Does diffusion train, and what are its twenty steps worth? A narrow `svd`, the real loop, the real samplers.

    lightloom datagen run out/one --recipe out/small.yaml --clips 1        (docs/svd.md has the recipe)
    python -m benchmarks.diffusion out/one                                 learns a clip by heart
    python -m benchmarks.diffusion out/train --unseen out/unseen --batch 64  learns many, is asked about others (a GPU)

First a narrow autoencoder of the published class learns the clips' pictures and G-buffers, since no pretrained one is
at hand; then the narrow inverse UNet learns to denoise its latents, one attribute a pass; then it is fine-tuned to one
step, end to end. What the real samplers make of the clips is compared with the truth, at 20 steps and at one.
"""

from __future__ import annotations

import math
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F  # noqa: N812
import tyro
from diffusers import AutoencoderKLTemporalDecoder
from torch import Tensor

from benchmarks.renderers import SCALED_DOWN
from manifests.contract.attributes import GBUFFERS
from renderers import modelspace
from renderers.inverse import InverseRenderer
from renderers.sampling.samplers import default_scheduler
from renderers.svd.unet import InverseUNet
from training.config import make_config
from training.data.batch import Visit, codes_of, collate
from training.data.clip_sources import open_source
from training.run import TrainRequest, train

NARROW: dict[str, Any] = {
    "block_out_channels": (32, 64, 96, 96),
    "num_attention_heads": (1, 2, 3, 3),
    "layers_per_block": 1,
    "addition_time_embed_dim": 32,
    "projection_class_embeddings_input_dim": 96,
    "cross_attention_dim": 64,
}
UNETS = {"narrow": NARROW, "fifth": SCALED_DOWN}
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
ONE_STEP = {"basecolor.l1": 1.0, "normal.cosine": 1.0, "depth.l1": 1.0, "roughness.l1": 1.0, "metallic.l1": 1.0}


@dataclass(frozen=True)
class Settings:
    """What to learn, and for how long: steps of the autoencoder, of diffusion, and of the one-step fine-tuning.

    Clips of `more` are learned too. Asked about are the clips of `unseen`, or without it the clips that were learned.
    `batch` is of both trainings. `minutes` ends diffusion sooner, the others after a quarter of them. `width`
    is that of the UNet: `narrow`, or a `fifth` of the published one's, for GPUs.
    """

    dataset: tyro.conf.Positional[Path]
    more: tuple[Path, ...] = ()
    unseen: Path | None = None
    batch: int = 5
    rate: float = 1e-3
    threads: int = 1
    minutes: float | None = None
    width: Literal["narrow", "fifth"] = "narrow"
    autoencoder: int = 2000
    diffusion: int = 3000
    one_step: int = 400
    sampled: int = 20
    seed: int = 0


@dataclass(frozen=True)
class Scores:
    """What `scored` finds."""

    psnr: dict[str, float]
    sharpness: float
    seconds: float


def clips_of(dataset: Path) -> list[dict[str, Tensor]]:
    """Pictures and G-buffers of all clips of `dataset`, (T, C, H, W) in model space."""
    source = open_source(dataset, dataset, 1)
    names = ("rgb", "mask", *GBUFFERS)
    clips = []
    for index, entry in enumerate(source.entries):
        made = collate([Visit(codes_of(source.clip(index, names, None, light=False), None), entry)]).to("cpu")
        video = {"rgb": made.rgb} | {name: modelspace.to_model(name, made.gbuffers[name]) for name in GBUFFERS}
        clips.append({name: planes[0] for name, planes in video.items()})
    return clips


def learned_autoencoder(clips: list[dict[str, Tensor]], settings: Settings) -> AutoencoderKLTemporalDecoder:
    """A narrow autoencoder that knows these pictures; its latents' scale goes into its `scaling_factor`."""
    limit = 60 * (settings.minutes or math.inf) / 4
    videos = torch.stack([modelspace.replicate(video) for clip in clips for video in clip.values()])  # (N, T, 3, H, W)
    videos = videos.to(DEVICE)
    frames = videos.shape[1]
    vae = AutoencoderKLTemporalDecoder(
        down_block_types=("DownEncoderBlock2D",) * 3, block_out_channels=(32, 32, 64), layers_per_block=1
    ).to(DEVICE)
    optimizer = torch.optim.AdamW(vae.parameters(), weight_decay=0.0)
    draw = torch.Generator().manual_seed(0)
    step, passed, began = 0, 0.0, time.perf_counter()
    while passed < 1:
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * min(1, (step + 1) / 100) * (1 - passed)
        chosen = videos[torch.randint(len(videos), (max(3, settings.batch),), generator=draw)].flatten(0, 1)
        with torch.autocast(DEVICE, torch.bfloat16, enabled=DEVICE == "cuda"):
            decoded = vae.decode(vae.encode(chosen).latent_dist.mode(), num_frames=frames).sample
        loss = F.l1_loss(decoded.float(), chosen) + F.mse_loss(decoded.float(), chosen)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        step += 1
        passed = max(step / settings.autoencoder, (time.perf_counter() - began) / limit)
    print(f"autoencoder: {step} steps in {time.perf_counter() - began:.0f} s, last loss {loss.item():.3f}", flush=True)
    with torch.no_grad():
        spread = torch.cat([vae.encode(video).latent_dist.mode() for video in videos[:500]]).std()
    vae.register_to_config(scaling_factor=float(1 / spread))
    return vae.eval()


def psnr(made: Tensor, true: Tensor) -> float:
    """dB between videos in model space, whose range is 2."""
    return float(10 * torch.log10(4 / (made - true).square().mean()))


def scored(renderer: InverseRenderer, clips: list[dict[str, Tensor]], steps: int) -> Scores:
    """Mean PSNR of each attribute over the clips, their sharpness, and seconds of a clip, by the pipeline itself.

    Sharpness is the mean size of the results' differences between neighbouring pixels over that of the truth's.
    """
    renderer.set_progress_bar_config(disable=True)
    found: dict[str, list[float]] = {name: [] for name in GBUFFERS}
    slopes = {"made": 0.0, "true": 0.0}
    clock = time.perf_counter if DEVICE == "cuda" else time.process_time
    began = clock()
    made = []
    for number, clip in enumerate(clips):
        video = modelspace.display(clip["rgb"]).permute(0, 2, 3, 1).numpy()
        made.append(
            renderer(video, steps=steps, generator=torch.Generator().manual_seed(number), output_type="pt").gbuffers
        )
    seconds = (clock() - began) / len(clips)
    for clip, gbuffers in zip(clips, made, strict=True):
        for name in GBUFFERS:
            result = modelspace.to_model(name, torch.as_tensor(gbuffers[name]).cpu())
            found[name].append(psnr(result, clip[name]))
            slopes["made"] += float(result.diff(dim=-1).abs().mean())
            slopes["true"] += float(clip[name].diff(dim=-1).abs().mean())
    means = {name: sum(values) / len(values) for name, values in found.items()}
    return Scores(means, slopes["made"] / slopes["true"], seconds)


def trained(folder: Path, name: str, start: Path, settings: Settings, **changes: Any) -> Path:
    """The renderer that a run of the real loop leaves in `folder`/`name`."""
    plain: dict[str, Any] = {"name": name, "backbone": "svd", "start": str(start), "seed": settings.seed}
    plain |= {"data": {"frames": 4, "mirror": False, "cache_gib": 4.0, "threads": settings.threads}}
    plain |= {"keep": {"log": 100, "pictures": 1_000_000, "checkpoint": 1_000_000, "checkpoints": 1}}
    out = folder / name
    datasets = tuple(str(folder) for folder in (settings.dataset, *settings.more))
    done = train(TrainRequest("inverse", make_config(plain | changes), datasets, out))
    print(f"{name}: {done.step} steps in {done.seconds:.0f} s, last loss {done.loss:.3f}\n", flush=True)
    return out / "renderer"


def autoencoded(vae: AutoencoderKLTemporalDecoder, clips: list[dict[str, Tensor]]) -> dict[str, float]:
    """Mean PSNR of each attribute after the autoencoder's round trip: what no network behind it can exceed."""
    space, found = modelspace.LatentSpace(vae), {}
    with torch.no_grad():
        for name in GBUFFERS:
            videos = [clip[name].to(DEVICE) for clip in clips]
            kept = [space.decode(name, space.encode(video[None]) * space.scaling)[0] for video in videos]
            found[name] = sum(psnr(one, video) for one, video in zip(kept, videos, strict=True)) / len(clips)
    return found


def main(settings: Settings) -> None:
    """Train and print a Markdown table."""
    torch.manual_seed(settings.seed)
    clips = [clip for folder in (settings.dataset, *settings.more) for clip in clips_of(folder)]
    asked = clips_of(settings.unseen) if settings.unseen else clips
    shape = tuple(clips[0]["rgb"].shape)
    print(f"learned: {len(clips)} clips of {shape[0]} frames of {shape[3]}x{shape[2]}")
    print(f"asked about: {settings.unseen or 'the same'}, {len(asked)} clips\n", flush=True)
    vae = learned_autoencoder(clips, settings)
    rows = [("autoencoder alone", autoencoded(vae, asked), "", "")]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        unet = InverseUNet(in_channels=8, out_channels=4, **UNETS[settings.width])
        InverseRenderer(unet, default_scheduler(), vae, licence="Apache-2.0").save_pretrained(folder / "random")
        rate = {"batch": settings.batch, "learning_rate": settings.rate, "warmup": 50}
        rate |= {"schedule": "linear", "final_rate": 0.0}
        rate |= {"ema": 0.995, "precision": "bfloat16" if DEVICE == "cuda" else "float32"}
        optimise = rate | {"steps": settings.diffusion, "minutes": settings.minutes}
        many = trained(
            folder, "diffusion", folder / "random", settings, sampler="diffusion", prediction="v", optimise=optimise
        )
        quarter = settings.minutes and settings.minutes / 4
        one = trained(
            folder,
            "one-step",
            many,
            settings,
            sampler="one-step",
            prediction="v",
            losses=ONE_STEP,
            optimise=optimise | {"steps": settings.one_step, "minutes": quarter, "learning_rate": 0.3 * settings.rate},
        )
        for name, path, steps, count in (
            ("before training, of four clips", folder / "random", settings.sampled, 4),
            (f"diffusion, {settings.sampled} steps", many, settings.sampled, len(asked)),
            ("diffusion's weights in one step", many, 1, len(asked)),
            ("one step, fine-tuned", one, 1, len(asked)),
        ):
            made = scored(InverseRenderer.from_pretrained(path).to(DEVICE), asked[:count], steps)
            rows.append((name, made.psnr, f"{made.sharpness:.2f}", f"{made.seconds:.2f}"))
    kind = "s" if DEVICE == "cuda" else "CPU s"
    print(f"| dB | {' | '.join(GBUFFERS)} | sharpness | {kind} a clip |\n|{'---|' * (len(GBUFFERS) + 3)}")
    for name, values, sharpness, seconds in rows:
        found = " | ".join(f"{values[attribute]:.1f}" for attribute in GBUFFERS)
        print(f"| {name} | {found} | {sharpness} | {seconds} |")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(tyro.cli(Settings))
