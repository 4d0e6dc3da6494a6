"""Whether the search of a run folder still runs."""

import errno
import os
import socket
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from autofreeze.status import Doing, Status
from autofreeze.statusfile import read_status

LOCK = ".lock"
"""File in a run folder that a search keeps locked; the system lets it go when the search's process ends."""

SILENT_AFTER = 600.0
"""Seconds without a word after which a search on another machine is taken for dead, if its lock is free."""


class Pulse(StrEnum):
    """What has become of a search."""

    RUNNING = "running"
    ENDED = "ended"
    KILLED = "killed"
    UNKNOWN = "unknown"
    """It runs, or ran, on another machine, and locks may not reach from there to here."""


@dataclass(frozen=True)
class Sight:
    """What was seen of a search from outside."""

    status: Status
    pulse: Pulse
    now: datetime
    """When it was seen."""


def look(folder: Path) -> Sight | None:
    """Look how a search goes; touches nothing, and keeps none from beginning.

    Returns:
        What was seen; None where no search tells anything.

    Raises:
        RunFolderError: Its status cannot be read.
    """
    status = read_status(folder)
    while status is not None:
        held = is_held(folder)
        after = read_status(folder)
        # A search says that it has ended before it lets its lock go, and one that begins has its lock before
        # it says anything. So what was the same before and after the look at the lock was so meanwhile.
        if after == status:
            now = datetime.now(UTC)
            return Sight(status, pulse_of(status, held=held, now=now), now)
        status = after
    return None


def pulse_of(status: Status, *, held: bool | None, now: datetime) -> Pulse:
    """Say what has become of a search.

    Args:
        status: What it told last.
        held: Whether somebody holds the folder's lock; None where that cannot be known.
        now: The time.
    """
    if status.doing is Doing.ENDED:
        return Pulse.ENDED
    if held:
        return Pulse.RUNNING
    if status.host != socket.gethostname():
        silent = held is False and status.age(now) > SILENT_AFTER
        return Pulse.KILLED if silent else Pulse.UNKNOWN
    alive = held is None and is_alive(status.process)  # a free lock says more: numbers are given again
    return Pulse.RUNNING if alive else Pulse.KILLED


def is_held(folder: Path) -> bool | None:
    """Say whether a process holds a run folder's lock, by trying it for an instant.

    It is tried together with others who look, so that none takes another for a search; and a search that
    begins tries longer than that (``run.LOCK_PATIENCE``).

    Returns:
        None where that cannot be known: the file may not be read, or the file system knows no locks.
    """
    try:
        handle = os.open(folder / LOCK, os.O_RDONLY)
    except FileNotFoundError:
        return False
    except OSError:
        return None
    try:
        return not _can_share(handle)
    except OSError:
        return None
    finally:
        os.close(handle)


if sys.platform == "win32":
    import msvcrt

    def _can_share(handle: int) -> bool:
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        msvcrt.locking(handle, msvcrt.LK_UNLCK, 1)
        return True

    def is_alive(process: int) -> bool:  # noqa: ARG001
        """Say whether a process of this machine runs; here a signal would end it, so it is taken to run."""
        return True

else:
    import fcntl

    def _can_share(handle: int) -> bool:
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN):
                return False
            raise
        return True

    def is_alive(process: int) -> bool:
        """Say whether a process of this machine runs."""
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return True
