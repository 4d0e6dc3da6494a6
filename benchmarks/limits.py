"""Choose the limits of a confirmation by simulation, and measure what the whole procedure then does.

    python benchmarks/limits.py choose  [--replicates 1000]      how far equal candidates come, by look
    python benchmarks/limits.py measure [--replicates 2000]      the tables of docs/verdict.md
    python benchmarks/limits.py bootstrap [--replicates 300]     the closed form beside the bootstrap itself
    python benchmarks/limits.py spread TABLE.jsonl[.xz] …        the parts of the variance in recorded tables

A replicate draws images, candidates and seeds, and hands their scores to ``looks.take_look`` as a search
does. An image is right with a candidate and a seed where

    candidate + image + candidate × image + seed × image + candidate × seed × image + candidate × seed > 0,

all normal, the candidate's part such that its true accuracy is as set. The best one's true accuracy is drawn
from .75 to .97, each candidate's standard deviation between seeds from 0.5 to 2 points (log-uniform). Part of
the latter comes from which images a seed trains on: each image of the training part pulls a candidate up or
down, and the pull of those that all seeds have in common does not average out. Its share is such that Nadeau
and Bengio's correlation is right; further rows of ``measure`` have it larger, or nothing.
"""

import argparse
import itertools
import platform
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy
from numpy.typing import NDArray
from scipy import special

from autofreeze import looks
from autofreeze.intervals import Interval, crossed_bootstrap, paired_interval, spread_of
from autofreeze.looks import Look, Scored, limit_at, take_look
from autofreeze.metrics import merits
from autofreeze.recorded.tables import read_table

IMAGE, CANDIDATE_IMAGE, SEED_IMAGE, REST = 0.70, 0.14, 0.04, 0.12
"""Variances of the latent parts; together 1."""

VAL = 0.2
"""Share of the images that a seed is scored on."""

OVERLAP = VAL / (1 - VAL)
INFLUENCE = 1 / 16
"""Share of the variance between seeds that comes from the images trained on. What all seeds share of it then
has a variance of 4 · 1/16 of that between seeds: Nadeau and Bengio's validation by training images."""

LOUD, QUIET = (0.005, 0.02), (0.001, 0.005)
"""Least and largest standard deviation of a candidate's accuracy between seeds."""

DELTA = 0.01
IMAGES = (100, 250, 500, 1000, 2000, 5000)
GAPS = (0.0, 1.02, 2.0, 5.0)
"""Points; the second lies just outside of *no difference*."""


@dataclass(frozen=True)
class Cell:
    """What is simulated."""

    name: str
    images: int
    behind: tuple[float, ...]
    """How far each candidate truly lies behind the best, in points."""

    planned: int = 24
    own_split: bool = False
    influence: float = INFLUENCE
    seed_sd: tuple[float, float] = LOUD


def draw(
    cell: Cell, rng: np.random.Generator, top: float | None = None
) -> tuple[list[Scored], NDArray[np.float64]]:
    """Draw the scores of all candidates on all planned seeds; give them and the true accuracies."""
    count, seeds, n = len(cell.behind), cell.planned, cell.images
    truth = (rng.uniform(0.75, 0.97) if top is None else top) - np.asarray(cell.behind) / 100
    quantile = special.ndtri(truth)
    density = np.exp(-(quantile**2) / 2) / np.sqrt(2 * np.pi)
    seed_sd = np.exp(rng.uniform(*np.log(cell.seed_sd), count)) / density
    influence = 0.0 if cell.own_split else cell.influence
    shared = seed_sd**2 * influence * (1 - VAL) / VAL
    base = quantile * np.sqrt(1 + seed_sd**2 + shared)

    scored = n if cell.own_split else round(n * VAL)
    places = np.argpartition(rng.random((seeds, n), dtype=np.float32), scored - 1, axis=1)[:, :scored]
    by_image = normal(rng, (n,), IMAGE) + normal(rng, (count, n), CANDIDATE_IMAGE)
    by_seed = rng.standard_normal((count, seeds)) * (seed_sd * np.sqrt(1 - influence))[:, np.newaxis]
    if influence:
        pulls = normal(rng, (count, n), 1.0)
        trained = pulls.sum(axis=1, keepdims=True) - pulls[:, places].sum(axis=2)
        by_seed += trained * (seed_sd * np.sqrt(influence / VAL / (n - scored)))[:, np.newaxis]
    latent = by_image[:, places] + normal(rng, (seeds, scored), SEED_IMAGE)
    latent += normal(rng, (count, seeds, scored), REST)
    latent += (by_seed + base[:, np.newaxis])[:, :, np.newaxis].astype(np.float32)
    table = np.full((count, seeds, n), np.nan)
    table[:, np.arange(seeds)[:, np.newaxis], places] = latent > 0
    # Complexity is drawn: the simplest is as likely any of them.
    order = rng.permutation(count)
    arms = ["freeze_first", "at_once"]
    found = [Scored(one, arms[one % 2], table[one], (int(order[one]),)) for one in range(count)]
    return found, truth


