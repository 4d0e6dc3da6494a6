"""What a command may be born with: limits, small disks, folders that cannot be written, a wild clock.

Each is a context manager that is entered in the command's own process (``victims.Fault``).
"""

import ctypes
import datetime as datetimes
import itertools
import os
import pwd
import random
import resource
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

CLONE_NEWNS, CLONE_NEWUSER = 0x20000, 0x10000000
MS_RDONLY, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 1, 32, 4096, 16384, 1 << 18


# Limits


@contextmanager
def limited(kind: str, most: int) -> Iterator[None]:
    """Set a limit of the process, such as ``RLIMIT_FSIZE``."""
    number = getattr(resource, kind)
    resource.setrlimit(number, (most, resource.getrlimit(number)[1]))
    yield


@contextmanager
def few_handles(count: int) -> Iterator[None]:
    """Let so many more files be opened."""
    there = {int(one) for one in os.listdir("/proc/self/fd")}  # noqa: PTH208 - names are wanted
    free = (number for number in itertools.count() if number not in there)
    with limited("RLIMIT_NOFILE", next(itertools.islice(free, count, None))):
        yield


@contextmanager
def little_memory(more: int) -> Iterator[None]:
    """Let the address space grow by so many bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    with limited("RLIMIT_AS", pages * resource.getpagesize() + more):
        yield


# Folders


class Mounts:
    """Mounts that this process alone sees."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        user, group = os.geteuid(), os.getegid()
        self._check(self._libc.unshare(CLONE_NEWNS if user == 0 else CLONE_NEWNS | CLONE_NEWUSER))
        if user:  # who is root in a space of their own alone, where they must be named
            for name, text in (
                ("setgroups", "deny"),
                ("uid_map", f"0 {user} 1"),
                ("gid_map", f"0 {group} 1"),
            ):
                Path(f"/proc/self/{name}").write_text(text)
        self._mount("none", "/", "", MS_REC | MS_PRIVATE)

    def disk(self, folder: Path, room: int) -> None:
        """Put an empty file system with so many bytes in a folder's place."""
        self._mount("tmpfs", str(folder), "tmpfs", 0, f"size={room}")

    def read_only(self, path: Path) -> None:
        """Let a folder, or a file, be read alone."""
        self.writable(path)
        self.let_read(path)

    def writable(self, path: Path) -> None:
        """Make a folder, or a file, a mount of its own."""
        self._mount(str(path), str(path), "", MS_BIND)

    def let_read(self, path: Path) -> None:
        """Let what is a mount of its own be read alone."""
        self._mount("none", str(path), "", MS_BIND | MS_REMOUNT | MS_RDONLY)

    def _mount(self, source: str, target: str, kind: str, flags: int, data: str = "") -> None:
        texts = [text.encode() for text in (source, target, kind)]
        self._check(self._libc.mount(*texts, ctypes.c_ulong(flags), data.encode()))

    @staticmethod
    def _check(status: int) -> None:
        if status:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def can_mount() -> bool:
    """Whether a process may have mounts of its own here."""
    child = os.fork()
    if not child:
        try:
            Mounts()
        except OSError:
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0


@contextmanager
def small_disk(folder: Path, room: int, kept: Path) -> Iterator[None]:
    """Let a folder lie on a file system with little room; what is in it in the end is copied to another."""
    Mounts().disk(folder, room)
    yield
    shutil.copytree(folder, kept)


@contextmanager
def read_only(*paths: Path) -> Iterator[None]:
    """Let folders and files be read alone."""
    mounts = Mounts()
    for path in paths:
        mounts.read_only(path)
    yield


@contextmanager
def read_only_but(*folders: Path) -> Iterator[None]:
    """Let the whole machine be read alone, but for some folders; there is no temporary folder then."""
    mounts = Mounts()
    for folder in folders:
        mounts.writable(folder)
    tops = {line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()}
    for top in sorted(tops - set(map(str, folders))):
        with suppress(OSError):  # one that lies under another
            mounts.let_read(Path(top))
    yield


@contextmanager
def homeless(cache: Path) -> Iterator[None]:
    """Be somebody of whom the system knows no home, with a cache folder named by the environment."""
    os.environ["AUTOFREEZE_CACHE"] = str(cache)
    for name in ("HOME", "XDG_CACHE_HOME", "USER", "LOGNAME"):
        os.environ.pop(name, None)

    def unknown(number: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {number}")

    pwd.getpwuid = unknown
    yield


# The clock

HOUR, YEAR = 3600.0, 365 * 86400.0
JUMPS = (0.0, -2 * HOUR, 2 * HOUR, -20 * YEAR, 10 * YEAR, -1.0)
"""Seconds by which a clock is wrong."""

_datetime, _time, _time_ns, _localtime, _gmtime = (
    datetimes.datetime, time.time, time.time_ns, time.localtime, time.gmtime,
)  # fmt: skip


class _Kind(type):
    """Takes every point in time for one of the wild clock's."""

    def __instancecheck__(cls, other: object) -> bool:
        return isinstance(other, _datetime)


@contextmanager
def wild_clock(seed: int, jumps: Sequence[float] = JUMPS) -> Iterator[None]:
    """Let the time of day jump: one look at the clock in eight sees it moved to another place.

    What Python code asks for the time of day is replaced, ``time.time`` and ``datetime.now`` and their
    like, in every module that is loaded. What is not: times of files, which the kernel gives, and
    ``time.monotonic`` and its like, which do not jump with the time of day on a real machine either.
    """
    rng = random.Random(seed)
    wrong = jumps[0]

    def now() -> float:
        nonlocal wrong
        if rng.random() < 1 / 8:
            wrong = rng.choice(jumps)
        return _time() + wrong

    class Wild(_datetime, metaclass=_Kind):
        @classmethod
        def now(cls, tz: datetimes.tzinfo | None = None) -> Any:
            return _datetime.fromtimestamp(now(), tz)

        @classmethod
        def utcnow(cls) -> Any:
            return _datetime.fromtimestamp(now(), datetimes.UTC).replace(tzinfo=None)

        today = now

    instead = {
        _datetime: Wild,
        _time: now,
        _time_ns: lambda: int(now() * 1e9),
        _localtime: lambda seconds=None: _localtime(now() if seconds is None else seconds),
        _gmtime: lambda seconds=None: _gmtime(now() if seconds is None else seconds),
    }
    for module in list(sys.modules.values()):
        for name, value in list(vars(module).items()) if module.__name__ != __name__ else ():
            for before, after in instead.items():
                if value is before:
                    setattr(module, name, after)
    yield
