"""Medians and relations of few values."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from autofreeze.ranks import FEWEST_FOR_A_RELATION, median_of, relation


def test_the_interval_of_six_reaches_from_the_least_to_the_most_and_five_have_none():
    six = median_of([5, 1, 4, 2, 3, 9])
    assert (six.median, six.low, six.high, six.n) == (3.5, 1, 9, 6)
    five = median_of([5, 1, 4, 2, 3])
    assert (five.median, five.low, five.high) == (3, None, None)
    assert median_of([]) is None


def test_what_is_no_number_is_left_out():
    assert median_of([1, float("nan"), 3, 2]).n == 3
    assert median_of([float("nan")]) is None
    assert median_of([1, float("inf"), float("inf")]).median == float("inf")


@pytest.mark.parametrize("n", [6, 9, 17, 40])
def test_the_interval_of_a_median_holds_for_a_skewed_distribution(n):
    rng = np.random.default_rng(n)
    found = [median_of(values) for values in np.exp(2 * rng.normal(size=(3000, n)))]
    assert np.mean([one.low <= 1 <= one.high for one in found]) >= 0.945


def test_the_interval_is_no_wider_than_it_must_be():
    """One rank further in, and it would hold too seldom."""
    for n in range(6, 60):
        found = median_of(range(n))
        below = round(found.low)  # values left out at either end
        assert found.high == n - 1 - below
        assert 2 * stats.binom.cdf(below, n, 0.5) <= 0.05 < 2 * stats.binom.cdf(below + 1, n, 0.5)


values = st.lists(st.tuples(*[st.integers(0, 9)] * 2), min_size=FEWEST_FOR_A_RELATION, max_size=20)


@settings(deadline=None)
@given(values)
def test_with_nothing_held_equal_it_is_spearmans(pairs):
    one, other = zip(*pairs, strict=True)
    found = relation(one, other)
    if len(set(one)) == 1 or len(set(other)) == 1:
        assert found is None
        return
    expected = stats.spearmanr(one, other)
    assert found.correlation == pytest.approx(expected.statistic, abs=1e-9)
    if abs(found.correlation) < 1 - 1e-9:
        assert found.p == pytest.approx(expected.pvalue, abs=1e-6)


def test_fewer_than_eight_pairs_say_nothing():
    assert relation(range(7), range(7)) is None
    assert relation(range(8), range(8)).correlation == 1


def test_what_a_third_thing_explains_is_no_relation():
    rng = np.random.default_rng(0)
    rate = rng.normal(size=60)
    one, other = rate + 0.3 * rng.normal(size=60), rate + 0.3 * rng.normal(size=60)
    assert relation(one, other).p < 0.001
    assert relation(one, other, given=rate).p > 0.05


def test_a_relation_hidden_by_a_third_thing_comes_out():
    rng = np.random.default_rng(1)
    rate, one = rng.normal(size=(2, 60))
    assert relation(one, one - 3 * rate).p > relation(one, one - 3 * rate, given=rate).p
    assert relation(one, one - 3 * rate, given=rate).correlation > 0.5


def test_what_is_held_equal_costs_a_degree_of_freedom():
    rng = np.random.default_rng(2)
    one, other, rate = (stats.rankdata(row) for row in rng.normal(size=(3, 9)))
    kept = [values - np.polyval(np.polyfit(rate, values, 1), rate) for values in (one, other)]
    correlation = np.corrcoef(*kept)[0, 1]
    student = correlation * np.sqrt(6 / (1 - correlation**2))
    found = relation(one, other, given=rate)
    assert found.correlation == pytest.approx(correlation)
    assert found.p == pytest.approx(2 * stats.t.sf(abs(student), 6))


def test_two_things_that_both_follow_a_third_one_leave_nothing():
    assert relation(range(9), range(9), given=range(9)) is None
    assert relation(range(9), range(9), given=[1] * 9).correlation == 1  # nothing to hold equal
