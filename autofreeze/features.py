"""Features of a frozen prefix: computed once for each image, kept in a file, in memory, or on the GPU.

They lie on the shelf ``features`` of the cache folder (``shelf.py``). An entry is one border and one view of
one set of images (``featurefile.py``). Rows are stored as they lie in memory (``rowlayout.py``), so that a
gathered tensor has the strides of a computed one: kernels, and with them the last bits, are chosen by
strides.

Whether something is stored may depend on the clock, on memory and on the disk. No number does.
"""

import errno
import warnings
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from autofreeze.bytesize import format_bytes
from autofreeze.featurefile import Compute, FeatureFile, FillError, Progress, Shapes, as_bytes
from autofreeze.notes import FeatureNote, FeatureSpec
from autofreeze.rates import disk_rate, free_memory, memory_rate
from autofreeze.rowlayout import unpacked
from autofreeze.shelf import Hold, NoRoomError, Shelf, rounded_up
from autofreeze.values import digest_of
from autofreeze.views import Indices

__all__ = ["FeatureSpec", "FeatureStore", "FeatureStores", "here"]

Tier = Literal["file", "memory", "gpu"]

MEMORY_SHARE = 0.5
"""Of the free memory, what features may take where they cannot be written to a file."""

GPU_SHARE = 0.5
"""Of the free memory of a GPU, what one entry may take."""

PAGES_SHARE = 0.8
"""Of the free memory: mapped files that fit in it together are read from memory after the first time."""

SharedRows = tuple[tuple[NDArray[np.uint8], ...], tuple[tuple[int, ...], ...]]
"""Rows by tensor, as bytes (n, bytes of a row); and their strides in an image, by tensor."""

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


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


class Exchange(Protocol):
    """Hands features from the process that computes them to others that see none of its files."""

    def fetch(self, key: str, n_bytes: int) -> SharedRows | None:
        """Give the rows of an entry; None: compute them here, and then keep them or give up.

        Raises:
            NoRoomError: They cannot be shared.
        """
        ...

    def keep(self, key: str, rows: SharedRows) -> SharedRows:
        """Share rows; gives them as the others see them."""
        ...

    def give_up(self, key: str) -> None:
        """Leave it to somebody else to compute an entry."""
        ...


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
        exchange: Where features are shared with processes on other machines, as far as there is room.
    """

    folder: Path | None
    ids: Indices
    n_images: int
    device: torch.device
    budget_bytes: int | None = None
    progress: Progress | None = None
    data: str = ""
    exchange: Exchange | None = None
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
            job = FeatureFile(
                key=key,
                spec=spec,
                ids=self.ids,
                ids_digest=self._ids_digest,
                shapes=tuple(shapes),
                dtype=getattr(torch, spec.dtype),
                compute=compute,
                budget_bytes=self.budget_bytes,
                progress=self.progress,
                data=self.data,
            )
            self._opened[key] = self._get(job, seconds_per_image)
        return self._opened[key]

    def _get(self, job: FeatureFile, seconds_per_image: float | None) -> FeatureStore | None:
        if not job.n:
            self._refuse(job, "there are no images")
            return None
        if self.exchange is not None:
            try:
                return self._exchanged(job, self.exchange, seconds_per_image)
            except NoRoomError:
                pass  # then by itself, as if there were nobody to share with
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
        except FillError as error:
            self._refuse(job, f"the file could not be written to its end: {error}")
        except OSError as error:
            if error.errno not in _FULL:
                reason = f"the cache folder cannot be written to ({error.strerror or error})"
                return self._in_memory(job, reason)
            self._refuse(
                job, f"they need {format_bytes(job.n_bytes)}, and the disk is full ({error.strerror})"
            )
        return None

    def _exchanged(
        self, job: FeatureFile, exchange: Exchange, seconds_per_image: float | None
    ) -> FeatureStore | None:
        """Read features that another process has computed, or compute them for all."""
        if (reason := self._slower(job, memory_rate(job.row_bytes), seconds_per_image)) is not None:
            self._refuse(job, reason)
            return None
        shared = exchange.fetch(job.key, job.n_bytes)
        filled = shared is None
        if shared is None:
            try:
                tensors, strides = job.in_memory()
            except BaseException:
                exchange.give_up(job.key)
                raise
            shared = exchange.keep(job.key, (tuple(as_bytes(rows) for rows in tensors), strides))
        arrays, strides = shared
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The given NumPy array is not writable")  # nobody writes to it
            rows = tuple(torch.from_numpy(array).view(job.dtype) for array in arrays)
        return self._store(job, rows, strides, tier="memory", filled=filled)

    def _refuse(self, job: FeatureFile, reason: str) -> None:
        self._tell(f"features {job.words} are not stored, and computed again for each batch: {reason}")

    def _tell(self, note: str) -> None:
        self._notes[note] = None

    def _in_memory(self, job: FeatureFile, reason: str) -> FeatureStore | None:
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

    def _not_worth_it(self, job: FeatureFile, shelf: Shelf, seconds_per_image: float | None) -> str | None:
        if seconds_per_image is None:
            return None
        mapped = sum(store.n_bytes for store in self.opened if store.tier == "file")
        in_pages = mapped + job.n_bytes <= PAGES_SHARE * free_memory()
        try:
            rate = memory_rate(job.row_bytes) if in_pages else disk_rate(shelf.folder)
        except OSError:  # a folder that may only be read: only what is there already can be opened
            return None
        return self._slower(job, rate, seconds_per_image)

    @staticmethod
    def _slower(job: FeatureFile, rate: float, seconds_per_image: float | None) -> str | None:
        """Say why reading features takes longer than computing them; None where it does not."""
        reading = job.row_bytes / rate
        if seconds_per_image is None or reading <= seconds_per_image:
            return None
        return (
            f"reading takes {1000 * reading:.3g} ms for each image ({format_bytes(job.row_bytes)} at "
            f"{format_bytes(int(rate))} a second), computing {1000 * seconds_per_image:.3g} ms"
        )

    # Opening

    def _open(self, job: FeatureFile, shelf: Shelf) -> FeatureStore | None:
        """Open a finished entry; ``None`` where there is none, or its bytes are not as noted."""
        hold = Hold(shelf, job.key)
        try:
            if (text := shelf.read_note(job.key)) is None:
                return None
            note = FeatureNote.read(text)
            right = job.describes(note) and shelf.data(job.key).stat().st_size == note.file_bytes
            if not right or job.checksums(shelf.data(job.key), note.strides) != note.checksums:
                self._tell(f"features {job.words} had been damaged on the disk, and are computed again")
                return None
            return self._opened_file(job, shelf, note, filled=False, hold=hold)
        except FileNotFoundError:  # evicted just now
            return None
        except (ValueError, OSError) as error:
            reason = error.strerror if isinstance(error, OSError) else "their note is damaged"
            self._tell(f"features {job.words} cannot be read ({reason}), and are computed again")
            return None

    def _opened_file(
        self, job: FeatureFile, shelf: Shelf, note: FeatureNote, *, filled: bool, hold: Hold | None = None
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
        job: FeatureFile,
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
