"""What an evaluation is asked to do, as data that is written beside its results and compared when it goes on."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from manifests.errors import InputError


@dataclass(frozen=True)
class Settings:
    """Attributes:
    benchmark: folder of `lightloom evaluate build`.
    inverse, forward, lighting: checkpoints (folders or hub ids); None leaves the task out.
    training: training set for the baselines that need averages, and to prove that nothing tested was trained on.
    steps: sampling steps of checkpoints that need several.
    window: frames that the networks see at a time.
    guidance: guidance of the forward renderer; None is what suits its sampler.
    lora_scale: how much of the forward renderer's LoRA is used; 0 is right for synthetic scenes.
    scenes: most scenes of each part; None takes all.
    seed: of the noise that diffusion starts from.
    """

    benchmark: Path
    inverse: str | None = None
    forward: str | None = None
    lighting: str | None = None
    training: Path | None = None
    steps: int = 20
    window: int = 24
    guidance: float | None = None
    lora_scale: float = 0.0
    scenes: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.inverse is None and self.forward is None:
            raise InputError("nothing to evaluate: give --inverse, --forward, or both")
        if min(self.steps, self.window) < 1 or (self.scenes is not None and self.scenes < 1) or self.seed < 0:
            raise InputError("--steps, --window and --scenes have to be 1 or more, --seed 0 or more")

    def identity(self) -> dict[str, Any]:
        """Everything that decides the numbers, as JSON values; checkpoints with the size and date of their files."""
        plain = {name: str(value) if isinstance(value, Path) else value for name, value in asdict(self).items()}
        for name in ("inverse", "forward", "lighting"):
            folder = Path(plain[name]) if plain[name] else None
            if folder is not None and folder.is_dir():
                files = sorted(path for path in folder.rglob("*") if path.is_file())
                stats = [(str(path.relative_to(folder)), path.stat()) for path in files]
                plain[f"{name}_files"] = [[path, stat.st_size, stat.st_mtime_ns] for path, stat in stats]
        return plain
