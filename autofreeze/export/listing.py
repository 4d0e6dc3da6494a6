"""What each target makes of a schedule, told."""

import json
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from autofreeze.export.exporting import assessments
from autofreeze.export.fidelity import Assessment, Fidelity
from autofreeze.export.native import NativeFile
from autofreeze.phrases import printable, sentence


def show_targets(file: NativeFile, console: Console) -> None:
    """Print a table of targets: how truly each can express the schedule, and if not exactly, why."""
    console.print(render(file))


def render(file: NativeFile) -> RenderableType:
    """Compose the table."""
    table = Table(box=SIMPLE_HEAD)
    table.add_column("--to", no_wrap=True)
    table.add_column("this schedule", no_wrap=True)
    table.add_column("what is written, and what differs", overflow="fold")
    for exporter, found in assessments(file):
        table.add_row(Text(exporter.name), Text(_word(found)), _reasons(exporter.title, found))
    return Group(Text(printable(sentence(file.schedule)), style="bold"), table)


def as_plain(file: NativeFile) -> list[dict[str, Any]]:
    """Give the same for programs."""
    return [
        {"to": exporter.name, "title": exporter.title, **found.model_dump(mode="json")}
        for exporter, found in assessments(file)
    ]


def to_json(file: NativeFile) -> str:
    """Write the same as JSON."""
    return json.dumps(as_plain(file), indent=1)


def _word(found: Assessment) -> str:
    words = {
        Fidelity.EXACT: "exact",
        Fidelity.WITH_CALLBACK: "exact, with callback",
        Fidelity.APPROXIMATE: "--approximate",
        Fidelity.REFUSED: "no",
    }
    return words[found.fidelity]


def _reasons(title: str, found: Assessment) -> Text:
    return Text("\n".join([title, *(f"- {printable(difference)}" for difference in found.differences)]))
