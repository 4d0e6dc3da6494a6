"""What a source says before any image is read, and how its images are read then."""

import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Literal, Protocol

from PIL import Image

from autofreeze.errors import DataError
from autofreeze.faults import is_want, told
from autofreeze.imagefile import check_regular, open_image

Part = Literal["train", "val", "test"]

PARTS: tuple[Part, ...] = ("train", "val", "test")
PART_NAMES: dict[str, Part] = {
    "train": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}
"""Names of folders and splits that mean a part, in lower case; any case is accepted."""

DIGEST_BYTES = 16
_MOST_NAMED = 10


class Images(Protocol):
    """The images of a source, by image id. Both verbs may be called from several threads at once."""

    def open(self, image: int, digest: str = "") -> Image.Image:
        """Open an image; Pillow decodes it when its pixels are asked for. Use it as a context manager.

        Args:
            image: Its id.
            digest: Its hash when the source was read first. Where it is given, what changes are
                possible are found out.

        Raises:
            DataError: The image is no longer the same.
            Exception: What Pillow raises for broken images; most are OSError.
        """
        ...

    def digest(self, image: int) -> str:
        """Hash what the image is: BLAKE2b, 32 hexadecimal digits."""
        ...


@dataclass(frozen=True, slots=True)
class Files:
    """Images that are files below one folder."""

    root: Path
    paths: tuple[str, ...]
    """Relative to ``root``, with forward slashes; the image id is the index."""

    def open(self, image: int, digest: str = "") -> Image.Image:
        """Open a file; it is closed when the image is. With a hash it is read whole, then decoded."""
        file = self.root / self.paths[image]
        if not digest:
            return open_image(file)
        try:
            check_regular(file)
            raw = file.read_bytes()
        except OSError as error:
            if is_want(error):
                raise told(error) from error
            raise _changed(file, f"cannot be read any more ({error.strerror or error})") from error
        if digest_of_bytes(raw) != digest:
            raise _changed(file, "has other contents than when it was read first")
        return open_image(BytesIO(raw))

    def digest(self, image: int) -> str:
        """Hash the bytes of the file."""
        file = self.root / self.paths[image]
        check_regular(file)
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, _new_digest).hexdigest()


@dataclass(frozen=True, slots=True)
class Listing:
    """What a source says before any image is read."""

    name: str
    """For people, and for the names of folders: no slashes."""

    root: Path
    """Where the images lie; for images that are not files, the name that was given."""

    where: str
    """What to call the source in messages."""

    classes: tuple[str, ...]
    """In the order of their numbers, which is timm's."""

    paths: tuple[str, ...]
    """What each image is called; a place here is the image id."""

    labels: tuple[int, ...]
    parts: tuple[Part | None, ...]
    """``None`` where the source does not say; then a test part is held out."""

    images: Images
    layout: str
    """For people."""

    subjects: tuple[str, ...] | None = None
    """Whose image it is: a patient, a scene."""


def _changed(file: Path, how: str) -> DataError:
    return DataError(
        f"{how}; begin again when nobody changes the images, and leave them alone meanwhile", where=str(file)
    )


def digest_of_bytes(raw: bytes) -> str:
    """Hash bytes: BLAKE2b, 32 hexadecimal digits."""
    digest = _new_digest()
    digest.update(raw)
    return digest.hexdigest()


def _new_digest() -> "hashlib.blake2b":
    return hashlib.blake2b(digest_size=DIGEST_BYTES)


def first(problems: Sequence[str]) -> list[str]:
    """Give the first ten problems, and how many more there are."""
    more = len(problems) - _MOST_NAMED
    return [*problems[:_MOST_NAMED], *([f"and {more:,} more"] if more > 0 else [])]


def path_key(path: str) -> tuple[list[str | int], str]:
    """Order as timm does (``natural_key``), and by the exact name where timm sees a tie.

    More digits than the 4,300 that Python reads as a number count as several numbers.
    """
    pieces = re.split(r"(\d{1,4300})", path.lower())
    return [int(piece) if place % 2 else piece for place, piece in enumerate(pieces)], path


def in_words(names: Sequence[str]) -> str:
    """Join names: ``a``, ``a and b``, ``a, b and c``."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def leads_out(path: Path, root: Path) -> bool:
    """Tell whether a path, its links followed, lies outside a folder whose own links are followed already."""
    return not Path(os.path.realpath(path)).is_relative_to(root)
