"""What a backbone is: which networks it has, how these are fed and called, and what a video is cut into for them.

The registered ones are in `renderers.backbones`.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from diffusers.schedulers.scheduling_euler_discrete import EulerDiscreteScheduler
from torch import Tensor

from manifests.contract.attributes import GBUFFERS
from manifests.errors import CheckpointError, InputError
from renderers.checkpoints.summary import Kind
from renderers.modelspace import DECODE_FRAMES, Space, to_model
from renderers.sampling.samplers import SIGMA_MAX, SIGMA_MIN, Prediction, Sampler, default_scheduler
from renderers.sampling.windows import OVERLAP, WINDOW, Cut, plan_tiles, plan_windows

LightFeatures = tuple[Tensor, ...]
"""What carries light (or, for the lighting estimator, the video) into a network: tensors (B, T, ...), by frame."""


@dataclass(frozen=True)
class RenderInputs:
    """What a forward renderer renders, B clips of T frames.

    Attributes:
        gbuffers: the five (B, T, C, H, W) as values, depth relative; `partial` backbones do without some.
        panorama: (B, T, 3, h, w), or (B, 1, 3, h, w) where it stays the same, linear HDR in the camera frame, exposed;
            None for `partial` backbones without light.
        intrinsics: (3, 3), (B, 3, 3) or, where a clip zooms, (B, T, 3, 3), in pixels.
        mask: (B, T, 1, H, W) surface coverage, None where unknown.
        behind: gives (B, T, 3, H, W), the light along every viewing ray, linear and exposed, or None where that is what
            the panorama has. Called only for networks that are shown it.
        dropped: (B,) bool by name of a G-buffer or `environment`: clips from which it is withheld, of `partial`
            backbones.
    """

    gbuffers: Mapping[str, Tensor]
    panorama: Tensor | None
    intrinsics: Tensor
    mask: Tensor | None = None
    behind: Callable[[], Tensor | None] = lambda: None
    dropped: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def light(self) -> Tensor:
        """The panorama, of networks that cannot do without."""
        if self.panorama is None:
            raise InputError("no light was given: pass a panorama (h, w, 3), or an Environment with camera_to_world")
        return self.panorama

    def model_space(self) -> dict[str, Tensor]:
        """The G-buffers in model space, native channels, in GBUFFERS order."""
        return {name: to_model(name, self.gbuffers[name]) for name in GBUFFERS if name in self.gbuffers}


@dataclass(frozen=True)
class LightingInputs:
    """What a lighting estimator is shown, B clips of T frames, and the panorama it shall give.

    Attributes:
        rgb: (B, T, 3, H, W) in model space.
        intrinsics: (3, 3), (B, 3, 3) or, where a clip zooms, (B, T, 3, 3), in pixels.
        gbuffers: (B, T, C, H, W) by name, as values, depth relative; None where unknown.
        rotations: (B, T, 3, 3) from each camera's frame to the first one's; None for a camera that does not turn.
        size: (h, w) of the panorama.
    """

    rgb: Tensor
    intrinsics: Tensor
    gbuffers: Mapping[str, Tensor] | None
    rotations: Tensor | None
    size: tuple[int, int]


@dataclass(frozen=True)
class LightingModel:
    """`predict(noisy, timestep) -> prediction`, both of `shape` (B, T, c, h, w) in the network's space.

    `images(latents)` gives E_ldr and E_log (B, 3, h, w) in [0, 1], in the first camera's frame, of what was sampled.
    """

    shape: tuple[int, ...]
    predict: Callable[[Tensor, Tensor], Tensor]
    images: Callable[[Tensor], tuple[Tensor, Tensor]]


class Backbone(ABC):
    """One family of networks: which class plays which kind, how it is sampled by default, and how it is called.

    `noisy` is (N, T, c, h, w) in the network's space. Conditions have its N and T, or N = 1. `pad` continues images
    (B, T, C, H, W) to the size that the network takes.

    Attributes:
        name: what checkpoints and presets call it.
        networks: class name of the `unet` of each kind.
        classes: the module of each class that its checkpoints may name, and the folders where that may stand.
        sampler: of checkpoints that do not say.
        prediction: of checkpoints that do not say.
        latent: whether its networks see the world through an autoencoder (`vae`).
        inverse_depth: whether its inverse networks give depth as near depth over depth, 0 at infinity, and not as
            relative depth.
        coverage: whether its inverse networks give one more channel, the surface coverage.
        encodes_light: whether its forward and lighting networks come with an encoder (`env_encoder`).
        hints: whether the forward network takes analytic shading as further condition channels.
        environment_size: (h, w) of the panoramas that its networks see, of checkpoints that do not say; None where
            these are as large as the picture, or as a tile of it.
        native: larger side of the pictures that its published networks learnt from.
        stride: frames of a cell of its networks' space; the first frame has one of its own.
        sigmas: lowest and highest noise level.
        steps, window, overlap, guidance, lora_scale: of calls that do not say; frames are counted in pictures.
        partial: whether forward networks take clips that lack G-buffers or light.
        half: whether its networks are loaded in bfloat16 for a GPU where nobody says otherwise.
        memory, frame_bytes: of films whose settings do not say: GiB of memory, and how much of it a pixel of a frame
            takes that networks work on (docs/benchmarks.md).
    """

    name: ClassVar[str]
    networks: ClassVar[Mapping[Kind, str]]
    classes: ClassVar[Mapping[str, tuple[str, tuple[str, ...]]]]
    sampler: ClassVar[Sampler]
    prediction: ClassVar[Prediction]
    latent: ClassVar[bool]
    inverse_depth: ClassVar[bool] = False
    coverage: ClassVar[bool] = False
    encodes_light: ClassVar[bool] = False
    hints: ClassVar[bool]
    environment_size: ClassVar[tuple[int, int] | None]
    native: ClassVar[int] = 512
    stride: ClassVar[int] = 1
    sigmas: ClassVar[tuple[float, float]] = (SIGMA_MIN, SIGMA_MAX)
    steps: ClassVar[int] = 20
    window: ClassVar[int] = WINDOW
    overlap: ClassVar[int] = OVERLAP
    guidance: ClassVar[float] = 1.2
    lora_scale: ClassVar[float] = 0.25
    partial: ClassVar[bool] = False
    half: ClassVar[bool] = False
    memory: ClassVar[float] = 2.0
    frame_bytes: ClassVar[int] = 2500

    def create(self, kind: Kind, **config: Any) -> Any:
        """A new network of `kind` with random weights; `config` is that of its class."""
        if kind not in self.networks:
            raise CheckpointError(f"backbone {self.name} has no {kind} network", f"it has {', '.join(self.networks)}")
        module, _ = self.classes[self.networks[kind]]
        return getattr(importlib.import_module(module), self.networks[kind])(**config)

    def scheduler(self, prediction: Prediction) -> EulerDiscreteScheduler:
        """The scheduler of checkpoints that have none."""
        return default_scheduler(prediction, *self.sigmas)

    def cells(self, frames: int) -> int:
        """Frames of the network's space that `frames` pictures make."""
        return 1 + (frames - 1) // self.stride

    def cut(
        self, space: Space, network: Any, size: tuple[int, int], frames: int, windows: tuple[int, int], area: int | None
    ) -> Cut:
        """Plan (frames, overlap) windows, and tiles of at most `area` pixels, for a video of pictures (H, W)."""
        window, overlap = windows
        pixels = plan_tiles(*size, self.multiple(network) * space.factor, budget=area)
        plan = plan_windows(frames, window, min(overlap, window - 1))
        return Cut(plan, pixels, pixels.divided(space.factor))

    def agreed(self, space: Space, cut: Cut, output: Tensor, noisy: Tensor, timestep: Tensor) -> Tensor:
        """A step's output for all windows, after they agreed on what they share and do not hold in common anyway."""
        return output

    def side(self, training: Mapping[str, Any]) -> int:
        """Larger side, in pixels, at which its networks see pictures best, by their checkpoint's record of training."""
        sizes = training.get("sizes") or []
        sides = [side for size in sizes if isinstance(size, list | tuple) for side in size if isinstance(side, int)]
        return max(sides) if sides else self.native

    @abstractmethod
    def space(self, vae: Any, frames: int = DECODE_FRAMES, decoder: Any = None) -> Space:
        """What its networks work in; `frames` go through an autoencoder at a time, `decoder` is a distilled one."""

    @abstractmethod
    def multiple(self, network: Any) -> int:
        """Height and width, in the network's space, must be multiples of this."""

    def lighting_multiple(self, network: Any, space: Space) -> int:
        """Height and width of the video that a lighting network is shown, in pixels, must be multiples of this."""
        return self.multiple(network) * space.factor

    @abstractmethod
    def out_channels(self, network: Any) -> int:
        """Channels of an inverse network's output, coverage included."""

    @abstractmethod
    def inverse(self, network: Any, noisy: Tensor, timestep: Tensor, rgb: Tensor, rows: Tensor) -> Tensor:
        """Prediction for the attributes `rows` (N,) given the encoded video `rgb`, unscaled."""

    @abstractmethod
    def forward_inputs(
        self, space: Space, encoder: Any | None, inputs: RenderInputs, pad: Callable[[Tensor], Tensor]
    ) -> tuple[Tensor, LightFeatures]:
        """The condition (B, T, C, h, w) and the light of `forward`, encoded once for all steps."""

    @abstractmethod
    def forward(self, network: Any, noisy: Tensor, timestep: Tensor, condition: Tensor, light: LightFeatures) -> Tensor:
        """Prediction of the picture given what `forward_inputs` made; all zeros mean "without"."""

    @abstractmethod
    def lighting(self, space: Space, network: Any, encoder: Any | None, inputs: LightingInputs) -> LightingModel:
        """A lighting network bound to what it is shown: every condition encoded once."""


def like(condition: Tensor, noisy: Tensor) -> Tensor:
    """`condition` in the dtype of the noisy sample, for as many clips and frames."""
    return condition.to(noisy.dtype).expand(*noisy.shape[:2], *condition.shape[2:])
