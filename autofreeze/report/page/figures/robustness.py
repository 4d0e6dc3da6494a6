"""How forgiving each recipe is: trials near the best by rate."""

from autofreeze.report.page.figure import Absent, Figure
from autofreeze.report.report import Report


def figure(report: Report) -> Figure | Absent:
    """Draw it."""
    del report
    return Absent(id="robustness", title="How forgiving each recipe is", reason="not drawn yet")
