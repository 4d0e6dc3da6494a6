"""When and where trials ran: a line for each worker."""

from autofreeze.report.page.figure import Absent, Figure
from autofreeze.report.report import Report


def figure(report: Report) -> Figure | Absent:
    """Draw it."""
    del report
    return Absent(id="workers", title="When and where trials ran", reason="not drawn yet")
