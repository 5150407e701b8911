"""What the factory adds to path tracing: wall time a clip through all of it, beside bare Blender on the same scenes.

usage: python -m benchmarks.factory [--clips 2] [--size 256] [--frames 24] [--samples 64]
The factory runs one worker with all cores: specs, assembly, all G-buffers, read-back, encoding, commit. Its time is
from the start of the first clip to the start of the one after the last, so that encoding that runs beside rendering
counts. Bare Blender only renders the beauty of the same assembled scenes, as an animation with persistent data, same
samples and denoiser, no other pass; the time is that of the render call alone.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import msgspec

from datagen.generation import DatagenSettings, create
from datagen.render_stage import CATALOGUE, RenderStage, RenderWorker
from pipeline.engine import run
from pipeline.options import RunOptions
from pipeline.stage import Encode
from scenes.providers.builtin import builtin_catalogue
from scenes.recipes import Recipe, load_recipe, make_recipe
from scenes.spec import from_json, to_json


@dataclass(frozen=True, kw_only=True)
class TimedStage(RenderStage):
    """Notes when each scene is begun, a line "INDEX SECONDS" in the file `notes`."""

    notes: str

    def make_worker(self) -> RenderWorker:
        return TimedWorker(self)


class TimedWorker(RenderWorker):
    def produce(self, index: int) -> Encode:
        with Path(self._stage.notes).open("a") as file:
            file.write(f"{index} {time.time()}\n")
        return super().produce(index)


def recipe_of(size: int, frames: int, samples: int) -> Recipe:
    plain = msgspec.json.decode(to_json(load_recipe("paper")))
    plain["frames"] = frames
    plain["render"].update(width=size, height=size, samples=samples, adaptive_threshold=0.0)
    return make_recipe(plain)


def through_the_factory(recipe: Recipe, clips: int, folder: Path) -> tuple[float, list[bytes]]:
    """Seconds a clip, and the specs that were rendered."""
    settings = DatagenSettings(recipe, clips + 1, per_shard=clips + 1)
    dataset = create(folder / "dataset", settings, builtin_catalogue())
    notes = folder / "notes.txt"
    stage = TimedStage(
        catalogue=dataset.path / CATALOGUE,
        recipe=recipe,
        seed=0,
        items=clips + 1,
        per_shard=clips + 1,
        notes=str(notes),
    )
    run(dataset, stage, RunOptions(workers=1))
    begun = {int(index): float(at) for index, at in map(str.split, notes.read_text().splitlines())}
    return (begun[clips] - begun[0]) / clips, [dataset.files(row)["spec.json"] for row in dataset.rows()[:clips]]


def bare(folder: Path) -> None:
    """In a process of its own: render the beauty of every `*.json` spec in `folder`; print seconds a clip."""
    import bpy

    from datagen.blender import session
    from datagen.blender.assembly import assemble
    from datagen.blender.cycles_settings import apply_settings, set_output
    from datagen.blender.light_image import light_image
    from datagen.blender.passes import enable_passes
    from datagen.resolver import Resolver
    from scenes.motion import light_rotations

    resolver = Resolver(builtin_catalogue().roots, folder)
    session.start("CPU")
    total, specs = 0.0, sorted(folder.glob("*.json"))
    for path in specs:
        spec = from_json(path.read_bytes())
        with session.current().scene() as scene:
            assembled = assemble(scene, spec, resolver)
            light = light_image(spec.lights[0], spec.render.environment_height, resolver)
            assembled.world.show(light.image, light_rotations(spec.lights[0], spec.light_motion, spec.frames))
            apply_settings(scene, spec.render, 0)
            set_output(scene, folder / "frames", spec.frames, spec.fps)
            enable_passes(scene.view_layers[0], ("rgb",))
            began = time.perf_counter()
            bpy.ops.render.render(animation=True, scene=scene.name)
            total += time.perf_counter() - began
    print("\n" + json.dumps({"seconds_per_clip": total / len(specs)}))
    session.leave(lambda: 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=2)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--samples", type=int, default=64)
    arguments = parser.parse_args()
    recipe = recipe_of(arguments.size, arguments.frames, arguments.samples)
    with tempfile.TemporaryDirectory(prefix="lightloom-bench-") as name:
        folder = Path(name)
        factory, specs = through_the_factory(recipe, arguments.clips, folder)
        (folder / "bare").mkdir()
        for index, spec in enumerate(specs):
            (folder / "bare" / f"{index:04d}.json").write_bytes(spec)
        command = [sys.executable, "-m", "benchmarks.factory", "bare", str(folder / "bare")]
        printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        alone = json.loads(printed.strip().splitlines()[-1])["seconds_per_clip"]
    size = f"{arguments.size}x{arguments.size}x{arguments.frames}, {arguments.samples} samples, {arguments.clips} clips"
    print(f"{size}: factory {factory:.1f} s a clip, bare render {alone:.1f} s, ratio {factory / alone:.3f}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["bare"]:
        bare(Path(sys.argv[2]))
    else:
        main()
