"""Confirmation: the finalists and the baselines that could win, on fresh seeds; then the test split, once."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from autofreeze.confirmation import Candidate, Confirmation, seeds_rested_on
from autofreeze.executors.protocol import Event, Executor, Failed, Finished, Recorded, Waiting
from autofreeze.finalists import Finalist
from autofreeze.job import EpochRecord, Job
from autofreeze.looks import LOOKS, Look, Scored, take_look
from autofreeze.records import read_fresh_records
from autofreeze.results import SPLIT_BATCHES, TrialResult
from autofreeze.run import RunFolder
from autofreeze.scoring import FreshRuns, FreshScoring
from autofreeze.seeds import derive

TEST_SEEDS = 3
"""Models of each schedule that read the test split: those of the first fresh seeds of the estimate."""


class FreshObserver(Protocol):
    """Who is told how a confirmation goes."""

    def run_started(self, job: Job, name: str) -> None:
        """Take note that a run was handed out, of a trial with the name of a baseline or recipe."""
        ...

    def run_recorded(self, job: Job, record: EpochRecord, where: str) -> None:
        """Take note that a run has finished an epoch; ``where`` as in ``executors.protocol.Recorded``."""
        ...

    def run_ended(self, job: Job) -> None:
        """Take note that a run has ended, or was let go."""
        ...

    def confirming(self, done: int, total: int) -> None:
        """Take note of how many runs are done, of those that the next look waits for."""
        ...

    def looked(self, look: Look) -> None:
        """Take note of what a look has found."""
        ...


@dataclass
class _Runs:
    """One candidate's runs on fresh seeds."""

    finalist: Finalist
    curves: dict[int, list[EpochRecord]] = field(default_factory=dict)
    """Number of the fresh seed -> its records so far."""

    dropped_at: int | None = None
    """Seeds after which a look left it behind."""

    left_behind: str = ""
    """Why it did."""

    failed: str = ""
    """Why a run failed in this session; the next one tries it again."""

    @property
    def number(self) -> int:
        return self.finalist.trial.number

    def is_done(self, fresh: int) -> bool:
        curve = self.curves.get(fresh)
        return bool(curve) and curve[-1].last  # type: ignore[index]

    @property
    def lost(self) -> str:
        """Why it has no score: a run failed, or broke off; empty when it has."""
        broken = (
            f"broke off on fresh seed {fresh}: {curve[-1].diverged}"
            for fresh, curve in sorted(self.curves.items())
            if curve and curve[-1].diverged
        )
        split = any(not record.comparable for curve in self.curves.values() for record in curve[-1:])
        return self.failed or next(broken, SPLIT_BATCHES if split else "")

    @property
    def runs_on(self) -> bool:
        """Whether it is worth further seeds."""
        return self.dropped_at is None and not self.lost


