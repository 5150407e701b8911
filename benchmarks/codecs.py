"""Measures what `compact` was chosen from, and what it then achieves.

    python -m benchmarks.codec_scenes out/codec-clips        # renders three clips, or take a dataset of `exact` clips
    python -m benchmarks.codecs out/codec-clips              # the codec as built: size, errors, CPU time
    python -m benchmarks.codecs out/codec-clips --candidates # every candidate at the codec's own quality bound

Candidates with a quantizer are compared at equal quality: the coarsest quantizer that still meets the bound is
searched, and its bytes and CPU times are reported. CPU seconds are those of the process, one thread.
"""

from __future__ import annotations

import argparse
import io
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

from benchmarks.codec_candidates import Candidate, candidates
from manifests.codec.codecs import decode_clip, encode_clip
from manifests.codec.fidelity import Fidelity, excess
from manifests.codec.formats import QUALITIES
from manifests.codec.plane_video import decode_video, encode_video
from manifests.codec.quantize import displayed
from manifests.contract.attributes import ATTRIBUTES
from manifests.contract.clip import Clip

OTHER_BOUNDS = {"depth": 0.003, "mask": 0.01, "instance": 0.0}
REPEATS = 3


def clips(dataset: Path) -> Iterator[tuple[str, dict[str, bytes]]]:
    """(key, files by suffix) of every sample in the dataset's shards."""
    for path in sorted((dataset / "shards").glob("*.tar")):
        samples: dict[str, dict[str, bytes]] = {}
        with tarfile.open(path) as tar:
            for member in tar:
                key, suffix = member.name.split(".", 1)
                handle = tar.extractfile(member)
                if handle is not None:
                    samples.setdefault(key, {})[suffix] = handle.read()
        yield from samples.items()


def cpu[Result](work: Callable[[], Result], repeats: int = 1) -> tuple[Result, float]:
    """The result of `work` and the least CPU seconds of `repeats` runs."""
    best = float("inf")
    for _ in range(repeats):
        start = time.process_time()
        result = work()
        best = min(best, time.process_time() - start)
    return result, best


def decode_bare(files: Mapping[str, bytes], keep: bool) -> None:
    """What a loader without us would do: PyAV, one thread; with `keep`, planes become float32 arrays."""
    for suffix, data in files.items():
        if not suffix.endswith((".mp4", ".mkv")):
            continue
        with av.open(io.BytesIO(data)) as container:
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1
            frames = []
            for frame in container.decode(stream):
                if keep:
                    count = 1 if frame.format.name.startswith(("gray", "yuv420")) else 3
                    dtype = np.uint8 if frame.format.components[0].bits == 8 else np.uint16
                    planes = [np.frombuffer(frame.planes[n], dtype).reshape(frame.height, -1) for n in range(count)]
                    frames.append(np.stack([plane[:, : frame.width].astype(np.float32) for plane in planes]))
            if keep:
                np.stack(frames)


def report_codec(key: str, exact: Mapping[str, bytes], clip: Clip) -> None:
    """One clip through `compact`: bytes, errors, CPU time, decoding speed against bare PyAV."""
    (files, errors), encode_seconds = cpu(lambda: encode_clip(clip, "compact"))
    _, ours = cpu(lambda: decode_clip(key, files, light=False), REPEATS)
    _, bare = cpu(lambda: decode_bare(files, False), REPEATS)
    _, arrays = cpu(lambda: decode_bare(files, True), REPEATS)
    before, after = (sum(map(len, group.values())) for group in (exact, files))
    frames = clip.frames
    print(f"\n### {key}: {frames} frames of {clip.size[1]}x{clip.size[0]}")
    print(f"exact {before / 1e6:.1f} MB, compact {after / 1e6:.2f} MB, {before / after:.1f} times smaller")
    print(f"encode {encode_seconds:.2f} CPU s (measuring included), decode {1e3 * ours / frames:.1f} CPU ms a frame")
    print(f"speed against bare PyAV: {bare / ours:.2f} decoding only, {arrays / ours:.2f} into float arrays")
    print("bytes: " + ", ".join(f"{suffix} {len(data) / 1e3:.0f} kB" for suffix, data in sorted(files.items())))
    print("errors: " + ", ".join(f"{name} {value:.4g}" for name, value in errors.items()))


