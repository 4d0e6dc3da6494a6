"""What several commands take: arguments, options, and how they become fields of a task."""

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from autofreeze.errors import ConfigError

AS_GIVEN = (
    "from_scratch", "metric", "folds", "image_size", "interpolation", "crop_pct", "test_share", "resplit",
    "max_bad_images", "device", "threads", "reuse",
)  # fmt: skip
"""Options that are fields of a task as they are."""

WHAT_DATA_IS = (
    "Images: a folder (train/ val/ test/ or one folder per class), a .csv file, or a name such as hfds/NAME."
)
Data = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        help=WHAT_DATA_IS,
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
TestShare = Annotated[
    float, typer.Option(metavar="SHARE", help="Held out as the test split where the data have none.")
]
Resplit = Annotated[bool, typer.Option("--resplit", help="Pool val/ with train/ and split again.")]
MaxBadImages = Annotated[
    float,
    typer.Option(metavar="SHARE", help="Share of the images that may be unreadable; they are left out."),
]
Device = Annotated[str, typer.Option(metavar="NAME", help="auto, cpu, cuda or mps.")]
Threads = Annotated[
    int | None, typer.Option(help="CPU threads of each run; part of what makes a curve repeat.")
]
Cache = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        help="Folder of what is kept for later searches. Default: $AUTOFREEZE_CACHE or the user's cache.",
    ),
]
CacheSize = Annotated[
    str | None, typer.Option(metavar="SIZE", help="Byte budget of the cache, such as 10GB.")
]
Reuse = Annotated[
    bool,
    typer.Option(
        help="Keep what frozen layers give, for all trials; else they run for every batch. No number changes."
    ),
]
FromScratch = Annotated[bool, typer.Option("--from-scratch", help="Start from random weights, on purpose.")]
Views = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Augmentation: none, flip, bank:K (K prepared crops) or online. Default: the space's.",
    ),
]
Erase = Annotated[
    float | None,
    typer.Option(
        metavar="SHARE", help="Share of the crops in which a rectangle is erased. Default: the space's."
    ),
]
Groups = Annotated[
    str, typer.Option(metavar="NAME|N", help="Layer groups: auto (at most 8), coarse, fine, or a number.")
]
OutputJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
RunFolderArgument = Annotated[
    Path, typer.Argument(metavar="RUN", help="Run folder of a search.", show_default=False)
]

DatasetName = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Which data set, when the search was on several.", show_default=False),
]


def task(given: dict[str, Any]) -> dict[str, Any]:
    """Turn the arguments of a command into fields of a task; those that it lacks keep their defaults."""
    return {
        **{name: given[name] for name in AS_GIVEN if name in given},
        "weights": str(given["weights"]) if given["weights"] else None,
        "granularity": granularity(given["groups"]),
        "mean": triple("mean", given["mean"]),
        "std": triple("std", given["std"]),
        **cache(given["cache"], given["cache_size"]),
    }


def cache(folder: Path | None, size: str | None) -> dict[str, Any]:
    """Turn the options of the cache into fields of a task."""
    from autofreeze.bytesize import parse_bytes

    return {
        "cache_folder": str(folder) if folder else None,
        "cache_bytes": parse_bytes(size, option="--cache-size") if size is not None else None,
    }


def granularity(text: str) -> Any:
    """Read the granularity of layer groups: a word or a number."""
    return int(text) if re.fullmatch(r"-?[0-9]{1,9}", text) else text


def triple(name: str, text: str | None) -> tuple[float, ...] | None:
    """Read three numbers, by channel.

    Raises:
        ConfigError: They are not three numbers.
    """
    if text is None:
        return None
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) != 3:
        raise ConfigError(f"{name}: got {text!r}; must be three numbers such as 0.5,0.5,0.5")
    return numbers


def needs(condition: bool, problem: str) -> None:
    """Refuse what was given unless a condition holds.

    Raises:
        ConfigError: It does not; the message is ``problem``.
    """
    if not condition:
        raise ConfigError(problem)
