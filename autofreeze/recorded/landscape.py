"""The landscape of a table: which schedules are alike, and what is expected of one between those recorded."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from autofreeze.recorded.luck import Floats
from autofreeze.schedule import Timetable

FROZEN = 1e-6
"""Mean rate below which a column as good as stands still."""

FREQUENCIES = 64
"""Random frequencies by which luck is alike for like schedules (Rahimi and Recht 2007)."""

LENGTHS = np.geomspace(0.7, 20.0, 12)
NOISES = np.geomspace(3e-3, 10.0, 20)
"""Lengths of the kernel, in spreads of the features, and noise by signal: the likelihood chooses."""

LEAST_WORTH = 0.2
"""Share of the spread between schedules that is taken for worth, at least."""


def features(timetable: Timetable) -> Floats:
    """Describe what a schedule has done by the end of each epoch: rates by column, what trained how long.

    Returns:
        (epochs, features).
    """
    ends, first = np.array(timetable.epoch_ends), 0
    lrs = np.zeros((timetable.total_steps, len(timetable.schedule.groups)))
    trained = np.zeros_like(lrs)
    for phase, end in zip(timetable.schedule.phases, timetable.ends, strict=True):
        factors = np.array([timetable.factor(step) for step in range(first, end)])
        cells = np.array([cell or 0.0 for cell in phase.lrs])
        lrs[first:end], trained[first:end] = factors[:, None] * cells, cells > 0
        first = max(first, end)
    sums, kept = (np.cumsum(part, axis=0)[ends - 1] / timetable.total_steps for part in (lrs, trained))
    rates, backbone, kept = np.log10(sums + FROZEN), np.log10(sums[:, :-1] + FROZEN), kept[:, :-1]
    middle = backbone.shape[1] // 2
    return np.stack(
        [
            rates[:, -1], backbone.max(1), backbone.mean(1), backbone[:, 0], backbone[:, middle],
            backbone[:, -1], kept.sum(1), (kept > 0).sum(1), kept.max(1),
        ],
        axis=1,
    )  # fmt: skip


def matern(distances: Floats) -> Floats:
    """Matérn's kernel of order 3/2 of distances in units of its length."""
    scaled = math.sqrt(3) * distances
    result: Floats = (1 + scaled) * np.exp(-scaled)
    return result


def distances_between(a: Floats, b: Floats) -> Floats:
    """How far schedules lie from one another, (n, features) and (m, features) -> (n, m)."""
    squares = (a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2 * a @ b.T
    result: Floats = np.sqrt(np.maximum(squares, 0.0))
    return result


@dataclass(frozen=True)
class Process:
    """A Gaussian process for one output, fitted.

    Rows are runs; those that a depth table knows better have less noise and no shared luck.
    """

    x: Floats
    length: float
    worth: float
    """Variance that is the schedule's."""

    luck: float
    """Variance that like schedules share by luck, in rows of a single run."""

    noise: float
    row_noise: Floats
    """Variance of each row beside what schedules share, (rows,)."""

    single: NDArray[np.bool_]
    """Which rows are single runs, (rows,)."""

    weights: Floats
    """Of the rows, such that a prediction is the mean plus worth times likeness @ weights."""

    factor: Floats
    mean: float

    @classmethod
    def fit(cls, x: Floats, y: Floats, luck: Floats, known: Floats) -> "tuple[Process, ...]":
        """Fit one process for each output, each by the likelihood of the runs, all with the same noise.

        Args:
            x: Features in units of their spread, (rows, features).
            y: Outputs, (rows, outputs).
            luck: Variance of a run's outputs by luck, (outputs,).
            known: Noise variance of rows that are means over many seeds, NaN for single runs, as ``y``.
        """
        distances = distances_between(x, x)
        best = [(math.inf, 0.0, 0.0, 0.0)] * y.shape[1]
        centred = y - y.mean(0)
        for length in LENGTHS:
            values, vectors = np.linalg.eigh(matern(distances / length))
            squares = (vectors.T @ centred) ** 2
            for ratio in NOISES:
                spread = np.maximum(values, 0.0) + ratio
                signal = (squares / spread[:, None]).mean(0) + 1e-12
                minus = 0.5 * (len(y) * np.log(signal) + np.log(spread).sum())
                for column, found in enumerate(minus):
                    best[column] = min(best[column], (found, length, signal[column], ratio * signal[column]))
        return tuple(
            cls._of(x, distances, y[:, column], luck[column], known[:, column], *best[column][1:])
            for column in range(y.shape[1])
        )

    @classmethod
    def _of(
        cls, x: Floats, distances: Floats, y: Floats, luck: float, known: Floats,
        length: float, signal: float, noise: float,
    ) -> "Process":  # fmt: skip
        shared = float(np.clip(luck - noise, 0.0, (1 - LEAST_WORTH) * signal))
        single = np.isnan(known)
        matrix = matern(distances / length) * ((signal - shared) + shared * np.outer(single, single))
        row_noise = np.where(single, noise, np.nan_to_num(known) + 1e-6)
        factor = cho_factor(matrix + np.diag(row_noise), lower=True)
        mean = float(y.mean())
        weights = cho_solve(factor, y - mean)
        return cls(
            x=x, length=float(length), worth=float(signal - shared), luck=shared, noise=float(noise),
            row_noise=row_noise, single=single, weights=weights, factor=factor[0], mean=mean,
        )  # fmt: skip

    def distances(self, x: Floats) -> Floats:
        """How far one schedule lies from the rows, (rows,); the same for all outputs of an epoch."""
        result: Floats = np.sqrt(np.square(self.x - x).sum(1))
        return result

    def at(self, distances: Floats) -> float:
        """Give the expected output."""
        return self.mean + self.worth * float(matern(distances / self.length) @ self.weights)


@dataclass(frozen=True)
class Waves:
    """Random frequencies whose cosines and sines have the kernel's likeness as their mean product."""

    frequencies: Floats

    @classmethod
    def of(cls, n_features: int, length: float, seed: int) -> "Waves":
        """Draw them: Matérn 3/2 has Student's t with three degrees of freedom as its spectrum."""
        rng = np.random.default_rng(seed)
        normal = rng.standard_normal((FREQUENCIES, n_features))
        scale = np.sqrt(3 / rng.chisquare(3, FREQUENCIES))[:, None]
        return cls(normal * scale / length)

    def of_schedules(self, places: Floats) -> Floats:
        """Give the waves of schedules, each of unit length, (n, 2·FREQUENCIES)."""
        phases = places @ self.frequencies.T
        return np.concatenate([np.cos(phases), np.sin(phases)], axis=1) / math.sqrt(FREQUENCIES)
