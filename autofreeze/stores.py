"""Decoded images on disk: read, turned, resized and cropped once, then shared by every trial and process.

They lie on the shelf ``decoded`` of the cache folder (``shelf.py``), uint8 (n, size, size, 3) in NumPy's own
format.
"""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import numpy as np

from autofreeze.data import Dataset, Indices, Progress, first
from autofreeze.decoding import Pixels, Unreadable, decode_in_order, decoder_version, image_decoder
from autofreeze.errors import ConfigError, DataError
from autofreeze.notes import StoreNote
from autofreeze.preprocessing import Preprocessing
from autofreeze.shelf import Hold, NoRoomError, Shelf, default_cache_folder, rounded_up
from autofreeze.values import digest_of

LONG_BYTES = 2**30
"""Checking a store of more bytes is told to ``progress``: it takes seconds."""

_BLOCK = 2**22


@dataclass(frozen=True, eq=False)
class DecodedStore:
    """Decoded images of one data set at one size. Pickled as a path: another process maps the same file."""

    mapped: Pixels = field(repr=False)
    key: str
    path: Path
    filled: bool
    """Whether opening it decoded the images."""

    note: StoreNote
    hold: Hold = field(repr=False)

    def __len__(self) -> int:
        return len(self.mapped)

    @property
    def images(self) -> Pixels:
        """uint8 (n, size, size, 3), RGB, mapped read-only; the index is the image id."""
        self.hold.touch()
        return self.mapped

    def read(self, image_ids: Indices) -> Pixels:
        """Copy images into memory: uint8 (len(image_ids), size, size, 3), writable."""
        return np.asarray(self.images[image_ids])

    def intact(self, progress: Progress | None = None) -> bool:
        """Read the whole file and compare its hash with the one noted when it was written."""
        digest = hashlib.sha256()
        buffer = memoryview(bytearray(_BLOCK))
        with self.path.open("rb", buffering=0) as file:
            while count := file.readinto(buffer):
                digest.update(buffer[:count])
                if progress is not None:
                    progress(len(self) * file.tell() // self.note.file_bytes, len(self))
        return digest.hexdigest() == self.note.sha256

    def __reduce__(self) -> tuple[object, ...]:
        return _reopen, (self.path.parent.parent, self.key)


@dataclass(frozen=True, eq=False)
class HeldImages:
    """Decoded images in memory that another process read from a store."""

    images: Pixels = field(repr=False)
    """uint8 (n, size, size, 3), RGB, read-only; the index is the image id."""

    key: str
    """Of the store."""


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
    one, one decodes and the others wait for it. What was used longest ago makes room for a new store
    (``shelf.py``).

    A store whose file is not what was written is found out by its hash, and decoded again. Images that cannot
    be decoded are zeros, and noted; they may be in no part (``Dataset.without``).

    Args:
        dataset: All its parts are stored, in one numbering.
        preprocessing: ``mean`` and ``std`` do not matter here: pixels are stored before normalisation.
        cache_folder: Default: :func:`default_cache_folder`.
        budget_bytes: For the whole cache folder. Default: 20 % of the disk that is free or could be freed by
            evicting what is there, at least 1 GiB.
        progress: Called while images are decoded.

    Raises:
        DataError: Images of a part cannot be read; all are counted, the first ten named.
        ConfigError: The store does not fit the budget or the disk, or the folder cannot be written to.
    """
    folder = Path(cache_folder).expanduser() if cache_folder is not None else default_cache_folder()
    shelf = Shelf(folder, "decoded")
    key = store_key(dataset, preprocessing)
    try:
        if (found := _whole(shelf, key, progress)) is None:
            shelf.folder.mkdir(parents=True, exist_ok=True)
            with shelf.lock(key):
                if (found := _whole(shelf, key, progress)) is None:
                    note = _fill(shelf, key, dataset, preprocessing, budget_bytes, progress)
                    return _opened(shelf, key, note, filled=True)
    except NoRoomError as error:
        ways_out = "take smaller images (--image-size)"
        if error.of == "disk":
            ways_out = f"give a folder on another disk (--cache FOLDER), or {ways_out}"
        else:
            ways_out = f"allow more (--cache-size {rounded_up(error.enough)}), or {ways_out}"
        raise ConfigError(f"the decoded images {error}; {ways_out}", where=str(folder)) from None
    except OSError as error:
        raise ConfigError(
            f"cannot write decoded images: {error.strerror or error}; give a folder that can be written to "
            "and has room (--cache FOLDER)",
            where=str(folder),
        ) from error
    refuse_unreadable(dataset, found.note.unreadable)
    return found


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
    shelf: Shelf,
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
    digest = hashlib.sha256(header)
    nothing = np.zeros(shape[1:], np.uint8)
    unreadable: dict[int, str] = {}
    with shelf.filling(key, file_bytes, budget) as part:
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
            data=dataset.name,
        )
        shelf.keep(key, note.as_file())
    return note


def _header(shape: tuple[int, int, int, int]) -> bytes:
    buffer = BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return buffer.getvalue()


# Opening


def _whole(shelf: Shelf, key: str, progress: Progress | None) -> DecodedStore | None:
    """Open a finished store whose bytes are those that were written."""
    store = _open(shelf, key)
    long = store is not None and store.note.file_bytes > LONG_BYTES
    return store if store is not None and store.intact(progress if long else None) else None


def _open(shelf: Shelf, key: str) -> DecodedStore | None:
    """Open a finished store; ``None`` where there is none, or its note, length or header is another."""
    try:
        if (text := shelf.read_note(key)) is None:
            return None
        note = StoreNote.read(text)
        header = _header(note.shape)
        with shelf.data(key).open("rb") as file:
            right = os.fstat(file.fileno()).st_size == note.file_bytes and file.read(len(header)) == header
        return _opened(shelf, key, note, filled=False) if right and note.key == key else None
    except (FileNotFoundError, ValueError):
        return None


def _opened(shelf: Shelf, key: str, note: StoreNote, *, filled: bool) -> DecodedStore:
    images: Pixels = np.load(shelf.data(key), mmap_mode="r", allow_pickle=False)
    return DecodedStore(images, key, shelf.data(key), filled, note, Hold(shelf, key))


def _reopen(cache_folder: Path, key: str) -> DecodedStore:
    """Unpickle a store: map its file again."""
    shelf = Shelf(cache_folder, "decoded")
    store = _open(shelf, key)
    if store is None:
        raise ConfigError(
            f"decoded store {key} is gone; it was evicted or removed, or this machine does not see the "
            "folder; open it again from the images",
            where=str(shelf.folder),
        )
    return store
