"""Replay whole searches with their confirmation, and measure what they lose and what they claim.

    python benchmarks/regret.py play   BREADTH DEPTH LINES.jsonl [--searches 200] [--trials 24] [--confirm 24]
    python benchmarks/regret.py real   DEPTH [--times 400]
    python benchmarks/regret.py report BREADTH DEPTH LINES.jsonl

``play`` searches on a surrogate of two recorded tables (``autofreeze/recorded/``), each time on another
draw of images and of the landscape between the recorded schedules, with another seed; a line for each search.
It goes on where it was. ``report`` prints Markdown, the surrogate's own error beside. ``real`` needs no
surrogate: it chooses among the schedules of a depth table by some of its seeds, and takes the rest for the
truth.
"""

import argparse
import json
import math
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import optuna

from autofreeze import recipes
from autofreeze.baselines import BASELINES, baselines, tuned_rate, with_rate
from autofreeze.confirm import Confirming
from autofreeze.confirmation import arm_of
from autofreeze.executors.replay import ReplayExecutor
from autofreeze.imagescoring import FreshImageScoring, ImageScoring
from autofreeze.intervals import mean_interval
from autofreeze.job import Job
from autofreeze.looks import LOOKS, Scored, take_look
from autofreeze.recorded.fidelity import measure_error
from autofreeze.recorded.fitting import fit_surrogate
from autofreeze.recorded.luck import Crossed
from autofreeze.recorded.surrogate import Surrogate
from autofreeze.recorded.tables import read_table
from autofreeze.results import Ending, rank
from autofreeze.run import RunFolder
from autofreeze.seeds import derive
from autofreeze.space import Space, SpaceSpec
from autofreeze.splits import Split, scoring_splits
from autofreeze.study import Limits, Study

DELTA = 0.01
GOAL = 0.003
"""Regret that is small whatever the table knows: 0.3 points."""

SPACE_POINTS = 512
"""Schedules of the space among which the best is looked for."""

TUNED_EVERY = 4
"""Searches for each one beside which the baselines are tuned."""


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    play = commands.add_parser("play")
    report = commands.add_parser("report")
    for command in (play, report):
        command.add_argument("breadth")
        command.add_argument("depth")
        command.add_argument("lines", type=Path)
    play.add_argument("--searches", type=int, default=200)
    play.add_argument("--first", type=int, default=1)
    play.add_argument("--trials", type=int, default=24)
    play.add_argument("--confirm", type=int, default=24)
    play.add_argument("--folds", type=int, default=None)
    play.add_argument("--times", type=int, default=1, help="as many times the images, to score more")
    real_command = commands.add_parser("real")
    real_command.add_argument("depth")
    real_command.add_argument("--times", type=int, default=400)
    given = parser.parse_args()
    {"play": play_all, "report": print_report, "real": print_real}[given.command](given)


# Searches on a surrogate


