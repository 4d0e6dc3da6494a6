"""``autofreeze dashboard``: optuna-dashboard on the study of a run folder."""

from typing import Annotated

import typer

from autofreeze.cli.options import DatasetName, RunFolderArgument
from autofreeze.cli.saying import say

PORT = 8080


def dashboard(
    run: RunFolderArgument,
    dataset: DatasetName = None,
    port: Annotated[
        int, typer.Option(metavar="N", help="Port on this machine; the next free one where it is taken.")
    ] = PORT,
    open_: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
) -> None:
    """Show the study in optuna-dashboard. Only here, and to look at."""
    import warnings
    from contextlib import suppress

    from autofreeze.dashboard import journal_of, served
    from autofreeze.report.browser import show_address

    journal = journal_of(run, dataset)
    with served(journal, port) as server, suppress(KeyboardInterrupt), warnings.catch_warnings():
        if port and server.server_port != port:
            say(f"port {port} is taken")
        say(f"{journal.parent}: {server.address} (to look at; Ctrl-C ends it)")
        say("a value there is the study's own: the more the better, a log loss as exp(-log loss)")
        if open_:
            say(show_address(server.address))
        warnings.simplefilter("ignore")  # Optuna's, on what few trials can tell
        server.serve_forever()
    say("the dashboard has ended")
