"""What a check of the data found, on the terminal."""

from collections.abc import Iterator

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from autofreeze.findings import SEVERITIES, DataReport, Finding, Severity
from autofreeze.phrases import printable

STYLES: dict[Severity, str] = {"stops": "bold red", "warning": "yellow", "note": "cyan"}
CASES_SHOWN = 3
"""Cases of a finding that the text names; JSON names all."""

CLASSES_SHOWN = 30
"""Classes with a row of their own; JSON has all."""


def show(report: DataReport, console: Console) -> None:
    """Print what was found: images by part and class, then the findings by severity."""
    console.print(render(report))


def render(report: DataReport) -> RenderableType:
    """Compose the report of a check."""
    subjects = "" if report.subjects is None else f", {report.subjects:,} subjects"
    head = f"{printable(report.name)}: {report.layout}{subjects}; auto metric: {report.metric}"
    parts: list[RenderableType] = [Text(head, style="bold"), counts_table(report)]
    for finding in report.findings:
        parts += [*_paragraph(finding), Text()]
    return Padding(Group(*parts, Text(summary(report))), (1, 0))


def counts_table(report: DataReport) -> Table:
    """Draw how many images each class has in each part that there is."""
    table = Table(box=SIMPLE_HEAD, show_footer=True)
    held = {part: counts for part, counts in report.images.items() if any(counts)}
    total = sum(sum(counts) for counts in held.values())
    table.add_column("class", footer="all", overflow="fold")
    for part, counts in held.items():
        table.add_column(part, footer=f"{sum(counts):,}", justify="right")
    table.add_column("all", footer=f"{total:,}", justify="right")
    rows = list(zip(report.classes, *held.values(), strict=True))
    for name, *row in rows[:CLASSES_SHOWN]:
        table.add_row(Text(printable(name)), *(f"{count:,}" for count in row), f"{sum(row):,}")
    if len(rows) > CLASSES_SHOWN:
        table.add_row(Text(f"and {len(rows) - CLASSES_SHOWN:,} more (--json has all)", style="dim"))
    return table


def summary(report: DataReport) -> str:
    """Say in one line what the findings come to."""
    if not report.findings:
        return "nothing found that speaks against a search"
    counts = {severity: sum(f.severity == severity for f in report.findings) for severity in SEVERITIES}
    words = {"stops": "stops a search", "warning": "warnings", "note": "notes"}
    if counts["warning"] == 1:
        words["warning"] = "warning"
    if counts["note"] == 1:
        words["note"] = "note"
    told = [f"{count} {words[severity]}" for severity, count in counts.items() if count]
    return ", ".join(told)


def _paragraph(finding: Finding) -> Iterator[RenderableType]:
    head = Text(f"{finding.severity}: ", style=STYLES[finding.severity])
    yield head + Text(f"{printable(finding.sentence)}.", style="default")
    yield Padding(Text(f"→ {finding.way_out}"), (0, 0, 0, 2))
    for case in finding.images[:CASES_SHOWN]:
        more = f" … ({len(case):,})" if len(case) > CASES_SHOWN else ""
        names = "  ".join(printable(name) for name in case[:CASES_SHOWN])
        yield Padding(Text(names + more, style="dim"), (0, 0, 0, 2))
    if len(finding.images) > CASES_SHOWN:
        yield Padding(
            Text(f"and {len(finding.images) - CASES_SHOWN:,} more (--json names all)", style="dim"),
            (0, 0, 0, 2),
        )
