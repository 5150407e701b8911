"""`lightloom evaluate real`: G-buffers of real pictures against judgments made by eye.

Nobody knows the base colour of a street, but anyone sees which car is nearer and that the road faces up. A file of
judgments names pictures, and points in them of which such things are sure (docs/evaluation.md has the format). The
pictures themselves are not shipped: they lie in a folder, as files or in the wheels of the packages that have them.
"""

from __future__ import annotations

import hashlib
import importlib.resources
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import numpy as np

from editing.film import open_film, picture_of, resized
from manifests.contract.camera import fitted
from manifests.contract.color import luminance, srgb_decode
from manifests.errors import InputError
from manifests.untrusted import decode_json, read_bounded

Maps = Mapping[str, np.ndarray]
"""basecolor (linear), normal, depth (larger is farther) and metallic, (H, W, C) each."""

JUDGMENTS = Path(str(importlib.resources.files("editing.benchmark"))) / "judgments.json"
"""The judgments that come with the package."""

Percent = Annotated[float, msgspec.Meta(ge=0, le=100)]
Point = tuple[Percent, Percent]
"""Percent of width and height, from the top left."""
Pair = tuple[Point, Point]

_REACH = 0.008
_FLOOR = 0.01
_SAME, _DARKER = 1.3, 1.15
_MOST_BYTES, _MOST_JUDGMENTS = 1 << 28, 1 << 22


class JudgedPicture(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A picture, or one frame of a video, and what is sure of it; `docs/evaluation.md` says what each list claims."""

    name: str
    file: str
    sha256: str
    package: str = ""
    version: str = ""
    frame: Annotated[int, msgspec.Meta(ge=0)] | None = None
    nearer: tuple[Pair, ...] = ()
    background: tuple[Point, ...] = ()
    surface: tuple[Point, ...] = ()
    up: tuple[Point, ...] = ()
    wall: tuple[Point, ...] = ()
    facing: tuple[Point, ...] = ()
    same: tuple[Pair, ...] = ()
    darker: tuple[Pair, ...] = ()
    dielectric: tuple[Point, ...] = ()


class Judgments(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A file of judgments."""

    format: Literal["lightloom-judgments-1"]
    about: str = ""
    pictures: tuple[JudgedPicture, ...]


def read_judgments(path: Path = JUDGMENTS) -> Judgments:
    """The judgments in a JSON file; InputError where it is none, or not of this format."""
    try:
        return decode_json(read_bounded(path, _MOST_JUDGMENTS), Judgments)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}", where=path) from None
    except ValueError as error:
        raise InputError(f"no judgments: {error}", "docs/evaluation.md has the format", where=path) from None


def judged_picture(judged: JudgedPicture, folder: Path) -> np.ndarray | None:
    """The picture (H, W, 3), sRGB in [0, 1], from a file or a wheel in `folder`; None where it is not there.

    Raises InputError for another file of that name, and for one that cannot be read.
    """
    data = _found(judged, folder)
    if data is None:
        return None
    if hashlib.sha256(data).hexdigest() != judged.sha256:
        raise InputError(f"not the file that was judged: {judged.file} has another SHA-256", where=folder)
    if judged.frame is None:
        return picture_of(data, "picture").values
    with tempfile.TemporaryDirectory(prefix="lightloom-") as scratch:
        video = Path(scratch) / Path(judged.file).name
        video.write_bytes(data)
        with open_film(video) as film:
            return film.frame(judged.frame)


