"""Gathering what a report shows beside the result: from the study, its records, and what was searched."""

from pathlib import Path

from autofreeze.evidence import Evidence
from autofreeze.results import StudyResult
from autofreeze.subject import Subject


def gather(result: StudyResult, folder: Path, subject: Subject) -> Evidence:
    """Gather the evidence.

    Args:
        result: The search as it stands.
        folder: Its run folder.
        subject: What is searched.
    """
    return Evidence(mistakes=subject.mistakes(result, folder))
