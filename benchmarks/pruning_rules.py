"""Rules by which a replayed search ends trials early; ``pruning.py`` plays them.

A rule is asked after every record, after every fold, and, where it has smaller budgets, after the shrunk
runs that come before a trial's own.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray

from autofreeze import pruning
from autofreeze.job import EpochRecord
from autofreeze.pruning import Go, judge_fold, why_unpromising
from autofreeze.schedule import Schedule

Curves = dict[int, list[EpochRecord]]
"""Fold -> records so far."""


@dataclass
class Played:
    """A trial of a replayed search."""

    number: int
    schedule: Schedule
    digest: str
    arm: str
    baseline: str | None = None
    spared: bool = False
    judged: bool = False
    """Whether it is a baseline that may end between folds."""

    asked: Any = None
    """Optuna's trial, where the rule is one of Optuna's, or the sampler learns."""

    curves: Curves = field(default_factory=dict)
    small: dict[float, Curves] = field(default_factory=dict)
    """Budget as a share of the schedule's own -> records of the shrunk runs."""

    work: float = 0.0
    full_work: float = 0.0
    ending: str = ""
    """``complete``, ``unpromising``, ``unstable``, ``paused``; empty while under way."""

    value: float = -math.inf
    loss: float = math.inf

    @property
    def rank(self) -> tuple[float, float, int]:
        """Sort key of complete trials, as ``results.rank``."""
        return (self.value, -self.loss, -self.number)


@dataclass
class Board:
    """What a rule may look at."""

    trials: list[Played]
    labels: Sequence[NDArray[np.int64]]
    """True classes of each fold's validation images."""

    @property
    def best(self) -> Played | None:
        """The best complete trial so far."""
        complete = [one for one in self.trials if one.ending == "complete"]
        return max(complete, key=lambda one: one.rank, default=None)

    def peers(self, trial: Played, fold: int) -> list[list[EpochRecord]]:
        """Give the other trials' curves on a fold."""
        return [one.curves[fold] for one in self.trials if one is not trial and one.curves.get(fold)]

    def right(self, curves: Curves, folds: int) -> NDArray[np.float64]:
        """Which images the first folds' last records have right, 1 or 0, (images,)."""
        return np.concatenate(
            [
                np.asarray(curves[fold][-1].predicted_classes == self.labels[fold], dtype=np.float64)
                for fold in range(folds)
            ]
        )


class Rule:
    """None of the rules: every stable trial is trained to its end."""

    spares = True
    """Whether baselines, and the first trials of each arm, are trained to their end."""

    baselines: Callable[[Board, Played, int], bool] | None = None
    """The rule between folds for baselines, where they may be ended there."""

    budgets: tuple[float, ...] = ()
    """Shares of the schedule's epochs that are run before the whole, on all folds or the first ones."""

    small_folds: int | None = None
    """Folds of the shrunk runs; all when None."""

    delayed = False
    """Whether a trial that is not promoted at once may be promoted later."""

    def pruner(self, steps: int) -> optuna.pruners.BasePruner | None:  # noqa: ARG002
        """Give Optuna's pruner, where the rule is one."""
        return None

    def stops(self, board: Board, trial: Played, fold: int) -> bool:  # noqa: ARG002
        """Decide by the newest record of a fold."""
        return False

    def stops_between(self, board: Board, trial: Played, done: int) -> bool:  # noqa: ARG002
        """Decide after some folds, not yet all."""
        return False

    def promotes(self, board: Board, trial: Played, budget: float) -> bool:  # noqa: ARG002
        """Decide by the shrunk runs whether the next budget is run."""
        return True


@dataclass(frozen=True)
class Behind:
    """Between folds, paired over images, against the best complete trial: ``pruning.judge_fold``."""

    errors: float = pruning.BEHIND

    def __call__(self, board: Board, trial: Played, done: int) -> bool:
        """Say whether a trial is behind after some folds."""
        best = board.best
        if best is None:
            return False
        ours, theirs = board.right(trial.curves, done), board.right(best.curves, done)
        return behind(ours, theirs, self.errors)


@dataclass(frozen=True)
class Ranked:
    """Between folds, by rank among all that have come as far: ``pruning.judge_standing``."""

    eta: float = 3.0
    """One in so many goes on."""

    def __call__(self, board: Board, trial: Played, done: int) -> bool:
        """Say whether a trial is out after some folds."""
        others = [
            standing(one.curves, done)
            for one in board.trials
            if one is not trial and all(one.curves.get(f) and one.curves[f][-1].last for f in range(done))
        ]
        if len(others) < pruning.MIN_PEERS:
            return False
        own = standing(trial.curves, done)
        return sum(other > own for other in others) >= math.ceil((len(others) + 1) / self.eta)


