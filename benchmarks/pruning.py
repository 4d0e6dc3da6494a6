"""Play searches under one rule of pruning after the other, and say what each saves and what it loses.

    python benchmarks/pruning.py play   CELL LINES.jsonl [--replays 200] [--rules NAME…] [--fixed]
    python benchmarks/pruning.py report LINES.jsonl… [--like NAME]

CELL names the tables of ``benchmarks/replay``, such as ``hym_v2``. ``play`` searches on their surrogate
(``autofreeze/recorded/``), each replay on other images and another landscape; all rules meet the same
replays. Shrunk schedules are played by a second surrogate, of the tables that were recorded at a third and a
ninth of the budget. The sampler learns from what each rule lets it see; with ``--fixed`` all rules are
given the schedules that it proposes where nothing is pruned. It goes on where it was. What recorded runs
alone say: ``pruning_recorded.py``.
"""

import argparse
import json
import math
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from cells import DEPTHS, TABLES
from optuna.trial import TrialState
from pruning_rules import RULES, Board, Played, Rule
from scipy.stats import beta

from autofreeze.arms import arms_of
from autofreeze.baselines import baseline_quota
from autofreeze.confirmation import arm_of
from autofreeze.cost import run_work
from autofreeze.finalists import BY_ARM
from autofreeze.job import EpochRecord, Job, settings_digest
from autofreeze.proposals import Proposals
from autofreeze.recorded.fitting import fit_surrogate
from autofreeze.recorded.tables import read_table
from autofreeze.regime import Regime
from autofreeze.results import Ending, TrialResult
from autofreeze.schedule import Schedule
from autofreeze.seeds import derive
from autofreeze.space import Space, SpaceSpec
from autofreeze.splits import scoring_splits
from autofreeze.stability import why_unstable

BUDGETS = {1 / 3: "third", 1 / 9: "ninth"}
STEPS = 7
"""Steps of an epoch, as recorded."""

LONG = 0.3
"""Share of the run from which a warm-up of the head alone is long."""

Player = Callable[[Schedule, int, float], Sequence[EpochRecord]]
"""Records of a schedule on a fold at a share of its budget."""


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    play = commands.add_parser("play")
    play.add_argument("cell", choices=sorted(DEPTHS))
    play.add_argument("lines", type=Path)
    play.add_argument("--rules", nargs="+", default=list(RULES), choices=list(RULES))
    play.add_argument("--trials", type=int, default=24)
    play.add_argument("--replays", type=int, default=200)
    play.add_argument("--first", type=int, default=1)
    play.add_argument("--fixed", action="store_true")
    report = commands.add_parser("report")
    report.add_argument("lines", type=Path, nargs="+")
    report.add_argument("--like", default="none")
    report.add_argument("--cells", action="store_true", help="a table for each cell too")
    given = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    {"play": play_all, "report": print_report}[given.command](given)


# A search


