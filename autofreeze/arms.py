"""The two arms of a search, freezing first or training at once: each gets at least a third of the trials.

Otherwise a sampler that meets a few good schedules of one kind hardly tries the other, and the answer to
*freeze first or not* compares many draws with few.
"""

from collections.abc import Mapping
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial

from autofreeze.axes import Choice, Range
from autofreeze.confirmation import Arm
from autofreeze.delegation import DelegatingSampler
from autofreeze.seeds import derive
from autofreeze.space import Space

WARMUP, DEPTH = "warmup_epochs", "unfreeze_depth"


def arms_of(space: Space) -> tuple[Arm, ...]:
    """Which arms a space reaches, when it searches both; one alone, or none, leaves nothing to share out.

    The arm hangs on two axes: the head-only epochs, and the depth, of which 0 is a head alone.
    """
    warmup = space.axes.get(WARMUP, 0.0)
    depth = space.axes.get(DEPTH, 1)
    found: list[Arm] = []
    if _values(warmup, above_zero=True):
        found.append("freeze_first")
    if _values(warmup, above_zero=False) and _values(depth, above_zero=True):
        found.append("at_once")
    return tuple(found)


def arm_wanted(counts: Mapping[Arm, int], asked: int) -> Arm | None:
    """Give the arm that the next trial must belong to, so that each keeps a third; None when either may come.

    Args:
        counts: Trials of each arm so far.
        asked: Trials so far, those counted included.
    """
    behind = [arm for arm, count in counts.items() if 3 * count < asked + 1]
    return min(behind, key=lambda arm: counts[arm], default=None)


class ArmSampler(DelegatingSampler):
    """Any sampler, its draws moved into one arm.

    Of what the sampler draws, only the head-only epochs and the depth are changed, and only where they do
    not belong to the arm: to none at all, or to a drawn length or depth above zero.

    Args:
        base: The sampler.
        space: Whose axes are drawn.
        arm: Where to.
        seed: Decides what is drawn anew.
    """

    def __init__(self, base: optuna.samplers.BaseSampler, space: Space, arm: Arm, seed: int) -> None:
        super().__init__(base)
        self._space = space
        self._arm = arm
        self._seed = seed

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Draw, and move the draw."""
        drawn = self._base.sample_relative(study, trial, search_space)
        return {name: self._moved(name, value) for name, value in drawn.items()}

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Draw one, and move it."""
        drawn = self._base.sample_independent(study, trial, param_name, param_distribution)
        return self._moved(param_name, drawn)

    def _moved(self, name: str, value: Any) -> Any:
        if name == WARMUP and self._arm == "at_once":
            return 0.0
        if value == 0 and (name == WARMUP or (name == DEPTH and self._arm == "at_once")):
            options = _values(self._space.axes[name], above_zero=True)
            return options[derive(self._seed, "arm", name) % len(options)]
        return value


def _values(axis: Any, *, above_zero: bool) -> list[Any]:
    """Give the values of an axis that are above zero, or those that are zero."""
    if isinstance(axis, Choice):
        options = list(axis.options)
    elif isinstance(axis, Range):
        low, high, step = float(axis.low), float(axis.high), float(axis.step or 1)
        options = [round(low + turn * step, 12) for turn in range(int((high - low) / step + 1e-9) + 1)]
        if isinstance(axis.low, int):
            options = [int(option) for option in options]
    else:
        options = [axis]
    return [option for option in options if (float(option) > 0) == above_zero]
