"""What a search costs until it is as good as plain Optuna over a strong loop by hand is at its end.

    python benchmarks/search_cost.py pace   DATA MODEL WEIGHTS OUT.json [--image-size 96]
    python benchmarks/search_cost.py play   CELL LINES.jsonl [--replays 200] [--trials 50] [--confirm 12]
        [--searches NAME…] [--pace FILE]
    python benchmarks/search_cost.py report LINES.jsonl…

Three searches by hand: Optuna's TPE as it comes, without pruning; the same with its Hyperband pruner, told
every epoch; random search. Their loop is a strong one: decoded images in memory, frozen layers in eval mode
and without gradients, but run for every batch. The fourth is autofreeze's own, as ``search`` runs it. All
have the same space, number of trials, folds and seeds of heads and orders.

``play`` plays them on the surrogate of a cell's recorded tables (``benchmarks/replay``), where the worth of
a schedule is known: each replay draws other images and another landscape. Costs are forward-equivalents that
are really computed (what is frozen counts once for each store that is filled), and seconds by a ``pace`` that
was measured on a model. A search's quality after a trial is what the schedule is worth that it would choose
then. Everything is confirmed by the same rules. ``report`` prints Markdown.
"""

import argparse
import json
import math
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from cells import DEPTHS, TABLES
from optuna.trial import TrialState

from autofreeze import recipes
from autofreeze.confirm import Confirming
from autofreeze.cost import run_work
from autofreeze.courses import Course, Ledger, Sizes, course_of
from autofreeze.executors.protocol import Event, Failed, Finished
from autofreeze.executors.replay import ReplayExecutor
from autofreeze.finalists import choose_finalists
from autofreeze.imagescoring import FreshImageScoring, ImageScoring
from autofreeze.job import Job
from autofreeze.plan import Border, Pace
from autofreeze.recorded.fitting import fit_surrogate
from autofreeze.recorded.surrogate import Surrogate
from autofreeze.recorded.tables import read_table
from autofreeze.regime import Regime
from autofreeze.results import Ending, TrialResult, rank
from autofreeze.run import RunFolder
from autofreeze.schedule import Schedule
from autofreeze.seeds import derive
from autofreeze.space import Space, SpaceSpec
from autofreeze.splits import Split, scoring_splits
from autofreeze.study import Limits, Study

DELTA = 0.01
BY_HAND = ("tpe", "hyperband", "random")
OURS = {"autofreeze": (1, 1), "autofreeze, 4 candidates": (1, 4), "autofreeze, thrice the trials": (3, 1)}
"""Search -> times as many trials, and draws among which each is chosen."""

UNITS = ("work", "seconds")
RESAMPLES = 200
NEAR = 0.005
"""Half a point: a quality that is told beside the full one."""


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    pace = commands.add_parser("pace")
    for argument in ("data", "model", "weights"):
        pace.add_argument(argument)
    pace.add_argument("out", type=Path)
    pace.add_argument("--image-size", type=int, default=96)
    play = commands.add_parser("play")
    play.add_argument("cell", choices=sorted(DEPTHS))
    play.add_argument("lines", type=Path)
    play.add_argument("--replays", type=int, default=200)
    play.add_argument("--first", type=int, default=1)
    play.add_argument("--trials", type=int, default=50)
    play.add_argument("--confirm", type=int, default=12)
    play.add_argument("--searches", nargs="+", default=[*BY_HAND, *OURS], choices=[*BY_HAND, *OURS])
    play.add_argument("--pace", type=Path, default=TABLES / "mobilenetv2_100.pace.json")
    report = commands.add_parser("report")
    report.add_argument("lines", type=Path, nargs="+")
    given = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    {"pace": measure_pace, "play": play_all, "report": print_report}[given.command](given)


# Costs


