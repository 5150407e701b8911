"""A distilled decoder in place of the autoencoder's own: what it is given, where it is kept, what it refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderTiny
from narrow import narrow_checkpoint, narrow_inverse, narrow_vae

from manifests.errors import CheckpointError, InputError
from renderers.backbones import BACKBONES
from renderers.inverse import InverseRenderer


def save_decoder(folder: Path, **more: object) -> AutoencoderTiny:
    torch.manual_seed(3)
    widths = (8, 8, 8, 8)
    decoder = AutoencoderTiny(encoder_block_out_channels=widths, decoder_block_out_channels=widths, **more)
    decoder.save_pretrained(folder)
    return decoder.eval()


@pytest.mark.parametrize("factor", [1.0, 0.5])
@torch.no_grad()
def test_it_decodes_the_networks_own_latents_frame_by_frame(tmp_path: Path, factor: float) -> None:
    decoder = save_decoder(tmp_path / "small", scaling_factor=factor)
    renderer = InverseRenderer(narrow_inverse(), vae=narrow_vae())
    renderer.load_small_decoder(tmp_path / "small")
    renderer.enable_vae_slicing(2)
    latents = torch.randn(1, 5, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    expected = torch.stack([decoder.decode(frame[None] / factor).sample[0] for frame in latents[0]])[None]
    torch.testing.assert_close(renderer.space.decode("basecolor", latents), expected, atol=1e-5, rtol=1e-5)
    gray = renderer.space.decode("depth", latents)
    torch.testing.assert_close(gray, expected.mean(dim=2, keepdim=True), atol=1e-5, rtol=1e-5)


def test_it_is_used_kept_with_the_checkpoint_and_found_again(tmp_path: Path) -> None:
    save_decoder(tmp_path / "small")
    renderer = InverseRenderer.from_pretrained(narrow_checkpoint(tmp_path / "inverse", "inverse"), sampler="one-step")
    renderer.set_progress_bar_config(disable=True)
    video = np.random.default_rng(0).random((3, 64, 64, 3), dtype=np.float32)

    def made(by: InverseRenderer) -> np.ndarray:
        return np.asarray(by(video, attributes=["basecolor"], generator=torch.Generator().manual_seed(1))["basecolor"])

    before = made(renderer)
    renderer.load_small_decoder(tmp_path / "small")
    small = made(renderer)
    assert np.abs(small - before).mean() > 0.01
    renderer.save_pretrained(tmp_path / "kept")
    again = InverseRenderer.from_pretrained(tmp_path / "kept")
    again.set_progress_bar_config(disable=True)
    np.testing.assert_allclose(made(again), small, atol=1e-6)


def test_what_does_not_fit_is_one_clear_error(tmp_path: Path) -> None:
    renderer = InverseRenderer(narrow_inverse(), vae=narrow_vae())
    save_decoder(tmp_path / "wide", latent_channels=16)
    with pytest.raises(CheckpointError, match="16 channels; those of this renderer have 4"):
        renderer.load_small_decoder(tmp_path / "wide")
    (tmp_path / "pickled").mkdir()
    (tmp_path / "pickled" / "config.json").write_text("{}")
    (tmp_path / "pickled" / "diffusion_pytorch_model.bin").write_bytes(b"")
    with pytest.raises(CheckpointError, match="pickle"):
        renderer.load_small_decoder(tmp_path / "pickled")
    tiny = InverseRenderer(BACKBONES["tiny"].create("inverse", widths=(16, 32), depths=(1, 1), embedding=16))
    with pytest.raises(InputError, match="decodes no latents"):
        tiny.load_small_decoder(tmp_path / "wide")
