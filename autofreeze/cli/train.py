"""``autofreeze train``: a model trained by a file."""

from pathlib import Path
from typing import Annotated, Any

import typer

from autofreeze.cli import options
from autofreeze.cli.options import Cache, CacheSize, Data, Device, FromScratch, ImageSize, Threads
from autofreeze.cli.saying import quoted, say


def train(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="What `autofreeze export` wrote.", show_default=False)
    ],
    data: Data,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder for the trained model.")] = Path(
        "trained"
    ),
    epochs: Annotated[
        float | None,
        typer.Option(help="Stretch the whole schedule to this length. Default: as it is."),
    ] = None,
    full_data: Annotated[
        bool,
        typer.Option("--full-data", help="Train on the validation images too; none is left to validate on."),
    ] = False,
    model: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Another backbone (timm name); needs --map-groups."),
    ] = None,
    map_groups: Annotated[
        bool,
        typer.Option(
            "--map-groups",
            help="Carry the schedule over to other layer groups, by their share of the work.",
        ),
    ] = False,
    weights: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="File of pretrained weights. Default: as in the search; of another backbone timm's.",
        ),
    ] = None,
    from_scratch: FromScratch = False,
    image_size: ImageSize = None,
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
    force: Annotated[bool, typer.Option("--force", help="Overwrite a model that is there.")] = False,
) -> None:
    """Train by an exported schedule. Writes safetensors with labels and preprocessing.

    A training that was broken off is continued by the same command.
    """
    task = {
        "model": model,
        "weights": str(weights) if weights else None,
        "from_scratch": from_scratch or None,
        "image_size": image_size,
        "device": device,
        "threads": threads,
        "max_bad_images": max_bad_images,
        **options.cache(cache, cache_size),
    }
    asked = {"epochs": epochs, "full_data": full_data, "map_groups": map_groups, "test": test, "force": force}
    train_by(file, data, out, task, **asked)


def train_by(file: Path, data: str | Path, out: Path, task: dict[str, Any], **asked: Any) -> None:
    """Train by a file, and tell each epoch.

    Args:
        file: What to train by.
        data: The images.
        out: Folder for the model.
        task: Fields of a task that replace those of the file.
        asked: Further arguments of ``retraining.train``.
    """
    from autofreeze.display import Display
    from autofreeze.report.training import line_of, summary
    from autofreeze.retraining import train as train_by_file

    display = Display()
    done: list[float] = []

    def tell(record: Any) -> None:
        done.append(record.epochs_done)
        display.tell(line_of(record))

    try:
        with display.shown():
            result = train_by_file(
                file, data, out=out, on_epoch=tell, on_step=display.stepping, preparing=display.preparing,
                tell=display.tell, **asked, **task,
            )  # fmt: skip
    except KeyboardInterrupt:
        if done:
            say(f"broken off after epoch {done[-1]:g}; the same command goes on from there", err=True)
        raise
    say(*summary(result).split("\n"))
    say(f"predict by it:  autofreeze predict {quoted(out)} IMAGES")