def measure_pace(given: argparse.Namespace) -> None:
    """Measure how long a model takes at each border, as the plan of a search does."""
    import torch

    from autofreeze.pacing import measure
    from autofreeze.task import Task
    from autofreeze.trial import Workbench

    torch.set_num_threads(1)
    task = Task(
        data=given.data, model=given.model, weights=given.weights, image_size=given.image_size, threads=1
    )
    given.out.write_text(measure(Workbench.open(task), Regime()).pace.model_dump_json(indent=1) + "\n")


def unit_pace(shares: Sequence[float]) -> Pace:
    """Give a pace whose seconds are forward-equivalents."""
    borders = (
        Border(
            name=str(column),
            prefix=sum(shares[:column]),
            step=3 * sum(shares[column:]),
            val=sum(shares[column:]),
        )
        for column in range(len(shares))
    )
    return Pace(borders=tuple(borders))


class Purse:
    """What one search has spent, in work and in seconds.

    Args:
        paces: Unit -> pace.
        sizes: Of the data.
        stores: Whether what is frozen is computed once; else it runs for every batch.
    """

    def __init__(self, paces: dict[str, Pace], sizes: Sizes, *, stores: bool) -> None:
        self._paces, self._sizes = paces, sizes
        self._ledgers = {
            unit: Ledger(pace if stores else pace.model_copy(update={"setup": 0.0}), sizes, stores=stores)
            for unit, pace in paces.items()
        }
        self.spent = dict.fromkeys(paces, 0.0)

    def pay(self, job: Job, epochs: int) -> None:
        """Enter a run that ended after some epochs."""
        if not epochs:
            return
        for unit, ledger in self._ledgers.items():
            course: Course = course_of(job.schedule, job.regime, self._paces[unit], self._sizes)
            self.spent[unit] += ledger.run(course, epochs)


class PayingExecutor:
    """Plays jobs, and pays for what each was run.

    Args:
        played: Plays them.
        purse: Who pays.
    """

    capacity = 1

    def __init__(self, played: ReplayExecutor, purse: Purse) -> None:
        self._played, self._purse = played, purse
        self._epochs: dict[str, int] = {}

    def submit(self, job: Job) -> None:
        """Take a job in hand."""
        self._epochs[job.key] = 0
        self._played.submit(job)

    def next_event(self) -> Event:
        """Give what happens next."""
        event = self._played.next_event()
        if isinstance(event, Finished | Failed):
            self._pay(event.job)
        else:
            self._epochs[event.job.key] += 1
        return event

    def stop(self, job: Job) -> None:
        """Let a job go."""
        self._pay(job)
        self._played.stop(job)

    def _pay(self, job: Job) -> None:
        self._purse.pay(job, self._epochs.pop(job.key, 0))


# A replay


@dataclass
class World:
    """One draw of a cell: its images, folds and truth."""

    surrogate: Surrogate
    space: Space
    number: int
    paces: dict[str, Pace]
    planned: int
    """Fresh seeds of a confirmation, at most."""

    splits: tuple[Split, ...] = field(init=False)
    fresh: dict[int, Split] = field(default_factory=dict)

    def __post_init__(self) -> None:
        facts = self.surrogate.facts
        self.metric = facts.metric
        self.labels, self.train = np.asarray(facts.labels), np.asarray(facts.train)
        self.nobody = np.zeros(0, dtype=np.int64)
        self.splits = scoring_splits(self.labels, self.train, self.nobody, seed=self.number, folds=None)
        first = self.splits[0]
        self.sizes = Sizes(
            len(first.train),
            len(first.val),
            len(self.splits),
            n_stored=len(np.union1d(first.train, first.val)),
        )
        self.scoring = ImageScoring.of(self.metric, self.labels, self.splits)

    def split_of(self, job: Job) -> Split:
        """Which images a job trains on and is scored on."""
        if job.fresh is None:
            return self.splits[job.fold]
        if job.fresh not in self.fresh:
            cut = scoring_splits(self.labels, self.train, self.nobody, seed=job.seed, folds=1)[0]
            self.fresh[job.fresh] = cut
        return self.fresh[job.fresh]

    def truth(self, trial: TrialResult) -> float:
        """Give what a schedule is worth."""
        return self.surrogate.truth(trial.schedule, trial.regime)

    def run_work(self, schedule: Schedule, regime: Regime) -> float:
        """Forward-equivalents of one run on a fold."""
        timetable = schedule.timetable(math.ceil(self.sizes.n_train / regime.batch_size))
        shares = self.surrogate.facts.work_shares
        return run_work(timetable, shares, n_train=self.sizes.n_train, n_val=self.sizes.n_val)

    def purse(self, *, stores: bool) -> Purse:
        """Give an empty one."""
        return Purse(self.paces, self.sizes, stores=stores)

    def executor(self, purse: Purse) -> PayingExecutor:
        """Give one that plays this world."""
        return PayingExecutor(ReplayExecutor(self.surrogate.player(self.split_of)), purse)


