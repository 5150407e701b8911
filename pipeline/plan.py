"""From what one worker needed for a clip to what a dataset takes: the arithmetic that both stages' plans share."""

from __future__ import annotations

from dataclasses import dataclass

_WORKERS = (1, 8, 32, 128)


@dataclass(frozen=True)
class Forecast:
    """A measurement multiplied.

    Attributes:
        clips: size of the dataset.
        clip_seconds: wall time of one worker a clip.
        threads: CPU threads of that worker.
        price: of a worker hour, in any currency; 0 when not given.
    """

    clips: float
    clip_seconds: float
    threads: int
    price: float = 0.0

    @property
    def worker_hours(self) -> float:
        """Hours for one worker to make the whole dataset."""
        return self.clips * self.clip_seconds / 3600

    def lines(self) -> list[str]:
        """Time by number of workers, and the price, for people."""
        hours = self.worker_hours
        lines = [f"time       {hours:,.1f} worker hours, {hours * self.threads:,.0f} core hours"]
        lines += [f"           {count:>4} workers: {human_hours(hours / count)}" for count in _WORKERS]
        if self.price:
            lines.append(f"price      {hours * self.price:,.0f} at {self.price:g} a worker hour")
        return lines


def human_hours(hours: float) -> str:
    """Hours as people read them; days from the third on."""
    return f"{hours:,.1f} h" if hours < 72 else f"{hours / 24:,.1f} days"


def human_size(count: float) -> str:
    """Bytes as people read them: "3.2 GB"."""
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count / 1e3:.1f} kB"
