"""`InverseRenderer`: a video in, its G-buffers out.

A network without steps predicts depth relative to what it sees, so each window of a long video and each tile of a large
picture comes with a near and a far of its own. Blended as they are, they would make the depth breathe, or bend it at
tile borders. `blend_depth` fits each piece to the one before it on what they share, cross-fades all of them, and
normalises the result once, as `modelspace.relative_depth` normalises a clip.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from diffusers.utils import BaseOutput
from torch import Tensor

from manifests.contract.attributes import GBUFFERS
from manifests.errors import CheckpointError, InputError
from renderers.backbones import JOINT, attribute_rows
from renderers.base import Generator, Renderer, StepCallback, base_seed
from renderers.checkpoints.summary import Kind
from renderers.modelspace import (
    Space,
    Video,
    channels_last,
    depth_from_inverse,
    display,
    from_model,
    model_video,
    relative_depth,
)
from renderers.sampling.samplers import Prediction, Sampler
from renderers.sampling.windows import Cut, Tile, Tiling, Window, WindowPlan
from renderers.svd import lora

FAR = 0.98
"""At and above this relative depth a pixel counts as background: the far end, where scale and shift mean nothing."""
COVERAGE = "mask"
"""Name, in the attribute table, of the further channel of networks that give coverage."""
_SEEN = 0.02  # inverse depth below which pieces are not compared
_PIXELS = 65_536
_ROUNDS = 10


@dataclass
class InverseOutput(BaseOutput):
    """G-buffers of one video.

    Attributes:
        gbuffers: by attribute name (T, H, W, C) float32 in the table's conventions (linear base colour, unit
            camera-space normals, linear roughness and metallic); depth, however, is relative to its clip:
            near 0, far and background 1.
        expected_errors: by attribute, what the error estimator (`judge`) of a checkpoint expects the clip's labels to
            be wrong by on surfaces: RMSE, of base colour in sRGB, of depth after the best scale and shift; normals in
            degrees. None without one, and where not all five attributes were asked for.
        coverage: (T, H, W, 1) in [0, 1], the estimated share of surface in every pixel; None where the network gives
            none.
    """

    gbuffers: Mapping[str, np.ndarray | Tensor] = field(default_factory=dict)
    expected_errors: Mapping[str, float] | None = None
    coverage: np.ndarray | Tensor | None = None


class InverseRenderer(Renderer):
    """Estimates base colour, normals, depth, roughness and metalness of every pixel of a video.

    DiffusionRenderer, section 4.1: the video is a condition beside the noisy attribute, one attribute per pass;
    a network with the channels for it predicts all five in one pass (`joint`).

    Args:
        unet: network of a registered backbone (`renderers.backbones`).
        scheduler: EulerDiscreteScheduler for "diffusion"; None is the published one.
        vae: autoencoder of backbones that work in latents.
        judge: says how wrong this network's G-buffers probably are (`label_error.py`); None where it has none.
        decoder: distilled decoder in place of the autoencoder's own (`load_small_decoder`).
        sampler: "diffusion" or "one-step"; None is the backbone's default.
        prediction: "v" or "sample"; None is the backbone's default.
        attributes: what the network was trained to predict.
        training: JSON record of how it was trained.
        licence: licence of the weights (SPDX).
    """

    kind: ClassVar[Kind] = "inverse"
    model_cpu_offload_seq = "unet->vae->decoder"  # type: ignore[assignment]  # None in the base
    _optional_components = ["scheduler", "vae", "judge", "decoder"]  # noqa: RUF012  (as diffusers declares it)

    def __init__(
        self,
        unet: Any,
        scheduler: Any = None,
        vae: Any = None,
        judge: Any = None,
        decoder: Any = None,
        *,
        sampler: Sampler | None = None,
        prediction: Prediction | None = None,
        attributes: Sequence[str] = GBUFFERS,
        training: Mapping[str, Any] | None = None,
        licence: str | None = None,
    ) -> None:
        attribute_rows(attributes)
        components = {"unet": unet, "scheduler": scheduler, "vae": vae, "judge": judge, "decoder": decoder}
        self._setup(components, sampler, prediction, training, licence, attributes=tuple(attributes), joint=False)
        channels = {name: self.space.channels(name) for name in GBUFFERS}
        predicted = self.backbone.out_channels(unet) - self.backbone.coverage
        joint = predicted == sum(channels.values())
        if not joint and predicted < max(channels.values()):
            raise CheckpointError(f"the network predicts {predicted} channels, too few for {', '.join(GBUFFERS)}")
        if joint and tuple(attributes) != GBUFFERS:
            raise CheckpointError(f"a joint network predicts {', '.join(GBUFFERS)}, in this order")
        self.register_to_config(joint=joint)

    @torch.no_grad()
    def __call__(
        self,
        video: Video | list[Video],
        *,
        attributes: Sequence[str] | None = None,
        steps: int | None = None,
        window: int | None = None,
        overlap: int | None = None,
        tile_pixels: int | None = None,
        generator: Generator = None,
        batch_attributes: int | None = None,
        lora_scale: float = 1.0,
        callback_on_step_end: StepCallback | None = None,
        output_type: Literal["np", "pt"] = "np",
    ) -> InverseOutput | list[InverseOutput]:
        """Estimate the G-buffers of one video, or of each of a list.

        Args:
            video: (T, H, W, 3) sRGB, floats in [0, 1] or uint8; (H, W, 3) for one image; or a Clip.
            attributes: which to estimate; None is all that the checkpoint knows.
            steps: denoising steps of a "diffusion" checkpoint, by default 20 (`cosmos` 15); "one-step" ones take one.
            window: frames that the network sees at a time, by default 24 (`cosmos` 57, and always 8 k + 1).
            overlap: frames that neighbouring windows share and cross-fade, by default 6 (`cosmos` 16); fewer where
                windows are as short.
            tile_pixels: pictures with more pixels are cut into overlapping tiles; None never cuts, and `cosmos` to the
                size that it was trained on.
            generator: seeds the noise; each attribute's noise depends on it and the attribute alone.
            batch_attributes: attributes denoised together; None starts with all, and halves when memory runs out.
            lora_scale: strength of the LoRA, where one is loaded.
            callback_on_step_end: `callback(pipeline, step, timestep, {"latents": ...})` after every step.
            output_type: "np" gives (T, H, W, C) arrays, "pt" (T, C, H, W) tensors.

        Returns:
            InverseOutput, or a list of them for a list of videos. Depth is relative to the clip.
        """
        names = tuple(self.config["attributes"] if attributes is None else attributes)
        unknown = [name for name in names if name not in self.config["attributes"]]
        if unknown or not names:
            what = repr(unknown[0]) if unknown else "an empty list"
            raise InputError(f"cannot estimate {what}", f"this checkpoint knows {', '.join(self.config['attributes'])}")
        if batch_attributes is not None and batch_attributes < 1:
            raise InputError(f"batch_attributes is {batch_attributes}, expected at least 1")
        if output_type not in ("np", "pt"):
            raise InputError(f"output_type is {output_type!r}, expected 'np' or 'pt'")
        videos = video if isinstance(video, list) else [video]
        if not videos:
            raise InputError("the list of videos is empty", "give at least one")
        results = []
        for rgb in [model_video(one) for one in videos]:
            cut = self._cut((rgb.shape[-2], rgb.shape[-1]), rgb.shape[1], window, overlap, tile_pixels)
            condition = self._space(cut).encode(cut.pixels.pad(rgb.to(self._execution_device)))
            run = _Run(self, condition, cut, names, self._steps(steps), base_seed(generator), callback_on_step_end)
            with lora.lora_scale(self.unet, lora_scale if lora.has_lora(self.unet) else 0.0):
                values = run.values(batch_attributes)
            coverage = values.pop(COVERAGE, None)
            judged = self.judge is not None and set(values) == set(GBUFFERS)
            expected = self.judge.expected(rgb, values) if judged else None
            shown = {name: _given(value, output_type) for name, value in values.items()}
            results.append(InverseOutput(shown, expected, None if coverage is None else _given(coverage, output_type)))
        self.maybe_free_model_hooks()
        return results if isinstance(video, list) else results[0]


@dataclass(frozen=True, eq=False)
class _Run:
    """One video through one pipeline; `condition` (1, T, c, h, w) is encoded once, for all attributes and steps."""

    pipeline: InverseRenderer
    condition: Tensor
    cut: Cut
    names: tuple[str, ...]
    steps: int
    seed: int
    callback: StepCallback | None

    def values(self, batch: int | None) -> dict[str, Tensor]:
        """Attributes (1, T, C, H, W) as values, computed `batch` at a time, fewer where memory runs out."""
        passes = (JOINT,) if self.pipeline.config["joint"] else self.names
        predicted = self._one_step if self.pipeline.config["sampler"] == "one-step" else self._diffused
        size, start = len(passes) if batch is None else batch, 0
        done: dict[str, Tensor] = {}
        while start < len(passes):
            chunk = passes[start : start + size]
            try:
                done |= predicted(chunk)
                start += len(chunk)
            except torch.OutOfMemoryError:
                if batch is not None or len(chunk) == 1:
                    raise
                size = len(chunk) // 2
                torch.cuda.empty_cache()
        done = {name: self.cut.pixels.crop(video) for name, video in done.items()}
        values = {name: from_model(name, done[name]) for name in self.names}
        if COVERAGE in done:
            values[COVERAGE] = display(done[COVERAGE])
            if "depth" in values:
                values["depth"] = depth_from_inverse(values["depth"], values[COVERAGE])
        return values

    def _diffused(self, passes: Sequence[str]) -> dict[str, Tensor]:
        """Padded model space (1, T, C, H', W'); windows and tiles meet in the network's space, at every step."""
        space = self.pipeline._space(self.cut, self._blended)
        with self.pipeline.progress_bar(total=self.steps) as bar:
            return dict(self._decoded(passes, self._sampled(passes, self.condition, self.cut, bar), space))

    def _one_step(self, passes: Sequence[str]) -> dict[str, Tensor]:
        """The same without steps to meet at: windows and tiles are decoded first, so that depth can be aligned."""
        plan, pixels, cells = self.cut.plan, self.cut.pixels, self.cut.cells
        windows: dict[str, list[Tensor]] = {}
        with self.pipeline.progress_bar(total=len(plan.windows) * len(cells.tiles)) as bar:
            for window in self.cut.cell_plan.windows:
                pieces: dict[str, list[Tensor]] = {}
                for tile in cells.tiles:
                    condition = tile.take(window.take(self.condition))
                    whole = Cut.whole(window.size, tile.height, tile.width)
                    sampled = self._sampled(passes, condition, whole, bar)
                    for name, video in self._decoded(passes, sampled, self.pipeline.space):
                        pieces.setdefault(name, []).append(video)
                for name, tiles in pieces.items():
                    windows.setdefault(name, []).append(self._blended(name, pixels, tiles))
        return {name: self._blended(name, plan, videos) for name, videos in windows.items()}

    def _blended(self, name: str, cut: WindowPlan | Tiling, pieces: Sequence[Tensor]) -> Tensor:
        """Windows or tiles of one attribute, in model space, as one; depth is brought to one scale first."""
        if name != "depth":
            return cut.blend(pieces)
        blend = blend_inverse_depth if self.pipeline.backbone.inverse_depth else blend_depth
        return 2.0 * blend(cut, map(display, pieces)) - 1.0

    def _sampled(self, passes: Sequence[str], condition: Tensor, cut: Cut, bar: Any) -> Tensor:
        """Network output (N, T, c, h, w) for N passes over `condition` (1, T, c, h, w)."""
        rows = attribute_rows(passes)
        pipeline, backbone = self.pipeline, self.pipeline.backbone

        def predict(noisy: Tensor, timestep: Tensor, _: Tensor, window: Window, tile: Tile) -> Tensor:
            seen = tile.take(window.take(condition))
            return backbone.inverse(pipeline.unet, noisy, timestep, seen, rows.to(noisy.device))

        frames, _, height, width = condition.shape[1:]
        return pipeline._draw(
            predict,
            (len(passes), frames, backbone.out_channels(pipeline.unet), height, width),
            cut,
            steps=self.steps,
            generator=[torch.Generator().manual_seed(self.seed + int(row)) for row in rows],
            callback=self.callback,
            bar=bar,
        )

    def _decoded(self, passes: Sequence[str], sampled: Tensor, space: Space) -> Iterator[tuple[str, Tensor]]:
        """Attributes and their model-space videos (1, T, C, H', W') out of the network's output of N passes."""
        by_name = dict(zip(passes, sampled.split(1), strict=True))
        if JOINT in by_name:
            names = (*GBUFFERS, COVERAGE) if self.pipeline.backbone.coverage else GBUFFERS
            sizes = [self.pipeline.space.channels(name) for name in names]
            by_name = dict(zip(names, by_name[JOINT].split(sizes, dim=2), strict=True))
        for name, latents in by_name.items():
            if name in (*self.names, COVERAGE):
                yield name, space.decode(name, latents).float()


