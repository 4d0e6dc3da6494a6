"""From an image file to 8-bit RGB: what each kind of file means in pixels, decided in one place.

=====================  ===========================================================================
kind of file           pixels
=====================  ===========================================================================
16-bit grey            scaled by what the format can hold (65535; 4095 in a TIFF of 12 bits), never
                       by what an image happens to hold: two images keep their contrast. So 12 bits
                       stored in 16 stay dark, which a check of the data tells.
32-bit, signed, float  refused: no format says where white is, and a guess by image would change
                       the contrast between images
CMYK                   by Pillow: JPEGs with Adobe's inversion, without a colour profile
palette, 1-bit         their colours
transparency           dropped, as timm and torchvision do by ``convert("RGB")``: a model trained here
                       sees what it will see there. What lies under transparent pixels shows.
EXIF orientation       turned; EXIF that cannot be read turns nothing
several frames         the first
=====================  ===========================================================================
"""

import logging
import os
import struct
import warnings
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from threading import Condition
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import PIL
from PIL import Image, UnidentifiedImageError, features

from autofreeze.errors import AutofreezeError
from autofreeze.faults import fault_in, is_want, told
from autofreeze.preprocessing import Preprocessing
from autofreeze.quiet import quiet
from autofreeze.rates import free_memory

Pixels = npt.NDArray[np.uint8]
Result = TypeVar("Result")

FORMAT = 3
"""Raised whenever the same file would be decoded to other pixels."""

# What Pillow raises for broken files, beside OSError (UnidentifiedImageError is one).
UNREADABLE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    OverflowError,
    MemoryError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)

_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation -> what sets the picture upright."""

BYTES_PER_PIXEL = 12
"""What decoding takes at most: an image, its copy as RGB and that set upright, four bytes a pixel each."""

_BITS_PER_SAMPLE = 258
_PHOTOMETRIC = 262
_WHITE_IS_ZERO = 0


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An image that cannot be decoded."""

    reason: str


def decoder_version() -> dict[str, object]:
    """Say what the pixels follow from beside the file: another Pillow or libjpeg may give other bits."""
    libjpeg = features.version("libjpeg_turbo") or features.version("jpg")
    return {"format": FORMAT, "decoder": f"pillow {PIL.__version__}, libjpeg {libjpeg}"}


def to_rgb(image: Image.Image) -> Image.Image:
    """Decode an image that was opened: RGB of 8 bits, set upright by its EXIF orientation.

    Raises:
        ValueError: It holds numbers of which no format says where white is.
        OSError: The file is broken or cut short; also the other errors of ``UNREADABLE``.
    """
    load(image)
    turn = turn_of(image)
    rgb = to_8_bits(image).convert("RGB")
    return rgb if turn is None else rgb.transpose(turn)


def load(image: Image.Image) -> None:
    """Have Pillow decode an image that was opened.

    Raises:
        Exception: One of ``UNREADABLE``.
    """
    with _blamed_on_the_file():
        image.load()


def to_8_bits(image: Image.Image) -> Image.Image:
    """Scale a loaded image of more than 8 bits to ``L`` by its format's range; others are given back.

    Raises:
        ValueError: It has no such range.
    """
    if not is_deep(image):
        return image
    white = white_of(image)
    values = np.asarray(image).astype(np.uint32)
    if _zero_is_white(image):
        np.subtract(white, values, out=values)
    values *= 255  # in place: an image may take most of the memory
    values += white // 2
    values //= white
    return Image.fromarray(values.astype(np.uint8))


def is_deep(image: Image.Image) -> bool:
    """Whether an image has more than 8 bits per pixel in one channel."""
    return image.mode.startswith(("I", "F"))


def white_of(image: Image.Image) -> int:
    """Give the largest value that the format of a deep image can hold.

    Raises:
        ValueError: The format does not say.
    """
    if image.mode.startswith("I;16"):
        bits = _tiff_tag(image, _BITS_PER_SAMPLE)
        return 4095 if bits == (12,) else 65535
    if image.mode == "I" and image.format == "PPM":
        return 65535  # Pillow scales whatever range the file names to this one
    kind = "floats" if image.mode == "F" else "signed or 32-bit whole numbers"
    raise ValueError(f"holds {kind}, and no format says where white is; convert it to 8 or 16 bits")


def turn_of(image: Image.Image) -> Image.Transpose | None:
    """Give what sets an image upright, by EXIF; ``None`` where it says nothing or cannot be read."""
    try:
        return _TURNS.get(image.getexif().get(_ORIENTATION, 1))
    except UNREADABLE:
        return None


