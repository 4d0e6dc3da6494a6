"""What a search did not have to compute: frozen work that trials share, and trials that were ended early."""

import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from autofreeze import views
from autofreeze.cost import frozen_work, heads_work, run_work
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
    first. It is not known where the result tells that something could not be cut or stored
    (``StudyResult.engine``). Workers of a cluster tell nothing of that: there it is a bound from above.
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
        by_stores=_by_stores(result, runs) if known else None,
    )


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
        return self._work(self.n_epochs)

    @cached_property
    def n_epochs(self) -> int:
        return len(self._timetable.epoch_ends)

    @cached_property
    def _timetable(self) -> Timetable:
        return self.trial.schedule.timetable(self.steps)

    def _work(self, epochs: int) -> float:
        if not epochs:
            return 0.0
        shares, heads = self.work_shares, len(self.trial.members)
        if heads:
            trained = heads_work(shares, self.n_train, heads, trained=True)
            return epochs * (trained + heads_work(shares, self.n_val, heads, trained=False))
        return run_work(self._timetable, shares, n_train=self.n_train, n_val=self.n_val, epochs=epochs)

    def _frozen(self, epochs: int) -> float:
        if not epochs:
            return 0.0
        n_train = 0 if views.prepared(self.trial.regime.views) is None else self.n_train
        return frozen_work(
            self._timetable, self.work_shares, n_train=n_train, n_val=self.n_val, epochs=epochs
        )

    def frozen_within(self, spent: float) -> float:
        """Give the passes through what is as pretrained, among so much work of runs one after the other."""
        whole, rest = divmod(spent * (1 + 1e-9), self.work)
        done = bisect_right(range(1, self.n_epochs + 1), rest, key=self._work)
        before, after = self._work(done), self._work(min(done + 1, self.n_epochs))
        part = (rest - before) / (after - before) if after > before else 0.0
        within = self._frozen(done)
        within += part * (self._frozen(min(done + 1, self.n_epochs)) - within)
        return whole * self._frozen(self.n_epochs) + within

    def stored(self) -> Iterator[tuple[int, str]]:
        """Give the borders and views of which features are stored for it."""
        lowest = len(self.work_shares)
        regime = self.trial.regime
        repeated = range(views.prepared(regime.views) or 0)
        for phase in self.trial.schedule.phases:
            lowest = min(lowest, next(column for column, lr in enumerate(phase.lrs) if lr is not None))
            yield lowest, views.kind("none", 0)
            for number in repeated:
                yield lowest, views.kind(regime.views, number, erase=regime.erase)


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


def _by_stores(result: StudyResult, runs: Sequence[tuple[TrialResult, _Run]]) -> float | None:
    if result.kind == "own" or result.engine:
        return None
    if not result.settings.get("task", {}).get("reuse", True):
        return 0.0
    passed = sum(run.frozen_within(one.work) for one, run in runs)
    images = sum(result.data["images"][part] for part in ("train", "val"))
    shares = result.backbone["work_shares"]
    filled = {kind for _, run in runs for kind in run.stored()}
    filling = sum(images * sum(shares[:border]) for border, _ in filled)
    return float(max(passed - filling, 0.0))
