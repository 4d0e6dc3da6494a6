"""What recorded runs alone say of rules of pruning, and how well shorter runs tell the end of whole ones.

    python benchmarks/pruning_recorded.py real  CELL [--orders 400] [--rules NAME…]
    python benchmarks/pruning_recorded.py check CELL

CELL names the tables of ``benchmarks/replay``, such as ``hym_v2``. ``real`` plays the rules of
``pruning.py`` on the recorded curves themselves, in random orders, nobody spared. ``check`` compares shrunk
schedules, and the beginnings of whole runs, with the ends of whole runs: in the tables, and on their
surrogates.
"""

import argparse
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import optuna
from cells import DEPTHS, TABLES
from pruning import BUDGETS, LONG, Cell, Player, Search, line_of, print_rules
from pruning_rules import RULES, Board, Played
from scipy.stats import spearmanr

from autofreeze.confirmation import arm_of
from autofreeze.job import EpochRecord
from autofreeze.recorded.surrogate import Surrogate
from autofreeze.recorded.tables import RecordedRun, RecordedTable, read_table
from autofreeze.schedule import Schedule

CHECKED = 10
"""Draws of a surrogate that are compared with the tables."""


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("real", "check"):
        commands.add_parser(name).add_argument("cell", choices=sorted(DEPTHS))
    real = commands.choices["real"]
    real.add_argument("--rules", nargs="+", default=list(RULES), choices=list(RULES))
    real.add_argument("--trials", type=int, default=24)
    real.add_argument("--orders", type=int, default=400)
    given = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    {"real": print_real, "check": print_check}[given.command](given)


def print_real(given: argparse.Namespace) -> None:
    """Play on recorded curves: many schedules on one fold, and baselines on five seeds taken for folds."""
    for title, play in (
        ("many schedules on one fold; the truth is the value at its end, luck included", real_breadth),
        ("the baselines on five seeds taken for folds; the truth is the mean over the others", real_depth),
    ):
        lines = [line for name in given.rules for line in play(given, name)]
        if lines:
            print(f"\n### {given.cell}: {title}\n")
            print_rules(lines, "none")


def real_breadth(given: argparse.Namespace, name: str) -> Iterator[dict[str, Any]]:
    """Draw schedules of a breadth table in random orders."""
    tables = recorded(given.cell)
    if not set(RULES[name]().budgets) <= set(tables):
        return
    runs = tables[1.0].runs
    digests = [run.job.settings_digest for run in runs]
    rows = {id(run.job.schedule): at for at, run in enumerate(runs)}
    labels = [tables[1.0].labels[np.asarray(runs[0].val)]]

    def play(schedule: Schedule, _: int, budget: float) -> Sequence[EpochRecord]:
        return tables[budget].runs[rows[id(schedule)]].records

    def work(schedule: Schedule) -> float:
        return runs[rows[id(schedule)]].end.work

    for order in range(given.orders):
        drawn = np.random.default_rng(order).permutation(len(runs))[: given.trials]
        board = real_search(name, play, labels, work, [(runs[at].job.schedule, digests[at]) for at in drawn])
        truths = [0.0 if runs[at].end.diverged else runs[at].end.value for at in drawn]
        yield line_of(given.cell, order, name, board, truths)


def real_depth(given: argparse.Namespace, name: str) -> Iterator[dict[str, Any]]:
    """Draw five seeds of a depth table, and the baselines in a random order."""
    if RULES[name]().budgets or DEPTHS[given.cell] != given.cell:
        return
    table = read_table(TABLES / f"{given.cell}.depth.jsonl.xz")
    found = {(run.job.settings_digest, run.job.seed): run for run in table.runs}
    schedules = {run.job.settings_digest: run.job.schedule for run in table.runs}
    digests = {id(schedule): digest for digest, schedule in schedules.items()}
    seeds = list(dict.fromkeys(run.job.seed for run in table.runs))

    def work(schedule: Schedule) -> float:
        return found[digests[id(schedule)], seeds[0]].end.work

    for order in range(given.orders):
        rng = np.random.default_rng(order)
        mixed = [seeds[at] for at in rng.permutation(len(seeds))]
        folds, rest = mixed[:5], mixed[5:]
        drawn = [(schedules[digest], digest) for digest in rng.permutation(list(schedules))]
        truths = [float(np.mean([found[digest, seed].end.value for seed in rest])) for _, digest in drawn]
        labels = [table.labels[np.asarray(found[drawn[0][1], seed].val)] for seed in folds]

        def play(
            schedule: Schedule, fold: int, _: float, folds: Sequence[int] = folds
        ) -> Sequence[EpochRecord]:
            return found[digests[id(schedule)], folds[fold]].records

        yield line_of(given.cell, order, name, real_search(name, play, labels, work, drawn), truths)