def _given(video: Tensor, output_type: str) -> np.ndarray | Tensor:
    """(1, T, C, H, W) as users get it."""
    return channels_last(video) if output_type == "np" else video[0].cpu()


def blend_depth(cut: WindowPlan | Tiling, outputs: Iterable[Tensor]) -> Tensor:
    """Windows or tiles of relative depth in [0, 1] as one clip's relative depth (B, T, 1, H, W).

    Windows are (B, size, 1, H, W), tiles (B, T, 1, h, w) in reading order, aligned along columns and then along rows.
    Background (1 in most pieces that see it) stays 1. A single piece comes back as it is.
    """
    pieces = list(outputs)
    return cut.blend(pieces) if len(pieces) == 1 else _normalised(cut.blend(map(_marked, pieces), align_depth))


def blend_inverse_depth(cut: WindowPlan | Tiling, outputs: Iterable[Tensor]) -> Tensor:
    """Windows or tiles of inverse depth in [0, 1] as one clip's (B, T, 1, H, W), in the unit of the first piece.

    Only a scale is fitted: infinity is 0 in every piece.
    """
    pieces = list(outputs)
    return cut.blend(pieces) if len(pieces) == 1 else cut.blend(pieces, _align_scale).clamp(0.0, 1.0)


def _align_scale(plan: WindowPlan, pieces: Iterable[Tensor]) -> Iterator[Tensor]:
    """Bring each piece of inverse depth (B, size, 1, ., .) to the scale of the one before, by their shared medians."""
    before: Tensor | None = None
    for index, (window, piece) in enumerate(zip(plan.windows, pieces, strict=True)):
        shared = plan.windows[index - 1].stop - window.start if before is not None else 0
        aligned = piece
        if before is not None and shared:
            ours, theirs = piece[:, :shared].flatten(1), before[:, -shared:].flatten(1)
            ratios = torch.where((ours > _SEEN) & (theirs > _SEEN), theirs / ours.clamp_min(_SEEN), torch.nan)
            aligned = piece * ratios.nanmedian(dim=1).values.nan_to_num(1.0).view(-1, 1, 1, 1, 1)
        before = aligned[:, : window.stop - window.start]  # repeated frames tell nothing
        yield aligned


