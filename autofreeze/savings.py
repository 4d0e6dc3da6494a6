"""What a search did not have to compute: frozen work that trials share, and trials that were ended early."""

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from autofreeze import views
from autofreeze.cost import heads_work, run_work
from autofreeze.courses import Sizes, course_of
from autofreeze.plan import Border, Pace
from autofreeze.results import Ending, StudyResult, TrialResult
from autofreeze.schedule import Timetable
from autofreeze.values import Value

FINE = 1000
"""Steps by epoch by which the work of a training of the user's own is counted."""


class Savings(Value):
    """Forward-equivalents, of the search's trials alone."""

    spent: float
    """As trials are counted: every run as if it had the machine to itself."""

    by_unpromising: float | None
    """What unpromising trials would have gone on to spend; None: not known."""

    by_unstable: float | None
    """The same of unstable ones."""

    by_sharing: float
    """What trials took over from equal ones."""

    by_stores: float | None
    """Of what was spent, passes through frozen groups that did not have to be computed, since features were
    stored; about. None: not known. See :func:`savings_of`."""


def savings_of(result: StudyResult) -> Savings:
    """Reckon what a search did not have to compute.

    A trial that was pruned would have gone on to the end of its last fold: the rest of that was saved.

    What the stores saved is reckoned from the schedules and how far each trial came: passes through groups as
    pretrained, of views that repeat, less one filling for each border and view, as if the cache was empty at
    first. Borders at which the plan of the search found nothing to store do not count. Where there was no
    plan, and something could not be cut or stored (``StudyResult.engine``), it is not known. What turned out
    later, such as a cache that was full, is not seen: then less was saved.
    """
    runs = [(one, run) for one in result.trials if one.work and (run := _run_of(result, one)) is not None]
    folds = _folds(result)
    known = bool(folds) and len(runs) == sum(one.work > 0 for one in result.trials)

    def left(ending: Ending) -> float | None:
        if not known:
            return None
        return sum(max(folds * run.work - one.work, 0.0) for one, run in runs if one.ending is ending)

    by_number = {one.number: one for one in result.trials}
    return Savings(
        spent=result.work,
        by_unpromising=left(Ending.UNPROMISING),
        by_unstable=left(Ending.UNSTABLE),
        by_sharing=sum(by_number[one.origin].work for one in result.trials if one.same_as is not None),
        by_stores=_by_stores(result, [run for _, run in runs]) if known else None,
    )


def work_of_whole_run(result: StudyResult, trial: TrialResult) -> float | None:
    """Give the work of a run of a trial's schedule to its end, wherever it ended; None: not known."""
    run = _run_of(result, trial)
    return None if run is None else run.work


@dataclass(frozen=True)
class _Run:
    """One run of a trial on the first fold, as its schedule says."""

    trial: TrialResult
    work_shares: tuple[float, ...]
    n_train: int
    n_val: int
    steps: int
    """Optimizer steps by epoch."""

    @cached_property
    def work(self) -> float:
        """Forward-equivalents."""
        return self.work_after(self.epochs)

    @cached_property
    def epochs(self) -> int:
        return len(self._timetable.epoch_ends)

    @cached_property
    def _timetable(self) -> Timetable:
        return self.trial.schedule.timetable(self.steps)

    def work_after(self, epochs: int) -> float:
        if not epochs:
            return 0.0
        shares, heads = self.work_shares, len(self.trial.members)
        if heads:
            trained = heads_work(shares, self.n_train, heads, trained=True)
            return epochs * (trained + heads_work(shares, self.n_val, heads, trained=False))
        return run_work(self._timetable, shares, n_train=self.n_train, n_val=self.n_val, epochs=epochs)

    def place_of(self, spent: float) -> tuple[int, float]:
        """Give how many whole runs, one after the other, so much work is, and how many epochs of the next."""
        whole, rest = divmod(spent * (1 + 1e-9), self.work)
        done = bisect_right(range(1, self.epochs + 1), rest, key=self.work_after)
        before, after = self.work_after(done), self.work_after(min(done + 1, self.epochs))
        return int(whole), done + ((rest - before) / (after - before) if after > before else 0.0)


def _folds(result: StudyResult) -> int:
    """Give the folds that a trial is scored on; 0 where the report does not tell them."""
    return int(result.data.get("n_folds", 0)) or len(result.data.get("folds", ()))


def _run_of(result: StudyResult, trial: TrialResult) -> _Run | None:
    shares, folds = tuple(result.backbone.get("work_shares", ())), result.data.get("folds", ())
    if len(shares) != len(trial.schedule.groups):
        return None
    if result.kind == "own":  # counted in passes over the training data
        return _Run(trial, shares, 1, 0, FINE)
    if not folds:
        return None
    n_train, n_val = folds[0]["train"], folds[0]["val"]
    return _Run(trial, shares, n_train, n_val, math.ceil(n_train / trial.regime.batch_size))


# What was stored


def _by_stores(result: StudyResult, runs: Sequence[_Run]) -> float | None:
    if result.kind == "own" or (result.engine and result.plan is None):
        return None
    if not result.settings.get("task", {}).get("reuse", True):
        return 0.0
    below = _stored_below(result)
    pace = Pace(borders=tuple(Border(name="", prefix=one, step=0, val=0) for one in below))
    passed, filled = 0.0, set[tuple[int, str]]()
    for run in runs:
        course = course_of(run.trial.schedule, run.trial.regime, pace, Sizes(run.n_train, run.n_val, 1))
        repeated = range(views.prepared(course.views) or 0)
        images = course.val + course.train if repeated else course.val
        whole, epochs = run.place_of(run.trial.work)
        by_epoch = images @ below
        passed += whole * by_epoch[-1] + np.interp(epochs, range(len(by_epoch)), by_epoch)
        for border in map(int, np.flatnonzero(images[-1] * below)):
            filled.add((border, views.kind("none", 0)))
            filled |= {(border, views.kind(course.views, one, erase=course.erase)) for one in repeated}
    stored = sum(result.data["images"][part] for part in ("train", "val"))
    return float(max(passed - stored * sum(below[border] for border, _ in filled), 0.0))


def _stored_below(result: StudyResult) -> NDArray[np.float64]:
    """Give the share of forward work below each border; 0 where nothing is stored."""
    shares: NDArray[np.float64] = np.array(result.backbone["work_shares"], dtype=np.float64)
    below: NDArray[np.float64] = np.cumsum(shares) - shares
    if result.plan is not None and len(result.plan.pace.borders) == len(below):
        for column, border in enumerate(result.plan.pace.borders):
            if border.refusal or border.unstored:
                below[column] = 0.0
    return below
