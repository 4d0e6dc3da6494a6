"""What is seen of a run folder from outside: a search, that on several data sets, or an earlier version's."""

import shlex
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from autofreeze.errors import RunFolderError
from autofreeze.figures import name_of_trial, shown_value
from autofreeze.phrases import counted, listed
from autofreeze.pulse import Pulse, Sight, is_held, look
from autofreeze.report.files import read_as_written
from autofreeze.report.status import line_of, resuming
from autofreeze.report.status import render as render_sight
from autofreeze.report.words import standing, trials_line
from autofreeze.results import UNDER_WAY, StudyResult, SummaryResult

GOES_ON = (Pulse.RUNNING, Pulse.UNKNOWN)


@dataclass(frozen=True)
class Seen:
    """What was seen of the search on one data set."""

    name: str
    """Of its run folder."""

    sight: Sight | None = None
    report: StudyResult | None = None
    """What an earlier version left, which told no status."""

    held: bool | None = None
    """Whether somebody holds its lock, where there is a report alone."""

    problem: str = ""
    """Why it broke off; told by the search on several data sets."""

    @property
    def pulse(self) -> Pulse | None:
        """What has become of it; None when it has not begun."""
        if self.sight is not None:
            return self.sight.pulse
        if self.report is None:
            return None
        if self.held or self.held is None:
            return Pulse.RUNNING if self.held else Pulse.UNKNOWN
        return Pulse.KILLED if self.report.cut_short == UNDER_WAY else Pulse.ENDED

    @property
    def goes_on(self) -> bool:
        """Whether a later look may see something new."""
        return self.pulse in GOES_ON


@dataclass(frozen=True)
class SeenAll:
    """What was seen of a search on several data sets."""

    name: str
    datasets: tuple[Seen, ...]
    pulse: Pulse
    cut_short: str
    command: str

    @property
    def goes_on(self) -> bool:
        """Whether a later look may see something new."""
        return self.pulse in GOES_ON


def see(run: Path) -> Seen | SeenAll:
    """Look at a run folder; touches nothing.

    Raises:
        RunFolderError: It is none, or cannot be read.
    """
    if not run.is_dir():
        missing = "is not there; a search makes it once its images are decoded"
        raise RunFolderError("is a file; name a run folder" if run.exists() else missing, where=str(run))
    sight = look(run)
    if sight is not None:
        return Seen(str(run), sight)
    held = is_held(run)
    try:
        report = read_as_written(run)
    except RunFolderError:
        raise _no_run_folder(run) from None
    if isinstance(report, StudyResult):
        return Seen(str(run), report=report, held=held)
    return _see_all(run, report, held)


def _see_all(run: Path, summary: SummaryResult, held: bool | None) -> SeenAll:
    datasets = []
    for one in summary.datasets:
        seen = Seen(one.name, problem=one.problem)
        if (run / one.name).is_dir():
            try:
                found = see(run / one.name)
            except RunFolderError as error:
                found = Seen(one.name, problem=one.problem or error.problems[0])
            if isinstance(found, Seen):
                seen = Seen(one.name, found.sight, found.report, found.held, one.problem or found.problem)
        datasets.append(seen)
    pulse = Pulse.ENDED
    if summary.cut_short == UNDER_WAY:
        pulse = {True: Pulse.RUNNING, False: Pulse.KILLED, None: Pulse.UNKNOWN}[held]
    return SeenAll(str(run), tuple(datasets), pulse, summary.cut_short, summary.command)


def _no_run_folder(run: Path) -> RunFolderError:
    """Say that nothing here tells of a search, and name run folders inside."""
    inside = sorted(file.parent.name for file in run.glob("*/run.json"))
    if inside:
        names = listed(f"{run}/{name}" for name in inside[:5]) + (" …" if len(inside) > 5 else "")
        return RunFolderError(f"holds run folders; name one of them: {names}", where=str(run))
    if (run / "run.json").exists():
        return RunFolderError("no trial has ended there yet, and no status is kept", where=str(run))
    return RunFolderError("no search has told anything there; is this a run folder?", where=str(run))


# Telling


