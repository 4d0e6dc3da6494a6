"""Predictions as CSV: one row for each image, whatever it is called; and what is told of them."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from autofreeze.phrases import counted

FIXED = ("file", "predicted", "probability", "problem")
"""Columns that every table has; the most probable class, how probable it is, why there is none."""

DIGITS = 9
"""Significant digits of a probability: as many as its 32 bits hold."""

MOST_TOLD = 10
"""Images without a prediction that are named on the terminal; the file has all of them."""


@dataclass(frozen=True)
class Predicted:
    """What came of a prediction."""

    images: int
    by_class: dict[str, int]
    """Class -> images, in the order of the outputs; classes without an image are left out."""

    problems: tuple[str, ...]
    """File and reason, of the images that have no prediction."""

    passed_over: int = 0
    """Files in the folders that are no images by their ending."""


class PredictionTable:
    """Writes predictions as rows of CSV (RFC 4180, lines that end in a line feed).

    Text is quoted and numbers are not, so that no name is taken for a number, and line ends in it do no harm.
    The columns of classes are called ``p_`` and the class: none can be called like another column.

    Args:
        stream: Text stream that leaves line ends as they are.
        classes: Label names in the order of the outputs.
        top: So many classes, the most probable first, instead of a column for each class.
    """

    def __init__(self, stream: TextIO, classes: Sequence[str], top: int | None = None) -> None:
        self._writer = csv.writer(stream, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
        self._classes = np.array(classes, dtype=object)
        self._top = top
        more = (
            [f"p_{name}" for name in classes]
            if top is None
            else [f"{name}_{place}" for place in range(2, top + 1) for name in ("predicted", "probability")]
        )
        self._width = len(more)
        self._counts = np.zeros(len(classes), np.int64)
        self._problems: list[str] = []
        self._images = 0
        self._writer.writerow([*FIXED, *more])

    def write(
        self, names: Sequence[str], probabilities: NDArray[np.float64], problems: Sequence[str]
    ) -> None:
        """Write rows.

        Args:
            names: Of the images, (n,).
            probabilities: (n, classes); what a row with a problem holds does not matter.
            problems: Why there is no prediction, (n,); empty where there is one.
        """
        known = np.array([not problem for problem in problems], dtype=np.bool_)
        best = probabilities[known].argmax(axis=1)
        self._counts += np.bincount(best, minlength=len(self._counts))
        self._images += len(names)
        told = zip(names, problems, strict=True)
        self._problems += [f"{name}: {problem}" for name, problem in told if problem]
        cells = self._cells(probabilities)
        empty = [None] * self._width
        self._writer.writerows(
            [name, None, None, problem, *empty] if problem else [name, *row[:2], None, *row[2:]]
            for name, problem, row in zip(names, problems, cells, strict=True)
        )

    def summary(self, passed_over: int = 0) -> Predicted:
        """Say what has been written.

        Args:
            passed_over: Files in the folders that are no images by their ending.
        """
        counts = zip(self._classes.tolist(), self._counts.tolist(), strict=True)
        by_class = {name: count for name, count in counts if count}
        return Predicted(self._images, by_class, tuple(self._problems), passed_over)

    def _cells(self, probabilities: NDArray[np.float64]) -> Iterator[list[Any]]:
        """Give the predicted class, its probability, and the further columns of each row."""
        order = np.argsort(-probabilities, axis=1, kind="stable")[:, : self._top or 1]
        chosen = np.take_along_axis(probabilities, order, axis=1)
        for row, labels, best in zip(probabilities, self._classes[order].tolist(), chosen, strict=True):
            pairs = zip(labels, short(best), strict=True)
            cells = [cell for pair in pairs for cell in pair]
            yield cells if self._top else [*cells, *short(row)]


def short(probabilities: NDArray[np.float64]) -> list[float]:
    """Round probabilities, (n,), to ``DIGITS`` significant digits."""
    return [float(f"{one:.{DIGITS}g}") for one in probabilities.tolist()]


def lines_of(predicted: Predicted, output: Path | None) -> list[str]:
    """Say what came of a prediction, what could not be read first."""
    lines = []
    if predicted.problems:
        some = predicted.problems[:MOST_TOLD]
        more = len(predicted.problems) - len(some)
        lines.append(
            f"{len(predicted.problems):,} of {counted(predicted.images, 'image')} cannot be read; "
            "the column problem says why:"
        )
        lines += [f"  {problem}" for problem in some]
        lines += [f"  and {more:,} more"] if more else []
    if predicted.passed_over:
        lines.append(f"{counted(predicted.passed_over, 'file')} passed over: no image by the ending")
    by_number = sorted(predicted.by_class.items(), key=lambda one: -one[1])
    shown = ", ".join(f"{name} {count:,}" for name, count in by_number[:MOST_TOLD])
    others = f" and {len(by_number) - MOST_TOLD} more classes" if len(by_number) > MOST_TOLD else ""
    lines.append(f"predicted {predicted.images - len(predicted.problems):,}: {shown}{others}")
    if output is not None:
        lines.append(f"written: {output}")
    return lines
