"""What decides every clip of a labelled dataset: segments, networks and how they are run. Plain data for actors."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

from labeling.segments import SegmentOptions
from labeling.sources.footage import Footage
from manifests.errors import InputError
from renderers.checkpoints.registry import Kind

Codec = Literal["compact", "exact"]
Check = Literal["mirror", "window", "exposure", "render"]
Precision = Literal["float32", "float16", "bfloat16"]

FOOTAGE_PER_SHARD = 4


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint as labels record it.

    Attributes:
        source: folder or hub id, as given; every worker must be able to load it.
        digest: SHA-256 of its files; a worker that finds other files refuses to start.
        backbone, sampler: how its network works.
        licence: licence of the weights, which labels inherit; "" when it is not recorded.
    """

    source: str
    digest: str
    backbone: str
    sampler: str
    licence: str

    @property
    def name(self) -> str:
        """Last part of the source."""
        return Path(self.source).name or self.source

    def identity(self) -> dict[str, str]:
        """What the dataset's header keeps: where the files lie may change, what they hold may not."""
        return {"name": self.name, "digest": self.digest, "backbone": self.backbone, "sampler": self.sampler}


def checkpoint(source: str | Path, kind: Kind) -> Checkpoint:
    """Describe the checkpoint at `source`, a folder or a hub id, which must be of `kind`; raises CheckpointError."""
    from manifests.errors import CheckpointError
    from renderers.checkpoints.reading import locate
    from renderers.checkpoints.summary import inspect

    root = locate(source)
    found = inspect(root)
    if found.kind != kind:
        raise CheckpointError(f"a checkpoint of kind {found.kind}, expected {kind}", where=source)
    return Checkpoint(str(source), files_digest(root), found.backbone, found.sampler, found.licence)


def files_digest(root: Path) -> str:
    """SHA-256, in hex, of names and contents of the JSON and safetensors files below `root`."""
    total = hashlib.sha256()
    for path in sorted(path for path in root.rglob("*") if path.suffix in {".json", ".safetensors"}):
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        total.update(f"{path.relative_to(root).as_posix()} {content}\n".encode())
    return total.hexdigest()


@dataclass(frozen=True)
class LabelSettings:
    """How footage is labelled.

    Attributes:
        inverse: estimates the G-buffers.
        lighting: estimates the light; None solves for it from the G-buffers, without weights.
        segments: which stretches of the footage become clips.
        side: frames are shrunk so that their larger side has so many pixels; None keeps their size.
        steps: denoising steps of a "diffusion" checkpoint.
        window, overlap: frames that the network sees at a time, and that neighbouring windows share.
        precision: of the weights; halves want a GPU.
        seed: of the noise of "diffusion" checkpoints.
        checks: what the confidence rests on (`labeling.confidence`).
        min_confidence: clips whose mean confidence over the G-buffers is lower are left out.
        fov_degrees: assumed angle of the larger image side, where the footage has no intrinsics.
        environment_height: rows of the stored environment.
        codec: how clips are stored.
        per_shard: items of footage in a shard.
    """

    inverse: Checkpoint
    lighting: Checkpoint | None = None
    segments: SegmentOptions = field(default_factory=SegmentOptions)
    side: int | None = 512
    steps: int = 20
    window: int = 24
    overlap: int = 6
    precision: Precision = "float32"
    seed: int = 0
    checks: tuple[Check, ...] = get_args(Check)
    min_confidence: float = 0.0
    fov_degrees: float = 45.0
    environment_height: int = 32
    codec: Codec = "compact"
    per_shard: int = FOOTAGE_PER_SHARD

    def __post_init__(self) -> None:
        good = {
            "side": self.side is None or self.side >= 16,
            "steps": self.steps >= 1,
            "window": self.window >= 1,
            "overlap": 0 <= self.overlap < self.window,
            "seed": self.seed >= 0,
            "min_confidence": 0 <= self.min_confidence <= 1,
            "fov_degrees": 0 < self.fov_degrees < 180,
            "environment_height": 4 <= self.environment_height <= 4096,
            "per_shard": self.per_shard >= 1,
        }
        for name, fine in good.items():
            if not fine:
                raise InputError(f"`{name}` is {getattr(self, name)}, which is out of range", fields=(name,))

    def identity(self) -> dict[str, Any]:
        """All that decides the clips beside the footage, as JSON values for the dataset's header."""
        plain = asdict(replace(self, inverse=None, lighting=None))  # type: ignore[arg-type]
        networks = {
            "inverse": self.inverse.identity(),
            "lighting": self.lighting.identity() if self.lighting else "solver",
        }
        apart = ("codec", "per_shard", "seed")  # the header has fields of its own for these
        return networks | {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in plain.items()
            if name not in (*networks, *apart)
        }


def footage_digest(footage: tuple[Footage, ...]) -> str:
    """SHA-256, in hex, of which items there are, in order; where they lie does not matter."""
    total = hashlib.sha256()
    for item in footage:
        total.update(f"{item.uid} {item.kind} {item.name} {item.images} {_size(item)}\n".encode())
    return total.hexdigest()


def _size(item: Footage) -> int:
    """Bytes of a file, so that a replaced one is noticed; folders count as 0, since listing them can take long."""
    path = Path(item.path)
    return path.stat().st_size if path.is_file() else 0
