"""How footage is labelled: the options that a user gives, and the networks with them. Plain data for actors.

`lightloom label` reads `LabelOptions` as its options; a `LabelSettings` adds the checkpoints, looked up and hashed.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import tyro

from manifests.contract.attributes import Codec
from manifests.errors import CheckpointError, InputError
from renderers.checkpoints.summary import Kind

Check = Literal["mirror", "window", "exposure", "render"]
CameraChoice = Literal["assume", "solve"]
Precision = Literal["float32", "float16", "bfloat16"]


@dataclass(frozen=True, kw_only=True)
class SegmentOptions:
    """Which segments of every item become clips.

    Without a stride, `count` segments are spread evenly over the item, overlapping if it is short, but never closer
    than a quarter of their length.

    Attributes:
        count: clips of each item at most, spread over it; as many as fit if not given.
        length: frames of a clip.
        stride: frames from the start of one clip to the next; the length if neither it nor --segments is given.
        cuts: look for hard cuts, which no clip may straddle.
        min_motion: share of the picture that must change within a clip; 0 keeps still ones.
        min_brightness: brightness in [0, 1] that 5 % of every frame must exceed; 0 keeps black ones.
    """

    count: Annotated[int | None, tyro.conf.arg(name="segments")] = None
    length: int = 24
    stride: int | None = None
    cuts: bool = True
    min_motion: float = 0.01
    min_brightness: float = 0.08

    def __post_init__(self) -> None:
        for name, value in (("length", self.length), ("stride", self.stride), ("segments", self.count)):
            if value is not None and value < 1:
                raise InputError(f"`{name}` is {value}, expected at least 1", fields=(name,))
        for name in ("min_motion", "min_brightness"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"`{name}` is {getattr(self, name)}, expected 0 to 1", fields=(name,))

    def spacing(self, frames: int) -> float:
        """Frames from one start to the next in an item of so many frames."""
        if self.stride is not None:
            return self.stride
        if self.count is None:
            return self.length
        room = max(0, frames - self.length)
        return max(room / max(1, self.count - 1), self.length / 4, 1.0)


@dataclass(frozen=True, kw_only=True)
class LabelOptions:
    """How footage is labelled, by whatever networks.

    Attributes:
        size: frames are shrunk to this larger side, in pixels, by default to what the inverse renderer sees best; 0
            keeps their size.
        steps: denoising steps of checkpoints that take several; if not given, 20, and 15 of `cosmos`.
        window: frames that the network sees at a time; if not given, 24, and 57 of `cosmos`.
        overlap: frames that neighbouring windows share; if not given, 6, and 16 of `cosmos`.
        precision: of the weights; halves want a GPU. If not given, float32, and bfloat16 of `cosmos`.
        seed: seed of the noise.
        checks: what the confidence rests on; mirror costs a pass more, window and exposure half a pass each.
        min_confidence: leave clips out whose mean confidence over the G-buffers is lower.
        camera: `solve` the camera of footage without poses from its frames, or `assume` a still, level one.
        fov: assumed angle of the larger image side, in degrees, where the footage has no intrinsics.
        environment_height: rows of the stored environment.
        codec: `compact` (video with measured error bounds) or `exact` (OpenEXR, lossless).
        per_shard: items of footage in a shard.
    """

    size: int | None = None
    steps: int | None = None
    window: int | None = None
    overlap: int | None = None
    precision: Precision | None = None
    seed: int = 0
    checks: tuple[Check, ...] = get_args(Check)
    min_confidence: float = 0.0
    camera: CameraChoice = "assume"
    fov: float = 45.0
    environment_height: tyro.conf.Suppress[int] = 32
    codec: Codec = "compact"
    per_shard: int = 4

    def __post_init__(self) -> None:
        good = {
            "size": self.size is None or self.size == 0 or self.size >= 16,
            "steps": self.steps is None or self.steps >= 1,
            "window": self.window is None or self.window >= 1,
            "overlap": self.overlap is None or 0 <= self.overlap < (self.window or self.overlap + 1),
            "seed": self.seed >= 0,
            "min_confidence": 0 <= self.min_confidence <= 1,
            "fov": 0 < self.fov < 180,
            "environment_height": 4 <= self.environment_height <= 4096,
            "per_shard": self.per_shard >= 1,
        }
        for name, fine in good.items():
            if not fine:
                raise InputError(f"`{name}` is {getattr(self, name)}, which is out of range", fields=(name,))


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint as labels record it.

    Attributes:
        source: folder or hub id, as given; every worker must be able to load it.
        digest: SHA-256 of its files; a worker that finds other files refuses to start.
        backbone, sampler: how its network works.
        licence: licence of the weights, which labels inherit; "" when it is not recorded.
        side: larger side, in pixels, at which its network sees pictures best.
    """

    source: str
    digest: str
    backbone: str
    sampler: str
    licence: str
    side: int = 512

    @property
    def name(self) -> str:
        """Last part of the source."""
        return Path(self.source).name or self.source

    def identity(self) -> dict[str, str]:
        """What the dataset's header keeps: where the files lie may change, what they hold may not."""
        return {"name": self.name, "digest": self.digest, "backbone": self.backbone, "sampler": self.sampler}


