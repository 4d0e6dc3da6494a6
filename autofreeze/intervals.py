"""Intervals for new images and new seeds."""

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import special

from autofreeze.values import Value

PSEUDO_IMAGES = 4.0
"""Images that are taken to be unlike the others, besides those that are: Agresti and Coull's "plus four"."""


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
    """What scores of images by seeds vary with, as variances of one score."""

    image: float
    """Between images, whatever the seed."""

    seed: float
    """Between seeds, whatever the image."""

    residual: float
    """The rest: an image with a seed."""

    means: float
    """Variance of the seeds' means as they are, the luck of their images included."""


def paired_interval(
    differences: NDArray[np.float64],
    *,
    overlap: float,
    limit: float,
    strata: NDArray[np.int64] | None = None,
    spread: NDArray[np.float64] | None = None,
) -> Interval:
    """Give the mean difference of two schedules, and how far off it may be on new images with new seeds.

    Images and seeds are crossed, and both are samples. The variance of the mean is that of a crossed
    bootstrap in closed form, each part counted once: the part between images, the part between seeds, and
    the rest. The seeds' part is not divided by the seeds alone, since their training parts overlap.

    A single column is no image but a number for each seed, such as a metric that examples do not share
    out: then the interval is that of a t test over the seeds, with their overlap. Numbers that are all the
    same say nothing of their spread, and leave the interval infinite.

    Degenerate input: with one seed or one image nothing is known of others, and the interval is infinite. An
    image that no seed scored, and a seed that scored none, do not count. Without any score the estimate is
    NaN. Where no image differs the interval is as wide as the rule of three makes it, not zero; that of the
    smallest class, where classes weigh alike.

    Args:
        differences: Scores of the one less those of the other, (seeds, images); NaN where an image was not
            scored with that seed. Their mean is the difference of the metric (``metrics.merits``).
        overlap: Validation images by training images where each seed has a split of its own, else 0. The
            variance between seeds counts as 1/seeds + overlap.
        limit: Standard errors from the estimate to either end, as a quantile of the normal distribution:
            1.96 is 95 %. Student's t widens it where seeds are few and matter.
        strata: Class of each image, (images,), where the metric weighs classes alike: their sizes are then
            given, and only the spread within a class counts.
        spread: Differences with these and further seeds, (more seeds, images), by which to judge how much
            images and seeds vary; the mean is that of ``differences``.

    Source:
        Owen 2007, "The pigeonhole bootstrap" (the parts, and that it counts the rest three times);
        Henderson 1953, first method (the parts of a layout with gaps); Nadeau and Bengio 2003 (the overlap);
        Satterthwaite 1946; Agresti and Coull 1998, Agresti and Min 2005 (images that are taken to differ).
    """
    layout = _layout_of(differences)
    wide, scores = layout, differences
    if spread is not None:
        wide, scores = _layout_of(spread), spread
    estimate = float(differences.ravel()[layout.flat].mean()) if layout.scores else math.nan
    if layout.scores and scores.shape[1] == 1 and wide.seeds > 1:
        return _over_seeds(estimate, scores.ravel()[wide.flat], layout.seeds, overlap=overlap, limit=limit)
    if not layout.scores or min(wide.images, wide.seeds) < 2:
        return Interval(
            estimate=estimate, low=-math.inf, high=math.inf, standard_error=math.inf,
            images=layout.images, seeds=layout.seeds,
        )  # fmt: skip
    values = scores.ravel()[wide.flat]
    centre = float(values.mean()) if strata is None else _class_means(values, strata[wide.images_at])
    residuals = values - centre
    parts = wide.spread(residuals)

    total = float(layout.scores) ** 2
    share = float(layout.by_seed @ layout.by_seed) / total + overlap
    seed_part = share * parts.seed
    other_part = (
        parts.image * float(layout.by_image @ layout.by_image) / total + parts.residual / layout.scores
    )
    # The seeds' part is what their means vary more than images make them, and as uncertain as that.
    uncertain = share * max(parts.means, parts.seed)
    free = _freedom(seed_part + other_part, (uncertain, wide.seeds - 1), (other_part, wide.images - 1))
    size = _size_of_one(values) if strata is None else _heaviest(strata[np.flatnonzero(layout.by_image)])
    error = math.sqrt(seed_part + other_part + PSEUDO_IMAGES * size / layout.images**2)
    half = error * _student(limit, max(free, wide.seeds - 1.0))
    return Interval(
        estimate=estimate, low=estimate - half, high=estimate + half, standard_error=error,
        images=layout.images, seeds=layout.seeds,
    )  # fmt: skip


