"""How much each axis mattered: PED-ANOVA."""

from autofreeze.report.page.figure import Absent, Figure
from autofreeze.report.report import Report


def figure(report: Report) -> Figure | Absent:
    """Draw it."""
    del report
    return Absent(id="importance", title="How much each axis mattered", reason="not drawn yet")
