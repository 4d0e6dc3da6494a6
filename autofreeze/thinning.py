"""TPE on a flat space, whose ask does not get slower without end as a study grows."""

from collections.abc import Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from autofreeze.delegation import DelegatingSampler

MOST_SHOWN = 2500
"""Finished trials that a sampler is shown; up to as many it sees all."""

BEST_SHOWN = 25
"""The best ones are always among them: as many as TPE ever takes for the good ones."""

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)


class FlatSampler(DelegatingSampler):
    """A sampler that models all axes jointly, on a space where every trial has all of them, or none.

    So the axes need not be worked out from all trials (``group=True`` does, and draws the same); and of
    more than ``most`` finished trials it is shown the best and an even share of the others.

    Args:
        base: The sampler; it must take what is in ``infer_relative_search_space`` from here.
        most: Finished trials that it is shown.
    """

    def __init__(self, base: optuna.samplers.BaseSampler, most: int = MOST_SHOWN) -> None:
        super().__init__(base)
        self._most = most

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Give the axes of any trial that has finished with some."""
        del trial
        finished = study.get_trials(deepcopy=False, states=FINISHED)
        axes = next((one.distributions for one in finished if one.distributions), {})
        return {name: axis for name, axis in sorted(axes.items()) if not axis.single()}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Draw all axes, from the trials that are shown."""
        return self._base.sample_relative(shown(study, self._most), trial, search_space)


def shown(study: optuna.Study, most: int) -> optuna.Study:
    """Give a study as a sampler is to see it: as it is, or with no more than so many finished trials."""
    trials = study.get_trials(deepcopy=False)
    finished = [one for one in trials if one.state in FINISHED]
    if len(finished) <= most:
        return study
    left_out = {one.number for one in finished} - thinned(finished, study.direction, most)
    kept = [one for one in trials if one.number not in left_out]
    storage = _Shown(study._storage, kept)  # type: ignore[abstract]  # what is abstract is added below
    return optuna.Study(study.study_name, storage=storage)


def thinned(
    finished: Sequence[FrozenTrial], direction: optuna.study.StudyDirection, most: int
) -> frozenset[int]:
    """Choose the finished trials that are shown, by number: the best, and of the others one in so many.

    Args:
        finished: By number; more than ``most``.
        direction: Which way is better.
        most: How many.
    """
    sign = -1.0 if direction is optuna.study.StudyDirection.MAXIMIZE else 1.0

    def place(trial: FrozenTrial) -> float:
        return sign * float(trial.values[0]) if trial.values else 0.0

    feasible = [
        one
        for one in finished
        if one.state is TrialState.COMPLETE and all(value <= 0 for value in one.constraints.values())
    ]
    best = {one.number for one in sorted(feasible, key=place)[: min(BEST_SHOWN, most)]}
    others = [one.number for one in finished if one.number not in best]
    room = most - len(best)
    return frozenset(best | {others[(turn * len(others)) // room] for turn in range(room)})


class _Shown(BaseStorage):
    """A study's storage in which some trials cannot be seen; all else is the storage's own."""

    def __init__(self, storage: BaseStorage, kept: list[FrozenTrial]) -> None:
        self._storage = storage
        self._kept = kept

    def get_all_trials(self, study_id: int, deepcopy: bool = True, states: Any = None) -> list[FrozenTrial]:
        """Give the trials that can be seen; copies of none are ever asked for."""
        del study_id, deepcopy
        return [one for one in self._kept if states is None or one.state in states]


def _of_the_storage(name: str) -> Any:
    def call(self: _Shown, *given: Any, **named: Any) -> Any:
        return getattr(self._storage, name)(*given, **named)

    return call


for _name in BaseStorage.__abstractmethods__ - {"get_all_trials"}:
    setattr(_Shown, _name, _of_the_storage(_name))
_Shown.__abstractmethods__ = frozenset()
