"""What the checks share: cases, parts, and counts in words."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from autofreeze.data import PARTS, Dataset, Indices, Part

PAIRS: tuple[tuple[Part, Part], ...] = (("val", "train"), ("test", "train"), ("test", "val"))
"""Parts that may share nothing: the one that is scored on, and the one it may not have been seen in."""


def parts_of(dataset: Dataset) -> Indices:
    """(n,), the number of each image's part in ``PARTS``; -1 for images in none."""
    parts = np.full(len(dataset), -1, dtype=np.int64)
    for number, part in enumerate(PARTS):
        parts[dataset.part(part)] = number
    return parts


def within(dataset: Dataset, which: npt.NDArray[np.bool_]) -> Indices:
    """Ids of the images in some part for which something holds."""
    return np.flatnonzero(which & (parts_of(dataset) >= 0))


def classes_where(dataset: Dataset, part: Part, holds: Callable[[int], bool]) -> tuple[str, ...]:
    """Names of the classes for whose number of images in a part something holds."""
    counts = zip(dataset.classes, dataset.counts[part], strict=True)
    return tuple(name for name, count in counts if holds(count))


def case_of(dataset: Dataset, ids: Sequence[int] | Indices) -> tuple[str, ...]:
    """Names of images that stand together."""
    return tuple(dataset.paths[image] for image in ids)


def names_of(dataset: Dataset, ids: Indices) -> tuple[tuple[str, ...], ...]:
    """Names of images, each a case of its own."""
    return tuple((dataset.paths[image],) for image in ids)


def some(names: Sequence[str], most: int = 10) -> str:
    """Name things, the first ones alone where there are many."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more:,} more" if more > 0 else "")


def percent(share: float) -> str:
    """Write a share: ``0.4 %``."""
    return f"{100 * share:.2g} %"


def counted(count: int, one: str, many: str = "") -> str:
    """Count things: ``1 image``, ``1,200 images``."""
    return f"{count:,} {one if count == 1 else many or f'{one}s'}"


def verb(count: int, one: str, many: str) -> str:
    """Choose the form of a verb."""
    return one if count == 1 else many
