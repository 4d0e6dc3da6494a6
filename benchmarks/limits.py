"""Choose the limits of a confirmation by simulation, and measure what the whole procedure then does.

    python benchmarks/limits.py choose  [--replicates 1000]   errors by limit, from which LIMITS were read
    python benchmarks/limits.py measure [--replicates 2000]   the tables of docs/verdict.md
    python benchmarks/limits.py spread TABLE.jsonl[.xz] …     the parts of the variance in recorded depth tables

A replicate draws images, candidates and seeds, and hands their scores to ``looks.take_look`` as a search does.
An image is right with a candidate and a seed where

    candidate + difficulty + candidate × image + seed × image + candidate × seed × image + candidate × seed > 0,

all normal, the candidate's part such that its true accuracy is as set. The winner's true accuracy is drawn from
.75 to .97, each candidate's standard deviation between seeds from 0.5 to 2 points (log-uniform). Part of the
latter comes from which images a seed trains on: each image of the training part pulls a candidate up or down, and
the pull of those that all seeds have in common does not average out. Its share is such that Nadeau and Bengio's
correlation is right; ``--influence`` makes it larger, or nothing.
"""

import argparse
import itertools
import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray
from scipy import special

from autofreeze import looks
from autofreeze.intervals import _layout_of, crossed_bootstrap, paired_interval
from autofreeze.looks import Look, Scored, take_look
from autofreeze.metrics import merits
from autofreeze.tables import read_table

IMAGE, CANDIDATE_IMAGE, SEED_IMAGE, REST = 0.72, 0.14, 0.05, 0.09
"""Variances of the latent parts; together 1."""

VAL = 0.2
"""Share of the images that a seed is scored on."""

OVERLAP = VAL / (1 - VAL)
INFLUENCE = 1 / 16
"""Share of the variance between seeds that comes from the images trained on. What all seeds share of it then
has a variance of 4 · 1/16 of that between seeds: Nadeau and Bengio's validation by training images."""

DELTA = 0.01
IMAGES = (100, 250, 500, 1000, 2000, 5000)


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


def draw(cell: Cell, rng: np.random.Generator) -> tuple[list[Scored], NDArray[np.float64]]:
    """Draw the scores of all candidates on all planned seeds; give them and the true accuracies."""
    count, seeds, n = len(cell.behind), cell.planned, cell.images
    truth = rng.uniform(0.75, 0.97) - np.asarray(cell.behind) / 100
    quantile = special.ndtri(truth)
    density = np.exp(-(quantile**2) / 2) / np.sqrt(2 * np.pi)
    seed_sd = np.exp(rng.uniform(np.log(0.005), np.log(0.02), count)) / density
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


def conclude(cell: Cell, candidates: Sequence[Scored], limits: dict[int, dict[int, float]]) -> list[Look]:
    """Take look after look until one ends it."""
    looks.LIMITS = limits
    seen: list[Look] = []
    dropped: set[int] = set()
    for seeds in (one for one in looks.LOOKS if one <= cell.planned):
        present = [
            Scored(one.trial, one.arm, one.merits[: 6 if one.trial in dropped else seeds], one.complexity,
                   dropped=one.trial in dropped)
            for one in candidates
        ]  # fmt: skip
        look = take_look(
            present, seeds=seeds, planned=cell.planned, delta=DELTA,
            overlap=0.0 if cell.own_split else OVERLAP,
        )  # fmt: skip
        seen.append(look)
        dropped |= set(look.dropped)
        if look.done:
            break
    return seen


FIELDS = ("error", "false_better", "false_worse", "false_same", "covered", "comparisons", "better", "same",
          "undecided", "all_decided", "regret", "right", "seeds", "dropped", "early_error", "width")  # fmt: skip


def judge(seen: Sequence[Look], truth: NDArray[np.float64]) -> tuple[float, ...]:
    """Hold what was said against the truth, in the order of ``FIELDS``."""
    last = seen[-1]
    false = {"better": 0, "worse": 0, "no difference": 0}
    said = {"better": 0, "worse": 0, "no difference": 0, "undecided": 0}
    covered, width = 0, 0.0
    for one in last.comparisons:
        true = truth[one.trial] - truth[one.against]
        said[one.decision] += 1
        covered += one.interval.low <= true <= one.interval.high
        width += one.interval.high - one.interval.low
        if is_false(one.decision, true):
            false[one.decision] += 1
    count = len(last.comparisons)
    early = any(
        is_false(one.decision, truth[one.trial] - truth[one.against])
        for look in seen
        for one in look.comparisons
    )
    regret = truth.max() - truth[last.chosen]
    return (
        any(false.values()), false["better"] > 0, false["worse"] > 0, false["no difference"] > 0,
        covered, count, said["better"], said["no difference"], said["undecided"], said["undecided"] == 0,
        regret, regret < 1e-12, last.seeds, sum(len(look.dropped) for look in seen),
        early, width,
    )  # fmt: skip


def is_false(decision: str, true: float) -> bool:
    """Whether a claim is untrue. Within a billionth a difference is none."""
    return (
        (decision == "better" and true <= 1e-9)
        or (decision == "worse" and true >= -1e-9)
        or (decision == "no difference" and abs(true) > DELTA + 1e-9)
    )


def simulate(
    cell: Cell, replicates: int, limits: dict[int, dict[int, float]], seed: int = 0
) -> dict[str, NDArray[np.float64]]:
    """Judge many replicates of a cell."""
    rows = []
    for replicate in range(replicates):
        rng = np.random.default_rng([seed, replicate, cell.images])
        candidates, truth = draw(cell, rng)
        rows.append(judge(conclude(cell, candidates, limits), truth))
    table = np.asarray(rows, dtype=np.float64)
    return {name: table[:, place] for place, name in enumerate(FIELDS)}
