"""Room, handles and memory that a command needs and does not get."""

import random
import shutil
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

from trust import studies
from trust.check import Check, Effort, Outcome
from trust.faults import few_handles, limited, little_memory, small_disk
from trust.ground import MODEL, Spot, Tries
from trust.victims import Fault

MiB = 1 << 20
TOO_LARGE = ("too large", "ulimit -f")
NO_ROOM = ("no space", "room", "full", "b free")
NO_HANDLES = ("too many open files",)
NO_MEMORY = ("memory", "ulimit -v")
THREAD_DIED = "Exception ignored in thread started by"
_OF_LIBRARIES = (-signal.SIGSEGV, -signal.SIGABRT)


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
    """Searches, and every third time trains and looks, with little memory beside what is loaded.

    A thread that finds no memory as it begins makes Python wait for it without end
    (python/cpython#140746), and libraries read from where they were given no memory. What hangs or dies so
    is counted in the note, and must go on like the others.
    """
    tries, hung, died = Tries(effort), 0, 0
    for turn, most in enumerate(_spread(effort.rng, effort.times, MiB, 200 * MiB)):
        spot, fault, limit = tries.spot(), f"{most:,} bytes of memory", partial(little_memory, most)
        if turn % 3 < 2:
            ended = spot.search(fault=limit)
            if ended.killed and THREAD_DIED in ended.err:
                hung += 1
            elif ended.status in _OF_LIBRARIES:
                died += 1
            else:
                tries.judge(ended, fault, 0, 1, says=NO_MEMORY)
            tries.resume(spot, fault)
            continue
        told = ("train", spot.ground.schedule, spot.ground.data, "--threads", 1, "--out", spot.root / "model")
        tries.judge(spot.command(*told, fault=limit), f"train, {fault}", 0, 1, says=NO_MEMORY)
        tries.train(spot, fault)
        shown = spot.command("report", spot.ground.run, fault=limit)
        tries.judge(shown, f"report, {fault}", 0, 1, says=NO_MEMORY)
    note = f"{tries.stopped} ended by it; {hung} hung and {died} died within Python or a library"
    return tries.outcome(effort.times, note)


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


def _target(effort: Effort) -> Outcome:
    """Trains, exports and writes the page into a folder with little room, or with a limit of a file's size.

    What is there afterwards is whole or missing, and the same command without the fault makes it.
    """
    tries = Tries(effort)
    sizes = zip(
        _spread(effort.rng, effort.times, 4096, 16 * MiB),
        _spread(effort.rng, effort.times, 100, 6_000),
        strict=True,
    )
    for turn, (large, small) in enumerate(sizes):
        spot = tries.spot()
        act = (_train_into, _export_into, _page_into)[turn % 3]
        act(tries, spot, small if act is _export_into else large // 4096 * 4096)
    return tries.outcome(effort.times)


def _train_into(tries: Tries, spot: Spot, room: int) -> None:
    out, kept, fault = spot.root / "model", spot.root / "kept", f"train, {room:,} bytes of room"
    out.mkdir()
    told = ("train", spot.ground.schedule, spot.ground.data, "--threads", 1, "--out", out)
    tries.judge(spot.command(*told, fault=partial(small_disk, out, room, kept)), fault, 0, 1, 2, says=NO_ROOM)
    out.rmdir()
    kept.rename(out)
    left = studies.model_in(out)
    tries.wrong += [f"{fault}: left behind: {name}" for name in left if name.endswith(".part")]
    if MODEL in left and left != {**left, **studies.model_in(spot.ground.model)}:
        tries.wrong.append(f"{fault}: another model, or a torn one")
    tries.train(spot, fault)


def _export_into(tries: Tries, spot: Spot, most: int) -> None:
    file, fault = spot.root / "out" / "best.yaml", f"export, {most:,} bytes for a file"
    _write_into(tries, spot, fault, most, file, "export", spot.ground.run, "-o", file)
    if file.read_bytes() != spot.ground.schedule.read_bytes():
        tries.lost.append(f"{fault}: another schedule afterwards")


def _page_into(tries: Tries, spot: Spot, room: int) -> None:
    fault, most = f"report --open, {room // 4:,} bytes for a file", room // 4
    shutil.copytree(spot.ground.run, spot.run, dirs_exist_ok=True)
    page = spot.run / "report.html"
    page.unlink()
    _write_into(tries, spot, fault, most, page, "report", spot.run, "--open")
    if page.read_bytes() != (spot.ground.run / page.name).read_bytes():
        tries.lost.append(f"{fault}: another page afterwards")


def _write_into(tries: Tries, spot: Spot, fault: str, most: int, file: Path, *told: object) -> None:
    """Write a file under a limit of its size, look at what is there, and write it without one."""
    ended = spot.command(*told, fault=partial(limited, "RLIMIT_FSIZE", most))
    tries.judge(ended, fault, 0, 1, 2, says=TOO_LARGE)
    halves = [one.name for one in file.parent.glob(".*.part")] if file.parent.exists() else []
    if halves or file.exists() != (ended.status == 0):
        tries.wrong.append(f"{fault}: ended with {ended.status} and left {halves or file.name}")
    if ended.status:
        again = spot.command(*told)
        tries.judge(again, f"{fault}, then again")
        tries.recovery.append(again.seconds)


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
        name="resource-disk-out", fault="train, export and page into little room, then the same without that",
        run=_target, quick=1, long=15,
    ),
    Check(
        name="resource-handles", fault="a search with few file handles (`RLIMIT_NOFILE`), then `--resume`",
        run=_handles, quick=1, long=12,
    ),
    Check(
        name="resource-memory", fault="search and train with little memory (`RLIMIT_AS`), then without that",
        run=_memory, quick=1, long=15,
    ),
)  # fmt: skip
