"""``autofreeze spaces``: which search spaces there are, what they try, and files of one's own."""

from pathlib import Path
from typing import Annotated

import typer

from autofreeze.cli import options
from autofreeze.cli.options import Groups, ImageSize
from autofreeze.cli.saying import say

spaces = typer.Typer(help="List, show, check and copy search spaces.", rich_markup_mode=None)

Name = Annotated[
    str, typer.Argument(metavar="NAME|FILE", help="A shipped space, or a YAML file.", show_default=False)
]
Model = Annotated[
    str | None, typer.Option(metavar="NAME", help="Fit the space to the layer groups of this timm model.")
]
Epochs = Annotated[
    float | None, typer.Option(help="Fit the space to runs of this length. Default: 10, with --model.")
]
Force = Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")]

USUAL_EPOCHS = 10.0


@spaces.callback(invoke_without_command=True)
def _plain(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        list_spaces()


@spaces.command("list")
def list_spaces() -> None:
    """List the search spaces that come with autofreeze."""
    from rich.console import Console

    from autofreeze.report.spaces import overview
    from autofreeze.space import shipped_spaces

    Console().print(overview(shipped_spaces()))


@spaces.command()
def show(
    name: Name,
    model: Model = None,
    epochs: Epochs = None,
    groups: Groups = "auto",
    image_size: ImageSize = None,
) -> None:
    """Show what a search space tries. With --model also for its layer groups."""
    from rich.console import Console

    from autofreeze.report.spaces import render
    from autofreeze.spacefiles import check_space

    spec, fitted = check_space(name, *_columns(model, epochs, groups, image_size))
    Console().print(render(spec, fitted, model or ""))


@spaces.command()
def validate(
    file: Name,
    model: Model = None,
    epochs: Epochs = None,
    groups: Groups = "auto",
    image_size: ImageSize = None,
) -> None:
    """Check a space file: all problems at once, with lines. Exit status 2 when there are any."""
    from autofreeze.report.spaces import n_searched
    from autofreeze.spacefiles import check_space

    spec, fitted = check_space(file, *_columns(model, epochs, groups, image_size))
    searched = len(fitted.searched) if fitted else n_searched(spec)
    say(f"{file}: valid, {spec.shape}, {searched} axes searched")


@spaces.command()
def copy(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A shipped space.", show_default=False)],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="File to write, .yaml.", show_default=False)],
    force: Force = False,
) -> None:
    """Copy a shipped space to a file, to change it there."""
    from autofreeze.spacefiles import copy_space

    copy_space(name, file, force=force)
    say(f"written: {file}", err=True)


@spaces.command()
def schema(
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="File to write. Default: standard output."),
    ] = None,
    force: Force = False,
) -> None:
    """Write the JSON Schema of a space file. Editors check by it while one types."""
    import json

    from autofreeze.documents import write_text
    from autofreeze.spaceschema import space_schema

    options.needs(
        force or output is None or not output.exists(), f"{output} exists already; --force overwrites it"
    )
    text = json.dumps(space_schema(), indent=1, ensure_ascii=False) + "\n"
    if output is None:
        typer.echo(text, nl=False)
    else:
        write_text(output, text)
        say(f"written: {output}", err=True)


def _columns(
    model: str | None, epochs: float | None, groups: str, image_size: int | None
) -> tuple[tuple[str, ...] | None, float | None]:
    """Names of a model's layer groups and the length of a run; neither without a model."""
    options.needs(model is not None or epochs is None, "--epochs needs --model: depths are fitted too")
    options.needs(epochs is None or 0 < epochs <= 100_000, f"epochs: got {epochs}; must be above zero")
    if model is None:
        return None, None
    from autofreeze.backbone import load_backbone

    backbone = load_backbone(
        model, from_scratch=True, granularity=options.granularity(groups), image_size=image_size
    )
    return backbone.groups.names, epochs or USUAL_EPOCHS
