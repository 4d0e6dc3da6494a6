"""A first look at every image: can it be decoded, how large is it, what does it look like in 64 bits.

::

    <cache folder>/survey/
        <key>.npz     one array per field of Survey
        <key>.lock    held while the survey is made
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from filelock import FileLock
from PIL import Image
from scipy.fft import dctn

from autofreeze.data import Dataset, Indices, Progress
from autofreeze.decoding import (
    Unreadable,
    decode_in_order,
    decoder_version,
    is_deep,
    load,
    to_8_bits,
    turn_of,
    white_of,
)
from autofreeze.errors import ConfigError
from autofreeze.shelf import default_cache_folder, write_whole
from autofreeze.values import digest_of

FORMAT = 1
"""Raised whenever the same images would give another survey."""

THUMBNAIL = 32
"""Side in pixels of the grey picture that a hash is made of."""

_DRAFT = (8 * THUMBNAIL, 8 * THUMBNAIL)
_FLAT = 2
_BLOCK = 4096
_PAIRS_AT_ONCE = 2**22

Hashes = npt.NDArray[np.uint64]


@dataclass(frozen=True, eq=False)
class Survey:
    """What was seen of each image; the index is the image id, and unreadable images hold zeros."""

    unreadable: dict[int, str]
    """Image id -> why it cannot be decoded."""

    widths: npt.NDArray[np.int32]
    """Pixels, of the picture set upright."""

    heights: npt.NDArray[np.int32]
    modes: tuple[str, ...]
    """Pillow's modes, as stored: ``RGB``, ``CMYK``, ``I;16``; ``+alpha`` behind it for transparency."""

    hashes: Hashes
    """64-bit perceptual hashes; see :func:`perceptual_hashes`."""

    contrast: npt.NDArray[np.float32]
    """Standard deviation of the 32 × 32 grey picture, in levels of 0..255."""

    flat: npt.NDArray[np.bool_]
    """Whether the image is one flat colour: no channel varies by more than two levels."""

    peaks: npt.NDArray[np.float32]
    """Largest value over the format's largest, 0..1, for images of more than 8 bits; 1 for the others."""

    def __len__(self) -> int:
        return len(self.hashes)


@dataclass(frozen=True, slots=True)
class _Look:
    """What a thread brings back of one image: small, so that many fit."""

    thumbnail: npt.NDArray[np.uint8]
    width: int
    height: int
    mode: str
    flat: bool
    peak: float


