"""How much each axis of a space mattered, by PED-ANOVA, and what chance would make of it.

Method: Watanabe, Bansal and Hutter, *PED-ANOVA* (arXiv 2304.10255), as Optuna has it. An axis weighs as much
as the good trials are spread over it otherwise than all of them.
"""

import math
import random
import warnings
from collections.abc import Mapping, Sequence
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
"""Of the complete trials, those that are set apart as good; Optuna wants five at least."""

DEALS = 19
"""How often values are dealt out anew: an axis that does not matter exceeds all of these once in 20 times."""


def importances_of(trials: Sequence[TrialResult], space: Space) -> Importances:
    """Weigh the axes of a space by the complete trials of a search.

    Trials with a point of the space count, baselines among them, each run once. Of trials that have no value
    of an axis it is asked whether they are good, and no more. What chance would give is seen by dealing the
    trials' values out among them anew: a sampler that follows what it has found draws other points later than
    at first, so that chance may give rather more than that.

    Args:
        trials: Of one search.
        space: That they were drawn from.
    """
    axes = space.searched
    told = [one for one in trials if one.ending is Ending.COMPLETE and one.same_as is None and one.params]
    told = [one for one in told if one.value is not None and math.isfinite(one.value)]
    why_none = _why_none(told, axes)
    if why_none:
        return Importances(trials=len(told), why_none=why_none)
    found, by_chance = _Study(told, axes).weigh()
    total = sum(found.values())
    if not (math.isfinite(total) and total > 0):
        return Importances(
            trials=len(told), why_none="the good trials are spread over every axis as all of them are"
        )
    shares = sorted(found.items(), key=lambda item: (-item[1], item[0]))
    return Importances(
        axes=tuple(
            Importance(axis=name, share=weight / total, by_chance=by_chance[name] / total)
            for name, weight in shares
        ),
        trials=len(told),
        good=_good([one.value or 0.0 for one in told]),
    )


def _why_none(told: Sequence[TrialResult], axes: Mapping[str, Axis]) -> str:
    if not axes:
        return "no axis of the space was searched"
    if len(told) < FEWEST:
        one = "is" if len(told) == 1 else "are"
        return (
            f"there {one} {counted(len(told), 'complete trial')} with a point of the space; "
            f"it takes {FEWEST} to say anything"
        )
    if len({one.value for one in told}) == 1:
        return "all complete trials have the same value"
    return ""


def _wanted(n: int) -> int:
    return max(math.ceil(GOOD_SHARE * n - 1e-9), FEWEST_GOOD)


def _good(values: Sequence[float]) -> int:
    """Count the good ones: those that are as good as the last of so many."""
    last = sorted(values, reverse=True)[_wanted(len(values)) - 1]
    return sum(value >= last for value in values)


class _Study:
    """The trials as Optuna knows them."""

    def __init__(self, told: Sequence[TrialResult], axes: Mapping[str, Axis]) -> None:
        self._values = [one.value or 0.0 for one in told]
        self._axes = axes
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._study = optuna.create_study(direction="minimize")
        distributions = {name: _distribution(name, axis) for name, axis in axes.items()}
        self._study.add_trials([_trial(one, axes, distributions) for one in told])
        self._evaluator = PedAnovaImportanceEvaluator(target_quantile=_wanted(len(told)) / len(told) - 1e-9)

    def weigh(self) -> tuple[dict[str, float], dict[str, float]]:
        """Give the weight of each axis, and the most that it had with values dealt out anew."""
        dealt, rng = list(self._values), random.Random(0)
        most = dict.fromkeys(self._axes, 0.0)
        for _ in range(DEALS):
            rng.shuffle(dealt)
            most = {name: max(most[name], weight) for name, weight in self._weights(dealt).items()}
        return self._weights(self._values), most

    def _weights(self, values: Sequence[float]) -> dict[str, float]:
        def less_is_better(trial: FrozenTrial) -> float:
            return -values[trial.number]

        with warnings.catch_warnings():
            # Of the direction, which is right here, and of axes that hardly any trial has a value of.
            warnings.simplefilter("ignore")
            found = self._evaluator.evaluate(self._study, list(self._axes), target=less_is_better)
        return {name: found[name] for name in self._axes}


def _trial(
    one: TrialResult, axes: Mapping[str, Axis], distributions: Mapping[str, BaseDistribution]
) -> FrozenTrial:
    placed = {name: _placed(axis, one.params[name]) for name, axis in axes.items() if name in one.params}
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
