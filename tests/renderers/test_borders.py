"""Long videos show no window borders: 96 frames, five windows, through the pipelines.

The networks are narrow and random: what they say of a frame depends on where in its window the frame stands, far more
than a trained network's answer does, so unblended borders jump by several times what changes inside windows.
"""

import math
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl_cosmos import LATENTS_MEAN, LATENTS_STD
from torch import Tensor, nn
from torch.nn import functional

from manifests.contract.attributes import GBUFFERS
from renderers.cosmos.cosmos_transformer import LATENT_CHANNELS, CosmosInverseTransformer
from renderers.inverse import InverseRenderer
from renderers.sampling.samplers import SIGMA_MAX, coefficients
from renderers.sampling.windows import WindowPlan, plan_grouped, plan_windows
from renderers.svd.unet import InverseUNet
from tests.renderers.narrow import narrow_inverse, narrow_vae
from tests.renderers.narrow_cosmos import narrow_cosmos

torch.set_num_threads(1)
FRAMES, SIZE = 96, 64
SHIPPED = Path(__file__).parents[2] / "renderers" / "weights" / "tiny" / "inverse"


def moving_ball(frames: int = FRAMES, size: int = SIZE) -> np.ndarray:
    """A shaded, textured ball that circles in front of a drifting background: (T, H, W, 3) sRGB in [0, 1]."""
    time = np.arange(frames)[:, None, None] / frames
    rows, columns = np.mgrid[0:size, 0:size] / size - 0.5
    x, y = columns + 0.15 * np.sin(2 * np.pi * time), rows + 0.1 * np.cos(2.6 * np.pi * time)
    ball = 1 / (1 + np.exp(40 * (np.hypot(x, y) - 0.3)))
    shading = np.clip(0.6 + 1.2 * x - 0.8 * y, 0, 1)
    texture = 0.5 + 0.3 * np.sin(14 * x + 3 * time) * np.cos(11 * y)
    background = 0.3 + 0.2 * np.sin(5 * columns + 2 * time)
    colours = [shading * texture, shading * (1 - texture), 0.6 * shading]
    return np.stack([ball * colour + (1 - ball) * background for colour in colours], axis=-1).astype(np.float32)


def border_ratio(video: np.ndarray, plan: WindowPlan) -> float:
    """Mean frame-to-frame change where the windows that make a frame change, over that where one window makes both."""
    change = np.abs(np.diff(video, axis=0)).mean(axis=(1, 2, 3))  # (T - 1,), from each frame to the next
    border = np.zeros(len(change), dtype=bool)
    for before, after in pairwise(plan.windows):
        border[after.start - 1 : before.stop] = True
    return float(change[border].mean() / change[~border].mean())


class Denoiser(InverseUNet):
    """A network that denoises perfectly toward what it says of its window at a glance, with a spread of 0.05.

    A random network that is only given noise shows noise; this one gives the diffusion sampler a posterior to find:
    normal, its mean the random network's one-step answer.
    """

    def forward(
        self, sample: Tensor, timestep: Tensor | float, attributes: Tensor, added_time_ids: Tensor | None = None
    ) -> Tensor:
        given, rgb = sample[:, :, :4], sample[:, :, 4:]
        blank = torch.cat([torch.zeros_like(given), rgb], dim=2)
        mean = -super().forward(blank, 0.25 * math.log(SIGMA_MAX), attributes, added_time_ids)
        sigma = torch.as_tensor(timestep).mul(4).exp().view(1)
        scale = coefficients(sigma)
        noisy, variance = given / scale.c_in, sigma.square().view(-1, 1, 1, 1, 1)
        denoised = (0.05**2 * noisy + variance * mean) / (0.05**2 + variance)
        return (denoised - scale.c_skip * noisy) / scale.c_out


def ratios(renderer: InverseRenderer, names: list[str], **options: int) -> dict[str, tuple[float, float]]:
    """Border ratio (blended, not blended) of each attribute."""
    renderer.set_progress_bar_config(disable=True)
    found: dict[int, dict[str, np.ndarray]] = {}
    for overlap in (6, 0):
        generator = torch.Generator().manual_seed(0)
        output = renderer(moving_ball(), attributes=names, overlap=overlap, generator=generator, **options)
        found[overlap] = dict(output.gbuffers)
    plans = {overlap: plan_windows(FRAMES, overlap=overlap) for overlap in found}
    return {name: (border_ratio(found[6][name], plans[6]), border_ratio(found[0][name], plans[0])) for name in names}


def as_denoiser(network: InverseUNet) -> Denoiser:
    denoiser = Denoiser.from_config(network.config)
    denoiser.load_state_dict(network.state_dict())
    return denoiser.eval()


