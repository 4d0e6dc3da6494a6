"""Where the bounds of instability lie: every detector on recorded runs, at many bounds.

    python benchmarks/instability.py calibrate [--tables benchmarks/replay] [--more TABLE …]
    python benchmarks/instability.py cost

``calibrate`` plays the steps and records of the breadth tables through ``stability.Watch`` and
``stability.why_unstable``, a detector at a time. A run is *ruined* when it ends, at the study's metric, more
than three standard errors below what the head alone usually comes to in that table. For each bound: ruined
runs that were ended, those that were missed, runs that were ended and would not have been ruined (those at
rates that were meant to break a run apart), how many of them belong to the best tenth, and the share of the
work that ending the ruined ones saved. For each table the bound is also chosen on the others, by ``CHOICE``.
``cost`` measures what a look at a step takes.
"""

import argparse
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from autofreeze.cost import step_work
from autofreeze.recorded.tables import RecordedRun, RecordedTable, read_table
from autofreeze.stability import BOUNDS, Bounds, Watch, why_unstable

CELLS = ("hym_v2", "hym_birds", "covid_v2")
OFF = Bounds(*(None,) * 6)
RUINED = 3.0
"""Standard errors below the level of the head alone."""

GRID: dict[str, tuple[float, ...]] = {
    "loss_spike": (1.5, 2, 3, 5, 7, 10, 15, 20, 30),
    "gradient_spike": (3, 5, 10, 30, 100),
    "gradient_ratio": (1, 2, 3, 5, 8, 12, 20, 40),
    "below_head": (1, 2, 3, 4, 5),
    "drift": (0.5, 0.6, 0.7, 0.8, 0.85, 0.9),
    "head_norm": (1.5, 2, 3, 5, 10, 20),
}
"""Detector -> bounds that are tried; each is a field of ``Bounds``."""

SIMPLE = 1.5
"""To compare with: an epoch's training loss in multiples of the mean of its phase's first steps."""

CHOICE = (
    "the one that ends most ruined runs, among those that end nobody else whose rates the space allows; of "
    "equal ones the middle"
)


@dataclass(frozen=True)
class Run:
    """A recorded run, and what became of it."""

    recorded: RecordedRun
    work: tuple[float, ...]
    """Forward-equivalents by step, validations included."""

    ruined: bool
    best: bool
    """Whether it belongs to the best tenth of its table."""

    @property
    def meant(self) -> bool:
        """Whether its rates were meant to break it; the space does not allow them."""
        return "meant" in self.recorded.origin


@dataclass(frozen=True)
class Outcome:
    """What one detector makes of some runs at one bound."""

    ruined: int
    ended: int
    """Ruined runs that were ended."""

    wrong: int
    """Others that were ended, at rates that the space allows."""

    wrong_meant: int
    """Others, at rates that were meant to break a run."""

    wrong_best: int
    """Of all these, runs of the best tenth."""

    saved: float
    """Share of the work of the ruined ones that ended them saved; NaN where there are none."""

    def row(self) -> str:
        """Write it down."""
        saved = f"{self.saved:.0%}" if self.ended else "–"
        return (
            f"{self.ended:3d} of {self.ruined:3d} ended, {saved:>4} of their work saved; wrongly "
            f"{self.wrong} + {self.wrong_meant} meant to break, {self.wrong_best} of the best tenth"
        )


