"""How far a search reached: winners at the end of a range, and what was not searched at all."""

import math
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from autofreeze.axes import LOOP_AXES, REGIME_AXES, SCHEDULE_AXES, WHOLE_AXES, Axis, Choice, Range
from autofreeze.baselines import BASELINES, baseline_quota
from autofreeze.confirmation import Arm, arm_of
from autofreeze.errors import ConfigError
from autofreeze.job import settings_digest
from autofreeze.phrases import counted, listed
from autofreeze.results import Ending, StudyResult, TrialResult
from autofreeze.schedule import format_rate
from autofreeze.space import Space, SpaceSpec
from autofreeze.views import crops

NEAR = 0.05
"""Share of a range, of its logarithm where it is drawn on one, that counts as its end."""

NATURAL_ONE = ("backbone_ratio", "depth_ratio", "group_offset")
"""Ratios, of which 1 is where two rates are equal: no range has to reach beyond it."""

ARM_WORDS: dict[Arm, str] = {"freeze_first": "freezes first", "at_once": "trains the backbone at once"}
FEWEST_RATES = 3
"""Rates by which a baseline was tuned, from which on the highest and the lowest are ends."""


def space_of(result: StudyResult) -> Space | None:
    """Give the space that a search drew from, resolved; None where the result does not hold it."""
    spec, epochs = result.settings.get("space"), result.settings.get("epochs")
    if not isinstance(spec, dict) or epochs is None or not result.trials:
        return None
    try:
        return SpaceSpec.model_validate(spec).resolve(result.trials[0].schedule.groups, float(epochs))
    except (ConfigError, ValidationError):
        return None


def at_edge(result: StudyResult) -> tuple[str, ...]:
    """Warn of each axis at whose end the best schedule lies, so that something better may lie beyond.

    Ends beyond which nothing lies are none: no head-only epochs, the whole backbone, a ratio of 1. Neither
    are axes that make no difference to this schedule.
    """
    best, space = result.best, space_of(result)
    if best is None or space is None:
        return ()
    if best.tuned:
        return _at_edge_of_tuning(result, best)
    lines = []
    for name, axis in space.searched.items():
        if isinstance(axis, Range) and name in best.params and _matters(space, best.params, name, axis):
            value, low, high = float(best.params[name]), float(axis.low), float(axis.high)
            end = _end(value, low, high, log=axis.log, stepped=axis.step is not None)
            if end is not None and not _is_natural(name, end, space):
                side, beyond = ("lower", "lower") if end == low else ("upper", "higher")
                lines.append(
                    f"{name} {_shown(name, value)} lies at the {side} end of the range searched, "
                    f"{_shown(name, low)} to {_shown(name, high)}: {beyond} may be better"
                )
    return tuple(lines)


def _end(value: float, low: float, high: float, *, log: bool, stepped: bool) -> float | None:
    """Give the end of the range at which a value lies; None when it lies between."""
    share = math.log(value / low) / math.log(high / low) if log else (value - low) / (high - low)
    near = 1e-9 if stepped else NEAR
    return low if share <= near else high if share >= 1 - near else None


def _is_natural(name: str, end: float, space: Space) -> bool:
    whole = {"unfreeze_depth": space.n_backbone, "block": space.n_backbone - 1}
    return end == 0 or end == whole.get(name) or (end == 1 and name.startswith(NATURAL_ONE))


def _matters(space: Space, params: Mapping[str, Any], name: str, axis: Range) -> bool:
    """Whether another value on this axis would be another training."""
    end = float(axis.low if params[name] != axis.low else axis.high)
    other = int(end) if name in WHOLE_AXES else end
    return settings_digest(*space.build(params)) != settings_digest(*space.build({**params, name: other}))


def _at_edge_of_tuning(result: StudyResult, best: TrialResult) -> tuple[str, ...]:
    rates = {_head_lr(one) for one in result.trials if one.tuned and one.baseline == best.baseline}
    own = _head_lr(best)
    if len(rates) < FEWEST_RATES or own not in (min(rates), max(rates)):
        return ()
    which, beyond = ("lowest", "lower") if own == min(rates) else ("highest", "higher")
    return (
        f"the head's rate {format_rate(own)} is the {which} of {len(rates)} by which {best.baseline} was "
        f"tuned: {beyond} may be better",
    )


