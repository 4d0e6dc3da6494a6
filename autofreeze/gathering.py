"""Gathering what a report shows beside the result: from its run folder, and from what was searched."""

from pathlib import Path

from autofreeze.evidence import Evidence
from autofreeze.learning import curves_of, trials_shown
from autofreeze.pedanova import importances_of
from autofreeze.results import StudyResult
from autofreeze.savings import savings_of
from autofreeze.space import Space
from autofreeze.subject import Subject
from autofreeze.timeline import stretches_of


def gather(result: StudyResult, folder: Path, subject: Subject, space: Space) -> Evidence:
    """Gather the evidence.

    Args:
        result: The search as it stands.
        folder: Its run folder.
        subject: What is searched.
        space: What its trials are drawn from.
    """
    return Evidence(
        curves=curves_of(folder, trials_shown(result), result.scale),
        importances=importances_of(result.trials, space),
        timeline=stretches_of(folder),
        savings=savings_of(result),
        mistakes=subject.mistakes(result, folder),
    )
