"""``autofreeze status``: how a search goes, from another terminal."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autofreeze.cli.options import OutputJson, RunFolderArgument, needs

if TYPE_CHECKING:
    from autofreeze.report.seen import Seen, SeenAll

LEAST, MOST = 0.2, 86400.0
"""Seconds between two looks."""

SPARED_ROWS, LEAST_ROWS = 12, 4
"""Rows of a terminal that a table of runs leaves to what stands above it, and rows that it has at least."""


def status(
    run: RunFolderArgument,
    as_json: OutputJson = False,
    watch: Annotated[
        float | None,
        typer.Option(
            "--watch", "-w", metavar="SECONDS", help="Look again after so many seconds, until it has ended."
        ),
    ] = None,
) -> None:
    """Show how a search goes, from another terminal. What runs where, the best so far, and how far it is."""
    from contextlib import suppress

    from autofreeze.report.seen import see

    if watch is None:
        _show(see(run), as_json=as_json)
        return
    needs(LEAST <= watch <= MOST, f"watch: got {watch:g}; must be {LEAST:g} to {MOST:g} seconds")
    with suppress(KeyboardInterrupt):  # whoever watches has seen enough
        _watch(run, watch, as_json=as_json)


def _show(seen: "Seen | SeenAll", *, as_json: bool, in_a_line: bool = False) -> None:
    import json

    from rich.console import Console

    from autofreeze.report.seen import data_of, render

    if as_json:
        typer.echo(json.dumps(data_of(seen), indent=None if in_a_line else 1))
    else:
        Console().print(render(seen), crop=False)


def _watch(run: Path, seconds: float, *, as_json: bool) -> None:
    """Look again and again: drawn anew in place on a terminal, one after the other elsewhere."""
    import time

    from rich.console import Console
    from rich.live import Live

    from autofreeze.report.seen import render, see

    console, seen = Console(), see(run)
    if as_json or not console.is_terminal:
        _show(seen, as_json=as_json, in_a_line=True)
        while seen.goes_on:
            time.sleep(seconds)
            seen = see(run)
            _show(seen, as_json=as_json, in_a_line=True)
        return
    rows = max(console.height - SPARED_ROWS, LEAST_ROWS)
    with Live(render(seen, rows=rows), console=console, auto_refresh=False, transient=True) as live:
        live.refresh()
        while seen.goes_on:
            time.sleep(seconds)
            seen = see(run)
            live.update(render(seen, rows=rows), refresh=True)
    _show(seen, as_json=False)