def checkpoint(source: str | Path, kind: Kind) -> Checkpoint:
    """Describe the checkpoint at `source`, a folder or a hub id, which must be of `kind`; raises CheckpointError."""
    from renderers.checkpoints.reading import locate
    from renderers.checkpoints.summary import inspect

    root = locate(source)
    found = inspect(root)
    if found.kind != kind:
        raise CheckpointError(f"a checkpoint of kind {found.kind}, expected {kind}", where=source)
    from renderers.backbones import backbone  # with torch, which takes its time

    side = backbone(found.backbone).side(found.training)
    return Checkpoint(str(source), files_digest(root), found.backbone, found.sampler, found.licence, side)


def files_digest(root: Path) -> str:
    """SHA-256, in hex, of names and contents of the JSON and safetensors files below `root`."""
    total = hashlib.sha256()
    for path in sorted(path for path in root.rglob("*") if path.suffix in {".json", ".safetensors"}):
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        total.update(f"{path.relative_to(root).as_posix()} {content}\n".encode())
    return total.hexdigest()


@dataclass(frozen=True, kw_only=True)
class LabelSettings(LabelOptions):
    """All that decides the clips of a dataset beside its footage; what was not given suits the inverse renderer.

    Attributes:
        inverse: estimates the G-buffers.
        lighting: estimates the light; None solves for it from the G-buffers, without weights.
        segments: which stretches of the footage become clips.
    """

    inverse: Checkpoint
    lighting: Checkpoint | None = None
    segments: SegmentOptions = field(default_factory=SegmentOptions)

    def __post_init__(self) -> None:
        from renderers.backbones import backbone

        family = backbone(self.inverse.backbone)
        suits: dict[str, Any] = {
            "size": self.inverse.side,
            "steps": family.steps,
            "window": family.window,
            "overlap": family.overlap,
            "precision": "bfloat16" if family.half else "float32",
        }
        for name, value in suits.items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)
        super().__post_init__()

    def identity(self) -> dict[str, Any]:
        """The settings as JSON values for the dataset's header; names are those of datasets on disk."""
        apart = ["codec", "per_shard", "seed"]  # the header has fields of its own for these
        if self.camera == "assume":  # as datasets have it that are older than the choice
            apart.append("camera")
        plain = {name: value for name, value in asdict(self).items() if name not in (*apart, "size", "fov")}
        return plain | {
            "inverse": self.inverse.identity(),
            "lighting": self.lighting.identity() if self.lighting else "solver",
            "side": self.size or None,
            "fov_degrees": self.fov,
            "checks": list(self.checks),
        }
