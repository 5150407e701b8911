"""What a run shows while it trains: a progress bar, TensorBoard curves, and sample grids."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from torch import Tensor
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from pipeline.progress import drawn_on_stderr

_FORMAT = "{percentage:5.1f}%|{bar}| {elapsed}<{remaining} {postfix}"


class Reports:
    """Of the first worker; the others are silent. Means over `every` steps go to `folder` as TensorBoard events."""

    def __init__(self, folder: Path, start: int, every: int, *, silent: bool = False) -> None:
        self._writer = None if silent else SummaryWriter(str(folder), purge_step=start or None)
        self._bar = tqdm(total=1000, unit="‰", disable=silent, bar_format=_FORMAT, **drawn_on_stderr())
        self._start, self._every = start, every
        self._sums: dict[str, float] = {}
        self._counts: dict[str, int] = {}
        self._last = (0.0, 0.0)

    def step(self, step: int, done: float, values: Mapping[str, float], waited: float, seconds: float) -> None:
        """Values of one step; `waited` and `seconds` are totals since this process began to train."""
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
            self._counts[name] = self._counts.get(name, 0) + 1
        self._bar.update(round(1000 * done) - self._bar.n)
        if step % self._every:
            return
        means = {name: total / self._counts[name] for name, total in self._sums.items()}
        spent = max(seconds - self._last[1], 1e-9)
        means["waiting"] = (waited - self._last[0]) / spent
        means["steps_a_second"] = self._counts["loss"] / spent
        self._last = (waited, seconds)
        self._sums, self._counts = {}, {}
        told = f"step {step} loss {means['loss']:.4g} {means['steps_a_second']:.2f}/s"
        self._bar.set_postfix_str(told, refresh=False)
        if self._writer is not None:
            for name, value in means.items():
                self._writer.add_scalar(name, value, step)

    def say(self, line: str) -> None:
        """A line above the bar."""
        if not self._bar.disable:
            self._bar.write(line, file=sys.stderr)

    def pictures(self, step: int, grids: Mapping[str, Tensor]) -> None:
        """Sample grids (3, H, W) in [0, 1] by name."""
        if self._writer is not None:
            for name, picture in grids.items():
                self._writer.add_image(name, picture.clamp(0, 1).cpu(), step)

    def __enter__(self) -> Reports:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()
        if self._writer is not None:
            self._writer.close()
