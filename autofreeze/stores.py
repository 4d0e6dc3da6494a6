"""Decoded images on disk: read, turned, resized and cropped once, then shared by every trial and process.

::

    <cache folder>/decoded/
        <key>.npy     uint8 (n, size, size, 3), NumPy's own format
        <key>.json    what it holds; written last: data without it counts for nothing; touched on use
        <key>.lock    held while the store is filled
        <key>.part    a store being filled, at its full length from the start: space that is taken
"""

import hashlib
import os
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout
from pydantic import Field, ValidationError

from autofreeze.bytesize import format_bytes
from autofreeze.data import Dataset, Indices, Progress, first
from autofreeze.decoding import Pixels, Unreadable, decode_in_order, decoder_version, image_decoder
from autofreeze.errors import ConfigError, DataError
from autofreeze.preprocessing import Preprocessing
from autofreeze.values import Value, digest_of

DEFAULT_SHARE = 0.2
"""Default budget: this share of the disk that is free, or held by stores that could be evicted."""

LEAST_DEFAULT = 2**30
"""Bytes; the default budget is never smaller."""


class StoreNote(Value):
    """What lies beside a store's data."""

    key: str
    n: int
    shape: tuple[int, int, int, int]
    """(n, size, size, 3)."""

    file_bytes: int
    """Length of the data file, header included."""

    preprocessing: Preprocessing
    decoder: str
    created: str
    """UTC, ISO 8601."""

    sha256: str
    """Of the data file."""

    unreadable: dict[int, str] = Field(default_factory=dict)
    """Image id -> why it cannot be decoded; its pixels are zeros."""