def _over_seeds(
    estimate: float, values: NDArray[np.float64], seeds: int, *, overlap: float, limit: float
) -> Interval:
    """Give the interval of a t test over numbers of which there is one for each seed.

    Args:
        estimate: Their mean over the seeds of the estimate.
        values: The numbers of these and further seeds, two at least.
        seeds: Seeds of the estimate.
        overlap: As for :func:`paired_interval`.
        limit: As there.
    """
    variance = float(values.var(ddof=1))
    known = variance > 1e-24 * max(float(values @ values), 1e-300)
    error = math.sqrt(variance * (1 / seeds + overlap)) if known else 0.0
    half = error * _student(limit, len(values) - 1.0) if known else math.inf
    return Interval(
        estimate=estimate, low=estimate - half, high=estimate + half, standard_error=error,
        images=1, seeds=seeds,
    )  # fmt: skip


def mean_interval(
    merits: NDArray[np.float64],
    *,
    overlap: float,
    limit: float = 1.96,
    strata: NDArray[np.int64] | None = None,
    spread: NDArray[np.float64] | None = None,
) -> Interval:
    """Give the mean score of one schedule, and how far off it may be on new images with new seeds.

    Args:
        merits: Its scores, (seeds, images), as for :func:`paired_interval`; NaN where there is none.
        overlap: As there.
        limit: As there.
        strata: As there.
        spread: As there.
    """
    return paired_interval(merits, overlap=overlap, limit=limit, strata=strata, spread=spread)


class Unpaired(Value):
    """The difference of two means that were estimated apart, and how far off it may be."""

    estimate: float
    low: float
    high: float


def unpaired_difference(
    one: tuple[float, float, float], other: tuple[float, float, float], *, comparisons: int = 1
) -> Unpaired:
    """Give the difference of two means that were estimated apart; its interval holds 95 times in 100.

    Where both were scored on the same images the interval is wider than it need be: what an image is worth to
    both cancels in a difference, and here it counts twice.

    Args:
        one: A mean, its standard error, and the half width of its interval at 1.96, as :func:`mean_interval`
            gives them: of them follows how sure the error itself is (the degrees of freedom of Student's t).
        other: The mean that is taken off, likewise.
        comparisons: How many differences are told together: then all intervals hold at once as often.

    Returns:
        The difference; its ends are infinite where one of the errors is not known.

    Source:
        Zou and Donner 2008 (the half widths added as squares); Bonferroni for several of them.
    """
    beyond = (1.0 - float(special.ndtr(1.96))) / comparisons
    half = math.hypot(*(_half_beyond(beyond, error, half) for _, error, half in (one, other)))
    estimate = one[0] - other[0]
    return Unpaired(estimate=estimate, low=estimate - half, high=estimate + half)


def _half_beyond(beyond: float, error: float, half: float) -> float:
    """Give the half width that leaves a share beyond it, by the freedom that the one at 1.96 shows."""
    if not (0 < error < math.inf and half < math.inf):
        return math.inf
    ratio = half / error
    normal = ratio < 1.96 * (1 + 1e-6)
    freedom = math.inf if normal else float(special.stdtridf(special.ndtr(1.96), ratio))
    return -error * _student(float(special.ndtri(beyond)), freedom)


def spread_of(differences: NDArray[np.float64]) -> Spread:
    """Give what differences vary with, the parts by which :func:`paired_interval` judges them.

    Args:
        differences: As there, (seeds, images); two seeds and two images at least.
    """
    layout = _layout_of(differences)
    values = differences.ravel()[layout.flat]
    return layout.spread(values - values.mean())


def crossed_bootstrap(
    differences: NDArray[np.float64], *, draws: int = 1000, seed: int = 0
) -> NDArray[np.float64]:
    """Draw means of resampled images with resampled seeds: the pigeonhole bootstrap, as it is.

    It stands here to be compared with. Each draw's variance holds the parts of :class:`Spread` as
    :func:`paired_interval` does, but the rest three times: by image, by seed and by both. And it knows
    nothing of overlapping training parts.

    Args:
        differences: As for :func:`paired_interval`.
        draws: How many.
        seed: Of the random numbers.

    Returns:
        Means, (draws,); NaN where a draw took no score at all.
    """
    rng = np.random.default_rng(seed)
    n_seeds, n_images = differences.shape
    weights_s = rng.multinomial(n_seeds, np.full(n_seeds, 1 / n_seeds), size=draws).astype(np.float64)
    weights_i = rng.multinomial(n_images, np.full(n_images, 1 / n_images), size=draws).astype(np.float64)
    scored = ~np.isnan(differences)
    sums = np.einsum("ds,ds->d", weights_s, weights_i @ np.where(scored, differences, 0.0).T)
    counts = np.einsum("ds,ds->d", weights_s, weights_i @ scored.T.astype(np.float64))
    means: NDArray[np.float64] = np.divide(sums, counts, out=np.full(draws, np.nan), where=counts > 0)
    return means


