"""The page: sections in the order in which a reader asks, in one file that needs no network."""

import html
import json
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from autofreeze.report.page.figure import Absent, Figure
from autofreeze.report.page.figures import heatmap
from autofreeze.report.report import Report
from autofreeze.results import SummaryResult


def page(report: Report) -> str:
    """Write the page of a search on one data set."""
    parts = [heatmap.figure(report)]
    return _page("".join(map(_part, parts)))


def summary_page(summary: SummaryResult) -> str:
    """Write the index of a search on several data sets."""
    return _page("".join(f"<p>{html.escape(one.name)}</p>" for one in summary.datasets))


def _part(part: Figure | Absent) -> str:
    return f"<h2 id={part.id!r}>{html.escape(part.title)}</h2>"


def _page(body: str) -> str:
    data = json.dumps({}).replace("<", "\\u003c")
    return f"<!doctype html><title>x</title>{body}<script>{plotly()}</script><script>{data}</script>"


@cache
def plotly() -> str:
    """Give plotly's own script, from its package, which is found without being imported."""
    found = find_spec("plotly")
    assert found is not None
    assert found.origin is not None
    return (Path(found.origin).parent / "package_data" / "plotly.min.js").read_text(encoding="utf-8")
