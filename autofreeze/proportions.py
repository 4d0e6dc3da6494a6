"""Shares of a few runs, and whether two of them differ."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import special

from autofreeze.values import Value

LIMIT = 1.959964
"""Standard errors from the centre of a 95 % interval to either end."""


class Share(Value):
    """How many of so many, and between which shares of all such ones that may lie."""

    count: int
    of: int
    low: float
    high: float
    """Ends of the 95 % interval, 0..1; 0 and 1 where there is none to count."""


class Stratum(Value):
    """Two groups that may be compared: alike in all but what tells them apart."""

    count: int
    of: int
    other_count: int
    other_of: int


class Contrast(Value):
    """Whether something happens more often in one group than in another, stratum by stratum."""

    share: float | None
    """Of the one group, and of the other, as if both had their strata in the same proportions; None without a
    stratum that holds both."""

    other_share: float | None
    p: float
    """Two-sided, of Fisher's exact test within the strata."""

    least_p: float
    """The smallest that these numbers allow. Where it is not small, no outcome could have told anything."""

    more: bool
    """Whether it happened more often in the one group than chance would have it."""


def share_of(count: int, of: int) -> Share:
    """Give a share of a few with Wilson's score interval, whose ends are sensible at 0 of 3 too.

    Args:
        count: How many, 0..of.
        of: Of how many, >= 0.

    Source:
        Wilson 1927; Brown, Cai and DasGupta 2001, who recommend it for small numbers.
    """
    if not of:
        return Share(count=0, of=0, low=0.0, high=1.0)
    share, squared = count / of, LIMIT**2
    centre = (share + squared / (2 * of)) / (1 + squared / of)
    half = LIMIT * np.sqrt(share * (1 - share) / of + squared / (4 * of**2)) / (1 + squared / of)
    low = 0.0 if count == 0 else float(centre - half)
    return Share(count=count, of=of, low=low, high=1.0 if count == of else float(centre + half))


def contrast(strata: Sequence[Stratum]) -> Contrast:
    """Test whether something happens equally often in two groups, within strata.

    Given how many there are of each group, and how many it happened to in all, the one group's count in a
    stratum is hypergeometric if both are equal; the sum over strata is tested, which no number is too small
    for. With one stratum this is Fisher's exact test. Two-sided: all sums that are no more likely than the
    one seen. Strata that hold one group alone say nothing and are left out.

    Args:
        strata: The groups' counts.

    Source:
        Gart 1970, "Point and interval estimation of the common odds ratio in the combination of 2 × 2 tables"
        (the exact conditional distribution); weights of the shares as Mantel and Haenszel 1959.
    """
    both = [one for one in strata if one.of and one.other_of]
    likely = np.ones(1)
    expected = 0.0
    for one in both:
        hit = one.count + one.other_count
        likely = np.convolve(likely, _hypergeometric(one.of, one.other_of, hit))
        expected += hit * one.of / (one.of + one.other_of)
    lowest = sum(max(one.count - one.other_of + one.other_count, 0) for one in both)
    seen = sum(one.count for one in both)
    as_unlikely = likely <= likely[seen - lowest] * (1 + 1e-9)
    weights = np.array([one.of * one.other_of / (one.of + one.other_of) for one in both])
    shares = np.array([(one.count / one.of, one.other_count / one.other_of) for one in both])
    standard = weights @ shares / weights.sum() if both else (None, None)
    return Contrast(
        share=None if standard[0] is None else float(standard[0]),
        other_share=None if standard[1] is None else float(standard[1]),
        p=min(float(likely[as_unlikely].sum()), 1.0),
        least_p=float(likely[likely <= likely.min() * (1 + 1e-9)].sum()),
        more=seen > expected,
    )


def _hypergeometric(one: int, other: int, hit: int) -> NDArray[np.float64]:
    """Give how likely each possible count of the one group is, from the smallest on."""
    counts = np.arange(max(hit - other, 0), min(hit, one) + 1)
    logs = _log_choices(one, counts) + _log_choices(other, hit - counts)
    likely: NDArray[np.float64] = np.exp(logs - float(_log_choices(one + other, np.array([hit]))[0]))
    likely /= likely.sum()
    return likely


def _log_choices(n: int, k: NDArray[np.int64]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = special.gammaln(n + 1) - special.gammaln(k + 1) - special.gammaln(n - k + 1)
    return found
