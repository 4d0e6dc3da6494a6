"""``autofreeze suggest``: a schedule without a search."""

from pathlib import Path
from typing import Annotated

import typer

from autofreeze.cli import options
from autofreeze.cli.options import (
    Cache,
    CacheSize,
    CropPct,
    Data,
    Device,
    Groups,
    ImageSize,
    Interpolation,
    MaxBadImages,
    Resplit,
    TestShare,
    Threads,
    Triple,
    Weights,
)
from autofreeze.cli.saying import say


def suggest(
    data: Data,
    model: Annotated[
        str, typer.Option(metavar="NAME", help="timm name of the backbone.", show_default=False)
    ],
    weights: Weights = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="File to write. Default: standard output."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
    epochs: Annotated[
        float | None, typer.Option(help="Epochs of the run. Default: by the size of the data.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Decides the split, the head, the order and the views.")] = 0,
    groups: Groups = "auto",
    image_size: ImageSize = None,
    mean: Triple = None,
    std: Triple = None,
    interpolation: Interpolation = None,
    crop_pct: CropPct = None,
    test_share: TestShare = 0.2,
    resplit: Resplit = False,
    max_bad_images: MaxBadImages = 0.01,
    device: Device = "auto",
    threads: Threads = None,
    cache: Cache = None,
    cache_size: CacheSize = None,
) -> None:
    """Write a schedule for DATA by rule, without a search. The reasons go to standard error."""
    options.needs(
        force or output is None or not output.exists(), f"{output} exists already; --force overwrites it"
    )
    task = options.task(locals())

    from autofreeze.display import Display
    from autofreeze.documents import write_text
    from autofreeze.suggesting import suggest_file

    display = Display()
    with display.shown():
        file, reasons = suggest_file(
            data, model, epochs=epochs, seed=seed, preparing=display.preparing, **task
        )
    say("suggested by rule, not tried on these images:", err=True)
    for reason in reasons:
        say(f"  {reason}", err=True)
    if output is None:
        typer.echo(file.to_text(), nl=False)
    else:
        write_text(output, file.to_text())
        say(f"written: {output}", err=True)
