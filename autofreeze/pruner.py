"""The rules of ``pruning.py`` for people with an Optuna objective of their own."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import optuna
from optuna.trial import FrozenTrial, TrialState

from autofreeze.errors import ConfigError
from autofreeze.pruning import Go, Standing, judge_standing, why_unpromising


@dataclass(frozen=True)
class _Point:
    """A reported value; see ``pruning.Point``."""

    epoch: int
    epochs_done: float
    epochs_since_unfreeze: float
    value: float

    @property
    def is_finite(self) -> bool:
        return math.isfinite(self.value)


class MedianAfterUnfreezePruner(optuna.pruners.BasePruner):
    """Prune fine-tuning runs that are behind, but not for a warm-up that has yet to pay.

    ``optuna.pruners.MedianPruner`` compares all trials at the same epoch, so that one which trains its head
    alone for long is held against others that thawed their backbone at once. This one leaves a trial alone
    until half of its time after the unfreeze has gone; then it prunes when the value lies below the median of
    five other trials or more twice: at the same epoch, and at the same number of epochs since the unfreeze.

    Report once an epoch, with the epoch from 0 as the step. A trial that is trained on several folds, one
    after the other, lets the steps run on. Then trials are judged within the first fold alone, and after each
    fold the best third of all that have come as far goes on, by the mean of the values at the folds' ends.

    Peers are the complete and the pruned trials of the study. A trial whose newest value is not finite is
    pruned; others' values that are not do not count.

    Args:
        epochs: Length of every run, > 0.
        unfreeze_epoch: Epochs that a trial trains before its last unfreeze, 0 for one that starts unfrozen:
            the name of a user attribute, or a function of the trial. While the attribute is missing, or the
            function gives None, the trial is in its warm-up: it is not pruned, and is nobody's peer.
        folds: How often every trial is trained, on another fold each time.
        n_val: Validation images, where values are shares of them, such as accuracies: a trial is pruned only
            when it is behind by more than a standard error too.

    Raises:
        ConfigError: ``epochs``, ``folds`` or ``n_val`` is out of range.
    """

    def __init__(
        self,
        epochs: float,
        *,
        unfreeze_epoch: str | Callable[[FrozenTrial], float | None] = "unfreeze_epoch",
        folds: int = 1,
        n_val: int | None = None,
    ) -> None:
        problems = []
        if not 0 < epochs < math.inf:
            problems.append(f"epochs: got {epochs}; must be above zero and finite")
        if folds < 1:
            problems.append(f"folds: got {folds}; must be at least 1")
        if n_val is not None and n_val < 1:
            problems.append(f"n_val: got {n_val}; must be at least 1, or None")
        if problems:
            raise ConfigError(problems)
        self._epochs = epochs
        self._folds = folds
        self._unfreeze_epoch = unfreeze_epoch
        self._n_val = n_val

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Decide on a trial by its newest value; Optuna calls this from ``should_prune``."""
        if not trial.intermediate_values:
            return False
        newest, newest_value = max(trial.intermediate_values.items())
        if not math.isfinite(newest_value):
            return True
        ended = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
        others = [other for other in ended if other.number != trial.number]
        sign = 1.0 if study.direction == optuna.study.StudyDirection.MAXIMIZE else -1.0
        done, epochs_left = divmod(newest + 1, self._steps)
        if done == 0:
            return self._is_behind(trial, others, sign)
        if epochs_left or done >= self._folds:
            return False
        own = self._standing(trial, done, sign)
        standings = [self._standing(other, done, sign) for other in others]
        rivals = [one for one in standings if one is not None]
        return own is not None and judge_standing(own, rivals, folds=done) != Go()

    @property
    def _steps(self) -> int:
        """Steps of one fold."""
        return math.ceil(self._epochs)

    def _is_behind(self, trial: FrozenTrial, others: Sequence[FrozenTrial], sign: float) -> bool:
        """Compare within the first fold."""
        curve = self._curve(trial, sign)
        if not curve:
            return False
        peers = [self._curve(other, sign) for other in others]
        return bool(why_unpromising(curve[-1], peers, epochs=self._epochs, n=self._n_val))

    def _standing(self, trial: FrozenTrial, folds: int, sign: float) -> Standing | None:
        """Give the mean of the values at the ends of the first folds; None where one is missing."""
        values = trial.intermediate_values
        ends = [values.get(fold * self._steps + self._steps - 1, math.nan) for fold in range(folds)]
        mean = sign * sum(ends) / folds
        return (mean, 0.0) if math.isfinite(mean) else None

    def _curve(self, trial: FrozenTrial, sign: float) -> list[_Point]:
        """Give a trial's values by epoch of the first fold, more being better.

        None while its unfreeze is not known.
        """
        thawed_at = (
            trial.user_attrs.get(self._unfreeze_epoch)
            if isinstance(self._unfreeze_epoch, str)
            else self._unfreeze_epoch(trial)
        )
        if thawed_at is None:
            return []
        return [
            _Point(epoch, epoch + 1.0, epoch + 1.0 - thawed_at, sign * value)
            for epoch, value in sorted(trial.intermediate_values.items())
            if epoch < self._steps
        ]
