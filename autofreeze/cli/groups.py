"""``autofreeze groups``: the columns of a model's schedules."""

from typing import Annotated

import typer

from autofreeze.cli import options
from autofreeze.cli.options import ImageSize, OutputJson


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
        granularity=options.granularity(granularity),
        image_size=image_size,
    )
    if as_json:
        typer.echo(json.dumps(backbone.groups.model_dump(mode="json"), indent=1))
    else:
        Console().print(render(backbone.groups, model, backbone.preprocessing.image_size))
