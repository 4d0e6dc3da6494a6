"""What a search on a Ray cluster costs beside its training: idle workers, the start, the driver, the network.

    python benchmarks/ray_efficiency.py trials [--seconds 1 5 30] [--workers 8] [--nodes 2] [--rounds 4]
                                               [--repeats 3]
    python benchmarks/ray_efficiency.py bytes [--images 120 480]

The cluster is one machine: a head for the driver, and nodes that see no disk of each other
(``tests/raylets.py``).

``trials`` runs a training that sleeps, so that two cores can play many workers, and notes when each run
begins and ends. *Efficiency* is the share of the workers' time in which they train, from the moment at which
all have begun their first run to the end of the last run of all: waiting for orders, for judgement and for
the last one all count against it. *Start* is from the call to the first record. *Driver* is the processor
time of the driver's process between the first record and the last, for each event: a record, or the end of a
run; where events are rare that is mostly what Tune takes for itself. *Load* is the machine's, by which starts
and short trials take longer.

``bytes`` searches sets of images of several sizes, and tells what was sent.

Prints a line of JSON for each search, and a table of medians.
"""

import argparse
import io
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from conftest import write_class_folders
from raylets import Raylets
from rich.console import Console

import autofreeze
from autofreeze.display import Display
from autofreeze.job import EpochRecord
from autofreeze.live import LiveTrial
from autofreeze.provenance import machine, versions
from autofreeze.results import StudyResult

EPOCHS = 5
"""Of a run that sleeps."""

OWN: dict[str, Any] = {
    "groups": ("stem", "body", "head"), "epochs": EPOCHS, "space": "quick", "confirm": 0, "prune": False,
}  # fmt: skip


class Stopwatch(Display):
    """Notes when the first record and the latest one came, by the clock and by the process's own time."""

    def __init__(self) -> None:
        super().__init__(console=Console(file=io.StringIO()))
        self.first: tuple[float, float] | None = None
        self.last = (0.0, 0.0)
        self.records = 0

    def epoch_done(self, trial: LiveTrial, record: EpochRecord) -> None:
        """Note a record."""
        self.last = time.time(), time.process_time()
        self.first = self.first or self.last
        self.records += 1
        super().epoch_done(trial, record)


def sleeping(notes: Path, seconds: float) -> Callable[[Any], Iterator[float]]:
    """Make a training that sleeps, and notes when it began and ended: a line for each run."""

    def fit(job: Any) -> Iterator[float]:
        import os
        import time

        began = time.time()
        for epoch in range(job.epochs):
            time.sleep(max(began + seconds * (epoch + 1) / job.epochs - time.time(), 0.0))
            if epoch == job.epochs - 1:
                with (notes / f"{os.uname().nodename}-{os.getpid()}").open("a") as stream:
                    stream.write(f"{began} {time.time()}\n")
            yield 0.5 + job.schedule.unfreeze_depth / 10 + epoch / 100

    return fit


def measured(raylets: Raylets, seconds: float, workers: int, rounds: int, root: Path) -> dict[str, Any]:
    """Run one search of trials that sleep."""
    notes = Path(tempfile.mkdtemp(prefix="efficiency-"))
    stopwatch, called, trials = Stopwatch(), time.time(), workers * rounds
    try:
        result = autofreeze.search(
            fit=sleeping(notes, seconds), out=root / f"{time.time_ns()}", trials=trials, ray=raylets.address,
            max_concurrent=workers, display=stopwatch, **OWN,
        )  # fmt: skip
        runs = [
            [tuple(map(float, line.split())) for line in file.read_text().splitlines()]
            for file in notes.iterdir()
        ]
    finally:
        shutil.rmtree(notes)
    assert stopwatch.first is not None
    full, end = max(each[0][0] for each in runs), max(each[-1][1] for each in runs)
    trained = sum(max(ended - max(began, full), 0.0) for each in runs for began, ended in each)
    ends = len(result.trials)
    return {
        "seconds": seconds,
        "trials": trials,
        "complete": sum(trial.ending == "complete" for trial in result.trials),
        "workers": len(runs),
        "efficiency": trained / (len(runs) * (end - full)),
        "start": stopwatch.first[0] - called,
        "all_workers": full - called,
        "over": time.time() - stopwatch.last[0],
        "driver_ms": 1000 * (stopwatch.last[1] - stopwatch.first[1]) / (stopwatch.records + ends),
        "job_bytes": _placing(result)["job_bytes"],
        "load": os.getloadavg()[0],
    }


def play(given: argparse.Namespace, root: Path) -> None:
    """Measure trials of each length several times, on one cluster."""
    lines = []
    with Raylets([root]) as raylets:
        raylets.add_all(given.nodes, given.workers // given.nodes)
        for seconds in given.seconds:
            for _ in range(given.repeats):
                lines.append(measured(raylets, seconds, given.workers, given.rounds, root))
                print(json.dumps(lines[-1]), flush=True)
    print("\n trial   n     efficiency (range)      start  driver an event  bytes a trial   load")
    for seconds in given.seconds:
        own = [line for line in lines if line["seconds"] == seconds]
        shares = [line["efficiency"] for line in own]
        middle = {key: statistics.median(line[key] for line in own) for key in own[0]}
        print(
            f"{seconds:>4g} s {len(own):>3} "
            f"{middle['efficiency']:>8.1%} ({min(shares):.1%}..{max(shares):.1%})"
            f" {middle['start']:>5.1f} s {middle['driver_ms']:>13.2f} ms {middle['job_bytes']:>14,.0f}"
            f" {middle['load']:>6.1f}"
        )


def weigh(given: argparse.Namespace, root: Path) -> None:
    """Search sets of images of several sizes, and tell what was sent."""
    with Raylets([root]) as raylets:
        raylets.add(1)
        for images in given.images:
            data = root / f"{images}"
            for part, count, first in (("train", images // 3, 0), ("val", 10, 100_000)):
                write_class_folders(data / part, (count,) * 3, first=first)
            result = autofreeze.search(
                data, "test_resnet", out=root / f"run-{images}", from_scratch=True, image_size=32, epochs=4,
                trials=12, space="default", sampler="qmc", prune=False, confirm=0, threads=1,
                ray=raylets.address,
            )  # fmt: skip
            print(json.dumps({"images": images} | _placing(result)), flush=True)


def _placing(result: StudyResult) -> dict[str, Any]:
    assert result.placing is not None
    return result.placing.model_dump(mode="json")


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    trials = commands.add_parser("trials")
    trials.add_argument("--seconds", type=float, nargs="+", default=[1.0, 5.0, 30.0])
    trials.add_argument("--workers", type=int, default=8)
    trials.add_argument("--nodes", type=int, default=2)
    trials.add_argument("--rounds", type=int, default=4, help="trials of each worker")
    trials.add_argument("--repeats", type=int, default=3)
    trials.set_defaults(run=play)
    sent = commands.add_parser("bytes")
    sent.add_argument("--images", type=int, nargs="+", default=[120, 480])
    sent.set_defaults(run=weigh)
    given = parser.parse_args()
    print(json.dumps({"machine": machine("cpu", 1), "versions": versions()}))
    with tempfile.TemporaryDirectory() as root:
        given.run(given, Path(root))


if __name__ == "__main__":
    main()
