"""``autofreeze compare``: the best schedule per data set, of searches made at different times."""

from pathlib import Path
from typing import Annotated

import typer

from autofreeze.cli.options import OutputJson


def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN",
            help="Run folders of searches; of one on several data sets, each counts.",
            show_default=False,
        ),
    ],
    as_json: OutputJson = False,
) -> None:
    """Compare searches: the best schedule of each data set."""
    import json

    from rich.console import Console

    from autofreeze.report.across import across
    from autofreeze.report.across_shown import show_across
    from autofreeze.report.runs import read_runs

    found = across(*read_runs(runs))
    if as_json:
        typer.echo(json.dumps(found.plain(), indent=1))
    else:
        show_across(found, Console())
