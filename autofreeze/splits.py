"""Which images are held out as a test part, which a trial trains on, and which it is scored on."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

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


def hold_out(
    labels: Indices, content: Sequence[str], *, seed: int, share: float, subjects: Indices | None = None
) -> npt.NDArray[np.bool_]:
    """Hold out a share of each class as the test part.

    What is held out follows from the seed and the contents, not from names, numbers or order. Byte-equal
    images of a class never lie on both sides, nor do images of one subject.

    Without subjects, a class of three or more images gives at least one, and keeps at least two. With
    subjects the same holds for a class's subjects, and the shares are met as nearly as whole subjects allow,
    drawn in an order that the seed decides.

    Args:
        labels: (n,), the class of every image.
        content: A hash of every image.
        seed: Any whole number.
        share: 0 <= share < 1.
        subjects: (n,), whose image it is.

    Returns:
        (n,), which images are held out.

    Raises:
        DataError: There are too few subjects for a test part.
    """
    if not share:
        return np.zeros(len(labels), dtype=np.bool_)
    if subjects is not None:
        return _hold_out_subjects(labels, content, seed, share, subjects)
    held = np.zeros(len(labels), dtype=np.bool_)
    ranks = [_rank(seed, digest) for digest in content]
    for label in np.unique(labels):
        ids = sorted(np.flatnonzero(labels == label).tolist(), key=lambda image: (ranks[image], image))
        held[ids[: _held_count(ids, ranks, share)]] = True
    return held


def scoring_splits(
    labels: Indices,
    train: Indices,
    val: Indices,
    *,
    seed: int,
    folds: int | None = None,
    subjects: Indices | None = None,
) -> tuple[Split, ...]:
    """Make the splits that trials are scored on.

    A user's own validation part is taken as it is. Otherwise the training part is cut into five stratified
    folds (fewer when the smallest class has fewer than five images, or subjects), and as many of them are
    used as make 500 validation images together. The order of ``train`` does not matter.

    Args:
        labels: (n,), the class of every image.
        train: Image ids of the training part.
        val: Image ids of the user's validation part, possibly none.
        seed: 0 to 2**32 - 1. The same seed gives the same folds on any machine.
        folds: How many folds to use, instead of as many as make 500 images.
        subjects: (n,), whose image it is (patient, scene). No subject lies on both sides of a fold; how the
            subjects are numbered does not matter.

    Returns:
        One split, or one per fold used; the first ``k`` are the same whatever ``folds`` is.

    Raises:
        ConfigError: ``folds`` or ``seed`` is out of range, or folds are asked for beside a validation part.
        DataError: A class has only one training image, or training images of only one subject.

    Source:
        Stratified folds: scikit-learn, ``StratifiedKFold`` and ``StratifiedGroupKFold``.
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
    if subjects is None:
        splits, scarce = _cut(labels, ids, seed), "images"
    else:
        splits, scarce = _cut_by_subject(labels, ids, subjects[ids], seed), "subjects"
    if folds is not None and not 1 <= folds <= len(splits):
        reason = "" if len(splits) == MOST_FOLDS else f", as many as the smallest class has training {scarce}"
        raise ConfigError(f"folds: got {folds}; must lie in 1..{len(splits)}{reason}")
    return tuple(splits[: folds or _enough([len(split.val) for split in splits])])


# Folds


def _cut(labels: Indices, ids: Indices, seed: int) -> list[Split]:
    counts = np.unique(labels[ids], return_counts=True)[1]
    if not len(counts) or counts.min() < 2:
        raise DataError("a class has fewer than 2 training images, so none is left to validate with")
    cutter = StratifiedKFold(min(MOST_FOLDS, int(counts.min())), shuffle=True, random_state=seed)
    return [Split(ids[rest], ids[held]) for rest, held in cutter.split(ids, labels[ids])]


def _cut_by_subject(labels: Indices, ids: Indices, owners: Indices, seed: int) -> list[Split]:
    """Cut into as many folds as leave images of every class on the training side of each."""
    owned = np.unique(np.stack([labels[ids], owners]), axis=1)
    counts = np.unique(owned[0], return_counts=True)[1]  # subjects of each class
    if not len(counts) or counts.min() < 2:
        raise DataError(
            "a class has training images of fewer than 2 subjects, so none is left to validate with; add "
            "images of others, name a validation part, or leave the subjects out"
        )
    # By first appearance: the cutter breaks ties by the groups' order, and their numbers mean nothing.
    _, firsts, owners = np.unique(owners, return_index=True, return_inverse=True)
    owners = np.argsort(np.argsort(firsts))[owners]
    for parts in range(min(MOST_FOLDS, int(counts.min())), 1, -1):
        cutter = StratifiedGroupKFold(parts, shuffle=True, random_state=seed)
        splits = [Split(ids[rest], ids[held]) for rest, held in cutter.split(ids, labels[ids], owners)]
        if all(len(np.unique(labels[split.train])) == len(counts) and len(split.val) for split in splits):
            return splits
    raise DataError(
        "the subjects cannot be cut into folds that all leave training images of every class; add images of "
        "other subjects, name a validation part, or leave the subjects out"
    )


