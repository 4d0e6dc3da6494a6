"""``autofreeze train``: a model trained by a file."""

from pathlib import Path
from typing import Annotated, Any

import typer

from autofreeze.cli import options
from autofreeze.cli.options import Cache, CacheSize, Data, Device, Threads, Weights


def train(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="What `autofreeze export` wrote.", show_default=False)
    ],
    data: Data,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder for the trained model.")] = Path(
        "trained"
    ),
    weights: Weights = None,
    device: Device = "auto",
    threads: Threads = None,
    cache: Cache = None,
    cache_size: CacheSize = None,
    max_bad_images: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            help="Share of the images that may be unreadable. Default: as in the search.",
        ),
    ] = None,
    test: Annotated[
        bool, typer.Option("--test", help="Read the test split once at the end; the read is noted.")
    ] = False,
) -> None:
    """Train by an exported schedule. Writes safetensors with labels and preprocessing."""
    task = {
        "weights": str(weights) if weights else None,
        "device": device,
        "threads": threads,
        "max_bad_images": max_bad_images,
        **options.cache(cache, cache_size),
    }
    train_by(file, data, out, task, test=test)


def train_by(file: Path, data: str | Path, out: Path, task: dict[str, Any], *, test: bool = False) -> None:
    """Train by a file, and tell each epoch."""
    from autofreeze.display import Display
    from autofreeze.report.training import line_of, summary
    from autofreeze.retraining import train as train_by_file

    display = Display()

    def tell(record: Any) -> None:
        display.tell(line_of(record))

    with display.shown():
        result = train_by_file(
            file, data, out=out, on_epoch=tell, preparing=display.preparing, test=test, **task
        )
    typer.echo(summary(result))
