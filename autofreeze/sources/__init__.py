"""Where images come from: a folder, a CSV file, or a data set that timm reads. A source only lists."""

import os
from pathlib import Path

from autofreeze.errors import DataError
from autofreeze.sources.folder import list_folder
from autofreeze.sources.listing import Listing, first
from autofreeze.sources.table import list_table


def list_source(data: str | os.PathLike[str]) -> Listing:
    """List the images of a source.

    Args:
        data: A folder; a CSV file (its name ends in ``.csv``); or, where nothing of that name lies on the
            disk, ``hfds/NAME`` or ``torch/NAME``.

    Raises:
        DataError: The source cannot be used; every finding is told.
    """
    listing = _listed(data)
    odd = [f"class {name}" for name in listing.classes if not _is_text(name)]
    if not _is_text(str(listing.root)):
        odd.insert(0, "the folder itself")
    if odd:  # no report could name them
        reason = "has a name that is no UTF-8; rename it (convmv can, for many at once)"
        raise DataError(first([f"{one}: {reason}" for one in odd]), where=os.fspath(data))
    return listing


def _is_text(name: str) -> bool:
    """Whether a name on the disk is UTF-8: other bytes come as single surrogates."""
    return not any("\ud800" <= letter <= "\udfff" for letter in name)


def _listed(data: str | os.PathLike[str]) -> Listing:
    given = Path(data).expanduser()
    if given.suffix.lower() == ".csv" and not given.is_dir():
        return list_table(data)
    text = os.fspath(data)
    if "/" in text and not given.exists():
        from autofreeze.sources.reader import STREAMED, list_reader  # loads torch

        if text.partition("/")[0] in ("hfds", "torch", *STREAMED):
            return list_reader(text)
    return list_folder(data)
