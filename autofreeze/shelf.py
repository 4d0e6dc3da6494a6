"""The cache folder: what was computed once and is shared by all runs and processes, within a budget of bytes.

::

    <cache folder>/
        room.lock        held while room is made for a new entry
        decoded/         a shelf: entries of one kind
            <key>.npy    the data
            <key>.json   the note, written last: data without it count for nothing; touched on use
            <key>.lock   held while the entry is filled, opened for filling, or removed
            <key>.part   an entry being filled, at its full length from the start: space that is taken
        features/        the same with <key>.bin

The budget is one for all shelves. Entries that were used longest ago make room for new ones; those that this
process has open never do. Entries of other processes may: on POSIX, who has a file open keeps its contents.
"""

import errno
import os
import shutil
import time
import weakref
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from filelock import FileLock, Timeout

from autofreeze.bytesize import format_bytes

Kind = Literal["decoded", "features"]

SUFFIXES: dict[Kind, str] = {"decoded": ".npy", "features": ".bin"}
"""The shelves, and how their data files end."""

DEFAULT_SHARE = 0.2
"""Default budget: this share of the disk that is free, or held by entries that could be evicted."""

LEAST_DEFAULT = 2**30
"""Bytes; the default budget is never smaller."""

TOUCH_SECONDS = 60.0
"""An entry in use is touched no more often."""


class NoRoomError(Exception):
    """An entry does not fit the budget or the disk, whatever is evicted."""

    def __init__(
        self, needed: int, allowed: int, *, of: Literal["budget", "rest", "disk"], enough: int | None = None
    ) -> None:
        super().__init__(needed, allowed, of)
        self.enough = enough or needed
        """A budget that would do."""
        self.needed = needed
        """Bytes."""
        self.allowed = allowed
        """Bytes that the budget allows, that it leaves beside what is in use, or that the disk has free."""
        self.of = of

    def __str__(self) -> str:
        needed, allowed = format_bytes(self.needed), format_bytes(self.allowed)
        match self.of:
            case "budget":
                return f"need {needed}, and the cache may hold {allowed}"
            case "rest":
                return f"need {needed}, and beside what is in use the cache may hold {allowed} more"
            case "disk":
                return f"need {needed}, and the disk has {allowed} free"


@dataclass(frozen=True)
class Entry:
    """An entry as it lies on a shelf."""

    shelf: "Shelf"
    key: str
    bytes: int
    """Length of the data file."""

    used: int
    """When it was used last, nanoseconds since 1970; 0 for data without a note."""


class Shelf:
    """The entries of one kind in a cache folder. Making one touches no file."""

    def __init__(self, cache_folder: Path, kind: Kind) -> None:
        self.cache_folder = cache_folder
        self.kind: Kind = kind
        self.folder = cache_folder / kind

    def __repr__(self) -> str:
        return f"Shelf({str(self.cache_folder)!r}, {self.kind!r})"

    def data(self, key: str) -> Path:
        """Path of an entry's data."""
        return self.folder / f"{key}{SUFFIXES[self.kind]}"

    def note(self, key: str) -> Path:
        """Path of an entry's note."""
        return self.folder / f"{key}.json"

    def part(self, key: str) -> Path:
        """Path of an entry's data while it is filled."""
        return self.folder / f"{key}.part"

    def lock(self, key: str, *, timeout: float = -1) -> FileLock:
        """Give the lock of an entry: whoever fills or removes it holds it."""
        return FileLock(self.folder / f"{key}.lock", timeout=timeout)

    def read_note(self, key: str) -> bytes | None:
        """Read an entry's note; ``None`` where there is none."""
        try:
            return self.note(key).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def touch(self, key: str) -> None:
        """Note a use, by the fine clock: file systems stamp writes in steps of milliseconds."""
        now = time.time_ns()
        with suppress(OSError):  # a shared cache that may only be read
            os.utime(self.note(key), ns=(now, now))

    def entries(self) -> list[Entry]:
        """List what lies on the shelf, whole or without a note, but nothing that is being filled."""
        found = []
        for data in self.folder.glob(f"*{SUFFIXES[self.kind]}"):
            with suppress(FileNotFoundError):
                size = data.stat().st_size
                note = self.note(data.stem)
                found.append(Entry(self, data.stem, size, note.stat().st_mtime_ns if note.exists() else 0))
        return found

    def parts(self) -> dict[str, int]:
        """Keys and bytes of what is being filled, or was when its process was killed."""
        found = {}
        for part in self.folder.glob("*.part"):
            with suppress(FileNotFoundError):
                found[part.stem] = part.stat().st_size
        return found

    def forget(self, key: str) -> None:
        """Remove an entry; whoever calls holds its lock."""
        self.note(key).unlink(missing_ok=True)  # first: data without a note count for nothing
        self.data(key).unlink(missing_ok=True)

    def evict(self, key: str) -> bool:
        """Remove an entry, unless a process is filling or removing it."""
        try:
            with self.lock(key, timeout=0):
                self.forget(key)
        except Timeout:
            return False
        return True

    def clear_abandoned(self) -> int:
        """Remove what killed processes left half filled: nobody holds the lock. Give the bytes freed."""
        freed = 0
        for key, size in self.parts().items():
            with suppress(Timeout), self.lock(key, timeout=0):
                self.part(key).unlink(missing_ok=True)
                freed += size
        return freed

    @contextmanager
    def filling(
        self, key: str, needed: int, budget: int | None = None, *, beside_open: bool = False
    ) -> Iterator[Path]:
        """Reserve the space of an entry, and hand out the file to fill; it is gone again afterwards.

        Whoever calls holds the entry's lock, writes the whole file, and calls :meth:`keep` inside the block.

        Args:
            key: Of the entry. What lies under it is removed first.
            needed: Bytes of its data.
            budget: Bytes, for all shelves; None: :func:`default_budget`.
            beside_open: Whether the budget must hold the new entry and all that is in use. Without it, what
                cannot be evicted may lie beside the new entry and exceed the budget together with it.

        Raises:
            NoRoomError: The entry does not fit, whatever is evicted. Then nothing has been.
            OSError: The folder cannot be written to, or the disk is full all the same.
        """
        self.forget(key)
        try:
            self._reserve(key, needed, budget, beside_open)
            yield self.part(key)
        finally:
            self.part(key).unlink(missing_ok=True)

    def keep(self, key: str, note: bytes) -> None:
        """Make an entry of what was filled, and write its note."""
        self.part(key).replace(self.data(key))
        write_whole(self.note(key), note)
        self.touch(key)

    def _reserve(self, key: str, needed: int, budget: int | None, beside_open: bool) -> None:
        with FileLock(self.cache_folder / "room.lock"):
            self.part(key).unlink(missing_ok=True)
            shelves = shelves_of(self.cache_folder)
            for shelf in shelves:
                shelf.clear_abandoned()
            held = [entry for shelf in shelves for entry in shelf.entries()]
            free_to_go = [entry for entry in held if not is_open(entry.shelf, entry.key)]
            limit = budget if budget is not None else default_budget(self.cache_folder)
            if needed > limit:
                raise NoRoomError(needed, limit, of="budget")
            taken = sum(sum(shelf.parts().values()) for shelf in shelves)
            total = taken + sum(entry.bytes for entry in held)
            staying = total - sum(entry.bytes for entry in free_to_go)
            if beside_open and staying + needed > limit:
                raise NoRoomError(needed, max(limit - staying, 0), of="rest", enough=staying + needed)
            for entry in sorted(free_to_go, key=lambda entry: (entry.used, entry.key)):
                if total + needed <= limit and self._disk_free() >= needed:
                    break
                if entry.shelf.evict(entry.key):
                    total -= entry.bytes
            if beside_open and total + needed > limit:  # another process is filling what was to go
                raise NoRoomError(needed, max(limit - total, 0), of="rest", enough=total + needed)
            if self._disk_free() < needed:
                raise NoRoomError(needed, self._disk_free(), of="disk")
            with self.part(key).open("wb") as file:
                _take_space(file.fileno(), needed)

    def _disk_free(self) -> int:
        return shutil.disk_usage(self.folder).free


