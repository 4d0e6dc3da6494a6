"""Accuracy by class: the best schedule and the best baseline."""

from autofreeze.report.page.figure import Absent, Figure
from autofreeze.report.report import Report


def figure(report: Report) -> Figure | Absent:
    """Draw it."""
    del report
    return Absent(id="classes", title="Accuracy by class", reason="not drawn yet")
