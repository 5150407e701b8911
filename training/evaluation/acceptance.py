"""The bars: what must hold of trained renderers on unseen assets and places, as comparisons between scores.

Every bar states its rule in words, the number measured, the number needed, and whether it holds. A bar whose scores
are missing is "not measured", never passed. Baselines that see the truth (oracles) count only where the rule names
them; against the plane of the true camera the normals are compared as well, as an extra line. `_TABLE` has one row
per bar, in the order of docs/evaluation.md.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal

from training.baselines.forward_baselines import LIGHT_RATIO, LIGHT_RATIO_METERED, SPLIT_SUM, TRACED, UNCHANGED
from training.baselines.inverse_baselines import MEAN, MEAN_MAP, PLANE, PLANE_ORACLE, RGB, RGB_ORACLE
from training.evaluation.scores import Score, mean, select

OURS = "ours"
ONE_FRAME = "ours, frame by frame"
METERED = "ours, metered"
FROM_INVERSE = "ours, from the inverse renderer's G-buffers"
FROM_INVERSE_METERED = "ours, from the inverse renderer's G-buffers, metered"
NO_LIGHT = "ours, light replaced by its mean"
WRONG_LIGHT = "ours, under another light"
WITH_LORA = "ours, with LoRA"
WITHOUT_LORA = "ours, without LoRA"
ESTIMATED_LIGHT = "ours, under the estimated light"

Relation = Literal[">=", ">", "<=", "<"]
"""How the measured number has to compare with the one that is needed."""

_COMPARE = {">=": operator.ge, ">": operator.gt, "<=": operator.le, "<": operator.lt}
_LEAST_ERROR = 1e-6  # a baseline may be exact, as a constant is on a constant attribute


@dataclass(frozen=True)
class Bar:
    """One requirement. `holds` is None when it could not be measured, or when it is reported without a limit."""

    name: str
    rule: str
    measured: float | None
    needed: float | None
    holds: bool | None

    def line(self) -> str:
        """The bar on one line."""
        state = {True: "holds", False: "FAILS", None: "reported" if self.measured is not None else "not measured"}
        number = "" if self.measured is None else f" {self.measured:.3f}"
        needed = "" if self.needed is None else f" (needed {self.needed:g})"
        return f"{state[self.holds]:12} {self.name}:{number}{needed}; {self.rule}"


def judged(name: str, rule: str, measured: float | None, relation: Relation = ">=", needed: float | None = None) -> Bar:
    """A bar from the number that was measured, None where it was not; without a number needed it is only reported."""
    holds = None if measured is None or needed is None else bool(_COMPARE[relation](measured, needed))
    return Bar(name, rule, measured, needed, holds)


def bars(scores: Sequence[Score]) -> list[Bar]:
    """Every bar that `evaluate run` can measure."""
    return [judged(name, rule, measure(scores), *chain(*limit)) for name, rule, measure, *limit in _TABLE]


Measure = Callable[[Sequence[Score]], float | None]


def _lead(task: str, metric: str, method: str, other: str, *, attribute: str = "", part: str | None = None) -> Measure:
    """By how much the mean of `method` is above that of `other`."""

    def measure(scores: Sequence[Score]) -> float | None:
        one, two = (
            mean(select(scores, task, metric, method=name, attribute=attribute, part=part)) for name in (method, other)
        )
        return None if one is None or two is None else one - two

    return measure


def _rendered(other: str, metric: str = "surface_psnr") -> Measure:
    return _lead("forward", metric, OURS, other, part="scenes")


def _colour(other: str, metric: str = "psnr") -> Measure:
    return _lead("inverse", metric, OURS, other, attribute="basecolor")


def _share(attribute: str, metric: str, *others: str) -> Measure:
    """Our mean error as a share of the lowest among `others`, all of which must be known."""

    def measure(scores: Sequence[Score]) -> float | None:
        ours, *rest = (
            mean(select(scores, "inverse", metric, method=name, attribute=attribute)) for name in (OURS, *others)
        )
        known = [value for value in rest if value is not None]
        return ours / max(min(known), _LEAST_ERROR) if ours is not None and len(known) == len(others) else None

    return measure


def _saved(attribute: str) -> Measure:
    """The share of the RMSE of single frames that video saves."""
    share = _share(attribute, "rmse", ONE_FRAME)
    return lambda scores: None if (left := share(scores)) is None else 1 - left


def _turn(metric: str) -> Measure:
    return lambda scores: mean(select(scores, "turn", metric, method=OURS))


def _relit(method: str, other: str) -> Measure:
    return _lead("relighting", "surface_psnr", method, other)


_TABLE: Sequence[tuple[Any, ...]] = (
    # name, rule, what is measured; and unless it is only reported: (how that has to compare, with what)
    ("base colour", "dB over RGB as base colour", _colour(RGB), (">=", 3.0)),
    ("base colour, oracle", "dB over RGB with the clip's best gain", _colour(RGB_ORACLE), (">", 0.0)),
    ("base colour, both with an oracle's gain", "dB of si-PSNR over RGB", _colour(RGB, "si_psnr")),
    (
        "normals",
        "mean angle, share of the best of ground plane, mean and mean map",
        _share("normal", "mean_angle", PLANE, MEAN, MEAN_MAP),
        ("<=", 0.65),
    ),
    (
        "normals, oracle camera",
        "mean angle, share of the true camera's ground plane",
        _share("normal", "mean_angle", PLANE_ORACLE),
    ),
    (
        "depth",
        "aligned RMSE, share of the better of ground plane and mean map",
        _share("depth", "rmse", PLANE, MEAN_MAP),
        ("<=", 0.75),
    ),
    (
        "depth, oracle camera",
        "aligned RMSE, share of the true camera's ground plane",
        _share("depth", "rmse", PLANE_ORACLE),
    ),
    (
        "metallic",
        "RMSE, share of the better of mean and mean map",
        _share("metallic", "rmse", MEAN, MEAN_MAP),
        ("<=", 0.88),
    ),
    (
        "roughness",
        "RMSE, share of the better of mean and mean map",
        _share("roughness", "rmse", MEAN, MEAN_MAP),
        ("<", 1.0),
    ),
    ("roughness, video against one frame", "share by which video context lowers the RMSE", _saved("roughness")),
    ("metallic, video against one frame", "share by which video context lowers the RMSE", _saved("metallic")),
    ("forward", "dB over SplitSum on SyntheticScenes", _rendered(SPLIT_SUM), (">=", 2.0)),
    ("forward, traced shadows", "dB over SplitSum with traced shadows, which it starts from", _rendered(TRACED)),
    ("cast shadow", "dB over SplitSum on ground in cast shadow", _rendered(SPLIT_SUM, "shadow_psnr"), (">=", 3.0)),
    ("cast shadow, traced shadows", "the same with traced shadows", _rendered(TRACED, "shadow_psnr")),
    ("lit ground", "dB over SplitSum on ground that is not in shadow", _rendered(SPLIT_SUM, "lit_psnr")),
    (
        "shadow turn, true re-render",
        "dB by which the error against it falls when the light turns",
        _turn("turn_gain"),
        (">", 0.0),
    ),
    (
        "shadow turn, unturned render",
        "dB by which the error against it rises when the light turns",
        _turn("turn_parting"),
        (">", 0.0),
    ),
    ("another light", "dB that a wrong environment costs", _rendered(WRONG_LIGHT), (">=", 3.0)),
    ("from the inverse renderer", "dB lost on its G-buffers", _rendered(FROM_INVERSE), ("<=", 3.0)),
    (
        "from the inverse renderer, metered",
        "dB lost on its G-buffers, exposed by what they show",
        _rendered(FROM_INVERSE_METERED),
        ("<=", 3.0),
    ),
    ("light as its mean", "dB that light without direction costs", _rendered(NO_LIGHT)),
    *(
        (name, f"dB over {other}, {exposed}", _relit(method, other), (">", 0.0))
        for name, method, exposed, others in (
            ("relighting", OURS, "at the exposure of the true render", (UNCHANGED, LIGHT_RATIO)),
            ("relighting, metered", METERED, "exposed by what it shows", (UNCHANGED, LIGHT_RATIO_METERED)),
        )
        for other in others
    ),
)
