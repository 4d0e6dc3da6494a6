"""The report as ``report.json``."""

import json
from pathlib import Path

from pydantic import ValidationError

from autofreeze.documents import write_text
from autofreeze.errors import RunFolderError
from autofreeze.report.words import sentence, verdict
from autofreeze.results import StudyResult

REPORT = "report.json"
DERIVED = ("verdict", "confirmed", "best")


def write_report(result: StudyResult, folder: Path) -> Path:
    """Write ``report.json`` into a run folder: the whole result, and what follows from it for programs."""
    best = result.best
    derived = {
        "verdict": verdict(result),
        "confirmed": False,
        "best": None if best is None else {"trial": best.number, "sentence": sentence(best.schedule)},
    }
    text = json.dumps({**derived, **result.model_dump(mode="json")}, indent=1)
    write_text(folder / REPORT, text + "\n")
    return folder / REPORT


def read_report(folder: str | Path) -> StudyResult:
    """Read a result back from a run folder.

    Raises:
        RunFolderError: There is no report, or it cannot be read.
    """
    file = Path(folder) / REPORT
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
        return StudyResult.model_validate({key: value for key, value in data.items() if key not in DERIVED})
    except OSError as error:
        reason = f"no {REPORT} ({error.strerror}); is this the folder of a search?"
        raise RunFolderError(reason, where=str(folder)) from None
    except (ValueError, ValidationError):
        raise RunFolderError(f"{REPORT} is damaged or from another version", where=str(folder)) from None