def _enough(sizes: list[int]) -> int:
    held = np.cumsum(sizes)
    return min(len(sizes), int(np.searchsorted(held, ENOUGH_VALIDATION_IMAGES)) + 1)


# The held-out part


def _rank(seed: int, *digests: str) -> bytes:
    """Draw a place in the order of holding out, from contents alone."""
    return hashlib.blake2b(" ".join((str(seed), *digests)).encode(), digest_size=16).digest()


def _held_count(ids: Sequence[int], ranks: Sequence[bytes], share: float) -> int:
    count = max(0, min(max(1, round(share * len(ids))), len(ids) - 2))
    while count and ranks[ids[count - 1]] == ranks[ids[count]]:
        count -= 1  # byte-equal images stay on one side
    return count


@dataclass(frozen=True, slots=True)
class _Unit:
    """Images that stay on one side: of one subject, or of subjects that share an image."""

    rank: tuple[bytes, bytes]
    """Places in the order of holding out: by contents, and where these are equal, by contents and classes."""

    counts: tuple[tuple[int, int], ...]
    """(class, images), for the classes that it has."""

    number: int


def _hold_out_subjects(
    labels: Indices, content: Sequence[str], seed: int, share: float, subjects: Indices
) -> npt.NDArray[np.bool_]:
    unit_of = _tie(labels, content, subjects)
    units = _units(labels, content, unit_of, seed)
    images = Counter(labels.tolist())
    left = Counter(label for unit in units for label, _ in unit.counts)
    """Units of each class that are not held out; two of each stay, to train on and to validate with."""
    held: Counter[int] = Counter()
    taken: set[int] = set()

    def take(unit: _Unit) -> None:
        taken.add(unit.number)
        held.update(dict(unit.counts))
        left.subtract(label for label, _ in unit.counts)

    def spare(unit: _Unit) -> bool:
        return unit.number not in taken and all(left[label] > 2 for label, _ in unit.counts)

    def nearer(unit: _Unit) -> float:
        """How much nearer the shares come, summed over classes."""
        return sum(
            abs(share - held[label] / images[label]) - abs(share - (held[label] + count) / images[label])
            for label, count in unit.counts
        )

    for unit in units:
        if spare(unit) and nearer(unit) > 0:
            take(unit)
    for label in sorted(images, key=lambda label: (images[label], label)):
        if not held[label]:
            have = [unit for unit in units if spare(unit) and label in dict(unit.counts)]
            if have:
                take(max(have, key=nearer))
    if not taken:
        count = len(np.unique(subjects))
        joined = f" ({len(units)} when those that share an image count as one)" if len(units) < count else ""
        raise DataError(
            f"{count} subject{'' if count == 1 else 's'}{joined}: too few to hold out a test part; a class "
            "keeps at least 2 to train and validate with; add images of others, name the parts, or leave the "
            "test part out (--test-share 0)"
        )
    return np.isin(unit_of, list(taken))


def _tie(labels: Indices, content: Sequence[str], subjects: Indices) -> Indices:
    """Give one number to what stays together: subjects, tied where they share an image of one class."""
    seen: dict[tuple[int, str], int] = {}
    first = [
        seen.setdefault(key, subject)
        for key, subject in zip(zip(labels.tolist(), content, strict=True), subjects.tolist(), strict=True)
    ]
    size = int(subjects.max()) + 1
    links = coo_array((np.ones(len(subjects)), (subjects, first)), shape=(size, size))
    return np.asarray(connected_components(links, directed=False)[1])[subjects].astype(np.int64)


def _units(labels: Indices, content: Sequence[str], unit_of: Indices, seed: int) -> list[_Unit]:
    """Give the units in the order of holding out."""
    units = []
    order = np.argsort(unit_of, kind="stable")
    for ids in np.split(order, np.flatnonzero(np.diff(unit_of[order])) + 1):
        digests = sorted(content[image] for image in ids)
        pairs = sorted(f"{content[image]}/{labels[image]}" for image in ids)
        counts = tuple(sorted(Counter(labels[ids].tolist()).items()))
        units.append(_Unit((_rank(seed, *digests), _rank(seed, *pairs)), counts, int(unit_of[ids[0]])))
    return sorted(units, key=lambda unit: unit.rank)
