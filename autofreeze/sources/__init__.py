"""Where images come from: a folder, a CSV file, or a data set that timm reads. A source only lists."""

import os

from autofreeze.sources.folder import list_folder
from autofreeze.sources.listing import Listing


def list_source(data: str | os.PathLike[str]) -> Listing:
    """List the images of a source.

    Args:
        data: A folder.

    Raises:
        DataError: The source cannot be used; every finding is told.
    """
    return list_folder(data)
