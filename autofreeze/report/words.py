"""Schedules and outcomes in words."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from autofreeze.recipes import name_of
from autofreeze.results import Ending, StudyResult, TrialResult
from autofreeze.schedule import Schedule, format_rate

RECIPE_WORDS = {
    "linear_probe": "train the head alone",
    "full": "train everything from the start",
    "frozen_stem": "train everything but {frozen} from the start",
    "last_groups": "train {trained} from the start, the rest frozen",
    "lp_ft": "train the head alone for {warmup} epochs, then {trained}",
    "gradual": "train the head alone for {warmup} epochs, then thaw {trained} step by step",
    "one_block": "train the head and {trained} alone",
    "chain_thaw": "train the head, then each group alone, then everything",
}


def sentence(schedule: Schedule) -> str:
    """Say in one sentence what a schedule does."""
    recipe = name_of(schedule)
    ever = [any(phase.lrs[column] for phase in schedule.phases) for column in range(len(schedule.groups))]
    backbone = schedule.groups[:-1]
    trained = [name for name, trains in zip(backbone, ever, strict=False) if trains]
    frozen = [name for name, trains in zip(backbone, ever, strict=False) if not trains]
    if recipe == "gradual" and schedule.warmup_epochs == 0:
        words = f"train from the head down, thawing {_names(trained, backbone)} step by step"
    else:
        words = RECIPE_WORDS.get(recipe, "train as the table says").format(
            frozen=_names(frozen, backbone),
            trained=_names(trained, backbone),
            warmup=f"{schedule.warmup_epochs:g}",
        )
    return f"{words}, {_rates(schedule)}, {schedule.curve_words}, {schedule.epochs:g} epochs"


def _names(names: list[str], backbone: tuple[str, ...]) -> str:
    if len(names) == len(backbone):
        return "everything"
    if len(names) > 1:
        return f"{names[0]} to {names[-1]}"
    return names[0] if names else "nothing"


def _rates(schedule: Schedule) -> str:
    head = {phase.lrs[-1] for phase in schedule.phases if phase.lrs[-1]}
    backbone = {lr for phase in schedule.phases for lr in phase.lrs[:-1] if lr}
    named = {"head": head, "backbone": backbone}
    return ", ".join(f"{name} at {_span(rates)}" for name, rates in named.items() if rates)


def _span(rates: set[float]) -> str:
    low, high = min(rates), max(rates)
    return format_rate(low) if low == high else f"{format_rate(low)} to {format_rate(high)}"


def endings(trials: tuple[TrialResult, ...]) -> str:
    """Count trials by how they ended: ``14 complete, 6 pruned (unpromising), 1 failed``."""
    counts = Counter(trial.ending for trial in trials)
    return ", ".join(f"{counts[ending]} {ending.value}" for ending in Ending if counts[ending])


def points(difference: float) -> str:
    """Write a difference of shares in percentage points, with its sign."""
    return f"{100 * difference:+.1f}"


def standard_error(value: float, n: int) -> float:
    """Binomial standard error of a share of ``n`` images."""
    return float((max(value * (1 - value), 0.0) / n) ** 0.5) if n else float("nan")


def conditions(data: Mapping[str, Any], backbone: Mapping[str, Any]) -> list[str]:
    """Say on which images and from which weights a search starts, and who decided the preprocessing.

    Args:
        data: ``StudyResult.data``.
        backbone: ``StudyResult.backbone``.
    """
    counts = ", ".join(f"{count:,} {part}" for part, count in data["images"].items() if count)
    folds = data["folds"]
    scored = sum(fold["val"] for fold in folds)
    rounds = f"{len(folds)} {'fold' if len(folds) == 1 else 'folds'}, training on {folds[0]['train']:,}"
    values, origins = backbone["preprocessing"], backbone["preprocessing_from"]
    chosen = ", ".join(f"{name} {_short(value)} ({origins.get(name, '?')})" for name, value in values.items())
    return [
        f"data: {data['name']}, {len(data['classes'])} classes, images: {counts}; each trial is scored on "
        f"{scored:,} images in {rounds}",
        f"backbone: {backbone['model']}, {backbone['source']}; {backbone['coverage']}",
        f"preprocessing: {chosen}",
    ]


def _short(value: object) -> str:
    if isinstance(value, list | tuple):
        return str(value[0]) if len(set(value)) == 1 else ",".join(str(part) for part in value)
    return str(value)


def verdict(result: StudyResult) -> str:
    """Say what the search found in one line, as surely as it may be said."""
    best = result.best
    if best is None:
        return "no trial was completed, so there is no best schedule"
    return f"best schedule found (unconfirmed): {sentence(best.schedule)}"
