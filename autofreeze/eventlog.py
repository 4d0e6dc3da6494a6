"""A search as TensorBoard shows it: curves of every run, and what each trial came to.

::

    RUN/tensorboard/
        search/trial-0003-lp_ft/fold-0/     curves of a trial
        fresh/trial-0003-lp_ft/seed-02/     curves of the confirmation
        trials/trial-0003-lp_ft/            settings, final value and ending: the tab HPARAMS
"""

import functools
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Concatenate, ParamSpec

from autofreeze.eventfile import EventFile, event_of, hparams, is_written, scalars, text
from autofreeze.figures import shown_value
from autofreeze.job import EpochRecord, Job
from autofreeze.live import LiveTrial
from autofreeze.looks import Look
from autofreeze.phrases import sentence
from autofreeze.recipes import name_of
from autofreeze.records import read_fresh_records, read_records
from autofreeze.results import Ending, TrialResult
from autofreeze.scale import Scale
from autofreeze.schedule import Schedule

if TYPE_CHECKING:
    from tensorboard.compat.proto.event_pb2 import Event

P = ParamSpec("P")

FOLDER = "tensorboard"


def _ends_no_search(
    method: "Callable[Concatenate[EventLog, P], None]",
) -> "Callable[Concatenate[EventLog, P], None]":
    """Let what a method raises end the log; one that has ended writes nothing."""

    @functools.wraps(method)
    def guarded(log: "EventLog", /, *given: P.args, **named: P.kwargs) -> None:
        if not log.off:
            try:
                method(log, *given, **named)
            except Exception as error:
                log.give_up(error)

    return guarded


class EventLog:
    """Writes event files of TensorBoard while a search runs.

    It is told what happens, like a display. A log that cannot be written is told once, and no more is
    written in this session: it ends no search. The next session writes what is missing, and replaces what it
    goes on with, from the records of the run folder; so no point is there twice.

    Args:
        run: The run folder.
        scale: Of the metric.
        tell: Takes the line that says that nothing more is written.
    """

    def __init__(self, run: Path, scale: Scale, tell: Callable[[str], None]) -> None:
        self._run, self._scale, self._tell = run, scale, tell
        self._root = run / FOLDER
        self._curves: dict[Path, _Curve] = {}
        """Folder -> the curve of a run under way."""
        self._fresh: dict[str, Path] = {}
        """Key of a run on a fresh seed -> its folder."""
        self.off = False
        """Whether no more is written."""

    @_ends_no_search
    def take_up(self, results: Sequence[TrialResult]) -> None:
        """Write what earlier sessions have run, as far as it is not there.

        Args:
            results: Of all trials so far.
        """
        ended = [one for one in results if one.ending is not Ending.UNFINISHED]
        missing = {one.number: one for one in ended if not is_written(self._outcome(one))}
        for (number, fold), curve in (read_records(self._run) if missing else {}).items():
            if number in missing:
                self._begin(self._fold(missing[number], fold), missing[number].schedule, curve)
        for one in missing.values():
            self._end(one)
        known = {one.number: one for one in ended}
        for (number, fresh), curve in read_fresh_records(self._run).items():
            if number in known:
                self._begin(self._seed(known[number], fresh), known[number].schedule, curve)

    # What the study tells

    @_ends_no_search
    def trial_started(self, trial: LiveTrial) -> None:
        """Write anew what is known of a trial that is taken up again."""
        for fold, curve in trial.curves.items():
            self._begin(self._fold(trial, fold), trial.schedule, curve)

    @_ends_no_search
    def epoch_done(self, trial: LiveTrial, record: EpochRecord) -> None:
        """Write an epoch."""
        self._add(self._fold(trial, max(trial.curves)), trial.schedule, record)

    @_ends_no_search
    def trial_ended(self, result: TrialResult) -> None:
        """Write what a trial came to."""
        self._end(result)

    # What the confirmation tells

    def run_started(self, job: Job, name: str) -> None:
        """Take note of a run on a fresh seed; its epochs are written as they come."""
        self._fresh[job.key] = self._root / "fresh" / _label(job.trial, name) / f"seed-{job.fresh or 0:02}"

    @_ends_no_search
    def run_recorded(self, job: Job, record: EpochRecord, where: str) -> None:  # noqa: ARG002 - an observer's shape
        """Write an epoch of a run on a fresh seed."""
        self._add(self._fresh[job.key], job.schedule, record)

    def run_ended(self, job: Job) -> None:
        """Let a run on a fresh seed go."""
        self._curves.pop(self._fresh.pop(job.key, self._root), None)

    def confirming(self, done: int, total: int) -> None:
        """Pass over how far a confirmation is."""

    def looked(self, look: Look) -> None:
        """Pass over what a look has found."""

    # Where runs lie

    def _fold(self, trial: LiveTrial | TrialResult, fold: int) -> Path:
        return self._root / "search" / _label(trial.number, _name(trial)) / f"fold-{fold}"

    def _seed(self, trial: TrialResult, fresh: int) -> Path:
        name = trial.baseline or trial.recipe
        return self._root / "fresh" / _label(trial.number, name) / f"seed-{fresh:02}"

    def _outcome(self, trial: TrialResult) -> Path:
        return self._root / "trials" / _label(trial.number, _name(trial))

    # Writing

    def give_up(self, error: Exception) -> None:
        """Write no more, and tell why."""
        self.off = True
        what = " ".join(str(error).split()) or type(error).__name__
        self._tell(
            f"TensorBoard: {what}; the search goes on, and no more of it is written there; a session that "
            "goes on with --resume and --log writes what is missing"
        )

    def _begin(self, folder: Path, schedule: Schedule, curve: Sequence[EpochRecord]) -> None:
        """Write a run anew, as far as it has come."""
        if curve:
            self._curves[folder] = _Curve(folder, schedule, self._scale, curve)
            self._forget(folder, curve[-1])

    def _add(self, folder: Path, schedule: Schedule, record: EpochRecord) -> None:
        if folder in self._curves:
            self._curves[folder].add(record)
        else:
            self._curves[folder] = _Curve(folder, schedule, self._scale, (record,))
        self._forget(folder, record)

    def _forget(self, folder: Path, record: EpochRecord) -> None:
        """Keep no run in mind that has come to its end."""
        if record.last:
            del self._curves[folder]

    def _end(self, trial: TrialResult) -> None:
        """Write what a trial came to; its file says that all of the trial is written."""
        search = self._root / "search" / _label(trial.number, _name(trial))
        for folder in [one for one in self._curves if one.parent == search]:
            del self._curves[folder]
        folder, at, step = self._outcome(trial), time.time(), trial.number
        ending = trial.ending.value + (f": {trial.reason}" if trial.reason else "")
        same = "" if trial.same_as is None else f"; same as trial {trial.same_as}"
        given = {"recipe": trial.recipe, "baseline": trial.baseline or "-", "ending": trial.ending.value}
        came_to = {
            f"final/{self._scale.metric}": shown_value(self._scale, trial),
            "final/loss": trial.val_loss,
        }
        numbers = {tag: value for tag, value in came_to.items() if value is not None}
        told = [
            hparams(folder.name, {**trial.params, **given}, at=at),
            scalars({**numbers, "final/work": trial.work}),
            text("ending", f"{ending}{same}"),
            text("schedule", sentence(trial.schedule)),
        ]
        EventFile(folder, [event_of(summary, step=step, at=at) for summary in told])