@dataclass
class Way:
    """How a search went, trial by trial."""

    purse: Purse
    truths: list[float] = field(default_factory=list)
    """Worth of what it would choose after each trial; 0 while nothing is complete."""

    costs: dict[str, list[float]] = field(default_factory=lambda: {"work": [], "seconds": []})
    results: list[TrialResult] = field(default_factory=list)

    def note(self, world: World, results: Sequence[TrialResult]) -> None:
        """Take note of where it stands after a trial."""
        complete = [one for one in results if one.ending is Ending.COMPLETE]
        self.truths.append(world.truth(max(complete, key=rank)) if complete else 0.0)
        for unit, spent in self.purse.spent.items():
            self.costs[unit].append(round(spent, 3))


def by_hand(world: World, kind: str, trials: int) -> tuple[Way, dict[int, list[Any]]]:
    """Search as somebody does who knows Optuna; gives the ends of each complete trial beside."""
    epochs, folds = math.ceil(world.space.epochs), len(world.splits)
    seed = derive(world.number, "by hand")
    samplers = {"random": optuna.samplers.RandomSampler}
    pruner = (
        optuna.pruners.HyperbandPruner(min_resource=1, max_resource=epochs * folds)
        if kind == "hyperband"
        else optuna.pruners.NopPruner()
    )
    study = optuna.create_study(
        direction="maximize",
        sampler=samplers.get(kind, optuna.samplers.TPESampler)(seed=seed),
        pruner=pruner,
    )
    way, ends_of = Way(world.purse(stores=False)), {}
    player = world.surrogate.player(world.split_of)
    for number in range(trials):
        trial = study.ask()
        schedule, regime = world.space.suggest(trial)
        ends = []
        state = TrialState.COMPLETE
        for fold in range(folds):
            job = Job(
                trial=number,
                fold=fold,
                seed=derive(world.number, "fold", fold),
                schedule=schedule,
                regime=regime,
            )
            done = 0
            for record in player(job):
                done += 1
                if not record.is_finite:
                    state = TrialState.FAIL
                    break
                trial.report(record.value, fold * epochs + record.epoch)
                if trial.should_prune():
                    state = TrialState.PRUNED
                    break
                if record.last:
                    ends.append(record)
            way.purse.pay(job, done)
            if state is not TrialState.COMPLETE:
                break
        way.results.append(
            result_of(world, number, schedule, regime, ends, complete=state is TrialState.COMPLETE)
        )
        ends_of[number] = ends
        study.tell(trial, way.results[-1].value, state=state)
        way.note(world, way.results)
    return way, ends_of


def result_of(
    world: World, number: int, schedule: Any, regime: Any, ends: list[Any], *, complete: bool
) -> TrialResult:
    """Write a trial by hand as the product writes its own."""
    scored = dict(world.scoring.score(ends)) if complete else {}
    return TrialResult(
        number=number, recipe=recipes.name_of(schedule), schedule=schedule, regime=regime,
        ending=Ending.COMPLETE if complete else Ending.UNPROMISING,
        work=sum(end.work for end in ends), **scored,
    )  # fmt: skip