@dataclass(frozen=True)
class RankedAndBehind:
    """Between folds, out only when both rules say so: by rank, and by a paired difference to the best."""

    eta: float
    errors: float

    def __call__(self, board: Board, trial: Played, done: int) -> bool:
        """Say whether a trial is out after some folds."""
        return Ranked(self.eta)(board, trial, done) and Behind(self.errors)(board, trial, done)


def standing(curves: Curves, folds: int) -> tuple[float, float]:
    """Give the value over the first folds, and the negative log loss."""
    ends = [curves[fold][-1] for fold in range(folds)]
    n = np.array([end.n_val for end in ends]) / sum(end.n_val for end in ends)
    values, losses = ([getattr(end, name) for end in ends] for name in ("value", "val_loss"))
    return float(n @ values), -float(n @ losses)


def behind(ours: NDArray[np.float64], theirs: NDArray[np.float64], errors: float) -> bool:
    """Whether the one trails the other on the same images by some standard errors."""
    if errors == pruning.BEHIND:
        return not isinstance(judge_fold(ours, theirs), Go)
    difference = ours - theirs
    mean, error = float(difference.mean()), float(difference.std()) / math.sqrt(len(difference))
    return mean < 0 and mean < -errors * error


class Whole(Rule):
    """Every stable trial is trained on all folds but for the rule between them, if there is one."""

    def __init__(self, between: Callable[[Board, Played, int], bool] | None = None) -> None:
        self._between = between

    def stops_between(self, board: Board, trial: Played, done: int) -> bool:
        """Ask the rule between folds."""
        return self._between is not None and self._between(board, trial, done)


class Median(Whole):
    """``pruning.why_unpromising``: below the median after a share of the time since the last thaw."""

    def __init__(
        self,
        between: Any = None,
        *,
        grace: float = 0.5,
        errors: float = 1.0,
        folds: int | None = None,
        baselines: Callable[[Board, Played, int], bool] | None = None,
    ) -> None:
        super().__init__(between)
        self.baselines = baselines
        self._grace, self._errors, self._folds = grace, errors, folds

    def stops(self, board: Board, trial: Played, fold: int) -> bool:
        """Compare with the medians."""
        newest = trial.curves[fold][-1]
        if newest.last or (self._folds is not None and fold >= self._folds):
            return False
        n = newest.n_val / self._errors**2 if self._errors else None
        before = pruning.GRACE_SHARE
        try:
            pruning.GRACE_SHARE = self._grace  # type: ignore[misc]
            return bool(why_unpromising(newest, board.peers(trial, fold), epochs=trial.schedule.epochs, n=n))
        finally:
            pruning.GRACE_SHARE = before  # type: ignore[misc]


def share_since_thaw(record: EpochRecord, epochs: float) -> float:
    """Share of the work after the last thaw that is done; negative before it.

    Which columns train changes seldom after the last thaw, so that the share of the epochs is that of the
    work.
    """
    thawed = record.epochs_done - record.epochs_since_unfreeze
    return record.epochs_since_unfreeze / (epochs - thawed)


class Halving(Whole):
    """Asynchronous successive halving over rungs at shares of the work after the last thaw.

    A run that reaches a rung goes on where it is among the best 1/eta of those that have reached it, itself
    included, or less than some standard errors below the last of them.
    """

    def __init__(
        self,
        between: Any = None,
        *,
        eta: float = 3.0,
        rungs: Sequence[float] = (1 / 9, 1 / 3),
        errors: float = 0.0,
        by: str = "value",
        fewest: int = 1,
        folds: int | None = None,
        absolute: bool = False,
    ) -> None:
        super().__init__(between)
        self._eta, self._rungs, self._errors, self._by = eta, tuple(rungs), errors, by
        self._fewest, self._folds, self._absolute = fewest, folds, absolute

    def stops(self, board: Board, trial: Played, fold: int) -> bool:
        """Compare at the rungs that the newest record is the first to reach."""
        curve = trial.curves[fold]
        if curve[-1].last or (self._folds is not None and fold >= self._folds):
            return False
        for rung in self._rungs:
            own = self._at(trial.schedule.epochs, curve, rung)
            if own is not curve[-1]:
                continue
            others = [
                found
                for one in board.trials
                if one is not trial
                and one.curves.get(fold)
                and (found := self._at(one.schedule.epochs, one.curves[fold], rung)) is not None
            ]
            if len(others) >= self._fewest and self._below(own, others):
                return True
        return False

    def _at(self, epochs: float, curve: Sequence[EpochRecord], rung: float) -> EpochRecord | None:
        """Give the first record at or after a rung."""
        return next(
            (
                record
                for record in curve
                if record.is_finite
                and record.epochs_since_unfreeze > 0
                and (
                    record.epochs_since_unfreeze / epochs
                    if self._absolute
                    else share_since_thaw(record, epochs)
                )
                >= rung - 1e-9
            ),
            None,
        )

    def _below(self, own: EpochRecord, others: Sequence[EpochRecord]) -> bool:
        of = (lambda one: one.value) if self._by == "value" else (lambda one: -one.val_loss)
        values = sorted([of(own), *(of(one) for one in others)], reverse=True)
        bar = values[max(math.ceil(len(values) / self._eta), 1) - 1]
        if self._by != "value":
            return of(own) < bar * (1 + self._errors)
        error = math.sqrt(max(bar * (1 - bar), 0.0) / own.n_val)
        return of(own) < bar - self._errors * error