def align_depth(plan: WindowPlan, pieces: Iterable[Tensor]) -> Iterator[Tensor]:
    """Bring each piece to the scale and shift of the first, by way of what it shares with the one before.

    Pieces are (B, size, 2, ., .): along dimension 1 runs what the plan cuts (frames, rows or columns), the channels
    are depth and the share of background. Yields the same shapes; aligned depth may leave [0, 1]. Holds one piece.
    """
    before: Tensor | None = None
    for index, (window, piece) in enumerate(zip(plan.windows, pieces, strict=True)):
        shared = plan.windows[index - 1].stop - window.start if before is not None else 0
        aligned = piece
        if before is not None and shared:
            scale, shift = _fit(piece[:, :shared], before[:, -shared:])
            aligned = torch.cat([piece[:, :, :1] * scale + shift, piece[:, :, 1:]], dim=2)
        before = aligned[:, : window.stop - window.start]  # repeated frames tell nothing
        yield aligned


def _marked(depth: Tensor) -> Tensor:
    """Relative depth (B, n, 1, H, W) with its background beside it: (B, n, 2, H, W)."""
    return torch.cat([depth, (depth >= FAR).to(depth.dtype)], dim=2)


def _normalised(marked: Tensor) -> Tensor:
    """Aligned depth and background (B, T, 2, H, W) as relative depth (B, T, 1, H, W) in [0, 1], background 1."""
    depth, background = marked.split(1, dim=2)
    return relative_depth(depth.masked_fill(background > 0.5, torch.inf))[0]


