"""Features of a frozen prefix: computed once for each image, kept in a file, in memory, or on the GPU.

They lie on the shelf ``features`` of the cache folder (``shelf.py``). An entry is one border and one view of
one set of images: a flat file that holds the rows of its first tensor, one for each image in the order of
their ids, then those of the next, each from a multiple of 4096 bytes on. Rows are stored as they lie in
memory, so that a gathered tensor has the strides of a computed one: kernels, and with them the last bits, are
chosen by strides.

Whether something is stored may depend on the clock, on memory and on the disk. No number does.
"""

import errno
import os
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from io import FileIO
from math import prod
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import ValidationError
from torch import Tensor

from autofreeze.bytesize import format_bytes
from autofreeze.notes import FeatureNote, FeatureSpec
from autofreeze.rates import disk_rate, free_memory, memory_rate
from autofreeze.shelf import Hold, NoRoomError, Shelf, rounded_up
from autofreeze.values import digest_of
from autofreeze.views import Indices

__all__ = [
    "Compute", "FeatureSpec", "FeatureStore", "FeatureStores", "empty_rows", "here", "packed", "row_strides",
    "unpacked",
]  # fmt: skip

Shapes = Sequence[tuple[int, ...]]
"""Of each tensor, for one image."""

Compute = Callable[[Indices], tuple[Tensor, ...]]
"""Image ids (k,) -> the tensors, with k rows each. Padding a chunk to its full size is its own affair."""

Progress = Callable[[int, int], None]
"""Called as ``progress(done, total)``."""

Tier = Literal["file", "memory", "gpu"]

MEMORY_SHARE = 0.5
"""Of the free memory, what features may take where they cannot be written to a file."""

GPU_SHARE = 0.5
"""Of the free memory of a GPU, what one entry may take."""

PAGES_SHARE = 0.8
"""Of the free memory: mapped files that fit in it together are read from memory after the first time."""

LONG_BYTES = 2**30
"""Checking an entry of more bytes is told to ``progress``: it takes seconds."""

_ALIGNMENT = 4096
_BLOCK = 2**22


