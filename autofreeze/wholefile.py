"""Files written whole or not at all, and no half ones left of writers that were killed."""

import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

PART = ".part"
"""How a half file's name ends; it begins with a dot and the name of the whole one."""

if sys.platform == "win32":

    def _hold(handle: int, *, wait: bool) -> bool:  # noqa: ARG001
        """Say that a file may be removed; here one that somebody has open cannot be."""
        return True

else:
    import fcntl

    def _hold(handle: int, *, wait: bool) -> bool:
        """Lock an open file, and say whether that was possible."""
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except OSError:  # somebody else does, or the file system knows no locks
            return False
        return True


@contextmanager
def written_whole(path: Path, *, to_disk: bool = True, new_folder: bool = True) -> Iterator[IO[bytes]]:
    """Open a neighbour of a file, which takes its place when the block has ended well.

    While it is written it is locked, and the system lets the lock go when its writer dies: so whoever writes
    the same file next knows what was left behind, and removes it.

    Args:
        path: The file. What is there stays until the new one is complete.
        to_disk: Whether to wait until it is on the disk, so that not even a machine that loses its power
            leaves half of it.
        new_folder: Whether its folder is made when missing; not where a folder that was removed meanwhile
            must stay so.

    Raises:
        OSError: It cannot be written; what was there is as it was.
    """
    if new_folder:
        path.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(path)
    handle, part = _begin(path)
    try:
        with os.fdopen(handle, "wb") as stream:
            yield stream
            stream.flush()
            if to_disk:
                os.fsync(handle)
            part.chmod(0o644)
            if sys.platform != "win32":  # there a file that is open has a fixed name
                part.replace(path)
        if sys.platform == "win32":
            part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _begin(path: Path) -> tuple[int, Path]:
    """Make a neighbour and lock it: its handle and path."""
    while True:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=PART)
        if not _hold(handle, wait=True) or os.fstat(handle).st_nlink:
            return handle, Path(name)
        os.close(handle)  # between the two it was taken for one that was left behind


def _remove_abandoned(path: Path) -> None:
    """Remove neighbours whose writers are dead."""
    ours = re.compile(rf"\.{re.escape(path.name)}\.[a-z0-9_]{{8}}{re.escape(PART)}")
    with suppress(OSError):  # a folder that may be written to, and not read
        for half in [one for one in path.parent.iterdir() if ours.fullmatch(one.name)]:
            with suppress(OSError), half.open("rb") as stream:
                if _hold(stream.fileno(), wait=False):
                    half.unlink()
