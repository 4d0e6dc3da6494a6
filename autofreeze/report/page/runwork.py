"""What one run of a schedule costs: in forward passes, and in runs of full fine-tuning."""

from autofreeze.figures import work_of_full, work_of_run
from autofreeze.report.owntraining import work_figure
from autofreeze.results import StudyResult


def run_work(result: StudyResult, trial: int) -> float | None:
    """Give the work of one run of a complete trial, in forward passes; None where it is not known.

    Args:
        result: The search.
        trial: Number of the trial.
    """
    return next((work_of_run(result, one) for one in result.trials if one.number == trial), None)


def share_of_full(result: StudyResult, trial: int) -> float | None:
    """Give the same in runs of full fine-tuning."""
    work, full = run_work(result, trial), work_of_full(result)
    return None if work is None or not full else work / full


def work_words(result: StudyResult, trial: int) -> str:
    """Write it short: ``0.54 × full``, or the work itself; empty where it is not known."""
    share, work = share_of_full(result, trial), run_work(result, trial)
    if share is not None:
        return f"{share:.2f} × full"
    return "" if work is None else f"work {work_figure(result, work)}"
