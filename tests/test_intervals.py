"""Intervals for new images and new seeds."""

import itertools
import math

import numpy as np
import pytest

from autofreeze.intervals import PSEUDO_IMAGES, crossed_bootstrap, mean_interval, paired_interval

OVERLAP = 0.25


def scored(rng, seeds: int, images: int, share: float = 0.2) -> np.ndarray:
    """Which images each seed scores: a random part, of the same size for each."""
    ranks = np.argsort(rng.random((seeds, images)), axis=1)
    return ranks < round(share * images)


def table(rng, seeds=6, images=200, share=0.2, *, mean=0.0, image=0.3, seed=0.0, rest=0.3) -> np.ndarray:
    """Differences with given standard deviations, NaN where nothing was scored."""
    values = (
        mean
        + rng.normal(0, image, (1, images))
        + rng.normal(0, seed, (seeds, 1))
        + rng.normal(0, rest, (seeds, images))
    )
    return np.where(scored(rng, seeds, images, share), values, np.nan)


def interval(differences, *, overlap=0.0, limit=1.96, **options):
    return paired_interval(differences, overlap=overlap, limit=limit, **options)


def width(one) -> float:
    return one.high - one.low


@pytest.fixture
def rng():
    return np.random.default_rng(0)


# What it covers


@pytest.mark.parametrize(
    ("seeds", "images", "share", "parts"),
    [
        (6, 300, 0.2, {"image": 0.3, "seed": 0.0, "rest": 0.3}),
        (6, 300, 1.0, {"image": 0.3, "seed": 0.0, "rest": 0.3}),
        (6, 300, 1.0, {"image": 0.1, "seed": 0.05, "rest": 0.1}),
        (12, 300, 0.2, {"image": 0.3, "seed": 0.05, "rest": 0.3}),
        (12, 1000, 0.2, {"image": 0.1, "seed": 0.05, "rest": 0.1}),
    ],
)
def test_ninety_five_in_a_hundred_intervals_hold_the_truth(seeds, images, share, parts):
    n = 400
    held = 0
    for number in range(n):
        one = interval(table(np.random.default_rng(number), seeds, images, share, mean=0.1, **parts))
        held += one.low <= 0.1 <= one.high
    # Three standard errors of a share of 400 below; above, it may be safer than it must be.
    assert 0.95 - 3 * math.sqrt(0.95 * 0.05 / n) <= held / n < 0.999


@pytest.mark.parametrize("share", [0.2, 1.0])
def test_the_standard_error_is_the_standard_deviation_of_the_mean(share):
    parts = {"image": 0.3, "seed": 0.03, "rest": 0.4}
    found = [interval(table(np.random.default_rng(number), 6, 400, share, **parts)) for number in range(400)]
    spread = np.std([one.estimate for one in found])
    # A standard deviation of 400 is good to 3.5 %; a part is never negative, which makes it larger.
    assert 0.93 < np.sqrt(np.mean([one.standard_error**2 for one in found])) / spread < 1.2


def test_what_the_training_parts_share_is_covered_with_the_overlap_and_not_without():
    held = {0.0: 0, OVERLAP: 0}
    for number in range(300):
        rng = np.random.default_rng(number)
        shared = rng.normal(0, 0.05 * math.sqrt(OVERLAP))
        differences = table(rng, 12, 500, image=0.1, seed=0.05, rest=0.1) + shared
        for overlap in held:
            one = interval(differences, overlap=overlap)
            held[overlap] += one.low <= 0 <= one.high
    assert held[OVERLAP] / 300 > 0.91
    assert held[0.0] / 300 < 0.80


def test_the_rest_is_counted_once_where_the_bootstrap_counts_it_three_times():
    # Each image has one score: between images there is nothing but the rest.
    n, seeds = 300, 6
    once, thrice = [], []
    for number in range(60):
        differences = np.full((seeds, n), np.nan)
        differences[np.arange(n) % seeds, np.arange(n)] = np.random.default_rng(number).normal(0, 1, n)
        once.append(interval(differences).standard_error ** 2)
        thrice.append(np.nanvar(crossed_bootstrap(differences, draws=200)))
    # A little more than once: the part between seeds is never negative.
    assert np.mean(once) == pytest.approx(1.2 / n, rel=0.2)
    assert np.mean(thrice) == pytest.approx(3 / n, rel=0.2)


