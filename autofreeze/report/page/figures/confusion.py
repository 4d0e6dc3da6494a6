"""Which classes are taken for which: the best schedule and the best baseline."""

from autofreeze.report.page.figure import Absent, Figure
from autofreeze.report.report import Report


def figure(report: Report) -> Figure | Absent:
    """Draw it."""
    del report
    return Absent(id="confusion", title="Which classes are taken for which", reason="not drawn yet")
