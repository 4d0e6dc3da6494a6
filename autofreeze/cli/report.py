"""``autofreeze report``: the report of a search again."""

from pathlib import Path
from typing import Annotated

import typer

from autofreeze.cli.options import DatasetName, OutputJson, RunFolderArgument, needs
from autofreeze.cli.saying import quoted, say


def _print_schema(asked: bool) -> None:
    if asked:
        import json

        from autofreeze.report.schema import report_schema

        typer.echo(json.dumps(report_schema(), indent=1, ensure_ascii=False))
        raise typer.Exit


def report(
    run: RunFolderArgument,
    dataset: DatasetName = None,
    open_: Annotated[
        bool,
        typer.Option("--open", help="Open report.html in the browser; it is made where missing or old."),
    ] = False,
    as_json: OutputJson = False,
    _schema: Annotated[
        bool,
        typer.Option(
            "--schema",
            callback=_print_schema,
            is_eager=True,
            help="Print the JSON Schema of report.json, and end.",
        ),
    ] = False,
) -> None:
    """Show the report of a search again, also while it runs. Of several data sets, their summary."""
    from autofreeze.report.files import folder_of

    needs(not (open_ and as_json), "--open and --json exclude each other: a page, or text for programs")
    folder = run if dataset is None else folder_of(run, dataset)
    if open_:
        _open(folder)
    else:
        _print(folder, as_json=as_json)


def _open(folder: Path) -> None:
    from autofreeze.report.browser import show_file
    from autofreeze.report.pages import page_in

    say(show_file(page_in(folder)))


def _print(folder: Path, *, as_json: bool) -> None:
    import json

    from rich.console import Console

    from autofreeze.report.files import REPORT, read_any
    from autofreeze.report.summary import show_summary
    from autofreeze.report.terminal import show
    from autofreeze.results import SummaryResult

    result = read_any(folder)
    if as_json and isinstance(result, SummaryResult):
        typer.echo(json.dumps(result.plain(), indent=1))
    elif as_json:
        typer.echo((folder / REPORT).read_text(encoding="utf-8"), nl=False)
    else:
        console = Console()
        if isinstance(result, SummaryResult):
            show_summary(result, console)
        else:
            show(result, console)
        say(_where_the_page_is(folder))


def _where_the_page_is(folder: Path) -> str:
    """Name the page, and the command that opens it."""
    from autofreeze.report.files import PAGE

    opens = f"autofreeze report {quoted(folder)} --open"
    if (folder / PAGE).exists():
        return f"as a page: {folder / PAGE}, which {opens} opens"
    return f"as a page: {opens} writes and opens it"