class Search:
    """One search under one rule.

    Args:
        rule: Who goes on.
        play: Gives records.
        labels: True classes of each fold's validation images.
        full_work: Forward-equivalents of a whole run on one fold.
        arms: Those whose first trials are spared.
        study: Optuna's, where the sampler learns or the rule is one of its pruners.
    """

    def __init__(
        self,
        rule: Rule,
        play: Player,
        labels: Sequence[Any],
        full_work: Callable[[Schedule], float],
        arms: Sequence[str],
        study: optuna.Study | None,
    ) -> None:
        self._rule, self._play, self._full_work, self._arms = rule, play, full_work, arms
        self._folds, self._study = len(labels), study
        self.board = Board([], labels)

    def run(self, trial: Played) -> None:
        """Run a trial, and then whoever may be promoted now."""
        twin = next((one for one in self.board.trials if one.digest == trial.digest and one.ending), None)
        trial.full_work = self._folds * self._full_work(trial.schedule)
        lacking = sum(one.ending == "complete" and one.arm == trial.arm for one in self.board.trials) < BY_ARM
        needed = self._rule.spares and trial.arm in self._arms and lacking
        trial.spared = needed or (self._rule.spares and trial.baseline is not None)
        trial.judged = bool(trial.baseline and self._rule.baselines and not needed)
        self.board.trials.append(trial)
        if twin and twin.ending != "paused" and not (twin.ending == "unpromising" and trial.spared):
            trial.ending, trial.value, trial.loss = twin.ending, twin.value, twin.loss
            trial.curves, trial.full_work = twin.curves, 0.0
            self._tell(trial)
            return
        self._advance(trial)
        while self._rule.delayed and any(self._advance(one) for one in self._paused()):
            pass

    def end(self) -> None:
        """Give up on those that nobody promoted."""
        for trial in self._paused():
            trial.ending = "unpromising"
            self._tell(trial)

    def _paused(self) -> list[Played]:
        paused = [one for one in self.board.trials if one.ending == "paused"]
        return sorted(paused, key=lambda one: -len(one.small))

    def _advance(self, trial: Played) -> bool:
        """Run a trial as far as it is let; whether it came any further."""
        moved = False
        for budget in self._rule.budgets:
            if budget not in trial.small:
                moved = True
                if not self._run_small(trial, budget):
                    break
            if not (trial.spared or self._rule.promotes(self.board, trial, budget)):
                trial.ending = "paused" if self._rule.delayed else "unpromising"
                break
        else:
            moved = True
            self._run_whole(trial)
        if trial.ending != "paused":
            self._tell(trial)
        return moved

    def _run_small(self, trial: Played, budget: float) -> bool:
        curves = trial.small.setdefault(budget, {})
        for fold in range(self._rule.small_folds or self._folds):
            curves[fold] = list(self._play(trial.schedule, fold, budget))
            trial.work += curves[fold][-1].work
            if any(why_unstable(record) for record in curves[fold]):
                trial.ending = "unstable"
                return False
        if trial.asked is not None:
            mean = float(np.mean([curve[-1].value for curve in curves.values()]))
            trial.asked.report(mean, self._rule.budgets.index(budget))
        return True

    def _run_whole(self, trial: Played) -> None:
        trial.ending = self._how_whole(trial)
        if trial.ending == "complete":
            ends = [curve[-1] for curve in trial.curves.values()]
            weights = [end.n_val for end in ends]
            trial.value = float(np.average([end.value for end in ends], weights=weights))
            trial.loss = float(np.average([end.val_loss for end in ends], weights=weights))

    def _how_whole(self, trial: Played) -> str:
        for fold in range(self._folds):
            before, curve = trial.work, trial.curves.setdefault(fold, [])
            for record in self._play(trial.schedule, fold, 1.0):
                curve.append(record)
                trial.work = before + record.work
                epochs = math.ceil(trial.schedule.epochs)
                self._report(trial, len(self._rule.budgets) + fold * epochs + record.epoch, record)
                if why_unstable(record):
                    return "unstable"
                if not trial.spared and self._rule.stops(self.board, trial, fold):
                    return "unpromising"
            if fold + 1 < self._folds and self._stops_between(trial, fold + 1):
                return "unpromising"
        return "complete"

    def _stops_between(self, trial: Played, done: int) -> bool:
        if trial.judged and self._rule.baselines is not None:
            return self._rule.baselines(self.board, trial, done)
        return not trial.spared and self._rule.stops_between(self.board, trial, done)

    def _report(self, trial: Played, step: int, record: EpochRecord) -> None:
        if trial.asked is not None and record.is_finite:
            trial.asked.report(record.value, step)

    def _tell(self, trial: Played) -> None:
        if trial.asked is None:
            return
        assert self._study is not None
        trial.asked.set_constraint("stable", 1.0 if trial.ending == "unstable" else 0.0)
        complete = trial.ending == "complete"
        self._study.tell(
            trial.asked,
            trial.value if complete else None,
            state=TrialState.COMPLETE if complete else TrialState.PRUNED,
        )


# On a surrogate


class Cell:
    """A surrogate with its shrunk ones, and the space that is searched."""

    def __init__(self, name: str) -> None:
        depth = read_table(TABLES / f"{DEPTHS[name]}.depth.jsonl.xz")
        self.name = name
        self.surrogates = {1.0: fit_surrogate(read_table(TABLES / f"{name}.breadth.jsonl.xz"), depth)}
        for budget, word in BUDGETS.items():
            path = TABLES / f"{name}.{word}.jsonl.xz"
            if path.exists():
                self.surrogates[budget] = fit_surrogate(read_table(path), depth)
        self.facts = self.surrogates[1.0].facts
        self.space: Space = SpaceSpec.load("default").resolve(self.facts.groups, self.facts.epochs)

    @property
    def regime(self) -> Regime:
        """The one regime that was recorded."""
        return self.surrogates[1.0].regime


