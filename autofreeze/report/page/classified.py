"""What the best schedule and the best baseline make of each class, for the figures that show it."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from autofreeze.figures import name_of_trial
from autofreeze.mistakes import Confusion, Mistakes
from autofreeze.phrases import capitalised, counted, printable
from autofreeze.report.report import Report

MOST_CLASSES = 40
"""Classes that a figure shows."""

IN_WORDS = 40
"""Characters of a name in a sentence."""


@dataclass(frozen=True)
class Side:
    """One of the two schedules."""

    confusion: Confusion
    name: str
    """Of the trial."""

    fresh: bool

    @cached_property
    def matrix(self) -> NDArray[np.int64]:
        """How often each class (rows) was taken for each (columns)."""
        return self.confusion.matrix

    @cached_property
    def scored(self) -> NDArray[np.int64]:
        """How often images of each class were scored, (classes,)."""
        scored: NDArray[np.int64] = self.matrix.sum(axis=1)
        return scored

    @cached_property
    def right(self) -> NDArray[np.int64]:
        """How often they were classified rightly."""
        return self.matrix.diagonal()

    def accuracy(self, label: int) -> float | None:
        """Give the share of a class that was classified rightly; None where no image of it was scored."""
        scored = int(self.scored[label])
        return int(self.right[label]) / scored if scored else None

    @property
    def whole(self) -> float:
        """Share of all that were classified rightly."""
        return float(self.right.sum() / self.scored.sum())

    @property
    def runs(self) -> str:
        """On how many runs it rests: ``6 runs on fresh seeds``."""
        where = "on fresh seeds" if self.fresh else "of the search, on one seed"
        return f"{counted(len(self.confusion.runs), 'run')} {where}"


@dataclass(frozen=True)
class Classified:
    """Both schedules, class by class."""

    names: tuple[str, ...]
    """Of the classes."""

    best: Side
    baseline: Side | None

    @classmethod
    def of(cls, report: Report) -> "Classified | str":
        """Take it from a report; where there is nothing to take, the reason is given."""
        found = report.evidence.mistakes
        if found is None:
            return _why_none(report)
        trials = {one.number: name_of_trial(one) for one in report.result.trials}
        best, *others = (Side(one, trials[one.trial], found.fresh) for one in found.confusions)
        return cls(tuple(report.result.data["classes"]), best, others[0] if others else None)

    @property
    def basis(self) -> str:
        """Say what the figures rest on."""
        images = sum(self.best.confusion.images)
        told = f"{capitalised(self.best.runs)}, in all {counted(f'{images:,}', 'validation image')}"
        if self.baseline is not None and self.baseline.confusion.runs != self.best.confusion.runs:
            told += f"; {self.baseline.name} was left behind early, and rests on {self.baseline.runs}"
        if not self.best.fresh:
            told += ". The best of many is partly luck, by class as well"
        return f"{told}."

    @property
    def order(self) -> list[int]:
        """The classes, the lowest accuracy of the best schedule first; those that were never scored last."""
        shares = [self.best.accuracy(label) for label in range(len(self.names))]
        return sorted(range(len(self.names)), key=lambda one: (shares[one] is None, shares[one] or 0.0, one))

    def name(self, label: int) -> str:
        """Give the name of a class, printable."""
        return printable(self.names[label])

    def short(self, label: int) -> str:
        """Give it for a sentence, where it must not be long."""
        name = self.name(label)
        return name if len(name) <= IN_WORDS else f"{name[: IN_WORDS - 1]}…"


def _why_none(report: Report) -> str:
    if report.result.kind == "own":
        return "A training of one's own has no classes."
    if report.result.best is None:
        return f"{capitalised(report.verdict.headline)}."
    return "No run of the best schedule has come to its end, or the report is of a version that did not look."


def of_images(found: Mistakes) -> str:
    """Say what counts of images rest on."""
    where = "on fresh seeds" if found.fresh else "of the search, on one seed"
    return f"{counted(found.runs, 'run')} {where}"
