"""Opening image files: regular files alone, and formats whose readers run in this process."""

import functools
import stat
from io import BytesIO
from pathlib import Path

from PIL import Image

FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
"""Pillow's names of what is read, whatever a file is called. For others, Pillow starts programs (EPS), or has
readers that few people use and nobody attacks."""


MOST_BYTES = 2**32
"""Of a file: more than the largest picture that Pillow reads takes, however it is stored."""


def open_image(source: Path | BytesIO) -> Image.Image:
    """Open an image; Pillow decodes it when its pixels are asked for. It is to be used as a context manager.

    Raises:
        OSError: It cannot be read, is no regular file, or is of none of ``FORMATS``; also what Pillow raises
            for broken files.
    """
    if isinstance(source, Path):
        check_regular(source)
    return Image.open(source, formats=_known())


@functools.cache
def _known() -> list[str]:
    """Give the formats that this Pillow was built with."""
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


def check_regular(path: Path) -> None:
    """Refuse what is no regular file: a pipe or a device may never end, and a file with holes not for hours.

    Raises:
        OSError: It is none, is too long for an image, or cannot be looked at.
    """
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise OSError("is no regular file")
    if found.st_size > MOST_BYTES:
        raise OSError(f"has {found.st_size:,} bytes, and is no image: at most {MOST_BYTES:,} are read")
