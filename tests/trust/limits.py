"""Room, handles and memory that a command needs and does not get."""

import random
from collections.abc import Callable
from functools import partial

from trust.check import Check, Effort, Outcome
from trust.faults import few_handles, limited, little_memory, small_disk
from trust.ground import Tries
from trust.victims import Fault

MiB = 1 << 20
TOO_LARGE = ("too large", "ulimit -f")
NO_ROOM = ("no space", "room", "full")
NO_HANDLES = ("too many open files",)
NO_MEMORY = ("memory", "ulimit -v")


def _spread(rng: random.Random, times: int, low: float, high: float) -> list[int]:
    """Give random sizes, one in each equal part of a logarithmic scale, in any order."""
    sizes = [int(low * (high / low) ** ((turn + rng.random()) / times)) for turn in range(times)]
    rng.shuffle(sizes)
    return sizes


def _search(
    effort: Effort, low: float, high: float, what: str, of: Callable[[int], Fault], *says: str
) -> Outcome:
    """Search under a limit, then go on without it."""
    tries = Tries(effort)
    for most in _spread(effort.rng, effort.times, low, high):
        spot, fault = tries.spot(), f"{what} of {most:,}"
        ended = spot.search(fault=of(most))
        tries.judge(ended, fault, 0, 1, 2, says=says)
        if "repair" in ended.err or "left out" in ended.err:
            tries.wrong.append(f"{fault}: images are blamed: {ended.err[:800]}")
        tries.resume(spot, fault)
    return tries.outcome(effort.times)


def _file_size(effort: Effort) -> Outcome:
    return _search(
        effort, 500, 400_000, "RLIMIT_FSIZE", lambda most: partial(limited, "RLIMIT_FSIZE", most), *TOO_LARGE
    )


def _handles(effort: Effort) -> Outcome:
    return _search(effort, 1, 12, "more handles", lambda most: partial(few_handles, most), *NO_HANDLES)


def _memory(effort: Effort) -> Outcome:
    return _search(
        effort, MiB, 200 * MiB, "more memory", lambda most: partial(little_memory, most), *NO_MEMORY
    )


def _disk(effort: Effort) -> Outcome:
    """Runs with the run folder, the cache or the temporary folder on a file system with little room."""
    tries = Tries(effort)
    for turn, size in enumerate(_spread(effort.rng, effort.times, 4096, MiB)):
        spot, what, room = tries.spot(), ("run", "cache", "tmp")[turn % 3], size // 4096 * 4096
        folder, kept = spot.root / what, spot.root / "kept"
        ended = spot.search(fault=partial(small_disk, folder, room, kept))
        folder.rmdir()
        kept.rename(folder)
        fault = f"{room:,} bytes of room for {what}"
        tries.judge(ended, fault, 0, 1, 2, says=NO_ROOM)
        tries.resume(spot, fault)
    return tries.outcome(effort.times)


CHECKS: tuple[Check, ...] = (
    Check(
        name="resource-file-size",
        fault="a search whose files may have few bytes (`RLIMIT_FSIZE`), then `--resume`",
        run=_file_size, quick=1, long=14,
    ),
    Check(
        name="resource-disk", fault="run, cache or temporary folder on a nearly full disk, then `--resume`",
        run=_disk, quick=1, long=15,
    ),
    Check(
        name="resource-handles", fault="a search with few file handles (`RLIMIT_NOFILE`), then `--resume`",
        run=_handles, quick=1, long=10,
    ),
    Check(
        name="resource-memory", fault="a search with little memory (`RLIMIT_AS`), then `--resume`",
        run=_memory, quick=1, long=15,
    ),
)  # fmt: skip