def here(device: torch.device) -> dict[str, Any]:
    """Give those fields of a :class:`FeatureSpec` that the machine and its libraries decide."""
    name = device.type
    if device.type == "cuda":
        name += f" {torch.cuda.get_device_name(device)}, CUDA {torch.version.cuda}, "
        cudnn = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
        name += f"cuDNN {cudnn}, {torch.get_float32_matmul_precision()} precision"
    return {
        "device": name,
        "threads": torch.get_num_threads(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
        "timm": version("timm"),
    }


# How rows lie in memory


def row_strides(tensor: Tensor) -> tuple[int, ...]:
    """Strides within a row, if the row's numbers lie without gaps; else those of a contiguous row."""
    shape, strides = tensor.shape[1:], tensor.stride()[1:]
    expected = 1
    for stride, size in sorted(
        (stride, size) for stride, size in zip(strides, shape, strict=True) if size > 1
    ):
        if stride != expected:
            return _contiguous(shape)
        expected *= size
    return strides


def packed(tensor: Tensor, strides: Sequence[int]) -> Tensor:
    """Bring the rows of a tensor into the order of ``strides``: contiguous (n, numbers of a row)."""
    n, numbers = len(tensor), prod(tensor.shape[1:])
    if tensor.stride() == (numbers, *strides):
        return tensor.as_strided((n, numbers), (numbers, 1))
    rows = tensor.new_empty((n, numbers))
    unpacked(rows, tensor.shape[1:], strides).copy_(tensor)
    return rows


def unpacked(rows: Tensor, shape: Sequence[int], strides: Sequence[int]) -> Tensor:
    """See packed rows as the tensor that they were, (n, *shape); nothing is copied."""
    return rows.as_strided((len(rows), *shape), (rows.shape[1], *strides))


def empty_rows(like: Tensor, n: int) -> Tensor:
    """Make a tensor of n rows that lie as those of another one do."""
    rows = like.new_empty((n, prod(like.shape[1:])))
    return unpacked(rows, like.shape[1:], row_strides(like))


def _contiguous(shape: Sequence[int]) -> tuple[int, ...]:
    return tuple(prod(shape[place + 1 :]) for place in range(len(shape)))


# Stores


class FeatureStore:
    """Features of some images at one border and in one view, found by image id."""

    def __init__(
        self,
        key: str,
        rows: tuple[Tensor, ...],
        shapes: Shapes,
        strides: Shapes,
        places: Indices,
        *,
        device: torch.device,
        tier: Tier,
        filled: bool,
        hold: Hold | None = None,
    ) -> None:
        self.key = key
        self.tier = tier
        """Where the rows are read from."""
        self.filled = filled
        """Whether opening it computed them."""
        self._rows = rows
        self._shapes = tuple(shapes)
        self._strides = tuple(strides)
        self._places = places
        self._device = device
        self._hold = hold

    @property
    def n_bytes(self) -> int:
        """Bytes of all rows."""
        return sum(rows.nbytes for rows in self._rows)

    def rows(self, ids: Indices) -> tuple[Tensor, ...]:
        """Gather the features of images, in the order given, on the device.

        Args:
            ids: Image ids (k,), repeated ones too.

        Returns:
            New tensors with k rows: the caller may write to them.

        Raises:
            KeyError: Features of an image are not stored.
        """
        if self._hold is not None:
            self._hold.touch()
        places = self._places[ids]
        if places.min(initial=0) < 0:
            raise KeyError(f"no features are stored of image {ids[int(places.argmin())]}")
        where = torch.from_numpy(places)
        if self.tier == "gpu":
            where = where.to(self._device)
        gathered = (self._gather(rows, where) for rows in self._rows)
        return tuple(
            unpacked(rows, shape, strides)
            for rows, shape, strides in zip(gathered, self._shapes, self._strides, strict=True)
        )

    def _gather(self, rows: Tensor, where: Tensor) -> Tensor:
        # index_select: as fast as NumPy's take (32 rows of 5 kB in 18 µs, of 200 kB in 0.3 ms), and knows
        # every type; plain indexing takes three times as long.
        if self.tier == "gpu" or self._device.type != "cuda":
            return rows.index_select(0, where).to(self._device)
        pinned = torch.empty((len(where), rows.shape[1]), dtype=rows.dtype, pin_memory=True)
        torch.index_select(rows, 0, where, out=pinned)
        return pinned.to(self._device, non_blocking=True)  # torch reuses the memory when the copy is done


@dataclass(eq=False)
class FeatureStores:
    """The features that one process has open, and the rule by which they are kept.

    Args:
        folder: Cache folder; None keeps features in memory, as far as they fit.
        ids: Image ids of which features are stored, ascending.
        n_images: Image ids lie below this number.
        device: Where features are used.
        budget_bytes: For the whole cache folder, decoded images included; None: ``shelf.default_budget``.
        progress: Told how many images' features have been computed, of how many.
        data: What the data set is called, for people.
    """

    folder: Path | None
    ids: Indices
    n_images: int
    device: torch.device
    budget_bytes: int | None = None
    progress: Progress | None = None
    data: str = ""
    _places: Indices = field(init=False, repr=False)
    _ids_digest: str = field(init=False, repr=False)
    _opened: dict[str, FeatureStore | None] = field(init=False, repr=False, default_factory=dict)
    _notes: dict[str, None] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        ids = np.ascontiguousarray(self.ids, dtype=np.int64)
        self._places = np.full(self.n_images, -1, dtype=np.int64)
        self._places[ids] = np.arange(len(ids))
        self._ids_digest = digest_of(ids.tolist())

    @property
    def notes(self) -> tuple[str, ...]:
        """What was not stored, or not where it was meant to be, and why: sentences."""
        return tuple(self._notes)

    @property
    def opened(self) -> tuple[FeatureStore, ...]:
        """What is open."""
        return tuple(store for store in self._opened.values() if store is not None)

    def key_of(self, spec: FeatureSpec) -> str:
        """Give the key of an entry: what the bits follow from, and which images are stored."""
        return digest_of({"spec": spec.key, "ids": self._ids_digest})

    def get(
        self, spec: FeatureSpec, shapes: Shapes, compute: Compute, *, seconds_per_image: float | None = None
    ) -> FeatureStore | None:
        """Open features; compute and store them first where no process has yet.

        Of several processes that want the same features, one computes and the others wait for it. The answer
        stays the same for the life of this object, a refusal too.

        Args:
            spec: What the features follow from.
            shapes: Of each tensor, for one image.
            compute: Called with chunks of ``spec.chunk`` image ids, the last one shorter.
            seconds_per_image: What computing the features of an image takes. Where reading them takes longer,
                they are not stored.

        Returns:
            None where they cannot or should not be stored; ``notes`` says why.
        """
        key = self.key_of(spec)
        if key not in self._opened:
            job = _Job(self, key, spec, tuple(shapes), getattr(torch, spec.dtype), compute)
            self._opened[key] = self._get(job, seconds_per_image)
        return self._opened[key]

    def _get(self, job: "_Job", seconds_per_image: float | None) -> FeatureStore | None:
        if not job.n:
            self._refuse(job, "there are no images")
            return None
        if self.folder is None:
            return self._in_memory(job, "there is no cache folder")
        shelf = Shelf(self.folder, "features")
        try:
            shelf.folder.mkdir(parents=True, exist_ok=True)
            if (reason := self._not_worth_it(job, shelf, seconds_per_image)) is not None:
                self._refuse(job, reason)
                return None
            if (found := self._open(job, shelf)) is not None:
                return found
            with shelf.lock(job.key):
                if (found := self._open(job, shelf)) is not None:
                    return found
                note = job.fill(shelf)
                return self._opened_file(job, shelf, note, filled=True)
        except NoRoomError as error:
            more = f"; allow more with --cache-size {rounded_up(error.enough)}"
            self._refuse(job, f"they {error}{more if error.of != 'disk' else ''}")
        except _FillError as error:
            self._refuse(job, f"the file could not be written to its end: {error}")
        except OSError as error:
            if error.errno not in _FULL:
                reason = f"the cache folder cannot be written to ({error.strerror or error})"
                return self._in_memory(job, reason)
            self._refuse(
                job, f"they need {format_bytes(job.n_bytes)}, and the disk is full ({error.strerror})"
            )
        return None

    def _refuse(self, job: "_Job", reason: str) -> None:
        self._tell(f"features {job.words} are not stored, and computed again for each batch: {reason}")

    def _tell(self, note: str) -> None:
        self._notes[note] = None

    def _in_memory(self, job: "_Job", reason: str) -> FeatureStore | None:
        """Keep features in memory, or on the GPU, for this process alone."""
        held = sum(store.n_bytes for store in self.opened if store.tier == "memory")
        room = int(MEMORY_SHARE * (free_memory() + held)) - held
        if self.budget_bytes is not None:
            room = min(room, self.budget_bytes - held)
        if job.n_bytes > room:
            needs = f"of the memory they need {format_bytes(job.n_bytes)}"
            self._refuse(job, f"{reason}, and {needs} where {format_bytes(max(room, 0))} may be used")
            return None
        self._tell(f"features {job.words} are kept in memory for this run alone: {reason}")
        rows, strides = job.in_memory()
        return self._store(job, rows, strides, tier="memory", filled=True)

    def _not_worth_it(self, job: "_Job", shelf: Shelf, seconds_per_image: float | None) -> str | None:
        if seconds_per_image is None:
            return None
        mapped = sum(store.n_bytes for store in self.opened if store.tier == "file")
        in_pages = mapped + job.n_bytes <= PAGES_SHARE * free_memory()
        try:
            rate = memory_rate(job.row_bytes) if in_pages else disk_rate(shelf.folder)
        except OSError:  # a folder that may only be read: only what is there already can be opened
            return None
        reading = job.row_bytes / rate
        if reading <= seconds_per_image:
            return None
        return (
            f"reading takes {1000 * reading:.3g} ms for each image ({format_bytes(job.row_bytes)} at "
            f"{format_bytes(int(rate))} a second), computing {1000 * seconds_per_image:.3g} ms"
        )

    # Opening

    def _open(self, job: "_Job", shelf: Shelf) -> FeatureStore | None:
        """Open a finished entry; ``None`` where there is none, or its bytes are not as noted."""
        hold = Hold(shelf, job.key)
        try:
            if (text := shelf.read_note(job.key)) is None:
                return None
            note = FeatureNote.model_validate_json(text)
            right = job.describes(note) and shelf.data(job.key).stat().st_size == note.file_bytes
            if (
                not right
                or _checksums(shelf.data(job.key), job, note.strides, self.progress) != note.checksums
            ):
                self._tell(f"features {job.words} had been damaged on the disk, and are computed again")
                return None
            return self._opened_file(job, shelf, note, filled=False, hold=hold)
        except FileNotFoundError:  # evicted just now
            return None
        except (ValidationError, OSError) as error:
            reason = error.strerror if isinstance(error, OSError) else "their note is damaged"
            self._tell(f"features {job.words} cannot be read ({reason}), and are computed again")
            return None

    def _opened_file(
        self, job: "_Job", shelf: Shelf, note: FeatureNote, *, filled: bool, hold: Hold | None = None
    ) -> FeatureStore:
        hold = hold or Hold(shelf, job.key)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The given NumPy array is not writable")  # nobody writes to it
            whole = torch.from_numpy(np.memmap(shelf.data(job.key), np.uint8, "r"))
        rows = tuple(
            whole[start : start + job.n * numbers * job.dtype.itemsize].view(job.dtype).view(job.n, numbers)
            for start, numbers in zip(job.offsets, job.numbers, strict=True)
        )
        return self._store(job, rows, note.strides, tier="file", filled=filled, hold=hold)

    def _store(
        self,
        job: "_Job",
        rows: tuple[Tensor, ...],
        strides: Shapes,
        *,
        tier: Tier,
        filled: bool,
        hold: Hold | None = None,
    ) -> FeatureStore:
        if self.device.type == "cuda" and job.n_bytes <= GPU_SHARE * torch.cuda.mem_get_info(self.device)[0]:
            rows, tier = tuple(one.to(self.device) for one in rows), "gpu"
        return FeatureStore(
            job.key,
            rows,
            job.shapes,
            strides,
            self._places,
            device=self.device,
            tier=tier,
            filled=filled,
            hold=hold,
        )


_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class _FillError(Exception):
    """Writing failed half way."""


@dataclass(frozen=True)
class _Job:
    """Features to be had, and how they lie in a file."""

    stores: FeatureStores
    key: str
    spec: FeatureSpec
    shapes: tuple[tuple[int, ...], ...]
    dtype: torch.dtype
    compute: Compute

    @property
    def words(self) -> str:
        return f"below column {self.spec.boundary} ({self.spec.view})"

    @property
    def n(self) -> int:
        return len(self.stores.ids)

    @property
    def numbers(self) -> tuple[int, ...]:
        """Of a row, by tensor."""
        return tuple(prod(shape) for shape in self.shapes)

    @property
    def row_bytes(self) -> int:
        """Of one image, all tensors."""
        return sum(self.numbers) * self.dtype.itemsize

    @property
    def n_bytes(self) -> int:
        """Of the file."""
        return self._ends[-1]

    @property
    def offsets(self) -> tuple[int, ...]:
        """Where the rows of each tensor begin."""
        return (0, *(-(-end // _ALIGNMENT) * _ALIGNMENT for end in self._ends[:-1]))

    @property
    def _ends(self) -> list[int]:
        ends: list[int] = []
        for numbers in self.numbers:
            start = -(-ends[-1] // _ALIGNMENT) * _ALIGNMENT if ends else 0
            ends.append(start + self.n * numbers * self.dtype.itemsize)
        return ends

    def describes(self, note: FeatureNote) -> bool:
        """Whether a note is of these features, as they would be written today."""
        noted = (note.key, note.spec, note.n, note.shapes, note.offsets, note.file_bytes)
        expected = (self.key, self.spec, self.n, self.shapes, self.offsets, self.n_bytes)
        return noted == expected and [len(own) for own in note.strides] == [len(own) for own in self.shapes]

    def fill(self, shelf: Shelf) -> FeatureNote:
        """Compute all features into a file, and put it into place with its note.

        Raises:
            NoRoomError: They do not fit.
            OSError: The file cannot be made.
            _FillError: It cannot be written to its end.
        """
        strides: tuple[tuple[int, ...], ...] = ()
        checksums: list[int] = []
        offsets = list(self.offsets)
        with shelf.filling(self.key, self.n_bytes, self.stores.budget_bytes, beside_open=True) as part:
            with part.open("r+b", buffering=0) as file:
                for chunk in self._chunks():
                    strides = strides or tuple(map(row_strides, chunk))
                    checksums = checksums or [_checksum_of(own) for own in strides]
                    for place, tensor in enumerate(chunk):
                        rows = _bytes(packed(tensor, strides[place]))
                        checksums[place] = zlib.crc32(rows, checksums[place])
                        _write(file, rows, offsets[place])
                        offsets[place] += len(rows)
                _flush(file)
            note = FeatureNote(
                key=self.key,
                spec=self.spec,
                ids=self.stores._ids_digest,
                n=self.n,
                shapes=self.shapes,
                strides=strides,
                offsets=self.offsets,
                file_bytes=self.n_bytes,
                checksums=tuple(checksums),
                created=datetime.now(UTC).isoformat(timespec="seconds"),
                data=self.stores.data,
            )
            try:
                shelf.keep(self.key, note.as_file())
            except OSError as error:
                shelf.forget(self.key)
                raise _FillError(error.strerror or str(error)) from error
        return note

    def in_memory(self) -> tuple[tuple[Tensor, ...], tuple[tuple[int, ...], ...]]:
        """Compute all features into memory: rows and strides, by tensor."""
        strides: tuple[tuple[int, ...], ...] = ()
        whole = tuple(torch.empty((self.n, numbers), dtype=self.dtype) for numbers in self.numbers)
        done = 0
        for chunk in self._chunks():
            strides = strides or tuple(map(row_strides, chunk))
            for rows, tensor, own in zip(whole, chunk, strides, strict=True):
                rows[done : done + len(tensor)] = packed(tensor, own)
            done += len(chunk[0])
        return whole, strides

    def _chunks(self) -> Iterator[tuple[Tensor, ...]]:
        ids = self.stores.ids
        for start in range(0, self.n, self.spec.chunk):
            asked = ids[start : start + self.spec.chunk]
            chunk = tuple(tensor.detach() for tensor in self.compute(asked))
            expected = [(self.dtype, (len(asked), *shape)) for shape in self.shapes]
            if [(tensor.dtype, tuple(tensor.shape)) for tensor in chunk] != expected:
                given = [(tensor.dtype, tuple(tensor.shape)) for tensor in chunk]
                raise ValueError(f"features {self.words}: got {given}; must be {expected}")
            yield chunk
            if self.stores.progress is not None:
                self.stores.progress(start + len(asked), self.n)


def _bytes(rows: Tensor) -> memoryview:
    return rows.cpu().view(torch.uint8).numpy().reshape(-1).data


def _write(file: FileIO, data: memoryview, offset: int) -> None:
    try:
        file.seek(offset)
        while data:
            data = data[file.write(data) :]
    except OSError as error:
        raise _FillError(error.strerror or str(error)) from error


def _flush(file: FileIO) -> None:
    """Wait until all is on the disk: a page that could not be written would come back as zeros."""
    try:
        os.fsync(file.fileno())
    except OSError as error:
        raise _FillError(error.strerror or str(error)) from error


def _checksum_of(strides: Sequence[int]) -> int:
    return zlib.crc32(repr(tuple(strides)).encode())


def _checksums(path: Path, job: _Job, strides: Shapes, progress: Progress | None) -> tuple[int, ...]:
    """CRC-32 of the strides and the rows of each tensor, read from the file.

    CRC-32 finds what disks, copies and killed programs do to a file. It read 3.3 GB/s where SHA-256 read 1.6
    on a processor with instructions for that.
    """
    buffer = memoryview(bytearray(_BLOCK))
    found = []
    done = 0
    with path.open("rb", buffering=0) as file:
        for start, numbers, own in zip(job.offsets, job.numbers, strides, strict=True):
            left = job.n * numbers * job.dtype.itemsize
            checksum = _checksum_of(own)
            file.seek(start)
            while left and (count := file.readinto(buffer[: min(left, _BLOCK)])):
                checksum = zlib.crc32(buffer[:count], checksum)
                left -= count
                done += count
                if progress is not None and job.n_bytes > LONG_BYTES:
                    progress(min(done // job.row_bytes, job.n), job.n)
            found.append(checksum)
    return tuple(found)
