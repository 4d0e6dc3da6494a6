"""The command line: arguments in, exit status out. It decides nothing, and imports torch only to train."""

import sys
from collections.abc import Sequence
from io import TextIOWrapper
from typing import Annotated

import typer

from autofreeze.cli.address import CommandWithAddress
from autofreeze.cli.cache import cache
from autofreeze.cli.check import check
from autofreeze.cli.compare import compare
from autofreeze.cli.dashboard import dashboard
from autofreeze.cli.demo import demo
from autofreeze.cli.export import export
from autofreeze.cli.groups import groups
from autofreeze.cli.plan import plan
from autofreeze.cli.predict import predict
from autofreeze.cli.report import report
from autofreeze.cli.search import search
from autofreeze.cli.spaces import spaces
from autofreeze.cli.status import status
from autofreeze.cli.suggest import suggest
from autofreeze.cli.train import train
from autofreeze.errors import AutofreezeError

app = typer.Typer(
    help="Find, per data set, the best freezing schedule for fine-tuning a pretrained image model.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
COMMANDS = (
    demo, check, suggest, plan, search, status, report, compare, dashboard, export, train, predict, groups,
)  # fmt: skip
for command in COMMANDS:
    app.command(cls=CommandWithAddress if command in (plan, search) else None)(command)
app.add_typer(spaces, name="spaces")
app.add_typer(cache, name="cache")


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="Print the version and end.")] = False,
) -> None:
    if version:
        from importlib.metadata import version as version_of

        typer.echo(version_of("autofreeze"))
        raise typer.Exit


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        The exit status: 0 done, 1 failed, 2 what was given is wrong, 130 interrupted.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names of files are shown on any terminal
    try:
        app(args=list(argv) if argv is not None else None)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    except AutofreezeError as error:
        from autofreeze.phrases import printable

        told = "\n".join(printable(line) for line in str(error).split("\n"))
        typer.echo(f"autofreeze: {told}", err=True)
        return error.exit_status
    except KeyboardInterrupt:
        typer.echo("autofreeze: interrupted", err=True)
        return 130
    return 0
