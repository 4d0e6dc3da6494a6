"""Work that was not needed: stores, equal trials, pruning."""

from autofreeze.report.page.figure import Absent, Figure
from autofreeze.report.report import Report


def figure(report: Report) -> Figure | Absent:
    """Draw it."""
    del report
    return Absent(id="savings", title="Work that was not needed", reason="not drawn yet")
