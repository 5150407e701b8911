"""How long a scene takes to sample, how many draws are thrown away, and whether anything overlaps.

    python -m benchmarks.sampling --scenes 1000

Prints one Markdown table row a recipe; the overlap columns come from `benchmarks.separation` and are
of scenes whose things stand (`benchmarks.settling` is for the others).
"""

from __future__ import annotations

import argparse
import time
from collections import Counter

import numpy as np
from msgspec import UNSET

from benchmarks.separation import ground_error, worst_gap
from scenes.motion import motion_names
from scenes.providers.builtin import builtin_catalogue
from scenes.recipes import BUILTIN_RECIPES, load_recipe
from scenes.sampling import sample_scene
from scenes.spec import SceneSpec

HEADER = (
    "| recipe | scenes | median ms | 95 % ms | median CPU ms | scenes drawn again | most draws thrown away "
    "| overlapping scenes | smallest gap | largest distance from the ground |"
)


def measure(name: str, scenes: int, seed: int) -> tuple[str, list[SceneSpec]]:
    """Sample, check and describe; the first scene, which fills the caches, is not timed."""
    catalogue, recipe = builtin_catalogue(), load_recipe(name)
    sample_scene(catalogue, recipe, seed, 0)
    specs, seconds, busy = [], [], []
    for index in range(scenes):
        start, busy_start = time.perf_counter(), time.thread_time()
        specs.append(sample_scene(catalogue, recipe, seed, index))
        seconds.append(time.perf_counter() - start)
        busy.append(time.thread_time() - busy_start)
    standing = [spec for spec in specs if all(obj.orientation is UNSET for obj in spec.objects)]
    gaps = np.array([worst_gap(spec) for spec in standing])
    again = [spec.resampled for spec in specs]
    median, high, work = 1e3 * np.array([*np.quantile(seconds, [0.5, 0.95]), np.median(busy)])
    row = (
        f"| {name} | {scenes} | {median:.2f} | {high:.2f} | {work:.2f} "
        f"| {100 * np.mean(np.array(again) > 0):.1f} % | {max(again)} "
        f"| {int((gaps <= 0).sum())} | {gaps.min():.4f} | {max(map(ground_error, standing)):.1e} |"
    )
    return row, specs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--recipes", nargs="+", default=list(BUILTIN_RECIPES))
    options = parser.parse_args()
    print(HEADER)
    print("|" + "---|" * HEADER.count(" |"))
    motions = {}
    for name in options.recipes:
        row, specs = measure(name, options.scenes, options.seed)
        print(row, flush=True)
        motions[name] = Counter(motion for spec in specs for motion in motion_names(spec))
    for name, counts in motions.items():
        print(f"\nmotions of {name}: " + ", ".join(f"{motion} {count}" for motion, count in sorted(counts.items())))


if __name__ == "__main__":
    main()