def image_decoder(preprocessing: Preprocessing) -> Callable[[Image.Image], Pixels]:
    """Give the function from an opened image to uint8 (size, size, 3): RGB, upright, resized, cropped.

    It raises what :func:`to_rgb` does.

    Source:
        Resize and crop: timm 1.0, ``timm.data.create_transform`` in evaluation mode.
    """
    from timm.data.transforms_factory import create_transform

    transform = create_transform(
        preprocessing.image_size,
        is_training=False,
        use_prefetcher=True,
        interpolation=preprocessing.interpolation,
        crop_pct=preprocessing.crop_pct,
    )

    def decode(image: Image.Image) -> Pixels:
        return np.ascontiguousarray(np.asarray(transform(to_rgb(image))).transpose(1, 2, 0))

    return decode


def decode_in_order(
    open_image: Callable[[int], Image.Image],
    images: Iterable[int],
    decode: Callable[[Image.Image], Result],
) -> Iterator[Result | Unreadable]:
    """Decode images in a thread pool, in the order given, with a bounded number of them in memory.

    An image of more than twice ``PIL.Image.MAX_IMAGE_PIXELS`` is unreadable: it might be a bomb. As many
    pixels are decoded at a time, however many threads there are; more where much memory is free.

    Args:
        open_image: From an image id to an image that is opened, not decoded.
        images: Image ids.
        decode: What to make of each.

    Raises:
        AutofreezeError: The process has no handles left, or no memory for a call: that says nothing of the
            images.
    """

    def attempt(image: int) -> Result | Unreadable:
        try:
            with _blamed_on_the_file():
                opened = open_image(image)
            with opened, room.taken(opened.width * opened.height):
                return decode(opened)
        except UNREADABLE as error:
            if (fault := fault_in(error)) is not None and is_want(fault):
                raise told(fault) from error  # what is noted of an image stays
            return Unreadable(_reason(error))

    threads = os.cpu_count() or 1
    room = _Room(most_pixels())
    todo = iter(images)
    with _quiet_pillow(), ThreadPoolExecutor(threads) as pool:
        ahead: deque[Future[Result | Unreadable]] = deque(
            pool.submit(attempt, image) for image in islice(todo, 8 * threads)
        )
        try:
            while ahead:
                yield ahead.popleft().result()
                ahead.extend(pool.submit(attempt, image) for image in islice(todo, 1))
        finally:
            for future in ahead:
                future.cancel()


def most_pixels() -> int:
    """Give how many pixels are decoded at a time: half of the free memory's, or the largest image's."""
    return max(2 * (Image.MAX_IMAGE_PIXELS or 0), free_memory() // 2 // BYTES_PER_PIXEL)


class _Room:
    """Lets threads have so many pixels at a time; one that wants more waits until it is alone."""

    def __init__(self, most: int) -> None:
        self._most = self._free = most
        self._changed = Condition()

    @contextmanager
    def taken(self, pixels: int) -> Iterator[None]:
        """Wait for room, and keep it for the block."""
        pixels = min(pixels, self._most)
        with self._changed:
            self._changed.wait_for(lambda: pixels <= self._free)
            self._free -= pixels
        try:
            yield
        finally:
            with self._changed:
                self._free += pixels
                self._changed.notify_all()


def _tiff_tag(image: Image.Image, tag: int) -> object:
    tags = getattr(image, "tag_v2", None)
    return None if tags is None else tags.get(tag)


def _zero_is_white(image: Image.Image) -> bool:
    """Whether a deep TIFF counts from white: Pillow turns that round for 8 bits alone."""
    return _tiff_tag(image, _PHOTOMETRIC) == _WHITE_IS_ZERO


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "is no image, or of a kind that is not read"
    if isinstance(error, Image.DecompressionBombError):
        return f"is too large: {str(error).partition(', could be')[0]}"
    if isinstance(error, MemoryError):
        return "needs more memory than there is"
    return str(error) or type(error).__name__


@contextmanager
def _blamed_on_the_file() -> Iterator[None]:
    """Make an ``OSError`` of whatever else Pillow raises: some of its readers (AVIF) raise bare errors."""
    try:
        yield
    except (*UNREADABLE, AutofreezeError):
        raise
    except Exception as error:
        raise OSError(f"cannot be decoded ({error})") from error


@contextmanager
def _quiet_pillow() -> Iterator[None]:
    """Keep Pillow's remarks (transparent palettes, odd EXIF) off the terminal: one per image helps nobody."""
    with warnings.catch_warnings(), quiet("PIL", logging.CRITICAL):
        warnings.filterwarnings("ignore", module=r"PIL\.")
        yield
