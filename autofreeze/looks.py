"""Looks at a confirmation: who is left behind, who is chosen, what may be said."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from autofreeze.errors import ConfigError
from autofreeze.intervals import Interval, mean_interval, paired_interval
from autofreeze.scale import Unit, number
from autofreeze.values import Value

LOOKS = (6, 12, 24)
"""Fresh seeds at each look."""

LIMITS = {
    6: {6: (2.2, 0.28)},
    12: {6: (2.5, 0.33), 12: (2.25, 0.3)},
    24: {6: (2.5, 0.33), 12: (2.3, 0.27), 24: (2.3, 0.27)},
}
"""Fresh seeds planned -> seeds at a look -> standard errors from a difference to the ends of its interval
with one comparison, and how many each doubling of the comparisons adds; see :func:`limit_at`.

Chosen by simulation (``benchmarks/limits.py``: begun with ``choose``, mended by ``measure``), so that
something false is said of at most 5 searches in 100. They are wide because the winner is the best of several
partly by luck with the same images.
"""

NO_BETTER_THAN = 1.0
"""Standard errors within which the simpler and cheaper schedule wins."""

Decision = Literal["better", "worse", "no difference", "undecided"]


class Comparison(Value):
    """The chosen schedule against another one."""

    trial: int
    """The chosen one."""

    against: int
    """The other trial."""

    interval: Interval
    """Of the difference, chosen minus other, in the metric's unit (more is better; log loss: nats saved)."""

    decision: Decision
    seeds: tuple[int, int]
    """Numbers of the fresh seeds that it rests on: the first, and the one after the last."""


@dataclass(frozen=True)
class Scored:
    """A candidate's scores on fresh seeds so far."""

    trial: int
    arm: str
    merits: NDArray[np.float64]
    """Its metric shared out to the images, (seeds, images), seed 0 first; NaN where an image was not scored
    with that seed. All candidates have the same images; one that was left behind has fewer seeds."""

    complexity: tuple[Any, ...] = ()
    """Sorts the simpler, then the cheaper first. Comparable between candidates."""

    log_loss: float | None = None
    """Mean log loss in nats, for ties."""

    broken: bool = False
    """Whether a run of it broke off: it cannot win."""

    dropped: bool = False
    """Whether an earlier look left it behind."""

    eligible: bool = True
    """Whether it may win; one that may not, since it costs too much, is there to compare with."""


@dataclass(frozen=True)
class Look:
    """What a look found."""

    seeds: int
    """Fresh seeds that it rests on in all."""

    planned: int
    chosen: int | None
    """Trial that wins; None when there is no candidate that could."""

    choice: tuple[int, int]
    """Numbers of the seeds on which it was chosen: the first, and the one after the last."""

    estimate: tuple[int, int]
    """Numbers of the seeds that the comparisons rest on, but for those with one left behind."""

    comparisons: tuple[Comparison, ...] = ()
    """The chosen one against each other candidate whose runs did not break off."""

    means: dict[int, Interval] = field(default_factory=dict)
    """Trial -> its mean over the seeds of the estimate, or over those it has when it was left behind."""

    dropped: dict[int, str] = field(default_factory=dict)
    """Trial -> why it is left behind from here on; those left behind earlier are not repeated."""

    done: bool = True
    """Whether the confirmation ends here."""


def check_planned(planned: int) -> None:
    """Refuse a number of fresh seeds that has no look.

    Raises:
        ConfigError: It is not 0, 6, 12 or 24.
    """
    if isinstance(planned, bool) or planned not in (0, *LOOKS):
        raise ConfigError(
            f"confirm: got {planned}; must be 0 (nothing is confirmed), or 6, 12 or 24 fresh seeds at most; "
            "fewer than 6 cannot tell the luck of a seed from a better schedule"
        )


def next_look(seeds: int, planned: int) -> int | None:
    """Give the seeds of the next look after some seeds; None when there is none.

    Args:
        seeds: Fresh seeds run so far, >= 0.
        planned: Fresh seeds at most, one that :func:`check_planned` allows.
    """
    return next((look for look in LOOKS if seeds < look <= planned), None)


def limit_at(seeds: int, planned: int, comparisons: int) -> float:
    """Give the standard errors from a difference to the ends of its interval.

    Args:
        seeds: Fresh seeds of the look.
        planned: Fresh seeds at most.
        comparisons: Candidates that the chosen one is compared with; none counts as one.
    """
    one, doubled = LIMITS[planned][seeds]
    return one + doubled * math.log2(max(comparisons, 1))


def decide(interval: Interval, delta: float) -> Decision:
    """Say what an interval of a difference means.

    Args:
        interval: Chosen minus other.
        delta: Half-width of *no difference*, >= 0; ends that lie on it are within it.
    """
    if interval.low > 0:
        return "better"
    if interval.high < 0:
        return "worse"
    if -delta <= interval.low and interval.high <= delta:
        return "no difference"
    return "undecided"


