"""``autofreeze export``: a schedule as a file, for autofreeze or for another trainer."""

from pathlib import Path
from typing import Annotated, Any

import typer

from autofreeze.cli.options import DatasetName, OutputJson
from autofreeze.cli.saying import say


def _print_schema(asked: bool) -> None:
    if asked:
        import json

        from autofreeze.export.fileschema import file_schema

        typer.echo(json.dumps(file_schema(), indent=1, ensure_ascii=False))
        raise typer.Exit


def export(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="SOURCE", help="Run folder of a search, or an exported file.", show_default=False
        ),
    ],
    to: Annotated[
        str, typer.Option("--to", metavar="TARGET", help="What to write; --list names them.")
    ] = "yaml",
    dataset: DatasetName = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="File to write. Default: standard output."),
    ] = None,
    trial: Annotated[int | None, typer.Option(help="Which trial. Default: the best.")] = None,
    approximate: Annotated[
        bool,
        typer.Option("--approximate", help="Write the nearest that the target knows; what differs is told."),
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
    list_: Annotated[
        bool, typer.Option("--list", help="Say what each target makes of this schedule, and end.")
    ] = False,
    as_json: OutputJson = False,
    _schema: Annotated[
        bool,
        typer.Option(
            "--schema",
            callback=_print_schema,
            is_eager=True,
            help="Print the JSON Schema of native files, and end.",
        ),
    ] = False,
) -> None:
    """Write a schedule for autofreeze or for another trainer.

    What a target cannot express exactly it refuses, with the reason.
    """
    from autofreeze.cli import options
    from autofreeze.export.run import open_source

    options.needs(list_ or not as_json, "json: only --list prints JSON; for the schedule as JSON: --to json")

    file = open_source(source, dataset=dataset, trial=trial)
    for remark in file.remarks:
        say(remark, err=True)
    if list_:
        _list(file.native, as_json=as_json)
    else:
        _write(file.native, to, output, approximate=approximate, force=force)


def _list(native: Any, *, as_json: bool) -> None:
    from rich.console import Console

    from autofreeze.export.listing import show_targets, to_json

    if as_json:
        typer.echo(to_json(native))
    else:
        show_targets(native, Console())


def _write(native: Any, to: str, output: Path | None, *, approximate: bool, force: bool) -> None:
    from autofreeze.cli import options
    from autofreeze.export.exporting import export_to, write_files

    files, assessment = export_to(to, native, approximate=approximate)
    for difference in assessment.differences:
        say(f"differs: {difference}", err=True)
    if output is None:
        options.needs(
            len(files) == 1,
            f"{to} takes {len(files)} files; say where: -o best{files[0].ending}",
        )
        typer.echo(files[0].text, nl=False)
        return
    for path in write_files(output, files, force=force):
        say(f"written: {path}", err=True)