class Hold:
    """An entry in use by this process: while this lives, the process does not evict it."""

    def __init__(self, shelf: Shelf, key: str) -> None:
        self._shelf, self._key = shelf, key
        self._touched = -TOUCH_SECONDS
        name = _name(shelf, key)
        _OPEN[name] += 1
        weakref.finalize(self, _OPEN.subtract, [name])
        self.touch()

    def touch(self) -> None:
        """Note a use, now and then."""
        now = time.monotonic()
        if now - self._touched >= TOUCH_SECONDS:
            self._touched = now
            self._shelf.touch(self._key)


_OPEN: Counter[str] = Counter()
"""What this process has open, how many times each."""


def is_open(shelf: Shelf, key: str) -> bool:
    """Whether this process has an entry in use."""
    return _OPEN[_name(shelf, key)] > 0


def _name(shelf: Shelf, key: str) -> str:
    return str(shelf.data(key).absolute())


def default_cache_folder() -> Path:
    """Give ``$AUTOFREEZE_CACHE``, else ``autofreeze`` in ``$XDG_CACHE_HOME`` or ``~/.cache``."""
    if own := os.environ.get("AUTOFREEZE_CACHE"):
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "autofreeze"


def shelves_of(cache_folder: Path) -> tuple[Shelf, ...]:
    """All shelves of a cache folder."""
    return tuple(Shelf(cache_folder, kind) for kind in SUFFIXES)


def default_budget(cache_folder: Path) -> int:
    """Bytes that the cache may hold unless told otherwise."""
    held = sum(entry.bytes for shelf in shelves_of(cache_folder) for entry in shelf.entries())
    existing = next(folder for folder in (cache_folder, *cache_folder.absolute().parents) if folder.exists())
    return max(LEAST_DEFAULT, int(DEFAULT_SHARE * (shutil.disk_usage(existing).free + held)))


def rounded_up(size: int) -> str:
    """Write a size as an option takes it, never less than it is: ``3MB``."""
    unit, name = (10**9, "GB") if size >= 10**9 else (10**6, "MB")
    return f"{-(-size // unit)}{name}"


def write_whole(path: Path, data: bytes) -> None:
    """Write a file of the cache whole or not at all; whoever calls holds its lock."""
    part = path.with_suffix(path.suffix + ".new")
    try:
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    with suppress(OSError):  # not every system lets a folder be opened
        handle = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _take_space(file: int, size: int) -> None:
    """Give a file its length and its blocks on the disk: a full disk shows before any work is done."""
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(file, 0, size)
        except OSError as error:
            if error.errno not in {errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS}:
                raise
        else:
            return
    os.ftruncate(file, size)
