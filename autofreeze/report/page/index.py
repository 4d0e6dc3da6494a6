"""The index of a search on several data sets: the best schedule of each, with a link to its own page."""

from urllib.parse import quote

from autofreeze.phrases import capitalised, duration
from autofreeze.report.page import leads
from autofreeze.report.page.blocks import Banner, Block, Bullets, Code, Page, Pairs, Prose, Section
from autofreeze.report.page.figure import Cell, Table
from autofreeze.report.page.origin import pairs_of
from autofreeze.report.page.tables import DASH
from autofreeze.report.summary import over, unconfirmed_lines
from autofreeze.report.using import use_of_all
from autofreeze.report.words import standing_of_all, title_of_all
from autofreeze.results import DatasetOutcome, SummaryResult
from autofreeze.scale import figure


def index(summary: SummaryResult) -> Page:
    """Put together the index."""
    heading, use = title_of_all(summary), use_of_all()
    best: list[Block] = []
    if summary.cut_short:
        best.append(Banner(text=f"{capitalised(standing_of_all(summary))}."))
    best += [
        leads.figure(summary),
        datasets_table(summary),
        *(Prose(text=line) for line in unconfirmed_lines(summary.datasets)),
    ]
    broken = tuple(f"{one.name}: {one.problem}" for one in summary.datasets if one.problem)
    if broken:
        best.append(Bullets(title="Broke off:", lines=broken))
    rest: list[Block] = [Prose(text=f"All together: {duration(summary.seconds)}.")]
    if summary.command:
        rest.append(Code(title="The command:", lines=(summary.command,)))
    rest.append(Pairs(title="Machine", pairs=pairs_of(summary.machine)))
    rest.append(Pairs(title="Versions", pairs=pairs_of(summary.versions)))
    sections = (
        Section(id="best", title="Best schedules", blocks=tuple(best)),
        Section(id="conditions", title="Conditions", blocks=tuple(rest)),
        Section(id="use", title="Use it", blocks=(Prose(text=use.sentence), Code(lines=use.commands))),
    )
    return Page(title=heading, heading=heading, sections=sections)


def datasets_table(summary: SummaryResult) -> Table:
    """Tabulate the data sets."""
    headings = (
        "data set", "metric", "value", "over linear_probe", "over full", "freeze first?", "best schedule",
        "images", "classes", "trials", "work", "time",
    )  # fmt: skip
    return Table(
        id="datasets",
        title="The best schedule of each",
        headings=headings,
        rows=tuple(_row(one) for one in summary.datasets),
        left=(0, 1, 5, 6),
    )


def _row(one: DatasetOutcome) -> tuple[Cell, ...]:
    trials = f"{one.trials}" + (f" ({one.cut_short})" if one.cut_short else "")
    return (
        Cell(text=one.name, href="" if one.problem else link(one.name)),
        Cell(text=one.metric),
        Cell(text=figure(one.value, one.standard_error), key=one.value),
        Cell(text=over(one, "linear_probe"), key=one.lead_over.get("linear_probe")),
        Cell(text=over(one, "full"), key=one.lead_over.get("full")),
        Cell(text=one.freeze_first or "–"),
        Cell(text=one.sentence or one.problem or "no trial was completed"),
        DASH if one.images is None else Cell(text=f"{one.images:,}", key=one.images),
        DASH if one.classes is None else Cell(text=f"{one.classes:,}", key=one.classes),
        Cell(text=trials, key=one.trials),
        Cell(text=f"{one.work:,.0f}", key=one.work),
        Cell(text=duration(one.seconds), key=one.seconds),
    )


def link(name: str) -> str:
    """Give the address of a data set's own page, beside the index."""
    return f"{quote(name, safe='')}/report.html"
