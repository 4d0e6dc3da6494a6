"""A schedule that stands in the demonstration's comparison."""

from dataclasses import dataclass
from statistics import mean, stdev
from typing import Any


@dataclass(frozen=True)
class Contender:
    """A schedule on the test part, over several seeds."""

    name: str
    words: str
    test: tuple[float, ...]
    """Top-1 by seed."""

    n_test: int

    @property
    def spread(self) -> float:
        """Standard deviation over the seeds; 0 with one."""
        return stdev(self.test) if len(self.test) > 1 else 0.0

    @property
    def error(self) -> float:
        """Standard error of the mean, for other test images and other seeds."""
        value = mean(self.test)
        return float((value * (1 - value) / self.n_test + self.spread**2 / len(self.test)) ** 0.5)

    def to_plain(self) -> dict[str, Any]:
        """Give the figures as plain data."""
        return {
            "name": self.name, "what": self.words, "test": list(self.test), "mean": mean(self.test),
            "spread": self.spread, "standard_error": self.error, "n_test": self.n_test,
        }  # fmt: skip
