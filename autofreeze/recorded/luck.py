"""Luck: what makes the same schedule right on an image in one run and wrong in another, as shares.

An image is classified rightly when a *margin* is above zero: what the schedule is worth on the image's class
plus a standard normal deviate. That deviate is the sum of what the image brings (its difficulty), what the
image brings with this schedule, what the run's seed brings to all schedules, and so on; :class:`Luck` holds
the share of the variance that each of them has. The shares follow from how often two runs are right together
(tetrachoric correlations), so that simulated schedules agree on images as recorded ones do.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from autofreeze.recorded.tables import RecordedRun, RecordedTable
from autofreeze.values import Value

Floats = NDArray[np.float64]

NODES, WEIGHTS = np.polynomial.legendre.leggauss(12)
MOST_RUN = 0.35
"""Share that a run's own luck may have, at most."""


class Luck(Value):
    """Shares of the variance of a margin; what is left is an image with a schedule and a seed alone."""

    image: float
    """The image, whatever is trained."""

    pairing: float
    """The image with the schedule, whatever the seed; alike for schedules that are alike."""

    seed: float
    """The seed with its split, whatever the schedule: on all images alike."""

    seed_class: float
    """The seed with its split, on all images of a class; the classes' parts add up to zero."""

    seed_image: float
    """The seed with the image, whatever the schedule."""

    run: float
    """A run on all images alike."""

    run_class_level: float
    run_class_slope: float
    """A run on all images of a class; the classes' parts add up to zero. Level + slope · worth of the
    schedule, 0 to ``MOST_RUN``: poor schedules vary more."""

    smooth: float
    """A run on one image; alike for schedules that are alike, with the same seed."""

    epochs: tuple[float, ...]
    """Correlation of a margin at the end of each epoch with that at the end of the run."""

    loss_slope: float
    """Fall of the log of the log loss with the worth that a run shows, and its spread otherwise."""

    loss_spread: float
    train_spread: float
    """Spread by seed of the log of the training loss at the run's end."""

    ratio_spread: tuple[float, ...]
    """Spread by seed of the log of the ratio of the training loss to that at its phase's start, by epoch."""

    ratio: tuple[float, ...]
    """That ratio's median, by epoch; where a schedule's is higher, the log of it has less spread."""

    source: str
    """Of which table the shares by seed are."""

    def run_class(self, worth: float) -> float:
        """Share of a run on all images of a class, for a schedule of some worth."""
        return float(np.clip(self.run_class_level + self.run_class_slope * worth, 0.0, MOST_RUN))


def both_above(first: Floats, second: Floats, correlation: float) -> Floats:
    """Probability that two standard normal deviates lie below two limits, elementwise.

    Source:
        Plackett 1954: the derivative by the correlation is the density; integrated by Gauss and Legendre.
    """
    half = correlation / 2
    total = np.zeros(np.broadcast(first, second).shape)
    for node, weight in zip(NODES, WEIGHTS, strict=True):
        rho = half * (node + 1)
        rest = 1 - rho**2
        exponent = -(first**2 - 2 * rho * first * second + second**2) / (2 * rest)
        total = total + weight * np.exp(exponent) / (2 * np.pi * np.sqrt(rest))
    result: Floats = ndtr(first) * ndtr(second) + half * total
    return result


def correlation_of(first: Floats, second: Floats, pairs: Floats, both: Floats) -> float:
    """Correlation of margins at which as many pairs are right together as were seen; 0 without pairs.

    Args:
        first: Worth of the one, (k,).
        second: Worth of the other, (k,).
        pairs: Pairs that were seen, (k,).
        both: Those in which both were right, (k,).
    """
    if not pairs.sum():
        return 0.0
    low, high = -0.95, 0.98
    for _ in range(20):
        middle = (low + high) / 2
        if float(pairs @ both_above(first, second, middle)) < both.sum():
            low = middle
        else:
            high = middle
    return middle


def worth_of(right: Floats | float, n: Floats | float) -> Floats:
    """Worth at which a share is right: the normal quantile, kept half an image from either end."""
    n = np.maximum(np.asarray(n, dtype=np.float64), 1.0)
    result: Floats = ndtri(np.clip(np.asarray(right) / n, 0.5 / n, 1 - 0.5 / n))
    return result


def hits(table: RecordedTable, epoch: int = -1) -> Floats:
    """Which images each run had right at an epoch, (runs, images); NaN where an image was not scored."""
    result = np.full((len(table.runs), len(table.labels)), np.nan)
    for row, run in enumerate(table.runs):
        record = run.records[min(epoch, len(run.records) - 1)]
        val = np.asarray(run.val)
        right = record.predicted_classes == table.labels[val] if record.predicted else np.zeros(len(val))
        result[row, val] = right
    return result


