"""``autofreeze search``: one command, one measured answer."""

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
    FromScratch,
    Groups,
    ImageSize,
    Interpolation,
    Threads,
    Triple,
    Weights,
)
from autofreeze.cli.train import train_by
from autofreeze.errors import AutofreezeError


def search(
    data: Data,
    model: Annotated[
        str, typer.Option(metavar="NAME", help="timm name of the backbone.", show_default=False)
    ],
    weights: Weights = None,
    from_scratch: FromScratch = False,
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Run folder. Default: runs/DATA-MODEL.")
    ] = None,
    space: Annotated[
        str, typer.Option(metavar="NAME|FILE", help="Search space: default, quick, or a YAML file.")
    ] = "default",
    trials: Annotated[int, typer.Option(help="Trials in all, baselines included.")] = 50,
    time: Annotated[
        str | None, typer.Option(metavar="TIME", help="Stop after this time, such as 2h or 30m.")
    ] = None,
    epochs: Annotated[
        float | None, typer.Option(help="Epochs of each run. Default: by the size of the data.")
    ] = None,
    seed: Annotated[
        int, typer.Option(help="Decides folds, heads, orders, views and the sampler's draws.")
    ] = 0,
    sampler: Annotated[str, typer.Option(metavar="NAME", help="tpe, random, qmc or gp.")] = "tpe",
    metric: Annotated[
        str,
        typer.Option(metavar="NAME", help="auto, top1, balanced_accuracy, macro_f1 or log_loss."),
    ] = "auto",
    prune: Annotated[bool, typer.Option(help="End unpromising trials early.")] = True,
    folds: Annotated[
        int | None,
        typer.Option(
            help="Folds that a trial is scored on (1..5). Default: as many as make 500 validation images."
        ),
    ] = None,
    groups: Groups = "auto",
    image_size: ImageSize = None,
    mean: Triple = None,
    std: Triple = None,
    interpolation: Interpolation = None,
    crop_pct: CropPct = None,
    test_share: Annotated[
        float, typer.Option(help="Held out of plain class folders as the test split.")
    ] = 0.2,
    resplit: Annotated[
        bool, typer.Option("--resplit", help="Pool val/ with train/ and split again.")
    ] = False,
    device: Device = "auto",
    threads: Threads = None,
    cache: Cache = None,
    cache_size: CacheSize = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the study in the run folder.")] = False,
    train: Annotated[bool, typer.Option("--train", help="Train by the best schedule afterwards.")] = False,
) -> None:
    """Search the best schedule for DATA: one command, one measured answer."""
    from autofreeze.budget import parse_duration

    limit = parse_duration(time, option="--time") if time is not None else None
    options.needs(trials >= 1, f"trials: got {trials}; must be at least 1")
    task = options.task(locals())
    from rich.console import Console

    from autofreeze import api
    from autofreeze.display import Display
    from autofreeze.report.terminal import show

    out = out or Path("runs") / f"{data.resolve().name}-{model}"
    result = api.search(
        data,
        model,
        out=out,
        trials=trials,
        time_limit=limit,
        epochs=epochs,
        space=space,
        seed=seed,
        sampler=sampler,  # type: ignore[arg-type]
        prune=prune,
        resume=resume,
        display=Display(trials),
        command=api.command_line(),
        **task,
    )
    show(result, Console())
    typer.echo(f"kept in {out}; the schedule as a file:  autofreeze export {out} -o best.yaml")
    if result.cut_short == "interrupted":
        raise typer.Exit(130)
    if result.best is None:
        raise AutofreezeError("no trial was completed; see the reasons above")
    if train:
        native = out / "best.yaml"
        from autofreeze.documents import write_text
        from autofreeze.export.run import export_run

        write_text(native, export_run(out).to_text())
        train_by(native, data, out / "best-model", {})
