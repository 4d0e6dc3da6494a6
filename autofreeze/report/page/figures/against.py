"""The best schedule and the others: confirmed means with their intervals, on validation and test."""

from autofreeze.report.page.figure import Absent, Figure
from autofreeze.report.report import Report


def figure(report: Report) -> Figure | Absent:
    """Draw it."""
    del report
    return Absent(id="against", title="The best schedule and the others", reason="not drawn yet")
