"""The best schedule: what trains when, and how fast: groups as rows, time as columns."""

from autofreeze.report.page.figure import Absent, Figure
from autofreeze.report.report import Report


def figure(report: Report) -> Figure | Absent:
    """Draw it."""
    del report
    return Absent(id="schedule", title="The best schedule", reason="not drawn yet")
