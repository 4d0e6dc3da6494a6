"""Several data sets in one report: the best schedule of each, on the terminal."""

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from autofreeze.report.words import UNCONFIRMED, capitalised, duration, figure, lead_words, standing_of_all
from autofreeze.results import DatasetOutcome, SummaryResult


def show_summary(summary: SummaryResult, console: Console) -> None:
    """Print the summary of a search on several data sets; the console's width is kept to."""
    console.print(render(summary))


def render(summary: SummaryResult) -> RenderableType:
    """Compose the summary: a table of figures, then each best schedule in words."""
    parts: list[RenderableType] = [
        Text(f"The best schedule per data set, {summary.model}", style="bold"),
        _figures(summary.datasets),
    ]
    parts += [Text(f"{one.name}: {_in_words(one)}") for one in summary.datasets]
    parts += [Text(), Text(UNCONFIRMED), Text(f"all together: {duration(summary.seconds)}")]
    if summary.cut_short:
        parts.append(Text(capitalised(standing_of_all(summary))))
    return Padding(Group(*parts), (1, 0))


def _figures(datasets: Sequence[DatasetOutcome]) -> Table:
    table = Table(box=SIMPLE_HEAD)
    table.add_column("data set", overflow="fold")
    for heading in (
        "images", "classes", "value", "over linear_probe", "over full", "trials", "work", "time",
    ):  # fmt: skip
        table.add_column(heading, justify="right")
    for one in datasets:
        table.add_row(
            Text(one.name),
            "–" if one.images is None else f"{one.images:,}",
            "–" if one.classes is None else f"{one.classes:,}",
            Text(f"{one.metric} {figure(one.value, one.standard_error)}"),
            lead_words(one.metric, one.lead_over.get("linear_probe")) or "–",
            lead_words(one.metric, one.lead_over.get("full")) or "–",
            f"{one.trials}",
            f"{one.work:,.0f}",
            duration(one.seconds),
        )
    return table


def _in_words(one: DatasetOutcome) -> str:
    if one.problem:
        return f"broke off: {one.problem}"
    words = one.sentence or "no trial was completed"
    return f"{words} ({one.cut_short})" if one.cut_short else words
