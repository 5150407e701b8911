"""What the three pipelines share: loading, saving, memory options, progress, and sampling over windows and tiles."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self, get_args

import torch
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from torch import Tensor

from manifests.errors import CheckpointError, InputError
from manifests.files import atomic_folder, write_bytes
from renderers.backbone import Backbone
from renderers.backbones import backbone, backbone_of, component_class
from renderers.checkpoints import reading, summary
from renderers.checkpoints.summary import Kind
from renderers.modelspace import DECODE_FRAMES, Blend, Space, WindowedSpace
from renderers.sampling import samplers
from renderers.sampling.samplers import Guidance, Prediction, Sampler
from renderers.sampling.windows import Cut, Tile, Window, tiled, windowed
from renderers.svd import lora

StepCallback = Callable[[Any, int, Tensor, dict[str, Any]], dict[str, Any] | None]
"""diffusers' `callback_on_step_end(pipeline, step, timestep, {"latents": ...})`; returned latents replace them."""

Predict = Callable[[Tensor, Tensor, Tensor, Window, Tile], Tensor]
"""`predict(noisy (N, t, c, h, w), timestep, unconditional (N,), window, tile)`: one window of one tile."""

Generator = torch.Generator | None

_SCHEDULER = Path("scheduler") / "scheduler_config.json"
_RUN_ONLY = ("_name_or_path", "_module")


