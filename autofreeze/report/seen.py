"""What is seen of a run folder from outside: a search, that on several data sets, or an earlier version's."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.text import Text

from autofreeze.errors import RunFolderError
from autofreeze.phrases import counted, listed, shell_word
from autofreeze.pulse import Pulse, Sight, is_held, look
from autofreeze.report.status import line_of, resuming
from autofreeze.report.status import render as render_sight

if TYPE_CHECKING:
    from autofreeze.report.reported import Reported, ReportedAll

GOES_ON = (Pulse.RUNNING, Pulse.UNKNOWN)


@dataclass(frozen=True)
class Seen:
    """What was seen of the search on one data set."""

    name: str
    """Of its run folder."""

    told: "Sight | Reported | None" = None
    """What it tells of itself, or its report does; None when it has not begun."""

    problem: str = ""
    """Why it broke off; told by the search on several data sets."""

    @property
    def pulse(self) -> Pulse | None:
        """What has become of it; None when it has not begun."""
        return None if self.told is None else self.told.pulse

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
    # Reports take long to load; what a search tells of itself is told without them.
    from autofreeze.report.reported import Reported, read_reported

    try:
        told = read_reported(run, held=is_held(run))
    except RunFolderError:
        raise _no_run_folder(run) from None
    return Seen(str(run), told) if isinstance(told, Reported) else _see_all(run, told)


def _see_all(run: Path, told: "ReportedAll") -> SeenAll:
    datasets = tuple(_see_one(run / one.name, one.problem) for one in told.datasets)
    return SeenAll(str(run), datasets, told.pulse, told.cut_short, told.command)


def _see_one(folder: Path, problem: str) -> Seen:
    """Look at the run folder of one of several data sets; there is none before it has begun."""
    if not folder.is_dir():
        return Seen(folder.name, problem=problem)
    try:
        found = see(folder)
    except RunFolderError as error:
        return Seen(folder.name, problem=problem or error.problems[0])
    return Seen(folder.name, found.told if isinstance(found, Seen) else None, problem)


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
        report = line_of(f"what it found:  autofreeze report {shell_word(seen.name)}")
        return Group(one, report) if seen.pulse is Pulse.ENDED else one
    parts: list[RenderableType] = [line_of(f"{seen.name}: {_standing_of_all(seen)}")]
    for each in seen.datasets:
        parts += [Text(), _render_one(each, rows, resumes=False)]
    if seen.pulse is Pulse.KILLED or seen.cut_short:
        parts += [Text(), line_of(resuming(seen.command))]
    return Group(*parts)


def _render_one(seen: Seen, rows: int | None, *, resumes: bool = True) -> RenderableType:
    parts: list[RenderableType] = []
    if isinstance(seen.told, Sight):
        parts.append(render_sight(seen.told, seen.name, rows=rows, resumes=resumes))
    elif seen.told is not None:
        first, *others = seen.told.lines
        parts += [line_of(f"{seen.name}: {first}"), *map(line_of, others)]
        if resumes and seen.pulse is Pulse.KILLED:
            parts.append(line_of(resuming(seen.told.result.command)))
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


# For programs


def data_of(seen: Seen | SeenAll) -> dict[str, Any]:
    """Give what was seen as plain data: what the search tells, and ``pulse``, what has become of it."""
    if isinstance(seen, SeenAll):
        sets = {one.name: data_of(one) for one in seen.datasets}
        return {"pulse": seen.pulse.value, "cut_short": seen.cut_short, "datasets": sets}
    told: dict[str, Any] = {}
    if isinstance(seen.told, Sight):
        told = seen.told.status.model_dump(mode="json")
    elif seen.told is not None:
        told = seen.told.data
    pulse = None if seen.pulse is None else seen.pulse.value
    return {"pulse": pulse, **({"problem": seen.problem} if seen.problem else {}), **told}
