"""A schedule without a search: the best default for how many images there are, how even, and which backbone.

A rule of four branches, each with its evidence and how sure it is. Nothing is tried out.
"""

import statistics
from collections.abc import Collection, Sequence
from typing import Any, Literal

from autofreeze.errors import ConfigError
from autofreeze.recipes import gradual
from autofreeze.regime import Regime
from autofreeze.schedule import Schedule, format_rate
from autofreeze.values import Value

Family = Literal["batch_norm", "other"]
"""Nets with BatchNorm (most convolutional ones), and the rest: transformers, ConvNeXt, nets without norms."""

Certainty = Literal["measured", "papers", "convention"]
"""Measured here on real photos; taken from papers; or a usual value that nobody has questioned here."""

FEW, SOME = 10, 50
"""Training images in the median class: below the first only the head trains, below the second half."""

UNEVEN = 3.0
"""The largest class over the smallest, above which classes are weighed; as for the metric ``auto``."""

PROBE_LR, FULL_LR, UPPER_LR = 3e-3, 1e-3, 5e-5
"""With AdamW at 32 images a step: a head alone, a whole net, the highest backbone group without BatchNorm."""

WARMUP_SHARE = 0.2
"""Without BatchNorm: share of the run in which only the head trains."""

STEM_RATIO = 0.04
"""Without BatchNorm: rate of the stem over the highest backbone group's; 0.75 a layer over 12 layers."""


class Reason(Value):
    """Why a branch of the rule was taken."""

    choice: str
    """What was chosen."""

    evidence: str
    certainty: Certainty

    def __str__(self) -> str:
        return f"{self.choice}: {self.evidence} ({self.certainty})"


RESTS = Reason(
    choice="AdamW, 32 images a step, weight decay 0.01, flips, one cosine over the run",
    evidence="the defaults of a search, under which the rates above were found",
    certainty="convention",
)


class Suggestion(Value):
    """A schedule and a regime that nobody has tried on these images."""

    schedule: Schedule
    regime: Regime
    reasons: tuple[Reason, ...]


def family_of(tensors: Collection[str]) -> Family:
    """Tell nets with BatchNorm from the rest, by the names of a backbone's tensors."""
    return "batch_norm" if any(name.endswith("running_mean") for name in tensors) else "other"


def suggest(
    class_counts: Sequence[int], groups: Sequence[str], epochs: float, *, family: Family = "batch_norm"
) -> Suggestion:
    """Suggest a schedule and a regime.

    More images in any class never give a shallower depth.

    Args:
        class_counts: Training images of each class, every one >= 1.
        groups: Column names, stem first, head last; at least one below the head.
        epochs: Length of the run, > 0.
        family: See :func:`family_of`.

    Raises:
        ConfigError: There is no class or a class without images, no backbone group, or no length.
    """
    problems = []
    if not class_counts or min(class_counts) < 1:
        problems.append(f"class_counts: got {list(class_counts)}; must be one number >= 1 for each class")
    if len(groups) < 2:
        problems.append(f"groups: got {', '.join(groups) or 'none'}; must be a backbone group and the head")
    if not 0 < epochs <= 100_000:
        problems.append(f"epochs: got {epochs:g}; must be above zero")
    if problems:
        raise ConfigError(problems)
    n_backbone = len(groups) - 1
    depth, depth_reason = _depth(statistics.median(class_counts), n_backbone)
    rates, rates_reason = _rates(family, depth, n_backbone)
    warmup, warmup_reason = _warmup(family, depth, epochs)
    class_weights, weights_reason = _class_weights(class_counts)
    schedule = gradual(groups, epochs, unfreeze_depth=depth, warmup_epochs=warmup, **rates)
    reasons = (depth_reason, rates_reason, *warmup_reason, weights_reason, RESTS)
    return Suggestion(schedule=schedule, regime=Regime(class_weights=class_weights), reasons=reasons)


