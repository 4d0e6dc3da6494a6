"""The report on the terminal."""

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from autofreeze.figures import error_of, shown_value
from autofreeze.phrases import capitalised, figure, lead_words, printable
from autofreeze.report.comparison import compare
from autofreeze.report.drawing import draw
from autofreeze.report.words import (
    UNCONFIRMED,
    certainty,
    conditions,
    cost_line,
    found,
    reasons,
    spans,
    standing,
    trials_line,
    verdict,
    versions_line,
)
from autofreeze.results import Ending, StudyResult, TrialResult
from autofreeze.schedule import Schedule, format_rate


def show(result: StudyResult, console: Console) -> None:
    """Print the report of a search.

    Args:
        result: What the search found.
        console: Where to print; its width is kept to.
    """
    console.print(render(result, console.width))


def render(result: StudyResult, width: int = 80) -> RenderableType:
    """Compose the report: best schedule, baselines, how trials ended, cost, conditions.

    Args:
        result: What the search found.
        width: Characters in a line.
    """
    parts: list[RenderableType] = [Text(capitalised(verdict(result)), style="bold"), Text()]
    if result.best is not None:
        parts += [
            *schedule_tables(result.best.schedule, width),
            Text(f"rate curve: {result.best.schedule.curve_words}"),
            Text(),
            Text(draw(result.best.schedule, width)),
            Text(),
        ]
        parts += [Text(_certainty(result, result.best)), Text()]
        parts += [_against_baselines(result), Text()]
    parts += [Text(line) for line in _closing(result)]
    return Padding(Group(*parts), (1, 0))


def schedule_tables(schedule: Schedule, width: int = 80) -> list[Table]:
    """Draw a schedule: a row for each phase where the line has room, else a row for each group.

    Where the phases have no room in one line either, they follow in further tables.
    """
    cells = [["–" if lr is None else format_rate(lr) for lr in phase.lrs] for phase in schedule.phases]
    times = spans(schedule)
    if sum(max(len(name), 7) + 3 for name in ("phase", "epochs", *schedule.groups)) + 1 <= width:
        table = _table("phase", "epochs", *schedule.groups)
        for number, (span, row) in enumerate(zip(times, cells, strict=True)):
            table.add_row(str(number), span, *row)
        return [table]
    room = width - max(map(len, schedule.groups)) - 4
    at_once = max(room // (max(7, *map(len, times)) + 3), 1)
    tables = []
    for start in range(0, len(times), at_once):
        part = slice(start, start + at_once)
        table = _table("group", *(f"epochs\n{span}" for span in times[part]))
        for name, *row in zip(schedule.groups, *cells[part], strict=True):
            table.add_row(name, *row)
        tables.append(table)
    return tables


def _table(*headings: str) -> Table:
    table = Table(box=SIMPLE_HEAD)
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _certainty(result: StudyResult, best: TrialResult) -> str:
    shown, error = shown_value(result.metric, best), error_of(result, best)
    return f"{certainty(result.metric, best, shown, error)}.\n{UNCONFIRMED}"


def _against_baselines(result: StudyResult) -> Table:
    table = Table(box=SIMPLE_HEAD, title="Against the baselines, as usually run", title_justify="left")
    table.add_column("schedule")
    for heading in (result.metric, "best leads by", "log loss", "work"):
        table.add_column(heading, justify="right")
    table.add_column("ended", overflow="fold")
    for row in compare(result):
        table.add_row(
            f"best: {row.name}" if row.best else row.name,
            figure(row.value),
            lead_words(result.metric, row.lead),
            figure(row.log_loss),
            f"{row.work:,.0f}",
            Text(printable(row.ended)),
        )
    return table


def _closing(result: StudyResult) -> list[str]:
    ended = sum(trial.ending is not Ending.UNFINISHED for trial in result.trials)
    lines = [
        trials_line(result),
        *(f"  {reason}" for reason in reasons(result.trials)),
        cost_line(result),
        standing(result.cut_short, ended, result.settings.get("trials")),
        *conditions(result.data, result.backbone),
        *found(result.data),
        f"command: {result.command}" if result.command else "",
        f"versions: {versions_line(result.versions)}",
    ]
    return [line for line in lines if line]