def normal(rng: np.random.Generator, shape: tuple[int, ...], variance: float) -> NDArray[np.float32]:
    """Draw normal numbers."""
    return rng.standard_normal(shape, dtype=np.float32) * np.float32(np.sqrt(variance))


def conclude(cell: Cell, candidates: Sequence[Scored]) -> list[Look]:
    """Take look after look until one ends it, as ``confirm.py`` does."""
    seen: list[Look] = []
    dropped: set[int] = set()
    for seeds in (one for one in looks.LOOKS if one <= cell.planned):
        look = look_at(cell, candidates, seeds, dropped)
        seen.append(look)
        dropped |= set(look.dropped)
        if look.done:
            break
    return seen


def look_at(cell: Cell, candidates: Sequence[Scored], seeds: int, dropped: set[int]) -> Look:
    """Take one look."""
    present = [
        replace(
            one,
            merits=one.merits[: looks.LOOKS[0] if one.trial in dropped else seeds],
            dropped=one.trial in dropped,
        )
        for one in candidates
    ]
    overlap = 0.0 if cell.own_split else OVERLAP
    return take_look(present, seeds=seeds, planned=cell.planned, delta=DELTA, overlap=overlap)


def is_false(decision: str, true: float) -> bool:
    """Whether a claim is untrue. Within a billionth a difference is none."""
    return (
        (decision == "better" and true <= 1e-9)
        or (decision == "worse" and true >= -1e-9)
        or (decision == "no difference" and abs(true) > DELTA + 1e-9)
    )


def replicates_of(cell: Cell, count: int) -> Iterator[tuple[list[Scored], NDArray[np.float64]]]:
    """Draw replicates; the same ones whenever they are asked for."""
    for number in range(count):
        yield draw(cell, np.random.default_rng([number, cell.images, len(cell.behind)]))


# What the procedure does

COLUMNS = ("something false", "interval holds", "better", "worse", "no difference", "undecided",
           "best chosen", "regret", "seeds", "half-width")  # fmt: skip


def judge(seen: Sequence[Look], truth: NDArray[np.float64]) -> tuple[float, ...]:
    """Hold what was said at the end against the truth, in the order of ``COLUMNS``; shares of comparisons."""
    last = seen[-1]
    assert last.chosen is not None
    gaps = {one.against: truth[one.trial] - truth[one.against] for one in last.comparisons}
    count = len(gaps)

    def share(decision: str) -> float:
        return sum(one.decision == decision for one in last.comparisons) / count

    held = sum(one.interval.low <= gaps[one.against] <= one.interval.high for one in last.comparisons)
    regret = float(truth.max() - truth[last.chosen])
    return (
        any(is_false(one.decision, gaps[one.against]) for one in last.comparisons),
        held / count, share("better"), share("worse"), share("no difference"), share("undecided"),
        regret < 1e-9, regret, last.seeds,
        float(np.mean([one.interval.high - one.interval.low for one in last.comparisons])) / 2,
    )  # fmt: skip


def measure(replicates: int, only: str) -> None:
    """Print the tables. Where somebody is truly behind, a quarter of the replicates will do."""
    looks.mean_interval = lambda *_, **__: None  # type: ignore[assignment]  # decides nothing, and takes time
    print(conditions(f"{replicates} simulated searches a row, {replicates // 4} where somebody is behind"))
    began = time.process_time()
    print("\n| true gaps, points | images | searches | " + " | ".join(COLUMNS) + " |")
    print("|---|" + "---:|" * (len(COLUMNS) + 2))
    for cell in cells():
        if only not in f"{cell.name}, {cell.images} images":
            continue
        count = replicates // 4 if any(cell.behind) else replicates
        rows = [judge(conclude(cell, found), truth) for found, truth in replicates_of(cell, count)]
        figures = [cell.name, str(cell.images), str(count), *written(np.asarray(rows, dtype=np.float64))]
        print("| " + " | ".join(figures) + " |", flush=True)
    print(f"\n{time.process_time() - began:.0f} s on one core.")