class _Curve:
    """The curve of one run, written as it grows.

    Args:
        folder: Of the run.
        schedule: By which it is trained.
        scale: Of the metric.
        records: Its epochs so far; one at least.
    """

    def __init__(
        self, folder: Path, schedule: Schedule, scale: Scale, records: Sequence[EpochRecord]
    ) -> None:
        self._groups, self._scale = schedule.groups, scale
        # By the seconds of the run, so that a curve that is written at once keeps its pace.
        ended = time.time() - records[-1].seconds
        self._file = EventFile(folder, [self._event(one, ended + one.seconds) for one in records])
        self._written = len(records)

    def add(self, record: EpochRecord) -> None:
        """Write an epoch, unless a run that was continued tells it again."""
        if record.epoch >= self._written:
            self._file.append(self._event(record, time.time()))
            self._written = record.epoch + 1

    def _event(self, record: EpochRecord, at: float) -> "Event":
        return event_of(scalars(told_of(record, self._groups, self._scale)), step=step_of(record), at=at)


def step_of(record: EpochRecord) -> int:
    """Give the step of an epoch: optimizer steps done, or epochs where nobody counts steps."""
    return record.step or record.epoch + 1


def told_of(record: EpochRecord, groups: Sequence[str], scale: Scale) -> dict[str, float]:
    """Give the numbers of an epoch by tag: losses in nats, the metric as people read it, rates and gradients.

    Of groups that are frozen there are none, nor is there a loss that a training of the user's own does not
    tell. A run that broke down tells the loss that is no number.

    Args:
        record: The epoch.
        groups: Names of the layer groups.
        scale: Of the metric.
    """
    value = scale.shown(record.value) if math.isfinite(record.value) else record.value
    untold = math.isnan(record.train_loss) and not record.diverged
    losses = {"loss/train": None if untold else record.train_loss, "loss/val": record.val_loss}
    told: dict[str, float | None] = {**losses, scale.metric: value}
    for kind, numbers in (("rate", record.rates), ("gradient_norm", record.grad_norms)):
        told |= {f"{kind}/{name}": number for name, number in zip(groups, numbers, strict=False)}
    return {tag: number for tag, number in told.items() if number is not None}


def _name(trial: LiveTrial | TrialResult) -> str:
    return trial.baseline or name_of(trial.schedule)


def _label(number: int, name: str) -> str:
    return f"trial-{number:04}-{name}"