def _fit(ours: Tensor, theirs: Tensor) -> tuple[Tensor, Tensor]:
    """Scale and shift (B, 1, 1, 1, 1) that take our side of what is shared (B, n, 2, H, W) to theirs, robustly.

    The slope is the ratio of weighted spreads (reduced major axis), weights are Cauchy's on the residuals. Ordinary
    least squares would shrink the slope wherever both sides are noisy, and over a hundred windows to nothing.
    """
    scale, shift = ours.new_ones(len(ours)), ours.new_zeros(len(ours))
    for clip in range(len(ours)):
        surface = (ours[clip, :, 1] < 0.5) & (theirs[clip, :, 1] < 0.5)  # (n, H, W)
        x, y = ours[clip, :, 0][surface].float(), theirs[clip, :, 0][surface].float()
        step = max(1, len(x) // _PIXELS)
        x, y = x[::step], y[::step]
        if len(x) < 2:
            continue  # nothing but background is shared: nothing to fit, nothing to see
        slope, offset = _line(x, y, torch.ones_like(x))
        for _ in range(_ROUNDS):
            residual = y - (slope * x + offset)
            width = 2.0 * residual.abs().median() + 1e-6
            slope, offset = _line(x, y, 1.0 / (1.0 + (residual / width).square()))
        scale[clip], shift[clip] = slope, offset
    return scale.view(-1, 1, 1, 1, 1), shift.view(-1, 1, 1, 1, 1)


def _line(x: Tensor, y: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Slope and offset of y over x; the slope is 1 where either is flat."""
    weights = weights / weights.sum()
    x_mean, y_mean = (weights * x).sum(), (weights * y).sum()
    x_spread, y_spread = (weights * (x - x_mean).square()).sum().sqrt(), (weights * (y - y_mean).square()).sum().sqrt()
    slope = y_spread / x_spread if x_spread > 1e-4 and y_spread > 1e-4 else torch.ones_like(x_spread)
    return slope, y_mean - slope * x_mean
