"""Faults of the machine: no room, no memory, no handles. They are nobody's result, and end a search."""

import errno
import mmap
import os

from autofreeze.errors import AutofreezeError

_MAKE_ROOM = "make room on that disk"
_MORE_HANDLES = "allow more open files (ulimit -n)"
_WAYS_OUT = {
    errno.ENOSPC: _MAKE_ROOM,
    errno.EDQUOT: _MAKE_ROOM,
    errno.EFBIG: "allow larger files (ulimit -f)",
    errno.EIO: "look whether that disk is sound",
    errno.EROFS: "make that folder writable",
    errno.EACCES: "make that folder writable",
    errno.EPERM: "make that folder writable",
    errno.ENOENT: "see whether a file or folder was removed meanwhile",
    errno.EMFILE: _MORE_HANDLES,
    errno.ENFILE: _MORE_HANDLES,
    errno.ENOMEM: "free memory, or allow more (ulimit -v)",
    errno.EAGAIN: "free memory, or allow more processes (ulimit -u)",
}
OF_THE_MACHINE = _WAYS_OUT.keys() - {errno.ENOENT, errno.EACCES, errno.EPERM, errno.EAGAIN}

_OF_THE_PROCESS = {errno.EMFILE, errno.ENFILE, errno.ENOMEM}

_NO_MEMORY = (
    "allocate memory",
    "not enough memory",
    "bad_alloc",
    "can't start new thread",
    "could not create a primitive",
)
"""What torch, oneDNN and Python say in a ``RuntimeError`` where memory ran out, or for other reasons."""

_SHARE_AT_HAND = 8
"""A process that may not have so small a part of the machine's memory is short of it."""


def is_want(error: BaseException) -> bool:
    """Whether an error says what a process wants for, and nothing of the file that it was to read."""
    fault = fault_in(error)
    return fault is not None and fault.errno in _OF_THE_PROCESS


def fault_in(error: BaseException) -> OSError | None:
    """Find the fault of the machine that an error comes from; None where it comes from none.

    Libraries put errors of their own before it: torch.save tells that its file has another length than it
    thought, and the reason is behind that. An allocation that fails is the machine's fault where memory is
    short; where it is not, too much was asked for.
    """
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno in OF_THE_MACHINE:
            return seen
        if lacks_memory(seen) and _is_memory_short():
            return OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
        seen = seen.__cause__ or seen.__context__
    return None


def lacks_memory(error: BaseException) -> bool:
    """Whether an allocation failed: too much was asked for, or the machine is short of memory."""
    if isinstance(error, RuntimeError) and type(error).__name__ != "OutOfMemoryError":  # a GPU's
        return any(words in str(error) for words in _NO_MEMORY)
    return isinstance(error, MemoryError)


def _is_memory_short() -> bool:
    """Try whether the process may have a part of the machine's memory; nothing is used of it."""
    if not hasattr(os, "sysconf"):
        return True
    try:
        mmap.mmap(-1, os.sysconf("SC_PHYS_PAGES") // _SHARE_AT_HAND * os.sysconf("SC_PAGE_SIZE")).close()
    except (OSError, MemoryError):
        return True
    return False


def told(error: OSError, *, after: str = "", where: str = "") -> AutofreezeError:
    """Tell an error of the system in plain words: what, where, and the way out.

    Args:
        error: What the system said.
        after: What to do when the way out has been taken.
        where: What could not be used, if the error does not name it.
    """
    named = error.filename if error.filename2 is None else error.filename2
    if isinstance(named, bytes):
        named = named.decode(errors="backslashreplace")
    reason = (error.strerror or str(error) or type(error).__name__).lower()
    way_out = _WAYS_OUT.get(error.errno or 0, "")
    return AutofreezeError(
        "; ".join(filter(None, (reason, ", ".join(filter(None, (way_out, after)))))),
        where=str(named) if isinstance(named, str) else where,
    )
