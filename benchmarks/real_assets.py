"""Import every mesh of the fetched packages and print the table: `real_assets.py FOLDER [--processes N]`.

FOLDER is what `fetch_assets.py` made. Files are imported apart from this process (`datagen.assets.isolation`) and
their own materials instrumented, so the table says how much of content that nobody here wrote can be used.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from tqdm import tqdm

from datagen.assets.isolation import Bounds, Verdict
from datagen.assets.scoring import ScoringOptions, ScoringReport, score_catalogue
from scenes.catalogue import Catalogue
from scenes.providers.folder import folder_catalogue


def score_folder(folder: Path, processes: int = 1, bounds: Bounds | None = None) -> tuple[Catalogue, ScoringReport]:
    """Score every mesh that the folder provider finds, with a progress bar."""
    catalogue = folder_catalogue(folder, folder.name)
    meshes = sum(asset.kind == "mesh" for asset in catalogue.assets)
    with tqdm(total=meshes, desc=folder.name, unit="file", dynamic_ncols=True) as bar:

        def step(uid: str, verdict: Verdict) -> None:
            bar.update()

        return score_catalogue(catalogue, ScoringOptions(processes, bounds or Bounds()), step)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--processes", type=int, default=1)
    arguments = parser.parse_args()
    folders = sorted(path for path in arguments.folder.iterdir() if path.is_dir())
    summary = [f"{'package':<44} {'files':>5} {'ok':>5} {'resolved':>8} {'score':>6} {'s/file':>6}  rejected"]
    details = []
    for folder in folders:
        started = time.monotonic()
        catalogue, report = score_folder(folder, arguments.processes)
        refused = "".join(f"\n  {one.path}: not listed: {one.reason}" for one in catalogue.problems)
        count = len(report.verdicts)
        if not count:
            details.append(f"\n== {folder.name}\nno meshes, {len(catalogue)} other assets{refused}")
            continue
        scores = [one.score for one in report.verdicts.values() if not one.reason]
        mean = sum(scores) / len(scores) if scores else 0.0
        seconds = (time.monotonic() - started) / count
        reasons = ", ".join(f"{number} {reason}" for reason, number in report.rejected.items()) or "none"
        numbers = f"{count:>5} {report.imported:>5} {report.fully_resolved:>8} {mean:>6.2f} {seconds:>6.2f}"
        summary.append(f"{folder.name:<44} {numbers}  {reasons}")
        details.append("\n".join([f"\n== {folder.name}", *report.lines()]) + refused)
    print("\n".join(details))
    print("\n" + "\n".join(summary))


if __name__ == "__main__":
    main()
