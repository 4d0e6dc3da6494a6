"""Looks at a confirmation: who is left behind, who is chosen, what may be said."""

import dataclasses
import itertools
import math

import numpy as np
import pytest

from autofreeze import looks
from autofreeze.errors import ConfigError
from autofreeze.intervals import Interval, paired_interval
from autofreeze.looks import (
    LIMITS,
    LOOKS,
    Look,
    Scored,
    check_planned,
    choose,
    decide,
    limit_at,
    next_look,
    take_look,
)  # fmt: skip

OVERLAP = 0.25


def candidates(
    *means: float, seeds=24, images=600, noise=0.2, number=0, arms="ab", share=0.2
) -> list[Scored]:
    """Candidates on the same images and seeds, 0, 1, … from the simplest on, with these means."""
    rng = np.random.default_rng(number)
    scored = np.argsort(rng.random((seeds, images)), axis=1) < round(share * images)
    image = rng.normal(0, 0.3, images)
    return [
        Scored(
            trial,
            arms[trial % len(arms)],
            np.where(scored, mean + image + noise * rng.normal(0, 1, (seeds, images)), np.nan),
            (trial,),
        )
        for trial, mean in enumerate(means)
    ]


def look_at(found, seeds=12, planned=24, *, delta=0.01, overlap=OVERLAP, **options) -> Look:
    return take_look(found, seeds=seeds, planned=planned, delta=delta, overlap=overlap, **options)


def change(found: list[Scored], trial: int, **changes) -> list[Scored]:
    return [dataclasses.replace(one, **changes) if one.trial == trial else one for one in found]


def decisions(look: Look) -> dict[int, str]:
    return {one.against: one.decision for one in look.comparisons}


def between(low: float, high: float) -> Interval:
    return Interval(estimate=(low + high) / 2, low=low, high=high, standard_error=1, images=10, seeds=6)


# How many seeds


@pytest.mark.parametrize("planned", [0, 6, 12, 24])
def test_numbers_of_seeds_that_end_at_a_look_are_allowed(planned):
    check_planned(planned)


@pytest.mark.parametrize("planned", [2, 5, 7, 48, -6, True])
def test_other_numbers_are_refused_with_what_is_allowed_and_why(planned):
    with pytest.raises(
        ConfigError, match=f"confirm: got {planned}; must be 0 .nothing is confirmed., or 6, 12 or 24"
    ):
        check_planned(planned)


def test_looks_follow_each_other_up_to_the_planned_seeds():
    assert [next_look(seeds, 24) for seeds in (0, 5, 6, 12, 24)] == [6, 6, 12, 24, None]
    assert [next_look(seeds, 6) for seeds in (0, 6)] == [6, None]
    assert next_look(0, 0) is None


# What an interval says


@pytest.mark.parametrize(
    ("low", "high", "decision"),
    [
        (0.001, 0.05, "better"),
        (0.001, 0.005, "better"),
        (-0.05, -0.001, "worse"),
        (-0.01, 0.01, "no difference"),
        (0.0, 0.01, "no difference"),
        (-0.01, 0.0, "no difference"),
        (0.0, 0.0101, "undecided"),
        (-0.0101, 0.0, "undecided"),
        (-0.02, 0.02, "undecided"),
        (-math.inf, math.inf, "undecided"),
    ],
)
def test_an_interval_is_read_with_its_ends(low, high, decision):
    assert decide(between(low, high), 0.01) == decision


def test_nothing_scored_is_undecided():
    nothing = paired_interval(np.full((6, 9), np.nan), overlap=0.0, limit=2.0)
    assert decide(nothing, 0.01) == "undecided"


def test_without_a_delta_nothing_is_called_no_difference():
    assert decide(between(-1e-9, 1e-9), 0.0) == "undecided"


# Which seeds


def test_choice_rests_on_the_earlier_seeds_and_estimates_on_the_later_ones():
    found = candidates(0.9, 0.9)
    for seeds, choice, estimate in [(6, (0, 6), (0, 6)), (12, (0, 6), (6, 12)), (24, (0, 12), (12, 24))]:
        look = look_at(found, seeds)
        assert (look.seeds, look.choice, look.estimate) == (seeds, choice, estimate)
        [comparison] = look.comparisons
        assert comparison.seeds == estimate
        rows = [one.merits[slice(*estimate)] for one in found]
        if comparison.trial == 1:
            rows.reverse()
        assert comparison.interval.estimate == pytest.approx(np.nanmean(rows[0] - rows[1]))


