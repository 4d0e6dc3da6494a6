"""The page of a run folder, brought up to the report that it shows."""

from pathlib import Path

from autofreeze.documents import write_text
from autofreeze.errors import RunFolderError
from autofreeze.report.files import PAGE, outcome_in, read_whole
from autofreeze.report.page import document
from autofreeze.results import DatasetOutcome, SummaryResult


def page_in(folder: str | Path) -> Path:
    """Give ``report.html`` of a run folder, written anew where ``report.json`` gives another one now.

    So one that is missing, older than the report, or from an earlier version is made; of a summary those of
    its data sets too. Where nothing can be written, a page that is there is given as it is.

    Raises:
        RunFolderError: There is no report, it cannot be read, or there is no page and none can be written.
    """
    folder = Path(folder)
    report = read_whole(folder)
    if not isinstance(report, SummaryResult):
        return _bring_up(folder, document.page(report))
    datasets = tuple(outcome_in(folder, one) for one in report.datasets)
    for one in datasets:
        _bring_up_dataset(folder, one)
    return _bring_up(folder, document.summary_page(report.model_copy(update={"datasets": datasets})))


def _bring_up_dataset(folder: Path, one: DatasetOutcome) -> None:
    """Bring up the page of a data set, if its search has a report."""
    try:
        page_in(folder / one.name)
    except RunFolderError:
        return  # it has not begun, or its report is damaged: the others are shown


def _bring_up(folder: Path, text: str) -> Path:
    page = folder / PAGE
    try:
        if page.read_text(encoding="utf-8") == text:
            return page
    except (OSError, UnicodeDecodeError):
        pass  # none, or damaged
    try:
        write_text(page, text)
    except OSError as error:
        if page.is_file():
            return page
        raise RunFolderError(f"{PAGE} cannot be written: {error.strerror}", where=str(folder)) from None
    return page
