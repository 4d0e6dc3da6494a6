"""The report as files: ``report.json`` for programs, ``report.html`` and ``report.md`` for people."""

import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from autofreeze.documents import write_text
from autofreeze.errors import ConfigError, RunFolderError
from autofreeze.evidence import Evidence
from autofreeze.report import markdown
from autofreeze.report.comparison import outcome_of
from autofreeze.report.page import document
from autofreeze.report.report import Report
from autofreeze.results import DatasetOutcome, StudyResult, SummaryResult
from autofreeze.values import did_you_mean

REPORT, TEXT, PAGE = "report.json", "report.md", "report.html"


def write_report(result: StudyResult, folder: Path, evidence: Evidence | None = None) -> Path:
    """Write the report into a run folder: the whole result, what follows from it, and what it rests on."""
    report = Report(result, evidence or Evidence())
    _write_data(folder, report.document())
    write_text(folder / TEXT, markdown.page(report), new_folder=False)
    write_text(folder / PAGE, document.page(report), new_folder=False)
    return folder / REPORT


def write_summary(summary: SummaryResult, folder: Path) -> Path:
    """Write the summary of several data sets into the folder that holds their run folders."""
    _write_data(folder, summary.plain())
    write_text(folder / TEXT, markdown.summary_page(summary), new_folder=False)
    write_text(folder / PAGE, document.summary_page(summary), new_folder=False)
    return folder / REPORT


def _write_data(folder: Path, data: dict[str, Any]) -> None:
    """Write what the pages are made from, before them: it must not hang on their being drawn."""
    write_text(folder / REPORT, json.dumps(data, indent=1, allow_nan=False) + "\n", new_folder=False)


def read_report(folder: str | Path) -> StudyResult:
    """Read the result of the search on one data set back from its run folder.

    Raises:
        RunFolderError: There is no report, it cannot be read, or it is that of several data sets.
    """
    report = read_any(folder)
    if isinstance(report, SummaryResult):
        raise RunFolderError(
            f"holds several data sets: {_names(report)}; name one of them", where=str(folder)
        )
    return report


def read_any(folder: str | Path) -> StudyResult | SummaryResult:
    """Read what a run folder reports, of one data set or of several.

    Raises:
        RunFolderError: There is no report, or it cannot be read.
    """
    report = read_as_written(folder)
    if isinstance(report, StudyResult):
        return report
    datasets = tuple(outcome_in(Path(folder), one) for one in report.datasets)
    return report.model_copy(update={"datasets": datasets})


def read_as_written(folder: str | Path) -> StudyResult | SummaryResult:
    """Read a report alone; a summary is as old as its file is, whatever its data sets have come to.

    Raises:
        RunFolderError: There is no report, or it cannot be read.
    """
    report = read_whole(folder)
    return report.result if isinstance(report, Report) else report


def read_whole(folder: str | Path) -> Report | SummaryResult:
    """Read a report with its evidence; of a summary as :func:`read_as_written`.

    Raises:
        RunFolderError: There is no report, or it cannot be read.
    """
    file = Path(folder) / REPORT
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
        if data.get("kind") == "summary":
            return SummaryResult.model_validate(data)
        return Report.parse(data)
    except OSError as error:
        reason = f"no {REPORT} ({error.strerror}); is this the folder of a search?"
        raise RunFolderError(reason, where=str(folder)) from None
    except (ValueError, AttributeError, RecursionError, ValidationError):
        raise RunFolderError(f"{REPORT} is damaged or from another version", where=str(folder)) from None


def outcome_in(folder: Path, outcome: DatasetOutcome) -> DatasetOutcome:
    """Bring what a summary says of a data set up to its own report, which is written as trials end.

    Args:
        folder: The folder of the summary.
        outcome: What is known beside the report: name, data, and why the search broke off.
    """
    try:
        result = read_report(folder / outcome.name)
    except RunFolderError:
        return outcome  # it has not begun
    kept = {"data": outcome.data, "problem": outcome.problem, "details": outcome.details}
    return outcome_of(outcome.name, result).model_copy(update=kept)


def folder_of(run: str | Path, dataset: str | None) -> Path:
    """Find the run folder of one data set.

    Args:
        run: The run folder of a search.
        dataset: Which of several data sets; may be left out when there is one.

    Raises:
        RunFolderError: There is no report.
        ConfigError: No such data set, or it must be named; the names are told.
    """
    report = read_any(run)
    if isinstance(report, StudyResult):
        if dataset not in (None, report.data["name"]):
            raise ConfigError(
                f"dataset: got {dataset!r}; {run} holds {report.data['name']} alone, so leave --dataset out"
            )
        return Path(run)
    names = [one.name for one in report.datasets]
    if dataset is None:
        raise ConfigError(f"{run} holds several data sets; name one with --dataset: {_names(report)}")
    if dataset not in names:
        raise ConfigError(f"dataset: {dataset!r} is unknown{did_you_mean(dataset, names)}")
    return Path(run) / dataset


def _names(summary: SummaryResult) -> str:
    return ", ".join(one.name for one in summary.datasets)