class PairedInRun(Whole):
    """Behind the best trial on the same images, at the same share of the work after the thaw."""

    def __init__(self, between: Any = None, *, errors: float = 2.0, grace: float = 1 / 3) -> None:
        super().__init__(between)
        self._errors, self._grace = errors, grace

    def stops(self, board: Board, trial: Played, fold: int) -> bool:
        """Compare with the best one's record at the same share, or at its end."""
        newest, best = trial.curves[fold][-1], board.best
        share = share_since_thaw(newest, trial.schedule.epochs)
        if newest.last or best is None or share < self._grace - 1e-9 or not newest.is_finite:
            return False
        epochs = best.schedule.epochs
        reached = [
            one
            for one in best.curves[fold]
            if one.is_finite and share_since_thaw(one, epochs) <= share + 1e-9
        ]
        if not reached:
            return False
        at = reached[-1]
        labels = board.labels[fold]
        ours, theirs = (np.asarray(one.predicted_classes == labels, dtype=np.float64) for one in (newest, at))
        # Earlier folds count too, as they ended.
        if fold:
            ours = np.concatenate([board.right(trial.curves, fold), ours])
            theirs = np.concatenate([board.right(best.curves, fold), theirs])
        return behind(ours, theirs, self._errors)


class Both(Whole):
    """Either of two rules within a run; between folds the first one's."""

    def __init__(self, first: Whole, second: Whole) -> None:
        super().__init__(first.stops_between)
        self._rules = (first, second)

    def stops(self, board: Board, trial: Played, fold: int) -> bool:
        """Ask both."""
        return any(rule.stops(board, trial, fold) for rule in self._rules)


class Shrunk(Whole):
    """Asynchronous successive halving over whole schedules shrunk to smaller budgets.

    Args:
        between: The rule between folds of the whole runs.
        eta: One in how many goes on.
        budgets: Shares of the epochs.
        folds: Folds of the shrunk runs; all when None.
        delayed: Whether a trial may be promoted when others have come after it.
        errors: Promoted too when it is less than so many standard errors below the last that is promoted.
        paired: Instead of ranks: promoted unless behind the best of the same budget by so many paired errors.
    """

    def __init__(
        self,
        between: Any = None,
        *,
        eta: float = 3.0,
        budgets: Sequence[float] = (1 / 3,),
        folds: int | None = None,
        delayed: bool = False,
        errors: float = 0.0,
        paired: float | None = None,
    ) -> None:
        super().__init__(between)
        self.budgets, self.small_folds, self.delayed = tuple(budgets), folds, delayed
        self._eta, self._errors, self._paired = eta, errors, paired

    def promotes(self, board: Board, trial: Played, budget: float) -> bool:
        """Compare with all that have run this budget."""
        rung = [one for one in board.trials if one.small.get(budget)]
        folds = len(trial.small[budget])
        n = sum(curve[-1].n_val for curve in trial.small[budget].values())

        def standing(one: Played) -> tuple[float, float]:
            ends = [curve[-1] for curve in one.small[budget].values()]
            return (
                float(np.mean([end.value if end.is_finite else -math.inf for end in ends])),
                -float(np.mean([end.val_loss for end in ends])),
            )

        own = standing(trial)
        if not math.isfinite(own[0]):
            return False
        if self._paired is not None:
            best = max(rung, key=standing)
            rows = [board.right(one.small[budget], folds) for one in (trial, best)]
            return not behind(*rows, self._paired)
        found = sorted((standing(one) for one in rung), reverse=True)
        quota = len(rung) / self._eta
        bar = found[max(math.floor(quota) if self.delayed else math.ceil(quota), 1) - 1]
        if self.delayed and quota < 1:
            return False
        if own >= bar:
            return True
        return own[0] >= bar[0] - self._errors * math.sqrt(bar[0] * (1 - bar[0]) / n) and self._errors > 0


