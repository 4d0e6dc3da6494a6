"""Who watches a session: listeners and ``status.json`` are told, and the report is written again."""

import math
import os
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from autofreeze.confirm import FreshObserver
from autofreeze.errors import AutofreezeError
from autofreeze.figures import shown_value
from autofreeze.job import EpochRecord, Job
from autofreeze.live import LiveTrial, Observer
from autofreeze.looks import Look
from autofreeze.phrases import printable
from autofreeze.recipes import name_of
from autofreeze.results import Ending, TrialResult, ended_trials, rank
from autofreeze.scale import Scale
from autofreeze.status import BestSoFar, Doing, FreshSeeds, Status, UnderWay, places_of
from autofreeze.statusfile import StatusFile


class Listener(Observer, FreshObserver, Protocol):
    """Who is told of a whole session: a display, or a log."""


class Watcher:
    """The observer of a session: of its study, and of its confirmation. It tells all others.

    Within its block the status is kept true. At the block's end it says that the search has ended, and what
    ended it before its time.

    Args:
        listeners: Who is told what happens, in this order.
        folder: The run folder; its lock is held.
        trials: Trials that the search was asked for.
        scale: Of the metric that trials are judged by.
        tunings: Trials by which baselines will be tuned, beside them.
        command: What was typed to begin it.
    """

    def __init__(
        self,
        listeners: Sequence[Listener],
        folder: Path,
        *,
        trials: int,
        scale: Scale,
        tunings: int = 0,
        command: str = "",
    ) -> None:
        self.after_trial: Callable[[], object] = lambda: None
        self._listeners = tuple(listeners)
        self._scale, self._command = scale, printable(command)  # names of files may hold any bytes
        self._trials, self._tunings = trials, tunings
        self._began, self._doing, self._cut_short = _now(), Doing.PREPARING, ""
        self._ended: Counter[str] = Counter()
        self._counted = self._tuned = 0
        self._best: TrialResult | None = None
        self._under_way: dict[str, UnderWay] = {}
        self._fresh: FreshSeeds | None = None
        self._pace = _Pace()
        self._lock = threading.Lock()
        self._file = StatusFile(folder, self.status)

    def __enter__(self) -> Self:
        self._file.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._cut_short = reason_of(error)
        with self._changing():
            self._doing = Doing.ENDED
            self._under_way.clear()
        self._file.__exit__(kind, error, trace)

    def status(self) -> Status:
        """Say how it goes."""
        with self._lock:
            under_way = tuple(self._under_way.values())
            best = self._best
            return Status(
                written=_now(),
                began=self._began,
                process=os.getpid(),
                host=socket.gethostname(),
                command=self._command,
                doing=self._doing,
                trials=self._trials,
                counted=self._counted,
                tunings=self._tunings,
                tuned=self._tuned,
                ended=dict(self._ended),
                best=None if best is None else self._best_so_far(best),
                scale=self._scale,
                under_way=under_way,
                places=places_of(under_way),
                fresh=self._fresh,
                seconds_left=self._seconds_left(),
                cut_short=self._cut_short,
            )

    # What the session tells

    def take_up(self, results: Sequence[TrialResult]) -> None:
        """Take note of the trials of earlier sessions."""
        with self._changing():
            for result in results:
                self._count(result)

    def searching(self, seconds: float | None) -> None:
        """Take note that trials begin; ``seconds`` may be spent on them, where a time was given."""
        with self._changing():
            self._doing, self._pace = Doing.SEARCHING, _Pace(seconds)

    def confirming_begins(self, planned: int, seconds: float | None) -> None:
        """Take note that finalists run on so many fresh seeds at most."""
        with self._changing():
            self._under_way.clear()
            self._doing, self._pace = Doing.CONFIRMING, _Pace(seconds)
            self._fresh = FreshSeeds(planned=planned)

    def reading_begins(self) -> None:
        """Take note that the test split is read."""
        with self._changing():
            self._doing = Doing.READING

    def ends(self, cut_short: str) -> None:
        """Take note of why it ends before its time; empty when it does not."""
        self._cut_short = cut_short

    # What the study tells

    def trial_started(self, trial: LiveTrial) -> None:
        """Take note that a trial has begun, or has been taken up again."""
        fold = min(trial.done_folds(), trial.n_folds - 1)
        curve = trial.curves.get(fold, ())
        with self._changing():
            self._under_way[_key(trial.number)] = UnderWay(
                number=trial.number,
                name=trial.baseline or name_of(trial.schedule),
                heads=len(trial.members),
                fold=fold,
                folds=trial.n_folds,
                epochs_done=curve[-1].epochs_done if curve else 0.0,
                epochs=trial.schedule.epochs,
                value=self._shown(curve[-1]) if curve else None,
                since=_now(),
            )
        for listener in self._listeners:
            listener.trial_started(trial)

    def epoch_done(self, trial: LiveTrial, record: EpochRecord) -> None:
        """Take note that a run has finished an epoch; a fold's last one leads to the next fold."""
        fold, done = trial.done_folds(), 0.0
        if not record.last or fold == trial.n_folds:
            fold, done = max(trial.curves), record.epochs_done
        self._move(_key(trial.number), record, fold=fold, epochs_done=done, where=trial.where)
        for listener in self._listeners:
            listener.epoch_done(trial, record)

    def trial_ended(self, result: TrialResult) -> None:
        """Take note that a trial has ended, for good."""
        with self._changing():
            self._under_way.pop(_key(result.number), None)
            self._count(result)
            self._pace.done += 1
        for listener in self._listeners:
            listener.trial_ended(result)
        self.after_trial()

    # What the confirmation tells

    def run_started(self, job: Job, name: str) -> None:
        """Take note that a run on a fresh seed was handed out."""
        run = UnderWay(number=job.trial, name=name, fresh=job.fresh, epochs=job.schedule.epochs, since=_now())
        with self._changing():
            self._under_way[job.key] = run
        for listener in self._listeners:
            listener.run_started(job, name)

    def run_recorded(self, job: Job, record: EpochRecord, where: str) -> None:
        """Take note that a run on a fresh seed has finished an epoch."""
        self._move(job.key, record, epochs_done=record.epochs_done, where=where)
        for listener in self._listeners:
            listener.run_recorded(job, record, where)

    def run_ended(self, job: Job) -> None:
        """Take note that a run on a fresh seed has ended, or was let go."""
        with self._changing():
            self._under_way.pop(job.key, None)
            self._pace.done += 1
        for listener in self._listeners:
            listener.run_ended(job)

    def confirming(self, done: int, total: int) -> None:
        """Take note of how many runs are done, of those that the next look waits for."""
        with self._changing():
            if self._fresh is not None:
                self._fresh = self._fresh.model_copy(update={"done": done, "total": total})
        for listener in self._listeners:
            listener.confirming(done, total)

    def looked(self, look: Look) -> None:
        """Take note of what a look has found."""
        with self._changing():
            if self._fresh is not None:
                self._fresh = FreshSeeds(seeds=look.seeds, planned=self._fresh.planned)
        for listener in self._listeners:
            listener.looked(look)

    # Keeping count

    @contextmanager
    def _changing(self) -> Iterator[None]:
        with self._lock:
            yield
        self._file.changed()

    def _move(self, key: str, record: EpochRecord, **moved: object) -> None:
        with self._changing():
            run = self._under_way.get(key)
            if run is not None:
                told = {"value": self._shown(record), "heard": _now()}
                self._under_way[key] = run.model_copy(update={**told, **moved})

    def _count(self, result: TrialResult) -> None:
        self._ended[result.ending.value] += 1
        self._counted += ended_trials((result,))
        self._tuned += result.tuned
        complete = result.ending is Ending.COMPLETE and result.affordable
        if complete and (self._best is None or rank(result) > rank(self._best)):
            self._best = result

    def _shown(self, record: EpochRecord) -> float | None:
        return self._scale.shown(record.value) if math.isfinite(record.value) else None

    def _best_so_far(self, best: TrialResult) -> BestSoFar:
        return BestSoFar(
            number=best.number, name=best.baseline or best.recipe, value=shown_value(self._scale, best)
        )

    def _seconds_left(self) -> float | None:
        if self._doing is Doing.SEARCHING:
            counted = min(self._counted, self._trials) + min(self._tuned, self._tunings)
            return self._pace.seconds_for(self._trials + self._tunings - counted)
        if self._doing is Doing.CONFIRMING and self._fresh is not None and self._fresh.total:
            return self._pace.seconds_for(self._fresh.total - self._fresh.done)
        return None


class _Pace:
    """How fast something goes that is done one by one.

    Args:
        given: Seconds that it may take; None where there is no limit.
    """

    def __init__(self, given: float | None = None) -> None:
        self.done = 0
        self._given, self._since = given, time.monotonic()

    def seconds_for(self, more: int) -> float | None:
        """Say how long so many more will take at the pace so far, and within the time that was given."""
        elapsed = time.monotonic() - self._since
        known = [] if self._given is None else [max(self._given - elapsed, 0.0)]
        known += [elapsed / self.done * more] if self.done else []
        return min(known, default=None)


def reason_of(error: BaseException) -> str:
    """Say in a line what ended a search: Ctrl-C, an error that tells itself, or one that nobody expected."""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    text = "; ".join(" ".join(line.split()) for line in str(error).splitlines() if line.strip())
    return text if isinstance(error, AutofreezeError) else f"{type(error).__name__}: {text}"


def _key(number: int) -> str:
    return f"trial {number}"


def _now() -> datetime:
    return datetime.now(UTC)