def _head_lr(trial: TrialResult) -> float:
    return trial.schedule.phases[-1].lrs[-1] or 0.0


def _shown(name: str, value: float) -> str:
    return format_rate(value) if name.endswith("_lr") else f"{value:.3g}"


# What was not searched


def not_searched(result: StudyResult) -> tuple[str, ...]:
    """Say what the answer does not cover, a line for each kind of thing."""
    space = space_of(result)
    lines = [*_arms_missing(result), *_too_dear(result), *_baselines_missing(result), *_not_tuned(result)]
    if space is not None:
        if fixed := _fixed(space, own=result.kind == "own"):
            lines.append(f"held fixed: {', '.join(fixed)}")
        shapes = {"flat": "one block alone, chain-thaw", "one_block": "more than one block, chain-thaw"}
        lines.append(f"other shapes: {shapes.get(space.spec.shape, 'all others')}")
    return (*lines, _one_of_each(result))


def _arms_missing(result: StudyResult) -> list[str]:
    complete = {arm_of(one.schedule) for one in result.trials if one.ending is Ending.COMPLETE}
    lines = []
    for arm, words in ARM_WORDS.items():
        run = sum(arm_of(one.schedule) == arm for one in result.searched)
        if arm not in complete:
            lines.append(f"no schedule that {words} was completed" + (f", of {run} tried" if run else ""))
    return lines


def _too_dear(result: StudyResult) -> list[str]:
    dear = sum(one.ending is Ending.TOO_DEAR for one in result.trials)
    limit = result.settings.get("max_cost")
    work = result.settings.get("trial_work")
    allowed = [] if limit is None else [f"{limit:g} times full fine-tuning"]
    allowed += [] if work is None else [f"{work:,.0f} forward-equivalents a trial"]
    if not dear or not allowed:
        return []
    return [f"{counted(dear, 'draw')} over the cost allowed, {' and '.join(allowed)}, not run"]


def _baselines_missing(result: StudyResult) -> list[str]:
    run = {one.baseline for one in result.baselines}
    missing = [name for name in BASELINES if name not in run]
    quota = baseline_quota(int(result.settings.get("trials", 1)))
    why = ", since a fifth of the trials at most goes to baselines" if len(run) >= quota else ""
    return [f"baselines not run: {', '.join(missing)}{why}"] if missing else []


def _not_tuned(result: StudyResult) -> list[str]:
    tuned = {one.baseline for one in result.trials if one.tuned}
    usual = [one.baseline for one in result.baselines if one.baseline and one.baseline not in tuned]
    if not usual:
        return []
    way_out = "tune_baselines" if result.kind == "own" else "--tune-baselines"
    return [f"baselines at their usual rate alone, untuned: {listed(usual)} ({way_out})"]


def _fixed(space: Space, *, own: bool) -> list[str]:
    """Name the axes that were not searched, with their values, as a space file has them.

    What a training of the user's own does about the axes of a loop is its own business.
    """
    rates = space.axes.get("rates")
    by_group = "per_group" in (rates.options if isinstance(rates, Choice) else (rates,))
    decays = "decay" in (rates.options if isinstance(rates, Choice) else (rates,))
    regime = space.fixed_regime
    found = []
    for name in (*SCHEDULE_AXES[space.spec.shape], *REGIME_AXES):
        idle = {
            "group_offset": True,
            **dict.fromkeys(LOOP_AXES if own else (), True),
            "depth_ratio": not decays and not by_group,
            "momentum": regime.optimizer == "adamw" and "optimizer" not in space.searched,
            "erase": not crops(regime.views) and "views" not in space.searched,
        }
        if name in space.searched or idle.get(name, False):
            continue
        value: Axis = space.axes.get(name, getattr(regime, name, ""))
        if not isinstance(value, Range | Choice):
            found.append(f"{name} {_plain(value)}")
    return found


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:g}" if isinstance(value, int | float) else str(value)


def _one_of_each(result: StudyResult) -> str:
    size = result.backbone.get("preprocessing", {}).get("image_size")
    epochs = result.settings.get("epochs")
    if result.kind == "own":
        return f"one training, one length ({float(epochs or 0):g} epochs)"
    told = ["one backbone"]
    if size:
        told.append(f"one image size ({size} px)")
    if epochs:
        told.append(f"one length ({float(epochs):g} epochs)")
    return f"{', '.join(told)}, no augmentation but the views"