def take_look(
    candidates: Sequence[Scored],
    *,
    seeds: int,
    planned: int,
    delta: float,
    overlap: float,
    strata: NDArray[np.int64] | None = None,
    unit: Unit = "points",
) -> Look:
    """Choose on the earlier seeds, estimate on the later ones, and say who is left behind.

    The chosen one has the best mean on the seeds before this look's own; among those within a standard error
    of it the simplest wins. At the first look choice and estimate share the seeds; those that the chosen one
    is better than are left behind, but for the best of each arm. Later looks end the confirmation when every
    comparison is decided and none that could win is better, and the last one in any case.

    Args:
        candidates: All of them, also those left behind, with the scores of ``seeds`` seeds at least, or of as
            many as they ran. Further seeds are not looked at.
        seeds: Fresh seeds of this look, one of ``LOOKS`` and at most ``planned``.
        planned: Fresh seeds at most. A confirmation that is cut short ends with those it has.
        delta: Half-width of *no difference*, in the metric's unit.
        overlap: Validation images by training images; 0 where all seeds have the same split.
        strata: Class of each image where the metric weighs classes alike; see ``intervals``.
        unit: What a lead is told in.
    """
    first = seeds == LOOKS[0]
    earlier = LOOKS[max(LOOKS.index(seeds) - 1, 0)]
    choice, estimate = (0, earlier), (0 if first else earlier, seeds)
    others = len(candidates) - 1
    dropped = {
        one.trial: "one of its runs on fresh seeds broke off"
        for one in candidates
        if one.broken and not one.dropped
    }
    sound = [one for one in candidates if not one.broken]
    running = [one for one in sound if not one.dropped]
    chosen = choose([one for one in running if one.eligible], choice, overlap=overlap, strata=strata)
    means = {}
    for one in sound:
        rows = _rows_of(one, estimate)
        means[one.trial] = mean_interval(
            one.merits[slice(*rows)], overlap=overlap, strata=strata, spread=one.merits[: rows[1]]
        )
    if chosen is None:
        return Look(seeds, planned, None, choice, estimate, (), means, dropped)

    comparisons = []
    for other in sound:
        if other is chosen:
            continue
        rows = _rows_of(other, estimate)
        differences = chosen.merits[: rows[1]] - other.merits[: rows[1]]
        interval = paired_interval(
            differences[rows[0] :],
            spread=differences,
            overlap=overlap,
            limit=limit_at(LOOKS[0] if other.dropped else seeds, planned, others),
            strata=strata,
        )
        comparisons.append(
            Comparison(
                trial=chosen.trial,
                against=other.trial,
                interval=interval,
                decision=decide(interval, delta),
                seeds=rows,
            )
        )
    last = next_look(seeds, planned) is None
    if first and not last:
        dropped |= _left_behind(
            chosen, running, comparisons, choice, overlap=overlap, strata=strata, unit=unit
        )
    rivals = {one.trial for one in running if one.eligible}
    open_ = any(
        one.decision == "undecided" or (one.decision == "worse" and one.against in rivals)
        for one in comparisons
    )
    done = last or not comparisons or not (first or open_)
    return Look(seeds, planned, chosen.trial, choice, estimate, tuple(comparisons), means, dropped, done)


def choose(
    candidates: Sequence[Scored],
    seeds: tuple[int, int],
    *,
    overlap: float,
    strata: NDArray[np.int64] | None = None,
) -> Scored | None:
    """Choose the best mean, or the simplest of those within a standard error of it.

    Ties of all go to the better mean, the lower log loss, and the trial that came first.

    Args:
        candidates: Those that could win, with scores of these seeds.
        seeds: Numbers of the seeds to choose on: the first, and the one after the last.
        overlap: As for :func:`take_look`.
        strata: As for :func:`take_look`.
    """
    scores = {one.trial: one.merits[slice(*seeds)] for one in candidates}
    scores = {trial: score for trial, score in scores.items() if not np.isnan(score).all()}
    if not scores:
        return None
    common = ~np.any([np.isnan(score) for score in scores.values()], axis=0)
    means = {
        trial: float(np.mean(score[common]) if common.any() else np.nanmean(score))
        for trial, score in scores.items()
    }
    ranked = [one for one in candidates if one.trial in means]
    best = max(ranked, key=lambda one: (means[one.trial], [-value for value in _ties(one)]))

    def near(one: Scored) -> bool:
        interval = paired_interval(
            scores[best.trial] - scores[one.trial], overlap=overlap, limit=NO_BETTER_THAN, strata=strata
        )
        return not interval.estimate > NO_BETTER_THAN * interval.standard_error

    simplest_first = sorted(ranked, key=lambda one: (one.complexity, -means[one.trial], _ties(one)))
    return next(one for one in simplest_first if one is best or near(one))


def _ties(one: Scored) -> list[float]:
    return [np.inf if one.log_loss is None else one.log_loss, one.trial]


def _rows_of(one: Scored, estimate: tuple[int, int]) -> tuple[int, int]:
    """Numbers of the seeds on which a candidate is compared: the first look's when it was left behind."""
    return (0, min(LOOKS[0], len(one.merits))) if one.dropped else estimate


def _left_behind(
    chosen: Scored,
    running: Sequence[Scored],
    comparisons: Sequence[Comparison],
    seeds: tuple[int, int],
    *,
    overlap: float,
    strata: NDArray[np.int64] | None,
    unit: Unit,
) -> dict[int, str]:
    """Say who is clearly behind the chosen one and not the best of its arm."""
    stays = set()
    for arm in {one.arm for one in running}:
        best = choose([one for one in running if one.arm == arm], seeds, overlap=overlap, strata=strata)
        if best is not None:
            stays.add(best.trial)
    behind = {one.against: one.interval for one in comparisons if one.decision == "better"}
    return {
        one.trial: f"behind trial {chosen.trial} after {seeds[1]} fresh seeds by "
        f"{_lead_words(behind[one.trial], unit)}"
        for one in running
        if one.trial in behind and one.trial not in stays
    }


def _lead_words(interval: Interval, unit: Unit) -> str:
    ends = interval.estimate, interval.low, interval.high
    if unit == "plain":
        return f"{number(ends[0], 3)} ({' to '.join(number(end, 3) for end in ends[1:])})"
    lead, low, high = (f"{end:.3f}" if unit == "nats" else f"{100 * end:.1f}" for end in ends)
    return f"{lead} {unit} ({low} to {high})"
