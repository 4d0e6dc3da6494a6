"""Several data sets in one report: the best schedule of each, on the terminal."""

from collections.abc import Sequence
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from autofreeze.phrases import capitalised, duration, listed
from autofreeze.report.words import standing_of_all
from autofreeze.results import DatasetOutcome, SummaryResult
from autofreeze.scale import Scale, figure
from autofreeze.verdict import UNCONFIRMED


def show_summary(summary: SummaryResult, console: Console) -> None:
    """Print the summary of a search on several data sets; the console's width is kept to."""
    console.print(render(summary))


def render(summary: SummaryResult) -> RenderableType:
    """Compose the summary: a table of figures, then each best schedule in words."""
    parts: list[RenderableType] = [
        Text(f"The best schedule per data set, {summary.model}", style="bold"),
        _figures(summary.datasets),
    ]
    for one in summary.datasets:
        parts.append(Text(f"{title(one)}: {_in_words(one)}"))
        if one.freeze_first:
            answer = f"freeze first, or not? {capitalised(one.freeze_first)}"
            parts.append(Padding(Text(answer), (0, 0, 0, 2)))
        if one.trials:
            parts.append(Padding(Text(_spent(one)), (0, 0, 0, 2)))
    parts += [
        Text(),
        *map(Text, unconfirmed_lines(summary.datasets)),
        Text(f"all together: {duration(summary.seconds)}"),
    ]
    if summary.cut_short:
        parts.append(Text(capitalised(standing_of_all(summary))))
    return Padding(Group(*parts), (1, 0))


def _figures(datasets: Sequence[DatasetOutcome]) -> Table:
    metrics = {one.metric for one in datasets if one.metric}
    table = Table(box=SIMPLE_HEAD)
    table.add_column("data set", overflow="fold")
    value = metrics.pop() if len(metrics) == 1 else "value"
    for heading in ("images", "classes", value, "over\nlinear_probe", "over\nfull"):
        table.add_column(heading, justify="right", no_wrap=True)
    for one in datasets:
        table.add_row(
            Text(one.name),
            "–" if one.images is None else f"{one.images:,}",
            "–" if one.classes is None else f"{one.classes:,}",
            figure(one.value, one.standard_error),
            over(one, "linear_probe").replace(", ", "\n"),
            over(one, "full").replace(", ", "\n"),
        )
    return table


def over(one: DatasetOutcome, baseline: str) -> str:
    """Write the best schedule's lead over a baseline, and what it means: ``+9.9 pt, better``."""
    lead = Scale.of(one.metric).lead(one.lead_over.get(baseline))
    decision = one.decision_over.get(baseline)
    return ", ".join(filter(None, (lead, decision))) or "–"


def unconfirmed_lines(datasets: Sequence[DatasetOutcome]) -> list[str]:
    """Say which data sets' best schedules have not been confirmed; nothing when all have."""
    found = [one for one in datasets if one.best_trial is not None]
    open_ones = [one.name for one in found if not one.confirmed]
    if not open_ones:
        return []
    return [UNCONFIRMED if len(open_ones) == len(found) else f"{listed(open_ones)}: {UNCONFIRMED}"]


def title(one: DatasetOutcome) -> str:
    """Name a data set; by the end of its path too, where its run folder had to have another name."""
    path = Path(one.data)
    return one.name if one.name == path.name else f"{one.name} ({'/'.join(path.parts[-2:])})"


def _in_words(one: DatasetOutcome) -> str:
    if one.problem:
        return f"broke off: {one.problem}"
    if not one.trials:
        return "not begun"
    return one.sentence or "no trial was completed"


def _spent(one: DatasetOutcome) -> str:
    cut = f"; {one.cut_short}" if one.cut_short else ""
    return (
        f"{one.metric}; {one.trials} trials: {one.endings}; "
        f"work {one.work:,.0f}, {duration(one.seconds)}{cut}"
    )
