"""What a warm start is worth: searches on a surrogate of recorded runs, with and without one.

    python benchmarks/warm_start.py play   SOURCE TARGET DEPTH LINES.jsonl [--searches 100] [--trials 24]
    python benchmarks/warm_start.py report LINES.jsonl

For each replay a search is played on the surrogate of SOURCE; what won there (unconfirmed, three at most)
begins a search on the surrogate of TARGET, beside the same search without it: same seed, same images. Both
surrogates take their luck from the depth table DEPTH. Told is after how many trials the best so far is within
half a point of the best of all trials of both, by the truth that only the surrogate knows, and the truth of
the best trial at the end. It goes on where it was.
"""

import argparse
import json
import math
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna

from autofreeze.executors.replay import ReplayExecutor
from autofreeze.imagescoring import ImageScoring
from autofreeze.recorded.fitting import fit_surrogate
from autofreeze.recorded.surrogate import Surrogate
from autofreeze.recorded.tables import read_table
from autofreeze.results import Ending, StudyResult, TrialResult, rank
from autofreeze.run import RunFolder
from autofreeze.space import Space, SpaceSpec
from autofreeze.splits import scoring_splits
from autofreeze.study import Limits, Study
from autofreeze.warmstart import Earlier, WarmStart, gather

NEAR = 0.005
"""Half a point."""


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    play = commands.add_parser("play")
    for name in ("source", "target", "depth"):
        play.add_argument(name)
    play.add_argument("lines", type=Path)
    play.add_argument("--searches", type=int, default=100)
    play.add_argument("--trials", type=int, default=24)
    report = commands.add_parser("report")
    report.add_argument("lines", type=Path)
    given = parser.parse_args()
    {"play": play_all, "report": print_report}[given.command](given)


def play_all(given: argparse.Namespace) -> None:
    """Play the replays that are missing."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    depth = read_table(given.depth)
    source, target = (fit_surrogate(read_table(one), depth) for one in (given.source, given.target))
    space = SpaceSpec.load("default").resolve(target.facts.groups, target.facts.epochs)
    known = given.lines.read_text().splitlines() if given.lines.exists() else []
    done = {json.loads(line)["number"] for line in known}
    with given.lines.open("a", encoding="utf-8") as stream:
        for number in range(1, given.searches + 1):
            if number in done:
                continue
            line = {"number": number, "source": given.source, "target": given.target, "trials": given.trials}
            stream.write(json.dumps(line | replay(source, target, space, number, given.trials)) + "\n")
            stream.flush()


def replay(source: Surrogate, target: Surrogate, space: Space, number: int, trials: int) -> dict[str, Any]:
    """Search on the source, then on the target with and without what won."""
    before = searched(source.drawn(number), space, number, trials, ())
    result = StudyResult(
        data={}, backbone={"work_shares": source.facts.work_shares}, settings={}, trials=before,
        metric=source.facts.metric, seconds=0.0,
    )  # fmt: skip
    starts = gather([Earlier("source", result)], space, target.facts.work_shares, trials).taken
    drawn = target.drawn(number)
    found = {
        name: searched(drawn, space, number + 1_000_000, trials, begins)
        for name, begins in (("cold", ()), ("warm", starts))
    }
    truths = {
        name: [
            drawn.truth(one.schedule, one.regime) if one.ending is Ending.COMPLETE else -1.0
            for one in results
        ]
        for name, results in found.items()
    }
    goal = max(max(one) for one in truths.values()) - NEAR
    return {
        "starts": len(starts),
        "until": {name: until(one, goal) for name, one in truths.items()},
        "best": {name: drawn.truth(best(one).schedule, best(one).regime) for name, one in found.items()},
        "won": best(found["warm"]).warm_start is not None,
    }


def searched(
    surrogate: Surrogate, space: Space, seed: int, trials: int, starts: Sequence[WarmStart]
) -> tuple[TrialResult, ...]:
    """Play a search."""
    facts = surrogate.facts
    labels, train = np.asarray(facts.labels), np.asarray(facts.train)
    splits = scoring_splits(labels, train, np.zeros(0, dtype=np.int64), seed=seed, folds=None)
    executor = ReplayExecutor(surrogate.player(lambda job: splits[job.fold]))
    root = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
    try:
        with RunFolder(root / "run", {"replayed": seed}) as folder:
            study = Study(
                folder, space, executor, scoring=ImageScoring.of(facts.metric, labels, splits), seed=seed,
                sampler="tpe", warm_starts=starts,
            )  # fmt: skip
            study.search(Limits(trials))
            return study.results
    finally:
        shutil.rmtree(root, ignore_errors=True)


def best(results: Sequence[TrialResult]) -> TrialResult:
    """Give the best complete trial by its score, as a search without a confirmation chooses."""
    return max((one for one in results if one.ending is Ending.COMPLETE), key=rank)


def until(truths: Sequence[float], goal: float) -> int | None:
    """Count the trials until one is as good as the goal."""
    return next((turn for turn, truth in enumerate(truths, start=1) if truth >= goal), None)


def print_report(given: argparse.Namespace) -> None:
    """Print what was played, as Markdown."""
    lines = [json.loads(line) for line in given.lines.read_text().splitlines()]
    for pair in dict.fromkeys((line["source"], line["target"]) for line in lines):
        own = [line for line in lines if (line["source"], line["target"]) == pair]
        most = own[0]["trials"]
        print(f"### {Path(pair[0]).name} begins {Path(pair[1]).name}: {len(own)} replays of {most} trials\n")
        print("| | without | with a warm start | difference |\n|---|---|---|---|")
        trials = {
            name: np.array([line["until"][name] or most + 1 for line in own], dtype=float)
            for name in ("cold", "warm")
        }
        values = {name: 100 * np.array([line["best"][name] for line in own]) for name in ("cold", "warm")}
        print(row("trials until within half a point of the best", trials))
        print(row("points of the best trial by score", values))
        reached = [np.mean([line["until"][name] is not None for line in own]) for name in ("cold", "warm")]
        print(f"| searches that come so near | {reached[0]:.0%} | {reached[1]:.0%} | |")
        print(f"\nA warm start won {np.mean([line['won'] for line in own]):.0%} of its searches.\n")


def row(name: str, found: dict[str, Any]) -> str:
    """Write means, and the mean difference with its standard error."""
    gap = found["warm"] - found["cold"]
    error = gap.std(ddof=1) / math.sqrt(len(gap))
    cold, warm = found["cold"].mean(), found["warm"].mean()
    return f"| {name} | {cold:.2f} | {warm:.2f} | {gap.mean():+.2f} ± {error:.2f} |"


if __name__ == "__main__":
    main()