class Replay:
    """One draw of a cell, with what was played of it; all rules share it."""

    def __init__(self, cell: Cell, number: int) -> None:
        self.cell, self.number = cell, number
        self.drawn = {budget: one.drawn(number) for budget, one in cell.surrogates.items()}
        labels, train = np.asarray(cell.facts.labels), np.asarray(cell.facts.train)
        nobody = np.zeros(0, dtype=np.int64)
        self.splits = scoring_splits(labels, train, nobody, seed=number, folds=None)
        self.labels = [labels[split.val] for split in self.splits]
        self.play = lru_cache(maxsize=None)(self._play)
        self.full_work = lru_cache(maxsize=None)(self._full_work)

    def _play(self, schedule: Schedule, fold: int, budget: float) -> tuple[EpochRecord, ...]:
        small = schedule if budget == 1 else schedule.scaled(self.drawn[budget].facts.epochs)
        seed = derive(self.number, "fold", fold)
        job = Job(trial=0, fold=fold, seed=seed, schedule=small, regime=self.cell.regime)
        return self.drawn[budget].play(job, self.splits[fold])

    def _full_work(self, schedule: Schedule) -> float:
        split = self.splits[0]
        steps = math.ceil(len(split.train) / self.cell.regime.batch_size)
        shares = self.cell.facts.work_shares
        return run_work(schedule.timetable(steps), shares, n_train=len(split.train), n_val=len(split.val))

    def truths(self, schedules: Sequence[Schedule]) -> Any:
        """Give what they are worth."""
        whole = self.drawn[1.0]
        return whole.truths(whole.place(schedules))

    def search(self, rule: Rule, trials: int) -> Board:
        """Search with a sampler that learns."""
        study = optuna.create_study(
            direction="maximize", pruner=rule.pruner(len(self.splits) * math.ceil(self.cell.facts.epochs))
        )
        search = Search(rule, self.play, self.labels, self.full_work, arms_of(self.cell.space), study)
        proposals = Proposals(
            study, self.cell.space, "tpe", self.number, lambda: [result_of(t) for t in search.board.trials]
        )
        proposals.enqueue_baselines(baseline_quota(trials))
        for number in range(trials):
            proposal = proposals.ask()
            search.run(played(number, proposal.schedule, proposal.baseline, self.cell.regime, proposal.trial))
        search.end()
        return search.board

    def search_given(self, rule: Rule, given: Sequence[Played]) -> Board:
        """Search among the schedules that another search was proposed."""
        pruner = rule.pruner(len(self.splits) * math.ceil(self.cell.facts.epochs))
        study = optuna.create_study(direction="maximize", pruner=pruner) if pruner else None
        search = Search(rule, self.play, self.labels, self.full_work, arms_of(self.cell.space), study)
        for one in given:
            asked = study.ask() if study else None
            search.run(played(one.number, one.schedule, one.baseline, self.cell.regime, asked))
        search.end()
        return search.board


def played(number: int, schedule: Schedule, baseline: str | None, regime: Regime, asked: Any) -> Played:
    """Begin a trial."""
    return Played(
        number, schedule, settings_digest(schedule, regime), arm_of(schedule), baseline=baseline, asked=asked
    )


@lru_cache(maxsize=4096)
def _result(number: int, schedule: Schedule) -> TrialResult:
    return TrialResult(number=number, recipe="", schedule=schedule, regime=Regime(), ending=Ending.UNFINISHED)


def result_of(trial: Played) -> TrialResult:
    """Give what ``Proposals`` counts arms by."""
    return _result(trial.number, trial.schedule)


def thaw_of(trial: Played) -> float:
    """Share of the run before the last thaw."""
    timetable = trial.schedule.timetable(STEPS)
    return timetable.last_unfreeze / timetable.total_steps


def play_all(given: argparse.Namespace) -> None:
    """Play what is missing."""
    cell = Cell(given.cell)
    known = given.lines.read_text().splitlines() if given.lines.exists() else []
    done = {(line["cell"], line["number"], line["rule"]) for line in map(json.loads, known)}
    with given.lines.open("a", encoding="utf-8") as stream:
        for number in range(given.first, given.first + given.replays):
            missing = [
                name
                for name in given.rules
                if (cell.name, number, name) not in done
                and set(RULES[name]().budgets) <= set(cell.surrogates)
            ]
            if not missing:
                continue
            replay = Replay(cell, number)
            whole = replay.search(RULES["none"](), given.trials) if given.fixed else None
            for name in missing:
                began = time.perf_counter()
                rule = RULES[name]()
                board = (
                    replay.search_given(rule, whole.trials) if whole else replay.search(rule, given.trials)
                )
                truths = replay.truths([one.schedule for one in board.trials])
                line = line_of(cell.name, number, name, board, truths)
                line["seconds"] = round(time.perf_counter() - began, 3)
                stream.write(json.dumps(line) + "\n")
            stream.flush()