@dataclass(frozen=True)
class Trial:
    """One candidate at one quantizer."""

    data: bytes
    encode_seconds: float
    decode_seconds: float
    metrics: dict[str, float]
    worst: float


def attempt(candidate: Candidate, clip: Clip, quantizer: int) -> Trial:
    """Encode, decode and measure every frame of the candidate's attribute."""
    known = ATTRIBUTES[candidate.attribute]
    original = clip.arrays[known.name]
    factor = clip.exposure if known.name == "rgb" else 1.0
    planes = candidate.forward(original)
    options = candidate.knob(quantizer) if candidate.knob else {}
    data, encode_seconds = cpu(lambda: encode_video(planes, candidate.coding, clip.fps, options))
    everything = np.arange(clip.frames)
    _, decode_seconds = cpu(
        lambda: sum(1 for _ in decode_video(data, candidate.coding, clip.size, clip.frames, everything)), REPEATS
    )
    fidelity, worst = Fidelity(known), 0.0
    surface = clip.arrays["mask"][..., 0] > 0
    for frame, stored in decode_video(data, candidate.coding, clip.size, clip.frames, everything):
        decoded = candidate.backward([plane.copy() for plane in stored]).astype(original.dtype)
        pair = [original[frame], decoded]
        if known.compact == "srgb":
            pair = [displayed(image, factor) for image in pair]
        fidelity.add(*pair, surface[frame])
        if known.name == "depth":
            finite = np.isfinite(original[frame]) & surface[frame][..., None]
            true, kept = original[frame][finite], np.minimum(decoded[finite], 1e30)
            worst = max(worst, float((np.abs(kept - true) / true).max(initial=0)))
    return Trial(data, encode_seconds, decode_seconds, fidelity.result(), worst)


def within(candidate: Candidate, trial: Trial) -> bool:
    quality = QUALITIES.get(candidate.attribute)
    if quality is not None:
        return excess(quality.metric, trial.metrics[quality.metric], quality.bound) <= 1
    return next(iter(trial.metrics.values())) <= OTHER_BOUNDS[candidate.attribute]


def coarsest(candidate: Candidate, clip: Clip) -> tuple[int, Trial]:
    """Bisect for the coarsest quantizer within the bound; lossless candidates are tried once."""
    low, high = candidate.quantizers
    best = (low, attempt(candidate, clip, low))
    if candidate.knob is None:
        return best
    while low < high:
        middle = (low + high + 1) // 2
        trial = attempt(candidate, clip, middle)
        if within(candidate, trial):
            low, best = middle, (middle, trial)
        else:
            high = middle - 1
    return best


def report_candidates(key: str, clip: Clip, only: list[str]) -> None:
    print(f"\n### {key}: candidates, {clip.frames} frames of {clip.size[1]}x{clip.size[0]}\n")
    print("| attribute | candidate | quantizer | kB | quality | encode CPU s | decode CPU ms a frame |")
    print("|---|---|---|---|---|---|---|")
    for candidate in candidates(clip):
        if only and candidate.attribute not in only:
            continue
        quantizer, trial = coarsest(candidate, clip)
        quality = ", ".join(f"{name} {value:.4g}" for name, value in trial.metrics.items())
        quality += f", worst {trial.worst:.3g}" if candidate.attribute == "depth" else ""
        quality += "" if within(candidate, trial) else " (misses the bound)"
        print(
            f"| {candidate.attribute} | {candidate.label} | {quantizer if candidate.knob else '-'} "
            f"| {len(trial.data) / 1e3:.0f} | {quality} | {trial.encode_seconds:.2f} "
            f"| {1e3 * trial.decode_seconds / clip.frames:.2f} |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", type=Path, help="folder with shards/*.tar of `exact` clips")
    parser.add_argument("--candidates", action="store_true", help="compare the candidates instead of the codec")
    parser.add_argument("--attributes", nargs="*", default=[], help="candidates of these attributes only")
    parser.add_argument("--clips", type=int, default=3, help="how many clips to take")
    parser.add_argument("--frames", type=int, default=0, help="only the first frames of each clip (0: all)")
    options = parser.parse_args()
    for key, files in list(clips(options.dataset))[: options.clips]:
        clip = decode_clip(key, files, frames=slice(options.frames or None))
        if options.candidates:
            report_candidates(key, clip, options.attributes)
        else:
            report_codec(key, encode_clip(clip, "exact")[0], clip)


if __name__ == "__main__":
    main()