@contextmanager
def run_folder(world: World) -> Iterator[RunFolder]:
    """Open a run folder in memory for a while."""
    root = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
    try:
        with RunFolder(root / "run", {"replayed": world.number}) as folder:
            yield folder
    finally:
        shutil.rmtree(root, ignore_errors=True)


class Noting:
    """Takes note after every trial of a study."""

    def __init__(self, world: World, way: Way) -> None:
        self._world, self._way = world, way

    def trial_started(self, trial: object) -> None:
        """Nothing to note."""

    def epoch_done(self, trial: object, record: object) -> None:
        """Nothing to note."""

    def trial_ended(self, result: TrialResult) -> None:
        """Note what would be chosen now."""
        self._way.results.append(result)
        self._way.note(self._world, self._way.results)


def ours(world: World, trials: int, candidates: int) -> tuple[Way, dict[str, Any]]:
    """Search as autofreeze does, and confirm what was found."""
    way = Way(world.purse(stores=True))
    with run_folder(world) as folder:
        study = Study(
            folder, world.space, world.executor(way.purse), scoring=world.scoring, seed=world.number,
            sampler="tpe", observer=Noting(world, way), run_work=world.run_work, candidates=candidates,
        )  # fmt: skip
        study.search(Limits(trials))
        finalists = study.finalists()
    return way, confirmed(world, finalists, way.purse)


def confirmed(world: World, finalists: Any, purse: Purse) -> dict[str, Any]:
    """Confirm on fresh seeds; gives what is chosen and what it cost."""
    if not finalists:
        return {"truth": 0.0, "work": 0.0, "seconds": 0.0, "seeds": 0}
    before = dict(purse.spent)
    with run_folder(world) as folder:
        found = Confirming(
            folder, world.executor(purse), finalists,
            scoring=FreshImageScoring(
                world.metric, world.labels, world.split_of, n_classes=len(world.surrogate.facts.classes)
            ),
            seed=world.number, planned=world.planned, delta=DELTA,
        ).confirm()  # fmt: skip
    chosen = next((one.trial for one in finalists if one.trial.number == found.chosen), finalists[0].trial)
    return {
        "truth": world.truth(chosen),
        "seeds": found.seeds,
        "candidates": len(finalists),
        **{unit: round(spent - before[unit], 3) for unit, spent in purse.spent.items()},
    }


def play_all(given: argparse.Namespace) -> None:
    """Play the replays that are missing."""
    surrogate = fit_surrogate(
        read_table(TABLES / f"{given.cell}.breadth.jsonl.xz"),
        read_table(TABLES / f"{DEPTHS[given.cell]}.depth.jsonl.xz"),
    )
    facts = surrogate.facts
    space = SpaceSpec.load("default").resolve(facts.groups, facts.epochs)
    paces = {
        "work": unit_pace(facts.work_shares),
        "seconds": Pace.model_validate_json(given.pace.read_text(encoding="utf-8")),
    }
    known = given.lines.read_text().splitlines() if given.lines.exists() else []
    done = {(line["cell"], line["number"], line["search"]) for line in map(json.loads, known)}
    with given.lines.open("a", encoding="utf-8") as stream:
        for number in range(given.first, given.first + given.replays):
            missing = [name for name in given.searches if (given.cell, number, name) not in done]
            world = World(surrogate.drawn(number), space, number, paces, given.confirm)
            for name in missing:
                began = time.perf_counter()
                line = {"cell": given.cell, "number": number, "search": name, "trials": given.trials,
                        "planned": given.confirm, "folds": len(world.splits),
                        **play(world, name, given.trials),
                        "wall_seconds": round(time.perf_counter() - began, 2)}  # fmt: skip
                stream.write(json.dumps(line) + "\n")
                stream.flush()
                print(number, name, line["wall_seconds"], flush=True)


