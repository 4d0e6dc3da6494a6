"""The search on one data set: ask for a trial, judge its records, tell how it ended."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.trial import TrialState

from autofreeze.baselines import baseline_quota
from autofreeze.confirmation import arm_of
from autofreeze.curves import StudyCurves
from autofreeze.endings import result_of
from autofreeze.errors import RunFolderError, TrainingError
from autofreeze.executors.protocol import Event, Executor, Failed, Finished, Recorded, Waiting
from autofreeze.finalists import BY_ARM, Finalist, choose_finalists
from autofreeze.frugality import Frugality
from autofreeze.job import EpochRecord, Job
from autofreeze.live import LiveTrial, Observer
from autofreeze.outcomes import Outcomes
from autofreeze.phrases import listed
from autofreeze.proposals import Proposal, Proposals
from autofreeze.pruning import Decision, Go, Unpromising, Unstable, judge, judge_fold
from autofreeze.records import read_records
from autofreeze.regime import Regime
from autofreeze.results import SPLIT_BATCHES, Ending, TrialResult
from autofreeze.run import RunFolder
from autofreeze.rungs import Rungs
from autofreeze.samplers import SamplerName
from autofreeze.schedule import Schedule
from autofreeze.scoring import Scoring
from autofreeze.seeds import derive
from autofreeze.space import Space
from autofreeze.warmstart import WarmStart

MOST_DEAR = 10
"""Draws that may not be afforded, for each trial that was asked for: then the search ends."""

MAX_FIRST_FAILURES = 3
"""A search whose first trials all fail has a fault that no schedule mends."""


@dataclass(frozen=True)
class Limits:
    """When a search ends."""

    trials: int
    """Trials in all, baselines and those of an earlier session included. A fifth may be baselines."""

    seconds: float | None = None
    """Wall-clock time of this session."""

    tuned: tuple[str, ...] = ()
    """Baselines whose rate is tuned afterwards, by as many trials each."""


class Study:
    """A search on one data set.

    Args:
        run: The open run folder.
        space: What may be tried.
        executor: Where jobs run.
        scoring: What records are worth, and on how many folds.
        seed: Decides the sampler's draws and every run's randomness.
        sampler: Which sampler proposes.
        prune: Whether unpromising trials are ended early; unstable ones always are.
        observer: Who is told what happens.
        run_work: Forward-equivalents of a schedule's whole run on one fold; needed with ``max_work``.
        max_work: Forward-equivalents that one run may take. Schedules that would take more are drawn and told
            to the sampler as violated constraints, and are not trained. Baselines are, to compare with.
        can_sweep: Whether a draw of a head alone becomes a sweep of many (``sweeps.py``); asked when there is
            one.
        warm_starts: What won in earlier searches; tried right behind the baselines.
        candidates: Draws among which a trial is chosen, by what they promise for their work
            (``frugality.py``); more than one needs ``run_work``.
    """

    def __init__(
        self,
        run: RunFolder,
        space: Space,
        executor: Executor,
        *,
        scoring: Scoring,
        seed: int,
        sampler: SamplerName,
        prune: bool = True,
        observer: Observer | None = None,
        run_work: Callable[[Schedule, Regime], float] | None = None,
        max_work: float | None = None,
        can_sweep: Callable[[], bool] = lambda: False,
        warm_starts: Sequence[WarmStart] = (),
        candidates: int = 1,
    ) -> None:
        self._run = run
        self._study = run.study
        self._executor = executor
        self._n_folds = scoring.n_folds
        self._seed = seed
        self._prune = prune
        self._observer = observer
        self._run_work, self._max_work = run_work, max_work
        self._warm_starts = warm_starts
        self._scoring = scoring
        frugality = None
        if candidates > 1 and run_work is not None:
            frugality = Frugality(candidates, run_work, scoring.effective_examples(0))
        self._proposals = Proposals(
            run.study, space, sampler, seed, lambda: self.results, can_sweep, frugality
        )
        self._live: dict[int, LiveTrial] = {}
        trials = self._study.get_trials(deepcopy=False)
        self._ended = Outcomes(_read_result(trial) for trial in trials if trial.state.is_finished())
        self._curves = StudyCurves(read_records(run.path))
        _refuse_lost_records(self._ended, self._curves)
        self._rungs = Rungs(scoring, self._curves)
        for result in self._ended:
            self._curves.settle(result.number, result.member)
            self._rungs.reload(result)

    @property
    def results(self) -> tuple[TrialResult, ...]:
        """Every trial that has ended, and those under way as unfinished, by number."""
        return self._ended.with_unfinished(
            [self._result(live, Ending.UNFINISHED) for live in self._live.values()]
        )

    def finalists(self) -> tuple[Finalist, ...]:
        """Choose whose schedules are worth fresh seeds; see ``finalists.choose_finalists``."""
        complete = [one for one in self._ended if one.ending is Ending.COMPLETE and one.same_as is None]
        merits = {one.number: self._merits(one, self._n_folds) for one in complete}
        scoring = self._scoring
        return choose_finalists(complete, merits, unit=scoring.unit, overlap=scoring.overlap)

    def search(self, limits: Limits, should_stop: Callable[[], str] = lambda: "") -> str:
        """Run trials until a limit is reached.

        Args:
            limits: When to end.
            should_stop: Asked after every event. A reason ends the search; trials under way can be resumed.

        Returns:
            What cut the search short; empty when all trials ran.

        Raises:
            TrainingError: The first trials all failed.
        """
        began = time.monotonic()
        self._proposals.enqueue_baselines(baseline_quota(limits.trials))
        self._proposals.enqueue_warm_starts(self._warm_starts)
        for proposal in self._proposals.running():
            self._begin(proposal)
        while True:
            reason = should_stop() or self._out_of_time(limits, began)
            if reason:
                return reason
            while len(self._live) < self._executor.capacity and self._asked() < limits.trials:
                if self._ended.dear >= MOST_DEAR * limits.trials:
                    return "hardly a schedule of the space can be afforded (--max-cost, --max-work)"
                with self._run.together():
                    proposal = self._proposals.ask()
                self._begin(proposal)
            while len(self._live) < self._executor.capacity and self._tuning_left(limits):
                with self._run.together():
                    proposal = self._proposals.ask_tuning(limits.tuned, limits.trials)
                self._begin(proposal)
            if not self._live:
                return ""
            self._handle(self._executor.next_event())

    def let_go(self) -> None:
        """Stop what a search that was cut short has in hand, so that the executor is free for others.

        Its trials stay under way; the next session goes on with them.
        """
        for live in self._live.values():
            if live.job is not None:
                self._executor.stop(live.job)

    def _out_of_time(self, limits: Limits, began: float) -> str:
        if limits.seconds is None or time.monotonic() - began < limits.seconds:
            return ""
        left = self._asked() < limits.trials or self._tuning_left(limits)
        return "out of time" if self._live or left else ""

    def _asked(self) -> int:
        """Trials of the search so far: neither those of a tuning, nor those that were too dear to run."""
        return self._proposals.asked() - self._ended.dear

    def _tuning_left(self, limits: Limits) -> bool:
        return self._proposals.tuning_left(limits.tuned, limits.trials)

    # Beginning

    def _begin(self, proposal: Proposal) -> None:
        """Submit a trial's first fold, or the one it had come to; take over the result of an equal one."""
        live = LiveTrial.of(proposal, self._n_folds)
        live.curves = {fold: list(curve) for fold, curve in self._curves.of(live.number).items()}
        self._live[live.number] = live
        if not (live.baseline or self._is_affordable(live)):
            self._end_too_dear(live)
            return
        live.optuna_trial.set_user_attr("digest", live.settings_digest)
        self._run_or_take_over(live)

    def _run_or_take_over(self, live: LiveTrial) -> None:
        """Run a trial, unless an equal one has ended or is under way, whose outcome it then takes over."""
        twin = self._ended.twin_of(live.settings_digest, spared=live.spared)
        if twin is not None:
            self._take_over(live, twin)
            return
        equals = (one for one in self._live.values() if one.settings_digest == live.settings_digest)
        live.waits = any(one is not live and not one.waits for one in equals)
        if live.waits:
            return
        if self._observer:
            self._observer.trial_started(live)
        self._catch_up(live)

    def _catch_up(self, live: LiveTrial) -> None:
        """Go on where a dead search stopped: it may have kept a record without telling or judging it."""
        for fold, curve in live.curves.items():
            for record in curve:
                self._report(live, record, self._step(live, fold, record))
        fold = max(live.curves, default=0)
        self._rungs.reach(live.number, fold)
        if not live.curves or not live.curves[fold][-1].last:
            self._next_fold(live)
            return
        job = self._job(live, fold)
        self._run.drop_checkpoint(job)
        self._judge_record(live, job, live.curves[fold][-1])
        if live.number in self._live:
            self._judge_trial(live)

    def _work_of_run(self, live: LiveTrial) -> float:
        """Forward-equivalents of one run; none where nobody counts them."""
        return 0.0 if self._run_work is None else self._run_work(live.schedule, live.regime)

    def _is_affordable(self, live: LiveTrial) -> bool:
        return self._max_work is None or self._work_of_run(live) <= self._max_work

    def _end_too_dear(self, live: LiveTrial) -> None:
        """Tell a schedule that may not be afforded as a violated constraint, untrained."""
        assert self._max_work is not None
        work = self._work_of_run(live)
        self._constrain(live, "affordable", work / self._max_work - 1)
        reason = f"a run takes {work:,.0f} forward-equivalents, {self._max_work:,.0f} are allowed"
        self._end(live, self._result(live, Ending.TOO_DEAR, reason), TrialState.PRUNED)

    # Judging

    def _next_fold(self, live: LiveTrial) -> None:
        """Submit the next fold that is not done, or end the trial when all are."""
        fold = live.done_folds()
        if fold == live.n_folds:
            self._complete(live)
            return
        live.job = self._job(live, fold)
        self._executor.submit(live.job)

    def _job(self, live: LiveTrial, fold: int) -> Job:
        return Job(
            trial=live.number,
            fold=fold,
            seed=derive(self._seed, "fold", fold),
            schedule=live.schedule,
            regime=live.regime,
            members=live.members,
        )

    @staticmethod
    def _step(live: LiveTrial, fold: int, record: EpochRecord) -> int:
        """Give the step under which Optuna knows a record: folds one after the other."""
        return fold * math.ceil(live.schedule.epochs) + record.epoch

    def _handle(self, event: Event) -> None:
        if isinstance(event, Waiting):
            return
        live = self._live[event.job.trial]
        match event:
            case Recorded(job, record, where):
                live.where = where
                self._keep(live, event)
                self._judge_record(live, job, record)
            case Finished(job):
                self._run.drop_checkpoint(job)
                if live.done_folds() <= job.fold:
                    self._fail(live, "the run ended before its schedule did", "")
                else:
                    self._judge_trial(live)
            case Failed(job, error, details):
                self._run.drop_checkpoint(job)
                self._fail(live, error, details)

    def _keep(self, live: LiveTrial, event: Recorded) -> None:
        job, record = event.job, event.record
        curve = live.curves.setdefault(job.fold, [])
        if record.epoch < len(curve):
            return  # told again by a run that was continued
        self._run.append(job, record, at=event.at, where=event.where)
        curve.append(record)
        self._curves.append(job.trial, job.fold, record)
        self._report(live, record, self._step(live, job.fold, record))
        if self._observer:
            self._observer.epoch_done(live, record)

    def _judge_record(self, live: LiveTrial, job: Job, record: EpochRecord) -> None:
        if not record.comparable:
            self._executor.stop(job)
            self._run.drop_checkpoint(job)
            self._end(live, self._result(live, Ending.NOT_COMPARABLE, SPLIT_BATCHES), TrialState.FAIL)
            return
        spared = self._is_spared(live) or job.fold > 0  # then ranks decide, after each fold
        peers = self._curves.peers(live.number, job.fold)
        n = self._scoring.effective_examples(job.fold)
        before = live.curves[job.fold][: record.epoch]
        tell = self._scoring.tell
        match judge(record, peers, epochs=live.schedule.epochs, n=n, spared=spared, before=before, tell=tell):
            case Unstable(reason):
                self._stop(live, job, Ending.UNSTABLE, reason)
            case Unpromising(reason):
                self._stop(live, job, Ending.UNPROMISING, reason)
            case Go():
                pass

    def _judge_trial(self, live: LiveTrial) -> None:
        """Between two folds: go on when the trial is among the best that have come as far."""
        done = live.done_folds()
        self._rungs.reach(live.number, done)
        if done < live.n_folds:
            decision = self._decide_between(live, done)
            if isinstance(decision, Unpromising):
                self._end_pruned(live, Ending.UNPROMISING, decision.reason)
                return
        self._next_fold(live)

    def _decide_between(self, live: LiveTrial, done: int) -> Decision:
        """Decide after some folds; a baseline goes on unless it is clearly behind, paired by image."""
        if not self._prune or self._arm_lacks(live):
            return Go()
        if not live.spared:
            return self._rungs.judge(live.number, done)
        best = self._ended.best
        if best is None:
            return Go()
        ours = self._scoring.merits([live.curves[fold][-1] for fold in range(done)])
        scoring = self._scoring
        return judge_fold(ours, self._merits(best, done), unit=scoring.unit, overlap=scoring.overlap)

    def _is_spared(self, live: LiveTrial) -> bool:
        """Whether a run is trained to its end: that of a baseline, or where its arm lacks finalists."""
        return live.spared or not self._prune or self._arm_lacks(live)

    def _arm_lacks(self, live: LiveTrial) -> bool:
        """Whether a trial's arm lacks finalists: too few are complete, or were in hand before this one."""
        arm = arm_of(live.schedule)
        if arm not in self._proposals.arms:
            return False
        before = (one for one in self._live.values() if one.number < live.number and not one.waits)
        ahead = sum(arm_of(one.schedule) == arm for one in before)
        return self._ended.complete_in(arm) + ahead < BY_ARM

    def _merits(self, result: TrialResult, n_folds: int) -> NDArray[np.float64]:
        """Share out a trial's metric to the images of the first folds."""
        return self._scoring.merits([self._curves.told(result.origin, fold)[-1] for fold in range(n_folds)])

    def _stop(self, live: LiveTrial, job: Job, ending: Ending, reason: str) -> None:
        self._executor.stop(job)
        self._run.drop_checkpoint(job)
        self._end_pruned(live, ending, reason)

    # Telling

    def _complete(self, live: LiveTrial) -> None:
        result = self._result(live, Ending.COMPLETE)
        assert result.value is not None
        self._constrain(live, "stable", 0.0)
        self._end(live, result, TrialState.COMPLETE)

    def _end_pruned(self, live: LiveTrial, ending: Ending, reason: str) -> None:
        self._constrain(live, "stable", 1.0 if ending is Ending.UNSTABLE else 0.0)
        self._end(live, self._result(live, ending, reason), TrialState.PRUNED)

    def _fail(self, live: LiveTrial, error: str, details: str) -> None:
        if details:
            live.optuna_trial.set_user_attr("traceback", details[-4000:])
        self._end(live, self._result(live, Ending.FAILED, error), TrialState.FAIL)
        ended = self._ended
        if len(ended) == MAX_FIRST_FAILURES and all(one.ending is Ending.FAILED for one in ended):
            raise TrainingError(
                [
                    f"the first {MAX_FIRST_FAILURES} trials all failed; the search stops here",
                    *sorted({one.reason for one in ended}),
                ]
            )

    def _take_over(self, live: LiveTrial, twin: TrialResult) -> None:
        swept = {} if twin.member is None else twin.members[twin.member].params
        own = {
            "number": live.number,
            "baseline": live.baseline,
            "tuned": live.tuned,
            "params": dict(live.optuna_trial.params) | swept,
            "warm_start": live.optuna_trial.user_attrs.get("warm_start"),
        }
        spent = {"same_as": twin.origin, "work": 0.0, "seconds": 0.0}
        result = TrialResult.model_validate({**twin.model_dump(), **own, **spent})
        unstable = twin.ending is Ending.UNSTABLE
        self._constrain(live, "stable", 1.0 if unstable else 0.0)
        for number, record in enumerate(self._curves.of(twin.origin).get(0, ())):
            self._report(live, record, number)
        complete = twin.ending is Ending.COMPLETE
        self._end(live, result, TrialState.COMPLETE if complete else TrialState.PRUNED)

    def _report(self, live: LiveTrial, record: EpochRecord, step: int) -> None:
        """Tell Optuna a value, once: a search that was killed may have told it already. Never a NaN."""
        if record.is_finite and step not in self._kept(live).intermediate_values:
            live.optuna_trial.report(record.value, step)

    def _constrain(self, live: LiveTrial, name: str, violation: float) -> None:
        """Tell Optuna how far a constraint is violated, once."""
        if name not in self._kept(live).constraints:
            live.optuna_trial.set_constraint(name, violation)

    def _kept(self, live: LiveTrial) -> optuna.trial.FrozenTrial:
        """Give what the study's storage holds of a trial."""
        return self._study._storage.get_trial(live.optuna_trial._trial_id)

    def _end(self, live: LiveTrial, result: TrialResult, state: TrialState) -> None:
        """Keep the outcome first, then tell: a finished trial takes no more attributes."""
        with self._run.together():
            live.optuna_trial.set_user_attr("result", result.model_dump_json())
            self._proposals.settle(self._kept(live), result.params)
            value = result.value if state == TrialState.COMPLETE else None
            self._study.tell(live.optuna_trial, value, state=state)
        del self._live[live.number]
        self._ended.add(result)
        self._curves.settle(live.number, result.member)
        if self._observer:
            self._observer.trial_ended(result)
        for other in [one for one in self._live.values() if one.waits]:
            if other.number in self._live and other.settings_digest == live.settings_digest:
                self._run_or_take_over(other)

    def _result(self, live: LiveTrial, ending: Ending, reason: str = "") -> TrialResult:
        return result_of(live, ending, reason, scoring=self._scoring, affordable=self._is_affordable(live))


def _read_result(trial: optuna.trial.FrozenTrial) -> TrialResult:
    """Read the outcome of an ended trial; it was kept before the trial was told.

    Raises:
        RunFolderError: It is damaged.
    """
    try:
        return TrialResult.model_validate_json(trial.user_attrs["result"])
    except (ValueError, KeyError):
        raise RunFolderError(
            f"study.journal: what it keeps of trial {trial.number} is damaged; put a copy of the file in its "
            "place, or begin anew with another --out"
        ) from None


def _refuse_lost_records(ended: Outcomes, curves: StudyCurves) -> None:
    """Refuse to go on where trials are judged against records that are no longer there.

    Raises:
        RunFolderError: The records of a trial that has ended add up to other work or time than it took.
    """
    lost = [
        str(one.number)
        for one in ended
        if one.same_as is None
        and not all(map(math.isclose, curves.spent(one.number), (one.work, one.seconds)))
    ]
    if lost:
        raise RunFolderError(
            f"records.jsonl lacks records of {'trial' if len(lost) == 1 else 'trials'} {listed(lost)}, "
            "which by study.journal came to an end; put copies of both files in their places, or begin anew "
            "with another --out"
        )
