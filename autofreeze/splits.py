"""Which training images a trial trains on, and which it is scored on."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import StratifiedKFold

from autofreeze.errors import ConfigError, DataError

Indices = npt.NDArray[np.int64]

MOST_FOLDS = 5
ENOUGH_VALIDATION_IMAGES = 500
"""Folds are added until they hold this many validation images together.

At an accuracy of 0.9, 500 images leave a standard error of 1.3 points.
"""


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Image ids to train on and to validate with; ascending, disjoint, read-only."""

    train: Indices
    val: Indices

    def __post_init__(self) -> None:
        for name in ("train", "val"):
            ids = np.sort(np.asarray(getattr(self, name), dtype=np.int64))
            ids.flags.writeable = False
            object.__setattr__(self, name, ids)


def scoring_splits(
    labels: Indices, train: Indices, val: Indices, *, seed: int, folds: int | None = None
) -> tuple[Split, ...]:
    """Make the splits that trials are scored on.

    A user's own validation part is taken as it is. Otherwise the training part is cut into five stratified
    folds (fewer when the smallest class has fewer than five images), and as many of them are used as make
    500 validation images together. The order of ``train`` does not matter.

    Args:
        labels: (n,), the class of every image.
        train: Image ids of the training part.
        val: Image ids of the user's validation part, possibly none.
        seed: 0 to 2**32 - 1. The same seed gives the same folds on any machine.
        folds: How many folds to use, instead of as many as make 500 images.

    Returns:
        One split, or one per fold used; the first ``k`` are the same whatever ``folds`` is.

    Raises:
        ConfigError: ``folds`` or ``seed`` is out of range, or folds are asked for beside a validation part.
        DataError: A class has only one training image.

    Source:
        Stratified folds: scikit-learn, ``StratifiedKFold``.
    """
    if not 0 <= seed < 2**32:
        raise ConfigError(f"seed: got {seed}; must lie in 0..4294967295")
    if len(val):
        if folds not in (None, 1):
            raise ConfigError(
                f"folds: got {folds}; your own validation part is one split; leave folds out, or pool "
                "it with the training part (--resplit)"
            )
        return (Split(train, val),)
    ids = np.sort(np.asarray(train, dtype=np.int64))
    parts = _part_count(labels[ids])
    if folds is not None and not 1 <= folds <= parts:
        reason = "" if parts == MOST_FOLDS else ", as many as the smallest class has training images"
        raise ConfigError(f"folds: got {folds}; must lie in 1..{parts}{reason}")
    cutter = StratifiedKFold(parts, shuffle=True, random_state=seed)
    splits = [Split(ids[rest], ids[held]) for rest, held in cutter.split(ids, labels[ids])]
    return tuple(splits[: folds or _enough([len(split.val) for split in splits])])


def _part_count(labels: Indices) -> int:
    counts = np.unique(labels, return_counts=True)[1]
    if not len(counts) or counts.min() < 2:
        raise DataError("a class has fewer than 2 training images, so none is left to validate with")
    return min(MOST_FOLDS, int(counts.min()))


def _enough(sizes: list[int]) -> int:
    held = np.cumsum(sizes)
    return min(len(sizes), int(np.searchsorted(held, ENOUGH_VALIDATION_IMAGES)) + 1)