def cells() -> list[Cell]:
    """Give every row of the tables."""
    found = [Cell(f"all {gap:g} behind" if gap else "all equal", n, (0.0, *[gap] * 4))
             for gap in GAPS for n in IMAGES]  # fmt: skip
    found += [Cell(f"all {gap:g} behind, quiet seeds" if gap else "all equal, quiet seeds", n,
                   (0.0, *[gap] * 4), seed_sd=QUIET)
              for gap in GAPS[:3] for n in (1000, 5000)]  # fmt: skip
    found += [Cell(f"all equal, {count} candidates", n, (0.0,) * count)
              for count, n in ((2, 1000), (2, 5000), (9, 1000), (9, 5000))]  # fmt: skip
    found += [Cell(f"all equal, {planned} seeds at most", n, (0.0,) * 5, planned=planned)
              for planned in (6, 12) for n in (1000, 5000)]  # fmt: skip
    found += [Cell(f"all {gap:g} behind, own validation part" if gap else "all equal, own validation part", n,
                   (0.0, *[gap] * 4), own_split=True)
              for gap in (0.0, 2.0) for n in (100, 500)]  # fmt: skip
    pulls = {"no pull of shared images": 0.0, "four times the pull": 4 * INFLUENCE}
    found += [Cell(f"all equal, {name}", 1000, (0.0,) * 5, influence=pull) for name, pull in pulls.items()]
    return [*found, *(Cell("0, 0, 2, 2 and 5 behind", n, (0.0, 0.0, 2.0, 2.0, 5.0)) for n in (1000, 5000))]


def written(table: NDArray[np.float64]) -> list[str]:
    """Write means in percent or points with standard errors where they matter."""
    means, errors = 100 * table.mean(axis=0), 100 * table.std(axis=0) / np.sqrt(len(table))
    texts = [f"{mean:.1f} ± {error:.1f}" for mean, error in zip(means[:2], errors[:2], strict=True)]
    texts += [f"{mean:.0f}" for mean in means[2:7]]
    return [*texts, f"{means[7]:.2f}", f"{means[8] / 100:.0f}", f"{means[9]:.1f}"]


# How the limits were chosen


def choose(replicates: int) -> None:
    """Print how many standard errors equal candidates come to lie apart, by look: the limits' quantiles.

    Nobody is left behind meanwhile. Student's t is taken back, so that the figures are limits.
    """
    looks.mean_interval = lambda *_, **__: None  # type: ignore[assignment]
    print(conditions(f"{replicates} simulated searches a row, all candidates equal"))
    print("\n| candidates | images | seeds | 5 % | 4 % | 2 % | 1 % | limits at 6, 12, 24 planned |")
    print("|---:|---:|---:|---:|---:|---:|---:|---|")
    for images, count in itertools.product((2000, 5000), (2, 3, 5, 9)):
        cell = Cell("all equal", images, (0.0,) * count)
        table = np.asarray(
            [
                [furthest(look_at(cell, found, seeds, set())) for seeds in looks.LOOKS]
                for found, _ in replicates_of(cell, replicates)
            ]
        )
        for place, seeds in enumerate(looks.LOOKS):
            quantiles = np.quantile(table[:, place], (0.95, 0.96, 0.98, 0.99))
            limits = [limit_at(seeds, planned, count - 1) for planned in looks.LOOKS if seeds <= planned]
            print(f"| {count} | {images} | {seeds} | " + " | ".join(f"{one:.2f}" for one in quantiles)
                  + " | " + ", ".join(f"{one:.2f}" for one in limits) + " |", flush=True)  # fmt: skip


def furthest(look: Look) -> float:
    """Give the limit at which the last of the comparisons would be neither better nor worse."""
    limit = limit_at(look.seeds, look.planned, len(look.comparisons))
    return max(limit_of(one.interval, limit) for one in look.comparisons)


def limit_of(interval: Interval, limit: float) -> float:
    """Give the limit at which an interval ends at 0, given the one it was made with."""
    stretched = (interval.high - interval.estimate) / interval.standard_error
    errors = abs(interval.estimate) / interval.standard_error
    if stretched < limit * 1.0005:
        return errors
    freedom = special.stdtridf(special.ndtr(limit), stretched)
    return -float(special.ndtri(special.stdtr(freedom, -errors)))


