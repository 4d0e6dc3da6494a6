# ruff: noqa: E501 - sentences are read by line
"""The verdict: what is said of a search, never more surely than its intervals say."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from autofreeze import recipes
from autofreeze.answers import depth_of, spread_of
from autofreeze.front import front_of
from autofreeze.measures import wilson
from autofreeze.results import Ending, MemberResult
from autofreeze.schedule import Phase, Schedule
from autofreeze.space import SpaceSpec
from autofreeze.verdict import UNCONFIRMED, Verdict, verdict_of

GROUPS = ("stem", "layer1", "layer2", "head")
ALL = [(0, 0.09, 0.03), (2, 0.021, 0.017), (3, 0.004, 0.015)]
"""Better than the head alone and than full; undecided against a decay."""


# The headline


def test_a_confirmed_winner_is_told_with_its_interval_and_against_whom(made_result):
    said = verdict_of(made_result.result(*ALL))
    assert said.standing == "confirmed"
    assert said.headline.startswith(
        "best schedule (confirmed on 12 fresh seeds): train the head alone for 2 epochs, then everything, "
    )
    assert "; top1 0.840 (0.820 to 0.860)" in said.headline
    assert "; better than linear_probe and full: +2.1 pt to +9.0 pt" in said.headline
    assert said.headline.endswith("; undecided against trial 3 (full): +0.4 pt (-1.1 to +1.9)")
    assert said.basis.startswith(
        "Chosen on the first 6 fresh seeds, estimated on the next 6; order, head and split"
    )


@pytest.mark.parametrize(
    ("metric", "mean", "low", "high", "shown"),
    [
        ("top1", 0.94, 0.85, 1.03, "0.940 (0.850 to 1.000)"),
        ("log_loss", -1.2, -1.5, 0.1, "1.200 (0.000 to 1.500)"),
    ],
)
def test_no_end_of_a_values_interval_lies_beyond_what_can_be(made_result, metric, mean, low, high, shown):
    winner = made_result.candidate(1, mean, low=low, high=high)
    said = verdict_of(
        made_result.result(confirmation=made_result.confirmation(candidates=(winner,)), metric=metric)
    )
    assert f"; {metric} {shown}" in said.headline


def test_six_seeds_that_choose_and_estimate_are_told_as_such(made_result):
    found = made_result.confirmation(
        *ALL, planned=6, seeds=6, choice_seeds=6, estimate_seeds=(0, 6), own_split=True
    )
    said = verdict_of(made_result.result(confirmation=found))
    assert said.confirmed
    assert said.basis.startswith(
        "Chosen and estimated on the same 6 fresh seeds, at limits that allow for it; order and head vary by "
        "seed, the validation part is your own;"
    )


def test_a_tie_of_all_is_told_as_no_difference(made_result):
    said = verdict_of(made_result.result((0, 0.0, 0.005), (2, 0.0, 0.01), (3, 0.001, 0.008)))
    assert said.headline.startswith(
        "no difference (confirmed on 12 fresh seeds): the 3 others are each within 1 pt of the simplest of "
        "the best: "
    )
    assert "better" not in said.headline
    assert said.freeze_first.answer == "no difference"
    assert said.freeze_first.confirmed
    assert said.how_deep.answer == "no difference between the head alone and all of the backbone"
    two = verdict_of(made_result.result((2, 0.0, 0.005)))
    assert ": the other one is within 1 pt of the simplest of the best: train the head" in two.headline


def test_what_no_seed_could_decide_is_told_as_undecided(made_result):
    said = verdict_of(made_result.result((2, 0.004, 0.02), (3, 0.001, 0.005)))
    assert said.headline.startswith("undecided after 12 fresh seeds; the simplest of those that lead: ")
    assert (said.freeze_first.answer, said.freeze_first.standing) == ("undecided", "on fresh seeds")


def test_a_winner_that_fell_behind_on_the_later_seeds_is_not_called_best(made_result):
    said = verdict_of(made_result.result((0, 0.09, 0.03), (3, -0.02, 0.015)))
    assert said.headline.startswith("undecided after 12 fresh seeds")
    assert "; behind trial 3 (full) on the seeds of the estimate: -2.0 pt (-3.5 to -0.5)" in said.headline
    assert said.freeze_first.answer == "undecided"
    assert "behind training the backbone at once" in said.freeze_first.sentence


def test_many_candidates_are_counted_not_named(made_result):
    trials = (*made_result.trials, *(made_result.trial(n, "full", 0.8) for n in range(4, 8)))
    leads = [(n, 0.03 + n / 1000, 0.01) for n in (0, 2, 3, 4, 5)]
    said = verdict_of(made_result.result(*leads, trials=trials))
    assert said.headline.endswith("; better than all 5 others: +3.0 pt to +3.5 pt")


def test_an_interval_without_ends_is_told_as_unknown(made_result):
    said = verdict_of(made_result.result((2, 0.02, math.inf)))
    assert "undecided against full: +2.0 pt (how far off is not known)" in said.headline


# Unconfirmed


def test_without_a_confirmation_all_is_unconfirmed(made_result):
    said = verdict_of(made_result.result())
    assert said.headline.startswith("best schedule found (unconfirmed): ")
    assert said.basis == UNCONFIRMED
    assert not said.confirmed
    assert {one.standing for one in said.answers} == {"unconfirmed"}
    assert not any(one.confirmed for one in said.answers)
    assert (said.optimism, said.gaps, said.test) == (None, (), ())


def test_a_confirmation_that_was_cut_short_before_a_look_confirms_nothing(made_result):
    found = made_result.confirmation(chosen=None, cut_short="out of time", seeds=3, comparisons=())
    said = verdict_of(made_result.result(confirmation=found))
    assert said.standing == "unconfirmed"
    assert "(unconfirmed)" in said.headline
    assert said.basis.endswith("The confirmation was cut short before its first look (out of time).")
    assert {one.standing for one in said.answers} == {"unconfirmed"}


def test_one_cut_short_after_a_look_is_told_as_far_as_it_went(made_result):
    found = made_result.confirmation(
        *ALL, cut_short="interrupted", seeds=9, planned=12, estimate_seeds=(0, 6)
    )
    said = verdict_of(made_result.result(confirmation=found))
    assert said.standing == "not concluded"
    assert not said.confirmed
    assert said.headline.startswith("best schedule so far (not concluded, 9 of up to 12 fresh seeds): ")
    assert "at limits that allow for it" not in said.basis
    assert "cut short (interrupted)" in said.basis
    assert not any(one.confirmed for one in said.answers)
    assert said.freeze_first.sentence.startswith("not concluded: ")


def test_candidates_that_all_broke_off_are_told(made_result):
    found = made_result.confirmation(chosen=None)
    said = verdict_of(made_result.result(confirmation=found))
    assert said.standing == "unconfirmed"
    assert said.basis.endswith("Every candidate broke off on fresh seeds.")


def test_a_search_in_which_all_diverged_has_no_answer(made_result):
    trials = tuple(
        made_result.trial(n, name, ending=Ending.UNSTABLE, reason="non-finite loss")
        for n, name in enumerate(("full", "lp_ft"))
    )
    said = verdict_of(made_result.result(trials=trials))
    assert (said.standing, said.basis) == ("none", "")
    assert said.headline == "no trial was completed, so there is no best schedule"
    assert {one.answer for one in said.answers} == {"none"}
    assert (said.front, said.at_edge, said.robustness) == ((), (), ())


# The answers


@pytest.mark.parametrize(
    ("lead", "answer", "words"),
    [
        ((2, 0.021, 0.017), "freeze first", "better than training the backbone at once, with full: +2.1 pt (+0.4 to +3.8)."),
        ((2, 0.005, 0.004), "freeze first", "+0.5 pt (+0.1 to +0.9), by less than 1 pt."),
        ((2, 0.002, 0.006), "no difference", "no difference from training the backbone at once, with full: +0.2 pt (-0.4 to +0.8), within 1 pt."),
        ((2, 0.008, 0.012), "undecided", "undecided against training the backbone at once, with full: +0.8 pt (-0.4 to +2.0)."),
    ],
)  # fmt: skip
def test_freeze_first_is_answered_as_surely_as_the_interval_is(made_result, lead, answer, words):
    trials = made_result.trials[:3]
    said = verdict_of(made_result.result(lead, trials=trials)).freeze_first
    assert said.answer == answer
    assert f"{said.sentence}.".endswith(words)
    assert said.sentence.startswith("freezing first, with trial 1 (lp_ft): ")


def test_an_answer_counts_against_every_candidate_of_the_other_kind(made_result):
    """Full has the smallest lead, and is beaten; the decay leads by more, but might be better than all."""
    said = verdict_of(made_result.result((2, 0.02, 0.015), (3, 0.03, 0.05)))
    side = said.freeze_first.sides[1]
    assert said.freeze_first.answer == "undecided"
    assert (side.low, side.high) == pytest.approx((-0.02, 0.035))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(-0.1, 0.1), st.floats(1e-4, 0.1)), min_size=2, max_size=2))
def test_better_is_said_only_when_it_is_said_of_every_candidate_of_the_other_kind(made_result, leads):
    result = made_result.result(*((n, *lead) for n, lead in zip((2, 3), leads, strict=True)))
    decisions = [one.decision for one in result.confirmation.comparisons]
    said = verdict_of(result).freeze_first
    assert (said.answer == "freeze first") == (decisions == ["better", "better"])
    if "worse" in decisions:
        assert said.answer == "undecided"


def test_a_winner_that_trains_the_head_alone_is_told_as_such(made_result):
    found = made_result.confirmation(
        chosen=0,
        candidates=(made_result.candidate(0, 0.84), made_result.candidate(2, 0.8)),
        comparisons=(made_result.comparison(2, 0.04, 0.01, chosen=0),),
    )
    said = verdict_of(made_result.result(confirmation=found))
    assert (said.freeze_first.answer, said.freeze_first.standing) == ("the head alone", "confirmed")
    assert said.rates.answer == "not asked"
    assert said.rates.sentence == "the best schedule trains no group of the backbone"


def test_an_answer_is_undecided_while_one_of_several_kinds_is(made_result):
    trials = (*made_result.trials, made_result.trial(4, "last_groups", 0.8))
    said = verdict_of(made_result.result((0, 0.0, 0.005), (4, 0.0, 0.05), trials=trials)).how_deep
    assert said.answer == "undecided"
    said = verdict_of(made_result.result((0, 0.05, 0.01), (4, 0.0, 0.05), trials=trials)).how_deep
    assert said.answer == "undecided between a part of the backbone and all of the backbone"


def test_a_kind_without_a_candidate_leaves_the_answer_confirmed_in_part(made_result):
    said = verdict_of(made_result.result((2, 0.03, 0.01), (3, 0.03, 0.01))).how_deep
    assert (said.answer, said.standing, said.confirmed) == ("all of the backbone", "unconfirmed", False)
    trials = (*made_result.trials, made_result.trial(4, "last_groups", 0.8))
    said = verdict_of(made_result.result((4, 0.03, 0.01), trials=trials)).how_deep
    assert (said.answer, said.standing, said.confirmed) == ("all of the backbone", "confirmed in part", False)
    assert "unconfirmed against the head alone, of which none was a candidate" in said.sentence
    assert "linear_probe at 0.750, the best of 1 complete" in said.sentence


def test_the_search_alone_answers_only_what_luck_does_not_give(made_result):
    said = verdict_of(made_result.result())
    assert said.freeze_first.answer == "undecided"
    assert said.freeze_first.sentence == (
        "from the search alone, unconfirmed: freezing first, trial 1 (lp_ft) at 0.860, the best of 2 complete; "
        "training the backbone at once, trial 3 (full) at 0.850, the best of 2 complete: +1.0 pt, which luck "
        "gives too (up to 5 pt)"
    )
    assert said.how_deep.answer == "all of the backbone"
    assert "+11.0 pt, more than luck alone gives" in said.how_deep.sentence


def test_the_heads_of_a_sweep_are_told_where_the_best_of_many_is(made_result):
    heads = tuple(MemberResult(params={"head_lr": 1e-3 * one}, settings=f"{one}") for one in range(1, 17))
    sweep = made_result.trial(4, "linear_probe", 0.76, member=3, members=heads)
    said = verdict_of(made_result.result(trials=(*made_result.trials, sweep)))
    assert (
        "trial 4 (linear_probe) at 0.760, the best of 2 complete, 17 heads in all" in said.how_deep.sentence
    )


def test_one_arm_alone_is_not_compared(made_result):
    trials = (
        made_result.trials[2],
        made_result.trials[3],
        made_result.trial(4, "lp_ft", ending=Ending.FAILED),
    )
    said = verdict_of(made_result.result(trials=trials))
    assert (said.freeze_first.answer, said.freeze_first.standing) == ("not compared", "")
    assert said.freeze_first.sentence == (
        "training the backbone at once, with trial 3 (full), and nothing to compare it with; freezing first: "
        "none of 1 trial was completed"
    )
    assert any(
        "no schedule that freezes first was completed, of 1 tried" in line for line in said.not_searched
    )


@pytest.mark.parametrize(
    ("rows", "depth", "spread"),
    [
        ([(None, None, None, 1)], "head", None),
        ([(None, None, None, 1), (1e-3, 1e-3, 1e-3, 1)], "all", "one"),
        ([(None, None, 1e-3, 1)], "part", "one"),
        ([(1e-5, 1e-4, 1e-3, 1)], "all", "decay"),
        ([(3.06136e-4, 4.16217e-4, 5.65880e-4, 1)], "all", "decay"),  # six digits
        ([(1e-5, 5e-4, 1e-3, 1)], "all", "per_group"),
        ([(1e-3, 1e-4, 1e-5, 1)], "all", "per_group"),
        ([(1e-3, 1e-4, None, 1), (None, None, 1e-4, 1)], "all", "one"),
        ([(1e-3, None, None, None)], "part", "one"),
    ],
)
def test_kinds_are_read_from_the_table(rows, depth, spread):
    schedule = Schedule(groups=GROUPS, phases=tuple(Phase(epochs=1, lrs=row) for row in rows))
    assert depth_of(schedule) == depth
    assert spread_of(schedule) == spread


# What is told beside them


def test_optimism_is_the_search_less_the_confirmed_mean(made_result):
    said = verdict_of(made_result.result(*ALL))
    assert said.optimism == pytest.approx(0.02)
    assert "optimism" in [one.topic for one in said.notes]
    assert "the search had the winner at 0.860, fresh seeds at 0.840: +2.0 pt" in _notes(said)


def test_a_log_loss_is_told_in_nats_with_less_being_better(made_result):
    """Stored as exp(-loss) in a trial, and as minus the loss in a candidate."""
    trials = (made_result.trial(1, "lp_ft", math.exp(-0.4)), made_result.trial(2, "full", math.exp(-0.5)))
    winner = made_result.candidate(1, -0.45, low=-0.5, high=-0.42, test_value=math.exp(-0.43))
    other = made_result.candidate(2, -0.51)
    found = made_result.confirmation(
        candidates=(winner, other), comparisons=(made_result.comparison(2, 0.06, 0.02),),
        test_images=10, test_reads=1, test_seeds=3,
    )  # fmt: skip
    said = verdict_of(made_result.result(trials=trials, metric="log_loss", confirmation=found))
    assert (
        "log_loss 0.450 (0.420 to 0.500); better than trial 2 (full): +0.060 nat (+0.040 to +0.080)"
        in said.headline
    )
    assert said.optimism == pytest.approx(0.05)
    assert "the search had the winner at 0.400, fresh seeds at 0.450: +0.050 nat" in _notes(said)
    assert said.test[0].value == pytest.approx(0.43)
    assert said.test[0].low is None
    assert "nothing finer" not in said.test_basis
    assert said.freeze_first.sides[1].value == pytest.approx(0.51)


def test_the_gap_of_the_winner_stands_beside_those_of_the_others(made_result):
    said = verdict_of(made_result.result(*ALL))
    assert [one.name for one in said.gaps] == ["trial 1 (lp_ft)", "linear_probe", "full", "trial 3 (full)"]
    assert [one.gap for one in said.gaps] == pytest.approx([0.11, 0.2, 0.131, 0.114])
    assert (
        "training top-1 less validation top-1: +11.0 pt (0.950 and 0.840); linear_probe +20.0 pt"
        in _notes(said)
    )
    assert "augmented and in training mode" in _notes(said)


def test_accuracy_by_class_is_told_where_classes_are_uneven(made_result):
    even = made_result.result(*ALL)
    assert verdict_of(even).classes == ()  # 200 and 100: twice, not more
    data = {**even.data, "class_images": [201, 200, 100]}
    said = verdict_of(even.model_copy(update={"data": data}))
    assert [one.accuracy for one in said.classes] == pytest.approx([0.84, 0.74, 0.89])
    assert [one.baseline for one in said.classes] == pytest.approx([0.819, 0.719, 0.869])
    assert (
        "lowest b 0.740 (200 training images, full 0.719); fewest images c 0.890 (100 training images, full 0.869)"
        in _notes(said)
    )
    weighed = even.model_copy(update={"metric": "balanced_accuracy"})
    assert len(verdict_of(weighed).classes) == 3


def test_a_class_that_no_validation_part_held_is_named(made_result):
    winner = made_result.candidate(1, 0.84, class_accuracies=(0.9, None, 0.8))
    found = made_result.confirmation(candidates=(winner,))
    said = verdict_of(made_result.result(confirmation=found, metric="macro_f1"))
    assert said.classes[1].accuracy is None
    assert "no validation image of b" in _notes(said)


def test_work_is_told_in_runs_of_full_fine_tuning(made_result):
    trials = (
        *made_result.trials,
        made_result.trial(4, "full", 0.8, baseline="full", tuned=True, work=16_000.0),
    )
    said = verdict_of(made_result.result(*ALL, trials=trials))
    assert (said.work.run, said.work.full) == (4000, 4000)
    assert (said.work.search, said.work.tuning, said.work.confirmation) == (26_000, 16_000, 96_000)
    assert "one run of the best costs 1.00 times one of full fine-tuning" in _notes(said)
    assert "spent, in runs of full fine-tuning: search 6, tuning 4, confirmation 24" in _notes(said)


def test_robustness_counts_pruned_trials_as_not_near_and_is_told_of_five_at_least(made_result):
    ends = [Ending.UNPROMISING, Ending.UNSTABLE, Ending.FAILED]
    pruned = [made_result.trial(n, "lp_ft", ending=end) for n, end in enumerate(ends, start=4)]
    more = [made_result.trial(n, "lp_ft", value) for n, value in ((7, 0.851), (8, 0.80))]
    again = made_result.trial(9, "lp_ft", 0.86, same_as=1)
    said = verdict_of(made_result.result(trials=(*made_result.trials, *pruned, *more, again)))
    (robust,) = said.robustness
    assert (robust.name, robust.trials, robust.near_own, robust.near_best) == ("lp_ft", 5, 2, 2)
    assert "lp_ft 2 of 5 (2)" in _notes(said)
    assert verdict_of(made_result.result()).robustness == ()


def test_the_rates_of_a_tuned_baseline_are_counted_by_themselves(made_result):
    tuned = [made_result.trial(n, "full", 0.8 + n / 1000, baseline="full", tuned=True) for n in range(4, 8)]
    said = verdict_of(made_result.result(trials=(*made_result.trials, *tuned)))
    (robust,) = said.robustness
    assert (robust.name, robust.tuned, robust.trials, robust.near_own) == ("full", True, 5, 1)


def _notes(said: Verdict) -> str:
    return "\n".join(note.sentence for note in said.notes)


# The test split


def test_ten_test_images_are_told_to_say_little(made_result):
    winner = made_result.candidate(1, 0.84, test_value=0.9)
    found = made_result.confirmation(candidates=(winner,), test_images=10, test_reads=2, test_seeds=3)
    said = verdict_of(made_result.result(confirmation=found))
    assert said.test_basis == (
        "test split read 2 times, 10 images, 3 models of each schedule, after every choice; intervals are "
        "binomial, for new images; 10 test images can tell nothing finer than 10 pt"
    )
    (score,) = said.test
    assert score.low < 0.61
    assert score.high > 0.97


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 2000), st.floats(0, 1))
def test_the_interval_of_a_share_is_scipys(n, share):
    hits = round(share * n)
    known = binomtest(hits, n).proportion_ci(0.95, method="wilson")
    assert wilson(hits / n, n) == pytest.approx((known.low, known.high), abs=1e-4)


# How far the search reached


POINT = {
    "warmup_epochs": 1.0, "unfreeze_depth": 2, "rates": "decay", "head_lr": 1e-3, "backbone_ratio": 0.1,
    "depth_ratio": 0.1,
}  # fmt: skip


def edges(made_result, **params):
    space = SpaceSpec.load("quick").resolve(GROUPS, 6)
    point = {**POINT, **params}
    best = made_result.trial(0, "", 0.9, schedule=space.build(point)[0], params=point)
    return [line.split(" lies")[0] for line in verdict_of(made_result.result(trials=(best,))).at_edge]


@pytest.mark.parametrize(
    ("params", "warned"),
    [
        ({}, []),
        ({"head_lr": 9.9e-3}, ["head_lr 9.9e-3"]),
        ({"head_lr": 8.3e-3}, []),  # 5.3 % of the logarithm from the end
        ({"head_lr": 3.2e-4}, ["head_lr 3.2e-4"]),
        ({"backbone_ratio": 1.0}, []),
        ({"backbone_ratio": 0.01}, ["backbone_ratio 0.01"]),
        ({"warmup_epochs": 0.0}, []),
        ({"warmup_epochs": 2.0}, ["warmup_epochs 2"]),
        ({"unfreeze_depth": 3}, []),
        ({"unfreeze_depth": 0, "backbone_ratio": 0.01, "warmup_epochs": 2.0}, []),
        ({"rates": "one", "depth_ratio": 0.01}, []),
        ({"unfreeze_depth": 1, "depth_ratio": 0.01}, []),
        ({"depth_ratio": 0.01}, ["depth_ratio 0.01"]),
    ],
)
def test_a_winner_at_the_end_of_a_range_is_warned_of_where_something_lies_beyond(made_result, params, warned):
    assert edges(made_result, **params) == warned


def test_a_warning_names_the_range_and_the_side(made_result):
    best = made_result.trial(0, "lp_ft", 0.9, params={**POINT, "head_lr": 1e-2})
    assert verdict_of(made_result.result(trials=(best,))).at_edge == (
        "head_lr 1e-2 lies at the upper end of the range searched, 3e-4 to 1e-2: higher may be better",
    )


def test_a_baseline_outside_the_space_lies_at_no_edge(made_result):
    assert verdict_of(made_result.result(trials=made_result.trials[2:3])).at_edge == ()


def test_a_tuned_baseline_at_the_highest_of_its_rates_is_warned_of(made_result):
    def at(number, rate, value):
        schedule = recipes.full(GROUPS, 6, head_lr=rate, backbone_ratio=1.0)
        return made_result.trial(number, "", value, schedule=schedule, baseline="full", tuned=True)

    trials = tuple(at(n, rate, 0.7 + n / 100) for n, rate in enumerate((1e-4, 1e-3, 1e-2)))
    (line,) = verdict_of(made_result.result(trials=trials)).at_edge
    assert line == ("the head's rate 1e-2 is the highest of 3 by which full was tuned: higher may be better")


def test_what_was_not_searched_is_told(made_result):
    lines = verdict_of(made_result.result()).not_searched
    assert lines[0].startswith(
        "baselines not run: lp_ft, fastai, full_decay, last_block, gradual, frozen_stem"
    )
    assert lines[1].startswith("baselines at their usual rate alone, untuned: linear_probe and full")
    assert lines[2].startswith("held fixed: unfreeze_every 0, freeze_stem false, ")
    assert "optimizer adamw" in lines[2]
    assert "momentum" not in lines[2]
    assert not any(name in lines[2] for name in ("head_lr", "warmup_epochs", "group_offset"))
    assert (
        lines[-1]
        == "one backbone, one image size (96 px), one length (6 epochs), no augmentation but the views"
    )


def test_a_result_that_holds_no_space_has_a_verdict_too(made_result):
    said = verdict_of(made_result.result(*ALL, settings={}))
    assert said.confirmed
    assert said.at_edge == ()


# Value against work


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 8), st.integers(1, 6)), min_size=1, max_size=12))
def test_the_front_holds_whatever_no_other_trial_beats_in_both(made_result, drawn):
    trials = tuple(
        made_result.trial(n, "full", value / 10, work=1000.0 * work, fold_values=(value / 10,))
        for n, (value, work) in enumerate(drawn)
    )
    front = front_of(made_result.result(trials=trials))
    assert [one.work for one in front] == sorted({one.work for one in front})
    for trial in trials:
        assert any(one.work <= trial.work and one.value >= trial.value for one in front)
    for one in front:
        assert not any(
            trial.value >= one.value
            and trial.work <= one.work
            and (trial.value, trial.work) != (one.value, one.work)
            for trial in trials
        )


def test_the_front_is_in_work_of_one_run_and_marks_the_winner(made_result):
    front = front_of(made_result.result(*ALL))
    assert [(one.name, one.work, one.share) for one in front] == [
        ("linear_probe", 1000.0, 0.25), ("trial 1 (lp_ft)", 4000.0, 1.0),
    ]  # fmt: skip
    assert [one.best for one in front] == [False, True]
    assert [one.confirmed for one in front] == pytest.approx([0.75, 0.84])


# What may be spent


def dear(made_result, value=0.9):
    return made_result.trial(2, "full", value, baseline="full", affordable=False, work=20_000.0)


def test_a_schedule_over_the_cost_allowed_is_no_answer(made_result):
    trials = (*made_result.trials[:2], dear(made_result), made_result.trials[3])
    limited = {"settings": {"max_cost": 0.5}, "trials": trials}
    said = verdict_of(made_result.result((2, -0.04, 0.02), (3, 0.03, 0.01), **limited))
    assert said.headline.startswith("best schedule (confirmed on 12 fresh seeds): ")
    assert "behind full (over the cost allowed) on the seeds of the estimate: -4.0 pt" in said.headline
    assert (said.freeze_first.answer, said.freeze_first.sides[1].name) == ("freeze first", "trial 3 (full)")
    assert [one.affordable for one in said.front] == [True, True, False]
    (other,) = verdict_of(made_result.result(**limited)).freeze_first.sides[1:]
    assert (other.name, other.complete, other.trials) == ("trial 3 (full)", 1, 2)
    assert "allowed were 0.5 times" in _notes(said)


def test_when_nothing_within_the_cost_was_completed_that_is_said(made_result):
    said = verdict_of(made_result.result(trials=(dear(made_result),)))
    assert said.headline == "no trial within the cost allowed was completed, so there is no best schedule"


def test_draws_that_were_too_dear_to_run_are_counted(made_result):
    trials = (*made_result.trials, made_result.trial(4, "full", ending=Ending.TOO_DEAR, affordable=False))
    said = verdict_of(made_result.result(trials=trials, settings={"max_cost": 0.5}))
    assert "1 draw over the cost allowed, 0.5 times full fine-tuning, not run" in said.not_searched
    assert said.freeze_first.sides[1].trials == 2


# As a value


@pytest.mark.parametrize("leads", [(), ALL])
def test_a_verdict_is_read_back_equal_from_json(made_result, leads):
    said = verdict_of(made_result.result(*leads))
    assert Verdict.model_validate_json(said.model_dump_json()) == said
