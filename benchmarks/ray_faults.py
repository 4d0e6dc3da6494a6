"""``kill -9`` at random instants of a search on Ray: of workers, and of the driver, which then goes on.

    python benchmarks/ray_faults.py [--kills 20] [--trials 48] [--epochs 12] [--nodes 2] [--seed 0]

The cluster is one machine: a head for the driver, and nodes of one CPU that see no disk of each other
(``tests/raylets.py``). The driver is the command line, ``autofreeze search … --ray ADDRESS``, with a fixed
list of trials (``--sampler qmc --no-prune``) on made-up images; killed, it goes on with ``--resume``. Half of
the kills hit a worker, half the driver. An instant lies some records and up to a second behind the last kill,
or, of every third behind one of a driver, up to ten seconds after its start, while it opens and connects.

Then, against an undisturbed search in one process: every trial that had ended at any kill still has its
value, every trial has ended once, every epoch was recorded once, and all curves are the same to the bit.

Prints a line for each kill, and what came of all.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from conftest import write_class_folders
from optuna.storages.journal._storage import JournalOperation
from optuna.trial import TrialState
from raylets import Raylets

from autofreeze.provenance import machine, versions
from autofreeze.records import read_records
from autofreeze.report.files import read_report
from autofreeze.results import Ending

SLOWEST = 600.0
"""Seconds within which something must happen."""


class Driver:
    """The command line, started, killed and resumed.

    Args:
        root: Holds data, cache, and the run folder ``ray``.
        options: Of the command.
    """

    def __init__(self, root: Path, options: list[str]) -> None:
        self.out = root / "ray"
        self._root, self._options = root, options
        self._process: subprocess.Popen[bytes] | None = None
        self.starts = 0

    def start(self) -> None:
        """Start the search, or go on with it."""
        resume = ["--resume"] if (self.out / "run.json").exists() else []
        self.starts += 1
        with (self._root / f"driver-{self.starts}.log").open("wb") as log:
            self._process = subprocess.Popen(
                [*command(self._root, self.out), *self._options, *resume],
                env=environment(self._root), stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip

    def kill(self) -> None:
        """Kill it."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def is_over(self) -> bool:
        """Whether it has ended by itself.

        Raises:
            RuntimeError: It has ended with an error.
        """
        assert self._process is not None
        code = self._process.poll()
        if code:
            raise RuntimeError((self._root / f"driver-{self.starts}.log").read_text()[-3000:])
        return code == 0

    def records(self) -> int:
        """Give how many records are kept so far."""
        return len(whole_lines(self.out / "records.jsonl"))

    def wait_for_records(self, at_least: int) -> None:
        """Wait until so many records are kept."""
        deadline = time.monotonic() + SLOWEST
        while self.records() < at_least:
            if self.is_over():
                raise RuntimeError("the search is over before all kills; give more trials")
            if time.monotonic() > deadline:
                raise RuntimeError("nothing happens any more")
            time.sleep(0.01)


def command(root: Path, out: Path) -> list[str]:
    """Give the command that both searches have in common."""
    return [
        sys.executable, "-m", "autofreeze.cli", "search", str(root / "data"), "--model", "test_resnet",
        "--from-scratch", "--image-size", "32", "--sampler", "qmc", "--no-prune", "--threads", "1",
        "--confirm", "0", "--space", "default", "--out", str(out),
    ]  # fmt: skip


def environment(root: Path) -> dict[str, str]:
    """Give the environment of both searches."""
    return {**os.environ, "AUTOFREEZE_CACHE": str(root / "cache"), "PYTHONUNBUFFERED": "1"}


def whole_lines(file: Path) -> list[dict[str, Any]]:
    """Read a file that somebody is writing."""
    whole, _, _ = (file.read_text() if file.exists() else "").rpartition("\n")
    return [json.loads(line) for line in whole.splitlines()]


def ends_told(out: Path) -> dict[int, list[Any]]:
    """Give what the journal tells of the end of each trial: its state and value, each time that it does."""
    told: dict[int, list[Any]] = {}
    for entry in whole_lines(out / "study.journal"):
        if entry["op_code"] == JournalOperation.SET_TRIAL_STATE_VALUES:
            state = TrialState(entry["state"])
            if state.is_finished():
                told.setdefault(entry["trial_id"], []).append((state.name, entry["values"]))
    return told


