"""`lightloom demo`: from nothing to a relit video, with the built-in catalogue, and a page that tells how."""

from __future__ import annotations

import time
from pathlib import Path

from lightloom.saying import say


def demo(*, out: Path = Path("out/demo"), preset: str = "default") -> int:
    """Run the whole chain small: data, training, labels, evaluation, edited videos. Safe to interrupt: it goes on.

    Example: lightloom demo --out out/demo

    Every stage is a command of its own, which is shown, so that you can type it too.

    Args:
        out: folder for everything; OUT/index.html tells the story.
        preset: `default` (minutes on two cores), `small` (an afternoon), or a YAML file.
    """
    from lightloom.demo.demo_commands import Chain
    from lightloom.demo.demo_page import write_page
    from lightloom.demo.sizes import load_sizes
    from lightloom.stages import run_stages

    clock = time.monotonic()
    chain = Chain(out, load_sizes(preset))
    chain.prepare()
    records = run_stages(out, chain.stages())
    say("Writing the page")
    page = write_page(chain, records)
    total = sum(record.seconds for record in records)
    say(f"{page.resolve()}  (open it in a browser; {total / 60:.1f} min in all, {time.monotonic() - clock:.0f} s now)")
    return 0
