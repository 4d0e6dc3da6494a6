"""Records of image classifiers, scored by a metric: on the folds of a search, and on fresh seeds."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from autofreeze import metrics
from autofreeze.job import EpochRecord, Job
from autofreeze.scale import Scale, Unit
from autofreeze.scoring import FreshRuns, FreshTables, Score


class Part(Protocol):
    """Images that a run trains on and is scored on; a ``splits.Split`` is one."""

    @property
    def train(self) -> NDArray[np.int64]:
        """Image ids, (n,)."""

    @property
    def val(self) -> NDArray[np.int64]:
        """Image ids, (n,)."""


class ImageScoring:
    """Scores trials by a metric over the validation images of their folds.

    Args:
        metric: What is scored.
        classes: True classes of the validation images, an array for each fold.
    """

    def __init__(self, metric: metrics.MetricName, classes: Sequence[NDArray[np.int64]]) -> None:
        self.metric: metrics.MetricName = metric
        self._classes = tuple(classes)
        self._effective = [metrics.effective_images(metric, one) for one in self._classes]

    @classmethod
    def of(
        cls, metric: metrics.MetricName, labels: NDArray[np.int64], splits: Sequence[Part]
    ) -> "ImageScoring":
        """Take the classes from those of all images, by the folds."""
        return cls(metric, [labels[split.val] for split in splits])

    @property
    def n_folds(self) -> int:
        """Folds that a trial is scored on."""
        return len(self._classes)

    @property
    def unit(self) -> Unit:
        """Percentage points, or nats of the log loss."""
        return Scale.of(self.metric).unit

    @property
    def overlap(self) -> float:
        """Nothing: images are compared, never folds as a whole."""
        return 0.0

    def tell(self, objective: float) -> str:
        """Write the objective as it is, 0..1."""
        return f"{objective:.3f}"

    def effective_examples(self, fold: int) -> float:
        """Give how many images the metric rests on; see ``metrics.effective_images``."""
        return self._effective[fold]

    def score(self, ends: Sequence[EpochRecord]) -> Score:
        """Score a trial by its last record on each fold."""
        weights = [record.n_val for record in ends]
        val_loss = float(np.average([record.log_loss for record in ends], weights=weights))
        labels = np.concatenate(self._classes[: len(ends)])
        return Score(
            value=metrics.score(self.metric, labels, _predicted(ends), val_loss),
            val_loss=val_loss,
            fold_values=tuple(record.value for record in ends),
            n_val=sum(weights),
        )

    def merits(self, ends: Sequence[EpochRecord]) -> NDArray[np.float64]:
        """Share out the metric to the images of the first folds, from the last record of each."""
        if self.metric == "log_loss":
            return -np.concatenate([metrics.unpack_losses(record.losses) for record in ends])
        labels = np.concatenate(self._classes[: len(ends)])
        return metrics.merits(self.metric, labels, _predicted(ends))


class FreshImageScoring:
    """Scores runs on fresh seeds, whose split is a seed's own or a user's validation part.

    Args:
        metric: What is scored.
        labels: True classes by image id.
        split_of: Which images a job trains on and is scored on.
        n_classes: Classes of the data set.
        own_split: Whether a user's own validation part is used throughout.
    """

    def __init__(
        self,
        metric: metrics.MetricName,
        labels: NDArray[np.int64],
        split_of: Callable[[Job], Part],
        *,
        n_classes: int,
        own_split: bool = False,
    ) -> None:
        self._metric: metrics.MetricName = metric
        self._labels = labels
        self._split_of = split_of
        self._n_classes = n_classes
        self.own_split = own_split
        self._splits: dict[int, Part] = {}

    @property
    def unit(self) -> Unit:
        """Percentage points, or nats of the log loss."""
        return Scale.of(self._metric).unit

    def sizes(self, job: Job) -> tuple[int, int]:
        """Give the images that a job trains on and is scored on."""
        split = self.part_of(job)
        return len(split.train), len(split.val)

    def part_of(self, job: Job) -> Part:
        """Give the images that a job trains on and is scored on; jobs of one seed share them."""
        if job.seed not in self._splits:
            self._splits[job.seed] = self._split_of(job)
        return self._splits[job.seed]

    def tables(self, runs: Mapping[int, FreshRuns]) -> FreshTables:
        """Share out the metric of each run to all images of the data set, those that it scored."""
        first = next((job for pairs in runs.values() for job, _ in pairs if job.fresh == 0), None)
        n_train, n_val = (1, 0) if first is None or self.own_split else self.sizes(first)
        return FreshTables(
            merits={trial: self._table(pairs) for trial, pairs in runs.items()},
            overlap=n_val / n_train,
            strata=self._labels if self._metric in metrics.BY_CLASS else None,
        )

    def averages(self, runs: FreshRuns) -> dict[str, Any]:
        """Average log loss and accuracies, those of the classes over all runs together."""
        if not runs:
            return {}
        ends = [end for _, end in runs]
        labels = np.concatenate([self._labels[self.part_of(job).val] for job, _ in runs])
        predicted = _predicted(ends)
        matrix = metrics.confusion(labels, predicted, self._n_classes)
        shares = metrics.class_accuracies(matrix)
        trained = [end.train_top1 for end in ends if end.train_top1 is not None]
        return {
            "log_loss": float(np.mean([end.log_loss for end in ends])),
            "train_top1": float(np.mean(trained)) if trained else None,
            "top1": float(np.mean(labels == predicted)),
            "class_accuracies": tuple(None if np.isnan(share) else float(share) for share in shares),
        }

    def _table(self, runs: FreshRuns) -> NDArray[np.float64]:
        rows = [job.fresh for job, _ in runs if job.fresh is not None]
        table = np.full((max(rows, default=-1) + 1, len(self._labels)), np.nan)
        for job, end in runs:
            table[job.fresh, self.part_of(job).val] = self._merits(job, end)
        return table

    def _merits(self, job: Job, end: EpochRecord) -> NDArray[np.float64]:
        """Share out the metric of one run to the images that it was scored on."""
        val = self.part_of(job).val
        if end.diverged:
            return np.full(len(val), np.nan)
        if self._metric == "log_loss":
            return -metrics.unpack_losses(end.losses)
        return metrics.merits(self._metric, self._labels[val], end.predicted_classes)


def _predicted(ends: Sequence[EpochRecord]) -> NDArray[np.int64]:
    return np.concatenate([record.predicted_classes for record in ends])
