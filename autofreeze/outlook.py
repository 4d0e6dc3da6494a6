"""What a search will take, as ranges: many rehearsals, priced by measured seconds."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from autofreeze.confirm import TEST_SEEDS
from autofreeze.courses import Course, Floats, Ledger, Sizes
from autofreeze.plan import Pace, Range, Times
from autofreeze.rehearsal import Casting, Ran, Rehearsal, rehearse

REHEARSALS, TRIALS = 160, 8000
"""Searches that are made up, and their trials together, at most."""

LOW, HIGH = 10, 90
"""Percentiles that a range lies between: it holds in four of five cases."""

MEASURING, CHANGING = 0.16, 0.4
"""Standard deviation of the logarithm of what a search takes over what it would by the seconds that were
measured, of few steps and few images. And what the logarithm of the load adds: others come and go."""

TRIAL, EPOCH = 0.03, 0.002
"""Seconds that a trial, and an epoch, take beside what is measured: asking, judging, keeping, reporting."""


@dataclass(frozen=True)
class Priced:
    """What is rehearsed, and what it costs.

    Args:
        casting: Who may be run.
        searched: The course of each part as a trial: baselines first, then the pool.
        confirmed: The same in a confirmation.
        tuned: Indices of the baselines that are tuned.
        rates: Rates that each of them is tried at.
    """

    casting: Casting
    searched: Sequence[Course]
    confirmed: Sequence[Course]
    tuned: Sequence[int] = ()
    rates: int = 0


def expect(
    priced: Priced,
    pace: Pace,
    sizes: Sizes,
    *,
    seed: int,
    budget_bytes: int | None = None,
    there: frozenset[tuple[int, str]] = frozenset(),
    measuring: float = MEASURING,
) -> tuple[Times, Times]:
    """Rehearse, and say what it takes with stores and without.

    Args:
        priced: What is rehearsed.
        pace: What was measured.
        sizes: Of the data.
        seed: Of everything that is made up.
        budget_bytes: What stores may take.
        there: Border and kind of view whose features are in the cache already.
        measuring: Error of the seconds, as the standard deviation of their logarithm.
    """
    rng = np.random.default_rng(seed)
    count = min(REHEARSALS, max(TRIALS // priced.casting.trials, 40))
    rehearsals = [rehearse(priced.casting, rng) for _ in range(count)]
    error = math.hypot(measuring, CHANGING * math.log(pace.load))
    luck = pace.load * np.exp(error * rng.standard_normal(count))
    found = []
    for stores in (True, False):
        rows = [
            _price(one, priced, pace, Ledger(pace, sizes, stores, budget_bytes, there)) for one in rehearsals
        ]
        found.append(_times(np.array(rows) * luck[:, None], priced))
    return found[0], found[1]


def _price(rehearsal: Rehearsal, priced: Priced, pace: Pace, ledger: Ledger) -> tuple[float, float, float]:
    """Seconds of the search, of the tuning, and of the confirmation."""
    search = _seconds(rehearsal.trials, priced.searched, ledger)
    tuning = _tuning(rehearsal, priced, ledger)
    confirmation = _seconds(rehearsal.candidates, priced.confirmed, ledger)
    if rehearsal.candidates and ledger.sizes.n_test:
        baselines = len(priced.casting.baselines)
        readers = 1 + sum(one.part < baselines for one in rehearsal.candidates[1:])
        confirmation += readers * TEST_SEEDS * (pace.run + ledger.sizes.n_test * pace.val(0))
    return search, tuning, confirmation


def _seconds(ran: Sequence[Ran], courses: Sequence[Course], ledger: Ledger) -> float:
    return sum(
        TRIAL + sum(EPOCH * epochs + ledger.run(courses[one.part], epochs) for epochs in one.epochs)
        for one in ran
    )


def _tuning(rehearsal: Rehearsal, priced: Priced, ledger: Ledger) -> float:
    """Seconds of the rates of tuned baselines: of their epochs as large a share is run as of the draws'."""
    draws = [one for one in rehearsal.trials if one.part >= len(priced.casting.baselines)]
    whole = sum(priced.searched[one.part].epochs for one in draws) * priced.casting.folds
    share = sum(sum(one.epochs) for one in draws) / whole if whole else 1.0
    spent = 0.0
    for index in priced.tuned:
        course = priced.searched[index]
        first = ledger.run(course, course.epochs)
        spent += first + share * (priced.rates * priced.casting.folds - 1) * ledger.run(course, course.epochs)
        spent += TRIAL * priced.rates
    return spent


def _times(rows: Floats, priced: Priced) -> Times:
    search, tuning, confirmation = (_range(rows[:, place]) for place in range(3))
    return Times(
        search=search,
        tuning=tuning if priced.tuned else None,
        confirmation=confirmation if priced.casting.planned else None,
        whole=_range(rows.sum(axis=1)),
    )


def _range(seconds: Floats) -> Range:
    low, middle, high = np.percentile(seconds, [LOW, 50, HIGH])
    return Range(low=float(low), middle=float(middle), high=float(high))
