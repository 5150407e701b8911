"""The bars: what must hold of trained renderers on unseen assets and places, as comparisons between scores.

Every bar states its rule in words, the number measured, the number needed, and whether it holds. A bar whose scores
are missing is "not measured", never passed. Baselines that see the truth (oracles) count only where the rule names
them; against the plane of the true camera the normals are compared as well, as an extra line.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from training.baselines import forward_baselines, inverse_baselines
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


def bars(scores: Sequence[Score]) -> list[Bar]:
    """Every bar that `evaluate run` can measure, in the order of docs/evaluation.md."""
    return [*_inverse(scores), *_forward(scores), *_relighting(scores)]


def lora_bars(look_on: float, look_off: float, clean_after: float, clean_before: float) -> list[Bar]:
    """The LoRA's bars, in PSNR dB, from four runs.

    Args:
        look_on: on the look that only the LoRA was trained on, with the LoRA.
        look_off: the same, with the LoRA off.
        clean_after: on clean synthetic clips after co-training, with the LoRA off.
        clean_before: the same before co-training.
    """
    return [
        at_least("LoRA, held-out look", "gain in dB with the LoRA on", look_on - look_off, 0.0, strict=True),
        at_most("LoRA off, clean synthetic", "change in dB by co-training", abs(clean_after - clean_before), 0.2),
    ]


def at_least(name: str, rule: str, measured: float | None, needed: float, *, strict: bool = False) -> Bar:
    """`measured` has to be `needed` or more; with `strict`, more."""
    holds = None if measured is None else (measured > needed if strict else measured >= needed)
    return Bar(name, rule, measured, needed, holds)


def at_most(name: str, rule: str, measured: float | None, needed: float, *, strict: bool = False) -> Bar:
    """`measured` has to be `needed` or less; with `strict`, less."""
    holds = None if measured is None else (measured < needed if strict else measured <= needed)
    return Bar(name, rule, measured, needed, holds)


def _inverse(scores: Sequence[Score]) -> list[Bar]:
    def of(method: str, attribute: str, metric: str) -> float | None:
        return mean(select(scores, "inverse", metric, method=method, attribute=attribute))

    def ratio(attribute: str, metric: str, *methods: str) -> float | None:
        ours, others = of(OURS, attribute, metric), [of(method, attribute, metric) for method in methods]
        known = [value for value in others if value is not None]
        return ours / max(min(known), _LEAST_ERROR) if ours is not None and len(known) == len(methods) else None

    ours = of(OURS, "basecolor", "psnr")
    return [
        at_least(
            "base colour",
            "dB over RGB as base colour",
            _minus(ours, of(inverse_baselines.RGB, "basecolor", "psnr")),
            3.0,
        ),
        at_least(
            "base colour, oracle",
            "dB over RGB with the clip's best gain",
            _minus(ours, of(inverse_baselines.RGB_ORACLE, "basecolor", "psnr")),
            0.0,
            strict=True,
        ),
        _report(
            "base colour, both with an oracle's gain",
            "dB of si-PSNR over RGB",
            _minus(of(OURS, "basecolor", "si_psnr"), of(inverse_baselines.RGB, "basecolor", "si_psnr")),
        ),
        at_most(
            "normals",
            "mean angle, share of the best of ground plane, mean and mean map",
            ratio("normal", "mean_angle", inverse_baselines.PLANE, inverse_baselines.MEAN, inverse_baselines.MEAN_MAP),
            0.65,
        ),
        _report(
            "normals, oracle camera",
            "mean angle, share of the true camera's ground plane",
            ratio("normal", "mean_angle", inverse_baselines.PLANE_ORACLE),
        ),
        at_most(
            "depth",
            "aligned RMSE, share of the better of ground plane and mean map",
            ratio("depth", "rmse", inverse_baselines.PLANE, inverse_baselines.MEAN_MAP),
            0.75,
        ),
        _report(
            "depth, oracle camera",
            "aligned RMSE, share of the true camera's ground plane",
            ratio("depth", "rmse", inverse_baselines.PLANE_ORACLE),
        ),
        at_most(
            "metallic",
            "RMSE, share of the better of mean and mean map",
            ratio("metallic", "rmse", inverse_baselines.MEAN, inverse_baselines.MEAN_MAP),
            0.88,
        ),
        at_most(
            "roughness",
            "RMSE, share of the better of mean and mean map",
            ratio("roughness", "rmse", inverse_baselines.MEAN, inverse_baselines.MEAN_MAP),
            1.0,
            strict=True,
        ),
        *(
            _report(
                f"{attribute}, video against one frame",
                "share by which video context lowers the RMSE",
                None if (share := ratio(attribute, "rmse", ONE_FRAME)) is None else 1 - share,
            )
            for attribute in ("roughness", "metallic")
        ),
    ]


def _forward(scores: Sequence[Score]) -> list[Bar]:
    def of(method: str, metric: str = "surface_psnr", part: str | None = "scenes") -> float | None:
        return mean(select(scores, "forward", metric, method=method, part=part))

    ours = of(OURS)
    return [
        at_least("forward", "dB over SplitSum on SyntheticScenes", _minus(ours, of(forward_baselines.SPLIT_SUM)), 2.0),
        _report(
            "forward, traced shadows",
            "dB over SplitSum with traced shadows, which the small network starts from",
            _minus(ours, of(forward_baselines.TRACED)),
        ),
        at_least(
            "cast shadow",
            "dB over SplitSum on ground in cast shadow",
            _minus(of(OURS, "shadow_psnr"), of(forward_baselines.SPLIT_SUM, "shadow_psnr")),
            3.0,
        ),
        _report(
            "cast shadow, traced shadows",
            "dB over SplitSum with traced shadows on the same ground",
            _minus(of(OURS, "shadow_psnr"), of(forward_baselines.TRACED, "shadow_psnr")),
        ),
        _report(
            "lit ground",
            "dB over SplitSum on ground that is not in shadow",
            _minus(of(OURS, "lit_psnr"), of(forward_baselines.SPLIT_SUM, "lit_psnr")),
        ),
        at_least(
            "shadow turn, true re-render",
            "dB by which the error against it falls when the light turns",
            mean(select(scores, "turn", "turn_gain", method=OURS)),
            0.0,
            strict=True,
        ),
        at_least(
            "shadow turn, unturned render",
            "dB by which the error against it rises when the light turns",
            mean(select(scores, "turn", "turn_parting", method=OURS)),
            0.0,
            strict=True,
        ),
        at_least("another light", "dB that a wrong environment costs", _minus(ours, of(WRONG_LIGHT)), 3.0),
        at_most("from the inverse renderer", "dB lost on its G-buffers", _minus(ours, of(FROM_INVERSE)), 3.0),
        at_most(
            "from the inverse renderer, metered",
            "dB lost on its G-buffers, exposed by what they show",
            _minus(ours, of(FROM_INVERSE_METERED)),
            3.0,
        ),
        _report("light as its mean", "dB that light without direction costs", _minus(ours, of(NO_LIGHT))),
    ]


def _relighting(scores: Sequence[Score]) -> list[Bar]:
    def of(method: str) -> float | None:
        return mean(select(scores, "relighting", "surface_psnr", method=method))

    given, metered = "dB over {}, at the exposure of the true render", "dB over {}, exposed by what it shows"
    pairs = [
        ("relighting", OURS, forward_baselines.UNCHANGED, given),
        ("relighting", OURS, forward_baselines.LIGHT_RATIO, given),
        ("relighting, metered", METERED, forward_baselines.UNCHANGED, metered),
        ("relighting, metered", METERED, forward_baselines.LIGHT_RATIO_METERED, metered),
    ]
    return [
        at_least(name, rule.format(other), _minus(of(method), of(other)), 0.0, strict=True)
        for name, method, other, rule in pairs
    ]


def _report(name: str, rule: str, measured: float | None) -> Bar:
    return Bar(name, rule, measured, None, None)


def _minus(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one - other
