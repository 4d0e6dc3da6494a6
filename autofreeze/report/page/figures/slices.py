"""Trials by warm-up, depth and rate: what each axis went with."""

from autofreeze.report.page.figure import Absent, Figure
from autofreeze.report.report import Report


def figure(report: Report) -> Figure | Absent:
    """Draw it."""
    del report
    return Absent(id="slices", title="Trials by warm-up, depth and rate", reason="not drawn yet")
