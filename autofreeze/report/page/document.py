"""The page as text: one file that needs no network, the same bytes for the same report."""

import math
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from autofreeze.phrases import printable
from autofreeze.report.page import assets
from autofreeze.report.page.blocks import Page
from autofreeze.report.page.figure import Cell, Figure, Picture, Table
from autofreeze.report.page.index import index
from autofreeze.report.page.sections import sections
from autofreeze.report.report import Report
from autofreeze.report.words import title
from autofreeze.results import SummaryResult

SHOWN = 50
"""Rows of a table that a page holds as markup; more are built when they are asked for."""

SHORT = 14
"""Characters that stand on one line of a cell, such as ``1e-6 to 1e-5``; ``page.js`` has the same number."""

LEGEND_LINE = 16
"""Pixels of a line in a legend on a narrow screen."""


def page(report: Report) -> str:
    """Write the page of a search on one data set."""
    heading = title(report.result)
    return render(Page(title=heading, heading=heading, sections=sections(report)))


def summary_page(summary: SummaryResult) -> str:
    """Write the index of a search on several data sets."""
    return render(index(summary))


def render(page: Page) -> str:
    """Write a page. All texts are plain; what would be markup is escaped here."""
    figures = any(isinstance(block, Figure) for section in page.sections for block in section.blocks)
    return _environment().get_template("page.html.j2").render(
        page=page,
        figures=figures,
        shown=SHOWN,
        policy=assets.policy(figures=figures),
        style=Markup(assets.style()),
        colours=Markup(assets.island(assets.colours())),
        script=Markup(assets.script()),
        plotly=Markup(assets.plotly()) if figures else "",
    )  # fmt: skip


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("autofreeze.report.page", "templates"),
        undefined=StrictUndefined,
        autoescape=True,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "kind": lambda block: type(block).__name__,
        "drawn": _drawn,
        "more": _more,
        "rows": _rows,
        "attributes": _attributes,
        "seen": _seen,
        "is_thumbnail": _is_thumbnail,
    }
    environment.globals["shown"] = SHOWN
    return environment


def _finalize(value: Any) -> Any:
    """Write control characters, marks of direction and broken text as escapes."""
    return printable(value) if type(value) is str and value != "\n" else value


def _drawn(figure: Figure) -> Markup:
    """Write what plotly draws."""
    return Markup(assets.island({"traces": figure.traces, "layout": figure.layout}))


def _more(figure: Figure) -> int:
    """Give the height that a legend takes on a narrow screen beyond that on a wide one, in pixels."""
    if not figure.layout.get("showlegend", True):
        return 0
    named = [one for one in figure.traces if one.get("name") and one.get("showlegend", True)]
    return LEGEND_LINE * max(len(named) - 2, 0)


def _rows(table: Table) -> Markup:
    """Write all rows: a cell is its text, or text, key, weight and link."""
    return Markup(assets.island([[_cell(cell) for cell in row] for row in table.rows]))


def _cell(cell: Cell) -> str | list[Any]:
    text, key = printable(cell.text), _key(cell)
    if key is None and not cell.strong and not cell.href:
        return text
    return [text, key, int(cell.strong), cell.href]


def _key(cell: Cell) -> float | str | None:
    """Give what a cell is sorted by; what is no number is sorted as text is."""
    if isinstance(cell.key, str):
        return printable(cell.key)
    return cell.key if cell.key is not None and math.isfinite(cell.key) else None


def _attributes(cell: Cell, left: bool) -> Markup:
    """Write a cell's attributes: where it stands, what it is sorted by."""
    classes = [
        *([] if left else ["n"]),
        *(["strong"] if cell.strong else []),
        *(["short"] if len(cell.text) <= SHORT else []),
    ]
    told = Markup(' class="{}"').format(" ".join(classes)) if classes else Markup("")
    key = _key(cell)
    if key is None:
        return told
    return told + Markup(' data-{}="{}"').format("text" if isinstance(key, str) else "number", key)


def _is_thumbnail(address: str) -> bool:
    return address.startswith("data:image/jpeg;base64,")


def _seen(picture: Picture) -> str:
    return f"{picture.name}, labelled {picture.label}, taken for {picture.predicted}"
