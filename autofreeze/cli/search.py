"""``autofreeze search``: one command, one measured answer."""

from pathlib import Path
from typing import Annotated, Any

import typer

from autofreeze.cli import options
from autofreeze.cli.options import (
    Cache,
    CacheSize,
    CropPct,
    Device,
    Erase,
    FromScratch,
    Groups,
    ImageSize,
    Interpolation,
    MaxBadImages,
    Resplit,
    Reuse,
    TestShare,
    Threads,
    Triple,
    Views,
    Weights,
)
from autofreeze.cli.saying import quoted, say
from autofreeze.cli.train import train_by
from autofreeze.errors import AutofreezeError

INTERRUPTED = "interrupted"
"""``cut_short`` after a Ctrl-C."""


def search(
    data: Annotated[
        list[str],
        typer.Argument(
            metavar="DATA",
            help=f"{options.WHAT_DATA_IS} Of several, each is searched.",
            show_default=False,
        ),
    ],
    model: Annotated[
        str, typer.Option(metavar="NAME", help="timm name of the backbone.", show_default=False)
    ],
    weights: Weights = None,
    from_scratch: FromScratch = False,
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Run folder. Default: runs/DATA-MODEL.")
    ] = None,
    preset: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="quick, standard or thorough: trials, epochs, space and folds that are not given.",
        ),
    ] = "standard",
    space: Annotated[
        str | None,
        typer.Option(metavar="NAME|FILE", help="Search space: a shipped one by its name, or a YAML file."),
    ] = None,
    trials: Annotated[int | None, typer.Option(help="Trials on each data set, baselines included.")] = None,
    time: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="Stop after this time, such as 2h or 30m; for all data sets together."
        ),
    ] = None,
    epochs: Annotated[
        float | None,
        typer.Option(help="Epochs of each run. Default: by the preset, or the size of the data."),
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
    confirm: Annotated[
        int | None,
        typer.Option(
            metavar="SEEDS",
            help="Fresh seeds at most to confirm the winner on: 0, 6, 12 or 24. Default: by the preset.",
        ),
    ] = None,
    delta: Annotated[
        float, typer.Option(metavar="POINTS", help="Differences below this count as none (no difference).")
    ] = 1.0,
    tune_baselines: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,…|all",
            help="Tune the rate of these baselines too, by as many trials each as the search has.",
        ),
    ] = None,
    max_cost: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE", help="Work of one run at most, in runs of full fine-tuning: 0.5 is half."
        ),
    ] = None,
    candidates: Annotated[
        int,
        typer.Option(
            metavar="K", help="Of K draws, run the one that promises most for its work. 1: run what is drawn."
        ),
    ] = 1,
    max_work: Annotated[
        str | None,
        typer.Option(
            metavar="WORK",
            help="Work of one trial at most, over all its folds, in forward passes of an image: 20k, 1.5M.",
        ),
    ] = None,
    warm_start: Annotated[
        list[str] | None,
        typer.Option(
            metavar="RUN",
            help="Run folder of an earlier search, whose winners are tried first; may be repeated.",
            show_default=False,
        ),
    ] = None,
    stuck_after: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Break off a run that gives no record for so long. Default: by the runs before.",
        ),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="[ADDRESS]",
            help="Run the trials on Ray: auto, HOST:PORT, ray://HOST:PORT; alone: a Ray on this machine.",
        ),
    ] = None,
    gpus_per_trial: Annotated[
        float | None,
        typer.Option(
            metavar="X", help="GPUs of each trial on Ray: a share such as 0.25, a whole number, or 0."
        ),
    ] = None,
    cpus_per_trial: Annotated[
        float | None, typer.Option(metavar="N", help="CPUs of each trial on Ray. Default: by the cluster.")
    ] = None,
    max_concurrent: Annotated[
        int | None, typer.Option(metavar="N", help="Trials on Ray at once, at most. Default: by --trials.")
    ] = None,
    storage: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Folder that all nodes see, for what outlives a fault."),
    ] = None,
    log: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Write this too while it runs: tensorboard (curves, settings). May be repeated.",
            show_default=False,
        ),
    ] = None,
    views: Views = None,
    erase: Erase = None,
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
    reuse: Reuse = True,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the study in the run folder.")] = False,
    train: Annotated[bool, typer.Option("--train", help="Train by the best schedule afterwards.")] = False,
) -> None:
    """Search the best schedule for DATA. One command, one measured answer."""
    given = asked_for(locals())
    out = given["out"]
    from autofreeze import api
    from autofreeze.display import Display

    given |= {"display": Display(), "command": api.command_line()}
    if len(data) == 1:
        _one(data[0], model, out, given, train=train)
    else:
        _several(data, model, out, given, train=train)


