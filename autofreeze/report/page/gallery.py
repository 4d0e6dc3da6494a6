"""The images that the best schedule gets wrong most often, to judge labels by."""

from autofreeze.report.page.figure import Absent, Gallery
from autofreeze.report.report import Report


def gallery(report: Report) -> Gallery | Absent:
    """Give them, most surely wrong first."""
    del report
    return Absent(id="wrong-images", title="Images most often wrong", reason="not drawn yet")
