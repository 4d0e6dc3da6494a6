"""Folds as rungs: how trials stand after so many folds."""

from autofreeze.curves import StudyCurves
from autofreeze.pruning import Decision, Standing, judge_standing
from autofreeze.results import Ending, TrialResult
from autofreeze.scoring import Scoring, curves_of, leader


class Rungs:
    """Every trial's standing after each number of folds.

    A standing follows from the trial's own records on these folds and never changes: of a sweep it is that of
    the head that leads on them. So a search that was killed judges as the unbroken one.

    Args:
        scoring: What records are worth.
        curves: Those of the study.
    """

    def __init__(self, scoring: Scoring, curves: StudyCurves) -> None:
        self._scoring = scoring
        self._curves = curves
        self._standings: dict[int, dict[int, Standing]] = {}

    def reach(self, number: int, folds: int) -> None:
        """Take note that a trial has been trained to the end of its first folds, and was stable."""
        for rung in range(1, folds + 1):
            standings = self._standings.setdefault(rung, {})
            if number not in standings:
                standings[number] = self._standing(number, rung)

    def reload(self, result: TrialResult) -> None:
        """Take note of a trial that ended in an earlier session."""
        curves = self._curves.of(result.number)
        finished = sum(curve[-1].last for curve in curves.values())
        if result.ending in (Ending.UNSTABLE, Ending.NOT_COMPARABLE):
            finished = min(finished, max(curves, default=0))  # it ended on its last fold
        self.reach(result.number, finished)

    def judge(self, number: int, folds: int) -> Decision:
        """Judge a trial against all others that have come as far."""
        standings = self._standings[folds]
        others = [standing for other, standing in standings.items() if other != number]
        return judge_standing(standings[number], others, folds=folds)

    def _standing(self, number: int, folds: int) -> Standing:
        known = self._curves.of(number)
        curves = {fold: known[fold] for fold in range(folds)}
        told = curves_of(curves, leader(self._scoring, curves))
        score = self._scoring.score([told[fold][-1] for fold in range(folds)])
        return score.value, 0.0 if score.val_loss is None else -score.val_loss