def play_all(given: argparse.Namespace) -> None:
    """Play the searches that are missing."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    surrogate = fit_surrogate(read_table(given.breadth), read_table(given.depth)).enlarged(given.times)
    space = SpaceSpec.load("default").resolve(surrogate.facts.groups, surrogate.facts.epochs)
    places = surrogate.place(some_schedules(space))
    known = given.lines.read_text().splitlines() if given.lines.exists() else []
    done = {json.loads(line)["number"] for line in known}
    with given.lines.open("a", encoding="utf-8") as stream:
        for number in range(given.first, given.first + given.searches):
            if number in done:
                continue
            began = time.perf_counter()
            line = play_search(surrogate.drawn(number), space, places, number, given)
            line["wall_seconds"] = round(time.perf_counter() - began, 2)
            stream.write(json.dumps(line) + "\n")
            stream.flush()
            print(number, line["wall_seconds"], flush=True)


def some_schedules(space: Space) -> list[Any]:
    """Draw schedules of the space, with a seed of their own."""
    sampler = optuna.samplers.RandomSampler(seed=7)
    study = optuna.create_study(sampler=sampler, direction="maximize")
    return [space.suggest(study.ask())[0] for _ in range(SPACE_POINTS)]


def play_search(
    surrogate: Surrogate, space: Space, places: Any, number: int, given: argparse.Namespace
) -> dict[str, Any]:
    """Search, confirm, and compare with the truth."""
    facts = surrogate.facts
    labels, train = np.asarray(facts.labels), np.asarray(facts.train)
    nobody = np.zeros(0, dtype=np.int64)
    splits = scoring_splits(labels, train, nobody, seed=number, folds=given.folds)
    fresh: dict[int, Split] = {}

    def split_of(job: Job) -> Split:
        if job.fresh is None:
            return splits[job.fold]
        if job.fresh not in fresh:
            fresh[job.fresh] = scoring_splits(labels, train, nobody, seed=job.seed, folds=1)[0]
        return fresh[job.fresh]

    executor = ReplayExecutor(surrogate.player(split_of))
    root = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
    try:
        with RunFolder(root / "run", {"replayed": number}) as folder:
            study = Study(
                folder, space, executor, scoring=ImageScoring.of(facts.metric, labels, splits), seed=number,
                sampler="tpe",
            )  # fmt: skip
            study.search(Limits(given.trials))
            results = study.results
            finalists = study.finalists()
            search_clock = executor.clock
            found = Confirming(
                folder, executor, finalists,
                scoring=FreshImageScoring(facts.metric, labels, split_of, n_classes=len(facts.classes)),
                seed=number, planned=given.confirm, delta=DELTA,
            ).confirm()  # fmt: skip
    finally:
        shutil.rmtree(root, ignore_errors=True)

    truths = {one.number: surrogate.truth(one.schedule, one.regime) for one in results}
    complete = [one for one in results if one.ending is Ending.COMPLETE]
    best = max(complete, key=rank)
    at_best = max([*truths.values(), float(surrogate.truths(places).max())])
    line: dict[str, Any] = {
        "number": number,
        "trials": given.trials,
        "planned": given.confirm,
        "folds": len(splits),
        "images": len(train),
        "endings": {ending.value: sum(one.ending is ending for one in results) for ending in Ending},
        "best_of_space": at_best,
        "best_of_trials": max(truths.values()),
        "best_of_candidates": max(truths[one.trial.number] for one in finalists),
        "unconfirmed": truths[best.number],
        "unconfirmed_score": best.value,
        "clock": [search_clock, executor.clock],
        "seeds": found.seeds,
        "candidates": len(finalists),
        "baselines": {one.baseline: truths[one.number] for one in results if one.baseline},
    }
    if found.chosen is not None:
        chosen = found.winner
        assert chosen is not None
        trial = next(one for one in results if one.number == found.chosen)
        line |= {
            "chosen": truths[found.chosen],
            "chosen_score": trial.value,
            "chosen_mean": [chosen.mean, chosen.standard_error],
            "comparisons": [
                {
                    "true": truths[one.trial] - truths[one.against],
                    "estimate": one.interval.estimate,
                    "low": one.interval.low,
                    "high": one.interval.high,
                    "decision": one.decision,
                    "baseline": next(t.baseline for t in results if t.number == one.against),
                }
                for one in found.comparisons
            ],
        }
    if number % TUNED_EVERY == 0:
        line["tuned"] = tuned(surrogate, space, splits, number, given.trials)
    return line


def tuned(
    surrogate: Surrogate, space: Space, splits: tuple[Split, ...], number: int, trials: int
) -> dict[str, float]:
    """Truth of each baseline at the best of as many rates, scored as trials are."""
    found = {}
    for baseline in baselines(space.n_backbone, space.epochs):
        rates = [tuned_rate(space, turn) for turn in range(trials)]
        schedules = [
            recipes.gradual(space.groups, space.epochs, **with_rate(baseline, rate).params) for rate in rates
        ]
        scores = [
            np.average(
                [
                    surrogate.score(
                        Job(
                            trial=0, fold=fold, seed=derive(number, "fold", fold), schedule=schedule,
                            regime=surrogate.regime,
                        ),
                        split,
                    )
                    for fold, split in enumerate(splits)
                ],
                weights=[len(split.val) for split in splits],
            )
            for schedule in schedules
        ]  # fmt: skip
        found[baseline.name] = surrogate.truth(schedules[int(np.argmax(scores))], surrogate.regime)
    return found


# The report


def print_report(given: argparse.Namespace) -> None:
    """Print what was measured."""
    lines = [json.loads(line) for line in given.lines.read_text().splitlines()]
    breadth, depth = read_table(given.breadth), read_table(given.depth)
    error = measure_error(fit_surrogate(breadth, depth), breadth, depth)
    first, facts = lines[0], breadth.facts
    print(f"### {facts.data}, {facts.model} ({facts.source}), {first['trials']} trials\n")
    print(
        f"{len(lines)} replayed searches, {first.get('images', len(facts.train))} images, "
        f"{first['folds']} folds, at most {first['planned']} fresh seeds; "
        f"±: one standard error over the searches. Points of {facts.metric}.\n"
    )
    confirmed = [line for line in lines if "chosen" in line]
    goal = max(GOAL, error.truth_error)
    print("| | mean | upper 95 % bound |\n|---|---|---|")
    rows = {
        "regret of the confirmed choice, against the best trial": [
            line["best_of_trials"] - line["chosen"] for line in confirmed
        ],
        "the same, against the best candidate": [
            line["best_of_candidates"] - line["chosen"] for line in confirmed
        ],
        f"the same, against the best of {SPACE_POINTS} other schedules of the space too": [
            line["best_of_space"] - line["chosen"] for line in confirmed
        ],
        "regret of the unconfirmed best, against the best trial": [
            line["best_of_trials"] - line["unconfirmed"] for line in lines
        ],
        "the same, against the space": [line["best_of_space"] - line["unconfirmed"] for line in lines],
        "optimism: search score of the unconfirmed best less the truth": [
            line["unconfirmed_score"] - line["unconfirmed"] for line in lines
        ],
        "search score of the confirmed choice less the truth": [
            line["chosen_score"] - line["chosen"] for line in confirmed
        ],
        "confirmed mean less the truth": [line["chosen_mean"][0] - line["chosen"] for line in confirmed],
    }
    for name, values in rows.items():
        print(f"| {name} | {points(values)} | {100 * upper(values):.2f} |")
    key = next(iter(rows))
    reached = "reached" if upper(rows[key]) < goal else "missed"
    print(f"\nGoal for the first line: its bound below {100 * goal:.2f} points: {reached}.\n")
    print_claims(confirmed)
    print_baselines(lines)
    seconds = [line["clock"][1] for line in lines]
    print(
        f"\nA search with its confirmation would take {np.mean(seconds) / 60:.1f} minutes on one core; its "
        f"replay took {np.mean([line['wall_seconds'] for line in lines]):.1f} s.\n\nThe surrogate:\n"
    )
    print("\n".join(error.lines()))


def print_claims(confirmed: list[dict[str, Any]]) -> None:
    """Print how often intervals covered, and how often what was said was false."""
    comparisons = [one for line in confirmed for one in line["comparisons"]]
    covered = [one["low"] <= one["true"] <= one["high"] for one in comparisons]
    whole = [
        all(one["low"] <= one["true"] <= one["high"] for one in line["comparisons"]) for line in confirmed
    ]
    false = [any(is_false(one) for one in line["comparisons"]) for line in confirmed]
    own = [
        abs(line["chosen_mean"][0] - line["chosen"]) <= 1.96 * line["chosen_mean"][1] for line in confirmed
    ]
    print("| | share | |\n|---|---|---|")
    print(f"| intervals of differences that cover the truth | {share(covered)} | {len(covered)} |")
    print(f"| searches all of whose intervals cover | {share(whole)} | {len(whole)} |")
    print(f"| the winner's own mean ± 1.96 s.e. covers | {share(own)} | {len(own)} |")
    print(f"| searches with any false claim | {share(false)} | {len(false)} |")
    for decision in ("better", "worse", "no difference", "undecided"):
        said = [one["decision"] == decision for one in comparisons]
        wrong = [is_false(one) for one in comparisons if one["decision"] == decision]
        print(f"| comparisons that are *{decision}* | {share(said)} | {sum(wrong)} false of {sum(said)} |")
    baseline = [one["decision"] == "undecided" for one in comparisons if one["baseline"]]
    print(f"| of those with a baseline, *undecided* | {share(baseline)} | {len(baseline)} |")
    ends = [line["seeds"] for line in confirmed]
    firm = [any(one["decision"] == "better" for one in line["comparisons"]) for line in confirmed]
    print(f"| searches whose choice is better than something | {share(firm)} | {len(firm)} |")
    print(f"| ended with {', '.join(map(str, LOOKS))} seeds | ", end="")
    print(", ".join(f"{np.mean([end == look for end in ends]):.0%}" for look in LOOKS), "| |")


def print_baselines(lines: list[dict[str, Any]]) -> None:
    """Print what is gained over the baselines, as usually run and tuned."""
    confirmed = [line for line in lines if "chosen" in line]
    print("\n| chosen schedule less the baseline | as usually run | its rate tuned by as many trials |")
    print("|---|---|---|")
    for name in BASELINES:
        usual = [line["chosen"] - line["baselines"][name] for line in confirmed if name in line["baselines"]]
        best = [line["chosen"] - line["tuned"][name] for line in confirmed if "tuned" in line]
        print(f"| {name} | {points(usual)} (n {len(usual)}) | {points(best)} (n {len(best)}) |")
    best = [line["chosen"] - max(line["tuned"].values()) for line in confirmed if "tuned" in line]
    print(f"| the best of the tuned ones, chosen by the truth | | {points(best)} (n {len(best)}) |")


def is_false(one: dict[str, Any]) -> bool:
    """Whether the truth is other than what a comparison says."""
    return {
        "better": one["true"] <= 0,
        "worse": one["true"] >= 0,
        "no difference": abs(one["true"]) > DELTA,
        "undecided": False,
    }[one["decision"]]


def points(values: list[float]) -> str:
    """Write a mean and its standard error in points."""
    if not values:
        return "–"
    return f"{100 * np.mean(values):.2f} ± {100 * standard_error(values):.2f}"


def standard_error(values: list[float]) -> float:
    """Give the standard error of a mean."""
    return float(np.std(values, ddof=1) / math.sqrt(len(values))) if len(values) > 1 else math.nan


def upper(values: list[float]) -> float:
    """Give the upper one-sided 95 % bound of a mean."""
    return float(np.mean(values)) + 1.645 * standard_error(values)


def share(flags: list[bool]) -> str:
    """Write a share and its standard error."""
    if not flags:
        return "–"
    mean = float(np.mean(flags))
    return f"{mean:.1%} ± {math.sqrt(mean * (1 - mean) / len(flags)):.1%}"


# Real runs alone


def print_real(given: argparse.Namespace) -> None:
    """Choose among the schedules of a depth table, by real runs; the seeds left over are the truth.

    A "search" is one run of each schedule with one seed. The confirmation has twelve other seeds, with looks
    at 6 and 12. The truth is the mean over the seeds that are left, at least ten.
    """
    table = read_table(given.depth)
    crossed = Crossed.of(table)
    schedules = list({run.job.settings_digest: run for run in table.runs}.values())
    n_seeds = crossed.right.shape[1]
    if n_seeds < 23:
        print(f"{n_seeds} seeds are too few: one to search by, 12 to confirm, 10 for the truth")
        return
    run = table.runs[0]
    overlap = len(run.val) / run.n_train
    means = np.nanmean(crossed.right, axis=(1, 2))
    best = int(np.argmax(means))
    errors = [mean_interval(rows, overlap=overlap).standard_error for rows in crossed.right]
    unconfirmed, plain, confirmed, optimism, claims = [], [], [], [], []
    rng = np.random.default_rng(0)
    for _ in range(given.times):
        order = rng.permutation(n_seeds)
        search, seeds, rest = order[0], order[1:13], order[13:]
        truth = np.nanmean(crossed.right[:, rest], axis=(1, 2))
        scores = np.nanmean(crossed.right[:, search], axis=1)
        picked = int(np.argmax(scores))
        unconfirmed.append(truth[best] - truth[picked])
        optimism.append(scores[picked] - truth[picked])
        firsts = np.nanmean(crossed.right[:, seeds[: LOOKS[0]]], axis=(1, 2))
        plain.append(truth[best] - truth[int(np.argmax(firsts))])
        chosen, comparisons = confirm_real(crossed.right[:, seeds], schedules, overlap)
        confirmed.append(truth[best] - truth[chosen])
        claims.append([one | {"true": truth[chosen] - truth[one["against"]]} for one in comparisons])
    facts = table.facts
    print(f"### {facts.data}, {facts.model} ({facts.source}): {len(schedules)} schedules, real runs\n")
    print(
        f"{given.times} draws of {n_seeds} seeds: 1 searches, 12 confirm, {n_seeds - 13} are the truth. The "
        f"draws share runs, so that no standard error over them is told. A schedule's mean over all seeds "
        f"has a standard error of {100 * float(np.median(errors)):.1f} points for new images and seeds.\n"
    )
    print("| | points |\n|---|---|")
    for name, values in (
        ("regret of the best by one run", unconfirmed),
        ("regret of the best mean of six seeds", plain),
        ("regret of the confirmed choice: of six seeds the simplest within a standard error", confirmed),
        ("optimism of the best by one run", optimism),
    ):
        print(f"| {name} | {100 * float(np.mean(values)):.2f} |")
    flat = [one for group in claims for one in group]
    for decision in ("better", "worse", "no difference", "undecided"):
        said = [one for one in flat if one["decision"] == decision]
        wrong = sum(is_false(one) for one in said)
        print(f"| comparisons *{decision}*, of {len(flat)} | {len(said)} ({wrong} false by the seeds left) |")
    false = [any(is_false(one) for one in group) for group in claims]
    print(f"| draws with any false claim | {np.mean(false):.1%} |")


def confirm_real(right: Any, schedules: list[Any], overlap: float) -> tuple[int, list[dict[str, Any]]]:
    """Take looks at 6 and 12 seeds, (schedules, 12, images); gives the chosen one and its comparisons."""
    dropped: set[int] = set()
    for seeds in LOOKS[:2]:
        candidates = []
        for number, run in enumerate(schedules):
            rates = {lr for phase in run.job.schedule.phases for lr in phase.lrs if lr is not None}
            candidates.append(
                Scored(
                    trial=number,
                    arm=arm_of(run.job.schedule),
                    merits=right[number][: LOOKS[0] if number in dropped else seeds],
                    complexity=(len(run.job.schedule.phases) + len(rates), run.end.work),
                    log_loss=run.end.val_loss,
                    dropped=number in dropped,
                )
            )
        look = take_look(candidates, seeds=seeds, planned=LOOKS[1], delta=DELTA, overlap=overlap)
        dropped |= set(look.dropped)
        if look.done:
            break
    assert look.chosen is not None
    comparisons = [{"against": one.against, "decision": one.decision} for one in look.comparisons]
    return look.chosen, comparisons


if __name__ == "__main__":
    main()
