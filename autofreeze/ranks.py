"""What can be said of few values from their order alone, whatever they are distributed like."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import special

from autofreeze.values import Value

LEVEL = 0.95
"""How often an interval holds, at least."""

FEWEST_FOR_A_RELATION = 8
"""Pairs below which a rank correlation is not asked for: fewer say hardly anything."""


class Median(Value):
    """The median of some values, and between which of them that of all such values may lie."""

    median: float
    low: float | None
    high: float | None
    """Ends of the interval; None with fewer than six values, of which no two enclose it so surely."""

    n: int


class Relation(Value):
    """Whether two things go together, by rank, a third one held equal."""

    correlation: float
    """-1..1."""

    p: float
    """Two-sided."""

    n: int


def median_of(values: Sequence[float]) -> Median | None:
    """Give a median with the interval between two order statistics, which holds for any distribution.

    A value lies below the median as often as above, so how many do is binomial. The interval holds in 95 of
    100 cases at least, not about, at any number of values.

    Args:
        values: Finite or not, in any order; NaN is left out.

    Returns:
        None where there is none.

    Source:
        David and Nagaraja 2003, *Order Statistics*, section 7.1.
    """
    ordered = np.sort([value for value in values if not math.isnan(value)])
    n = len(ordered)
    if not n:
        return None
    beyond = [rank for rank in range(n // 2) if 2 * special.bdtr(rank, n, 0.5) <= 1 - LEVEL]
    low, high = (float(ordered[beyond[-1]]), float(ordered[-1 - beyond[-1]])) if beyond else (None, None)
    return Median(median=float(np.median(ordered)), low=low, high=high, n=n)


def relation(
    one: Sequence[float], other: Sequence[float], given: Sequence[float] | None = None
) -> Relation | None:
    """Give the rank correlation of two things, among equals in a third one.

    Ranks take the place of values; what the third one's ranks explain of either is taken off (Spearman's
    partial rank correlation). The p-value is that of Student's distribution.

    Args:
        one: Values, one for each run.
        other: Values of the same runs.
        given: What is held equal; nothing when left out.

    Returns:
        None where there are too few pairs, or nothing varies.
    """
    if len(one) < FEWEST_FOR_A_RELATION:
        return None
    first, second = _ranks(one), _ranks(other)
    free = len(one) - 2
    if given is not None and (third := _ranks(given)).any():
        first = first - third * (first @ third) / (third @ third)
        second = second - third * (second @ third) / (third @ third)
        free -= 1
    size = math.sqrt(float(first @ first) * float(second @ second))
    if size < 1e-9 * len(one) ** 3:
        return None
    correlation = min(max(float(first @ second) / size, -1.0), 1.0)
    rest = 1 - correlation**2
    student = math.inf if rest < 1e-12 else abs(correlation) * math.sqrt(free / rest)
    p = 2 * float(special.stdtr(free, -student))
    return Relation(correlation=correlation, p=p, n=len(one))


def _ranks(values: Sequence[float]) -> NDArray[np.float64]:
    """Rank values, equal ones alike, less the mean rank."""
    _, place, counts = np.unique(np.asarray(values, float), return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks: NDArray[np.float64] = (ends - (counts - 1) / 2)[place]
    ranks -= ranks.mean()
    return ranks