def disturb(driver: Driver, raylets: Raylets, kills: int, rng: random.Random) -> list[dict[int, list[Any]]]:
    """Kill workers and drivers; gives what the journal told at each kill."""
    victims = ["worker", "driver"] * (kills // 2) + ["worker"] * (kills % 2)
    rng.shuffle(victims)
    began, told, starting = time.monotonic(), [], False
    print("kill  victim       at  records  ended", flush=True)
    for number, victim in enumerate(victims):
        if starting:
            time.sleep(rng.uniform(0, 10))
        else:
            driver.wait_for_records(driver.records() + rng.randint(1, 10))
            time.sleep(rng.random())
        if victim == "driver":
            driver.kill()
        else:
            kill_a_worker(raylets, rng)
        told.append(ends_told(driver.out))
        at, records = time.monotonic() - began, driver.records()
        print(
            f"{number + 1:>4}  {victim:<7} {at:>6.1f} s {records:>7} {len(told[-1]):>6}"
            f"{'  (starting)' if starting else ''}",
            flush=True,
        )
        if victim == "driver":
            driver.start()
        starting = victim == "driver" and rng.random() < 1 / 3
    while not driver.is_over():
        time.sleep(0.1)
    return told


def kill_a_worker(raylets: Raylets, rng: random.Random) -> None:
    """Kill a process in which tasks or actors run, as soon as there is one."""
    deadline = time.monotonic() + SLOWEST
    while not (pids := [pid for node in raylets.workers for pid in node.workers]):
        if time.monotonic() > deadline:
            raise RuntimeError("no worker comes up")
        time.sleep(0.01)
    os.kill(rng.choice(pids), signal.SIGKILL)


def main() -> None:
    """Read the command line, kill, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--trials", type=int, default=48)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--nodes", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    print(json.dumps({"machine": machine("cpu", 1), "versions": versions(), **vars(given)}))
    length = ["--trials", str(given.trials), "--epochs", str(given.epochs)]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for part, count, first in (("train", 40, 0), ("val", 10, 100)):
            write_class_folders(root / "data" / part, (count,) * 3, first=first)
        subprocess.run(
            [*command(root, root / "alone"), *length], env=environment(root), check=True, capture_output=True
        )
        with Raylets([root]) as raylets:
            raylets.add_all(given.nodes)
            most = ["--max-concurrent", str(given.nodes)]
            driver = Driver(root, [*length, *most, "--ray", raylets.address])
            driver.start()
            told = disturb(driver, raylets, given.kills, random.Random(given.seed))
        compare(root, told, given.trials)


def compare(root: Path, told: list[dict[int, list[Any]]], trials: int) -> None:
    """Print what was lost, what counts twice, and what differs from the undisturbed search."""
    end, result = ends_told(root / "ray"), read_report(root / "ray")
    ours, theirs = read_records(root / "ray"), read_records(root / "alone")
    entries = [
        (entry["trial"], entry["fold"], entry["record"]["epoch"])
        for entry in whole_lines(root / "ray" / "records.jsonl")
    ]
    lost = {trial for then in told for trial in then if end.get(trial, [None])[0] != then[trial][0]}
    same = [
        len(ours.get(key, ())) == len(curve) and all(map(lambda a, b: a.same_as(b), curve, ours[key]))
        for key, curve in theirs.items()
    ]
    complete = sum(trial.ending is Ending.COMPLETE for trial in result.trials)
    causes = Counter(one.cause for one in result.placing.restarts) if result.placing else {}
    print(
        f"\ntrials: {len(result.trials)} of {trials}, {complete} complete, {trials - len(end)} without an end"
    )
    print(f"trials that had ended at a kill and are lost or changed: {len(lost)}")
    print(f"trials that ended more than once: {sum(len(each) > 1 for each in end.values())}")
    print(f"epochs recorded more than once: {sum(count > 1 for count in Counter(entries).values())}")
    print(f"curves as in the undisturbed search, to the bit: {sum(same)} of {len(theirs)}; others: "
          f"{len(ours.keys() - theirs.keys())}")  # fmt: skip
    print(f"jobs taken up again in the last session: {dict(causes)}")


if __name__ == "__main__":
    main()
