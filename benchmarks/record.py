"""Record tables of runs that benchmarks play again: every schedule trained whole, nothing pruned.

    python benchmarks/record.py breadth DATA MODEL WEIGHTS OUT.jsonl [--folds 1] [--scale 1/3]
    python benchmarks/record.py depth   DATA MODEL WEIGHTS OUT.jsonl [--seeds 24]
    python benchmarks/record.py pack    OUT.jsonl benchmarks/replay/NAME.jsonl.xz

``breadth`` trains 160 schedules on the folds of a search with its seed: 140 points of a Sobol sequence over
the default space, the 8 baselines, and 12 at rates that are meant to break a run; every step is kept. With
``--scale`` the same schedules are shrunk to a share of their epochs, all phases in proportion. ``depth``
trains the baselines on 24 fresh seeds, each of which decides order, head and split. A recording that was
stopped goes on where it was.
"""

import argparse
import shlex
import sys
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import optuna

from autofreeze import recipes
from autofreeze.baselines import baselines
from autofreeze.job import Job
from autofreeze.provenance import machine, versions
from autofreeze.recorded.tables import CellFacts, RecordedRun, StepCurve, line_of_run, read_table, write_table
from autofreeze.schedule import Schedule
from autofreeze.seeds import derive
from autofreeze.space import Space, SpaceSpec
from autofreeze.task import Task
from autofreeze.trial import Workbench, run

SOBOL_POINTS = 140
BREAKING = {"full": (0.03, 0.1, 0.3, 1.0), "lp_ft": (0.1, 0.3, 1.0, 3.0), "last_block": (0.03, 0.1, 0.3, 1.0)}
"""Baseline -> head rates, AdamW: ten to a thousand times too high."""


def main() -> None:
    """Read the command line and record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("breadth", "depth"):
        command = commands.add_parser(name)
        for argument in ("data", "model", "weights", "out"):
            command.add_argument(argument)
        command.add_argument("--image-size", type=int, default=96)
        command.add_argument("--epochs", type=float, default=6)
        command.add_argument("--seed", type=int, default=0)
    commands.choices["breadth"].add_argument("--folds", type=int, default=1)
    commands.choices["breadth"].add_argument("--scale", type=Fraction, default=Fraction(1))
    commands.choices["depth"].add_argument("--seeds", type=int, default=24)
    pack = commands.add_parser("pack")
    pack.add_argument("source")
    pack.add_argument("out")
    given = parser.parse_args()
    if given.command == "pack":
        table = read_table(given.source)
        write_table(Path(given.out), table.facts, table.runs)
        return
    record(given)


def record(given: argparse.Namespace) -> None:
    """Train what is still missing from the file, a run at a time."""
    task = Task(
        data=given.data,
        model=given.model,
        weights=given.weights,
        image_size=given.image_size,
        threads=1,
        split_seed=given.seed,
    )
    bench = Workbench.open(task)
    groups = bench.backbone.groups.names
    space = SpaceSpec.load("default").resolve(groups, given.epochs)
    out = Path(given.out)
    if not out.exists():
        out.write_text(facts_of(bench, given).model_dump_json() + "\n")
    done = {(one.job.settings_digest, one.job.seed) for one in read_table(out).runs}
    jobs = breadth(space, given) if given.command == "breadth" else depth(space, given)
    with out.open("a", encoding="utf-8") as stream:
        for number, (origin, job) in enumerate(jobs):
            if (job.settings_digest, job.seed) in done:
                continue
            seen = Onlooker()
            records = tuple(run(job, bench, watch=seen))
            split = bench.split_of(job)
            recorded = RecordedRun(
                origin=origin,
                job=job,
                n_train=len(split.train),
                val=tuple(split.val.tolist()),
                records=records,
                steps=seen.curve() if given.command == "breadth" else StepCurve(),
            )
            stream.write(line_of_run(recorded))
            stream.flush()
            print(number, origin, job.key, f"{records[-1].value:.3f} {records[-1].seconds:.1f} s", flush=True)


class Onlooker:
    """A watcher that keeps what it sees and never complains: recorded runs are whole."""

    def __init__(self) -> None:
        self._losses: list[float] = []
        self._norms: list[tuple[float | None, ...]] = []

    def weigh(self, weight_norms: Sequence[float | None]) -> None:
        """Do nothing: weights are in the records."""

    def look(self, step: int, phase: int, loss: float, grad_norms: Sequence[float | None]) -> str:
        """Keep a step."""
        del step, phase
        self._losses.append(rounded(loss))
        self._norms.append(tuple(None if norm is None else rounded(norm) for norm in grad_norms))
        return ""

    def state(self) -> dict[str, Any]:
        """Give nothing: recordings keep no checkpoints."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Do nothing: recordings keep no checkpoints."""

    def curve(self) -> StepCurve:
        """Give what was kept."""
        return StepCurve(losses=tuple(self._losses), grad_norms=tuple(self._norms))


