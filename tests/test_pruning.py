"""Who goes on: unpromising and unstable runs."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autofreeze import pruning
from autofreeze.job import EpochRecord, Thaw
from autofreeze.pruning import MIN_PEERS, Go, Unpromising, Unstable, judge_fold, judge_standing
from autofreeze.stability import why_unstable

MANY = 10**8
"""Validation images: so many that a standard error is nothing, but where a test is about it."""


def judge(newest: EpochRecord, peers: list[list[EpochRecord]], **options) -> pruning.Decision:
    """Judge a run of four epochs."""
    return pruning.judge(newest, peers, **{"epochs": 4.0, **options})


def record(epoch: int, value: float, *, thaw: float = 0.0, **changes) -> EpochRecord:
    values = {
        "epoch": epoch, "epochs_done": epoch + 1.0, "step": 10 * (epoch + 1), "train_loss": 1.0,
        "phase_start_loss": 1.0, "val_loss": 0.5, "value": value, "predicted": "", "n_val": MANY,
        "rates": (1.0,), "grad_norms": (1.0,), "grad_norms_max": (1.0,), "work": 1.0, "seconds": 1.0,
        "epochs_since_unfreeze": epoch + 1 - thaw,
    }  # fmt: skip
    return EpochRecord(**{**values, **changes})


def run(*values: float, thaw: float = 0.0) -> list[EpochRecord]:
    return [record(epoch, value, thaw=thaw) for epoch, value in enumerate(values)]


PEERS = [run(0.5, 0.6, 0.7, 0.8)] * MIN_PEERS


def test_a_run_below_the_median_of_its_peers_is_unpromising():
    decision = judge(record(2, 0.69), PEERS)
    assert isinstance(decision, Unpromising)
    assert "0.690 after 3 epochs; the median of 5 others is 0.700" in decision.reason
    assert judge(record(2, 0.7), PEERS) == Go()


def test_the_median_and_not_the_best_is_the_bar():
    peers = [run(0, 0, value) for value in (0.1, 0.2, 0.3, 0.8, 0.9)]
    assert judge(record(2, 0.3), peers) == Go()
    assert isinstance(judge(record(2, 0.29), peers), Unpromising)


@pytest.mark.parametrize(("thaw", "first_judged"), [(0.0, 1), (1.0, 2), (2.0, 2), (2.5, 3), (3.0, 3)])
def test_nothing_is_unpromising_until_half_of_the_time_after_its_last_thaw(thaw, first_judged):
    peers = [run(0.5, 0.6, 0.7, 0.8, thaw=thaw)] * MIN_PEERS
    judged = [isinstance(judge(record(epoch, 0.0, thaw=thaw), peers), Unpromising) for epoch in range(4)]
    assert judged == [epoch >= first_judged for epoch in range(4)]


def test_a_run_within_a_standard_error_of_the_median_goes_on():
    # At .7 on 100 images a standard error is .046.
    assert judge(record(2, 0.66, n_val=100), PEERS) == Go()
    assert isinstance(judge(record(2, 0.65, n_val=100), PEERS), Unpromising)


def test_a_value_that_rests_on_fewer_images_than_there_are_has_a_wider_error():
    assert isinstance(judge(record(2, 0.65, n_val=100), PEERS, n=100), Unpromising)
    assert judge(record(2, 0.65, n_val=100), PEERS, n=50.0) == Go()


def test_a_long_warmup_is_compared_at_the_same_time_since_the_thaw_too():
    # After 4 epochs behind those who thawed at once, but ahead of what they had one epoch after their thaw.
    late = record(3, 0.55, thaw=3.0)
    assert judge(late, PEERS) == Go()
    assert isinstance(judge(record(3, 0.49, thaw=3.0), PEERS), Unpromising)


def test_a_run_without_warmup_is_not_held_to_the_head_starts_of_others():
    warm = [run(0.7, 0.9, 0.85, 0.8, thaw=2)] * MIN_PEERS
    # At epoch 1 the peers' heads had .9; two epochs after their own thaw they had .8.
    assert isinstance(judge(record(1, 0.79), warm), Unpromising)
    assert judge(record(1, 0.8), warm) == Go()


@pytest.mark.parametrize("n", range(MIN_PEERS))
def test_fewer_than_five_peers_judge_nobody(n):
    assert judge(record(2, 0.0), PEERS[:n]) == Go()


def test_peers_that_have_not_come_as_far_do_not_count():
    assert judge(record(3, 0.0), [run(0.5, 0.6)] * 9) == Go()
    late = [run(0.5, 0.6, 0.7, 0.8, thaw=3)] * 9  # one epoch after their thaw, at most
    assert judge(record(3, 0.0), late) == Go()


def test_nan_is_never_compared():
    broken = [record(2, math.nan), record(2, 0.9, val_loss=math.nan), record(2, 0.9, diverged="x")]
    peers = PEERS[:4] + [[*run(0.5, 0.6), end] for end in broken]
    assert judge(record(2, 0.0), peers) == Go()  # four peers that count
    peers = PEERS + [[*run(0.5, 0.6), end] for end in broken]
    assert judge(record(2, 0.7), peers) == Go()
    assert isinstance(judge(record(2, 0.69), peers), Unpromising)


def test_baselines_are_spared_but_not_when_they_diverge():
    assert judge(record(2, 0.0), PEERS, spared=True) == Go()
    assert judge(record(2, 0.0, diverged="non-finite loss"), PEERS, spared=True) == Unstable(
        "non-finite loss"
    )


def test_a_run_at_its_end_is_not_pruned_any_more():
    assert judge(record(3, 0.0, last=True), PEERS) == Go()
    assert isinstance(judge(record(3, 0.0), PEERS), Unpromising)


# Stability


@pytest.mark.parametrize("value", [0.9, 0.0])
def test_what_is_unstable_goes_no_further_however_it_fares(value):
    one = record(2, value, train_loss=99.0)
    words = why_unstable(one)
    assert words.startswith("loss spike")
    assert judge(one, PEERS) == judge(one, PEERS, spared=True) == Unstable(words)


def test_a_run_is_judged_by_what_it_was_before():
    thaw = Thaw(step=10, columns=(0,), loss=1.0, grad_norms=(1.0, 1.0), weight_norms=(1.0, 1.0))
    before = [record(0, 0.9), record(1, 0.2, thaws=(thaw,))]
    assert isinstance(judge(record(2, 0.2), [], before=before), Unstable)
    assert judge(record(2, 0.9), [], before=before) == Go()
    assert judge(record(2, 0.2), []) == Go()


def test_stability_is_judged_even_before_the_thaw():
    assert isinstance(judge(record(0, 0.5, thaw=3, train_loss=11.0), PEERS), Unstable)


# Between folds


def standings(n: int) -> list[pruning.Standing]:
    return [(0.5 + place / 100, -0.5) for place in range(n)]


@pytest.mark.parametrize(("n", "go_on"), [(6, 2), (7, 3), (9, 3), (10, 4), (24, 8)])
def test_of_all_that_have_come_as_far_the_best_third_goes_on(n, go_on):
    field = standings(n)
    decisions = [
        judge_standing(own, field[:place] + field[place + 1 :], folds=2) for place, own in enumerate(field)
    ]
    assert [isinstance(one, Go) for one in decisions] == [False] * (n - go_on) + [True] * go_on
    assert decisions[0] == Unpromising(f"number {n} of {n} after 2 folds, of which {go_on} go on")


@pytest.mark.parametrize("n", range(MIN_PEERS))
def test_fewer_than_five_others_judge_nobody_between_folds(n):
    assert judge_standing((0.0, -9.0), standings(n), folds=1) == Go()


def test_who_is_level_with_the_last_that_goes_on_goes_on_too():
    level = [(0.7, -0.4)] * 8
    assert judge_standing((0.7, -0.4), level, folds=1) == Go()
    assert isinstance(judge_standing((0.7, -0.41), level, folds=1), Unpromising)  # log loss breaks the tie
    assert judge_standing((0.71, -0.9), level, folds=1) == Go()  # the value comes first


@settings(deadline=None)  # a busy machine is no fault of the rule
@given(
    st.lists(st.tuples(st.integers(0, 20), st.integers(0, 3)), min_size=1, max_size=20),
    st.tuples(st.integers(0, 20), st.integers(0, 3)),
)
def test_ranks_alone_decide_whatever_the_scale_of_the_metric(others, own):
    decision = judge_standing(own, others, folds=1)
    stretched = [(value**3 + 7.0, 2.0 * loss) for value, loss in [own, *others]]
    assert judge_standing(stretched[0], stretched[1:], folds=1) == decision
    if decision == Go():
        assert judge_standing((own[0] + 1, own[1]), others, folds=1) == Go()


# Behind the best one


def paired(wins: int, losses: int, ties: int) -> tuple[np.ndarray, np.ndarray]:
    ours = np.array([1.0] * wins + [0.0] * losses + [1.0] * ties)
    best = np.array([0.0] * wins + [1.0] * losses + [1.0] * ties)
    return ours, best


@pytest.mark.parametrize(
    ("wins", "losses", "ties", "goes_on"),
    [(0, 0, 100, True), (10, 10, 80, True), (3, 7, 90, True), (0, 10, 90, False), (20, 0, 80, True)],
)
def test_a_trial_clearly_behind_on_the_same_images_is_unpromising(wins, losses, ties, goes_on):
    assert isinstance(judge_fold(*paired(wins, losses, ties)), Go if goes_on else Unpromising)


def test_images_are_paired():
    # The same two scores, .9 and .8: behind image by image, or by luck of which images.
    assert isinstance(judge_fold(*paired(0, 4, 36)), Unpromising)
    # Both wrong on half of them: two unpaired shares of .42 and .5 could not be told apart.
    ours, best = (np.concatenate([flags, np.zeros(50)]) for flags in paired(0, 8, 42))
    assert isinstance(judge_fold(ours, best), Unpromising)
    ours, best = paired(16, 20, 4)
    assert best.mean() - ours.mean() == pytest.approx(0.1)
    assert judge_fold(ours, best) == Go()


def test_the_reason_says_by_how_much():
    decision = judge_fold(*paired(0, 10, 90))
    assert isinstance(decision, Unpromising)
    assert decision.reason == "behind the best by 10.0 ± 3.0 points on the same 100 images"
    decision = judge_fold(*paired(0, 10, 90), unit="nats")
    assert isinstance(decision, Unpromising)
    assert decision.reason == "behind the best by 0.100 ± 0.030 nats on the same 100 images"
