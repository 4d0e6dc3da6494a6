"""How much each axis of a space mattered, and what chance would make of it."""

import math
import random

import pytest
from made_search import Draw

from autofreeze.pedanova import FEWEST, importances_of
from autofreeze.results import Ending
from autofreeze.space import SpaceSpec

GROUPS = ("stem", "layer1", "layer2", "head")


def space_of(text):
    return SpaceSpec.from_text(text).resolve(GROUPS, 6)


SPACE = space_of(
    """
    unfreeze_depth: {low: 0, high: all}
    freeze_stem: [false, true]
    head_lr: {low: 1.0e-4, high: 1.0e-2, log: true}
    backbone_ratio: {low: 1.0e-3, high: 1.0, log: true}
    warmup_epochs: {low: 0, high: 3}
    """
)


@pytest.fixture
def drawn(made_result):
    """``drawn(n, worth)``: complete trials whose values follow from their points."""

    def draw(n, worth, *, seed=0, first=0):
        rng = random.Random(seed)
        trials = []
        for number in range(first, first + n):
            trial = Draw(rng)
            schedule, _ = SPACE.suggest(trial)
            value = worth(trial.params, rng)
            trials.append(made_result.trial(number, "", value, schedule=schedule, params=trial.params))
        return trials

    return draw


def near(params):
    """How near the rate of the head is to 1e-3, in decades."""
    return -abs(math.log10(params["head_lr"]) + 3)


def by_rate(params, rng):
    return 0.8 + 0.1 * near(params) + rng.gauss(0, 0.01)


def test_the_axis_that_decides_weighs_most_and_the_others_do_not_matter(drawn):
    found = importances_of(drawn(120, by_rate), SPACE)
    assert found.why_none == ""
    assert (found.trials, found.good) == (120, 12)
    assert {one.axis for one in found.axes} == set(SPACE.searched)
    assert found.axes[0].axis == "head_lr"
    assert found.axes[0].share > 0.5
    assert sum(one.share for one in found.axes) == pytest.approx(1)
    assert [one.share for one in found.axes] == sorted((one.share for one in found.axes), reverse=True)
    assert found.axes[0].is_told
    assert sum(one.is_told for one in found.axes) <= 2


def test_good_trials_are_those_with_the_higher_objective(drawn):
    def worth(params, rng):
        """The best need the right rate; the worst are those with a deep thaw."""
        return near(params) if near(params) > -0.2 else -1.0 - params["unfreeze_depth"] + rng.gauss(0, 0.01)

    found = importances_of(drawn(200, worth), SPACE)
    assert found.axes[0].axis == "head_lr"
    turned = importances_of(drawn(200, lambda params, rng: -worth(params, rng)), SPACE)
    assert turned.axes[0].axis == "unfreeze_depth"


def test_axes_that_do_not_matter_are_rarely_told(drawn):
    told = [
        one.is_told
        for seed in range(12)
        for one in importances_of(drawn(40, lambda _, rng: rng.random(), seed=seed), SPACE).axes
    ]
    assert len(told) == 12 * 5
    assert sum(told) <= 9  # one in twenty is meant; more than 9 of 60 would come once in a thousand times


def test_few_trials_say_nothing_and_that_is_said(drawn):
    assert importances_of([], SPACE).why_none == (
        f"there are 0 complete trials with a point of the space; it takes {FEWEST} to say anything"
    )
    few = importances_of(drawn(1, by_rate), SPACE)
    assert (few.trials, few.axes) == (1, ())
    assert few.why_none.startswith("there is 1 complete trial with")
    assert importances_of(drawn(FEWEST - 1, by_rate), SPACE).axes == ()
    enough = importances_of(drawn(FEWEST, by_rate), SPACE)
    assert (enough.trials, enough.good, enough.why_none) == (FEWEST, 5, "")


def test_only_trials_with_a_point_of_the_space_that_were_judged_count_each_run_once(drawn, made_result):
    trials = drawn(30, by_rate)
    point = {"params": trials[0].params}
    others = [
        made_result.trial(30, "full", 0.9, baseline="full"),
        made_result.trial(31, "full", ending=Ending.FAILED, **point),
        made_result.trial(32, "full", math.nan, **point),
        made_result.trial(33, "full", 0.99, same_as=0, **point),
        made_result.trial(34, "full", 0.99, ending=Ending.NOT_COMPARABLE, **point),
    ]
    assert importances_of([*trials, *others], SPACE) == importances_of(trials, SPACE)


@pytest.mark.parametrize("ending", [Ending.UNPROMISING, Ending.UNSTABLE])
def test_pruned_trials_are_none_of_the_good(drawn, made_result, ending):
    """All rates but the right ones were pruned: among complete trials the rate makes no difference."""
    trials = drawn(150, lambda _, rng: rng.random())
    kept = [one for one in trials if near(one.params) > -0.3]
    assert 20 < len(kept) < 75
    complete = {one.number for one in kept}
    ended = [
        one if one.number in complete else one.model_copy(update={"ending": ending, "value": None})
        for one in trials
    ]
    found = importances_of(ended, SPACE)
    assert (found.trials, found.pruned, found.good) == (len(kept), 150 - len(kept), 15)
    assert found.axes[0].axis == "head_lr"
    assert found.axes[0].is_told
    assert not next(one for one in importances_of(kept, SPACE).axes if one.axis == "head_lr").is_told


def test_where_fewer_are_complete_than_a_tenth_all_of_these_are_good(drawn):
    trials = drawn(150, by_rate)
    ended = [
        one if one.number < 12 else one.model_copy(update={"ending": Ending.UNPROMISING, "value": None})
        for one in trials
    ]
    found = importances_of(ended, SPACE)
    assert (found.trials, found.pruned, found.good) == (12, 138, 12)
    same = [one.model_copy(update={"value": 0.5}) if one.value is not None else one for one in ended]
    assert importances_of(same, SPACE).good == 12


def test_values_that_are_all_the_same_say_nothing(drawn):
    same = importances_of(drawn(30, lambda *_: 0.5), SPACE)
    assert (same.axes, same.why_none) == ((), "all complete trials have the same value")


def test_of_tied_trials_all_are_good_or_none(drawn):
    found = importances_of(drawn(60, lambda _, rng: rng.choice((0.5, 0.6, 0.7))), SPACE)
    values = [one.value for one in drawn(60, lambda _, rng: rng.choice((0.5, 0.6, 0.7)))]
    assert found.good == values.count(0.7) > 6


def test_a_space_without_an_axis_says_so(drawn):
    fixed = space_of("head_lr: 1.0e-3")
    assert importances_of(drawn(30, by_rate), fixed).why_none == "no axis of the space was searched"


def test_points_beyond_the_space_and_off_its_grid_do_not_matter(drawn):
    trials = drawn(60, by_rate)
    off = {**trials[0].params, "warmup_epochs": 1.0000000001, "head_lr": 7.0, "freeze_stem": "perhaps"}
    found = importances_of([trials[0].model_copy(update={"params": off}), *trials[1:]], SPACE)
    assert found.axes[0].axis == "head_lr"


def test_the_same_trials_give_the_same_to_the_bit(drawn):
    assert importances_of(drawn(40, by_rate), SPACE) == importances_of(drawn(40, by_rate), SPACE)