def survey(
    dataset: Dataset,
    *,
    cache_folder: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> Survey:
    """Decode every image once, and note what a check of the data needs.

    Kept by what is in the files, so that the second call decodes nothing. JPEGs are decoded at a fraction of
    their size, at least 256 px (libjpeg's scaled decoding): all of the file is still read, and a file that is
    cut short is still refused (on 1,856 truncations of 116 JPEGs the answer was the same every time).

    Args:
        dataset: All its images, whatever part they are in.
        cache_folder: Default: ``stores.default_cache_folder()``.
        progress: Called while images are decoded.

    Raises:
        ConfigError: The cache folder cannot be written to.
    """
    folder = Path(cache_folder).expanduser() if cache_folder is not None else default_cache_folder()
    key = digest_of({"survey": FORMAT, **decoder_version(), "content": dataset.content})
    file = folder / "survey" / f"{key}.npz"
    try:
        if (found := _read(file, len(dataset))) is not None:
            return found
        file.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(file.with_suffix(".lock")):
            if (found := _read(file, len(dataset))) is not None:
                return found
            made = _look_at_all(dataset, progress)
            write_whole(file, _packed(made))
            return made
    except OSError as error:
        raise ConfigError(
            f"cannot write what was seen of the images: {error.strerror or error}; give a folder that can be "
            "written to (--cache FOLDER)",
            where=str(folder),
        ) from error


def perceptual_hashes(thumbnails: npt.NDArray[np.uint8]) -> Hashes:
    """Hash grey pictures so that pictures which look alike differ in few bits: uint64 (n,).

    Args:
        thumbnails: uint8 (n, 32, 32).

    Returns:
        Bit 63 - k says whether the k-th of the 8 × 8 lowest frequencies, row by row, is above their median.

    Source:
        C. Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions" (2010), section 3.2.1,
        the DCT hash of pHash; with the first row and column kept, as the package ``imagehash`` does.
    """
    waves = dctn(thumbnails.astype(np.float32), axes=(1, 2))[:, :8, :8].reshape(-1, 64)
    above = waves > np.median(waves, axis=1, keepdims=True)
    return np.packbits(above, axis=1).view(">u8").astype(np.uint64).reshape(-1)


def nearest(hashes: Hashes, left: Indices, right: Indices) -> tuple[Indices, npt.NDArray[np.uint8]]:
    """Find, for each image of one side, the image of the other that looks most like it.

    Every pair is compared, four million at a time: 10⁹ pairs take some seconds, in less than 100 MB.

    Args:
        hashes: (n,).
        left: Image ids.
        right: Image ids, at least one.

    Returns:
        For each of ``left``: the id of the nearest image (the first of equals), and how many bits differ.
    """
    step = max(1, _PAIRS_AT_ONCE // len(right))
    others = hashes[right]
    like = np.empty(len(left), dtype=np.int64)
    distances = np.empty(len(left), dtype=np.uint8)
    for start in range(0, len(left), step):
        rows = slice(start, start + step)
        apart = np.bitwise_count(hashes[left[rows]][:, None] ^ others)
        best = apart.argmin(axis=1)
        like[rows] = right[best]
        distances[rows] = np.take_along_axis(apart, best[:, None], axis=1)[:, 0]
    return like, distances


# Looking


def _look(image: Image.Image) -> _Look:
    mode = image.mode + ("+alpha" if image.has_transparency_data else "")
    width, height = image.size
    image.draft(None, _DRAFT)
    load(image)
    turn = turn_of(image)
    if turn is not None and turn >= Image.Transpose.ROTATE_90 and turn != Image.Transpose.ROTATE_180:
        width, height = height, width
    peak = int(np.asarray(image).max()) / white_of(image) if is_deep(image) else 1.0
    shown = to_8_bits(image).convert("RGB")
    ranges = shown.getextrema()
    small = shown.convert("L").resize((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
    return _Look(
        thumbnail=np.asarray(small if turn is None else small.transpose(turn)),
        width=width,
        height=height,
        mode=mode,
        flat=all(high - low <= _FLAT for low, high in ranges),  # type: ignore[misc]
        peak=peak,
    )


def _look_at_all(dataset: Dataset, progress: Progress | None) -> Survey:
    n = len(dataset)
    unreadable: dict[int, str] = {}
    widths, heights = np.zeros(n, np.int32), np.zeros(n, np.int32)
    hashes, contrast = np.zeros(n, np.uint64), np.zeros(n, np.float32)
    flat, peaks = np.zeros(n, np.bool_), np.zeros(n, np.float32)
    modes = [""] * n
    for start, looks in _blocks(dataset, progress):
        for image, look in enumerate(looks, start):
            if isinstance(look, Unreadable):
                unreadable[image] = look.reason
            else:
                widths[image], heights[image], modes[image] = look.width, look.height, look.mode
                flat[image], peaks[image] = look.flat, look.peak
        seen = [start + place for place, look in enumerate(looks) if isinstance(look, _Look)]
        if seen:
            thumbnails = np.stack([look.thumbnail for look in looks if isinstance(look, _Look)])
            hashes[seen] = perceptual_hashes(thumbnails)
            contrast[seen] = thumbnails.reshape(len(seen), -1).std(axis=1, dtype=np.float64)
    return Survey(unreadable, widths, heights, tuple(modes), hashes, contrast, flat, peaks)


def _blocks(dataset: Dataset, progress: Progress | None) -> Iterator[tuple[int, list[_Look | Unreadable]]]:
    """Look at the images a block at a time: the first id of each, and what was seen."""
    block: list[_Look | Unreadable] = []
    for done, look in enumerate(decode_in_order(dataset.open_image, range(len(dataset)), _look), start=1):
        block.append(look)
        if progress is not None:
            progress(done, len(dataset))
        if len(block) == _BLOCK or done == len(dataset):
            yield done - len(block), block
            block = []


# Keeping

_ARRAYS = {
    "widths": np.int32, "heights": np.int32, "hashes": np.uint64, "contrast": np.float32, "flat": np.bool_,
    "peaks": np.float32,
}  # fmt: skip
"""Name -> type; each (n,)."""


def _packed(made: Survey) -> bytes:
    stream = BytesIO()
    arrays: dict[str, Any] = {name: getattr(made, name) for name in _ARRAYS}
    words = json.dumps({"unreadable": made.unreadable, "modes": made.modes}).encode()
    np.savez(stream, words=np.frombuffer(words, np.uint8), **arrays)
    return stream.getvalue()


def _read(file: Path, n: int) -> Survey | None:
    """Read a survey; ``None`` where there is none, or it is damaged.

    Raises:
        OSError: The file is there, and cannot be read.
    """
    try:
        raw = file.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        with np.load(BytesIO(raw), allow_pickle=False) as kept:
            words = json.loads(bytes(kept["words"]))
            arrays = {name: kept[name] for name in _ARRAYS}
        made = Survey(
            unreadable={int(image): str(reason) for image, reason in words["unreadable"].items()},
            modes=tuple(map(str, words["modes"])),
            **arrays,
        )
        kinds = [(one.dtype, one.shape) for one in arrays.values()]
        right = kinds == [(np.dtype(kind), (n,)) for kind in _ARRAYS.values()] and len(made.modes) == n
    except Exception:  # noqa: BLE001 - a damaged archive raises almost anything
        return None
    return made if right else None