def test_closed_form_and_bootstrap_agree_where_nothing_is_counted_twice(rng):
    differences = table(rng, 24, 400, 1.0, image=0.5, seed=0.05, rest=0.0)
    closed, drawn = interval(differences).standard_error ** 2, np.var(crossed_bootstrap(differences))
    # The bootstrap divides by the seeds where a variance wants one fewer, and has drawn a thousand.
    assert closed == pytest.approx(drawn, rel=0.2)


def test_the_bootstrap_repeats_itself(rng):
    differences = table(rng)
    first, again, other = (crossed_bootstrap(differences, draws=50, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


# What changes it, and what does not


def test_the_mean_of_what_was_scored_is_the_estimate(rng):
    differences = table(rng)
    one = interval(differences)
    assert one.estimate == pytest.approx(np.nanmean(differences))
    assert one.high - one.estimate == pytest.approx(one.estimate - one.low)
    assert one.images == np.count_nonzero((~np.isnan(differences)).any(axis=0))
    assert one.seeds == 6


def test_the_order_of_images_and_of_seeds_does_not_matter(rng):
    differences = table(rng, seed=0.1)
    shuffled = differences[rng.permutation(6)][:, rng.permutation(200)]
    assert interval(shuffled, overlap=OVERLAP).low == pytest.approx(
        interval(differences, overlap=OVERLAP).low
    )


def test_a_constant_shifts_it_and_a_factor_stretches_it(rng):
    differences = table(rng, seed=0.1)
    one = interval(differences)
    shifted, stretched, turned = interval(differences + 3), interval(5 * differences), interval(-differences)
    assert (shifted.low, shifted.high) == pytest.approx((one.low + 3, one.high + 3))
    assert (stretched.low, stretched.high) == pytest.approx((5 * one.low, 5 * one.high))
    assert (turned.low, turned.high) == pytest.approx((-one.high, -one.low))


def test_overlap_widens_it_where_seeds_differ(rng):
    differences = table(rng, seed=0.3)
    assert width(interval(differences, overlap=OVERLAP)) > 1.3 * width(interval(differences))


def test_overlap_counts_only_what_seeds_differ_by_beyond_their_images(rng):
    # With nothing between seeds, six training parts that overlap say as much as six that do not.
    ratios = [
        interval(one, overlap=OVERLAP).standard_error / interval(one).standard_error
        for one in (table(np.random.default_rng(number), 24, 400) for number in range(50))
    ]
    assert np.median(ratios) < 1.05


def test_more_seeds_and_more_images_narrow_it():
    def median(seeds, images):
        return np.median(
            [width(interval(table(np.random.default_rng(n), seeds, images, seed=0.1))) for n in range(30)]
        )

    assert median(24, 200) < median(6, 200)
    assert median(6, 800) < median(6, 200)


def test_few_seeds_that_differ_have_the_limits_of_student(rng):
    seeds, plain = 6, 2.0
    differences = table(rng, seeds, 400, 1.0, image=0.01, seed=1.0, rest=0.01)
    one = interval(differences, limit=plain)
    # 2.0 leaves 2.3 % above it; with five degrees of freedom that is 2.65.
    assert (one.high - one.estimate) / one.standard_error == pytest.approx(2.65, abs=0.02)


def test_further_seeds_say_how_much_seeds_vary_and_leave_the_mean_alone(rng):
    differences = table(rng, 12, 400, 1.0, image=0.01, seed=1.0, rest=0.01)
    later = differences[6:]
    one, informed = interval(later), interval(later, spread=differences)
    assert informed.estimate == one.estimate
    assert (informed.images, informed.seeds) == (one.images, 6)
    seeds = differences.mean(axis=1)
    assert informed.standard_error == pytest.approx(seeds.std(ddof=1) / math.sqrt(6), rel=0.01)
    assert one.standard_error == pytest.approx(seeds[6:].std(ddof=1) / math.sqrt(6), rel=0.01)


def test_a_seed_with_fewer_images_is_no_less_a_seed(rng):
    differences = table(rng, 6, 400, 1.0)
    differences[0, 100:] = np.nan
    one = interval(differences)
    assert one.estimate == pytest.approx(np.nanmean(differences))
    assert one.seeds == 6


# Classes alike


def test_only_the_spread_within_a_class_counts_where_classes_weigh_alike(rng):
    # Balanced accuracy of a schedule that is nearly always right: 1900 images at 1000/1900, 100 at 10.
    classes = np.repeat([0, 1], [1900, 100])
    weights = 2000 / (2 * np.bincount(classes))[classes]
    right = np.tile(weights, (6, 1))
    right[0, 3] = 0
    free, within = mean_interval(right, overlap=0.0), mean_interval(right, overlap=0.0, strata=classes)
    assert within.estimate == free.estimate == pytest.approx(1 - 1 / 6 / 1900 / 2)
    assert within.standard_error < free.standard_error / 2


def test_the_rule_of_three_is_that_of_the_smallest_class_where_classes_weigh_alike():
    classes = np.repeat([0, 1], [190, 10])
    # Up to 3.7 of its 10 images may be unlike, and a class is half of the metric.
    assert interval(np.zeros((6, 200)), strata=classes).high == pytest.approx(-math.log(0.025) / 20, rel=0.1)
    alike = np.repeat([0, 1], [100, 100])
    assert interval(np.zeros((6, 200)), strata=alike) == interval(np.zeros((6, 200)))


# What there is too little of


def test_no_difference_on_few_images_is_not_sure_to_be_none():
    one = interval(np.zeros((6, 100)))
    assert one.estimate == 0
    # The rule of three, two-sided: with none of n images unlike, up to 3.7 of n may be.
    assert one.high == pytest.approx(-math.log(0.025) / 100, rel=0.1)
    assert interval(np.zeros((6, 1000))).high == pytest.approx(one.high / 10)
    assert one.standard_error == pytest.approx(math.sqrt(PSEUDO_IMAGES) / 100)


def test_a_schedule_that_is_always_right_is_not_sure_to_be():
    assert mean_interval(np.ones((6, 100)), overlap=0.0).low < 0.97


def test_one_seed_or_one_image_says_nothing_of_others(rng):
    alone = table(rng, 6, 3, 1.0)
    alone[:, 1:] = np.nan  # a single column by itself is a number for each seed, and no image
    for one in (interval(table(rng, 1, 100, 1.0)), interval(alone)):
        assert (one.low, one.high, one.standard_error) == (-math.inf, math.inf, math.inf)
        assert math.isfinite(one.estimate)


@pytest.mark.parametrize("shape", [(6, 10), (0, 10), (6, 0), (0, 0)])
def test_without_a_score_nothing_is_known(shape):
    one = interval(np.full(shape, np.nan))
    assert math.isnan(one.estimate)
    assert (one.low, one.high, one.images, one.seeds) == (-math.inf, math.inf, 0, 0)


def test_images_never_scored_and_seeds_without_a_score_do_not_count(rng):
    differences = table(rng, 6, 200, 1.0)
    padded = np.full((8, 250), np.nan)
    padded[:6, :200] = differences
    one, other = interval(differences, overlap=OVERLAP), interval(padded, overlap=OVERLAP)
    assert (other.images, other.seeds) == (200, 6)
    assert (other.low, other.high) == pytest.approx((one.low, one.high))


@pytest.mark.parametrize(("seeds", "images"), [*itertools.product((2, 3, 6), (2, 3, 10))])
def test_small_tables_have_finite_intervals(rng, seeds, images):
    one = interval(table(rng, seeds, images, 1.0), overlap=OVERLAP)
    assert math.isfinite(one.standard_error)
    assert one.low < one.estimate < one.high


def test_an_interval_survives_json(rng):
    for one in (interval(table(rng)), interval(np.full((1, 3), np.nan))):
        again = type(one).model_validate_json(one.model_dump_json())
        assert again.model_dump_json() == one.model_dump_json()
