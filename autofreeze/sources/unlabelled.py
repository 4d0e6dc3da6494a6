"""Images to predict: files and folders as they lie, whatever their classes, or a data set as in training."""

import os
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from autofreeze.errors import DataError
from autofreeze.sources import list_source
from autofreeze.sources.folder import IMAGE_SUFFIXES
from autofreeze.sources.listing import Files, Images, first, path_key

SUFFIXES = (
    *IMAGE_SUFFIXES,
    ".avif", ".bmp", ".gif", ".jfif", ".jp2", ".pgm", ".ppm", ".tif", ".tiff", ".webp",
)  # fmt: skip
"""What is taken for an image in a folder, in any case. A file that is named by itself is always tried."""

_DATA_SETS = ("hfds", "torch")


@dataclass(frozen=True, slots=True)
class Unlabelled:
    """Images without classes. A place in ``names`` is the image id."""

    names: tuple[str, ...]
    """Paths as they were given, those in a folder behind its path; of a data set what it calls its images."""

    starts: tuple[int, ...]
    """The first image of each source."""

    sources: tuple[Images, ...]

    passed_over: tuple[str, ...] = ()
    """Files in the folders that are no images by their ending."""

    def __len__(self) -> int:
        return len(self.names)

    def open(self, image: int) -> Image.Image:
        """Open an image; use it as a context manager. Threads may call it at once."""
        source = bisect_right(self.starts, image) - 1
        return self.sources[source].open(image - self.starts[source])


def list_unlabelled(given: Sequence[str | os.PathLike[str]]) -> Unlabelled:
    """List images, each once.

    Folders are searched to any depth, but not through links to folders, nor in what is hidden, and are sorted
    as timm sorts (``2.png`` before ``10.png``).

    Args:
        given: Files, folders, CSV files or names of data sets as ``list_source`` takes them.

    Raises:
        DataError: Nothing was given, something is not there or cannot be listed, or no image was found.
    """
    problems: list[str] = []
    seen: dict[str, None] = {}
    passed: list[str] = []
    names: list[str] = []
    starts: list[int] = []
    sources: list[Images] = []

    def add(found: Sequence[str], source: Images) -> None:
        if found:
            starts.append(len(names))
            sources.append(source)
            names.extend(found)

    for one in given:
        path, text = Path(one).expanduser(), os.fspath(one)
        if (path.suffix.lower() == ".csv" and path.is_file()) or _names_a_data_set(text, path):
            listing = list_source(text)
            add(listing.paths, listing.images)
            continue
        if not path.exists():
            problems.append(f"{text}: no such file or folder")
            continue
        found: list[str] = []
        if path.is_dir():
            here = sorted(_walk(path, problems), key=path_key)
            found = [name for name in here if name.lower().endswith(SUFFIXES)]
            passed += [name for name in here if not name.lower().endswith(SUFFIXES)]
        else:
            found = [str(path)]
        fresh = tuple(name for name in found if name not in seen)
        seen.update(dict.fromkeys(fresh))
        add(fresh, Files(Path(), fresh))
    if not given:
        problems.append("no images given; name files or folders")
    if problems:
        raise DataError(first(problems))
    if not names:
        others = f" among {len(passed):,} files" if passed else ""
        raise DataError(
            f"no images{others}; looked for {', '.join(SUFFIXES)}",
            where=", ".join(os.fspath(one) for one in given),
        )
    return Unlabelled(tuple(names), tuple(starts), tuple(sources), tuple(passed))


def _names_a_data_set(text: str, path: Path) -> bool:
    return text.partition("/")[0] in _DATA_SETS and "/" in text and not path.exists()


def _walk(folder: Path, problems: list[str]) -> Iterator[str]:
    """Give the files below a folder, in no order; what cannot be listed is a problem."""

    def note(error: OSError) -> None:
        problems.append(f"{error.filename}: cannot be listed: {error.strerror or error}")

    for top, folders, files in os.walk(folder, onerror=note):
        folders[:] = [name for name in folders if not _hidden(name)]
        yield from (os.path.join(top, name) for name in files if not _hidden(name))  # noqa: PTH118 - a million


def _hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"