class OfOptuna(Whole):
    """One of Optuna's pruners, by epoch, the steps running on over the folds; it spares nobody."""

    spares = False

    def __init__(self, make: Callable[[int], optuna.pruners.BasePruner], between: Any = None) -> None:
        super().__init__(between)
        self._make = make

    def pruner(self, steps: int) -> optuna.pruners.BasePruner:
        """Build it for so many steps."""
        return self._make(steps)

    def stops(self, board: Board, trial: Played, fold: int) -> bool:
        """Ask ``should_prune``; what is at its end on the last fold is complete anyway."""
        if fold == len(board.labels) - 1 and trial.curves[fold][-1].last:
            return False
        return bool(trial.asked.should_prune())


MEDIAN = optuna.pruners.MedianPruner
HALVING = optuna.pruners.SuccessiveHalvingPruner
HYPERBAND = optuna.pruners.HyperbandPruner

NINTH = (1 / 9, 1 / 3)

RULES: dict[str, Callable[[], Rule]] = {
    "none": Whole,
    # Between folds alone
    "paired": lambda: Whole(Behind()),
    "paired, 1.28 se": lambda: Whole(Behind(1.28)),
    "paired, 1 se": lambda: Whole(Behind(1.0)),
    "half by rank": lambda: Whole(Ranked(2)),
    "third by rank": lambda: Whole(Ranked(3)),
    "quarter by rank": lambda: Whole(Ranked(4)),
    "third by rank, 1 se": lambda: Whole(RankedAndBehind(3, 1.0)),
    "third by rank, 1.28 se": lambda: Whole(RankedAndBehind(3, 1.28)),
    "quarter by rank, 1 se": lambda: Whole(RankedAndBehind(4, 1.0)),
    "pairs at 1/2; third by rank, 1 se": lambda: PairedInRun(RankedAndBehind(3, 1.0), grace=1 / 2),
    "pairs at 1/2, 1.645 se; third by rank, 1 se": lambda: PairedInRun(
        RankedAndBehind(3, 1.0), errors=1.645, grace=1 / 2
    ),
    # Within a run, by the median after a share of the time since the thaw
    "median": Median,
    "median; paired": lambda: Median(Behind()),
    "median at 1/3; paired": lambda: Median(Behind(), grace=1 / 3),
    "median; third by rank": lambda: Median(Ranked(3)),
    "median in the first fold; third by rank": lambda: Median(Ranked(3), folds=1),
    "median in the first fold; half by rank": lambda: Median(Ranked(2), folds=1),
    "median at 1/3 in the first fold; third by rank": lambda: Median(Ranked(3), grace=1 / 3, folds=1),
    # Within a run, by the best one on the same images
    "pairs at 1/2; paired": lambda: PairedInRun(Behind(), grace=1 / 2),
    "pairs at 1/3; paired": lambda: PairedInRun(Behind()),
    "pairs at 1/2; third by rank": lambda: PairedInRun(Ranked(3), grace=1 / 2),
    # Within a run, rungs of the work since the thaw
    "rungs": Halving,
    "rungs; paired": lambda: Halving(Behind()),
    "rungs, 2 se; paired": lambda: Halving(Behind(), errors=2.0),
    "rungs of absolute work, 2 se; paired": lambda: Halving(Behind(), errors=2.0, absolute=True),
    "rungs at 1/3, 2/3, 1 se; paired": lambda: Halving(Behind(), rungs=(1 / 3, 2 / 3), errors=1.0),
    "rungs, 2 se, in the first fold; third by rank": lambda: Halving(Ranked(3), errors=2.0, folds=1),
    # Whole schedules shrunk to a third, or a ninth and a third
    "shrunk": Shrunk,
    "shrunk; paired": lambda: Shrunk(Behind()),
    "shrunk, one fold; paired": lambda: Shrunk(Behind(), folds=1),
    "shrunk, one fold, 1 se; paired": lambda: Shrunk(Behind(), folds=1, errors=1.0),
    "shrunk, one fold, 1 se; third by rank": lambda: Shrunk(Ranked(3), folds=1, errors=1.0),
    "shrunk twice": lambda: Shrunk(budgets=NINTH),
    "shrunk twice, delayed; paired": lambda: Shrunk(Behind(), budgets=NINTH, delayed=True),
    "shrunk, delayed; paired": lambda: Shrunk(Behind(), delayed=True),
    # Optuna's, by epoch
    "Optuna median": lambda: OfOptuna(lambda _: MEDIAN()),
    "Optuna median; paired": lambda: OfOptuna(lambda _: MEDIAN(), Behind()),
    "Optuna halving": lambda: OfOptuna(lambda _: HALVING()),
    "Optuna Hyperband": lambda: OfOptuna(lambda steps: HYPERBAND(min_resource=1, max_resource=steps)),
}
"""Name -> a fresh rule; what stands behind a semicolon is the rule between folds."""

DEFAULT = "the default"
"""That of a search: as the rule before it, and baselines that are clearly behind end between folds."""

RULES[DEFAULT] = lambda: Median(Ranked(3), folds=1, baselines=Behind())
