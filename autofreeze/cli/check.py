"""``autofreeze check``: what the images say, before anything is trained."""

from typing import Annotated

import typer

from autofreeze.cli.options import Cache, Data, MaxBadImages, OutputJson, Resplit, TestShare


def check(
    data: Data,
    as_json: OutputJson = False,
    max_bad_images: MaxBadImages = 0.01,
    image_size: Annotated[int, typer.Option(help="Side in pixels that a search would bring them to.")] = 224,
    seed: Annotated[int, typer.Option(help="Decides the held-out test split, as in a search.")] = 0,
    test_share: TestShare = 0.2,
    resplit: Resplit = False,
    cache: Cache = None,
) -> None:
    """Check the images before anything is trained. Unreadable files, leaks between splits, small classes."""
    import json

    from rich.console import Console

    from autofreeze import checking
    from autofreeze.display import Display
    from autofreeze.report.check import show

    display = Display()
    with display.shown():
        checked = checking.check(
            data,
            seed=seed,
            test_share=test_share,
            resplit=resplit,
            max_bad_images=max_bad_images,
            image_size=image_size,
            cache_folder=cache,
            progress=display.preparing,
        )
    report = checked.report()
    if as_json:
        typer.echo(json.dumps(report.model_dump(mode="json"), indent=1))
    else:
        show(report, Console())
    if report.stops:
        raise typer.Exit(2)