@pytest.mark.parametrize("sampler", ["one-step", "diffusion"])
def test_blended_borders_change_no_more_than_the_inside_of_windows(sampler: str) -> None:
    network = narrow_inverse() if sampler == "one-step" else as_denoiser(narrow_inverse())
    renderer = InverseRenderer(network, vae=narrow_vae(1), sampler=sampler)
    names = ["depth"] if sampler == "one-step" else ["basecolor"]
    options = {} if sampler == "one-step" else {"steps": 3}
    for name, (blended, cut) in ratios(renderer, names, **options).items():
        print(f"{sampler}, {name}: change at borders over change inside: {blended:.2f} blended, {cut:.2f} not blended")
        assert blended <= 1.1
        assert cut > 1.2


def test_the_weights_that_come_with_lightloom_show_no_borders() -> None:
    renderer = InverseRenderer.from_pretrained(SHIPPED)
    for name, (blended, cut) in ratios(renderer, list(GBUFFERS)).items():
        print(f"tiny, {name}: change at borders over change inside: {blended:.2f} blended, {cut:.2f} not blended")
        assert blended <= 1.1
        assert cut > 1.2


class CosmosDenoiser(CosmosInverseTransformer):
    """`Denoiser` for the network of `cosmos`, whose output is -v, and whose levels are half as high."""

    def forward(self, sample: Tensor, timestep: Tensor | float, attribute: Tensor) -> Tensor:
        given, rgb = sample.split(LATENT_CHANNELS, dim=2)
        blank = torch.cat([torch.zeros_like(given), rgb], dim=2)
        mean = super().forward(blank, 0.25 * math.log(80), attribute)
        sigma = 2 * torch.as_tensor(timestep).mul(4).exp().view(1)
        scale = coefficients(sigma)
        noisy, variance = given / scale.c_in, sigma.square().view(-1, 1, 1, 1, 1)
        denoised = (0.05**2 * noisy + variance * mean) / (0.05**2 + variance)
        return -(denoised - scale.c_skip * noisy) / scale.c_out


class LinearVideo(nn.Module):
    """Stands for the autoencoder of videos, which is noise in time where its weights are random: means of eight frames
    and of 8 x 8 pixels, mixed to 16 channels; decoded by linear interpolation."""

    dtype, device = torch.float32, torch.device("cpu")
    config = SimpleNamespace(
        spatial_compression_ratio=8, latent_channels=16, latents_mean=LATENTS_MEAN, latents_std=LATENTS_STD
    )

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Parameter(torch.randn(16, 3, generator=torch.Generator().manual_seed(0)))

    def encode(self, clip: Tensor) -> SimpleNamespace:
        """(B, 3, 8 k + 1, H, W) -> (B, 16, k + 1, H / 8, W / 8)."""
        groups = torch.cat([clip[:, :, :1], clip[:, :, 1:].unflatten(2, (-1, 8)).mean(dim=3)], dim=2)
        latents = torch.einsum("kc,bcthw->bkthw", self.mix, functional.avg_pool3d(groups, (1, 8, 8)))
        return SimpleNamespace(latent_dist=SimpleNamespace(mode=lambda: latents))

    def decode(self, latents: Tensor) -> SimpleNamespace:
        """The inverse; eight frames stand for their middle."""
        colours = torch.einsum("ck,bkthw->bcthw", torch.linalg.pinv(self.mix), latents)
        count = 8 * (latents.shape[2] - 1) + 1
        place = ((torch.arange(count) + 3.5) / 8).clamp(0, latents.shape[2] - 1)
        place[0] = 0
        low = place.floor().long().clamp_max(latents.shape[2] - 2)
        share = (place - low).view(-1, 1, 1)
        video = colours[:, :, low] * (1 - share) + colours[:, :, low + 1] * share
        return SimpleNamespace(sample=functional.interpolate(video, scale_factor=(1, 8, 8), mode="trilinear").tanh())


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["one-step", "diffusion"])
def test_121_frames_of_cosmos_show_no_borders(sampler: str) -> None:
    network = narrow_cosmos("inverse")
    if sampler == "diffusion":
        network = CosmosDenoiser.from_config(network.config)
        network.load_state_dict(narrow_cosmos("inverse").state_dict())
    renderer = InverseRenderer(network.eval(), vae=LinearVideo(), sampler=sampler)
    renderer.set_progress_bar_config(disable=True)

    def call(video: np.ndarray) -> dict[str, np.ndarray]:
        return dict(renderer(video, steps=5, generator=torch.Generator().manual_seed(0)).gbuffers)

    film = moving_ball(121, 64)
    whole, pieces = call(film), [call(film[start : start + 57]) for start in (0, 57, 114)]
    for name, video in whole.items():
        blended = border_ratio(video, plan_grouped(121, 57, 16, 8))
        change = np.abs(np.diff(np.concatenate([piece[name] for piece in pieces]), axis=0)).mean(axis=(1, 2, 3))
        cut = float(change[[56, 113]].mean() / np.delete(change, [56, 113]).mean())
        print(f"cosmos, {sampler}, {name}: {blended:.2f} blended, {cut:.2f} piece by piece")
        assert blended <= 1.1, name
        assert cut > 1.2, name
