"""What an evaluation is asked to do, as data that is written beside its results and compared when it goes on."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from manifests.errors import InputError


@dataclass(frozen=True)
class EvaluationSettings:
    """Which renderers are measured, and how.

    Attributes:
        inverse: checkpoint of the inverse renderer: a folder, or a name at the hub.
        forward: checkpoint of the forward renderer; with `inverse` also relighting is measured.
        lighting: checkpoint of the lighting estimator.
        training: the training set, for the baselines that need its averages and to prove that nothing tested was seen.
        steps: sampling steps of diffusion checkpoints; if not given, 20, and 15 of `cosmos`.
        window: frames that the networks see at a time; if not given, 24, and 57 of `cosmos`.
        guidance: guidance of the forward renderer; what suits its sampler if not given.
        lora_scale: strength of the forward renderer's LoRA; 0 is right for synthetic scenes.
        scenes: most scenes of each part; all if not given.
        seed: of the noise that diffusion starts from.
    """

    inverse: str | None = None
    forward: str | None = None
    lighting: str | None = None
    training: Path | None = None
    steps: int | None = None
    window: int | None = None
    guidance: float | None = None
    lora_scale: float = 0.0
    scenes: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("steps", 1), ("window", 1), ("scenes", 1), ("seed", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise InputError(f"`{name}` is {value}, and has to be {least} or more", fields=(name,))

    def identity(self, benchmark: Path) -> dict[str, Any]:
        """Everything that decides the numbers on `benchmark`, as JSON; of checkpoints the size and date of files."""
        given = {"benchmark": benchmark, **asdict(self)}
        plain = {name: str(value) if isinstance(value, Path) else value for name, value in given.items()}
        for name in ("inverse", "forward", "lighting"):
            folder = Path(plain[name]) if plain[name] else None
            if folder is not None and folder.is_dir():
                files = sorted(path for path in folder.rglob("*") if path.is_file())
                stats = [(str(path.relative_to(folder)), path.stat()) for path in files]
                plain[f"{name}_files"] = [[path, stat.st_size, stat.st_mtime_ns] for path, stat in stats]
        return plain
