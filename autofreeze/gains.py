"""What a schedule promises: the gain expected of it, by what earlier trials of a search were worth."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern

from autofreeze.schedule import Schedule

Floats = NDArray[np.float64]

FEWEST = 6
"""Trials from which anything is predicted."""

MOST = 200
"""Trials that a prediction rests on, the newest: its time grows with their third power."""

STANDING = 1e-6
"""Mean rate below which a column as good as stands still."""

FLOOR = 3.0
"""Spreads below the median at which values are cut: how bad the bad ones are is not worth knowing."""

LEAST_NOISE = 0.05
"""Share of the values' variance that is taken for noise at least."""


@dataclass(frozen=True)
class Observed:
    """An earlier trial."""

    schedule: Schedule
    fold_values: tuple[float, ...]
    """The metric by fold, as far as the trial came; empty where it was unstable from the start."""

    examples: float | None = None
    """That the value of one fold rests on, where values are shares of them; None where nobody knows."""


def expected_gains(observed: Sequence[Observed], candidates: Sequence[Schedule]) -> Floats:
    """Give by how much each schedule is expected to exceed the best so far, in spreads of the values, (n,).

    A Gaussian process over what the schedules train, how long and how fast, fitted to the means over folds;
    those of few folds are noisier, and what a fold is easier than another is allowed for. The best so far
    is the best that is predicted, not the highest value, which owes part of itself to luck.

    Args:
        observed: Trials in order. With fewer than ``FEWEST`` all candidates promise the same.
        candidates: Schedules of the same model and length.

    Source:
        Expected improvement: Jones, Schonlau and Welch 1998; over the best prediction, for noisy values:
        Gramacy and Lee 2011 (arXiv 1004.4027). The process is scikit-learn's.
    """
    observed = observed[-MOST:]
    if len(observed) < FEWEST or not any(one.fold_values for one in observed):
        return np.ones(len(candidates))
    values, folds = _means(observed)
    centre, spread = float(np.median(values)), float(np.std(values)) or 1.0
    values = np.maximum((values - centre) / spread, -FLOOR)
    rows = np.array([described(one.schedule) for one in observed])
    middle, scale = rows.mean(0), rows.std(0) + 1e-9
    rows = (rows - middle) / scale
    here = (np.array([described(one) for one in candidates]) - middle) / scale
    size = math.sqrt(rows.shape[1])
    process = GaussianProcessRegressor(
        ConstantKernel(1.0, (0.1, 10.0)) * Matern(size, (0.3 * size, 10.0 * size), nu=1.5),
        alpha=_noise(observed, folds, centre) / spread**2 + LEAST_NOISE,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a length at its bound is no fault
        process.fit(rows, values)
    best = float(process.predict(rows).max())
    mean, error = process.predict(here, return_std=True)
    error = np.maximum(error, 1e-9)
    ahead = (mean - best) / error
    gains: Floats = error * (ahead * norm.cdf(ahead) + norm.pdf(ahead))
    return gains


def described(schedule: Schedule) -> Floats:
    """Describe what a schedule trains: by column, stem first, the mean rate and how long it trains.

    Returns:
        (2 · columns,): logs of the mean rates over the run, those of frozen columns counting 0; then twice
        the share of the run that a column trains.
    """
    lengths = np.array([phase.epochs for phase in schedule.phases])
    rates = np.array([[lr or 0.0 for lr in phase.lrs] for phase in schedule.phases])
    shares = lengths / lengths.sum()
    return np.concatenate([np.log10(shares @ rates + STANDING), 2 * (shares @ (rates > 0))])


def _means(observed: Sequence[Observed]) -> tuple[Floats, NDArray[np.int64]]:
    """Give each mean as of all folds, and how many a trial ran; an unstable one gets the lowest."""
    folds = np.array([len(one.fold_values) for one in observed])
    table = np.full((len(observed), max(folds)), np.nan)
    for row, one in enumerate(observed):
        table[row, : len(one.fold_values)] = one.fold_values
    easier = np.zeros(table.shape[1])
    ran = folds > 0
    for _ in range(3):  # rows and columns in turn: least squares of an unbalanced table
        rows = np.nanmean(table[ran] - easier, axis=1)
        easier = np.nanmean(table[ran] - rows[:, None], axis=0)
    means = np.full(len(observed), rows.min())
    means[ran] = rows
    return means, np.maximum(folds, 1)


def _noise(observed: Sequence[Observed], folds: NDArray[np.int64], centre: float) -> Floats:
    """Give the variance of each mean that the images of its folds leave; 0 where nobody knows."""
    share = min(max(centre, 0.0), 1.0)
    return np.array(
        [
            0.0 if one.examples is None else share * (1 - share) / (one.examples * n)
            for one, n in zip(observed, folds, strict=True)
        ]
    )