def _depth(per_class: float, n_backbone: int) -> tuple[int, Reason]:
    """Say how many backbone groups train, by the median class."""
    size = f"{per_class:g} training images in the median class"
    if per_class < FEW:
        return 0, Reason(
            choice=f"the head alone, for {size} (under {FEW})",
            evidence="with 5 a class the upper half changed −0.1 ± 1.2 points, the whole net −2.8 ± 1.6 (8 "
            "pairs)",
            certainty="measured",
        )
    if per_class < SOME:
        depth = -(-n_backbone // 2)
        return depth, Reason(
            choice=f"the upper {depth} of {n_backbone} backbone groups, for {size} (under {SOME})",
            evidence="with 20 a class +2.9 ± 2.2 points over the head alone, +1.7 ± 2.2 over the whole net "
            "(6 pairs): within noise",
            certainty="measured",
        )
    return n_backbone, Reason(
        choice=f"everything, for {size}",
        evidence="on 2,004 photos in 6 classes it was worth 9 points over the head alone; on 244 in 2 "
        "classes nothing could be told from noise",
        certainty="measured",
    )


def _rates(family: Family, depth: int, n_backbone: int) -> tuple[dict[str, Any], Reason]:
    """Give the rates of what trains; a group has the same one whatever the depth."""
    if depth == 0:
        return {"head_lr": PROBE_LR}, Reason(
            choice=f"{format_rate(PROBE_LR)} for the head",
            evidence="the usual rate of a linear probe here; others were not compared",
            certainty="convention",
        )
    if family == "batch_norm":
        return {"head_lr": FULL_LR, "backbone_ratio": 1.0, "rates": "one"}, Reason(
            choice=f"{format_rate(FULL_LR)} for all that trains, since the net has BatchNorm",
            evidence="MobileNetV2: 6 to 7 points above a backbone at 1e-4 or 3e-4 on 2,004 photos, 8.2 ± 2.2 "
            "above 3e-4 on few (8 pairs)",
            certainty="measured",
        )
    decay = STEM_RATIO ** (1 / max(n_backbone - 1, 1))
    upper = format_rate(UPPER_LR)
    return {
        "head_lr": FULL_LR,
        "backbone_ratio": UPPER_LR / FULL_LR,
        "rates": "decay",
        "depth_ratio": decay ** (depth - 1),
    }, Reason(
        choice=f"{format_rate(FULL_LR)} for the head, {upper} for the highest backbone group, each further "
        f"down at {decay:.2g} of the one above, since the net has no BatchNorm",
        evidence="CLIP's ViT-B broke down at 1e-4 (arXiv 2211.09359); a decay of 0.65 to 0.9 a layer is "
        "usual (arXiv 2111.06377)",
        certainty="papers",
    )


def _warmup(family: Family, depth: int, epochs: float) -> tuple[float, tuple[Reason, ...]]:
    """Give the head-only epochs at the start."""
    if depth == 0:
        return 0.0, ()
    if family == "batch_norm":
        reason = Reason(
            choice="no head-only phase",
            evidence="at equal rates it changed +0.2 ± 1.7 points on few images (8 pairs)",
            certainty="measured",
        )
        return 0.0, (reason,)
    warmup = WARMUP_SHARE * epochs
    reason = Reason(
        choice=f"the head alone for the first {warmup:g} epochs",
        evidence="LP-FT gave +1 % over full fine-tuning on data of the same kind and +10 % beyond it "
        "(arXiv 2202.10054)",
        certainty="papers",
    )
    return warmup, (reason,)


def _class_weights(class_counts: Sequence[int]) -> tuple[Literal["none", "balanced"], Reason]:
    """Whether classes are weighed, by the largest over the smallest."""
    ratio = max(class_counts) / min(class_counts)
    size = f"the largest class has {ratio:.1f} times the images of the smallest"
    if ratio <= UNEVEN:
        return "none", Reason(
            choice=f"no class weights, since {size}",
            evidence=f"weights change little up to about {UNEVEN:g} times",
            certainty="convention",
        )
    return "balanced", Reason(
        choice=f"balanced class weights, since {size}",
        evidence="with one of 6 classes at a tenth they were worth 5 points of balanced accuracy when the "
        "whole net trained, and nothing when the head alone did",
        certainty="measured",
    )