class Renderer(DiffusionPipeline):
    """Base of the pipelines; a diffusers pipeline whose files are only ever JSON and safetensors.

    `.to`, `enable_model_cpu_offload`, `enable_sequential_cpu_offload`, `set_progress_bar_config` are diffusers' own.
    """

    kind: ClassVar[Kind]

    def _setup(
        self,
        components: Mapping[str, Any],
        sampler: Sampler | None,
        prediction: Prediction | None,
        training: Mapping[str, Any] | None,
        licence: str | None,
        **more: Any,
    ) -> None:
        """Register components and settings; settings that are None take the backbone's defaults."""
        super().__init__()
        family = backbone_of(components["unet"])
        sampler, prediction = sampler or family.sampler, prediction or family.prediction
        for what, value, allowed in (("sampler", sampler, Sampler), ("prediction", prediction, Prediction)):
            if value not in get_args(allowed):
                raise CheckpointError(f"{what} is {value!r}, expected {' or '.join(map(repr, get_args(allowed)))}")
        if family.latent and components.get("vae") is None:
            raise CheckpointError(
                f"backbone {family.name} works in latents and needs a vae", "load the complete checkpoint"
            )
        if sampler == "diffusion" and components.get("scheduler") is None:
            components = {**components, "scheduler": family.scheduler(prediction)}
        self.register_modules(**components)
        self.register_to_config(
            kind=self.kind,
            backbone=family.name,
            sampler=sampler,
            prediction=prediction,
            hints=family.hints and self.kind == "forward",
            training=dict(training or {}),
            licence=licence,
            **more,
        )
        self._chunk = DECODE_FRAMES

    @property
    def components(self) -> dict[str, Any]:
        """Modules by name, absent ones as None."""
        return {name: getattr(self, name) for name in self._get_signature_keys(self)[0]}

    @property
    def backbone(self) -> Backbone:
        """How the networks are called."""
        return backbone(self.config["backbone"])

    @property
    def space(self) -> Space:
        """Latents or pixels."""
        return self.backbone.space(getattr(self, "vae", None), self._chunk, getattr(self, "decoder", None))

    @property
    def side(self) -> int:
        """Larger side, in pixels, to which `relight`, `edit` and `insert` bring pictures for it."""
        return self.backbone.side(self.config["training"])

    def enable_vae_slicing(self, frames: int = 4) -> None:
        """Encode and decode `frames` at a time instead of 24: less memory; results differ a little at chunk borders.

        Frames are counted as of 512x512 when clips are encoded or several are decoded: of smaller ones more go through.
        """
        if frames < 1:
            raise InputError(f"slices of {frames} frames", "give at least 1")
        self._chunk = frames

    def disable_vae_slicing(self) -> None:
        """Encode and decode a whole window at a time again."""
        self._chunk = DECODE_FRAMES

    def load_small_decoder(self, folder: str | Path) -> None:
        """Decode with the distilled decoder in `folder` (diffusers' AutoencoderTiny, such as TAESD) from now on.

        Decoding is most of what one step costs. A distilled decoder is many times smaller, gives softer pictures, and
        has to have learned the latents of this autoencoder. `save_pretrained` keeps it with the checkpoint. Raises
        InputError where nothing is decoded, CheckpointError where the decoder does not fit.
        """
        vae = getattr(self, "vae", None)
        if vae is None or "decoder" not in self.components:
            raise InputError(f"this {type(self).__name__} decodes no latents", "there is nothing to speed up")
        root = reading.locate(folder)
        decoder = reading.load_model(
            component_class("decoder", "AutoencoderTiny", self.kind, published=False),
            root,
            ".",
            dtype=vae.dtype,
            variant=None,
        )
        if decoder.config.latent_channels != vae.config.latent_channels:
            raise CheckpointError(
                f"decodes latents of {decoder.config.latent_channels} channels",
                f"those of this renderer have {vae.config.latent_channels}",
                where=root,
            )
        self.register_modules(decoder=decoder.to(vae.device))

    @classmethod
    def from_pretrained(  # type: ignore[override]  # diffusers takes **kwargs; ours are named
        cls,
        source: str | Path,
        *,
        torch_dtype: torch.dtype | None = None,
        variant: str | None = None,
        revision: str | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        **settings: Any,
    ) -> Self:
        """Load a checkpoint of this kind: a folder, or a hub id that is downloaded (JSON and safetensors only).

        `renderers.load` gives whichever pipeline a checkpoint holds. `settings` override what model_index.json says
        (`sampler="one-step"`, ...). Raises CheckpointError.
        """
        root = reading.locate(source, revision=revision, cache_dir=cache_dir, local_files_only=local_files_only)
        index = reading.read_json(root, reading.INDEX)
        published = "backbone" not in index
        kind = summary.inspect(root, variant=variant).kind
        if kind != getattr(cls, "kind", None):
            right = f"load it with {summary.PIPELINES[kind]}"
            raise CheckpointError(f"holds weights of kind {kind}, not those of {cls.__name__}", right, where=root)
        if not published:
            backbone(str(index["backbone"]))
        modules: dict[str, Any] = {}
        names, options = cls._get_signature_keys(cls)
        for name in names:
            entry = index.get(name)
            named = entry[1] if isinstance(entry, list) and len(entry) == 2 else None
            if named is None and not (published and (root / name).is_dir()):
                continue
            if name == "scheduler" and named is None:
                named = reading.read_json(root, _SCHEDULER).get("_class_name")
            chosen = component_class(name, named, kind, published=published)
            modules[name] = _component(chosen, root, name, torch_dtype, variant)
        if "unet" not in modules:
            raise CheckpointError("names no unet", "the checkpoint is incomplete", where=root / reading.INDEX)
        unknown = sorted(set(settings) - set(options))
        if unknown:
            raise InputError(f"{cls.__name__} has no setting {unknown[0]!r}", f"it has {', '.join(options)}")
        recorded = {name: index[name] for name in options if name in index} | settings
        try:
            pipeline = cls(**modules, **recorded)
        except (TypeError, ValueError) as error:
            raise CheckpointError(f"its settings do not fit ({error})", where=root / reading.INDEX) from error
        if (root / lora.FOLDER).is_dir():
            pipeline.load_lora(root / lora.FOLDER)
        return pipeline

    def load_lora(self, folder: str | Path) -> None:
        """Put the LoRA of `folder` (diffusers' format) on the network; `lora_scale` of a call sets its strength."""
        if not hasattr(self.unet, "load_lora_adapter"):
            raise InputError(f"{type(self.unet).__name__} takes no LoRA", "its class lacks diffusers' PeftAdapterMixin")
        lora.load_lora(self.unet, Path(folder))

    def save_pretrained(  # type: ignore[override]  # no pickle, no hub upload
        self, folder: str | Path, *, variant: str | None = None, max_shard_size: int | str = "5GB"
    ) -> None:
        """Write the checkpoint to `folder`, all of it or nothing; a checkpoint that stands there is replaced.

        Raises CheckpointError if `folder` holds something else, DiskFull if there is no room.
        """
        target = Path(folder)
        reading.check_replaceable(target)
        with atomic_folder(target) as root:
            for name, module in self.components.items():
                if isinstance(module, torch.nn.Module):
                    plain: Any = getattr(module, "_orig_mod", module)  # torch.compile wraps modules
                    plain = lora.without_lora(plain) if lora.has_lora(plain) else plain
                    plain.save_pretrained(root / name, variant=variant, max_shard_size=max_shard_size)
                elif module is not None:
                    module.save_pretrained(root / name)
            if lora.has_lora(self.unet):
                lora.save_lora(self.unet, root / lora.FOLDER)
            if notice := reading.NOTICES.get(str(self.config["licence"])):
                write_bytes(root / reading.NOTICE, notice.encode())
            index = {key: value for key, value in sorted(self.config.items()) if key not in _RUN_ONLY}
            write_bytes(root / reading.INDEX, (json.dumps(index, indent=2) + "\n").encode())

    def _cut(
        self, size: tuple[int, int], frames: int, window: int | None, overlap: int | None, tile_pixels: int | None
    ) -> Cut:
        """Plan windows and tiles for a video of `frames` frames of `size` (H, W); None is the backbone's default."""
        family = self.backbone
        windows = family.window if window is None else window, family.overlap if overlap is None else overlap
        return family.cut(self.space, self.unet, size, frames, windows, tile_pixels)

    def _space(self, cut: Cut, blend: Blend = lambda _, plan, windows: plan.blend(windows)) -> Space:
        """What the network works in, for a whole video that is cut."""
        return self.space if cut.stride == 1 else WindowedSpace(self.space, cut, blend)

    def _steps(self, steps: int | None) -> int:
        """Calls of the network that sampling takes; None is the backbone's default."""
        if self.config["sampler"] != "diffusion":
            return 1
        return self.backbone.steps if steps is None else steps

    def _draw(
        self,
        predict: Predict,
        shape: Sequence[int],
        cut: Cut,
        *,
        steps: int,
        guidance: Guidance = 1.0,
        generator: Generator | list[torch.Generator],
        callback: StepCallback | None,
        bar: Any,
    ) -> Tensor:
        """Sample (B, T, c, h, w) in the network's space, all windows and tiles of a step before the next step."""

        backbone, space = self.backbone, self.space

        def model(noisy: Tensor, timestep: Tensor, unconditional: Tensor) -> Tensor:
            def in_window(part: Tensor, window: Window) -> Tensor:
                whole = tiled(cut.cells, lambda piece, tile: predict(piece, timestep, unconditional, window, tile))
                return whole(part)

            output = windowed(cut.cell_plan, in_window)(noisy)
            return backbone.agreed(space, cut, output, noisy, timestep)

        def after_step(step: int, timestep: Tensor, latents: Tensor) -> Tensor | None:
            bar.update()
            result = callback(self, step, timestep, {"latents": latents}) if callback else None
            return (result or {}).get("latents")

        return samplers.sample(
            model,
            tuple(shape),
            sampler=self.config["sampler"],
            prediction=self.config["prediction"],
            scheduler=getattr(self, "scheduler", None),
            steps=steps,
            guidance=guidance,
            generator=generator,
            device=self._execution_device,
            dtype=self.unet.dtype,
            callback=after_step,
            shared=None if cut.stride == 1 else cut.places,
        )


def _component(chosen: Any, root: Path, name: str, dtype: torch.dtype | None, variant: str | None) -> Any:
    """One component of a checkpoint as an instance of `chosen`."""
    if name == "scheduler":
        return chosen.from_config(reading.read_json(root, _SCHEDULER))
    if name == "vae" and dtype == torch.float16:
        upcast = reading.read_json(root, Path(name) / "config.json").get("force_upcast", True)
        dtype = torch.float32 if upcast else dtype
    return reading.load_model(chosen, root, name, dtype=dtype, variant=variant)


def checked_size(size: Any) -> tuple[int, int]:
    """(h, w) of the panoramas that a network sees; raises CheckpointError unless they are 4 to 8192."""
    if not (
        isinstance(size, list | tuple) and len(size) == 2 and all(isinstance(n, int) and 4 <= n <= 8192 for n in size)
    ):
        raise CheckpointError(f"environment_size is {size!r}, expected two whole numbers of pixels")
    return size[0], size[1]


def base_seed(generator: Generator) -> int:
    """A seed drawn from `generator`, or a fresh one where there is none."""
    if generator is None:
        return torch.Generator().seed() >> 2
    return int(torch.randint(2**62, (), generator=generator, device=generator.device))