def line_of(cell: str, number: int, rule: str, board: Board, truths: Sequence[float]) -> dict[str, Any]:
    """Say what came of a search."""
    complete = [one for one in board.trials if one.ending == "complete"]
    return {
        "cell": cell,
        "number": number,
        "rule": rule,
        "work": sum(one.work for one in board.trials),
        "full": sum(one.full_work for one in board.trials),
        "chosen": max(complete, key=lambda one: one.rank).number,
        "truths": [round(float(value), 5) for value in truths],
        "endings": "".join(one.ending[2] for one in board.trials),  # m, p (unpromising), s (unstable)
        "kinds": "".join(kind_of(one) for one in board.trials),
        "thaws": [round(thaw_of(one), 2) for one in board.trials],
    }


def kind_of(trial: Played) -> str:
    """Name what matters for its pruning: Baseline, Long warm-up, Short one, trained at Once, Head alone."""
    if trial.baseline:
        return "B"
    if trial.schedule.unfreeze_depth == 0:
        return "H"
    share = trial.schedule.warmup_epochs / trial.schedule.epochs
    return "L" if share >= LONG - 1e-9 else "S" if share > 0 else "O"


# The report


def print_report(given: argparse.Namespace) -> None:
    """Print a table of the rules over all cells, and one for each."""
    lines = [json.loads(line) for path in given.lines for line in path.read_text().splitlines()]
    cells = sorted({line["cell"] for line in lines})
    print_rules(lines, given.like)
    for cell in cells if given.cells else ():
        print(f"\n### {cell}\n")
        print_rules([line for line in lines if line["cell"] == cell], given.like)


def print_rules(lines: Sequence[dict[str, Any]], like: str) -> None:
    """Print a row for each rule, what it costs and whom it ends; differences are paired by replay."""
    by_rule: dict[str, dict[tuple[str, int], dict[str, Any]]] = {}
    for line in lines:
        by_rule.setdefault(line["rule"], {})[line["cell"], line["number"]] = line
    base = by_rule[like]
    head(
        (
            "rule",
            "n",
            "share of full work",
            "regret, points",
            f"chosen less that of *{like}*",
            "best survives",
        )
    )
    for rule, of_rule in by_rule.items():
        shared = sorted(base.keys() & of_rule.keys())
        rows = [of_rule[key] for key in shared]
        work = [row["work"] / row["full"] for row in rows]
        regret = [max(row["truths"]) - row["truths"][row["chosen"]] for row in rows]
        gain = [
            row["truths"][row["chosen"]] - base[key]["truths"][base[key]["chosen"]]
            for key, row in zip(shared, rows, strict=True)
        ]
        cells = (
            f"{np.mean(work):.3f} ± {standard_error(work):.3f}",
            f"{100 * np.mean(regret):.2f} ± {100 * standard_error(regret):.2f}",
            f"{100 * np.mean(gain):+.2f} ± {100 * standard_error(gain):.2f}",
            kept([done for row in rows for *_, done in fates(row, 1)]),
        )
        print(f"| {rule} | {len(rows)} | {' | '.join(cells)} |")
    print("\nOf those that are truly best, baselines left out, how many are trained to their end:\n")
    groups = ("long warm-up", "late last thaw", "early last thaw")
    head(("rule", *(f"{of}: {group}" for of in ("the best", "the best three") for group in groups)))
    for rule, of_rule in by_rule.items():
        cells = []
        for n in (1, 3):
            found = [fate for row in of_rule.values() for fate in fates(row, n) if fate[0] != "B"]
            cells += [
                kept([done for kind, _, done in found if kind == "L"]),
                kept([done for _, late, done in found if late]),
                kept([done for _, late, done in found if not late]),
            ]
        print(f"| {rule} | {' | '.join(cells)} |")


def head(names: Sequence[str]) -> None:
    """Print the first lines of a table."""
    print(f"| {' | '.join(names)} |\n|---{'|---:' * (len(names) - 1)}|")


def fates(row: dict[str, Any], n: int) -> list[tuple[str, bool, bool]]:
    """Give kind, whether it thaws late, and whether it was trained to its end, of the truly best trials."""
    best = [int(at) for at in np.argsort(row["truths"], kind="stable")[::-1][:n]]
    return [(row["kinds"][at], row["thaws"][at] >= LONG - 1e-9, row["endings"][at] == "m") for at in best]


def kept(flags: Sequence[bool]) -> str:
    """Write a share with its 95 % interval (Clopper and Pearson) and the number."""
    n, k = len(flags), sum(flags)
    if not n:
        return "–"
    low = beta.ppf(0.025, k, n - k + 1) if k else 0.0
    high = beta.ppf(0.975, k + 1, n - k) if k < n else 1.0
    return f"{k / n:.0%} ({low:.0%}–{high:.0%}, {n})"


def standard_error(values: Sequence[float]) -> float:
    """Give the standard error of a mean."""
    return float(np.std(values, ddof=1) / math.sqrt(len(values))) if len(values) > 1 else math.nan


if __name__ == "__main__":
    main()
