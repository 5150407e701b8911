"""From labels to the dataset's clips: what a sample holds, and what its row says of where it came from.

A labelled clip is a clip like any other, with three differences that its flags name. Its depth is relative to the clip
(`relative-depth`). Where the footage has no poses, its camera is solved (`solved-camera`; `camera-moving` and the like
name the motion; `rough-lens` or `assumed-lens` where the focal length is hardly seen), or still, level, at the origin
and of an assumed field of view (`assumed-camera`), so that the light, which is estimated in the first camera's frame,
has a world to stand in. And where some of it may be background, the mask is a guess (`guessed-mask`).
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from labeling.label_settings import Checkpoint, LabelSettings
from labeling.segments import Segment
from labeling.sources.footage import Footage
from manifests.codec.codecs import encode_clip
from manifests.contract.attributes import GBUFFERS
from manifests.contract.clip import Clip
from manifests.contract.clip_summary import summarise
from manifests.contract.color import srgb_decode
from manifests.contract.environment import Environment
from manifests.contract.row import AssetUse, ClipRow, Sample
from manifests.store.previews import strip_of
from pipeline.ledger import DROPPED

if TYPE_CHECKING:
    from labeling.labels import SegmentLabels

NAME = "label"
SPEC = "spec.json"
RELATIVE_DEPTH = "relative-depth"
ASSUMED_CAMERA, SOLVED_CAMERA = "assumed-camera", "solved-camera"
GUESSED_MASK = "guessed-mask"
_LINEAR = srgb_decode(np.arange(256) / 255).astype(np.float32)


class Spec(msgspec.Struct, frozen=True, kw_only=True):
    """`spec.json` of a labelled clip: which frames of which footage, and by whom they were labelled.

    `first` and `last` are frame indices of the footage, `seconds` when these frames are shown. `inverse` and `lighting`
    are the checkpoints' names and digests ("solver" where no network estimated the light).
    """

    source: str
    file: str
    licence: str
    first: int
    last: int
    seconds: tuple[float, float]
    inverse: dict[str, str]
    lighting: dict[str, str] | str
    steps: int
    seed: int
    checks: tuple[str, ...]


@dataclass(frozen=True)
class Origin:
    """What all clips of one item of footage share.

    Attributes:
        index: number of the work item.
        source: name of the source, as the credits call it.
        footage: the item.
        settings: how it is labelled.
        device: what the networks ran on.
    """

    index: int
    source: str
    footage: Footage
    settings: LabelSettings
    device: str


def clip_of(origin: Origin, segment: Segment, labels: SegmentLabels) -> Clip:
    """The segment and its labels as a clip; raises ClipError when they are none."""
    footage = origin.footage
    first = int(segment.start)
    arrays: dict[str, np.ndarray] = {"rgb": _LINEAR[segment.frames]}
    arrays |= {name: np.asarray(labels.gbuffers[name], dtype=np.float32) for name in GBUFFERS}
    if labels.mask is not None:
        arrays["mask"] = labels.mask
    count = len(segment.frames)
    return Clip(
        key=f"{footage.uid}-{first:06d}",
        arrays=arrays,
        camera=labels.camera,
        environment=Environment(labels.environment, np.tile(np.eye(3), (count, 1, 1))),
        fps=float(segment.fps),
        meta={
            "source": origin.source,
            "file": footage.name,
            "frames": [first, first + count - 1],
            "depth": "relative",
            **({} if labels.depth_range is None else {"depth_range": list(labels.depth_range)}),
            **_camera_meta(segment),
            "mask": "guessed",
            "evidence": dict(labels.evidence),
        },
    )


def sample_of(origin: Origin, segment: Segment, labels: SegmentLabels, seed: int) -> Sample:
    """Encode a segment, labelled with noise of `seed`, and write its row; `complete` adds what is known later."""
    began = time.perf_counter()
    clip = clip_of(origin, segment, labels)
    files, errors = encode_clip(clip, origin.settings.codec)
    spec = _spec(origin, segment, seed)
    document = msgspec.json.encode(spec, order="deterministic")
    files = {**files, SPEC: document}
    row = ClipRow(
        key=clip.key,
        item=origin.index,
        part=segment.index,
        stage=NAME,
        network=origin.settings.inverse.name,
        sampler=origin.settings.inverse.sampler,
        seed=origin.settings.seed,
        spec_digest=hashlib.sha256(document).hexdigest(),
        frames=clip.frames,
        height=clip.size[0],
        width=clip.size[1],
        fps=clip.fps,
        exposure=clip.exposure,
        attributes=tuple(clip.arrays),
        assets=asset_uses(origin),
        statistics=summarise(clip) | _statistics(spec, segment, labels),
        codec_errors=errors,
        confidence={name: round(value, 4) for name, value in labels.confidence.items()},
        seconds=labels.seconds,
        encode_seconds=time.perf_counter() - began,
        steps=float(origin.settings.steps or 1) if origin.settings.inverse.sampler == "diffusion" else 1.0,
        device=origin.device,
        flags=_flags(segment, labels),
    )
    return Sample(clip.key, files, row, strip_of(clip))


def complete(samples: Sequence[Sample], dropped: dict[str, int], flags: Sequence[str]) -> list[Sample]:
    """The item's samples with what is known only at its end: how many there are, and what it lost on the way.

    `dropped` counts segments by reason and goes to the first clip alone, so that sums over rows are right; `flags` are
    problems of the footage, for all clips.
    """
    finished = []
    for number, sample in enumerate(samples):
        lost = {f"{DROPPED}{reason}": float(count) for reason, count in sorted(dropped.items())} if number == 0 else {}
        statistics = sample.row.statistics | lost
        every = tuple(dict.fromkeys([*sample.row.flags, *flags]))
        row = msgspec.structs.replace(sample.row, item_clips=len(samples), statistics=statistics, flags=every)
        finished.append(replace(sample, row=row))
    return finished


def asset_uses(origin: Origin) -> tuple[AssetUse, ...]:
    """What the clips owe: the footage, and the checkpoints whose restrictions labels inherit."""
    footage = origin.footage
    uses = [
        AssetUse(
            uid=footage.name,
            kind="footage",
            source=origin.source,
            licence=footage.licence,
            author=footage.author,
            url=footage.url,
        )
    ]
    settings = origin.settings
    networks: list[tuple[str, Checkpoint | None]] = [("inverse", settings.inverse), ("lighting", settings.lighting)]
    uses += [
        AssetUse(
            uid=known.digest,
            kind="checkpoint",
            source=f"{kind} renderer {known.name}",
            licence=known.licence or "unknown",
            author="",
        )
        for kind, known in networks
        if known is not None
    ]
    return tuple(uses)


def _spec(origin: Origin, segment: Segment, seed: int) -> Spec:
    settings = origin.settings
    return Spec(
        source=origin.source,
        file=origin.footage.name,
        licence=origin.footage.licence,
        first=int(segment.start),
        last=int(segment.start) + len(segment.frames) - 1,
        seconds=(float(segment.timestamps[0]), float(segment.timestamps[-1])),
        inverse=settings.inverse.identity(),
        lighting=settings.lighting.identity() if settings.lighting else "solver",
        steps=settings.steps or 0,  # a settings' own are known
        seed=seed,
        checks=settings.checks,
    )


def _statistics(spec: Spec, segment: Segment, labels: SegmentLabels) -> dict[str, float]:
    evidence = {f"evidence.{name}": float(value) for name, value in labels.evidence.items()}
    return evidence | {
        "footage.first": float(spec.first),
        "footage.last": float(spec.last),
        "footage.motion": float(segment.motion),
        **_camera_statistics(segment),
    }


def _camera_meta(segment: Segment) -> dict[str, Any]:
    """Where the camera comes from, and what was solved of it."""
    found = segment.solution
    if segment.camera is not None or found is None:
        return {"camera": "assumed" if segment.camera is None else "known"}
    said = {name: getattr(found, name) for name in ("kind", "lens", "up", "reason")}
    measured = {"error": round(found.error, 4), "share": round(found.share, 4)}
    return {"camera": "assumed" if found.camera is None else "solved", "solved": said | measured}


def _camera_statistics(segment: Segment) -> dict[str, float]:
    found = segment.solution
    if segment.camera is not None or found is None or found.camera is None:
        return {}
    return {"camera.error": float(found.error), "camera.share": float(found.share)}


def _flags(segment: Segment, labels: SegmentLabels) -> tuple[str, ...]:
    flags = [RELATIVE_DEPTH, *segment.flags]
    if segment.camera is None:
        found = segment.solution
        if found is None or found.camera is None:
            flags.append(ASSUMED_CAMERA)
        else:
            flags += [SOLVED_CAMERA, f"camera-{found.kind}"]
            flags += [f"{found.lens}-lens"] if found.lens != "solved" else []
    if labels.mask is not None:
        flags.append(GUESSED_MASK)
    return tuple(flags)
