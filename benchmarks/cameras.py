"""How right solved cameras are: rendered clips, read back from mp4, against the cameras that rendered them.

    python -m benchmarks.cameras render out/cameras --clips 24
    python -m benchmarks.cameras solve out/cameras
    python -m benchmarks.cameras depth out/cameras

Clips of the recipe `world`, each with one kind of motion, by turns. A clip counts as solved wrongly where its camera is
not flagged and is off by more than twice what is allowed, or is of another kind. Where the true camera shakes so little
that its path shifts the picture by less than a pixel, turning is right as well.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from manifests.contract.camera import Camera
from manifests.errors import InputError
from scenes.recipes import Recipe

if TYPE_CHECKING:
    from editing.film_scene import FilmScene

MOTIONS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "still": (("object_rotation", "object_translation"), ("table",)),
    "pan": (("pan",), ("table", "room", "terrain", "street")),
    "zoom": (("zoom",), ("table", "room", "terrain", "street")),
    "orbit": (("orbit",), ("table",)),
    "walk": (("walk",), ("room", "terrain", "street")),
    "handheld": (("handheld",), ("table", "room", "terrain", "street")),
}
"""What moves in a kind of clip, and the settings that it comes from."""
KINDS = {"still": "still", "pan": "turning", "zoom": "turning", "orbit": "moving", "walk": "moving"}
ALLOWED = {"turning": (0.3, 0.0), "moving": (0.5, 0.02), "still": (0.1, 0.0)}
"""Degrees and share of the path by which a camera may be off (median over frames)."""


def recipe(kind: str, index: int, size: int, frames: int) -> Recipe:
    """`world` with one kind of motion, at few samples: texture matters here, and noise is removed."""
    from scenes.recipe_sections import MotionRules, SettingWeights
    from scenes.recipes import load_recipe

    rules = load_recipe("world")
    names, settings = MOTIONS[kind]
    setting = settings[index % len(settings)]
    motions: dict[str, Any] = {}
    for name in MotionRules.__struct_fields__:
        section = getattr(rules.motions, name)
        if section is not msgspec.UNSET:
            motions[name] = msgspec.structs.replace(section, probability=float(name in names))
    motions["orbit"] = msgspec.structs.replace(motions["orbit"], degrees=(15.0, 60.0))
    render = msgspec.structs.replace(
        rules.render, width=size, height=size, samples=8, denoiser="fast", environment_height=32
    )
    weights = SettingWeights(**{name: float(name == setting) for name in SettingWeights.__struct_fields__})
    return msgspec.structs.replace(
        rules, frames=frames, render=render, settings=weights, motions=MotionRules(**motions)
    )


def render(folder: Path, clips: int, size: int, frames: int, seed: int) -> None:
    """Render what is missing of the clips: an mp4, and the truth beside it."""
    from datagen.blender.render import render_scene
    from datagen.resolver import Resolver
    from editing.film import VideoWriter
    from manifests.contract.color import on_screen
    from scenes.providers.builtin import builtin_catalogue
    from scenes.sampling import sample_scene

    catalogue = builtin_catalogue()
    for index in range(clips):
        kind = list(MOTIONS)[index % len(MOTIONS)]
        stem = folder / f"{index:03d}-{kind}"
        if stem.with_suffix(".npz").is_file():
            continue
        spec = sample_scene(catalogue, recipe(kind, index // len(MOTIONS), size, frames), seed, index)
        with tempfile.TemporaryDirectory() as scratch:
            clip = render_scene(spec, Resolver(catalogue.roots, Path(scratch)), Path(scratch)).clips[0]
        assert clip.camera is not None
        with VideoWriter(stem.with_suffix(".mp4"), clip.size, clip.fps) as video:
            for rgb in on_screen(clip.exposure * clip.arrays["rgb"]):
                video.write(rgb)
        np.savez(
            stem.with_suffix(".npz"),
            camera_to_world=clip.camera.camera_to_world,
            intrinsics=clip.camera.intrinsics,
            depth=clip.arrays["depth"].astype(np.float16),
        )


def solve(folder: Path, fov_degrees: float) -> None:
    """Solve every clip, and print a table with a line for each, and one for all."""
    import time

    from editing.film import open_video
    from labeling.cameras.camera_solving import camera_errors, solve_camera

    print(
        "| clip | found | lens | rotation | place | focal length | pixels | share | seconds | |\n" + "|---" * 10 + "|"
    )
    right, wrong, unsolved = 0, 0, 0
    for path in sorted(folder.glob("*.mp4")):
        with np.load(path.with_suffix(".npz")) as truth, open_video(path) as reader:
            poses, depth = truth["camera_to_world"], truth["depth"].astype(np.float64)
            lens = np.broadcast_to(truth["intrinsics"], (len(poses), 3, 3))
            began = time.process_time()
            found = solve_camera((frame.rgb for frame in reader), reader.size, fov_degrees)
            seconds = time.process_time() - began
        if (found := found.sure()).camera is None:
            unsolved += 1
            print(f"| {path.stem} | unsolved | | | | | | | {seconds:.1f} | {found.reason} |")
            continue
        solved = found.camera.camera_to_world
        angle, away = camera_errors(poses[:, :3, :3], poses[:, :3, 3], solved[:, :3, :3], solved[:, :3, 3])
        angle, away = float(np.median(angle)), float(np.median(away))
        focal = float(np.median(np.abs(found.camera.frame_intrinsics[:, 0, 0] / lens[:, 0, 0] - 1)))
        step = np.linalg.norm(poses[:, :3, 3] - poses[0, :3, 3], axis=-1).max()
        shifts = step * lens[0, 0, 0] / np.median(depth[np.isfinite(depth)])
        kind = KINDS.get(path.stem.split("-")[1], "moving")
        like = kind == found.kind or (found.kind == "turning" and kind == "moving" and shifts < 1.0)
        most = ALLOWED[found.kind]
        off = angle > 2 * most[0] or (found.kind == "moving" and away > 2 * most[1] and found.lens != "assumed")
        right, wrong = right + like, wrong + (off or not like)
        print(
            f"| {path.stem} | {found.kind} | {found.lens} | {angle:.2f} | {away:.1%} | {focal:.1%} | {found.error:.2f} "
            f"| {found.share:.0%} | {seconds:.1f} | {'wrong' if off or not like else ''} |",
            flush=True,
        )
    print(f"kind right {right}, not solved {unsolved}, wrong and not flagged {wrong}")


def depth(folder: Path, fov_degrees: float) -> None:
    """Depth of the clips whose camera moves and was solved: its error with one scale a clip, and how feet stick.

    A line for each and one for all. `as before` is the network's depth, moved away from the camera as normals want.
    Feet are of things put to pixels of the first frame that can hold one; how far they slide from the true place of
    what is seen there is measured in all frames, in pixels.
    """
    from editing.film import open_film
    from editing.film_scene import FilmScene, estimates_with_distance
    from editing.relighting import estimated
    from editing.settings import FilmRenderers, FilmSettings
    from labeling.cameras.clip_depth import clip_depth
    from manifests.contract.environment import Environment
    from renderers.sampling.windows import plan_windows

    settings = FilmSettings()
    renderers = FilmRenderers(settings)
    print("| clip | as before | fitted | slides, median | 95th percentile |\n" + "|---" * 5 + "|")
    before, after, slides = [], [], []
    for path in sorted(folder.glob("*.mp4")):
        if KINDS.get(path.stem.split("-")[1], "moving") != "moving":
            continue
        with np.load(path.with_suffix(".npz")) as truth, open_film(path) as film, tempfile.TemporaryDirectory() as kept:
            poses, true, lens = (truth[name] for name in ("camera_to_world", "depth", "intrinsics"))
            film.find_camera("solve", fov_degrees, Path(kept) / "a.mp4")
            if film.camera is None or not len(film.points):
                continue
            size = renderers.seen_size(film)
            seen = next(iter(film.pieces(plan_windows(film.frames, film.frames, 0), size))).seen
            maps = estimated(seen, renderers.inverse, settings)
            intrinsics = film.intrinsics(size)
            assert intrinsics is not None
            camera = Camera(intrinsics, film.camera.camera_to_world)
        found = clip_depth(maps["depth"][..., 0], camera, film.points)
        if found is None:
            print(f"| {path.stem} | | not fitted | | |")
            continue
        truly = Camera(lens, poses)
        true = true[..., 0].astype(np.float64)
        there = np.isfinite(true)
        old = estimates_with_distance(maps, camera.intrinsics)[0]["depth"][..., 0]
        errors = [scaled_error(one, true, there & np.isfinite(old)) for one in (old, found[0])]
        frames = deque((np.asarray(frame), 0.0) for frame in (255 * seen + 0.5).astype(np.uint8))
        arrays = {**maps, "depth": found[0][..., None], "mask": there[..., None].astype(np.float32)}
        light = Environment(np.ones((2, 4, 3), dtype=np.float32), np.tile(np.eye(3), (len(frames), 1, 1)))
        feet = _feet(FilmScene(frames, arrays, (0.0, 1.0), camera, light, 1.0, film.level, False, (), film.points))
        slide = np.full(1, np.nan)
        if feet:
            paths = truly.project(_seen_at(truly, true[0], feet))[0], camera.project(np.array([*feet.values()]))[0]
            shown = (paths[0] > 0).all(axis=-1) & (paths[0] < true.shape[:0:-1]).all(axis=-1)
            slide = np.linalg.norm(paths[0] - paths[1], axis=-1)[shown]
        before, after, slides = [*before, errors[0]], [*after, errors[1]], [*slides, slide]
        print(
            f"| {path.stem} | {errors[0]:.1%} | {errors[1]:.1%} | {np.median(slide):.2f} "
            f"| {np.percentile(slide, 95):.2f} |",
            flush=True,
        )
    if slides:
        together = np.concatenate(slides)
        together = together[np.isfinite(together)]
        print(
            f"| all | {np.mean(before):.1%} | {np.mean(after):.1%} | {np.median(together):.2f} "
            f"| {np.percentile(together, 95):.2f} |"
        )


def scaled_error(found: np.ndarray, true: np.ndarray, where: np.ndarray) -> float:
    """Mean share by which depth (T, H, W) is off, after the one scale for all frames that suits most pixels."""
    ratio = found[where] / true[where]
    return float(np.abs(ratio / np.median(ratio) - 1).mean())


def _feet(scene: FilmScene) -> dict[tuple[int, int], np.ndarray]:
    """Where things stand that are put to some pixels (x, y) of the first frame that can hold one."""
    from editing.insertion import Thing, place

    feet: dict[tuple[int, int], np.ndarray] = {}
    rows, columns = np.nonzero(scene.arrays["mask"][0, ..., 0])
    for number in np.random.default_rng(0).permutation(len(rows))[:150]:
        pixel = int(columns[number]), int(rows[number])
        try:
            feet[pixel] = place(scene, Thing("", pixel)).position
        except InputError:
            continue
    return feet


def _seen_at(camera: Camera, first: np.ndarray, pixels: Iterable[tuple[int, int]]) -> np.ndarray:
    """Places (N, 3) in the world of what the first frame, of depth (H, W), shows at some pixels (x, y)."""
    columns, rows = np.array(list(pixels)).T
    pose, rays = camera.camera_to_world[0], camera.at(slice(1)).rays(*first.shape).reshape(*first.shape, 3)
    return (rays[rows, columns] * first[rows, columns, None]) @ pose[:3, :3].T + pose[:3, 3]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=["render", "solve", "depth"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--clips", type=int, default=24)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--fov", type=float, default=45.0)
    parser.add_argument("--seed", type=int, default=41, help="of the scenes; a fresh one for what was tuned on others")
    options = parser.parse_args()
    if options.step == "render":
        render(options.folder, options.clips, options.size, options.frames, options.seed)
    elif options.step == "depth":
        depth(options.folder, options.fov)
    else:
        solve(options.folder, options.fov)


if __name__ == "__main__":
    main()