@dataclass(frozen=True)
class Crossed:
    """Runs of a depth table, crossed: schedules by seeds by images."""

    right: Floats
    """1 right, 0 wrong, NaN not scored, (schedules, seeds, images)."""

    labels: NDArray[np.int64]

    @classmethod
    def of(cls, table: RecordedTable, epoch: int = -1) -> "Crossed":
        """Cross a depth table; seeds that not every schedule has are left out."""
        digests = list(dict.fromkeys(run.job.settings_digest for run in table.runs))
        seeds = list(dict.fromkeys(run.job.seed for run in table.runs))
        rows = hits(table, epoch)
        right = np.full((len(digests), len(seeds), rows.shape[1]), np.nan)
        for row, run in zip(rows, table.runs, strict=True):
            right[digests.index(run.job.settings_digest), seeds.index(run.job.seed)] = row
        whole = ~np.isnan(right).all(axis=2).any(axis=0)
        return cls(right[:, whole], table.labels)

    @property
    def worth(self) -> Floats:
        """Worth of each schedule on each class, (schedules, classes)."""
        columns = [self._of_class(k).reshape(len(self.right), -1) for k in range(int(self.labels.max()) + 1)]
        return np.stack(
            [worth_of(np.nansum(c, axis=1), np.sum(~np.isnan(c), axis=1)) for c in columns], axis=1
        )

    def _of_class(self, label: int) -> Floats:
        return self.right[:, :, self.labels == label]

    def correlations(self) -> dict[str, Floats]:
        """Correlations of margins by what two scores share; one for each pair of schedules.

        Of a schedule with itself: ``image own`` (the image, with two seeds), ``seed own same class`` and
        ``seed own another class`` (the run, on two images). Of two schedules: the same, called ``other``, and
        ``image and seed``.
        """
        classes = range(int(self.labels.max()) + 1)
        worth = self.worth
        here = [~np.isnan(self._of_class(k)) for k in classes]
        right = [np.nan_to_num(self._of_class(k)) for k in classes]
        found: dict[str, list[float]] = {}
        for s in range(len(self.right)):
            for t in range(s, len(self.right)):
                seen: dict[str, list[tuple[float, float, float, float]]] = {}
                own = "own" if s == t else "other"
                for k in classes:
                    same = [float(np.sum(part[k][s] * part[k][t])) for part in (here, right)]
                    by_image = [float(part[k][s].sum(0) @ part[k][t].sum(0)) for part in (here, right)]
                    pair = (worth[s, k], worth[t, k])
                    rows = seen.setdefault(f"image {own}", [])
                    rows.append((*pair, by_image[0] - same[0], by_image[1] - same[1]))
                    if s != t:
                        seen.setdefault("image and seed", []).append((*pair, *same))
                    for other in classes:
                        n, both = (float(part[k][s].sum(1) @ part[other][t].sum(1)) for part in (here, right))
                        if k == other:
                            n, both = n - same[0], both - same[1]
                        kind = f"seed {own} {'same' if k == other else 'another'} class"
                        seen.setdefault(kind, []).append((worth[s, k], worth[t, other], n, both))
                for kind, entries in seen.items():
                    found.setdefault(kind, []).append(correlation_of(*np.array(entries).T))
        return {kind: np.array(values) for kind, values in found.items()}


def fit_luck(depth: RecordedTable, breadth: RecordedTable, likeness: Floats, source: str) -> Luck:
    """Estimate the shares.

    Args:
        depth: Many seeds of a few schedules: what an image, a seed and a run bring.
        breadth: Many schedules with one seed: how much more alike the luck of like schedules is.
        likeness: Of the breadth table's runs, (runs, runs), 0..1.
        source: In words, whose the depth table is.
    """
    crossed = Crossed.of(depth)
    found = crossed.correlations()
    middle = {kind: float(np.median(values)) for kind, values in found.items()}
    image = _share(middle.get("image other", 0.0))
    pairing = _share(middle["image own"] - image)
    seed, seed_class = _parted(
        middle.get("seed other same class", 0.0), middle.get("seed other another class", 0.0), crossed
    )
    seed_image = _share(middle.get("image and seed", 0.0) - image - seed - seed_class)
    both, both_class = _parted(middle["seed own same class"], middle["seed own another class"], crossed)
    run = _share(both - seed, most=MOST_RUN)
    own_class = found["seed own same class"] - found["seed own another class"]
    worth = crossed.worth.mean(1)
    slope, level = np.polyfit(worth, own_class, 1) if len(worth) > 2 else (0.0, float(own_class.mean()))
    share_of_classes = (int(crossed.labels.max())) / (int(crossed.labels.max()) + 1)
    slope, level = share_of_classes * slope, share_of_classes * level - seed_class
    run_class = float(np.clip(both_class - seed_class, 0.0, MOST_RUN))
    _, slope_of_likeness = _by_likeness(breadth, likeness)
    left = 1 - image - pairing - seed - seed_class - seed_image - run - run_class
    smooth = float(np.clip(slope_of_likeness - pairing - run, 0.0, max(0.95 * left, 0.0)))
    slope_of_loss, loss_spread = _loss_by_worth(depth)
    return Luck(
        image=image,
        pairing=pairing,
        seed=seed,
        seed_class=seed_class,
        seed_image=seed_image,
        run=run,
        run_class_level=float(level),
        run_class_slope=float(slope),
        smooth=smooth,
        epochs=_epochs(breadth),
        loss_slope=slope_of_loss,
        loss_spread=loss_spread,
        train_spread=_spread_by_schedule(depth, lambda run: math.log(run.end.train_loss)),
        ratio_spread=tuple(
            _spread_by_schedule(depth, partial(_log_ratio, epoch=epoch))
            for epoch in range(max(len(run.records) for run in depth.runs))
        ),
        ratio=tuple(
            float(np.exp(np.median([_log_ratio(run, epoch) for run in depth.runs])))
            for epoch in range(max(len(run.records) for run in depth.runs))
        ),
        source=source,
    )


