"""Small pictures of images, for people to look at in a page."""

import base64
from collections.abc import Iterable
from io import BytesIO

from PIL import Image

from autofreeze.data import Dataset
from autofreeze.decoding import decode_in_order, to_rgb

SIDE = 112
"""Longest side of a thumbnail in pixels."""

MOST_BYTES = 4500
"""Of a thumbnail's file. Photographs take 2 to 4 thousand; noise is written more coarsely, then smaller."""

_TRIES = ((SIDE, 75), (SIDE, 50), (SIDE, 25), (SIDE // 2, 50), (SIDE // 4, 25))
"""Longest side and quality of the JPEG, until it is small enough; the last one always is."""


def thumbnails(dataset: Dataset, images: Iterable[int]) -> list[str]:
    """Give a small JPEG of each image as ``data:`` address; an empty text where one cannot be read.

    What is shown is what a model sees: decoded as for training (``decoding.to_rgb``), whole, neither cropped
    nor squeezed. The pixels alone are in it, no metadata of the file: a photograph's EXIF says where it was
    taken.

    Args:
        dataset: Where the images are.
        images: Image ids.
    """

    def open_image(image: int) -> Image.Image:
        try:
            return dataset.open_image(image)
        except Exception as error:  # whatever a reader of somebody else raises, a report is written
            raise OSError(f"cannot be opened: {error}") from error

    found = decode_in_order(open_image, images, thumbnail)
    return [one if isinstance(one, str) else "" for one in found]


def thumbnail(image: Image.Image) -> str:
    """Give a small JPEG of an opened image as ``data:`` address; images are never enlarged.

    Raises:
        Exception: As ``decoding.to_rgb`` does.
    """
    image.draft(None, (2 * SIDE, 2 * SIDE))  # a JPEG is decoded at a fraction of its size
    small = to_rgb(image)
    for side, quality in _TRIES:
        small.thumbnail((side, side), Image.Resampling.BICUBIC)
        file = _jpeg(small, quality)
        if len(file) <= MOST_BYTES:
            break
    return f"data:image/jpeg;base64,{base64.b64encode(file).decode('ascii')}"


def _jpeg(image: Image.Image, quality: int) -> bytes:
    """Write pixels and nothing else: Pillow would copy a comment that the file had."""
    stream = BytesIO()
    bare = Image.frombytes(image.mode, image.size, image.tobytes())
    bare.save(stream, "JPEG", quality=quality, optimize=True)
    return stream.getvalue()
