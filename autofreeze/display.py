"""What a person sees while a search runs: a live panel on a terminal, plain lines elsewhere."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from autofreeze.figures import shown_value
from autofreeze.job import EpochRecord
from autofreeze.looks import Look
from autofreeze.phrases import printable
from autofreeze.report.confirming import look_lines
from autofreeze.report.words import duration
from autofreeze.results import Ending, TrialResult, rank
from autofreeze.scale import Scale

if TYPE_CHECKING:
    from autofreeze.live import LiveTrial


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
            console=self._console,
            transient=True,
            disable=not self._live,
        )
        self._bars: dict[str, TaskID] = {}
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

    def preparing(self, doing: str, done: int, total: int) -> None:
        """Tell how far it has come: a bar, or a line every ten seconds and at the end of long ones."""
        if self._live:
            self._bar(doing, done, total)
            return
        now = time.monotonic()
        if doing != self._doing:
            self._doing, self._since, self._told = doing, now, now
        if now - self._told > 10 or (done == total and now - self._since > 2):
            self.tell(f"{doing}: {done:,} of {total:,}")
            self._told = now
        if done == total:
            self._doing = ""  # the next of its kind begins anew

    def begin(self, trials: int, results: tuple[TrialResult, ...], scale: Scale | None = None) -> None:
        """Turn to the search on one data set.

        Args:
            trials: Trials in all.
            results: Those of an earlier session.
            scale: Of the metric that trials are judged by; top-1 when left out.
        """
        self._scale = scale or Scale.of("top1")
        self._trials, self._ended, self._ended_here, self._best = trials, 0, 0, None
        self._began = time.monotonic()
        for bar in self._bars.values():
            self._progress.remove_task(bar)
        self._bars.clear()
        for result in results:
            self._note(result)

    def trial_started(self, trial: "LiveTrial") -> None:
        """Show a bar for the trial's epochs."""
        if self._live:
            self._bar(self._name(trial), 0, self._epochs(trial))

    def epoch_done(self, trial: "LiveTrial", record: EpochRecord) -> None:  # noqa: ARG002 - an observer's shape
        """Move the trial's bar."""
        if self._live:
            done = sum(len(curve) for curve in trial.curves.values())
            self._bar(self._name(trial), done, self._epochs(trial))
            self._bar(self._overall(), self._ended, self._trials, key="trials")

    def trial_ended(self, result: TrialResult) -> None:
        """Write one line about the trial, and the best so far."""
        for name in [name for name in self._bars if name.startswith(f"trial {result.number}:")]:
            self._progress.remove_task(self._bars.pop(name))
        self._note(result)
        self._ended_here += 1
        self.tell(self._line(result))
        if self._live:
            self._bar(self._overall(), self._ended, self._trials, key="trials")

    def confirming(self, done: int, total: int) -> None:
        """Show how many of the runs on fresh seeds are done that the next look waits for."""
        self.preparing("confirming on fresh seeds", done, total)

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
        if not self._ended_here:
            return best
        pace = (time.monotonic() - self._began) / self._ended_here
        return f"{best}, about {duration(pace * max(self._trials - self._ended, 0))} left"

    def _name(self, trial: "LiveTrial") -> str:
        heads = f", {len(trial.members)} heads" if trial.members else ""
        return f"trial {trial.number}: {trial.baseline or 'searched'}{heads}"

    def _epochs(self, trial: "LiveTrial") -> int:
        return -int(-trial.schedule.epochs // 1) * trial.n_folds

    def _bar(self, text: str, done: int, total: int, *, key: str = "") -> None:
        name = key or text
        if name not in self._bars:
            self._bars[name] = self._progress.add_task(text, total=total)
        self._progress.update(self._bars[name], description=text, completed=done, total=total)
        if not key and done >= total and name in self._bars and not text.startswith("trial "):
            self._progress.remove_task(self._bars.pop(name))
