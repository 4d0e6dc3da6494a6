"""Intervals for new images and new seeds."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from autofreeze.values import Value

PSEUDO_IMAGES = 4.0
"""Images that are taken to differ besides those that do: Agresti and Coull's "plus four"."""


class Interval(Value):
    """An estimate and how far off it may be."""

    estimate: float
    low: float
    high: float
    standard_error: float
    images: int
    """Distinct images that it rests on."""

    seeds: int


@dataclass(frozen=True)
class Spread:
    """What the scores of images by seeds vary with, as variances of one score."""

    image: float
    """Between images, whatever the seed."""

    seed: float
    """Between seeds, whatever the image."""

    residual: float
    """The rest: an image with a seed."""


def paired_interval(
    differences: NDArray[np.float64],
    *,
    overlap: float,
    limit: float,
    strata: NDArray[np.int64] | None = None,
) -> Interval:
    """Give the mean difference of two schedules, and how far off it may be on new images with new seeds.

    Images and seeds are crossed, and both are samples. The variance of the mean is that of a crossed
    bootstrap in closed form, each part counted once: the part between images, the part between seeds, and
    the rest, estimated from the sums by image, by seed and of all squares. The seeds' part is not divided by
    the seeds alone: their training parts overlap.

    Degenerate input: with one seed or one image nothing is known of others, and the interval is infinite. An
    image that no seed scored, and a seed that scored none, do not count. Without any score the estimate is
    NaN. Where no image differs the interval is as wide as the rule of three makes it, not zero.

    Args:
        differences: Scores of the one less those of the other, (seeds, images); NaN where an image was not
            scored with that seed. Their mean is the difference of the metric (``metrics.merits``).
        overlap: Validation images by training images where each seed has a split of its own, else 0. The
            variance between seeds counts as 1/seeds + overlap.
        limit: Standard errors from the estimate to either end, as a quantile of the normal distribution:
            1.96 is 95 %. Student's t widens it where seeds are few and matter.
        strata: Class of each image, (images,), where the metric weighs classes alike: their sizes are then
            given, and only the spread within a class counts.

    Source:
        Owen 2007, "The pigeonhole bootstrap" (the parts and that it counts the rest three times); Cameron,
        Gelbach and Miller 2011 (the closed form); Nadeau and Bengio 2003 (the overlap); Satterthwaite 1946;
        Agresti and Coull 1998, Agresti and Min 2005 (images that are taken to differ).
    """
    scored = ~np.isnan(differences)
    seeds_at, images_at = np.nonzero(scored)
    values = differences[scored]
    if not len(values):
        return Interval(
            estimate=math.nan, low=-math.inf, high=math.inf, standard_error=math.inf, images=0, seeds=0
        )
    by_image = np.bincount(images_at, minlength=differences.shape[1])
    by_seed = np.bincount(seeds_at, minlength=differences.shape[0])
    n_images, n_seeds = int(np.count_nonzero(by_image)), int(np.count_nonzero(by_seed))
    estimate = float(values.mean())
    if n_images < 2 or n_seeds < 2:
        return Interval(
            estimate=estimate, low=-math.inf, high=math.inf, standard_error=math.inf,
            images=n_images, seeds=n_seeds,
        )  # fmt: skip
    residuals = values - (estimate if strata is None else _class_means(values, strata[images_at]))
    found = _spread(residuals, seeds_at, images_at, by_seed, by_image)

    total = float(len(values)) ** 2
    image_part = found.image * float(by_image @ by_image) / total
    seed_part = found.seed * (float(by_seed @ by_seed) / total + overlap)
    rest = found.residual / len(values)
    differing = values[values != 0]
    size = float(np.mean(np.square(differing))) if len(differing) else 1.0
    variance = image_part + seed_part + rest
    error = math.sqrt(variance + PSEUDO_IMAGES * size / n_images**2)
    half = _student(limit, _freedom(variance, seed_part, n_images, n_seeds)) * error
    return Interval(
        estimate=estimate, low=estimate - half, high=estimate + half, standard_error=error,
        images=n_images, seeds=n_seeds,
    )  # fmt: skip


def mean_interval(
    merits: NDArray[np.float64],
    *,
    overlap: float,
    limit: float = 1.96,
    strata: NDArray[np.int64] | None = None,
) -> Interval:
    """Give the mean score of one schedule, and how far off it may be on new images with new seeds.

    Args:
        merits: Its scores, (seeds, images), as for :func:`paired_interval`; NaN where there is none.
        overlap: As there.
        limit: As there.
        strata: As there.
    """
    return paired_interval(merits, overlap=overlap, limit=limit, strata=strata)


def _class_means(values: NDArray[np.float64], classes: NDArray[np.int64]) -> NDArray[np.float64]:
    """Give for each score the mean over the scores of its class."""
    sums = np.bincount(classes, weights=values)
    means: NDArray[np.float64] = (sums / np.maximum(np.bincount(classes), 1))[classes]
    return means


def _spread(
    residuals: NDArray[np.float64],
    seeds_at: NDArray[Any],
    images_at: NDArray[Any],
    by_seed: NDArray[Any],
    by_image: NDArray[Any],
) -> Spread:
    """Estimate the parts of the variance: the values that give the sums of squares as they are.

    The three sums are quadratic forms of the residuals, and their expectations are linear in the parts,
    also where not every seed scored every image (Henderson's first method). A part is not negative.
    """
    n = float(len(residuals))
    m, v = by_image.astype(np.float64), by_seed.astype(np.float64)
    image_sums = np.bincount(images_at, weights=residuals)
    seed_sums = np.bincount(seeds_at, weights=residuals)
    sums = np.array([image_sums @ image_sums, seed_sums @ seed_sums, residuals @ residuals])
    # tr(AK), 1'AK1 and 1'A1 of the matrices that join scores of one image, of one seed, and each with itself.
    m2, v2 = m @ m, v @ v
    traces = np.array([[m2, n, n], [n, v2, n], [n, n, n]])
    cross = float(m[images_at] @ v[seeds_at])
    doubles = np.array([[np.sum(m**3), cross, m2], [cross, np.sum(v**3), v2], [m2, v2, n]])
    ones = np.array([m2, v2, n])
    expected = traces - 2 / n * doubles + np.outer(ones, ones) / n**2
    image, seed, residual = np.maximum(np.linalg.lstsq(expected, sums, rcond=None)[0], 0.0)
    return Spread(float(image), float(seed), float(residual))


def _freedom(variance: float, seed_part: float, n_images: int, n_seeds: int) -> float:
    """Give the degrees of freedom of a sum of variances (Satterthwaite), never fewer than the seeds give."""
    if variance <= 0:
        return math.inf
    squares = seed_part**2 / (n_seeds - 1) + (variance - seed_part) ** 2 / (n_images - 1)
    return max(variance**2 / squares, n_seeds - 1.0)


def _student(limit: float, freedom: float) -> float:
    """Give Student's quantile that leaves as much beyond it as the normal distribution beyond the limit."""
    return limit if math.isinf(freedom) else float(special.stdtrit(freedom, special.ndtr(limit)))
