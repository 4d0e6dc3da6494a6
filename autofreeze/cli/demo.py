"""``autofreeze demo``: a search that needs no data, no weights and no network."""

from pathlib import Path
from typing import Annotated

import typer

from autofreeze.cli import options
from autofreeze.cli.saying import quoted, say


def demo(
    out: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Folder for everything; must not exist, or be empty.")
    ] = Path("runs/demo"),
    trials: Annotated[int, typer.Option(help="Trials of the search, baselines included.")] = 12,
    seed: Annotated[int, typer.Option(help="Decides which digits train, and the search.")] = 0,
) -> None:
    """Search on real handwriting, without a network. At the end a test of what the best schedule gains."""
    options.needs(trials >= 1, f"trials: got {trials}; must be at least 1")
    from rich.console import Console

    from autofreeze import api
    from autofreeze.demo.demonstration import demonstrate
    from autofreeze.demo.table import render
    from autofreeze.display import Display
    from autofreeze.report.terminal import show

    shown = demonstrate(out, trials=trials, seed=seed, display=Display(trials), command=api.command_line())
    console = Console()
    show(shown.search, console)
    console.print(render(shown.contenders))
    say(f"kept in {out}; the best schedule: {out / 'best.yaml'}")
    say(f"the report in a browser: autofreeze report {quoted(out / 'search')} --open")
    say("on your own images:  autofreeze search DATA --model mobilenetv2_100")
