"""Runs of a training of one's own: what it yields, made into records."""

import random
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from autofreeze.cost import run_work
from autofreeze.errors import AutofreezeError, ConfigError, TrainingError
from autofreeze.job import EpochRecord, Job
from autofreeze.own.epoch import Reading, Yielded, pack, read_epoch
from autofreeze.own.groups import OwnGroups
from autofreeze.own.job import FitJob
from autofreeze.records import Curves
from autofreeze.scale import Scale
from autofreeze.schedule import Schedule, Timetable
from autofreeze.values import digest_of

if TYPE_CHECKING:
    from autofreeze.own.binding import OwnBound

Fit = Callable[[FitJob], Iterable[Yielded]]
"""A training of one's own: a generator that yields after each epoch."""

FINE = 1000
"""Steps per epoch of a timetable where nobody counts steps: fine enough for any length of a phase."""


@dataclass
class OwnRunner:
    """Runs a training of one's own.

    Its mistakes end the search while no run has come to its end, since the next one would make them too;
    later ones are failures of their trial.
    """

    fit: Fit
    groups: OwnGroups
    scale: Scale
    n_folds: int
    _sound: bool = False
    """Whether some run has come to its end."""

    _examples: dict[tuple[str, int], str] = field(default_factory=dict)
    """What each fold, and each fresh seed, was scored on."""

    def recall(self, search: Curves, fresh: Curves) -> None:
        """Take note of the runs of earlier sessions."""
        for kind, curves in (("fold", search), ("fresh", fresh)):
            for (_, number), curve in curves.items():
                if curve and curve[-1].last and not curve[-1].diverged:
                    self._sound = True
                    end = curve[-1]
                    self._examples.setdefault((kind, number), _examples_of(end.n_val, end.scores, end.ids))

    def run(self, job: Job, checkpoint: Path) -> Iterator[EpochRecord]:
        """Run one job.

        Args:
            job: What to train.
            checkpoint: A file that the training may use; its folder is made.

        Yields:
            A record after each epoch; the last one where the run has diverged.

        Raises:
            ConfigError: The training does not do what it must, and no run has come to its end so far.
            TrainingError: The training broke off, or does not do what it must.
        """
        clock = _Clock()
        keeper = _Bookkeeper(job.schedule, self.groups, self.scale)
        checkpoint.parent.mkdir(exist_ok=True)
        epochs = round(job.schedule.epochs)
        handed = FitJob(
            trial=job.trial, schedule=job.schedule, regime=job.regime, epochs=epochs, seed=job.seed,
            fold=job.fold, n_folds=self.n_folds, fresh=job.fresh, checkpoint=checkpoint,
            _groups=self.groups, _on_bind=keeper.bound_to,
        )  # fmt: skip
        _set_generators(job.seed)
        yielded: Iterator[Any] | None = None
        try:
            yielded = self._begin(handed)
            for epoch in range(epochs):
                reading = self._read(yielded, epoch, epochs)
                last = epoch == epochs - 1
                if last and not reading.trouble:
                    self._check_examples(job, reading)
                clock.stop()
                yield keeper.record(epoch, reading, last=last, seconds=clock.seconds)
                clock.go_on()
                if reading.trouble:
                    return
            if self._next(yielded) is not _OVER:
                self._refuse(
                    f"fit yielded more than {epochs} times; yield once after each of job.epochs epochs"
                )
            self._sound = True
        finally:
            # Whoever does not let itself be closed shall not take the search with it.
            with suppress(Exception):
                getattr(yielded, "close", lambda: None)()

    def _begin(self, handed: FitJob) -> Iterator[Any]:
        try:
            given = self.fit(handed)
        except Exception as error:
            raise _told(error) from error
        if isinstance(given, str | bytes | Mapping) or not isinstance(given, Iterable):
            self._refuse(
                f"fit returned {given!r} ({type(given).__name__}); it must be a generator, with a yield "
                "after each epoch"
            )
        return iter(given)

    def _next(self, yielded: Iterator[Any]) -> Any:
        try:
            return next(yielded, _OVER)
        except Exception as error:
            raise _told(error) from error

    def _read(self, yielded: Iterator[Any], epoch: int, epochs: int) -> Reading:
        given = self._next(yielded)
        if given is _OVER:
            self._refuse(
                f"fit ended after {epoch} of {epochs} epochs; yield once after each of job.epochs epochs"
                if epoch
                else "fit yielded nothing; yield a value, or autofreeze.Epoch(…), after each epoch"
            )
        try:
            return read_epoch(given)
        except TrainingError as error:
            self._refuse(*error.problems)
            raise

    def _check_examples(self, job: Job, reading: Reading) -> None:
        """Refuse a run that was scored on other examples than those before it, on the same fold or seed."""
        where = ("fold", job.fold) if job.fresh is None else ("fresh", job.fresh)
        n = 0 if reading.scores is None else len(reading.scores)
        own = _examples_of(n, "x" if n else "", "" if reading.ids is None else pack(reading.ids))
        before = self._examples.setdefault(where, own)
        if own != before:
            which = f"fold {job.fold}" if job.fresh is None else f"fresh seed {job.fresh}"
            self._refuse(
                f"fit scored {which} on other examples than an earlier run ({n or 'no'} scores now); which "
                "examples a run is scored on must follow from job.fold in the search, and from job.seed on a "
                "fresh seed"
            )

    def _refuse(self, *problems: str) -> None:
        """Tell that the training does not do what it must."""
        kind = TrainingError if self._sound else ConfigError
        raise kind(list(problems))


