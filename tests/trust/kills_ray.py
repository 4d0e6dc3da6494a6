"""``kill -9`` on a Ray cluster, at random instants: of workers, drivers and nodes, and of the head.

The cluster is one machine (``tests/raylets.py``): a head for the driver, and nodes of one CPU that see no
disk of each other.
"""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from raylets import Raylets, title

from trust import studies
from trust.check import Check, Effort, Outcome
from trust.commands import Place

OWN = ("-m", "trust.own_search")
TESTS = str(Path(__file__).parents[1])
NODES = 2
SLOWEST = 240.0
"""Seconds within which something must happen."""

SESSIONS = (
    ("worker", "worker", "driver"), ("worker", "node", "driver"), ("node", "worker", "worker", "driver"),
    ("node", "driver"), ("worker", "driver"), ("driver",),
)  # fmt: skip
"""What is killed between two starts of a driver. A trial that has lost three workers has failed: there are
two of them at most."""
SHORT = ("node", "worker")


class Driver:
    """A search on a cluster, started, killed and resumed; what it tells goes to a file.

    Args:
        told: Gives the command, from whether it goes on with a study.
        out: The run folder.
        place: Whose environment it gets.
    """

    def __init__(self, told: Callable[[bool], list[object]], out: Path, place: Place) -> None:
        self.out, self._told, self._place = out, told, place
        self._log = out.with_name(f"{out.name}.log")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the search, or go on with it."""
        words = self._told((self.out / "run.json").exists())
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, *map(str, words)], cwd=self._place.root, env=self._place.env(),
                stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        assert self._process is not None
        return self._process.poll() is not None

    def kill(self) -> None:
        """Kill it alone: its workers must find out by themselves."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def end(self, seconds: float = SLOWEST) -> tuple[int, str]:
        """Wait for its end; gives its status, and what it has told."""
        assert self._process is not None
        hung = ""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            hung = f"hung for {seconds:g} s: "
            os.killpg(self._process.pid, signal.SIGKILL)
        return self._process.wait(), hung + self._log.read_text(encoding="utf-8", errors="backslashreplace")

    def size(self) -> int:
        """Bytes of records so far."""
        file = self.out / "records.jsonl"
        return file.stat().st_size if file.exists() else 0

    def until_more(self, before: int) -> float:
        """Wait until there are more bytes of records, or the search is over; gives the seconds."""
        return self._until(lambda: self.size() > before)

    def sleep(self, seconds: float) -> None:
        """Wait, but not beyond the end."""
        began = time.monotonic()
        self._until(lambda: time.monotonic() - began >= seconds)

    def _until(self, reached: Callable[[], bool]) -> float:
        began = time.monotonic()
        while not reached() and not self.over and time.monotonic() - began < SLOWEST:
            time.sleep(0.02)
        return time.monotonic() - began


@dataclass
class _Tale:
    """What was done to a search, and what it had come to."""

    driver: Driver
    aside: Path
    history: list[str] = field(default_factory=list)
    complete: dict[int, float | None] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def look(self) -> None:
        """Look at the folder as it lies there at this very moment."""
        now = studies.completed_in(self.driver.out, self.aside)
        gone = {number: value for number, value in self.complete.items() if now.get(number, ...) != value}
        self.lost += [f"{self}: trial {one} was complete with {value}" for one, value in gone.items()]
        self.complete = now
        self.wrong += [f"{self}: {one}" for one in studies.torn_in(self.driver.out)]

    def compare(self, whole: Path) -> None:
        """Compare the search, which has ended, with one that nobody disturbed."""
        status, told = self.driver.end()
        if status or "Traceback" in told:
            self.wrong.append(f"{self}: ended with status {status}: {told[-1500:]}")
            return
        self.look()
        found = [*studies.faults_of(self.driver.out, self.aside), *_unlike(self.driver.out, whole)]
        self.wrong += [f"{self}: {one}" for one in found]

    def __str__(self) -> str:
        return f"{self.driver.out.name} ({', '.join(self.history)})"


def _unlike(out: Path, whole: Path) -> list[str]:
    """Say where a search on Ray differs from one in a process: where its trials ran does not count."""
    return [one for one in studies.differences(out, whole) if not one.startswith("settings ")]


def _until_killed(
    effort: Effort, begin: Callable[[Path, str], Driver], whole: Path, sessions: tuple[tuple[str, ...], ...]
) -> Outcome:
    """Begin searches, and kill what there is of each until it ends, as often as it takes."""
    rng, searches = effort.rng, 0
    kills: Counter[str] = Counter()
    tales: list[_Tale] = []
    recovery: list[float] = []
    with Raylets([effort.folder]) as raylets:
        raylets.add_all(NODES)
        while kills.total() < effort.times:
            driver = begin(effort.folder / f"run-{searches}", raylets.address)
            searches += 1
            tale = _Tale(driver, effort.folder / "aside")
            tales.append(tale)
            driver.start()
            while not driver.over:
                for victim in rng.choice(sessions):
                    if kills.total() >= effort.times:
                        break
                    at = _instant(driver, rng, starting=not tale.history or tale.history[-1] == "driver")
                    if at is not None:
                        recovery.append(at)
                    if driver.over or not _kill(victim, driver, raylets, rng):
                        break
                    kills[victim] += 1
                    tale.history.append(victim)
                    tale.look()
                    if victim == "driver":
                        driver.start()
                else:
                    continue
                if kills.total() >= effort.times:
                    driver.end()
            tale.compare(whole)
    hit = ", ".join(f"{count} {victim}s" for victim, count in sorted(kills.items()))
    return Outcome(
        tried=kills.total(),
        lost=[one for tale in tales for one in tale.lost],
        wrong=[one for tale in tales for one in tale.wrong],
        recovery=recovery,
        note=f"{hit}; {searches} searches",
    )


