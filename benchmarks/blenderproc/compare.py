"""PSNR against CPU seconds: the factory's settings beside BlenderProc 2.8.0 at several numbers of samples.

usage: python -m benchmarks.blenderproc.compare [OUT] [--curve]     (about an hour on two cores)

Finished renders of the same code and settings are kept.
Both render the same GLB, HDR map and camera with the same light transport: four bounces of each kind, caustics,
indirect light clamped at 10 (Blender's default, which BlenderProc keeps). PSNR is of the first frame's tone-mapped
beauty against the mean of two renders of 512 samples, other seeds, each denoised by OIDN at its best; CPU seconds a
frame are those of the render call alone, over two frames (one for the references, BlenderProc's default and `fine`).
`quality` asks for what BlenderProc reached with 64 samples a moment before; a 24th of its pilot is counted to a frame,
as in a clip of `paper`. `--curve` adds fewer samples, less and more dB, and leaves out the defaults.
BlenderProc runs in a virtual environment of its own (Python 3.11) made from requirements.txt.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

import datagen
from manifests.codec.exr import read_exr
from manifests.contract.color import srgb_encode
from scenes.recipes import load_recipe

HERE = Path(__file__).parent
SCENES = ("room", "metal", "sun")
BOUNCES = "4"
OURS = {
    "Lightloom, 64 fixed": {"samples": 64, "adaptive_threshold": 0.0, "frames": 2},
    "Lightloom, default": {"frames": 2},
    "Lightloom, fine": {"samples": 512, "adaptive_threshold": 0.02, "denoiser": "accurate", "frames": 1},
}
THEIRS = {"BlenderProc, 64": ("64", "0", BOUNCES, "2"), "BlenderProc, default": ("1024", "0.01", BOUNCES, "1")}
THEIR_CURVE = {f"BlenderProc, {samples}": (samples, "0", BOUNCES, "2") for samples in ("16", "32")}
REFERENCE = {"frames": 1, "samples": 512, "adaptive_threshold": 0.0, "denoiser": "accurate"}
CLIP_FRAMES = 24


def environment(out: Path) -> Path:
    """BlenderProc's Python, installed on first use."""
    python = out / "venv" / "bin" / "python"
    if not (out / "venv" / ".ready").exists():
        subprocess.run([shutil.which("python3.11") or "python3.11", "-m", "venv", out / "venv"], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "-r", HERE / "requirements.txt"], check=True)
        (out / "venv" / ".ready").touch()
    return python


def code_digest() -> str:
    """SHA-256 of the factory's code, so that no render of older code is taken for one of today's."""
    files = sorted(Path(datagen.__file__).parent.rglob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


def measure(label: Path, command: list, settings: str) -> float:
    """CPU seconds a frame of a render command, or what an earlier run with equal `settings` measured.

    Of a pilot, a frame bears what it does in a clip of `CLIP_FRAMES`.
    """
    note, made_with = label / "seconds.json", label / "settings.txt"
    if not note.exists() or not made_with.exists() or made_with.read_text() != settings:
        shutil.rmtree(label, ignore_errors=True)
        label.mkdir(parents=True)
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
        lines = [line for line in done.stdout.splitlines() if line.startswith('{"cpu_seconds')]
        if not lines:  # the exit status says nothing: Blender may crash while leaving
            sys.exit(f"{label}: failed\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
        note.write_text(lines[-1])
        made_with.write_text(settings)
    measured = json.loads(note.read_text())
    return measured["cpu_seconds_per_frame"] + measured.get("pilot", 0.0) / CLIP_FRAMES


def their_frames(folder: Path) -> np.ndarray:
    frames = [read_exr(path.read_bytes()) for path in sorted(folder.glob("rgb_*.exr"))]
    return np.stack([np.stack([frame[name] for name in "RGB"], axis=-1) for frame in frames])


def psnr(image: np.ndarray, reference: np.ndarray) -> float:
    exposure = 0.8 / np.percentile(reference.max(axis=-1), 90)
    tone = [srgb_encode(np.clip(exposure * x, 0, 1)) for x in (image, reference)]
    return float(-10 * np.log10(np.mean((tone[0] - tone[1]) ** 2)))


def main(out: Path, curve: bool) -> None:
    python, code = environment(out), code_digest()
    if not (out / "scenes" / "sun" / "camera.json").exists():
        subprocess.run([sys.executable, "-m", "benchmarks.blenderproc.scenes", out / "scenes"], check=True)
    rows: dict[str, list[tuple[float, float]]] = {}
    for name in SCENES:
        place, results = out / "scenes" / name, out / name

        def ours(label: str, changes: dict, place: Path = place, results: Path = results) -> tuple[np.ndarray, float]:
            folder = results / label
            module = [sys.executable, "-m", "benchmarks.blenderproc.ours", place, folder, json.dumps(changes)]
            seconds = measure(folder, module, f"{code} {load_recipe('paper').render} {changes}")
            return np.load(folder / "rgb.npy")[0], seconds

        def theirs(label: str, settings: tuple, place: Path = place, results: Path = results) -> tuple:
            folder = results / label
            seconds = measure(folder, [python, HERE / "theirs.py", place, folder, *settings], " ".join(settings))
            return their_frames(folder)[0], seconds

        truth = np.mean([ours(f"reference {seed}", REFERENCE | {"seed": seed})[0] for seed in (91, 92)], axis=0)

        def note(label: str, result: tuple[np.ndarray, float], truth: np.ndarray = truth) -> float:
            rows.setdefault(label, []).append((psnr(result[0], truth), result[1]))
            return rows[label][-1][0]

        reached = round(note("BlenderProc, 64", theirs("BlenderProc, 64", THEIRS["BlenderProc, 64"])), 1)
        note("Lightloom, quality", ours("Lightloom, quality", {"quality": reached, "frames": 2}))
        if curve:
            for label, settings in THEIR_CURVE.items():
                note(label, theirs(label, settings))
            for step in (-3, 3):
                label = f"Lightloom, quality {step:+g} dB"
                note(label, ours(label, {"quality": reached + step, "frames": 2}))
        else:
            for label, changes in OURS.items():
                note(label, ours(label, changes))
            note("BlenderProc, default", theirs("BlenderProc, default", THEIRS["BlenderProc, default"]))
    print(f"recipe `paper`: {load_recipe('paper').render}\n")
    print("| | " + " | ".join(f"{name}: dB | CPU s" for name in SCENES) + " |")
    print("|---|" + "---|---|" * len(SCENES))
    for label, results in rows.items():
        print(f"| {label} | " + " | ".join(f"{decibel:.1f} | {seconds:.1f}" for decibel, seconds in results) + " |")


if __name__ == "__main__":
    folders = [argument for argument in sys.argv[1:] if argument != "--curve"]
    main(Path(folders[0] if folders else "out/blenderproc"), "--curve" in sys.argv)