def main() -> None:
    """Read the command line and calibrate or measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    calibration = commands.add_parser("calibrate")
    calibration.add_argument("--tables", type=Path, default=Path(__file__).parent / "replay")
    calibration.add_argument("--more", type=Path, nargs="*", default=(), help="tables to be told on alone")
    commands.add_parser("cost")
    given = parser.parse_args()
    if given.command == "cost":
        cost()
        return
    cells = {name: runs_of(read_table(given.tables / f"{name}.breadth.jsonl.xz")) for name in CELLS}
    calibrate(cells, {path.name.partition(".")[0]: runs_of(read_table(path)) for path in given.more})


def calibrate(cells: dict[str, list[Run]], more: dict[str, list[Run]]) -> None:
    """Tell every detector at every bound, and what is chosen without a table does on it."""
    for name, runs in (cells | more).items():
        print(f"{name}: {describe(runs)}")
    everything = [run for runs in cells.values() for run in runs]
    for detector, bounds in GRID.items():
        print(f"\n{detector}, all tables")
        for bound in bounds:
            print(f"  {bound:6g}  {outcome(everything, detector, bound).row()}")
        for name, runs in cells.items():
            others = [run for other, its in cells.items() if other != name for run in its]
            chosen = choose(others, detector)
            told = "none" if chosen is None else f"{chosen:g}: {outcome(runs, detector, chosen).row()}"
            print(f"  chosen without {name}: {told}")
    print(f"\nas searches judge, {BOUNDS}")
    for name, runs in (cells | more).items():
        print(f"  {name}: {judged(runs, BOUNDS).row()}")
    print("\ntogether, without one that judges, and with one that does not, chosen on all tables")
    print(f"  as searches judge: {judged(everything, BOUNDS).row()}")
    for detector, judges in vars(BOUNDS).items():
        other = choose(everything, detector) if judges is None else None
        changed = Bounds(**{**vars(BOUNDS), detector: other})
        word = f"without {detector}" if other is None else f"with {detector} {other:g}"
        print(f"  {word}: {judged(everything, changed).row()}")
    print(f"\nhighest of a run of the space that was not ruined: {highest(everything)}")
    print(f"recovery: {recovery(everything)}")
    print(f"by {SIMPLE:g} times the first steps of the phase, at an epoch's end: {simple(everything).row()}")
    print(f"\na bound is chosen as {CHOICE}")


# What became of runs


def runs_of(table: RecordedTable) -> list[Run]:
    """Tell which runs of a table were ruined, and which were best."""
    heads = [
        run.end.value
        for run in table.runs
        if not run.job.schedule.unfreeze_depth and "meant" not in run.origin
    ]
    level, n = float(np.median(heads)), table.runs[0].end.n_val
    bar = level - RUINED * math.sqrt(level * (1 - level) / n)
    order = sorted(table.runs, key=lambda run: (-run.end.value, run.end.log_loss))
    best = {id(run) for run in order[: len(order) // 10]}
    return [
        Run(one, work_of(one, table), not one.end.is_finite or one.end.value < bar, id(one) in best)
        for one in table.runs
    ]


def work_of(run: RecordedRun, table: RecordedTable) -> tuple[float, ...]:
    """Forward-equivalents by the end of each step."""
    timetable = run.job.schedule.timetable(math.ceil(run.n_train / run.job.regime.batch_size))
    images = run.n_train / timetable.steps_per_epoch
    steps = [
        step_work(table.facts.work_shares, [rate is not None for rate in timetable.rates(step)], 1) * images
        for step in range(len(run.steps.losses))
    ]
    for end in timetable.epoch_ends:
        if end <= len(steps):
            steps[end - 1] += run.end.n_val
    return tuple(np.cumsum(steps).tolist())


def describe(runs: Sequence[Run]) -> str:
    """Tell what became of the runs of a table."""
    ruined = [run for run in runs if run.ruined]
    heads = [run.recorded.end.value for run in runs if not run.recorded.job.schedule.unfreeze_depth]
    return (
        f"{len(runs)} runs, the head alone at {np.median(heads):.3f}; {len(ruined)} ruined, "
        f"{sum(run.meant for run in ruined)} of them meant to break"
    )


def recovery(runs: Sequence[Run]) -> str:
    """Tell how many runs were as low as ruined ones after an epoch, and ended well."""
    low = [run for run in runs if not run.meant and min_value(run) < 0.75 * run.recorded.end.value]
    well = [run for run in low if not run.ruined]
    return (
        f"of {len(low)} runs of the space that were a quarter below their end after some epoch, {len(well)} "
        f"were not ruined, {sum(run.best for run in well)} of them of the best tenth"
    )


def highest(runs: Sequence[Run]) -> str:
    """Tell how high the signals of sound runs rise, by halving the bounds that they do not come to."""
    sound = [run for run in runs if not run.ruined and not run.meant]
    told = []
    for detector in ("loss_spike", "gradient_spike", "gradient_ratio", "drift", "head_norm"):
        low, high = 0.0, 1000.0
        while high - low > 0.01 * high:
            middle = (low + high) / 2
            ended = any(ended_at(run, Bounds(**{**vars(OFF), detector: middle})) is not None for run in sound)
            low, high = (middle, high) if ended else (low, middle)
        told.append(f"{detector} {high:.2g}")
    after = sum(bool(run.recorded.records[0].value) and warmed(run) for run in sound)
    return f"{', '.join(told)}; {after} of {len(sound)} have a head alone to be compared with"


def warmed(run: Run) -> bool:
    """Whether the head alone trained for an epoch, and the backbone later."""
    thaws = [place for place, one in enumerate(run.recorded.records) if any(t.of_backbone for t in one.thaws)]
    return bool(thaws) and thaws[0] > 0


def min_value(run: Run) -> float:
    """Lowest value before the end."""
    return min(record.value for record in run.recorded.records[:-1])


# Detectors


def outcome(runs: Sequence[Run], detector: str, bound: float) -> Outcome:
    """Judge runs by one detector alone."""
    return judged(runs, Bounds(**{**vars(OFF), detector: bound}))


def judged(runs: Sequence[Run], bounds: Bounds) -> Outcome:
    """Judge runs by some bounds."""
    return summed(runs, [ended_at(run, bounds) for run in runs])


def simple(runs: Sequence[Run]) -> Outcome:
    """Judge runs by their epochs' losses against the first steps of the phase, as ``SIMPLE`` says."""
    ends = []
    for run in runs:
        spikes = (
            record.step - 1
            for record in run.recorded.records
            if record.train_loss > SIMPLE * record.phase_start_loss
        )
        ends.append(next(spikes, None))
    return summed(runs, ends)


