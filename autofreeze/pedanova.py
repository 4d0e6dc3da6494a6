"""How much each axis of a space mattered, by PED-ANOVA, and what chance would make of it.

Method: Watanabe, Bansal and Hutter, *PED-ANOVA* (arXiv 2304.10255), as Optuna has it. An axis weighs as much
as the good trials are spread over it otherwise than all of them.
"""

import math
import random
import warnings
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.importance import PedAnovaImportanceEvaluator
from optuna.trial import FrozenTrial, create_trial

from autofreeze.axes import WHOLE_AXES, Choice, Range
from autofreeze.importance import Importance, Importances
from autofreeze.phrases import counted
from autofreeze.results import Ending, TrialResult
from autofreeze.space import Space

Axis = Range | Choice

FEWEST = 10
"""Complete trials below which nothing is said."""

GOOD_SHARE, FEWEST_GOOD = 0.1, 5
"""Of all trials, those that are set apart as good; Optuna wants five at least."""

PRUNED = (Ending.UNPROMISING, Ending.UNSTABLE)

DEALS = 19
"""How often values are dealt out anew: an axis that does not matter exceeds all of these once in 20 times."""


def importances_of(trials: Sequence[TrialResult], space: Space) -> Importances:
    """Weigh the axes of a space by how the good trials of a search lie in it, beside all.

    Trials with a point of the space count, baselines among them, each run once. Pruned ones are none of the
    good: without them, what the pruner has sorted out already would seem not to matter. Of trials that have
    no value of an axis it is asked whether they are good, and no more.

    What chance would give is seen by dealing the trials' values out among them anew: a sampler that follows
    what it has found draws other points later than at first, so that chance may give rather more than that.

    Args:
        trials: Of one search.
        space: That they were drawn from.
    """
    axes = space.searched
    own = [one for one in trials if one.same_as is None and one.params]
    values = {one.number: one.value for one in own if one.ending is Ending.COMPLETE}
    told = {number: value for number, value in values.items() if value is not None and math.isfinite(value)}
    pruned = [one.number for one in own if one.ending in PRUNED]
    counted_in = {"trials": len(told), "pruned": len(pruned)}
    why_none = _why_none(told.values(), axes, n_pruned=len(pruned))
    if why_none:
        return Importances(**counted_in, why_none=why_none)
    told |= dict.fromkeys(pruned, min(told.values()) - 1.0)
    good = _good(list(told.values()), complete=counted_in["trials"])
    points = [one.params for one in own if one.number in told]
    found, by_chance = _Study(points, axes, good).weigh(
        [told[one.number] for one in own if one.number in told]
    )
    total = sum(found.values())
    if not (math.isfinite(total) and total > 0):
        return Importances(
            **counted_in, why_none="the good trials are spread over every axis as all of them are"
        )
    shares = sorted(found.items(), key=lambda item: (-item[1], item[0]))
    return Importances(
        axes=tuple(
            Importance(axis=name, share=weight / total, by_chance=by_chance[name] / total)
            for name, weight in shares
        ),
        **counted_in,
        good=good,
    )


def _why_none(told: Collection[float], axes: Mapping[str, Axis], *, n_pruned: int) -> str:
    if not axes:
        return "no axis of the space was searched"
    if len(told) < FEWEST:
        one = "is" if len(told) == 1 else "are"
        return (
            f"there {one} {counted(len(told), 'complete trial')} with a point of the space; "
            f"it takes {FEWEST} to say anything"
        )
    if len(set(told)) == 1 and not n_pruned:
        return "all complete trials have the same value"
    return ""


def _good(values: Sequence[float], complete: int) -> int:
    """Count the good ones: those that are as good as the last of so many."""
    wanted = min(max(math.ceil(GOOD_SHARE * len(values) - 1e-9), FEWEST_GOOD), complete)
    last = sorted(values, reverse=True)[wanted - 1]
    return sum(value >= last for value in values)


class _Study:
    """The trials as Optuna knows them."""

    def __init__(self, points: Sequence[Mapping[str, Any]], axes: Mapping[str, Axis], good: int) -> None:
        self._axes = axes
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._study = optuna.create_study(direction="minimize")
        distributions = {name: _distribution(name, axis) for name, axis in axes.items()}
        self._study.add_trials([_trial(one, axes, distributions) for one in points])
        self._evaluator = PedAnovaImportanceEvaluator(target_quantile=good / len(points) - 1e-9)

    def weigh(self, values: Sequence[float]) -> tuple[dict[str, float], dict[str, float]]:
        """Give the weight of each axis, and the most that it had with values dealt out anew.

        Args:
            values: Of the points, in their order.
        """
        dealt, rng = list(values), random.Random(0)
        most = dict.fromkeys(self._axes, 0.0)
        for _ in range(DEALS):
            rng.shuffle(dealt)
            most = {name: max(most[name], weight) for name, weight in self._weights(dealt).items()}
        return self._weights(values), most

    def _weights(self, values: Sequence[float]) -> dict[str, float]:
        def less_is_better(trial: FrozenTrial) -> float:
            return -values[trial.number]

        with warnings.catch_warnings():
            # Of the direction, which is right here, and of axes that hardly any trial has a value of.
            warnings.simplefilter("ignore")
            found = self._evaluator.evaluate(self._study, list(self._axes), target=less_is_better)
        return {name: found[name] for name in self._axes}


def _trial(
    point: Mapping[str, Any], axes: Mapping[str, Axis], distributions: Mapping[str, BaseDistribution]
) -> FrozenTrial:
    placed = {name: _placed(axis, point[name]) for name, axis in axes.items() if name in point}
    params = {name: value for name, value in placed.items() if value is not None}
    return create_trial(
        value=0.0, params=params, distributions={name: distributions[name] for name in params}
    )


def _placed(axis: Axis, value: Any) -> Any | None:
    """Give a value as Optuna takes it, on the axis's grid to the bit; None where it lies beyond the axis."""
    if isinstance(axis, Choice):
        return value if value in axis.options else None
    low, high = float(axis.low), float(axis.high)
    if not low <= value <= high:
        return None
    return min(low + axis.step * round((value - low) / axis.step), high) if axis.step else value


def _distribution(name: str, axis: Axis) -> BaseDistribution:
    """Give an axis as ``Space.suggest`` draws it."""
    if isinstance(axis, Choice):
        return CategoricalDistribution(axis.options)
    low, high = float(axis.low), float(axis.high)
    if name in WHOLE_AXES:
        return IntDistribution(int(low), int(high), step=int(axis.step or 1), log=axis.log)
    return FloatDistribution(low, high, step=axis.step, log=axis.log)
