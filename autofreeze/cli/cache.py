"""``autofreeze cache``: what the cache folder holds, and making room in it."""

from pathlib import Path
from typing import Annotated

import typer

from autofreeze.cli import options
from autofreeze.cli.options import OutputJson
from autofreeze.cli.saying import say

cache = typer.Typer(help="List and clear what is kept for later searches.", rich_markup_mode=None)

Folder = Annotated[
    Path | None,
    typer.Option(
        "--cache", metavar="FOLDER", help="Cache folder. Default: $AUTOFREEZE_CACHE or the user's cache."
    ),
]


@cache.callback(invoke_without_command=True)
def _plain(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        list_cache()


@cache.command("list")
def list_cache(folder: Folder = None, as_json: OutputJson = False) -> None:
    """List what the cache holds: what it is, of which data and model, its size, when it was used last."""
    import json

    from rich.console import Console

    from autofreeze.inventory import inventory
    from autofreeze.report.cache import overview, total

    held = inventory(_folder(folder))
    if as_json:
        typer.echo(json.dumps(held.model_dump(mode="json"), indent=1))
        return
    if held.entries:
        Console().print(overview(held))
    say(total(held))


@cache.command()
def clear(
    keys: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY", help="Keys, or how they begin.", show_default=False),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All that the cache holds.")] = False,
    decoded: Annotated[bool, typer.Option("--decoded", help="Decoded images only.")] = False,
    features: Annotated[bool, typer.Option("--features", help="Features only.")] = False,
    older_than: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Only what has not been used for this long, such as 12h or 30d."),
    ] = None,
    folder: Folder = None,
    as_json: OutputJson = False,
) -> None:
    """Remove entries, without asking. What a process is filling stays; what is gone is computed again."""
    import json

    from autofreeze.budget import parse_duration
    from autofreeze.inventory import clear as clear_cache
    from autofreeze.report.cache import freed
    from autofreeze.shelf import SUFFIXES

    narrowed = decoded or features or older_than is not None
    options.needs(
        bool(keys) or everything or narrowed,
        "nothing is chosen; give keys (autofreeze cache list shows them), --decoded, --features, "
        "--older-than TIME, or --all",
    )
    options.needs(
        not everything or not (keys or narrowed), "--all is everything; leave out what narrows it, or --all"
    )
    chosen = {"decoded": decoded, "features": features}
    cleared = clear_cache(
        _folder(folder),
        keys or (),
        kinds=[kind for kind in SUFFIXES if chosen[kind] or not (decoded or features)],
        older_than=parse_duration(older_than, option="--older-than") if older_than is not None else None,
    )
    if as_json:
        typer.echo(json.dumps(cleared.model_dump(mode="json"), indent=1))
    else:
        say(freed(cleared))


def _folder(given: Path | None) -> Path:
    from autofreeze.shelf import default_cache_folder

    return given.expanduser() if given is not None else default_cache_folder()