AS_GIVEN = (
    "preset", "trials", "epochs", "space", "seed", "sampler", "prune", "resume", "confirm", "delta",
    "max_cost", "views", "erase", "candidates", "ray", "gpus_per_trial", "cpus_per_trial", "max_concurrent",
    "storage",
)  # fmt: skip
"""Options that ``api.search`` takes as they are."""


def asked_for(given: dict[str, Any]) -> dict[str, Any]:
    """Turn the arguments of the command into those of ``api.search``, apart from the data and the model."""
    from autofreeze.budget import parse_duration, parse_work

    tuned, work, stuck = given["tune_baselines"], given["max_work"], given["stuck_after"]
    return {
        **{name: given[name] for name in AS_GIVEN},
        "out": given["out"] or _default_folder(given["data"], given["model"]),
        "time_limit": None if given["time"] is None else parse_duration(given["time"], option="--time"),
        "max_work": None if work is None else parse_work(work, option="--max-work"),
        "warm_start": given["warm_start"] or (),
        "log": given["log"] or (),
        "stuck_after": None if stuck is None else parse_duration(stuck, option="--stuck-after"),
        "tune_baselines": [name.strip() for name in tuned.split(",")] if tuned else (),
        **options.task(given),
    }


def _one(data: str, model: str, out: Path, given: dict[str, Any], *, train: bool) -> None:
    from rich.console import Console

    from autofreeze import api
    from autofreeze.report.terminal import show

    result = api.search(data, model, **given)
    show(result, Console())
    say(f"kept in {out} (report.html for people, report.json for programs)")
    say(f"the report in a browser: autofreeze report {quoted(out)} --open")
    if result.best is not None:
        say(f"the schedule as a file:  autofreeze export {quoted(out)} -o best.yaml")
        say(f"for other trainers:      autofreeze export {quoted(out)} --list")
    if result.cut_short == INTERRUPTED:
        raise typer.Exit(130)
    if result.best is None:
        raise AutofreezeError("no trial was completed; see the reasons above")
    if train:
        _train_best(data, out)


def _several(data: list[str], model: str, out: Path, given: dict[str, Any], *, train: bool) -> None:
    from rich.console import Console

    from autofreeze import api
    from autofreeze.report.summary import show_summary

    summary = api.search_all(data, model, **given)
    show_summary(summary, Console())
    folder = quoted(out)
    say(f"kept in {out} (report.html for people), a run folder for each data set")
    say(f"all in a browser:  autofreeze report {folder} --open")
    say(f"one report:  autofreeze report {folder} --dataset NAME")
    say(f"one schedule as a file:  autofreeze export {folder} --dataset NAME -o best.yaml")
    if summary.cut_short == INTERRUPTED:
        raise typer.Exit(130)
    if train:
        for one in summary.datasets:
            if one.best_trial is not None:
                say(f"training by the best schedule of {one.name}", err=True)
                _train_best(one.data, out / one.name)
    lost = [one.name for one in summary.datasets if one.problem or one.best_trial is None]
    if lost:
        raise AutofreezeError(f"no full answer for {', '.join(lost)}; see the reasons above")


def _train_best(data: str, run: Path) -> None:
    from autofreeze.documents import write_text
    from autofreeze.export.run import export_run

    native = run / "best.yaml"
    write_text(native, export_run(run).to_text())
    train_by(native, data, run / "best-model", {})


def _default_folder(data: list[str], model: str) -> Path:
    """Where a search is kept when nobody says: named after its data and model, so that --resume finds it."""
    names = [_name_of(one) for one in data]
    if len(names) > 3:
        names = [names[0], f"{len(names) - 1}-more"]
    return Path("runs") / "-".join([*names, model])


def _name_of(data: str) -> str:
    """Name a data set; a CSV file by its folder too, since many are called labels.csv."""
    path = Path(data).resolve()
    if path.suffix == ".csv":
        return f"{path.parent.name}-{path.stem}".strip("-")
    return path.name or "data"
