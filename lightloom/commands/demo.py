"""`lightloom demo`: from nothing to a verified dataset that can be looked at, with the built-in catalogue."""

from __future__ import annotations

import time
from pathlib import Path

from pipeline.options import RunOptions


def demo(*, out: Path = Path("out/demo"), clips: int = 32, seed: int = 0) -> int:
    """Make a small synthetic dataset, verify it and write its HTML report. Safe to interrupt: it goes on from there.

    Example: lightloom demo --out out/demo

    Args:
        out: folder for everything.
        clips: how many clips to render.
        seed: another seed gives other scenes.
    """
    from datagen.run import Settings, generate
    from manifests.report import write_report
    from manifests.verify import verify
    from scenes.providers.builtin import builtin_catalogue
    from scenes.recipes import load_recipe

    clock = time.monotonic()
    dataset = out / "dataset"
    report = generate(
        dataset, Settings(load_recipe("demo"), clips, seed, per_shard=16), builtin_catalogue(), RunOptions()
    )
    print(report.line())
    checked = verify(dataset)
    for finding in checked.findings:
        print(finding)
    page = write_report(dataset, out / "report.html")
    state = "whole" if checked.ok else "NOT whole"
    print(f"dataset   {dataset}  ({checked.clips} clips, {checked.bytes / 1e6:.1f} MB, verified: {state})")
    print(f"report    {page.resolve()}  (open it in a browser; {time.monotonic() - clock:.0f} s in all)")
    return 0 if checked.ok and report.complete and not report.failed else 1
