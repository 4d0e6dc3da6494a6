"""The schedules that people use without a search."""

from itertools import pairwise

import pytest

from autofreeze.baselines import SGD_FACTOR, baseline_quota, baselines
from autofreeze.recipes import gradual, name_of

NAMES = ["linear_probe", "full", "lp_ft", "fastai", "full_decay", "last_block", "gradual", "frozen_stem"]


def tables(n_backbone, epochs, optimizer="adamw"):
    groups = (*(f"g{column}" for column in range(n_backbone)), "head")
    points = baselines(n_backbone, epochs, optimizer)
    return {point.name: gradual(groups, epochs, **point.params) for point in points}


@pytest.mark.parametrize("epochs", [0.5, 1, 5, 30])
@pytest.mark.parametrize("n_backbone", range(1, 10))
def test_every_baseline_is_a_valid_schedule_for_every_model_and_length(n_backbone, epochs):
    schedules = tables(n_backbone, epochs)
    assert list(schedules) == NAMES
    assert all(schedule.epochs == epochs for schedule in schedules.values())


@pytest.mark.parametrize("n_backbone", range(3, 10))
def test_the_baselines_are_the_recipes_that_they_are_named_after(n_backbone):
    schedules = tables(n_backbone, 10)
    assert {name: name_of(schedule) for name, schedule in schedules.items()} == {
        "linear_probe": "linear_probe", "full": "full", "fastai": "lp_ft", "lp_ft": "lp_ft",
        "full_decay": "full", "last_block": "last_groups", "gradual": "gradual", "frozen_stem": "frozen_stem",
    }  # fmt: skip
    assert schedules["last_block"].unfreeze_depth == 1
    assert schedules["gradual"].unfreeze_depth == n_backbone  # the stem's turn comes within the run
    assert schedules["fastai"].warmup_epochs == 1
    assert schedules["lp_ft"].warmup_epochs == 2
    assert len(set(schedules.values())) == len(NAMES)


def test_rates_are_those_of_the_sources():
    schedules = tables(4, 10)
    assert schedules["full"].phases[0].lrs == (1e-3,) * 5
    assert schedules["fastai"].phases[1].lrs == (1e-5, 1e-5, 1e-5, 1e-5, 1e-3)
    assert schedules["lp_ft"].phases[1].lrs == (3e-4, 3e-4, 3e-4, 3e-4, 3e-3)
    decay = schedules["full_decay"].phases[0].lrs
    assert all(low / high == pytest.approx(0.75, rel=1e-4) for low, high in pairwise(decay))
    last = schedules["gradual"].phases[-1].lrs
    assert all(low / high == pytest.approx(1 / 2.6, rel=1e-4) for low, high in pairwise(last))


def test_sgd_takes_higher_rates_and_the_same_shape():
    for name, schedule in tables(4, 10, "sgd").items():
        other = tables(4, 10)[name]
        assert schedule.phases[-1].lrs[-1] == pytest.approx(SGD_FACTOR * other.phases[-1].lrs[-1])
        assert [phase.epochs for phase in schedule.phases] == [phase.epochs for phase in other.phases]


@pytest.mark.parametrize(
    ("trials", "quota"), [(1, 1), (4, 1), (5, 1), (9, 1), (10, 2), (15, 3), (24, 4), (25, 5), (50, 10)]
)
def test_a_fifth_of_the_trials_and_one_at_least_may_be_baselines(trials, quota):
    assert baseline_quota(trials) == quota
