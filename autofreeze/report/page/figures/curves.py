"""Learning curves: finalists and baselines, training and validation, unfreezes marked."""

from autofreeze.report.page.figure import Absent, Figure
from autofreeze.report.report import Report


def figure(report: Report) -> Figure | Absent:
    """Draw it."""
    del report
    return Absent(id="curves", title="Learning curves", reason="not drawn yet")