def _found(judged: JudgedPicture, folder: Path) -> bytes | None:
    for path in (folder / judged.file, folder / Path(judged.file).name):
        if path.is_file() and path.stat().st_size <= _MOST_BYTES:
            return path.read_bytes()
    for wheel in sorted(folder.glob(f"{judged.package.replace('-', '_')}-{judged.version}-*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            if judged.file in archive.namelist() and archive.getinfo(judged.file).file_size <= _MOST_BYTES:
                return archive.read(judged.file)
    return None


def outcomes(judged: JudgedPicture, maps: Maps) -> Iterator[tuple[str, bool]]:
    """(question, whether the G-buffers agree) for every judgment of a picture."""
    depth, normal, metallic = (_Median(maps[name]) for name in ("depth", "normal", "metallic"))
    paint = _Median(luminance(maps["basecolor"])[..., None])

    def ratio(one: Point, other: Point) -> float:
        return float((paint.at(one)[0] + _FLOOR) / (paint.at(other)[0] + _FLOOR))

    for near, far in judged.nearer:
        yield "nearer", bool(depth.at(near)[0] < depth.at(far)[0])
    for point in judged.background:
        for solid in judged.surface:
            yield "background", bool(depth.at(point)[0] > depth.at(solid)[0])
    for point in judged.up:
        x, y, _ = normal.at(point)
        yield "up", bool(y > 0.5 and abs(x) < 0.5)
    for point in judged.wall:
        yield "wall", bool(abs(normal.at(point)[1]) < 0.4)
    for point in judged.facing:
        yield "facing", bool(normal.at(point)[2] > 0.8)
    for one, other in judged.same:
        yield "same", 1 / _SAME < ratio(one, other) < _SAME
    for one, other in judged.darker:
        yield "darker", ratio(one, other) < 1 / _DARKER
    for point in judged.dielectric:
        yield "dielectric", bool(metallic.at(point)[0] < 0.3)


@dataclass(frozen=True, eq=False)
class _Median:
    """Medians of a map (H, W, C) in squares around points; squares are a sixtieth of the larger side."""

    values: np.ndarray

    def at(self, point: Point) -> np.ndarray:
        height, width = self.values.shape[:2]
        reach = max(1, int(_REACH * max(height, width)))
        x, y = (min(int(part / 100 * side), side - 1) for part, side in zip(point, (width, height), strict=True))
        near = self.values[max(y - reach, 0) : y + reach + 1, max(x - reach, 0) : x + reach + 1]
        return np.asarray(np.median(near.reshape(-1, self.values.shape[-1]), axis=0))


def ground_plane(rgb: np.ndarray) -> Maps:
    """The baseline: the picture is the base colour, all faces up, higher is farther, nothing is metal."""
    return _guess(rgb, (0.0, 1.0, 0.0))


def facing_camera_plane(rgb: np.ndarray) -> Maps:
    """The other one: the same, but that everything faces the camera."""
    return _guess(rgb, (0.0, 0.0, 1.0))


def _guess(rgb: np.ndarray, normal: tuple[float, float, float]) -> Maps:
    height, width = rgb.shape[:2]
    depth = np.repeat(np.linspace(1.0, 0.0, height, dtype=np.float32)[:, None, None], width, axis=1)
    flat = np.broadcast_to(np.array(normal, dtype=np.float32), rgb.shape)
    return {"basecolor": srgb_decode(rgb), "normal": flat, "depth": depth, "metallic": np.zeros_like(depth)}


BASELINES: Mapping[str, Callable[[np.ndarray], Maps]] = {
    "ground plane, picture as base colour": ground_plane,
    "facing the camera, picture as base colour": facing_camera_plane,
}


@dataclass(frozen=True)
class RealScores:
    """Shares right by method and question, how many judgments each question has, and which pictures were not there."""

    shares: Mapping[str, Mapping[str, float]]
    counts: Mapping[str, int]
    missing: tuple[str, ...]

    def markdown(self) -> str:
        """The table, a row for each method."""
        names = list(self.counts)
        lines = [
            f"| share right | {' | '.join(f'{name} ({self.counts[name]})' for name in names)} |",
            f"|---|{'---:|' * len(names)}",
        ]
        for method, shares in self.shares.items():
            lines.append(f"| {method} | {' | '.join(f'{shares[name]:.2f}' for name in names)} |")
        return "\n".join(lines)


def score_real(
    folder: Path, judgments: Judgments, predict: Callable[[np.ndarray], Maps], sides: Sequence[int]
) -> RealScores:
    """Score `predict`, from a picture (h, w, 3) in sRGB to `Maps` of its size, at each of `sides`, and the baselines.

    sides: the picture's larger side in front of `predict`; smaller pictures are enlarged.
    Raises InputError where `folder` has none of the pictures.
    """
    methods: dict[str, Callable[[np.ndarray], Maps]] = {
        f"{side} pixels": lambda rgb, side=side: predict(_sized(rgb, side)) for side in sides
    } | dict(BASELINES)
    right: dict[str, dict[str, list[bool]]] = {name: {} for name in methods}
    missing = []
    for judged in judgments.pictures:
        rgb = judged_picture(judged, folder)
        if rgb is None:
            missing.append(judged.file)
            continue
        for name, method in methods.items():
            for question, agrees in outcomes(judged, method(rgb)):
                right[name].setdefault(question, []).append(agrees)
    if len(missing) == len(judgments.pictures):
        named = sorted({f"{judged.package}=={judged.version}" for judged in judgments.pictures if judged.package})
        advice = f"`pip download --no-deps -d {folder} {' '.join(named)}`" if named else "give the folder that has them"
        raise InputError("holds none of the judged pictures", advice, where=folder)
    shares = {name: {each: float(np.mean(found)) for each, found in by.items()} for name, by in right.items()}
    counts = {question: len(found) for question, found in next(iter(right.values())).items()}
    return RealScores(shares, counts, tuple(missing))


def _sized(rgb: np.ndarray, side: int) -> np.ndarray:
    height, width = rgb.shape[:2]
    size = fitted((height, width), side)
    if max(size) < side:
        size = (max(1, round(height * side / max(size))), max(1, round(width * side / max(size))))
    return resized(rgb[None], size)[0]