def play(world: World, name: str, trials: int) -> dict[str, Any]:
    """Search in one of the ways, and confirm where that is compared."""
    if name not in BY_HAND:
        times, candidates = OURS[name]
        way, found = ours(world, times * trials, candidates)
        counted = {ending.value: sum(one.ending is ending for one in way.results) for ending in Ending}
        return told(way, found) | {"endings": counted}
    way, ends = by_hand(world, name, trials)
    if name != "tpe":
        return told(way, None)
    whole = {number: own for number, own in ends.items() if len(own) == len(world.splits)}
    merits = {number: world.scoring.merits(own) for number, own in whole.items()}
    return told(way, confirmed(world, choose_finalists(way.results, merits), way.purse))


def told(way: Way, found: dict[str, Any] | None) -> dict[str, Any]:
    """Put a search into a line."""
    line = {"truths": [round(truth, 5) for truth in way.truths], **way.costs}
    return line if found is None else line | {"confirmed": found}


# The report


Replay = dict[str, dict[str, Any]]
"""Search -> its line."""


@dataclass(frozen=True)
class Curves:
    """All replays of one search, one below the other."""

    truths: Any
    """(replays, trials)."""

    costs: Any
    """(replays, trials), in one unit."""

    @classmethod
    def of(cls, replays: Sequence[Replay], name: str, unit: str) -> "Curves":
        """Read a search from lines."""
        own = [replay[name] for replay in replays]
        return cls(np.array([one["truths"] for one in own]), np.array([one[unit] for one in own]))

    def at(self, costs: Any) -> Any:
        """Give what each replay would choose at some costs, (replays, costs); 0 before any trial ends."""
        rows = []
        for truths, spent in zip(self.truths, self.costs, strict=True):
            place = np.searchsorted(spent, costs, side="right") - 1
            rows.append(np.where(place < 0, 0.0, truths[np.maximum(place, 0)]))
        return np.array(rows)

    def until(self, quality: float) -> float:
        """Give the cost at which the mean over the replays is as good as asked for; infinite if never."""
        costs = np.unique(self.costs)
        costs = costs[:: max(len(costs) // 2000, 1)]
        good = np.flatnonzero(self.at(costs).mean(0) >= quality)
        return float(costs[good[0]]) if len(good) else math.inf


def print_report(given: argparse.Namespace) -> None:
    """Print what was measured, for each cell, and for all of them together."""
    lines = [json.loads(line) for file in given.lines for line in file.read_text().splitlines()]
    cells: dict[str, dict[int, Replay]] = {}
    for line in lines:
        cells.setdefault(line["cell"], {}).setdefault(line["number"], {})[line["search"]] = line
    names = [name for name in (*BY_HAND, *OURS) if any(line["search"] == name for line in lines)]
    own, every = [name for name in names if name in OURS], []
    for cell, found in sorted(cells.items()):
        whole = [replay for replay in found.values() if replay.keys() >= set(names)]
        every += whole
        print_cell(cell, whole, own)
    if len(cells) > 1:
        print_cell("all of them", every, own)


def print_cell(cell: str, replays: list[Replay], own: Sequence[str]) -> None:
    """Print one cell."""
    first = replays[0]["tpe"]
    print(
        f"### {cell}: {len(replays)} replays, {first['trials']} trials, {first['folds']} folds, at most "
        f"{first['planned']} fresh seeds\n"
    )
    quality = Curves.of(replays, "tpe", "work").truths[:, -1]
    print("| search | worth of its choice | less plain TPE's | work | seconds |\n|---|---|---|---|---|")
    for name in (*BY_HAND, *own):
        ends = Curves.of(replays, name, "work").truths[:, -1]
        costs = [np.mean(Curves.of(replays, name, unit).costs[:, -1]) for unit in UNITS]
        cells = (
            name,
            f"{100 * ends.mean():.2f}",
            points(ends - quality),
            *(f"{cost:,.0f}" for cost in costs),
        )
        print(f"| {' | '.join(cells)} |")
    for name in own:
        print(f"\n| {name}, times less than | what | work | seconds |\n|---|---|---|---|")
        for other in BY_HAND:
            for less, words in ((0.0, "until as good as it"), (NEAR, "until half a point below it"),
                                (2 * NEAR, "until a point below it")):  # fmt: skip
                row(
                    replays,
                    f"{other} | {words}, search only",
                    partial(saved, own=name, name=other, less=less),
                )
            row(
                replays,
                f"{other} | the whole search, as many trials",
                partial(whole_search, own=name, name=other),
            )
        row(replays, "tpe, confirmed | until as good as it, and confirmed", partial(both, own=name))
        row(replays, "tpe, confirmed | the whole search, and confirmed", partial(both, own=name, whole=True))
        gained = [r[name]["confirmed"]["truth"] - r["tpe"]["confirmed"]["truth"] for r in replays]
        print(f"\nConfirmed choice less that of plain TPE: {points(np.array(gained))} points.")
        print_each(replays, name)


def row(replays: list[Replay], words: str, measure: Callable[..., float]) -> None:
    """Print a ratio in both units."""
    cells = [interval(replays, partial(measure, unit=unit)) for unit in UNITS]
    print(f"| {words} | {' | '.join(cells)} |")


def saved(replays: list[Replay], *, own: str, name: str, unit: str, less: float) -> float:
    """Give how many times less is spent until the mean quality is that of another search at its end."""
    other = Curves.of(replays, name, unit)
    until = Curves.of(replays, own, unit).until(other.truths[:, -1].mean() - less)
    return float(other.costs[:, -1].mean()) / until


def whole_search(replays: list[Replay], *, own: str, name: str, unit: str) -> float:
    """Give how many times less is spent on as many trials."""
    costs = [Curves.of(replays, one, unit).costs[:, -1].mean() for one in (name, own)]
    return float(costs[0] / costs[1])


def both(replays: list[Replay], *, own: str, unit: str, whole: bool = False) -> float:
    """Give the same with both confirmed."""
    spent = [np.mean([replay[name]["confirmed"][unit] for replay in replays]) for name in ("tpe", own)]
    plain, ours = Curves.of(replays, "tpe", unit), Curves.of(replays, own, unit)
    until = ours.costs[:, -1].mean() if whole else ours.until(plain.truths[:, -1].mean())
    return float((plain.costs[:, -1].mean() + spent[0]) / (until + spent[1]))


def print_each(replays: list[Replay], own: str) -> None:
    """Print how single replays compare: where a search reaches what the other reached in that replay."""
    print(
        "\n| replay by replay, until as good as plain TPE | reach it | 1st quarter | median | 3rd quarter |"
    )
    print("|---|---|---|---|---|")
    for unit in UNITS:
        plain, ours = Curves.of(replays, "tpe", unit), Curves.of(replays, own, unit)
        ratios = []
        for truths, costs, quality, spent in zip(
            ours.truths, ours.costs, plain.truths[:, -1], plain.costs[:, -1], strict=True
        ):
            good = np.flatnonzero(truths >= quality)
            ratios.append(spent / costs[good[0]] if len(good) else 0.0)
        quarters = [f"{quarter:.1f}×" for quarter in np.quantile(ratios, [0.25, 0.5, 0.75])]
        print(f"| {unit} | {np.mean(np.array(ratios) > 0):.0%} | {' | '.join(quarters)} |")
    print()


def interval(replays: list[Replay], measure: Callable[[list[Replay]], float]) -> str:
    """Write a ratio with a 95 % bootstrap interval over the replays; 0 where a quality is never reached."""
    rng, n = np.random.default_rng(0), len(replays)
    drawn = [measure([replays[place] for place in rng.integers(n, size=n)]) for _ in range(RESAMPLES)]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return f"{measure(replays):.1f}× ({low:.1f}–{high:.1f})"


def points(values: Any) -> str:
    """Write a mean and its standard error in points."""
    error = float(np.std(values, ddof=1) / math.sqrt(len(values))) if len(values) > 1 else math.nan
    return f"{100 * float(np.mean(values)):+.2f} ± {100 * error:.2f}"


if __name__ == "__main__":
    main()