def render(seen: Seen | SeenAll, *, rows: int | None = None) -> RenderableType:
    """Compose what was seen.

    Args:
        seen: What was seen.
        rows: Rows at most of each table of runs; all of them when left out.
    """
    if isinstance(seen, Seen):
        one = _render_one(seen, rows)
        report = line_of(f"what it found:  autofreeze report {shlex.quote(seen.name)}")
        return Group(one, report) if seen.pulse is Pulse.ENDED else one
    parts: list[RenderableType] = [line_of(f"{seen.name}: {_standing_of_all(seen)}")]
    for one in seen.datasets:
        parts += [Text(), _render_one(one, rows, resumes=False)]
    if seen.pulse is Pulse.KILLED or (seen.pulse is Pulse.ENDED and seen.cut_short):
        parts += [Text(), line_of(resuming(seen.command))]
    return Group(*parts)


def _render_one(seen: Seen, rows: int | None, *, resumes: bool = True) -> RenderableType:
    parts: list[RenderableType] = []
    if seen.sight is not None:
        parts.append(render_sight(seen.sight, seen.name, rows=rows, resumes=resumes))
    elif seen.report is not None:
        parts += [line_of(line) for line in _report_lines(seen, seen.report)]
    elif not seen.problem:
        parts.append(line_of(f"{seen.name}: has not begun"))
    if seen.problem:
        parts.append(line_of(f"{seen.name}: broke off: {seen.problem}"))
    return Group(*parts)


def _standing_of_all(seen: SeenAll) -> str:
    begun = sum(one.pulse is not None for one in seen.datasets)
    line = f"{counted(len(seen.datasets), 'data set')}, {begun} begun; "
    match seen.pulse:
        case Pulse.RUNNING:
            return line + "it runs"
        case Pulse.KILLED:
            return line + "it was killed"
        case Pulse.ENDED:
            return line + (f"cut short: {seen.cut_short}" if seen.cut_short else "it has ended")
        case Pulse.UNKNOWN:
            return line + "whether it runs cannot be seen from here"


def _report_lines(seen: Seen, report: StudyResult) -> list[str]:
    """Tell what a report says, where an earlier version kept no status."""
    words = {
        Pulse.RUNNING: "it runs",
        Pulse.ENDED: "it has ended",
        Pulse.KILLED: "it was killed",
        Pulse.UNKNOWN: "whether it runs cannot be seen from here",
    }
    assert seen.pulse is not None
    lines = [f"{seen.name}: {words[seen.pulse]}; an earlier version kept no status, so this is its report"]
    lines.append(trials_line(report))
    if report.best is not None:
        value = report.scale.figure(shown_value(report.scale, report.best))
        lines.append(f"best so far: {name_of_trial(report.best)}, {report.metric} {value}")
    told = standing(report.cut_short, len(report.trials), report.settings.get("trials"))
    if told and seen.pulse is not Pulse.RUNNING and report.cut_short != UNDER_WAY:
        lines.append(told)
    if seen.pulse is Pulse.KILLED:
        lines.append(resuming(report.command))
    return lines


# For programs


def data_of(seen: Seen | SeenAll) -> dict[str, Any]:
    """Give what was seen as plain data: what the search tells, and ``pulse``, what has become of it."""
    if isinstance(seen, SeenAll):
        sets = {one.name: data_of(one) for one in seen.datasets}
        return {"pulse": seen.pulse.value, "cut_short": _reason(seen.cut_short), "datasets": sets}
    pulse = None if seen.pulse is None else seen.pulse.value
    told: Mapping[str, Any] = {}
    if seen.sight is not None:
        told = seen.sight.status.model_dump(mode="json")
    elif seen.report is not None:
        told = _told_by(seen.report)
    return {"pulse": pulse, **({"problem": seen.problem} if seen.problem else {}), **told}


def _told_by(report: StudyResult) -> dict[str, Any]:
    """Give what a report tells, under the names that a status has for it."""
    best = report.best
    return {
        "trials": report.settings.get("trials"),
        "ended": dict(Counter(trial.ending.value for trial in report.trials)),
        "best": best and {
            "number": best.number,
            "name": best.baseline or best.recipe,
            "value": shown_value(report.scale, best),
        },
        "cut_short": _reason(report.cut_short),
    }  # fmt: skip


def _reason(cut_short: str) -> str:
    return "" if cut_short == UNDER_WAY else cut_short