def test_seeds_of_the_estimate_do_not_choose():
    found = candidates(0.9, 0.8)
    swapped = [dataclasses.replace(one, merits=one.merits.copy()) for one in found]
    swapped[0].merits[6:12], swapped[1].merits[6:12] = found[1].merits[6:12], found[0].merits[6:12]
    look = look_at(swapped, 12)
    assert look.chosen == 0
    assert look.comparisons[0].interval.estimate < -0.05


def test_seeds_after_a_look_do_not_matter_to_it():
    found = candidates(0.9, 0.89, 0.7)
    short = [dataclasses.replace(one, merits=one.merits[:12]) for one in found]
    assert look_at(short, 12) == look_at(found, 12)


# Who is chosen


def test_the_best_mean_wins_where_it_is_clear():
    assert look_at(candidates(0.5, 0.9, 0.7)).chosen == 1


def test_the_simpler_wins_within_a_standard_error():
    found = candidates(0.9, 0.9, noise=0.1)
    one, other = (score.merits[:6] for score in found)
    error = paired_interval(one - other, overlap=OVERLAP, limit=1.0).standard_error
    gap = np.nanmean(one - other)
    for ahead, chosen in ((0.9 * error, 0), (1.1 * error, 1)):
        level = change(found, 1, merits=found[1].merits + gap + ahead)
        assert choose(level, (0, 6), overlap=OVERLAP).trial == chosen
        # Whatever the order in which they are handed over.
        assert choose(level[::-1], (0, 6), overlap=OVERLAP).trial == chosen


def test_the_simpler_must_be_near_the_best_and_not_near_another():
    # Each is within a standard error of the next, the simplest not of the best.
    found = candidates(0.9, 0.9, 0.9, noise=0.1)
    error = paired_interval(
        found[0].merits[:6] - found[2].merits[:6], overlap=OVERLAP, limit=1.0
    ).standard_error
    means = [np.nanmean(one.merits[:6]) for one in found]
    level = [
        dataclasses.replace(one, merits=one.merits - means[place] + place * 0.7 * error)
        for place, one in enumerate(found)
    ]
    assert choose(level, (0, 6), overlap=OVERLAP).trial == 1


def test_ties_of_all_go_to_the_simplest_and_are_never_better():
    found = [dataclasses.replace(one, merits=candidates(0.9)[0].merits) for one in candidates(*[0.9] * 5)]
    for seeds, order in itertools.product(LOOKS, (found, found[::-1])):
        look = look_at(order, seeds)
        assert look.chosen == 0
        assert set(decisions(look).values()) <= {"no difference", "undecided"}


def test_equally_simple_and_equally_good_the_lower_log_loss_wins_then_the_first():
    [one] = candidates(0.9)
    same = [dataclasses.replace(one, trial=trial, complexity=()) for trial in (4, 3, 5)]
    assert choose(same, (0, 6), overlap=OVERLAP).trial == 3
    known = change(change(same, 5, log_loss=0.2), 4, log_loss=0.3)
    assert choose(known, (0, 6), overlap=OVERLAP).trial == 5


def test_what_broke_off_never_wins_and_is_not_compared():
    found = change(candidates(0.99, 0.7, 0.6), 0, broken=True)
    for seeds in LOOKS:
        look = look_at(found, seeds)
        assert look.chosen == 1
        assert 0 not in decisions(look)
        assert "broke off" in look.dropped[0]


def test_what_may_not_win_is_compared_all_the_same():
    found = change(candidates(0.99, 0.7), 0, eligible=False)
    look = look_at(found)
    assert look.chosen == 1
    assert decisions(look) == {0: "worse"}


# Who is left behind


def test_only_the_first_look_leaves_behind_and_only_when_it_is_not_the_last():
    found = candidates(0.9, 0.85, 0.3, 0.2)
    assert set(look_at(found, 6).dropped) == {2, 3}
    assert "behind trial 0 after 6 fresh seeds" in look_at(found, 6).dropped[2]
    assert not look_at(found, 6, planned=6).dropped
    assert not look_at(found, 12).dropped


def test_the_best_of_each_arm_stays_however_far_behind():
    found = candidates(0.9, 0.3, 0.85, 0.2)
    look = look_at(found, 6)
    assert set(look.dropped) == {3}
    assert decisions(look)[1] == "better"


def test_an_arm_without_a_candidate_keeps_nobody():
    assert set(look_at(candidates(0.9, 0.3, 0.2, arms="a"), 6).dropped) == {1, 2}


