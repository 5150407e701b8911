"""Does the LoRA take a look that its labels cannot explain, and leave clean renderings as they were?

    python -m benchmarks.lora out/set out/benchmark/scenes out/forward/renderer out/lora --minutes 8

Rendered clips are graded (contrast, teal shadows and orange lights, a vignette) as a stand-in for footage, and their
labels are degraded as automatic ones are: base colour off by a gain and blurred, normals bent, roughness and metallic
smeared. The forward renderer is co-trained from its checkpoint on the clean set and the graded one; the look is then
measured on graded clips of `TEST`, whose assets were not trained on, with the LoRA on and off, and clean clips of
`TEST` before and after, with the LoRA off. Training goes on where it was cut.
"""

from __future__ import annotations

import dataclasses
import sys
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
import tyro
from tyro.conf import Positional

from manifests.codec.codecs import decode_clip, encode_clip
from manifests.contract.clip import Clip
from manifests.contract.color import luminance, on_screen, srgb_decode
from manifests.contract.row import ClipRow, Sample
from manifests.store.dataset import Dataset, Header, open_dataset, open_or_create
from manifests.store.shards import write_shard
from renderers.forward import ForwardRenderer
from training.config import load_config
from training.evaluation.acceptance import Bar, judged
from training.evaluation.metrics import psnr
from training.run import TrainRequest, train

_PER_SHARD = 64
_SHADOWS, _LIGHTS = np.array([0.85, 1.02, 1.12]), np.array([1.12, 1.0, 0.82])
_LABELLED = dict.fromkeys(("basecolor", "normal", "depth", "roughness", "metallic", "environment"), 0.8)


@dataclass(frozen=True)
class Settings:
    """Co-train `forward` on `clean` and on `clips` graded clips of it for `minutes`; measure on `tested` of `test`."""

    clean: Positional[Path]
    test: Positional[Path]
    forward: Positional[Path]
    out: Positional[Path]
    clips: int = 256
    minutes: float = 8.0
    tested: int = 32
    preset: str = "tiny"
    seed: int = 0


def graded(video: np.ndarray) -> np.ndarray:
    """A look: sRGB (T, H, W, 3) in [0, 1] with more contrast, teal shadows, orange lights and darker corners."""
    height, width = video.shape[1:3]
    y, x = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    curve = video * video * (3 - 2 * video)
    tone = luminance(curve)[..., None]
    split = _SHADOWS * (1 - tone) + _LIGHTS * tone
    return np.clip(curve * split * (1 - 0.25 * (x * x + y * y))[..., None], 0, 1).astype(np.float32)


