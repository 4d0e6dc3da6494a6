"""Shares of a few, and whether two of them differ."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from autofreeze.proportions import Stratum, contrast, share_of

counts = st.integers(0, 12)
tables = st.tuples(counts, counts, counts, counts)


def stratum(hit, missed, other_hit, other_missed):
    return Stratum(count=hit, of=hit + missed, other_count=other_hit, other_of=other_hit + other_missed)


@settings(deadline=None)
@given(st.integers(0, 40), st.integers(0, 40))
def test_the_interval_of_a_share_is_wilsons(hit, missed):
    share = share_of(hit, hit + missed)
    if not share.of:
        assert (share.low, share.high) == (0, 1)
        return
    expected = stats.binomtest(hit, hit + missed).proportion_ci(method="wilson")
    assert (share.low, share.high) == pytest.approx((expected.low, expected.high), abs=1e-6)
    assert 0 <= share.low <= hit / (hit + missed) <= share.high <= 1


def test_none_of_three_may_be_half_of_all():
    assert share_of(0, 3).high > 0.5
    assert share_of(0, 3).low == 0
    assert share_of(3, 3).high == 1


@settings(deadline=None)
@given(tables)
def test_one_stratum_is_fishers_exact_test(table):
    a, b, c, d = table
    found = contrast([stratum(*table)])
    if not (a + b and c + d):
        assert found.share is None
        assert found.p == 1
        return
    assert found.p == pytest.approx(stats.fisher_exact([[a, b], [c, d]]).pvalue, abs=1e-9)
    assert (found.share, found.other_share) == pytest.approx((a / (a + b), c / (c + d)))


def test_equal_tables_are_one_piece_of_evidence_more_each():
    table = stratum(0, 6, 3, 3)
    one, two, four = (contrast([table] * n) for n in (1, 2, 4))
    assert one.p > 0.05 > two.p > four.p
    assert not four.more
    assert (four.share, four.other_share) == (0, 0.5)


def test_the_sum_of_strata_is_as_likely_as_when_counted_out():
    """Two strata by hand: all splits of the unstable runs, weighted by how many ways they come about."""
    from itertools import combinations

    def ways(of, other_of, hit):
        drawn = [sum(run < of for run in chosen) for chosen in combinations(range(of + other_of), hit)]
        return np.bincount(drawn, minlength=of + 1) / len(drawn)

    likely = np.convolve(ways(3, 4, 2), ways(5, 2, 3))
    seen = 0 + 3  # as in the strata below
    expected = likely[likely <= likely[seen] * (1 + 1e-9)].sum()
    assert contrast([stratum(0, 3, 2, 2), stratum(3, 2, 0, 2)]).p == pytest.approx(expected)


def test_arms_at_other_rates_are_not_mistaken_for_a_difference():
    """All that is unstable lies at high rates, where there are hardly any of the one group: Simpson."""
    low, high = stratum(0, 20, 0, 4), stratum(2, 2, 10, 10)
    pooled = stratum(2, 22, 10, 14)
    assert contrast([pooled]).p < 0.05
    assert contrast([low, high]).p == 1
    assert contrast([low, high]).share == contrast([low, high]).other_share


def test_shares_are_those_of_groups_with_the_same_strata():
    """Each stratum weighs as much as its groups allow a comparison: 10·10/20 and 2·30/32."""
    found = contrast([stratum(2, 8, 5, 5), stratum(1, 1, 30, 0)])
    weights = (5, 60 / 32)
    for share, shares in ((found.share, (0.2, 0.5)), (found.other_share, (0.5, 1.0))):
        assert share == pytest.approx(np.average(shares, weights=weights))


def test_a_stratum_of_one_group_says_nothing():
    table = stratum(1, 5, 4, 2)
    alone = [stratum(0, 0, 5, 0), stratum(7, 1, 0, 0)]
    assert contrast([table, *alone]) == contrast([table])


@settings(deadline=None)
@given(st.lists(tables, max_size=3))
def test_no_outcome_of_the_same_numbers_is_less_likely_than_the_least(found):
    result = contrast([stratum(*table) for table in found])
    assert 0 < result.least_p <= result.p * (1 + 1e-9) <= 1 + 1e-6


def test_three_against_three_can_tell_nothing_at_all():
    assert contrast([stratum(0, 3, 3, 0)]).p == contrast([stratum(0, 3, 3, 0)]).least_p == pytest.approx(0.1)


def test_equal_groups_are_told_apart_no_more_often_than_the_test_allows():
    rng = np.random.default_rng(0)
    wrong = 0
    for _ in range(2000):
        strata = []
        for risk, of, other_of in ((0.05, 12, 6), (0.4, 6, 12)):
            hit, other = rng.binomial(of, risk), rng.binomial(other_of, risk)
            strata.append(stratum(hit, of - hit, other, other_of - other))
        wrong += contrast(strata).p < 0.05
    assert wrong / 2000 <= 0.05
