"""Asking for several candidates and running the one that promises most for its work."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial

from autofreeze.axes import Choice, Range
from autofreeze.delegation import DelegatingSampler
from autofreeze.gains import Observed, expected_gains
from autofreeze.regime import Regime
from autofreeze.results import Ending, TrialResult
from autofreeze.schedule import Schedule
from autofreeze.space import Space

WORK_POWER = 0.25
"""Power of the work by which an expected gain is divided. With 1 cheap schedules are tried and tried again;
see ``docs/frugality.md`` for what was measured."""


@dataclass(frozen=True)
class Frugality:
    """How a trial is chosen among draws."""

    candidates: int
    """Draws, > 1."""

    work: Callable[[Schedule, Regime], float]
    """Forward-equivalents of a run, > 0."""

    examples: float | None = None
    """On which the value of one fold rests, where values are shares of them."""


class FrugalSampler(DelegatingSampler):
    """Any sampler: of several of its draws, that with the highest expected gain per unit of work.

    Args:
        base: The sampler.
        space: Whose axes are drawn.
        how: Among how many draws, and what their work is.
        before: The trials so far.

    Source:
        Dividing the expected improvement by a power of the cost: Snoek, Larochelle and Adams 2012 (arXiv
        1206.2944), Lee and others 2020 (arXiv 2003.10870).
    """

    def __init__(
        self,
        base: optuna.samplers.BaseSampler,
        space: Space,
        how: Frugality,
        before: Sequence[TrialResult],
    ) -> None:
        super().__init__(base)
        self._space = space
        self._how = how
        self._before = before

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Draw several times, and choose; a draw that leaves axes open is taken as it is."""
        first = self._base.sample_relative(study, trial, search_space)
        if first.keys() != self._space.searched.keys():
            return first
        more = (
            self._base.sample_relative(study, trial, search_space) for _ in range(self._how.candidates - 1)
        )
        drawn = [first, *more]
        points = [self._space.build(self._fixed | _suggested(one, search_space)) for one in drawn]
        gains = expected_gains(self._observed(), [schedule for schedule, _ in points])
        work = np.array([self._how.work(*point) for point in points])
        return drawn[int(np.argmax(gains / work**WORK_POWER))]

    @property
    def _fixed(self) -> dict[str, Any]:
        return {name: axis for name, axis in self._space.axes.items() if not isinstance(axis, Range | Choice)}

    def _observed(self) -> list[Observed]:
        """Give what the trials so far were worth; one that failed, or was never run, tells nothing."""
        telling = (Ending.COMPLETE, Ending.UNPROMISING, Ending.UNSTABLE)
        return [
            Observed(one.schedule, one.fold_values, self._how.examples)
            for one in self._before
            if one.ending in telling and (one.fold_values or one.ending is Ending.UNSTABLE)
        ]


def _suggested(drawn: dict[str, Any], axes: dict[str, BaseDistribution]) -> dict[str, Any]:
    """Give a draw as ``suggest_int`` and its kin do: samplers may draw whole numbers as floats."""
    return {
        name: axes[name].to_external_repr(axes[name].to_internal_repr(value)) for name, value in drawn.items()
    }
