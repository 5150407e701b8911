"""Long videos show no window borders: 96 frames, five windows, through the pipelines.

The networks are narrow and random: what they say of a frame depends on where in its window the frame stands, far more
than a trained network's answer does, so unblended borders jump by several times what changes inside windows.
"""

import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from manifests.contract.attributes import GBUFFERS
from renderers.inverse import InverseRenderer
from renderers.sampling.samplers import SIGMA_MAX, coefficients
from renderers.sampling.windows import plan_windows
from renderers.svd.unet import InverseUNet
from tests.renderers.narrow import narrow_inverse, narrow_vae

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


def border_ratio(video: np.ndarray, overlap: int) -> float:
    """Mean frame-to-frame change where the windows that make a frame change, over that where one window makes both."""
    change = np.abs(np.diff(video, axis=0)).mean(axis=(1, 2, 3))  # (T - 1,), from each frame to the next
    border = np.zeros(len(change), dtype=bool)
    for before, after in pairwise(plan_windows(len(video), overlap=overlap).windows):
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
    return {name: (border_ratio(found[6][name], 6), border_ratio(found[0][name], 0)) for name in names}


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
