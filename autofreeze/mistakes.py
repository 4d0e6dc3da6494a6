"""Which classes are taken for which, and the images that are most often wrong."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from autofreeze import metrics
from autofreeze.proportions import share_of
from autofreeze.values import Value

MOST_IMAGES = 24
"""Images that are named."""


class Confusion(Value):
    """How often images of each class were taken for each class, over all runs of a trial."""

    trial: int
    runs: tuple[int, ...]
    """Numbers of the runs: of fresh seeds, or of the search's folds."""

    images: tuple[int, ...]
    """Images by class, in the order of ``StudyResult.data["classes"]``; one that several runs were scored on
    counts once."""

    counts: tuple[tuple[int, int, int], ...]
    """(true class, predicted class, how often), by class; pairs that did not occur are left out."""

    @property
    def matrix(self) -> NDArray[np.int64]:
        """The counts, (classes, classes): a row for each true class, a column for each predicted one."""
        matrix = np.zeros((len(self.images),) * 2, np.int64)
        for label, predicted, count in self.counts:
            matrix[label, predicted] = count
        return matrix


class WrongImage(Value):
    """An image that the best schedule gets wrong."""

    name: str
    """Of its file, below the data's folder; else what the source calls it."""

    label: int
    """Its class in the data."""

    predicted: int
    """The class that it was taken for most often."""

    wrong: int
    """Runs that got it wrong."""

    scored: int
    """Runs that were scored on it."""

    other_wrong: int = 0
    """The same two of the best baseline; both 0 where there is none, or none of its runs was scored on it."""

    other_scored: int = 0
    other_same: int = 0
    """Runs of the best baseline that took it for ``predicted`` too."""

    thumbnail: str = ""
    """A small JPEG as ``data:`` address; empty where it could not be read."""


class Mistakes(Value):
    """What the best schedule gets wrong in validation, beside the best baseline."""

    fresh: bool
    """Whether they are those of the runs on fresh seeds; else of the search's folds."""

    confusions: tuple[Confusion, ...]
    """The best schedule's, then that of the best baseline where there is one. On fresh seeds each rests on
    those that its figures rest on (``Confirmation.seeds_of``)."""

    images: tuple[WrongImage, ...]
    """Those that are most surely wrong first, ``MOST_IMAGES`` at most. They rest on all runs, on fresh seeds
    on those of the choice too: what an image is does not hang on which schedule was chosen, and each seed
    is scored on a part of the images alone."""

    runs: int = 0
    """Runs of the best schedule that ``images`` rest on."""

    images_scored: int = 0
    """Images that any of these was scored on."""

    images_wrong: int = 0
    """Of them those that any of these got wrong."""


@dataclass(frozen=True, eq=False)
class ScoredRun:
    """What a run that came to its end made of its validation images."""

    number: int
    """Of its fresh seed, or of its fold."""

    images: NDArray[np.int64]
    """Image ids, (n,)."""

    predicted: NDArray[np.int64]
    """The class that each was taken for, (n,)."""

    counted: bool = True
    """Whether the trial's figures rest on it."""


@dataclass(frozen=True)
class ScoredTrial:
    """The runs of a trial; those that diverged are not among them."""

    trial: int
    runs: Sequence[ScoredRun]


@dataclass(frozen=True, eq=False)
class Classified:
    """All that was said of images, and what they are."""

    labels: NDArray[np.int64]
    """Classes in the data by image id, (images,)."""

    n_classes: int
    best: ScoredTrial
    baseline: ScoredTrial | None
    fresh: bool
    """As in ``Mistakes``."""


