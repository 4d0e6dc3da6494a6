"""What records of a training of one's own are worth: by example where it tells scores, else by run."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autofreeze.job import EpochRecord, Job
from autofreeze.own.epoch import unpack_ids, unpack_scores
from autofreeze.scale import Scale, Unit
from autofreeze.scoring import FreshRuns, FreshTables, Score


class OwnScoring:
    """Scores trials by what their runs yielded last.

    Args:
        scale: Of the value.
        n_folds: Folds that a trial is scored on, >= 1.
        overlap: Examples that are held out by those trained on, where each fold or seed holds out others; 0
            where all are scored on the same.
    """

    unit: Unit = "plain"

    def __init__(self, scale: Scale, n_folds: int, overlap: float) -> None:
        self._scale = scale
        self.n_folds = n_folds
        self._overlap = overlap
        self._by_example = False

    @property
    def overlap(self) -> float:
        """That of whole runs; it does not count where examples are compared, as the last merits were."""
        return 0.0 if self._by_example else self._overlap

    def tell(self, objective: float) -> str:
        """Write a value as it was yielded."""
        return self._scale.figure(self._scale.shown(objective))

    def effective_examples(self, fold: int) -> None:  # noqa: ARG002 - the shape of a scoring
        """Give nothing: a record says itself how many examples it rests on."""
        return

    def score(self, ends: Sequence[EpochRecord]) -> Score:
        """Score a trial by its last record on each fold: the mean over all examples, else over the folds."""
        merits = self.merits(ends)
        known = [end.val_loss for end in ends if end.val_loss is not None]
        weights = [max(end.n_val, 1) for end in ends]
        return Score(
            value=float(merits.mean()),
            val_loss=float(np.average(known, weights=weights)) if len(known) == len(ends) else None,
            fold_values=tuple(end.value for end in ends),
            n_val=sum(end.n_val for end in ends),
        )

    def merits(self, ends: Sequence[EpochRecord]) -> NDArray[np.float64]:
        """Give the objective of each example of the first folds, else that of each fold."""
        self._by_example = all(end.scores for end in ends)
        if not self._by_example:
            return np.array([end.value for end in ends])
        return np.concatenate([_in_order(end) for end in ends])


class OwnFreshScoring:
    """Scores runs on fresh seeds.

    Args:
        overlap: As for :class:`OwnScoring`.
    """

    unit: Unit = "plain"

    def __init__(self, overlap: float) -> None:
        self.overlap = overlap

    @property
    def own_split(self) -> bool:
        """Whether all seeds are scored on the same examples."""
        return self.overlap == 0

    def sizes(self, job: Job) -> tuple[int, int]:  # noqa: ARG002 - the shape of a scoring
        """Give nothing: nobody says how many examples are trained on."""
        return 0, 0

    def tables(self, runs: Mapping[int, FreshRuns]) -> FreshTables:
        """Lay out scores by seed and example; with bare values one column, a number for each seed.

        Examples are told apart by their ids; without any the first of each seed is the same one.
        """
        ends = [end for own in runs.values() for _, end in own if not end.diverged]
        by_example = bool(ends) and all(end.scores for end in ends)
        columns = _columns([end for end in ends if by_example])
        width = max(columns.values(), default=-1) + 1 if by_example else 1
        return FreshTables(
            merits={trial: self._table(own, columns, width, by_example) for trial, own in runs.items()},
            overlap=self.overlap,
        )

    def averages(self, runs: FreshRuns) -> dict[str, Any]:
        """Average the validation loss, where all runs tell it."""
        losses = [end.val_loss for _, end in runs if end.val_loss is not None]
        return {"log_loss": float(np.mean(losses))} if losses and len(losses) == len(runs) else {}

    @staticmethod
    def _table(
        runs: FreshRuns, columns: Mapping[int, int], width: int, by_example: bool
    ) -> NDArray[np.float64]:
        rows = [job.fresh for job, _ in runs if job.fresh is not None]
        table = np.full((max(rows, default=-1) + 1, width), np.nan)
        for job, end in runs:
            if end.diverged:
                continue
            if by_example:
                table[job.fresh, [columns[one] for one in _names(end)]] = unpack_scores(end.scores)
            else:
                table[job.fresh, 0] = end.value
        return table


def _names(end: EpochRecord) -> list[int]:
    """Give what tells the examples of a run apart: the hashes of their ids, else their places."""
    return unpack_ids(end.ids).tolist() if end.ids else list(range(end.n_val))


def _columns(ends: Sequence[EpochRecord]) -> dict[int, int]:
    """Give each example a column."""
    names = sorted({name for end in ends for name in _names(end)})
    return {name: column for column, name in enumerate(names)}


def _in_order(end: EpochRecord) -> NDArray[np.float64]:
    """Give the scores of a run in an order that all runs on the same examples have."""
    scores = unpack_scores(end.scores)
    return scores[np.argsort(unpack_ids(end.ids), kind="stable")] if end.ids else scores