@dataclass(frozen=True, eq=False)
class DecodedStore:
    """Decoded images of one data set at one size. Pickled as a path: another process maps the same file."""

    images: Pixels
    """uint8 (n, size, size, 3), RGB, mapped read-only; the index is the image id."""

    key: str
    path: Path
    filled: bool
    """Whether opening it decoded the images."""

    note: StoreNote

    def __len__(self) -> int:
        return len(self.images)

    def read(self, image_ids: Indices) -> Pixels:
        """Copy images into memory: uint8 (len(image_ids), size, size, 3), writable."""
        return np.asarray(self.images[image_ids])

    def intact(self) -> bool:
        """Read the whole file and compare its hash with the one noted when it was written."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == self.note.sha256

    def __reduce__(self) -> tuple[object, ...]:
        return _reopen, (self.path.parent, self.key)


def open_decoded_store(
    dataset: Dataset,
    preprocessing: Preprocessing,
    *,
    cache_folder: str | os.PathLike[str] | None = None,
    budget_bytes: int | None = None,
    progress: Progress | None = None,
) -> DecodedStore:
    """Open the decoded images of a data set; decode them first where no process has yet.

    A store is found by what is in the files, not by where they lie. Of several processes that want the same
    one, one decodes and the others wait for it. Stores that were used longest ago make room for a new one;
    on POSIX, a process that has one of them open keeps it until it closes it.

    Images that cannot be decoded are zeros, and noted; they may be in no part (``Dataset.without``).

    Args:
        dataset: All its parts are stored, in one numbering.
        preprocessing: ``mean`` and ``std`` do not matter here: pixels are stored before normalisation.
        cache_folder: Default: :func:`default_cache_folder`.
        budget_bytes: For all decoded stores in the folder. Default: 20 % of the disk that is free or could
            be freed by evicting stores, at least 1 GiB.
        progress: Called while images are decoded.

    Raises:
        DataError: Images of a part cannot be read; all are counted, the first ten named.
        ConfigError: The store does not fit the budget or the disk, or the folder cannot be written to.
    """
    folder = Path(cache_folder).expanduser() if cache_folder is not None else default_cache_folder()
    shelf = folder / "decoded"
    key = store_key(dataset, preprocessing)
    try:
        if (found := _open(shelf, key)) is None:
            shelf.mkdir(parents=True, exist_ok=True)
            with FileLock(_lock(shelf, key)):
                if (found := _open(shelf, key)) is None:
                    _forget(shelf, key)
                    note = _fill(shelf, key, dataset, preprocessing, budget_bytes, progress)
    except OSError as error:
        raise ConfigError(
            f"cannot write decoded images: {error.strerror or error}; give a folder that can be written to "
            "and has room (--cache FOLDER)",
            where=str(folder),
        ) from error
    if found is None:
        return DecodedStore(_map(_data(shelf, key)), key, _data(shelf, key), filled=True, note=note)
    refuse_unreadable(dataset, found.note.unreadable)
    return found


def default_cache_folder() -> Path:
    """Give ``$AUTOFREEZE_CACHE``, else ``autofreeze`` in ``$XDG_CACHE_HOME`` or ``~/.cache``."""
    if own := os.environ.get("AUTOFREEZE_CACHE"):
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "autofreeze"


def store_key(dataset: Dataset, preprocessing: Preprocessing) -> str:
    """Hash all that the stored bytes follow from: files in their order, preprocessing, and the decoder.

    Another Pillow or libjpeg may decode or resize to other bits, so its version is part of the key.
    """
    return digest_of(
        {
            **decoder_version(),
            "content": dataset.content,
            "image_size": preprocessing.image_size,
            "interpolation": preprocessing.interpolation,
            "crop_pct": preprocessing.crop_pct,
        }
    )


def refuse_unreadable(dataset: Dataset, unreadable: Mapping[int, str]) -> None:
    """Refuse images that cannot be decoded where a part of the data set holds them.

    Raises:
        DataError: All are counted, the first ten named.
    """
    parts = (dataset.train, dataset.val, dataset.test)
    used = set(np.concatenate(parts).tolist()) & unreadable.keys()
    if used:
        problems = [f"{dataset.paths[image]}: {unreadable[image]}" for image in sorted(used)]
        raise DataError(
            [*first(problems), "repair these files, or remove them"],
            where=f"{len(used):,} of {len(dataset):,} images in {dataset.where} cannot be read",
        )


# Filling


def _fill(
    shelf: Path,
    key: str,
    dataset: Dataset,
    preprocessing: Preprocessing,
    budget: int | None,
    progress: Progress | None,
) -> StoreNote:
    """Decode into a file beside the final one, and rename it into place when it is whole."""
    size = preprocessing.image_size
    shape = (len(dataset), size, size, 3)
    header = _header(shape)
    file_bytes = len(header) + int(np.prod(shape, dtype=np.int64))
    part = shelf / f"{key}.part"
    digest = hashlib.sha256(header)
    nothing = np.zeros(shape[1:], np.uint8)
    unreadable: dict[int, str] = {}
    try:
        _reserve(shelf, part, file_bytes, budget)
        with part.open("r+b") as file:
            file.write(header)
            decode = image_decoder(preprocessing)
            for image, pixels in enumerate(decode_in_order(dataset.open_image, range(len(dataset)), decode)):
                if isinstance(pixels, Unreadable):
                    unreadable[image] = pixels.reason
                    pixels = nothing
                digest.update(pixels.data)
                file.write(pixels.data)
                if progress is not None:
                    progress(image + 1, len(dataset))
            refuse_unreadable(dataset, unreadable)
            file.flush()
            os.fsync(file.fileno())
        part.replace(_data(shelf, key))
    finally:
        part.unlink(missing_ok=True)
    note = StoreNote(
        key=key,
        n=len(dataset),
        shape=shape,
        file_bytes=file_bytes,
        preprocessing=preprocessing,
        decoder=str(decoder_version()["decoder"]),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        sha256=digest.hexdigest(),
        unreadable=unreadable,
    )
    write_whole(_note(shelf, key), (note.model_dump_json(indent=2) + "\n").encode())
    _touch(shelf, key)
    return note


def _header(shape: tuple[int, int, int, int]) -> bytes:
    buffer = BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return buffer.getvalue()


def write_whole(path: Path, data: bytes) -> None:
    """Write a file of the cache whole or not at all; whoever calls holds its lock."""
    part = path.with_suffix(path.suffix + ".new")
    with part.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    with suppress(OSError):  # not every system lets a folder be opened
        handle = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


# Room


def _reserve(shelf: Path, part: Path, needed: int, budget: int | None) -> None:
    """Evict what was used longest ago until ``needed`` bytes fit, and take them.

    Raises:
        ConfigError: They do not fit, whatever is evicted.
    """
    with FileLock(shelf / "room.lock"):
        part.unlink(missing_ok=True)
        _clear_abandoned(shelf)
        held = _stores_by_age(shelf)
        limit = budget if budget is not None else _default_budget(shelf, sum(held.values()))
        if needed > limit:
            raise ConfigError(
                f"the decoded images need {format_bytes(needed)}, and the cache may hold "
                f"{format_bytes(limit)}; allow more (--cache-size {_rounded_up(needed)}), or take smaller "
                "images (--image-size)",
                where=str(shelf.parent),
            )
        taken = sum(path.stat().st_size for path in shelf.glob("*.part"))
        for key, size in list(held.items()):
            if taken + sum(held.values()) + needed <= limit and shutil.disk_usage(shelf).free >= needed:
                break
            if _evict(shelf, key):
                held[key] -= size
        free = shutil.disk_usage(shelf).free
        if free < needed:
            raise ConfigError(
                f"the decoded images need {format_bytes(needed)}, and the disk has {format_bytes(free)} "
                "free; give a folder on another disk (--cache FOLDER), or take smaller images (--image-size)",
                where=str(shelf.parent),
            )
        with part.open("wb") as file:
            file.truncate(needed)


def _default_budget(shelf: Path, held: int) -> int:
    return max(LEAST_DEFAULT, int(DEFAULT_SHARE * (shutil.disk_usage(shelf).free + held)))


def _rounded_up(size: int) -> str:
    unit, name = (10**9, "GB") if size >= 10**9 else (10**6, "MB")
    return f"{-(-size // unit)}{name}"


def _stores_by_age(shelf: Path) -> dict[str, int]:
    """Keys and bytes of the stores on the shelf, the one used longest ago first."""
    found = []
    for data in shelf.glob("*.npy"):
        with suppress(FileNotFoundError):
            note = _note(shelf, data.stem)
            used = note.stat().st_mtime_ns if note.exists() else 0
            found.append((used, data.stem, data.stat().st_size))
    return {key: size for _, key, size in sorted(found)}


def _evict(shelf: Path, key: str) -> bool:
    """Remove a store, unless a process is filling or opening it."""
    try:
        with FileLock(_lock(shelf, key), timeout=0):
            _forget(shelf, key)
    except Timeout:
        return False
    return True


def _clear_abandoned(shelf: Path) -> None:
    """Remove what killed processes left half filled: nobody holds the lock."""
    for part in shelf.glob("*.part"):
        with suppress(Timeout), FileLock(_lock(shelf, part.stem), timeout=0):
            part.unlink(missing_ok=True)


def _forget(shelf: Path, key: str) -> None:
    _note(shelf, key).unlink(missing_ok=True)  # first: data without a note counts for nothing
    _data(shelf, key).unlink(missing_ok=True)


# Opening


def _open(shelf: Path, key: str) -> DecodedStore | None:
    """Open a finished store; ``None`` where there is none, or its length or shape is not as noted."""
    data = _data(shelf, key)
    try:
        note = StoreNote.model_validate_json(_note(shelf, key).read_bytes())
        if note.key != key or data.stat().st_size != note.file_bytes:
            return None
        images = _map(data)
    except (FileNotFoundError, NotADirectoryError, ValidationError, ValueError):
        return None
    if images.shape != note.shape or images.dtype != np.uint8:
        return None
    _touch(shelf, key)
    return DecodedStore(images, key, data, filled=False, note=note)


def _touch(shelf: Path, key: str) -> None:
    """Note the use, by the fine clock: file systems stamp writes in steps of milliseconds."""
    now = time.time_ns()
    with suppress(OSError):  # a shared cache that may only be read
        os.utime(_note(shelf, key), ns=(now, now))


def _reopen(shelf: Path, key: str) -> DecodedStore:
    """Unpickle a store: map its file again."""
    store = _open(shelf, key)
    if store is None:
        raise ConfigError(
            f"decoded store {key} is gone; it was evicted or removed, or this machine does not see the "
            "folder; open it again from the images",
            where=str(shelf),
        )
    return store


def _map(data: Path) -> Pixels:
    images: Pixels = np.load(data, mmap_mode="r", allow_pickle=False)
    return images


def _data(shelf: Path, key: str) -> Path:
    return shelf / f"{key}.npy"


def _note(shelf: Path, key: str) -> Path:
    return shelf / f"{key}.json"


def _lock(shelf: Path, key: str) -> Path:
    return shelf / f"{key}.lock"