def rounded(value: float) -> float:
    """Keep four digits."""
    return float(f"{value:.4g}")


def breadth(space: Space, given: argparse.Namespace) -> Iterator[tuple[str, Job]]:
    """Give every schedule of a breadth table, fold after fold."""
    schedules = [*known(space), *breaking(space), *sobol(space, given.seed)]
    for fold in range(given.folds):
        for number, (origin, schedule) in enumerate(schedules):
            seed = derive(given.seed, "fold", fold)
            if given.scale != 1:
                schedule = schedule.scaled(given.epochs * float(given.scale))
            yield (
                origin,
                Job(trial=number, fold=fold, seed=seed, schedule=schedule, regime=space.fixed_regime),
            )


def depth(space: Space, given: argparse.Namespace) -> Iterator[tuple[str, Job]]:
    """Give every run of a depth table, seed after seed."""
    for fresh in range(given.seeds):
        for number, (origin, schedule) in enumerate(known(space)):
            seed = derive(given.seed, "confirm", fresh)
            yield (
                origin,
                Job(
                    trial=number,
                    fold=0,
                    fresh=fresh,
                    seed=seed,
                    schedule=schedule,
                    regime=space.fixed_regime,
                ),
            )


def known(space: Space) -> list[tuple[str, Schedule]]:
    """Give the baselines as usually run."""
    return [
        (f"baseline {one.name}", recipes.gradual(space.groups, space.epochs, **one.params))
        for one in baselines(space.n_backbone, space.epochs)
    ]


def breaking(space: Space) -> list[tuple[str, Schedule]]:
    """Give schedules at rates that are meant to break a run."""
    points = {one.name: one.params for one in baselines(space.n_backbone, space.epochs)}
    return [
        (
            f"meant to diverge: {name} at {rate:g}",
            recipes.gradual(space.groups, space.epochs, **{**points[name], "head_lr": rate}),
        )
        for name, rates in BREAKING.items()
        for rate in rates
    ]


def sobol(space: Space, seed: int) -> list[tuple[str, Schedule]]:
    """Give points of a scrambled Sobol sequence over the space, equal schedules once."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.QMCSampler(
        scramble=True, seed=derive(seed, "sobol"), warn_independent_sampling=False
    )
    study = optuna.create_study(sampler=sampler, direction="maximize")
    found: dict[str, Schedule] = {}
    while len(found) < SOBOL_POINTS:
        trial = study.ask()
        schedule, _ = space.suggest(trial)
        study.tell(trial, 0.0)
        found.setdefault(schedule.canonical().digest, schedule)
    return [(f"sobol {number}", schedule) for number, schedule in enumerate(found.values())]


def facts_of(bench: Workbench, given: argparse.Namespace) -> CellFacts:
    """Say what a table is recorded on."""
    dataset, backbone = bench.dataset, bench.backbone
    return CellFacts(
        kind=given.command,
        data=dataset.name,
        fingerprint=dataset.fingerprint,
        model=backbone.name,
        weights=backbone.digest,
        source=Path(given.weights).name,
        image_size=given.image_size,
        epochs=given.epochs * float(getattr(given, "scale", 1)),
        metric=bench.metric,
        seed=given.seed,
        groups=backbone.groups.names,
        work_shares=backbone.groups.work_shares,
        classes=dataset.classes,
        labels=tuple(dataset.labels.tolist()),
        train=tuple(dataset.train.tolist()),
        command=shlex.join(
            [
                *("python", "benchmarks/record.py", given.command, dataset.name, given.model),
                *(Path(given.weights).name, "OUT", *sys.argv[6:]),
            ]
        ),
        versions=versions(),
        machine=machine(str(bench.device), 1),
    )


if __name__ == "__main__":
    main()