def mistakes_of(
    said: Classified,
    name_of: Callable[[int], str],
    thumbnails: Callable[[Sequence[int]], Sequence[str]],
) -> Mistakes | None:
    """Count mistakes, and name the images that are most surely wrong.

    Images are ordered by the lower end of Wilson's interval of how often they were wrong: 6 of 6 comes
    before 2 of 2, that before 1 of 1, and that before 3 of 6. Of images that are alike in this, that comes
    first which the best baseline is surer to get wrong, then that which it more often takes for the same
    class; then the order is that of the data.

    Args:
        said: The runs.
        name_of: From an image id to its name.
        thumbnails: From image ids to their thumbnails.

    Returns:
        None where no run of the best schedule counts.

    Source:
        Wilson 1927 (``proportions.share_of``).
    """
    trials = [said.best] if said.baseline is None else [said.best, said.baseline]
    found = [_confusion(one, said.labels, said.n_classes) for one in trials]
    if not found[0].runs:
        return None
    own = _tally(said.best)
    other = _tally(said.baseline) if said.baseline else {}
    wrong = [_Said(image, int(said.labels[image]), own[image], other.get(image, ())) for image in own]
    wrong = sorted((one for one in wrong if one.missed), key=lambda one: one.surely)
    shown = wrong[:MOST_IMAGES]
    pictures = thumbnails([one.image for one in shown])
    return Mistakes(
        fresh=said.fresh,
        confusions=tuple(one for one in found if one.runs),
        images=tuple(one.told(name_of, picture) for one, picture in zip(shown, pictures, strict=True)),
        runs=len(said.best.runs),
        images_scored=len(own),
        images_wrong=len(wrong),
    )


def _confusion(trial: ScoredTrial, labels: NDArray[np.int64], n_classes: int) -> Confusion:
    runs = [run for run in trial.runs if run.counted]
    images, predicted = _joined(runs)
    matrix = metrics.confusion(labels[images], predicted, n_classes)
    return Confusion(
        trial=trial.trial,
        runs=tuple(run.number for run in runs),
        images=tuple(np.bincount(labels[np.unique(images)], minlength=n_classes).tolist()),
        counts=tuple((row, column, int(matrix[row, column])) for row, column in np.argwhere(matrix).tolist()),
    )


def _tally(trial: ScoredTrial) -> dict[int, tuple[int, ...]]:
    """Give by image that was scored the classes that the runs took it for, in their order."""
    images, predicted = _joined(trial.runs)
    order = np.argsort(images, kind="stable")
    scored, starts = np.unique(images[order], return_index=True)
    taken = np.split(predicted[order], starts)[1:]
    return {image: tuple(one.tolist()) for image, one in zip(scored.tolist(), taken, strict=True)}


@dataclass(frozen=True)
class _Said:
    """What runs said of one image."""

    image: int
    label: int
    best: tuple[int, ...]
    """The class that each run of the best schedule took it for."""

    other: tuple[int, ...]
    """The same of the best baseline."""

    @property
    def missed(self) -> int:
        return len(self.best) - self.best.count(self.label)

    @property
    def predicted(self) -> int:
        """The wrong class that it was taken for most often, among equals the first one."""
        return max(sorted(set(self.best) - {self.label}), key=self.best.count)

    @property
    def surely(self) -> tuple[float, float, int, int]:
        """By what images are ordered; see :func:`mistakes_of`."""
        other_missed, other_scored, same = self._others
        least = _least(self.missed, len(self.best)), _least(other_missed, other_scored)
        return -least[0], -least[1], -same, self.image

    @property
    def _others(self) -> tuple[int, int, int]:
        scored = len(self.other)
        return scored - self.other.count(self.label), scored, self.other.count(self.predicted)

    def told(self, name_of: Callable[[int], str], thumbnail: str) -> WrongImage:
        """Give it as the report holds it."""
        other_wrong, other_scored, other_same = self._others
        return WrongImage(
            name=name_of(self.image),
            label=self.label,
            predicted=self.predicted,
            wrong=self.missed,
            scored=len(self.best),
            other_wrong=other_wrong,
            other_scored=other_scored,
            other_same=other_same,
            thumbnail=thumbnail,
        )


def _joined(runs: Sequence[ScoredRun]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    nothing = np.zeros(0, np.int64)
    return (
        np.concatenate([nothing, *(run.images for run in runs)]),
        np.concatenate([nothing, *(run.predicted for run in runs)]),
    )


@cache
def _least(wrong: int, scored: int) -> float:
    """Give the share that an image is wrong at least, by 97.5 %."""
    return share_of(wrong, scored).low
