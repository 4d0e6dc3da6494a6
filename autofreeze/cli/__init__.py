"""The command line: arguments in, exit status out. It decides nothing, and imports torch only to train."""

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from io import StringIO, TextIOWrapper
from typing import Annotated, Any

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
from autofreeze.cli.saying import say
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


UsageError: type[Exception] = typer.BadParameter.__mro__[1]
"""Of every wrong usage: where it comes from is typer's own affair."""

BROKEN_PIPE = 141
"""As a shell tells a program that was ended by SIGPIPE."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        The exit status: 0 done, 1 failed, 2 what was given is wrong, 130 interrupted, 141 nobody reads.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names of files are shown on any terminal
    try:
        try:
            status = app(args=list(argv) if argv is not None else None, standalone_mode=False)
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()  # not at Python's end: there nobody can tell that it failed
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    except UsageError as error:
        return _refuse(error)
    except AutofreezeError as error:
        _say(str(error))
        return error.exit_status
    except BrokenPipeError:  # who reads has seen enough
        _drop_output()
        return BROKEN_PIPE
    except (OSError, MemoryError, RuntimeError) as error:
        from autofreeze.faults import fault_in, told

        fault = error if isinstance(error, OSError) else fault_in(error)
        if fault is None:
            raise
        _drop_output()
        _say(str(told(fault)))
        return 1
    except KeyboardInterrupt:
        _say("interrupted")
        return 130
    return status if isinstance(status, int) else 0


def _refuse(error: Any) -> int:
    """Tell a wrong usage as typer does, but for what would steer a terminal; its exit status."""
    told = StringIO()
    error.show(file=told)
    say(*told.getvalue().rstrip("\n").split("\n"), err=True)
    return int(error.exit_code)


def _say(text: str) -> None:
    """Tell what went wrong, where that can be told."""
    with suppress(OSError):
        say(*f"autofreeze: {text}".split("\n"), err=True)


def _drop_output() -> None:
    """Keep Python from writing once more, at its end, what could not be written."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
