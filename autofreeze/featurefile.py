"""Features in a file of the cache: how they lie in it, filling it, and whether it is as it was.

A flat file holds the rows of the first tensor, one for each image in the order of their ids, then those of
the next, each from a multiple of 4096 bytes on.
"""

import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from io import FileIO
from math import prod
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from autofreeze.notes import FeatureNote, FeatureSpec
from autofreeze.rowlayout import packed, row_strides
from autofreeze.shelf import Shelf
from autofreeze.views import Indices

Shapes = Sequence[tuple[int, ...]]
"""Of each tensor, for one image."""

Compute = Callable[[Indices], tuple[Tensor, ...]]
"""Image ids (k,) -> the tensors, with k rows each. Padding a chunk to its full size is its own affair."""

Progress = Callable[[int, int], None]
"""Called as ``progress(done, total)``."""

LONG_BYTES = 2**30
"""Checking an entry of more bytes is told to ``progress``: it takes seconds."""

_ALIGNMENT = 4096
_BLOCK = 2**22


class FillError(Exception):
    """Writing failed half way."""


@dataclass(frozen=True)
class FeatureFile:
    """Features to be had, and how they lie in a file."""

    key: str
    spec: FeatureSpec
    ids: Indices
    """Of the images, ascending; ``ids_digest`` is their hash."""

    ids_digest: str
    shapes: tuple[tuple[int, ...], ...]
    dtype: torch.dtype
    compute: Compute
    budget_bytes: int | None
    progress: Progress | None
    data: str
    """What the data set is called, for people."""

    @property
    def words(self) -> str:
        """Which features these are, for people."""
        return f"below column {self.spec.boundary} ({self.spec.view})"

    @property
    def n(self) -> int:
        """Images."""
        return len(self.ids)

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
            FillError: It cannot be written to its end.
        """
        strides: tuple[tuple[int, ...], ...] = ()
        checksums: list[int] = []
        offsets = list(self.offsets)
        with shelf.filling(self.key, self.n_bytes, self.budget_bytes, beside_open=True) as part:
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
                ids=self.ids_digest,
                n=self.n,
                shapes=self.shapes,
                strides=strides,
                offsets=self.offsets,
                file_bytes=self.n_bytes,
                checksums=tuple(checksums),
                created=datetime.now(UTC).isoformat(timespec="seconds"),
                data=self.data,
            )
            try:
                shelf.keep(self.key, note.as_file())
            except OSError as error:
                shelf.forget(self.key)
                raise FillError(error.strerror or str(error)) from error
        return note

    def checksums(self, path: Path, strides: Shapes) -> tuple[int, ...]:
        """CRC-32 of the strides and the rows of each tensor, read from the file.

        CRC-32 finds what disks, copies and killed programs do to a file. It read 3.3 GB/s where SHA-256 read
        1.6, on a processor with instructions for that.
        """
        buffer = memoryview(bytearray(_BLOCK))
        found = []
        done = 0
        with path.open("rb", buffering=0) as file:
            for start, numbers, own in zip(self.offsets, self.numbers, strides, strict=True):
                left = self.n * numbers * self.dtype.itemsize
                checksum = _checksum_of(own)
                file.seek(start)
                while left and (count := file.readinto(buffer[: min(left, _BLOCK)])):
                    checksum = zlib.crc32(buffer[:count], checksum)
                    left -= count
                    done += count
                    if self.progress is not None and self.n_bytes > LONG_BYTES:
                        self.progress(min(done // self.row_bytes, self.n), self.n)
                found.append(checksum)
        return tuple(found)

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
        for start in range(0, self.n, self.spec.chunk):
            asked = self.ids[start : start + self.spec.chunk]
            chunk = tuple(tensor.detach() for tensor in self.compute(asked))
            expected = [(self.dtype, (len(asked), *shape)) for shape in self.shapes]
            if [(tensor.dtype, tuple(tensor.shape)) for tensor in chunk] != expected:
                given = [(tensor.dtype, tuple(tensor.shape)) for tensor in chunk]
                raise ValueError(f"features {self.words}: got {given}; must be {expected}")
            yield chunk
            if self.progress is not None:
                self.progress(start + len(asked), self.n)


def as_bytes(rows: Tensor) -> NDArray[np.uint8]:
    """View rows (n, k) as bytes (n, k · bytes of a number)."""
    return rows.cpu().view(torch.uint8).numpy()


def _bytes(rows: Tensor) -> memoryview:
    return rows.cpu().view(torch.uint8).numpy().reshape(-1).data


def _write(file: FileIO, data: memoryview, offset: int) -> None:
    try:
        file.seek(offset)
        while data:
            data = data[file.write(data) :]
    except OSError as error:
        raise FillError(error.strerror or str(error)) from error


def _flush(file: FileIO) -> None:
    """Wait until all is on the disk: a page that could not be written would come back as zeros."""
    try:
        os.fsync(file.fileno())
    except OSError as error:
        raise FillError(error.strerror or str(error)) from error


def _checksum_of(strides: Sequence[int]) -> int:
    return zlib.crc32(repr(tuple(strides)).encode())
