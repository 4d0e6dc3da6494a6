"""``autofreeze report``: the report of a search again."""

import typer

from autofreeze.cli.options import DatasetName, OutputJson, RunFolderArgument


def report(
    run: RunFolderArgument,
    dataset: DatasetName = None,
    as_json: OutputJson = False,
) -> None:
    """Show the report of a search again, also while it runs. Of several data sets, their summary."""
    import json

    from rich.console import Console

    from autofreeze.report.files import REPORT, folder_of, read_any
    from autofreeze.report.summary import show_summary
    from autofreeze.report.terminal import show
    from autofreeze.results import SummaryResult

    folder = run if dataset is None else folder_of(run, dataset)
    result = read_any(folder)
    if as_json and isinstance(result, SummaryResult):
        typer.echo(json.dumps(result.model_dump(mode="json"), indent=1))
    elif as_json:
        typer.echo((folder / REPORT).read_text(encoding="utf-8"), nl=False)
    elif isinstance(result, SummaryResult):
        show_summary(result, Console())
    else:
        show(result, Console())
