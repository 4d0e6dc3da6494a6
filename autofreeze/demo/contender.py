"""A schedule that stands in the demonstration's comparison."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Contender:
    """A schedule on the test part, over several seeds."""

    name: str
    words: str
    correct: NDArray[np.bool_]
    """Which test images were classified rightly, (seeds, test images)."""

    @property
    def test(self) -> tuple[float, ...]:
        """Top-1 by seed."""
        return tuple(self.correct.mean(axis=1).tolist())

    @property
    def mean(self) -> float:
        """Top-1 over all seeds."""
        return float(self.correct.mean())

    @property
    def spread(self) -> float:
        """Standard deviation of top-1 over the seeds; 0 with one."""
        return _deviation(self.correct.mean(axis=1))

    def lead_over(self, other: "Contender") -> tuple[float, float]:
        """By how much this one leads another, and the standard error of that lead.

        Both are tested on the same images with the same seeds, so differences are taken image by image and
        seed by seed. The error adds the two variances: for other test images, and for other seeds.
        """
        difference = self.correct.astype(float) - other.correct
        by_image, by_seed = difference.mean(axis=0), difference.mean(axis=1)
        error = sum(_deviation(means) ** 2 / len(means) for means in (by_image, by_seed)) ** 0.5
        return float(difference.mean()), float(error)

    def to_plain(self) -> dict[str, Any]:
        """Give the figures as plain data."""
        return {
            "name": self.name, "what": self.words, "test": list(self.test), "mean": self.mean,
            "spread": self.spread, "n_test": self.correct.shape[1],
        }  # fmt: skip


def _deviation(values: NDArray[np.float64]) -> float:
    return float(values.std(ddof=1)) if len(values) > 1 else 0.0