def _instant(driver: Driver, rng: random.Random, *, starting: bool) -> float | None:
    """Wait for the next kill: of every third one only some time, else for a new record and a little longer.

    Returns:
        The seconds until there was a new record, where it was waited for.
    """
    if rng.random() < 1 / 3:
        driver.sleep(rng.uniform(0, 8 if starting else 2))
        return None
    seconds = driver.until_more(driver.size())
    driver.sleep(rng.uniform(0, 1))
    return seconds


def _kill(victim: str, driver: Driver, raylets: Raylets, rng: random.Random) -> bool:
    """Kill something, and start again what does not start by itself; false where there is nothing."""
    if victim == "driver":
        driver.kill()
        return True
    if victim == "node":
        rng.choice(raylets.workers).kill()
        raylets.add(wait=False)
        return True
    began = time.monotonic()
    while not (pids := [pid for node in raylets.workers for pid in node.workers]):
        if driver.over or time.monotonic() - began > SLOWEST:
            return False
        time.sleep(0.02)
    os.kill(rng.choice(pids), signal.SIGKILL)
    return True


def _place(root: Path) -> Place:
    path = os.pathsep.join(filter(None, (TESTS, os.environ.get("PYTHONPATH"))))
    return Place(root, {"PYTHONPATH": path})


def kill_own(effort: Effort) -> Outcome:
    """Kill workers, drivers and nodes of searches of an own training, whose state goes along.

    Recovery: seconds from a kill, of a driver from its restart, to the next new record or the end, where the
    next kill waits for one.
    """
    place, trials, seconds = _place(effort.folder), 20, 0.4  # a worker tells of a run every second
    few = effort.times <= len(SHORT)
    if few:
        trials, seconds = 8, 0.1
    whole = effort.folder / "whole"
    undisturbed = Driver(lambda _: [*OWN, whole, trials, 0], whole, place)
    undisturbed.start()
    status, told = undisturbed.end()
    if status:
        raise RuntimeError(told)

    def begin(out: Path, address: str) -> Driver:
        return Driver(lambda _: [*OWN, out, trials, seconds, address], out, place)

    return _until_killed(effort, begin, whole, (SHORT,) if few else SESSIONS)


def kill_heads(effort: Effort) -> Outcome:
    """Kill the head of a cluster under a search, by turns the whole node and Ray's own server there alone.

    The search goes on on another cluster, whose head is killed too; behind the last one it goes on in a
    process. Recovery: seconds from its restart, Ray not loaded, to the first new record, or to the end.
    """
    rng = effort.rng
    place, out, whole = _place(effort.folder), effort.folder / "run", effort.folder / "whole"
    clusters: list[str] = []
    undisturbed = Driver(lambda _: [*OWN, whole, 40, 0], whole, place)
    driver = Driver(lambda _: [*OWN, out, 40, 0.5 if clusters else 0, *clusters], out, place)
    undisturbed.start()
    tale = _Tale(driver, effort.folder / "aside")
    recovery, ends = list[float](), list[float]()
    for number in range(effort.times):
        with Raylets([effort.folder]) as raylets:
            raylets.add_all(NODES)
            clusters[:] = [raylets.address]
            recovery.append(_restart(driver))
            driver.sleep(2 * rng.random())
            tale.history.append("server" if number % 2 else "head")
            if number % 2:
                server = next(pid for pid in raylets.head.pids if "gcs_server" in title(pid).split()[0])
                os.kill(server, signal.SIGKILL)
            else:
                raylets.head.kill()
            began = time.monotonic()
            status, told = driver.end()
            ends.append(time.monotonic() - began)
        tale.look()
        clear = "the cluster is gone" in told and "--resume" in told and "Traceback" not in told
        if status != 1 or not clear:
            tale.wrong.append(f"{tale}: ended with status {status}: {told[-2000:]}")
    clusters.clear()
    recovery.append(_restart(driver))
    undisturbed.end()
    tale.compare(whole)
    return Outcome(
        tried=effort.times, lost=tale.lost, wrong=tale.wrong, recovery=recovery[1:],
        note=f"the search ended within {max(ends):.0f} s",
    )  # fmt: skip


def _restart(driver: Driver) -> float:
    """Start a search, or go on with it; gives the seconds until there is a new record."""
    before = driver.size()
    driver.start()
    return driver.until_more(before)


CHECKS: tuple[Check, ...] = (
    Check(
        name="kill-ray",
        fault="`kill -9` of workers, drivers and nodes of a search on Ray; a driver goes on by `--resume`",
        run=kill_own, quick=2, long=54, ray=True,
    ),
    Check(
        name="kill-ray-head",
        fault="the head of a Ray cluster dies; then `--resume` on another one, or without",
        run=kill_heads, quick=2, long=3, ray=True,
    ),
)  # fmt: skip
