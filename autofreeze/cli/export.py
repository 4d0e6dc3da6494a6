"""``autofreeze export``: a schedule as a file."""

from pathlib import Path
from typing import Annotated

import typer

from autofreeze.cli import options
from autofreeze.cli.options import DatasetName, RunFolderArgument


def export(
    run: RunFolderArgument,
    dataset: DatasetName = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="File to write. Default: standard output."),
    ] = None,
    trial: Annotated[int | None, typer.Option(help="Which trial. Default: the best.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
) -> None:
    """Write a schedule that a search found as YAML. The file has all that is needed to train by it."""
    from autofreeze.documents import write_text
    from autofreeze.export.run import export_run
    from autofreeze.report.files import folder_of

    options.needs(
        force or output is None or not output.exists(), f"{output} exists already; --force overwrites it"
    )
    text = export_run(folder_of(run, dataset), trial=trial).to_text()
    if output is None:
        typer.echo(text, nl=False)
    else:
        write_text(output, text)
        typer.echo(f"written: {output}", err=True)
