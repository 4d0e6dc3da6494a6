"""Value against work: all complete trials, the front, the baselines."""

from autofreeze.report.page.figure import Absent, Figure
from autofreeze.report.report import Report


def figure(report: Report) -> Figure | Absent:
    """Draw it."""
    del report
    return Absent(id="cost", title="Value against work", reason="not drawn yet")