def test_what_is_not_clearly_behind_stays():
    assert not look_at(candidates(*[0.9] * 6), 6).dropped


def test_one_left_behind_is_compared_on_the_first_look_s_seeds_and_cannot_win():
    found = candidates(0.5, 0.3, 0.9)
    gone = change(found, 2, merits=found[2].merits[:6], dropped=True)
    first = look_at([found[0], found[1], change(found, 2, eligible=False)[2]], 6)
    for seeds in (12, 24):
        look = look_at(gone, seeds)
        assert look.chosen == 0
        against = next(one for one in look.comparisons if one.against == 2)
        assert against.seeds == (0, 6)
        assert against == next(one for one in first.comparisons if one.against == 2)
        assert against.interval.estimate == pytest.approx(
            np.nanmean(found[0].merits[:6] - found[2].merits[:6])
        )
        assert look.means[2].estimate == pytest.approx(np.nanmean(found[2].merits[:6]))
        assert not look.dropped


# When it ends


def test_it_ends_when_all_is_decided_or_the_seeds_are_used_up():
    clear, close = candidates(0.9, 0.3), candidates(0.9, 0.9)
    assert [look_at(clear, seeds).done for seeds in LOOKS] == [False, True, True]
    assert [look_at(close, seeds).done for seeds in LOOKS] == [False, False, True]
    assert look_at(close, 6, planned=6).done
    assert look_at(close, 12, planned=12).done


def test_it_does_not_end_while_the_chosen_one_is_worse_than_one_that_could_win():
    found = candidates(0.9, 0.9, noise=0.02)
    found[1].merits[6:12] += 0.1  # equal on the seeds of the choice, so that the simpler is chosen
    look, last = look_at(found, overlap=0.0), look_at(found, planned=12, overlap=0.0)
    assert (look.chosen, decisions(look), look.done) == (0, {1: "worse"}, False)
    assert (last.chosen, last.done) == (0, True)
    assert look_at(change(found, 1, eligible=False), overlap=0.0).done
    assert look_at(found, 24, overlap=0.0).chosen == 1


def test_one_candidate_alone_ends_at_once():
    look = look_at(candidates(0.9), 6)
    assert (look.chosen, look.comparisons, look.done) == (0, (), True)
    assert look.means[0].estimate == pytest.approx(np.nanmean(candidates(0.9)[0].merits[:6]))


@pytest.mark.parametrize("found", [[], change(candidates(0.9), 0, broken=True)])
def test_without_a_candidate_nobody_is_chosen(found):
    look = look_at(found, 6)
    assert (look.chosen, look.comparisons, look.done) == (None, (), True)


# Limits


def test_every_look_of_every_plan_has_limits_that_grow_with_the_candidates():
    for planned in (6, 12, 24):
        for seeds in (one for one in LOOKS if one <= planned):
            limits = [limit_at(seeds, planned, others) for others in range(1, 9)]
            assert limits == sorted(limits)
            assert 1.9 < limits[0] < limits[-1] < 5
    assert limit_at(6, 6, 0) == limit_at(6, 6, 1)
    assert set(LIMITS) == {6, 12, 24}


def test_a_choice_and_an_estimate_on_the_same_seeds_have_wider_limits():
    assert all(limit_at(6, 6, others) > 1.96 for others in range(1, 9))


@pytest.mark.parametrize("planned", [6, 24])
def test_equal_candidates_are_seldom_called_better_or_worse(planned):
    wrong, searches = 0, 80
    for number in range(searches):
        found = candidates(*[0.9] * 5, images=150, number=number, seeds=planned)
        for seeds in (one for one in LOOKS if one <= planned):
            look = look_at(found, seeds, planned)
            found = [dataclasses.replace(one, dropped=one.trial in look.dropped) for one in found]
            if look.done:
                break
        wrong += bool({"better", "worse"} & set(decisions(look).values()))
    # 5 % of 80 and two standard errors.
    assert wrong / searches <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / searches)


def test_limits_matter():
    found = candidates(0.9, 0.87, images=300)
    wide = looks.LIMITS
    try:
        looks.LIMITS = {24: {12: (0.1, 0.0)}}
        assert decisions(look_at(found)) == {1: "better"}
        looks.LIMITS = {24: {12: (50.0, 0.0)}}
        assert decisions(look_at(found)) == {1: "undecided"}
    finally:
        looks.LIMITS = wide
