"""The first gradient into the backbone: after a warm-up and at once."""

from autofreeze.report.page.figure import Absent, Figure
from autofreeze.report.report import Report


def figure(report: Report) -> Figure | Absent:
    """Draw it."""
    del report
    return Absent(id="gradient", title="The first gradient into the backbone", reason="not drawn yet")
