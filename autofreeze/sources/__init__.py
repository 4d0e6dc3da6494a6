"""Where images come from: a folder, a CSV file, or a data set that timm reads. A source only lists."""

import os
from pathlib import Path

from autofreeze.sources.folder import list_folder
from autofreeze.sources.listing import Listing
from autofreeze.sources.table import list_table


def list_source(data: str | os.PathLike[str]) -> Listing:
    """List the images of a source.

    Args:
        data: A folder; a CSV file (its name ends in ``.csv``); or, where nothing of that name lies on the
            disk, ``hfds/NAME`` or ``torch/NAME``.

    Raises:
        DataError: The source cannot be used; every finding is told.
    """
    given = Path(data).expanduser()
    if given.suffix.lower() == ".csv" and not given.is_dir():
        return list_table(data)
    text = os.fspath(data)
    if "/" in text and not given.exists():
        from autofreeze.sources.reader import STREAMED, list_reader  # loads torch

        if text.partition("/")[0] in ("hfds", "torch", *STREAMED):
            return list_reader(text)
    return list_folder(data)