class Confirming:
    """The confirmation of a search: jobs on fresh seeds, a look at a time.

    Its runs see the views that ``train`` will use (``Regime.for_training``), those for the test split too.

    Args:
        run: The open run folder of the search; records go where those of the search are.
        executor: Where jobs run.
        finalists: Who is confirmed; at least one.
        scoring: What records are worth.
        seed: The study's; fresh seeds derive from it.
        planned: Fresh seeds at most, of ``looks.LOOKS``.
        delta: Half-width of *no difference*, in the metric's unit.
        observer: Who is told how it goes.
    """

    def __init__(
        self,
        run: RunFolder,
        executor: Executor,
        finalists: Sequence[Finalist],
        *,
        scoring: FreshScoring,
        seed: int,
        planned: int,
        delta: float,
        observer: FreshObserver | None = None,
    ) -> None:
        self._run = run
        self._executor = executor
        self._scoring = scoring
        self._seed = seed
        self._planned = planned
        self._delta = delta
        self._observer = observer
        kept = read_fresh_records(run.path)
        self._runs = {one.trial.number: _Runs(one) for one in finalists}
        for (number, fresh), curve in kept.items():
            if number in self._runs:
                self._runs[number].curves[fresh] = curve
        self._in_hand: dict[str, Job] = {}
        self._look: Look | None = None

    def confirm(
        self, seconds: float | None = None, should_stop: Callable[[], str] = lambda: ""
    ) -> Confirmation:
        """Run look after look until all is decided, or as many seeds as planned have been run.

        Args:
            seconds: Wall-clock time that may be spent.
            should_stop: Asked after every event; a reason ends it at the last look that was taken.

        Returns:
            What was found. Without a look nobody is chosen.
        """
        began = time.monotonic()
        cut_short = ""
        for seeds in (look for look in LOOKS if look <= self._planned):
            cut_short = self._run_until(seeds, began, seconds, should_stop)
            if cut_short:
                break
            self._look = self._take_look(seeds)
            if self._look.done:
                break
        return self._collect(time.monotonic() - began, cut_short)

    def test_jobs(self, confirmation: Confirmation) -> dict[int, list[Job]]:
        """Say which runs read the test split: of the chosen schedule and of the baselines.

        Returns:
            Trial -> the jobs whose models are used.
        """
        first, end = confirmation.estimate_seeds
        return {
            number: [self._job(runs, fresh) for fresh in range(first, min(first + TEST_SEEDS, end))]
            for number, runs in self._runs.items()
            if number == confirmation.chosen or runs.finalist.trial.baseline
        }

    # Running

    def _run_until(
        self, seeds: int, began: float, seconds: float | None, should_stop: Callable[[], str]
    ) -> str:
        """Run what a look needs; gives the reason when it was cut short."""
        self._tell_progress(seeds)
        while True:
            late = seconds is not None and time.monotonic() - began >= seconds
            if not self._in_hand and next(self._missing(seeds), None) is None:
                return ""
            reason = should_stop() or ("out of time" if late else "")
            if reason:
                return reason
            room = max(self._executor.capacity - len(self._in_hand), 0)
            for job in list(islice(self._missing(seeds), room)):
                self._in_hand[job.key] = job
                self._executor.submit(job)
                if self._observer:
                    trial = self._runs[job.trial].finalist.trial
                    self._observer.run_started(job, trial.baseline or trial.recipe)
            event = self._executor.next_event()
            self._handle(event)
            if isinstance(event, Finished):
                self._tell_progress(seeds)

    def _missing(self, seeds: int) -> Iterator[Job]:
        """Give the jobs neither done nor in hand: seed after seed, so that what is there is paired."""
        in_hand = {(job.trial, job.fresh) for job in self._in_hand.values()}
        for fresh in range(seeds):
            for runs in self._runs.values():
                if runs.runs_on and not runs.is_done(fresh) and (runs.number, fresh) not in in_hand:
                    yield self._job(runs, fresh)

    def _tell_progress(self, seeds: int) -> None:
        if self._observer is None:
            return
        going = [runs for runs in self._runs.values() if runs.runs_on]
        done = sum(runs.is_done(fresh) for runs in going for fresh in range(seeds))
        self._observer.confirming(done, len(going) * seeds)

    def _job(self, runs: _Runs, fresh: int) -> Job:
        return fresh_job(runs.finalist.trial, fresh, self._seed)

    def _handle(self, event: Event) -> None:
        if isinstance(event, Waiting):
            return
        runs = self._runs[event.job.trial]
        assert event.job.fresh is not None
        match event:
            case Recorded(job, record, where):
                curve = runs.curves.setdefault(event.job.fresh, [])
                if record.epoch == len(curve):
                    self._run.append(job, record, at=event.at, where=where)
                    curve.append(record)
                if self._observer:
                    self._observer.run_recorded(job, record, where)
            case Finished(job):
                self._let_go(job)
                if not runs.is_done(event.job.fresh):
                    runs.failed = "a run ended before its schedule did"
                if not keeps_model(event.job.fresh, self._planned):
                    self._run.drop_checkpoint(job)
            case Failed(job, error):
                self._let_go(job)
                self._run.drop_checkpoint(job)
                runs.failed = f"failed on fresh seed {job.fresh}: {error}"
        if runs.lost:
            self._stop_runs(runs)

    def _stop_runs(self, runs: _Runs) -> None:
        """Stop what a candidate has in hand that cannot be finished."""
        for job in [job for job in self._in_hand.values() if job.trial == runs.number]:
            self._let_go(job)
            self._executor.stop(job)
            self._run.drop_checkpoint(job)

    def _let_go(self, job: Job) -> None:
        """Hold a job in hand no more."""
        del self._in_hand[job.key]
        if self._observer:
            self._observer.run_ended(job)

    def drop_models(self) -> None:
        """Delete the checkpoints that were kept for reading the test split."""
        for runs in self._runs.values():
            for fresh in range(self._planned):
                self._run.drop_checkpoint(self._job(runs, fresh))

    # Looking

    def _take_look(self, seeds: int) -> Look:
        done = {number: self._done(runs, range(seeds)) for number, runs in self._runs.items()}
        tables = self._scoring.tables(done)
        look = take_look(
            [self._scored(runs, done[number], tables.merits[number]) for number, runs in self._runs.items()],
            seeds=seeds,
            planned=self._planned,
            delta=self._delta,
            overlap=tables.overlap,
            strata=tables.strata,
            unit=self._scoring.unit,
        )
        for number, reason in look.dropped.items():
            if not self._runs[number].lost:
                self._runs[number].dropped_at = seeds
                self._runs[number].left_behind = reason
        if self._observer:
            self._observer.looked(look)
        return look

    def _done(self, runs: _Runs, seeds: Iterable[int]) -> FreshRuns:
        """Give the jobs of these fresh seeds that have come to their end, and their last records."""
        return [(self._job(runs, fresh), runs.curves[fresh][-1]) for fresh in seeds if runs.is_done(fresh)]

    @staticmethod
    def _scored(runs: _Runs, done: FreshRuns, merits: NDArray[np.float64]) -> Scored:
        return Scored(
            trial=runs.number,
            arm=runs.finalist.arm,
            merits=merits,
            complexity=runs.finalist.complexity,
            log_loss=_mean_loss([end for _, end in done]),
            broken=bool(runs.lost),
            dropped=runs.dropped_at is not None,
            eligible=runs.finalist.trial.affordable,
        )

    # Collecting

    def _collect(self, seconds: float, cut_short: str) -> Confirmation:
        """Put together what is known: that of the last look, or the bare runs when there was none."""
        look = self._look
        n_train, n_val = self._scoring.sizes(self._job(next(iter(self._runs.values())), 0))
        return Confirmation(
            planned=self._planned,
            seeds=self._seeds_run(),
            choice_seeds=0 if look is None else look.choice[1],
            estimate_seeds=(0, 0) if look is None else look.estimate,
            delta=self._delta,
            chosen=None if look is None else look.chosen,
            candidates=tuple(self._candidate(runs) for runs in self._runs.values()),
            comparisons=() if look is None else look.comparisons,
            own_split=self._scoring.own_split,
            n_train=n_train,
            n_val=n_val,
            work=sum(self._work(runs) for runs in self._runs.values()),
            seconds=seconds,
            cut_short=cut_short,
        )

    def _seeds_run(self) -> int:
        """Fresh seeds that somebody finished."""
        done = (fresh for runs in self._runs.values() for fresh in runs.curves if runs.is_done(fresh))
        return max(done, default=-1) + 1

    @staticmethod
    def _work(runs: _Runs) -> float:
        return sum(curve[-1].work for curve in runs.curves.values() if curve)

    def _candidate(self, runs: _Runs) -> Candidate:
        look = self._look
        done = [fresh for fresh in sorted(runs.curves) if runs.is_done(fresh)]
        ends = {fresh: runs.curves[fresh][-1] for fresh in done}
        seeds = seeds_rested_on(
            (0, LOOKS[0]) if look is None else look.estimate, dropped=runs.dropped_at is not None
        )
        rested = [fresh for fresh in done if fresh in seeds and not ends[fresh].diverged]
        mean = None if look is None else look.means.get(runs.number)
        return Candidate(
            trial=runs.number,
            finalist=runs.finalist.finalist,
            arm=runs.finalist.arm,
            views=runs.finalist.trial.regime.for_training.views,
            values=tuple(ends[fresh].value for fresh in done),
            mean=None if mean is None else mean.estimate,
            standard_error=None if mean is None else mean.standard_error,
            low=None if mean is None else mean.low,
            high=None if mean is None else mean.high,
            dropped_at=runs.dropped_at,
            reason=runs.lost or runs.left_behind,
            work=self._work(runs),
            run_work=float(np.mean([one.work for one in ends.values()])) if ends else 0.0,
            **self._scoring.averages(self._done(runs, rested)),
        )


def fresh_job(trial: TrialResult, fresh: int, seed: int) -> Job:
    """Give the run of a trial's schedule on a fresh seed.

    Args:
        trial: Whose schedule.
        fresh: Number of the fresh seed, from 0.
        seed: The study's.
    """
    return Job(
        trial=trial.number,
        fold=0,
        fresh=fresh,
        seed=derive(seed, "confirm", fresh),
        schedule=trial.schedule,
        regime=trial.regime.for_training,
    )


def keeps_model(fresh: int, planned: int) -> bool:
    """Whether the test split may be read by the model of a run: its checkpoint then spares a training.

    Args:
        fresh: Number of its fresh seed.
        planned: Fresh seeds at most.
    """
    firsts = (0,) if planned == LOOKS[0] else LOOKS[:-1]
    return any(first <= fresh < first + TEST_SEEDS for first in firsts)


def _mean_loss(ends: Sequence[EpochRecord]) -> float | None:
    """Average the validation loss; None where there is none, or where some run did not tell it."""
    if not ends or any(end.val_loss is None for end in ends):
        return None
    return float(np.mean([end.log_loss for end in ends]))
