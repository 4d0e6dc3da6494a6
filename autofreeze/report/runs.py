"""Searches by the folders that people name: read, those of several data sets one by one."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from autofreeze.errors import ConfigError, RunFolderError
from autofreeze.report.files import REPORT, read_report, read_whole
from autofreeze.results import StudyResult, SummaryResult


@dataclass(frozen=True)
class NamedRun:
    """The search on one data set, and where it lies."""

    folder: Path
    """As it was named; that of several data sets with the name of one behind it."""

    result: StudyResult

    @property
    def created(self) -> str:
        """When it began, in UTC, as ISO 8601 writes it; empty where ``run.json`` does not say."""
        try:
            about = json.loads((self.folder / "run.json").read_text(encoding="utf-8"))
            return str(about["created"])
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return ""


def read_runs(folders: Sequence[str | Path]) -> tuple[list[NamedRun], list[str]]:
    """Read the reports of several run folders.

    Args:
        folders: Run folders, of one data set or of several.

    Returns:
        The searches, and what of several data sets there is no report of yet.

    Raises:
        ConfigError: Some cannot be read, or one is named twice; all problems are told.
    """
    runs: list[NamedRun] = []
    absent: list[str] = []
    problems: list[str] = []
    for folder in map(Path, folders):
        try:
            report = read_whole(folder)
            if isinstance(report, SummaryResult):
                found = _of_several(folder, report, absent)
            else:
                found = [NamedRun(folder, report.result)]
        except RunFolderError as error:
            problems += [str(error)]
            continue
        runs += found
    problems += _named_twice(runs)
    if problems:
        raise ConfigError(list(dict.fromkeys(problems)))  # a folder named twice has its problem once
    return runs, absent


def _of_several(folder: Path, summary: SummaryResult, absent: list[str]) -> list[NamedRun]:
    found = []
    for one in summary.datasets:
        if (folder / one.name / REPORT).exists():
            found.append(NamedRun(folder / one.name, read_report(folder / one.name)))
        else:
            absent.append(f"{folder / one.name}: {one.problem or 'not begun'}")
    return found


def _named_twice(runs: Sequence[NamedRun]) -> list[str]:
    seen: dict[Path, Path] = {}
    problems = []
    for run in runs:
        real = run.folder.resolve()
        if real in seen:
            problems.append(f"{run.folder}: given twice (as {seen[real]} too); name each run once")
        seen.setdefault(real, run.folder)
    return problems