def degraded(arrays: dict[str, np.ndarray], rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Labels (T, H, W, C) as a fair inverse renderer might give them."""
    frames, height, width = arrays["normal"].shape[:3]

    def field(channels: int) -> np.ndarray:
        small = rng.standard_normal((4, 4, channels)).astype(np.float32)
        return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC).reshape(1, height, width, channels)

    def blurred(values: np.ndarray) -> np.ndarray:
        soft = [cv2.GaussianBlur(frame, (0, 0), 0.8) for frame in values]
        return np.stack(soft).reshape(values.shape)

    made = dict(arrays)
    base = arrays["basecolor"] * np.exp(rng.normal(0, 0.15) + 0.1 * field(3))
    made["basecolor"] = np.clip(blurred(base.astype(np.float32)), 0, 1)
    normal = arrays["normal"] + 0.12 * field(3)
    made["normal"] = (normal / np.linalg.norm(normal, axis=-1, keepdims=True)).astype(np.float32)
    for name in ("roughness", "metallic"):
        made[name] = np.clip(blurred(arrays[name]) + 0.08 * field(1), 0, 1).astype(np.float32)
    assert all(len(value) == frames for value in made.values())
    return made


def look(clip: Clip, seed: int) -> Clip:
    """The clip graded, with degraded labels."""
    picture = graded(on_screen(clip.exposure * clip.arrays["rgb"]))
    arrays = degraded(dict(clip.arrays), np.random.default_rng([seed, 0x1004]))
    arrays["rgb"] = (srgb_decode(picture) / clip.exposure).astype(np.float32)
    return dataclasses.replace(clip, arrays=arrays)


def graded_set(source: Dataset, path: Path, count: int, seed: int) -> Path:
    """A dataset of `count` graded clips of `source`."""
    rows = list(source.rows())[:count]
    if not rows:
        sys.exit(f"{source.path}: holds no clips")
    made = open_or_create(
        path,
        Header(
            stage="labeling", codec="compact", recipe={"name": "look"}, seed=seed, items=len(rows),
            per_shard=_PER_SHARD, catalogue=source.header.catalogue,
        ),
    )  # fmt: skip
    for shard in range(made.header.shards):
        if (path / "manifest" / f"{shard:06d}.parquet").is_file():
            continue
        samples = [[_sample(source, rows[item], item, seed)] for item in made.header.shard_items(shard)]
        write_shard(path, shard, samples, [])
    return path


def _sample(source: Dataset, row: ClipRow, item: int, seed: int) -> Sample:
    key = f"{item:08d}-00"
    clip = dataclasses.replace(look(decode_clip(row.key, source.files(row)), seed + item), key=key)
    files, errors = encode_clip(clip, "compact")
    plain = {name: getattr(row, name) for name in ClipRow.__struct_fields__}
    plain |= {
        "key": key,
        "item": item,
        "part": 0,
        "item_clips": 1,
        "stage": "labeling",
        "codec_errors": errors,
        "statistics": {},
    }
    return Sample(key, files, ClipRow(**(plain | {"confidence": _LABELLED})))


def measured(folder: Path, clips: list[tuple[Clip, np.ndarray]], scale: float | None) -> float:
    """Mean PSNR of `folder`'s pictures of the clips' G-buffers, on surfaces, against the given videos."""
    renderer = ForwardRenderer.from_pretrained(folder)
    renderer.set_progress_bar_config(disable=True)
    values = []
    for clip, truth in clips:
        assert clip.camera is not None
        made = renderer(clip, lora_scale=scale)
        values.append(psnr(np.asarray(made.video), truth, clip.arrays["mask"][..., 0] > 0.5))
    return float(np.mean(values))


def lora_bars(look_on: float, look_off: float, clean_after: float, clean_before: float) -> list[Bar]:
    """The LoRA's bars, in PSNR dB, from four runs.

    Args:
        look_on: on the look that only the LoRA was trained on, with the LoRA.
        look_off: the same, with the LoRA off.
        clean_after: on clean synthetic clips after co-training, with the LoRA off.
        clean_before: the same before co-training.
    """
    change = abs(clean_after - clean_before)
    return [
        judged("LoRA, held-out look", "gain in dB with the LoRA on", look_on - look_off, ">", 0.0),
        judged("LoRA off, clean synthetic", "change in dB by co-training", change, "<=", 0.2),
    ]


def main(settings: Settings) -> None:
    """Make the look, co-train, measure, print the two bars."""
    torch.set_num_threads(1)
    real = graded_set(open_dataset(settings.clean), settings.out / "look", settings.clips, settings.seed)
    changes = {
        "start": str(settings.forward), "seed": settings.seed,
        "optimise": {"minutes": settings.minutes, "steps": 10**6, "learning_rate": 1e-4, "muon_rate": 1e-3},
        "lora": {"learning_rate": 1e-3},
        "data": {"coarse": 0.5},
    }  # fmt: skip
    config = load_config(settings.preset, "forward", changes)
    run = settings.out / "run"
    request = TrainRequest(
        "forward", config, (str(settings.clean),), run, (), (str(real),), (run / "run.json").is_file()
    )
    after = run / "renderer"
    if not after.is_dir():
        done = train(request)
        print(f"co-trained {done.step} steps, loss {done.loss:.4f}")
    test = open_dataset(settings.test)
    rows = list(test.rows())
    rows = rows[:: max(1, len(rows) // settings.tested)]
    clean, graded_clips = [], []
    for row in rows:
        whole = decode_clip(row.key, test.files(row))
        for store, clip in ((clean, whole), (graded_clips, look(whole, 7919 + row.item))):
            shown = on_screen(clip.exposure * clip.arrays["rgb"])
            store.append((clip, shown))
    look_on, look_off = (measured(after, graded_clips, scale) for scale in (1.0, 0.0))
    clean_before, clean_after = measured(settings.forward, clean, None), measured(after, clean, 0.0)
    print(f"look: LoRA on {look_on:.2f} dB, off {look_off:.2f} dB")
    print(f"clean, LoRA off: before {clean_before:.2f} dB, after {clean_after:.2f} dB")
    for bar in lora_bars(look_on, look_off, clean_after, clean_before):
        print(bar.line())


if __name__ == "__main__":
    main(tyro.cli(Settings))
