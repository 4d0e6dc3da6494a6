"""What a person sees while a search runs: a live panel on a terminal, plain lines elsewhere."""

import math
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Column

from autofreeze.figures import shown_value
from autofreeze.job import EpochRecord, Job
from autofreeze.looks import Look
from autofreeze.phrases import counted, duration, places_words, printable
from autofreeze.report.confirming import look_lines
from autofreeze.results import Ending, TrialResult, rank
from autofreeze.scale import Scale

if TYPE_CHECKING:
    from autofreeze.live import LiveTrial

TRIALS = "trials"
"""Key of the bar of all trials; it is the first one."""

STEPS = "steps"
"""Key of the bar of a training."""

SPARED_ROWS = 6
"""Rows of a terminal that bars leave to the lines above them."""


class Display:
    """Best so far, trials, time left; on standard error, so that standard output stays clean.

    Args:
        trials: Trials in all, until :meth:`begin` says otherwise.
        console: Where to write.
    """

    def __init__(self, trials: int = 0, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._trials = trials
        self._ended = 0
        self._ended_here = 0
        self._best: TrialResult | None = None
        self._began = time.monotonic()
        self._live = self._console.is_terminal
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[where]}", markup=False, table_column=Column(no_wrap=True)),
            console=self._console,
            transient=True,
            disable=not self._live,
        )
        self._bars: dict[str, TaskID] = {}
        self._hidden = 0
        self._where: dict[str, str] = {}
        """Trial, or run on a fresh seed -> where its last epoch came from."""
        self._doing, self._since, self._told = "", 0.0, 0.0
        self._scale = Scale.of("top1")

    @contextmanager
    def shown(self) -> Iterator["Display"]:
        """Show the panel until the block ends."""
        with self._progress:
            yield self

    def tell(self, line: str) -> None:
        """Write one line."""
        self._progress.console.print(printable(line), markup=False, highlight=False, soft_wrap=True)

    def preparing(self, doing: str, done: int, total: int, more: str = "") -> None:
        """Tell how far it has come: a bar, or a line every ten seconds and at the end of long ones.

        Args:
            doing: What it is at.
            done: How much of it is done.
            total: Of how much.
            more: What the line ends with.
        """
        if self._live:
            self._bar(doing, done, total)
            return
        now = time.monotonic()
        if doing != self._doing:
            self._doing, self._since, self._told = doing, now, now
        if now - self._told > 10 or (done == total and now - self._since > 2):
            self.tell(f"{doing}: {done:,} of {total:,}{more}")
            self._told = now
        if done == total:
            self._doing = ""  # the next of its kind begins anew

    def stepping(self, done: int, total: int) -> None:
        """Tell how far a training has come within its epochs: a bar, or a line every ten seconds.

        Args:
            done: Optimizer steps done.
            total: Of the whole run.
        """
        if self._live:
            self._bar("training", done, total, key=STEPS)
        elif done < total:  # the end is told by the last epoch's own line
            self.preparing("training", done, total, " steps")

    def begin(self, trials: int, results: tuple[TrialResult, ...], scale: Scale | None = None) -> None:
        """Turn to the search on one data set.

        Args:
            trials: Trials in all.
            results: Those of an earlier session.
            scale: Of the metric that trials are judged by; top-1 when left out.
        """
        self._scale = scale or Scale.of("top1")
        self._trials, self._ended, self._ended_here, self._best = trials, 0, 0, None
        self._where.clear()
        self._began = time.monotonic()
        for bar in self._bars.values():
            self._progress.remove_task(bar)
        self._bars.clear()
        for result in results:
            self._note(result)

    def trial_started(self, trial: "LiveTrial") -> None:
        """Show a bar for the trial's epochs."""
        if self._live:
            self._bar(self._overall(), self._ended, self._trials, key=TRIALS)
            self._bar(self._name(trial), 0, self._epochs(trial), key=_key(trial.number))

    def epoch_done(self, trial: "LiveTrial", record: EpochRecord) -> None:  # noqa: ARG002 - an observer's shape
        """Move the trial's bar."""
        key = _key(trial.number)
        self._where[key] = trial.where
        if self._live:
            done = sum(len(curve) for curve in trial.curves.values())
            self._bar(self._name(trial), done, self._epochs(trial), key=key, where=trial.where)
            self._bar(self._overall(), self._ended, self._trials, key=TRIALS)

    def trial_ended(self, result: TrialResult) -> None:
        """Write one line about the trial, where it ran, and the best so far."""
        self._drop(_key(result.number))
        self._note(result)
        self._ended_here += 1
        where = self._where.pop(_key(result.number), "")
        self.tell(self._line(result) + (f"  on {where}" if where else ""))
        if self._live:
            self._bar(self._overall(), self._ended, self._trials, key=TRIALS)

    def run_started(self, job: Job, name: str) -> None:
        """Show a bar for a run on a fresh seed."""
        if self._live:
            text = f"trial {job.trial}, fresh seed {job.fresh}: {name}"
            self._bar(text, 0, math.ceil(job.schedule.epochs), key=job.key)

    def run_recorded(self, job: Job, record: EpochRecord, where: str) -> None:
        """Move its bar."""
        self._where[job.key] = where
        if self._live and job.key in self._bars:
            self._progress.update(self._bars[job.key], completed=record.epoch + 1, where=where)

    def run_ended(self, job: Job) -> None:
        """Take its bar away."""
        self._where.pop(job.key, None)
        self._drop(job.key)

    def confirming(self, done: int, total: int) -> None:
        """Show how many runs are done, of those that the next look waits for, and where others run."""
        places = places_words(Counter(filter(None, self._where.values())))
        self.preparing("confirming on fresh seeds", done, total, f"; {places}" if places else "")

    def looked(self, look: Look) -> None:
        """Write what a look has found."""
        for line in look_lines(look, self._scale):
            self.tell(line)

    def _note(self, result: TrialResult) -> None:
        self._ended += 1
        complete = result.ending is Ending.COMPLETE
        if complete and (self._best is None or rank(result) > rank(self._best)):
            self._best = result

    def _line(self, result: TrialResult) -> str:
        name = result.baseline or result.recipe
        outcome = result.ending.value if result.value is None else self._value(result)
        reason = f" ({result.reason})" if result.reason else ""
        same = f" (same as trial {result.same_as})" if result.same_as is not None else ""
        mark = "  ← best so far" if self._best is result else ""
        heads = f" (best of {len(result.members)} heads)" if result.members else ""
        ended = f"{outcome}{heads}{reason}{same}{mark}{self._left()}"
        return f"trial {result.number:>3}/{self._trials}  {name:<14} {ended}"

    def _value(self, result: TrialResult) -> str:
        return self._scale.figure(shown_value(self._scale, result))

    def _left(self) -> str:
        remaining = self._trials - self._ended
        if self._live or remaining <= 0:
            return ""
        pace = (time.monotonic() - self._began) / self._ended_here
        return f"  [about {duration(pace * remaining)} left]"

    def _overall(self) -> str:
        best = (
            f"best {self._value(self._best)} (trial {self._best.number})"
            if self._best
            else "no trial complete yet"
        )
        if self._hidden:
            best += f", {counted(self._hidden, 'more run')} under way"
        if not self._ended_here:
            return best
        pace = (time.monotonic() - self._began) / self._ended_here
        return f"{best}, about {duration(pace * max(self._trials - self._ended, 0))} left"

    def _name(self, trial: "LiveTrial") -> str:
        heads = f", {len(trial.members)} heads" if trial.members else ""
        return f"trial {trial.number}: {trial.baseline or 'searched'}{heads}"

    def _epochs(self, trial: "LiveTrial") -> int:
        return -int(-trial.schedule.epochs // 1) * trial.n_folds

    def _bar(self, text: str, done: int, total: int, *, key: str = "", where: str = "") -> None:
        """Draw a bar anew; one without a key is known by its text, and goes when all is done."""
        name = key or text
        if name not in self._bars:
            self._bars[name] = self._progress.add_task(text, total=total, where="")
            self._fit()
        self._progress.update(self._bars[name], description=text, completed=done, total=total, where=where)
        if not key and done >= total:
            self._drop(name)

    def _drop(self, name: str) -> None:
        """Take a bar away, if there is one."""
        if name in self._bars:
            self._progress.remove_task(self._bars.pop(name))
            self._fit()

    def _fit(self) -> None:
        """Hide the bars for which the terminal has no rows: those of the runs that were begun last."""
        room = max(self._console.height - SPARED_ROWS, 1)
        for number, bar in enumerate(self._bars.values()):
            self._progress.update(bar, visible=number < room)
        self._hidden = max(len(self._bars) - room, 0)


def _key(number: int) -> str:
    return f"trial {number}"
