"""The command line: arguments in, exit status out. It decides nothing, and imports torch only to train."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from autofreeze.errors import AutofreezeError, ConfigError

app = typer.Typer(
    help="Find, per data set, the best freezing schedule for fine-tuning a pretrained image model.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

AS_GIVEN = (
    "from_scratch", "metric", "folds", "image_size", "interpolation", "crop_pct", "test_share", "resplit",
    "device", "threads",
)  # fmt: skip
"""Options that are fields of a task as they are."""

Data = Annotated[
    Path,
    typer.Argument(
        metavar="DATA",
        help="Folder of images: train/ val/ test/ or one folder per class.",
        show_default=False,
    ),
]
Weights = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="File of pretrained weights (.safetensors, .pth). Without it: timm's, from the hub.",
    ),
]
ImageSize = Annotated[int | None, typer.Option(help="Side of the square images in pixels.")]
Triple = Annotated[str | None, typer.Option(metavar="R,G,B", help="By channel, of pixels scaled to 0..1.")]
Interpolation = Annotated[
    str | None, typer.Option(metavar="NAME", help="nearest, bilinear, bicubic or lanczos.")
]
CropPct = Annotated[float | None, typer.Option(help="Share of the resized image that the centre crop keeps.")]
Device = Annotated[str, typer.Option(metavar="NAME", help="auto, cpu, cuda or mps.")]
Threads = Annotated[
    int | None, typer.Option(help="CPU threads of each run; part of what makes a curve repeat.")
]
Cache = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER", help="Folder for decoded images. Default: $AUTOFREEZE_CACHE or the user's cache."
    ),
]
CacheSize = Annotated[
    str | None, typer.Option(metavar="SIZE", help="Byte budget of the cache, such as 10GB.")
]
FromScratch = Annotated[bool, typer.Option("--from-scratch", help="Start from random weights, on purpose.")]
Groups = Annotated[
    str, typer.Option(metavar="NAME|N", help="Layer groups: auto (at most 8), coarse, fine, or a number.")
]
OutputJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


@app.command()
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
    metric: Annotated[str, typer.Option(metavar="NAME", help="top1 or balanced_accuracy.")] = "top1",
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
    _needs(trials >= 1, f"trials: got {trials}; must be at least 1")
    task = _task(locals())
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
        _train(native, data, out / "best-model", {})


@app.command()
def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder of a search.", show_default=False)],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="File to write. Default: standard output."),
    ] = None,
    trial: Annotated[int | None, typer.Option(help="Which trial. Default: the best.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
) -> None:
    """Write a schedule that a search found as YAML, with all that is needed to train by it."""
    from autofreeze.documents import write_text
    from autofreeze.export.run import export_run

    _needs(force or output is None or not output.exists(), f"{output} exists already; --force overwrites it")
    text = export_run(run, trial=trial).to_text()
    if output is None:
        typer.echo(text, nl=False)
    else:
        write_text(output, text)
        typer.echo(f"written: {output}", err=True)


@app.command()
def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder of a search.", show_default=False)],
    as_json: OutputJson = False,
) -> None:
    """Show the report of a search again."""
    from rich.console import Console

    from autofreeze.report.files import REPORT, read_report
    from autofreeze.report.terminal import show

    result = read_report(run)
    if as_json:
        typer.echo((run / REPORT).read_text(encoding="utf-8"), nl=False)
    else:
        show(result, Console())


@app.command()
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
    test: Annotated[
        bool, typer.Option("--test", help="Read the test split once at the end; the read is noted.")
    ] = False,
) -> None:
    """Train by an exported schedule: safetensors with labels and preprocessing."""
    task = {"weights": str(weights) if weights else None, "device": device, "threads": threads} | _cache(
        cache, cache_size
    )
    _train(file, data, out, task, test=test)


@app.command()
def groups(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="timm name of the backbone.", show_default=False)
    ],
    granularity: Annotated[
        str, typer.Option("--groups", metavar="NAME|N", help="auto (at most 8), coarse, fine, or a number.")
    ] = "auto",
    image_size: ImageSize = None,
    as_json: OutputJson = False,
) -> None:
    """Show the layer groups of a model: the columns of its schedules."""
    import json

    from rich.console import Console

    from autofreeze.backbone import load_backbone
    from autofreeze.report.columns import render

    backbone = load_backbone(
        model,
        from_scratch=True,
        granularity=_granularity(granularity),
        image_size=image_size,
    )
    if as_json:
        typer.echo(json.dumps(backbone.groups.model_dump(mode="json"), indent=1))
    else:
        Console().print(render(backbone.groups, model, backbone.preprocessing.image_size))


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="Print the version and end.")] = False,
) -> None:
    if version:
        from importlib.metadata import version as version_of

        typer.echo(version_of("autofreeze"))
        raise typer.Exit


def _train(file: Path, data: Path, out: Path, task: dict[str, Any], *, test: bool = False) -> None:
    from autofreeze import api
    from autofreeze.report.training import line_of, summary

    def tell(record: Any) -> None:
        typer.echo(line_of(record), err=True)

    result = api.train(file, data, out=out, on_epoch=tell, test=test, **task)
    typer.echo(summary(result))


def _task(given: dict[str, Any]) -> dict[str, Any]:
    """Turn the arguments of a command into fields of a task."""
    return {
        **{name: given[name] for name in AS_GIVEN},
        "weights": str(given["weights"]) if given["weights"] else None,
        "granularity": _granularity(given["groups"]),
        "mean": _triple("mean", given["mean"]),
        "std": _triple("std", given["std"]),
        **_cache(given["cache"], given["cache_size"]),
    }


def _cache(folder: Path | None, size: str | None) -> dict[str, Any]:
    from autofreeze.bytesize import parse_bytes

    return {
        "cache_folder": str(folder) if folder else None,
        "cache_bytes": parse_bytes(size, option="--cache-size") if size is not None else None,
    }


def _granularity(text: str) -> Any:
    return int(text) if text.lstrip("-").isdigit() else text


def _triple(name: str, text: str | None) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) != 3:
        raise ConfigError(f"{name}: got {text!r}; must be three numbers such as 0.5,0.5,0.5")
    return numbers


def _needs(condition: bool, problem: str) -> None:
    if not condition:
        raise ConfigError(problem)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        The exit status: 0 done, 1 failed, 2 what was given is wrong, 130 interrupted.
    """
    try:
        app(args=list(argv) if argv is not None else None)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    except AutofreezeError as error:
        typer.echo(f"autofreeze: {error}", err=True)
        return error.exit_status
    except KeyboardInterrupt:
        typer.echo("autofreeze: interrupted", err=True)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
