"""Finalists: two of each arm, the next best, and the baselines that could win."""

import numpy as np
import pytest

from autofreeze.confirmation import arm_of
from autofreeze.finalists import choose_finalists
from autofreeze.recipes import gradual
from autofreeze.regime import Regime
from autofreeze.results import Ending, TrialResult

GROUPS = ("stem", "layer1", "layer2", "head")
IMAGES = 200


def trial(number, value, *, warmup=0.0, depth="all", ending=Ending.COMPLETE, **fields):
    schedule = gradual(
        GROUPS,
        4.0,
        head_lr=1e-3 * (1 + number / 100),
        warmup_epochs=warmup,
        unfreeze_depth=depth,
        rates="one",
    )
    return TrialResult(
        number=number, recipe="x", schedule=schedule, regime=Regime(), ending=ending, value=value,
        val_loss=1 - value, n_val=IMAGES, work=100.0, **fields,
    )  # fmt: skip


def choose(*trials):
    merits = {one.number: (np.arange(IMAGES) < one.value * IMAGES).astype(float) for one in trials}
    return choose_finalists(trials, merits)


def numbers(found, *, finalist=True):
    return [one.trial.number for one in found if one.finalist is finalist]


def test_each_arm_has_two_finalists_though_the_other_is_better():
    found = choose(
        *(trial(n, 0.9 - n / 1000) for n in range(4)),
        *(trial(n, 0.5 - n / 1000, warmup=1.0) for n in (7, 8, 9)),
    )
    arms = [arm_of(one.trial.schedule) for one in found]
    assert arms.count("freeze_first") == 2
    assert arms.count("at_once") >= 2
    assert {7, 8} < set(numbers(found))


@pytest.mark.parametrize("count", range(1, 12))
def test_there_are_three_to_five_finalists_where_the_search_has_as_many(count):
    found = choose(*(trial(n, 0.8, warmup=n % 2) for n in range(count)))
    assert min(count, 3) <= len(numbers(found)) <= 5


def test_one_arm_alone_still_has_three_finalists():
    assert numbers(choose(*(trial(n, 0.9 - n / 5) for n in range(5)))) == [0, 1, 2]


def test_a_baseline_comes_along_when_it_could_win_and_not_when_it_is_clearly_behind():
    strong = [trial(n, 0.9 - n / 200, warmup=n % 2) for n in range(5)]
    near, far = trial(10, 0.87, baseline="full"), trial(11, 0.5, baseline="fastai")
    found = choose(*strong, near, far)
    assert numbers(found, finalist=False) == []  # paired and nested, 3 points behind are certain
    assert 11 not in [one.trial.number for one in found]
    merits = {one.number: (np.arange(IMAGES) < one.value * IMAGES).astype(float) for one in strong}
    merits[10] = np.random.default_rng(0).permutation(merits[0])  # as good, on other images
    merits[11] = np.zeros(IMAGES)
    assert numbers(choose_finalists([*strong, near, far], merits), finalist=False) == [10]


def test_what_was_pruned_failed_or_too_dear_is_no_finalist():
    endings = (Ending.UNPROMISING, Ending.UNSTABLE, Ending.FAILED, Ending.TOO_DEAR, Ending.UNFINISHED)
    found = choose(*(trial(n, 0.9, ending=ending) for n, ending in enumerate(endings)), trial(9, 0.4))
    assert numbers(found) == [9]


def test_a_baseline_that_may_not_be_afforded_is_compared_with_and_no_finalist():
    found = choose(trial(0, 0.8), trial(1, 0.9, baseline="full", affordable=False))
    assert numbers(found) == [0]
    assert numbers(found, finalist=False) == [1]


def test_equal_schedules_count_once():
    assert numbers(choose(trial(0, 0.8), trial(1, 0.8, same_as=0))) == [0]


def test_of_the_rates_by_which_a_baseline_was_tuned_only_the_best_goes_on():
    tuned = [trial(n, 0.8 + n / 1000, baseline="full", tuned=True) for n in range(5)]
    found = choose(trial(9, 0.7), *tuned)
    assert numbers(found) == [4, 9]


def test_nothing_complete_gives_nobody():
    assert choose() == ()
    assert choose(trial(0, 0.9, ending=Ending.UNSTABLE)) == ()


def test_the_simpler_and_then_the_cheaper_sorts_first():
    one, gradual_, dearer = trial(0, 0.8), trial(1, 0.8, warmup=1.0), trial(2, 0.8)
    found = choose(one, gradual_, dearer.model_copy(update={"work": 200.0}))
    ranked = sorted(found, key=lambda finalist: finalist.complexity)
    assert [finalist.trial.number for finalist in ranked] == [0, 2, 1]