def real_search(
    name: str,
    play: Player,
    labels: Sequence[Any],
    work: Callable[[Schedule], float],
    drawn: Sequence[tuple[Schedule, str]],
) -> Board:
    """Search among recorded schedules; nobody is spared."""
    rule = RULES[name]()
    rule.spares = False
    pruner = rule.pruner(len(labels) * max(math.ceil(schedule.epochs) for schedule, _ in drawn))
    study = optuna.create_study(direction="maximize", pruner=pruner) if pruner else None
    search = Search(rule, play, labels, work, (), study)
    for number, (schedule, digest) in enumerate(drawn):
        search.run(Played(number, schedule, digest, arm_of(schedule), asked=study.ask() if study else None))
    search.end()
    return search.board


def recorded(cell: str) -> dict[float, RecordedTable]:
    """Read the tables of a cell by budget."""
    words = {1.0: "breadth"} | BUDGETS
    paths = {budget: TABLES / f"{cell}.{word}.jsonl.xz" for budget, word in words.items()}
    return {budget: read_table(path) for budget, path in paths.items() if path.exists()}


def print_check(given: argparse.Namespace) -> None:
    """Print how well shorter runs, and the beginnings of whole ones, tell how whole ones end."""
    tables = recorded(given.cell)
    whole = tables[1.0]
    usual = [at for at, run in enumerate(whole.runs) if "meant" not in run.origin]
    ends = np.array([whole.runs[at].end.value for at in usual])
    cell = Cell(given.cell)
    draws = [{b: one.drawn(number) for b, one in cell.surrogates.items()} for number in range(1, CHECKED + 1)]

    def simulated(budget: float, draw: dict[float, Surrogate]) -> list[Sequence[EpochRecord]]:
        runs = [tables[budget].runs[at] for at in usual]
        return [draw[budget].play(run.job, Cut(run)) for run in runs]

    wholes = [simulated(1.0, draw) for draw in draws]
    print(
        f"### {given.cell}: rank correlation with the value at the end of the whole run, {len(usual)} runs\n"
    )
    print("| | recorded | simulated | of the truths |\n|---|---:|---:|---:|")
    for budget in sorted(tables.keys() - {1.0}):
        real = correlation([tables[budget].runs[at].end.value for at in usual], ends)
        shown, true = [], []
        for draw, runs in zip(draws, wholes, strict=True):
            small = [records[-1].value for records in simulated(budget, draw)]
            shown.append(correlation(small, [records[-1].value for records in runs]))
            truths = [
                draw[b].truths(draw[b].place([tables[b].runs[at].job.schedule for at in usual]))
                for b in (budget, 1.0)
            ]
            true.append(correlation(*truths))
        print(f"| shrunk to {budget:.2f} | {real:.2f} | {np.mean(shown):.2f} | {np.mean(true):.2f} |")
    late = np.array([whole.runs[at].records[0].epochs_done - whole.runs[at].records[0].epochs_since_unfreeze
                     for at in usual])  # fmt: skip
    for name, chosen in (("all", late >= 0), (f"last thaw after {LONG:g}", late >= LONG * cell.facts.epochs)):
        for epoch in range(len(whole.runs[usual[0]].records) - 1):
            places = np.flatnonzero(chosen)
            real = correlation([whole.runs[usual[at]].records[epoch].value for at in places], ends[places])
            shown = [
                correlation([runs[at][min(epoch, len(runs[at]) - 1)].value for at in places],
                            [runs[at][-1].value for at in places]) for runs in wholes
            ]  # fmt: skip
            print(f"| epoch {epoch + 1}, {name} ({len(places)}) | {real:.2f} | {np.mean(shown):.2f} | |")


class Cut:
    """The images of a recorded run."""

    def __init__(self, run: RecordedRun) -> None:
        self.train, self.val = np.arange(run.n_train), np.asarray(run.val)


def correlation(first: Sequence[float], second: Sequence[float]) -> float:
    """Spearman's, of the pairs that are finite."""
    pairs = np.array([first, second])
    return float(spearmanr(*pairs[:, np.isfinite(pairs).all(axis=0)]).statistic)


if __name__ == "__main__":
    main()