def summed(runs: Sequence[Run], ends: Sequence[int | None]) -> Outcome:
    """Add up what became of runs that were ended after some steps, or not at all."""
    hits = [(run, end) for run, end in zip(runs, ends, strict=True) if run.ruined and end is not None]
    wrong = [run for run, end in zip(runs, ends, strict=True) if not run.ruined and end is not None]
    saved = [1 - run.work[end] / run.work[-1] for run, end in hits]
    return Outcome(
        ruined=sum(run.ruined for run in runs),
        ended=len(hits),
        wrong=sum(not run.meant for run in wrong),
        wrong_meant=sum(run.meant for run in wrong),
        wrong_best=sum(run.best for run in wrong),
        saved=float(np.mean(saved)) if saved else math.nan,
    )


def ended_at(run: Run, bounds: Bounds) -> int | None:
    """Give the step after which a run is ended; None where it goes on to its end."""
    recorded, watch = run.recorded, Watch(bounds)
    timetable = recorded.job.schedule.timetable(math.ceil(recorded.n_train / recorded.job.regime.batch_size))
    thaws = {thaw.step: thaw for record in recorded.records for thaw in record.thaws}
    begun = 0
    for epoch, record in enumerate(recorded.records):
        for step in range(begun, record.step):
            if step in thaws:
                watch.weigh(thaws[step].weight_norms)
            loss, norms = recorded.steps.losses[step], recorded.steps.grad_norms[step]
            if watch.look(step, timetable.phase_at(step), loss, norms):
                return step
        if why_unstable(record, recorded.records[:epoch], bounds):
            return record.step - 1
        watch.weigh(record.weight_norms)
        begun = record.step
    return None


def choose(runs: Sequence[Run], detector: str) -> float | None:
    """Choose a bound on some runs: see ``CHOICE``; None where none ends a ruined run."""
    found = [(bound, outcome(runs, detector, bound)) for bound in GRID[detector]]
    harmless = [(bound, one.ended) for bound, one in found if not one.wrong and one.ended]
    most = max((ended for _, ended in harmless), default=0)
    equal = [bound for bound, ended in harmless if ended == most]
    return equal[len(equal) // 2] if equal else None


# What looking costs


def cost() -> None:
    """Measure a look at a step of eight columns."""
    watch = Watch()
    norms = tuple(float(norm) for norm in np.random.default_rng(0).uniform(0.5, 2, 8))
    for name, look in looks(watch, norms):
        n = 100_000
        began = time.perf_counter()
        for step in range(n):
            look(step)
        print(f"{name}: {1e6 * (time.perf_counter() - began) / n:.2f} µs a step")


def looks(watch: Watch, norms: tuple[float, ...]) -> Iterator[tuple[str, Callable[[int], object]]]:
    """Give what is measured: the bounds that judge, and every one."""
    every = Watch(Bounds(*(1e9,) * 6))
    every.weigh(norms)
    yield "as searches judge", lambda step: watch.look(step, 0, 1.0, norms)
    yield "with every bound", lambda step: every.look(step, 0, 1.0, norms)


if __name__ == "__main__":
    main()