class _Bookkeeper:
    """Makes records of readings: where the schedule stands, and what has been spent."""

    def __init__(self, schedule: Schedule, groups: OwnGroups, scale: Scale) -> None:
        self._schedule, self._groups, self._scale = schedule, groups, scale
        self._bound: OwnBound | None = None
        self._first_loss = float("nan")

    def bound_to(self, bound: "OwnBound") -> None:
        """Take note of what the schedule was bound to."""
        self._bound = bound

    @cached_property
    def _fine(self) -> Timetable:
        return self._schedule.timetable(FINE)

    def record(self, epoch: int, reading: Reading, *, last: bool, seconds: float) -> EpochRecord:
        """Make the record of an epoch; losses that nobody knows are NaN or None, and judge nobody."""
        own = self._fine if self._bound is None else self._bound.timetable
        steps = (epoch + 1) * own.steps_per_epoch
        columns = len(self._groups.names)
        trouble = reading.trouble
        train_loss = float("nan") if reading.train_loss is None else reading.train_loss
        if epoch == 0 and train_loss > 0:  # others have no multiples
            self._first_loss = train_loss
        ends = last and not trouble
        return EpochRecord(
            epoch=epoch,
            epochs_done=epoch + 1.0,
            step=0 if self._bound is None else steps,
            train_loss=train_loss,
            phase_start_loss=self._first_loss,
            val_loss=reading.val_loss,
            value=float("nan") if trouble else self._scale.objective(reading.value),
            predicted="",
            scores=pack(self._objectives(reading)) if ends and reading.scores is not None else "",
            ids=pack(reading.ids) if ends and reading.ids is not None else "",
            n_val=0 if reading.scores is None else len(reading.scores),
            rates=own.rates(steps - 1),
            grad_norms=(None,) * columns,
            grad_norms_max=(None,) * columns,
            work=run_work(self._fine, self._groups.work_shares, n_train=1, n_val=0, epochs=epoch + 1),
            seconds=seconds,
            epochs_since_unfreeze=(steps - own.last_unfreeze) / own.steps_per_epoch,
            diverged=f"{trouble} in epoch {epoch}" if trouble else "",
            last=last or bool(trouble),
        )

    def _objectives(self, reading: Reading) -> Any:
        assert reading.scores is not None
        return -reading.scores if self._scale.direction == "minimize" else reading.scores


class _Clock:
    """Counts the seconds of a run, but for those in which its record is judged."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._since = time.perf_counter()

    def stop(self) -> None:
        self.seconds += time.perf_counter() - self._since

    def go_on(self) -> None:
        self._since = time.perf_counter()


_OVER = object()


def _examples_of(n: int, scores: str, ids: str) -> str:
    return digest_of([n if scores else 0, ids])


def _set_generators(seed: int) -> None:
    """Set the generators that trainings commonly use, so that one that sets none repeats all the same."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - the old generator is the one that others use unasked
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.manual_seed(seed)


def _told(error: Exception) -> AutofreezeError:
    """Tell an error of the training in a line, with the place where it arose."""
    if isinstance(error, AutofreezeError):
        return error
    frames = traceback.extract_tb(error.__traceback__)[1:]
    place = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno}, in {frames[-1].name})" if frames else ""
    own = [frame for frame in frames if not _is_library(frame.filename)]
    if own and own[-1] is not frames[-1]:
        place = f" ({Path(own[-1].filename).name}:{own[-1].lineno}, in {own[-1].name})"
    return TrainingError(f"{type(error).__name__}: {' '.join(str(error).split())[:300]}{place}")


def _is_library(filename: str) -> bool:
    return "site-packages" in filename or filename.startswith((sys.base_prefix, "<frozen"))
