"""Several data sets in one search: all are opened first, then searched one after the other.

::

    RUN/
        report.html, .json, .md    the best schedule per data set
        <data set>/                a run folder of its own: see ``run``
"""

import re
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

import filelock

from autofreeze.display import Display
from autofreeze.errors import AutofreezeError, InputError, RunFolderError
from autofreeze.provenance import versions
from autofreeze.report.files import PAGE, REPORT, TEXT, outcome_in, read_any, write_summary
from autofreeze.results import UNDER_WAY, DatasetOutcome, SummaryResult
from autofreeze.run import LOCK_PATIENCE, check_can_be_made
from autofreeze.searching import SearchSession
from autofreeze.statusfile import STATUS
from autofreeze.values import Value

LONGEST_NAME = 80
"""Characters of a folder's name: systems allow 255 bytes, and paths have an end too."""


class Problem(Value):
    """What went wrong with one data set."""

    text: str
    details: str = ""


def folder_names(names: Sequence[str]) -> tuple[str, ...]:
    """Make names of data sets unique and safe as names of folders: ``photos``, ``photos-2``.

    Folders that differ in case alone are one folder on many systems, so they count as equal.
    """
    taken = {REPORT, TEXT, PAGE, STATUS}
    found = []
    for name in names:
        safe = re.sub(r"[^\w.-]+", "-", name).strip("-. ")[:LONGEST_NAME] or "data"
        number, unique = 1, safe
        while unique.casefold() in taken:
            number += 1
            unique = f"{safe}-{number}"
        taken.add(unique.casefold())
        found.append(unique)
    return tuple(found)


def check_usable_by_several(path: Path, *, resume: bool) -> None:
    """Refuse a folder that a search on several data sets cannot use; touches nothing.

    Raises:
        RunFolderError: The path is a file, a folder of other things, or holds a search that is not to be
            resumed.
    """
    if path.is_file():
        raise RunFolderError("is a file; give a folder with --out", where=str(path))
    if not path.is_dir():
        check_can_be_made(path)
    elif (path / "run.json").exists():
        raise RunFolderError(
            "holds the search on one data set; choose another --out for several", where=str(path)
        )
    elif holds_several(path):
        if not resume:
            raise RunFolderError(
                "holds a search already; go on with it by --resume, or choose another --out", where=str(path)
            )
    elif any(entry.name != ".lock" for entry in path.iterdir()):
        raise RunFolderError("is neither empty nor a run folder; choose another --out", where=str(path))


def holds_several(path: Path) -> bool:
    """Whether a folder holds a search on several data sets."""
    try:
        return isinstance(read_any(path), SummaryResult)
    except RunFolderError:
        return False


def gather(problems: Sequence[tuple[str, InputError]], total: int) -> InputError:
    """Put what is wrong with several data sets into one error; what is wrong with all alike is told once.

    Args:
        problems: Data set as given, and its error.
        total: How many data sets were given.
    """
    first = problems[0][1]
    if len(problems) == total and len({str(error) for _, error in problems}) == 1:
        return first
    lines = []
    for data, error in problems:
        told = error.problems if error.where in ("", data) else (str(error),)
        lines += [f"{data}: {line}" for text in told for line in text.splitlines()]
    return type(first)(lines, where=f"nothing was begun, since {len(problems)} of {total} cannot be searched")


class SeveralSearch:
    """The searches on several data sets, one after the other.

    Args:
        sessions: Name of the run folder -> the search; all opened and checked.
        out: The folder that holds the run folders.
        model: For the summary.
        display: Shows progress.
        command: Told in the summary.
        deadline: ``time.monotonic()`` at which the time for all is over.
        began: ``time.monotonic()`` at which it all began.
    """

    def __init__(
        self,
        sessions: dict[str, SearchSession],
        out: Path,
        *,
        model: str,
        display: Display | None,
        command: str,
        deadline: float | None,
        began: float,
    ) -> None:
        self.sessions, self.out, self.model = sessions, out, model
        self.display, self.command = display, command
        self.deadline, self.began = deadline, began
        self.problems: dict[str, Problem] = {}
        self.cut_short: dict[str, str] = {}
        self._earlier = 0.0

    def search(self, should_stop: Callable[[], str]) -> SummaryResult:
        """Search each data set; one that breaks off does not keep the others from being searched.

        Raises:
            RunFolderError: Another search is using the folder, or it cannot be written.
        """
        try:
            self.out.mkdir(parents=True, exist_ok=True)
            lock = filelock.FileLock(self.out / ".lock", timeout=LOCK_PATIENCE)
            lock.acquire()
        except filelock.Timeout:
            raise RunFolderError(
                "another search is using this folder; wait for it, or choose another --out",
                where=str(self.out),
            ) from None
        except OSError as error:
            raise RunFolderError(
                f"cannot be written: {error.strerror}; choose another --out", where=str(self.out)
            ) from None
        try:
            if holds_several(self.out):
                before = read_any(self.out)
                self._earlier = before.seconds
            return self._search_each(should_stop)
        finally:
            lock.release()

    def _search_each(self, should_stop: Callable[[], str]) -> SummaryResult:
        self._write(UNDER_WAY)
        waiting = [name for name, session in self.sessions.items() if not session.is_done]
        for number, (name, session) in enumerate(self.sessions.items(), start=1):
            title = f"{name} ({number} of {len(self.sessions)})"
            if name not in waiting:
                self._tell(f"{title}: all trials have run already")
                continue
            share = self._share(len(waiting) - waiting.index(name))
            if should_stop() or (share is not None and share <= 0):
                self.cut_short[name] = should_stop() or "out of time"
                continue
            self._tell(title)
            try:
                self.cut_short[name] = session.search(should_stop, share).cut_short
            except KeyboardInterrupt:
                self._write("interrupted")
                raise
            except AutofreezeError as error:
                self._note(name, Problem(text=" ".join(str(error).split())))
            except Exception as error:
                text = f"{type(error).__name__}: {' '.join(str(error).split())}"
                self._note(name, Problem(text=text, details=traceback.format_exc()[-4000:]))
            self._write(UNDER_WAY)
        return self._write(next(filter(None, self.cut_short.values()), ""))

    def _share(self, waiting: int) -> float | None:
        """Split the time that is left evenly over the data sets that are left."""
        return None if self.deadline is None else (self.deadline - time.monotonic()) / waiting

    def _note(self, name: str, problem: Problem) -> None:
        self.problems[name] = problem
        self._tell(f"{name}: broke off: {problem.text}")

    def _tell(self, line: str) -> None:
        if self.display:
            self.display.tell(line)

    def _write(self, cut_short: str) -> SummaryResult:
        first = next(iter(self.sessions.values()))
        summary = SummaryResult(
            model=self.model,
            datasets=tuple(self._outcome(name, session) for name, session in self.sessions.items()),
            seconds=self._earlier + time.monotonic() - self.began,
            cut_short=cut_short,
            command=self.command,
            versions=versions(),
            machine=first.subject.facts()["machine"],
        )
        write_summary(summary, self.out)
        return summary

    def _outcome(self, name: str, session: SearchSession) -> DatasetOutcome:
        blank = DatasetOutcome(name=name, data=session.subject.given)
        problem = self.problems.get(name)
        if problem is not None:
            blank = blank.model_copy(update={"problem": problem.text, "details": problem.details})
        return outcome_in(self.out, blank)
