"""Finalists: which schedules of a search are worth fresh seeds."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from autofreeze.confirmation import Arm, arm_of
from autofreeze.pruning import Unpromising, judge_fold
from autofreeze.results import Ending, TrialResult, rank
from autofreeze.scale import Unit
from autofreeze.values import Value

BY_ARM = 2
"""Finalists of each arm."""

FEWEST, MOST = 3, 5
"""Finalists in all, where the search has as many schedules."""


class Finalist(Value):
    """A trial whose schedule is confirmed."""

    trial: TrialResult
    finalist: bool
    """Whether the search chose it; otherwise it is a baseline that could win."""

    @property
    def arm(self) -> Arm:
        """Whether it freezes first."""
        return arm_of(self.trial.schedule)

    @property
    def complexity(self) -> tuple[int, float]:
        """Sort key: the simpler comes first, and of equally simple ones the cheaper.

        Simplicity is counted in what somebody would have to write down: phases, and rates that differ.
        """
        phases = self.trial.schedule.phases
        rates = {lr for phase in phases for lr in phase.lrs if lr is not None}
        return (len(phases) + len(rates), self.trial.work)


def choose_finalists(
    trials: Sequence[TrialResult],
    merits: Mapping[int, NDArray[np.float64]],
    *,
    unit: Unit = "points",
    overlap: float = 0.0,
) -> tuple[Finalist, ...]:
    """Choose who goes on to fresh seeds: two of each arm, the next best, and the baselines that could win.

    The next best ones fill up to three, and one more comes when it could win. A schedule could win when it
    is not behind the best one by more than the 5 % limit of a paired test on the same images
    (``pruning.judge_fold``). Equal schedules count once, and so do
    the rates by which one baseline was tuned.

    Args:
        trials: Those of the search.
        merits: By trial number, for the complete ones: the metric shared out to the images, as for
            ``judge_fold``; all in the same order of images.
        unit: As for ``judge_fold``.
        overlap: As for ``judge_fold``.

    Returns:
        The finalists by rank, then the baselines as they ran; empty when nothing is complete.
    """
    complete = _eligible([one for one in trials if one.ending is Ending.COMPLETE and one.same_as is None])
    ranked = sorted((one for one in complete if one.affordable), key=rank, reverse=True)
    if not ranked:
        return ()
    best = ranked[0]

    def could_win(trial: TrialResult) -> bool:
        judged = judge_fold(merits[trial.number], merits[best.number], unit=unit, overlap=overlap)
        return not isinstance(judged, Unpromising)

    chosen = {one.number for arm in ("freeze_first", "at_once") for one in _of_arm(ranked, arm)[:BY_ARM]}
    for trial in ranked:
        wanted = len(chosen) < FEWEST or (len(chosen) < MOST and could_win(trial))
        if trial.number not in chosen and not wanted:
            break
        chosen.add(trial.number)
    baselines = [one for one in complete if one.baseline and one.number not in chosen and could_win(one)]
    return (
        *(Finalist(trial=one, finalist=True) for one in ranked if one.number in chosen),
        *(Finalist(trial=one, finalist=False) for one in baselines),
    )


def _of_arm(ranked: Sequence[TrialResult], arm: str) -> list[TrialResult]:
    return [one for one in ranked if arm_of(one.schedule) == arm]


def _eligible(complete: Sequence[TrialResult]) -> list[TrialResult]:
    """Of the rates by which a baseline was tuned only the best: they are one schedule at many rates."""
    tuned = {one.baseline: one.number for one in sorted(complete, key=rank) if one.tuned}
    return [one for one in complete if not one.tuned or one.number in tuned.values()]