# The bootstrap, and what was recorded


def bootstrap(replicates: int) -> None:
    """Print how wide intervals of 95 % are and how often they hold, in closed form and by the bootstrap."""
    print(conditions(f"{replicates} pairs of equal candidates a row, 12 seeds, no pull of shared images"))
    print("\n| images | scored by a seed | closed form holds | half-width | bootstrap holds | half-width |")
    print("|---:|---|---:|---:|---:|---:|")
    for own_split, images in itertools.product((False, True), (100, 500)):
        cell = Cell("pair", images, (0.0, 0.0), planned=12, own_split=own_split, influence=0.0)
        rows = []
        for found, _ in replicates_of(cell, replicates):
            differences = found[0].merits - found[1].merits
            one = paired_interval(differences, overlap=0.0, limit=1.96)
            low, high = np.nanquantile(crossed_bootstrap(differences, draws=300), (0.025, 0.975))
            rows.append(
                (one.low <= 0 <= one.high, (one.high - one.low) / 2, low <= 0 <= high, (high - low) / 2)
            )
        means, errors = 100 * np.mean(rows, axis=0), 100 * np.std(rows, axis=0) / np.sqrt(replicates)
        print(f"| {images} | {'all' if own_split else '20 %'} | "
              + " | ".join(f"{mean:.1f} ± {error:.1f}" for mean, error in zip(means, errors, strict=True))
              + " |", flush=True)  # fmt: skip


def spread(paths: Sequence[str]) -> None:
    """Print the parts of the variance of recorded pairs, beside those of simulated ones."""
    print(
        conditions(
            "standard deviations in points; medians over the pairs, and the tenth and the ninetieth of 100"
        )
    )
    print("\n| table | accuracy | pairs | unlike | image | seed | rest |\n|---|---|---:|---:|---:|---:|---:|")
    for path in paths:
        table = read_table(path)
        names = list(dict.fromkeys(one.origin for one in table.runs))
        seeds = min(sum(one.origin == name for one in table.runs) for name in names)
        scores = np.full((len(names), seeds, len(table.labels)), np.nan)
        for one in table.runs:
            if one.job.fresh is not None and one.job.fresh < seeds:
                val = np.asarray(one.val)
                right = merits("top1", table.labels[val], one.end.predicted_classes)
                scores[names.index(one.origin), one.job.fresh, val] = right
        print_spread(f"{table.facts.data}, {table.facts.model}, {seeds} seeds", scores)
    for images, top in ((250, 0.87), (250, 0.93)):
        cell = Cell("", images, (0.0,) * 8)
        found, _ = draw(cell, np.random.default_rng(0), top=top)
        print_spread(f"simulated, {images} images", np.stack([one.merits for one in found]))


def print_spread(name: str, scores: NDArray[np.float64]) -> None:
    """Print the parts of the pairs of candidates that lie within 10 points of the best."""
    means = np.asarray([np.nanmean(one) for one in scores])
    good = scores[means > means.max() - 0.1]
    rows = []
    for one, other in itertools.combinations(good, 2):
        found = spread_of(one - other)
        deviations = [100 * part**0.5 for part in (found.image, found.seed, found.residual)]
        rows.append([np.nanmean(np.abs(one - other)), *deviations])
    low, middle, high = np.quantile(rows, (0.1, 0.5, 0.9), axis=0)
    parts = [f"{middle[k]:.1f} ({low[k]:.1f}–{high[k]:.1f})" for k in (1, 2, 3)]
    unlike = f"{100 * middle[0]:.0f} %"
    print(f"| {name} | {np.nanmean(good):.3f} | {len(rows)} | {unlike} | " + " | ".join(parts) + " |")


def conditions(what: str) -> str:
    """Say what the figures rest on."""
    return f"{what}; numpy {np.__version__}, scipy {scipy.__version__}, Python {platform.python_version()}."


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for name, replicates in (("choose", 1000), ("measure", 2000), ("bootstrap", 300)):
        commands.add_parser(name).add_argument("--replicates", type=int, default=replicates)
    commands.choices["measure"].add_argument("--only", default="", help="rows whose name holds this text")
    commands.add_parser("spread").add_argument("tables", nargs="+")
    given = parser.parse_args()
    if given.command == "spread":
        spread(given.tables)
    elif given.command == "measure":
        measure(given.replicates, given.only)
    else:
        {"choose": choose, "bootstrap": bootstrap}[given.command](given.replicates)


if __name__ == "__main__":
    main()
