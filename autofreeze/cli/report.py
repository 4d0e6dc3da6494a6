"""``autofreeze report``: the report of a search again."""

import typer

from autofreeze.cli.options import OutputJson, RunFolderArgument


def report(
    run: RunFolderArgument,
    as_json: OutputJson = False,
) -> None:
    """Show the report of a search again."""
    from rich.console import Console

    from autofreeze.report.files import REPORT, read_report
    from autofreeze.report.terminal import show

    result = read_report(run)
    if as_json:
        typer.echo((run / REPORT).read_text(encoding="utf-8"), nl=False)
    else:
        show(result, Console())
