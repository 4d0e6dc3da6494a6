"""Hundreds of trials in one process, whose memory, handles, threads and time are watched from outside."""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from trust import studies
from trust.check import Check, Effort, Outcome

MEMORY = 60_000
"""Bytes that a trial may add to the memory of its process: its records and its result are kept there."""

SLACK = 24 * 2**20
"""Bytes that memory may stand above this line: pages that the allocator has not given back."""

SLOWER = 3.0
"""How many times longer than the second fifth of the trials the last fifth may take, trial by trial."""

LONG = 300
"""With fewer trials their times are chance."""

PAUSE = 0.02


@dataclass(frozen=True)
class Sight:
    """What was seen of a process."""

    at: float
    """Seconds of processor time that it has used."""

    trials: int
    memory: int
    """Bytes resident."""

    handles: int
    threads: int


def _search_images(folder: Path, trials: int) -> None:
    """Search on tiny images, each trial trained for an epoch."""
    from conftest import write_class_folders

    import autofreeze

    autofreeze.search(
        write_class_folders(folder / "data", (10, 10, 10)), "test_resnet", out=folder / "run", trials=trials,
        epochs=1, folds=1, confirm=0, from_scratch=True, image_size=32, device="cpu", threads=1, prune=False,
        space="default",
    )  # fmt: skip


def _search_own(folder: Path, trials: int) -> None:
    """Search with a training that costs nothing: what is left is the search itself."""
    import random

    import autofreeze

    def fit(job: object) -> Iterator[float]:
        luck = random.Random(f"{job.seed} {job.schedule}")  # type: ignore[attr-defined]
        for _ in range(job.epochs):  # type: ignore[attr-defined]
            yield luck.random()

    autofreeze.search(
        fit=fit, groups=("stem", "body", "head"), out=folder / "run", trials=trials, epochs=2, confirm=0,
        space="default",
    )  # fmt: skip


SEARCHES = {"images": _search_images, "own": _search_own}


def _watch(kind: str, effort: Effort) -> tuple[list[Sight], list[str]]:
    """Run a search in a process of its own, and look at it again and again."""
    tests = str(Path(__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": tests, "AUTOFREEZE_CACHE": str(effort.folder / "cache")}
    told = effort.folder / "told.txt"
    seen: list[Sight] = []
    with told.open("w") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "trust.soak", kind, str(effort.times), str(effort.folder)],
            env={**environment, "OMP_NUM_THREADS": "1"}, stdout=stream, stderr=stream,
        )  # fmt: skip
        ends = _Ends(effort.folder / "run" / "study.journal")
        while process.poll() is None:
            if (sight := _look(process.pid, ends.count())) is not None:
                seen.append(sight)
            time.sleep(PAUSE)
    wrong = []
    if process.returncode:
        wrong.append(f"ended with status {process.returncode}: {told.read_text()[-1000:]}")
    return seen, wrong


class _Ends:
    """Counts trials as they end, by the journal that grows."""

    def __init__(self, journal: Path) -> None:
        self._journal, self._read, self._count = journal, 0, 0

    def count(self) -> int:
        """Give how many trials have ended until now."""
        if self._journal.exists():
            with self._journal.open("rb") as stream:
                stream.seek(self._read)
                new = stream.read()
            whole = new[: new.rfind(b"\n") + 1]
            self._read += len(whole)
            self._count += whole.count(b'"user_attr":{"result":')
        return self._count


def _look(process: int, trials: int) -> Sight | None:
    """Look at a process; None where its search has not begun, or it has ended."""
    proc = Path(f"/proc/{process}")
    try:
        # Behind the name, which is in brackets: the eleventh and twelfth are its own time.
        used = (proc / "stat").read_text().rpartition(")")[2].split()
        at = (int(used[11]) + int(used[12])) / os.sysconf("SC_CLK_TCK")
        memory = int((proc / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        handles = len(list((proc / "fd").iterdir()))
        threads = len(list((proc / "task").iterdir()))
    except (OSError, IndexError):
        return None
    return Sight(at, trials, memory, handles, threads) if trials and memory else None


def soak(effort: Effort, *, kind: str) -> Outcome:
    """Search with many trials; what is held open is flat, memory grows by what is kept, time hardly."""
    seen, wrong = _watch(kind, effort)
    run = effort.folder / "run"
    found = {one.number: one.state.name for one in studies.trials_in(run, effort.folder / "aside")}
    if wrong:
        return Outcome(tried=0, wrong=wrong)
    wrong += studies.torn_in(run)
    wrong += studies.remains_in(run)
    lost = [f"trial {number} is missing" for number in range(effort.times) if number not in found]
    lost += [f"trial {number} has ended {state}" for number, state in found.items() if state == "FAIL"]
    begun, ended = (_within(seen, *share, effort.times) for share in ((0.4, 0.6), (0.8, 1.0)))
    if not (begun and ended):
        return Outcome(tried=len(found), lost=lost, wrong=[f"seen {len(seen)} times only"])
    more = ended[-1].trials - begun[0].trials
    before, after = (statistics.median(one.memory for one in part) for part in (begun, ended))
    grown = int(after - before)
    if grown > SLACK + MEMORY * more:
        wrong.append(f"memory grew by {grown:,} bytes over {more} trials")
    for name in ("handles", "threads"):
        most, least = (max(getattr(one, name) for one in part) for part in (ended, begun))
        if most > least + 2:  # a status or a report that was being written as it was looked at
            wrong.append(f"{name}: {most} in the end, {least} before")
    early, late = (_seconds(seen, *share, effort.times) for share in ((0.2, 0.4), (0.8, 1.0)))
    if effort.times >= LONG and late > SLOWER * early:
        wrong.append(f"a trial takes {late:.3f} s of a core in the end, and {early:.3f} s before")
    handles, threads = (max(getattr(one, name) for one in seen) for name in ("handles", "threads"))
    note = (
        f"memory {before / 2**20:.0f} MiB in the third fifth, {after / 2**20:.0f} MiB in the last; at most "
        f"{handles} handles, {threads} threads; a trial takes {1000 * early:.0f} ms of a core in the second "
        f"fifth, {1000 * late:.0f} ms in the last"
    )
    return Outcome(tried=len(found), lost=lost, wrong=wrong, note=note)


def _within(seen: list[Sight], low: float, high: float, trials: int) -> list[Sight]:
    return [one for one in seen if low * trials <= one.trials <= high * trials]


def _seconds(seen: list[Sight], low: float, high: float, trials: int) -> float:
    """Seconds of processor time for each trial, over a part of them."""
    part = _within(seen, low, high, trials)
    return (part[-1].at - part[0].at) / max(part[-1].trials - part[0].trials, 1)


def _images(effort: Effort) -> Outcome:
    return soak(effort, kind="images")


def _own(effort: Effort) -> Outcome:
    return soak(effort, kind="own")


CHECKS: tuple[Check, ...] = (
    Check(
        name="soak-images", fault="hundreds of trials on images in one process", run=_images,
        quick=40, long=500,
    ),
    Check(
        name="soak-own", fault="a thousand trials of nothing but the search in one process", run=_own,
        quick=40, long=1000,
    ),
)  # fmt: skip

if __name__ == "__main__":
    SEARCHES[sys.argv[1]](Path(sys.argv[3]), int(sys.argv[2]))