@dataclass(frozen=True)
class _Layout:
    """Which images were scored with which seeds."""

    flat: NDArray[np.intp]
    """Places of the scores in the table laid flat."""

    seeds_at: NDArray[np.intp]
    images_at: NDArray[np.intp]
    by_seed: NDArray[np.float64]
    """Scores of each seed, and of each image."""

    by_image: NDArray[np.float64]

    @property
    def scores(self) -> int:
        return len(self.flat)

    @cached_property
    def seeds(self) -> int:
        return int(np.count_nonzero(self.by_seed))

    @cached_property
    def images(self) -> int:
        return int(np.count_nonzero(self.by_image))

    def spread(self, residuals: NDArray[np.float64]) -> Spread:
        """Estimate the parts: the values that give the sums of squares by image, by seed and of all.

        Args:
            residuals: Scores less their mean, (scores,). A part is never negative.
        """
        by_image = np.bincount(self.images_at, weights=residuals)
        by_seed = np.bincount(self.seeds_at, weights=residuals, minlength=len(self.by_seed))
        sums = np.array([by_image @ by_image, by_seed @ by_seed, residuals @ residuals])
        image, seed, residual = np.maximum(self._solution @ sums, 0.0).tolist()
        means = by_seed[self.by_seed > 0] / self.by_seed[self.by_seed > 0]
        means -= means.sum() / len(means)
        return Spread(image, seed, residual, float(means @ means) / (len(means) - 1))

    @cached_property
    def _solution(self) -> NDArray[np.float64]:
        """The inverse of what the three sums of squares are expected to be for each part alone.

        With A the matrix that joins scores of one image (or of one seed, or each with itself) and K that of a
        part, and P taking off the mean of n scores: tr(APKP) = tr(AK) − 2/n 1ᵀAK1 + 1/n² 1ᵀA1 1ᵀK1. Where
        each image was scored once its part and the rest are one, and are shared out evenly.
        """
        n, m, v = float(self.scores), self.by_image, self.by_seed
        m2, v2, crossed = float(m @ m), float(v @ v), float(m[self.images_at] @ v[self.seeds_at])
        traces = np.array([[m2, n, n], [n, v2, n], [n, n, n]])
        chained = np.array(
            [[np.sum(m**3), crossed, m2], [crossed, np.sum(v**3), v2], [m2, v2, n]], dtype=np.float64
        )
        joined = np.array([m2, v2, n])
        expected = traces - 2 / n * chained + np.outer(joined, joined) / n**2
        scale = np.sqrt(np.diag(expected))
        scales = np.outer(scale, scale)
        inverse: NDArray[np.float64] = np.linalg.pinv(expected / scales, rcond=1e-9) / scales
        return inverse


def _layout_of(table: NDArray[np.float64]) -> _Layout:
    """Find which scores there are; candidates share their images and seeds, and so the answer."""
    return _layout((~np.isnan(table)).tobytes(), table.shape[0], table.shape[1])


@lru_cache(maxsize=16)
def _layout(scored: bytes, n_seeds: int, n_images: int) -> _Layout:
    flat = np.flatnonzero(np.frombuffer(scored, dtype=np.bool_))
    seeds_at, images_at = np.divmod(flat, max(n_images, 1))
    return _Layout(
        flat,
        seeds_at,
        images_at,
        np.bincount(seeds_at, minlength=n_seeds).astype(np.float64),
        np.bincount(images_at, minlength=n_images).astype(np.float64),
    )


def _size_of_one(values: NDArray[np.float64]) -> float:
    """Give the mean square by which a score that is unlike most differs from them; 1 where none is."""
    most_are_zero = 2 * np.count_nonzero(values) < len(values)
    unlike = values if most_are_zero else values - np.median(values)
    n_unlike = np.count_nonzero(unlike)
    return float(unlike @ unlike) / n_unlike if n_unlike else 1.0


def _heaviest(classes: NDArray[np.int64]) -> float:
    """Give the squared weight of an image of the smallest class in a mean over classes, 1 the average."""
    sizes = np.bincount(classes)
    sizes = sizes[sizes > 0]
    return float(len(classes) / (len(sizes) * sizes.min())) ** 2


def _class_means(values: NDArray[np.float64], classes: NDArray[np.int64]) -> NDArray[np.float64]:
    """Give for each score the mean over the scores of its class."""
    sums = np.bincount(classes, weights=values)
    means: NDArray[np.float64] = (sums / np.maximum(np.bincount(classes), 1))[classes]
    return means


def _freedom(variance: float, *parts: tuple[float, int]) -> float:
    """Give the degrees of freedom of a variance made up of independent ones with degrees of their own."""
    squares = sum(part**2 / free for part, free in parts)
    return variance**2 / squares if squares > 0 else math.inf


def _student(limit: float, freedom: float) -> float:
    """Give Student's quantile that leaves as much beyond it as the normal distribution beyond the limit."""
    return limit if math.isinf(freedom) else float(special.stdtrit(freedom, special.ndtr(limit)))
