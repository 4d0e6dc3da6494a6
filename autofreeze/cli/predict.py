"""``autofreeze predict``: what a trained model says of images, as CSV."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from autofreeze.cli.options import Device


def predict(
    ckpt: Annotated[
        Path,
        typer.Argument(
            metavar="CKPT",
            help="model.safetensors of `autofreeze train`, or its folder.",
            show_default=False,
        ),
    ],
    images: Annotated[
        list[str],
        typer.Argument(
            metavar="IMAGES",
            help="Files or folders, searched to any depth; also what DATA of a training may be.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="CSV file. Default: standard output."),
    ] = None,
    top: Annotated[
        int | None,
        typer.Option(help="The so many most probable classes, instead of a column for each class."),
    ] = None,
    batch_size: Annotated[int, typer.Option(help="Images in one forward pass.")] = 64,
    device: Device = "auto",
    threads: Annotated[int | None, typer.Option(help="CPU threads of the model.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
) -> None:
    """Predict images by a trained model. Writes CSV: by image the probability of each class."""
    from autofreeze.display import Display
    from autofreeze.predicting import predict_to
    from autofreeze.report.predictions import lines_of

    display = Display()
    with display.shown():
        predicted = predict_to(
            output or sys.stdout,
            ckpt,
            images,
            top=top,
            batch_size=batch_size,
            device=device,
            threads=threads,
            force=force,
            progress=display.preparing,
        )
    for line in lines_of(predicted, output):
        display.tell(line)
