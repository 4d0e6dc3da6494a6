"""What a report tells of how a search goes: on several data sets, or where an old one kept no status."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autofreeze.figures import name_of_trial, shown_value
from autofreeze.pulse import Pulse
from autofreeze.report.files import read_as_written
from autofreeze.report.words import standing, trials_line
from autofreeze.results import UNDER_WAY, DatasetOutcome, StudyResult

IT_IS = {
    Pulse.RUNNING: "it runs",
    Pulse.ENDED: "it has ended",
    Pulse.KILLED: "it was killed",
    Pulse.UNKNOWN: "whether it runs cannot be seen from here",
}


@dataclass(frozen=True)
class Reported:
    """The report of a search on one data set, and what has become of it."""

    result: StudyResult
    pulse: Pulse

    @property
    def lines(self) -> list[str]:
        """What it tells, in lines."""
        result = self.result
        told = [f"{IT_IS[self.pulse]}; an earlier version kept no status, so this is its report"]
        told.append(trials_line(result))
        if result.best is not None:
            value = result.scale.figure(shown_value(result.scale, result.best))
            told.append(f"best so far: {name_of_trial(result.best)}, {result.metric} {value}")
        if result.cut_short not in ("", UNDER_WAY) and self.pulse is not Pulse.RUNNING:
            told.append(standing(result.cut_short, len(result.trials), result.settings.get("trials")))
        return told

    @property
    def data(self) -> dict[str, Any]:
        """What it tells, under the names that a status has for it."""
        result, best = self.result, self.result.best
        return {
            "command": result.command,
            "trials": result.settings.get("trials"),
            "ended": dict(Counter(trial.ending.value for trial in result.trials)),
            "best": best and {
                "number": best.number,
                "name": best.baseline or best.recipe,
                "value": shown_value(result.scale, best),
            },
            "cut_short": "" if result.cut_short == UNDER_WAY else result.cut_short,
        }  # fmt: skip


@dataclass(frozen=True)
class ReportedAll:
    """The summary of a search on several data sets, and what has become of it."""

    datasets: tuple[DatasetOutcome, ...]
    pulse: Pulse
    command: str
    cut_short: str
    """Empty while it goes on."""


def read_reported(run: Path, *, held: bool | None) -> Reported | ReportedAll:
    """Read what a report tells.

    Args:
        run: The run folder.
        held: Whether somebody holds its lock; None where that cannot be known.

    Raises:
        RunFolderError: There is no report, or it cannot be read.
    """
    report = read_as_written(run)
    pulse = _pulse(held, under_way=report.cut_short == UNDER_WAY)
    if isinstance(report, StudyResult):
        return Reported(report, pulse)
    cut_short = "" if report.cut_short == UNDER_WAY else report.cut_short
    return ReportedAll(report.datasets, pulse, report.command, cut_short)


def _pulse(held: bool | None, *, under_way: bool) -> Pulse:
    if held:
        return Pulse.RUNNING
    if not under_way:
        return Pulse.ENDED
    return Pulse.UNKNOWN if held is None else Pulse.KILLED