def _parted(same: float, another: float, crossed: Crossed) -> tuple[float, float]:
    """Part what scores of one seed share into a part on all images and one on those of a class.

    The classes' parts add up to zero, as when a run takes one class too often at the cost of the others.
    """
    classes = int(crossed.labels.max()) + 1
    by_class = _share((same - another) * (classes - 1) / classes)
    return _share(same - by_class, most=MOST_RUN), by_class


def _share(value: float, most: float = 0.9) -> float:
    return float(np.clip(value, 0.0, most))


def _by_likeness(breadth: RecordedTable, likeness: Floats) -> tuple[float, float]:
    """Correlation of margins of two schedules with one seed: that of unlike ones, and what likeness adds."""
    rows = hits(breadth)
    here = ~np.isnan(rows)
    n = here.sum(1)
    worth = worth_of(np.nansum(rows, axis=1), n)
    first, second = np.triu_indices(len(rows), 1)
    folds = np.array([run.job.fold for run in breadth.runs])
    same = folds[first] == folds[second]
    first, second = first[same], second[same]
    pairs = (here[first] & here[second]).sum(1).astype(float)
    both = np.nansum(rows[first] * rows[second], axis=1)
    alike = likeness[first, second]
    edges = np.quantile(alike, np.linspace(0, 1, 9))
    edges[-1] += 1e-9
    centres, found = [], []
    for low, high in pairwise(edges):
        inside = (alike >= low) & (alike < high)
        if inside.any():
            centres.append(float(alike[inside].mean()))
            found.append(
                correlation_of(worth[first[inside]], worth[second[inside]], pairs[inside], both[inside])
            )
    if len(found) < 2:
        return (found[0] if found else 0.0), 0.0
    slope, base = np.polyfit(centres, found, 1)
    return float(base), float(slope)


def _epochs(table: RecordedTable) -> tuple[float, ...]:
    """Correlation of margins at each epoch's end with those at the run's end, on the same images."""
    last = max(len(run.records) for run in table.runs) - 1
    ends = hits(table)
    n = np.sum(~np.isnan(ends), axis=1).astype(float)
    final = worth_of(np.nansum(ends, axis=1), n)
    found = []
    for epoch in range(last):
        rows = hits(table, epoch)
        both = np.nansum(rows * ends, axis=1)
        found.append(max(correlation_of(worth_of(np.nansum(rows, axis=1), n), final, n, both), 0.0))
    return (*found, 1.0)


def _by_schedule(table: RecordedTable, what: Callable[[RecordedRun], Any]) -> list[Floats]:
    groups: dict[str, list[float]] = {}
    for run in table.runs:
        groups.setdefault(run.job.settings_digest, []).append(float(what(run)))
    return [np.array(values) for values in groups.values()]


def _centred(groups: Sequence[Floats]) -> Floats:
    return np.concatenate([values - np.nanmean(values) for values in groups])


def _spread_by_schedule(table: RecordedTable, what: Callable[[RecordedRun], Any]) -> float:
    """Spread over seeds of a schedule, the median of schedules."""
    spreads = [float(np.nanstd(values, ddof=1)) for values in _by_schedule(table, what) if len(values) > 1]
    return float(np.median(spreads)) if spreads else 0.0


def _log_ratio(run: RecordedRun, epoch: int) -> float:
    """Log of the ratio of an epoch's training loss to the loss at the start of its phase."""
    record = run.records[min(epoch, len(run.records) - 1)]
    return math.log(record.train_loss / record.phase_start_loss)


def _loss_by_worth(table: RecordedTable) -> tuple[float, float]:
    """How the log of the log loss moves with the worth that a run shows, over the seeds of a schedule."""
    n = table.runs[0].end.n_val
    worth = _centred(_by_schedule(table, lambda run: worth_of(run.end.value * n, n)))
    loss = _centred(_by_schedule(table, lambda run: np.log(run.end.log_loss)))
    usable = np.isfinite(worth) & np.isfinite(loss)
    if usable.sum() < 3 or not worth[usable].any():
        return 0.0, 0.0
    slope = float(worth[usable] @ loss[usable] / (worth[usable] @ worth[usable]))
    return -slope, float(np.std(loss[usable] - slope * worth[usable]))
