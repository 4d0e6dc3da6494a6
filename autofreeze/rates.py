"""How much memory is free, and how fast bytes are read here: measured when it is first asked for."""

import os
import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np

_PROBE = 2**25
"""Bytes that a measurement moves: long enough to be told from noise, short enough for a start."""

_MOST_ROWS = 2**14


def free_memory() -> int:
    """Bytes of memory to be had without swapping, within a container's limit; cached files count as free."""
    free = _of_the_system()
    with suppress(OSError, ValueError):
        limit = int(Path("/sys/fs/cgroup/memory.max").read_text())  # "max" without a limit
        free = min(free, limit - int(Path("/sys/fs/cgroup/memory.current").read_text()))
    return max(free, 0)


def _of_the_system() -> int:
    with suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


@cache
def memory_rate(row_bytes: int) -> float:
    """Bytes per second when rows of this length are gathered from memory."""
    row_bytes = min(max(row_bytes, 8), _PROBE // 2)
    source = np.ones((min(_PROBE // row_bytes, _MOST_ROWS), row_bytes), np.uint8)
    order = np.random.Generator(np.random.PCG64(0)).permutation(len(source))
    rows = min(32, len(order))
    blocks = [order[start : start + rows] for start in range(0, len(order) - rows + 1, rows)]
    gathered = np.empty((rows, row_bytes), np.uint8)
    best = float("inf")
    for _ in range(3):  # the first one also fetches new pages, and others may be at work here
        began = time.perf_counter()
        for block in blocks:
            source.take(block, axis=0, out=gathered, mode="clip")
        best = min(best, time.perf_counter() - began)
    return len(blocks) * gathered.size / best


@cache
def disk_rate(folder: Path) -> float:
    """Bytes per second when a file is read that is not in memory; infinite where that cannot be told.

    Raises:
        OSError: The folder cannot be written to.
    """
    if not hasattr(os, "posix_fadvise"):
        return float("inf")
    with TemporaryFile(dir=folder, buffering=0) as file:  # no name: gone whatever happens
        file.write(np.random.Generator(np.random.PCG64(0)).bytes(_PROBE))
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        file.seek(0)
        began = time.perf_counter()
        while file.read(2**20):
            pass
        return _PROBE / (time.perf_counter() - began)
