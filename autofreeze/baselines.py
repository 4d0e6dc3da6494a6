"""Baselines: the schedules that people use without a search. They are members of every study.

Enqueued first, so that no report can lose to an untested default; a fifth of the trials at most, so that a
short search still searches.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from autofreeze.axes import Choice, Range
from autofreeze.regime import OptimizerName
from autofreeze.space import Space

SGD_FACTOR = 30.0
"""SGD with momentum wants rates about this much higher than AdamW (ranges in arXiv 2211.09359)."""

BASELINE_SHARE = 0.2
"""Share of a search's trials that may go to baselines."""


@dataclass(frozen=True)
class Baseline:
    """A schedule as usually run, as a point of the flat space."""

    name: str
    words: str
    """What it does, for a report."""

    params: Mapping[str, Any]
    """Axes of the flat space; those left out do not matter to it."""


def baselines(n_backbone: int, epochs: float, optimizer: OptimizerName = "adamw") -> tuple[Baseline, ...]:
    """Give the baselines for a backbone and a length of run, the one that no report can do without first.

    A short search has the first few alone. First what people choose between without a search, the head alone
    and everything; then both one after the other at plain rates (LP-FT) and as fastai's users have it; then
    layer-wise decay, the usual default for transformers; then the shapes that are rarely anybody's default.

    Args:
        n_backbone: Layer groups below the head, >= 1.
        epochs: Length of the run.
        optimizer: Rates are for AdamW at about 32 images a step, and 30 times that for SGD.

    Source:
        fastai's ``fine_tune`` (one frozen epoch, backbone ÷100); LP-FT, arXiv 2202.10054; layer-wise
        decay .75, arXiv 2111.06377; gradual unfreezing with ÷2.6 a group, ULMFiT, arXiv 1801.06146; frozen
        stem, arXiv 2211.09359. 1e-3 is AdamW's own default in torch; a head alone bears 3e-3.
    """
    factor = SGD_FACTOR if optimizer == "sgd" else 1.0
    last = max(n_backbone - 1, 0)
    at_once = {
        "warmup_epochs": 0.0,
        "unfreeze_every": 0.0,
        "freeze_stem": False,
        "unfreeze_depth": n_backbone,
    }
    points: list[tuple[str, str, float, dict[str, Any]]] = [
        ("linear_probe", "the head alone", 3e-3, {"unfreeze_depth": 0}),
        (
            "full", "everything from the start at one rate", 1e-3,
            {"rates": "one", "backbone_ratio": 1.0},
        ),
        (
            "lp_ft", "a fifth of the run head only, then everything, the backbone at 1/10", 3e-3,
            {"warmup_epochs": 0.2 * epochs, "rates": "one", "backbone_ratio": 0.1},
        ),
        (
            "fastai", "one frozen epoch, then everything, the backbone at 1/100", 1e-3,
            {"warmup_epochs": min(1.0, epochs / 2), "rates": "one", "backbone_ratio": 0.01},
        ),
        (
            "full_decay", "everything from the start, each group down at 0.75 of the one above", 1e-3,
            {"rates": "decay", "backbone_ratio": 0.75, "depth_ratio": 0.75**last},
        ),
        (
            "last_block", "the head and the last backbone group from the start", 1e-3,
            {"rates": "one", "backbone_ratio": 1.0, "unfreeze_depth": 1},
        ),
        (
            "gradual", "one more group at a time over the run, each at 1/2.6 of the one above", 3e-3,
            {
                "rates": "decay", "backbone_ratio": 1 / 2.6, "depth_ratio": max(2.6**-last, 0.01),
                "unfreeze_every": epochs / (n_backbone + 1), "warmup_epochs": epochs / (n_backbone + 1),
            },
        ),
        (
            "frozen_stem", "everything but the stem from the start at one rate", 1e-3,
            {"rates": "one", "backbone_ratio": 1.0, "freeze_stem": True},
        ),
    ]  # fmt: skip
    return tuple(
        Baseline(name, words, {**at_once, "head_lr": head_lr * factor, **params})
        for name, words, head_lr, params in points
    )


BASELINES = tuple(one.name for one in baselines(1, 1.0))
"""Their names, in order: the same for every backbone and length of run."""


def baseline_quota(trials: int) -> int:
    """Give how many of a search's trials may be baselines: a fifth, and one at least.

    Args:
        trials: Trials of the search in all, >= 1.
    """
    return max(1, int(trials * BASELINE_SHARE + 1e-9))


def with_rate(baseline: Baseline, head_lr: float) -> Baseline:
    """Give a baseline at another rate: the head's; those of the backbone keep their ratios to it."""
    return replace(baseline, params={**baseline.params, "head_lr": head_lr})


def tuned_rate(space: Space, turn: int) -> float:
    """Give the rates by which baselines are tuned: evenly spread over the logarithm, the gaps filled in turn.

    They reach from a tenth of the lowest head rate of the space to the highest: a backbone that trains at
    the head's rate wants lower ones than a head alone.

    Args:
        space: Whose head rates are taken; a fixed one is taken ten times lower and higher.
        turn: From 0.

    Returns:
        A rate, three digits.

    Source:
        The golden-ratio sequence, whose first n points leave no gap much wider than 1/n (Weyl sequence).
    """
    axis = space.axes["head_lr"]
    low, high = (
        (float(axis.low), float(axis.high)) if isinstance(axis, Range) else (_rate(axis), 10 * _rate(axis))
    )
    low /= 10
    share = (0.5 + turn * (math.sqrt(5) - 1) / 2) % 1
    return float(f"{low * (high / low) ** share:.3g}")


def _rate(axis: object) -> float:
    """Give the rate of an axis that is no range; the geometric middle of a list."""
    options = axis.options if isinstance(axis, Choice) else (axis,)
    return math.exp(sum(math.log(float(str(option))) for option in options) / len(options))
