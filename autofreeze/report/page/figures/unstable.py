"""Where runs became unstable: by peak rate, with and without a warm-up, by reason."""

from autofreeze.report.page.figure import Absent, Figure
from autofreeze.report.report import Report


def figure(report: Report) -> Figure | Absent:
    """Draw it."""
    del report
    return Absent(id="unstable", title="Where runs became unstable", reason="not drawn yet")
