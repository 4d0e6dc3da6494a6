"""Sweeps: which heads a draw becomes."""

import numpy as np
import pytest
from pydantic import ValidationError

from autofreeze.job import Job, Member
from autofreeze.recipes import gradual, linear_probe
from autofreeze.regime import Regime
from autofreeze.space import SpaceSpec, shipped_spaces
from autofreeze.sweeps import MOST_MEMBERS, SWEPT, members_of, points_of

GROUPS = ("stem", "layer1", "layer2", "head")
LOW, HIGH = 1e-4, 1e-2
FLAT = f"unfreeze_depth: {{low: 0, high: all}}\nhead_lr: {{low: {LOW}, high: {HIGH}, log: true}}\n"
LISTS = "weight_decay: [0.01, 0, 0.1]\nlabel_smoothing: [0, 0.1]\nclass_weights: [none, balanced]\n"


def resolved(text):
    return SpaceSpec.from_text(text).resolve(GROUPS, 3.0)


def drawn(space, **params):
    """A point at depth 0: what is not given is the first or lowest that the axis has."""
    low = {
        name: getattr(axis, "options", [getattr(axis, "low", None)])[0]
        for name, axis in space.searched.items()
    }
    return {**low, **({"unfreeze_depth": 0} if "unfreeze_depth" in low else {}), **params}


def heads(space, **params):
    return points_of(space, drawn(space, **params))


@pytest.mark.parametrize("rate", [LOW, 7e-4, HIGH])
def test_rates_go_round_the_range_in_even_steps_from_the_drawn_one(rate):
    found = [point["head_lr"] for point in heads(resolved(FLAT), head_lr=rate)]
    assert found[0] == rate
    assert len(found) == MOST_MEMBERS
    assert all(LOW <= one <= HIGH for one in found)
    places = np.sort(np.log(np.array(found) / LOW) / np.log(HIGH / LOW) % 1)
    assert np.diff(places) == pytest.approx(np.full(len(found) - 1, 1 / MOST_MEMBERS), abs=1e-9)


def test_two_draws_are_swept_with_different_rates():
    one, other = (
        {f"{point['head_lr']:.4g}" for point in heads(resolved(FLAT), head_lr=rate)} for rate in (7e-4, 8e-4)
    )
    assert not one & other


def test_every_combination_of_lists_comes_up_from_the_drawn_one_on():
    space = resolved("unfreeze_depth: 0\nhead_lr: 1.0e-3\n" + LISTS)
    found = heads(space, weight_decay=0, label_smoothing=0.1, class_weights="balanced")
    assert found[0] == {"weight_decay": 0, "label_smoothing": 0.1, "class_weights": "balanced"}
    assert len({tuple(point.values()) for point in found}) == len(found) == 12


def test_each_value_of_a_list_meets_low_and_high_rates():
    found = heads(resolved(FLAT + "label_smoothing: [0, 0.1]\n"), head_lr=7e-4)
    for smoothing in (0, 0.1):
        rates = [point["head_lr"] for point in found if point["label_smoothing"] == smoothing]
        assert len(rates) == MOST_MEMBERS / 2
        assert min(rates) < 3e-4
        assert max(rates) > 3e-3


def test_two_ranges_fill_the_square():
    found = heads(resolved(FLAT + "weight_decay: {low: 1.0e-3, high: 1.0, log: true}\n"), head_lr=7e-4)
    for name, low, high in (("head_lr", LOW, HIGH), ("weight_decay", 1e-3, 1.0)):
        places = np.sort([np.log(point[name] / low) / np.log(high / low) for point in found])
        assert len(found) == MOST_MEMBERS
        assert np.diff(places).max() < 3 / MOST_MEMBERS
    both = np.array([[np.log(point["head_lr"]), np.log(point["weight_decay"])] for point in found])
    assert abs(np.corrcoef(both.T)[0, 1]) < 0.5


def test_steps_of_a_range_are_kept_to():
    found = heads(resolved("unfreeze_depth: 0\nhead_lr: {low: 0.001, high: 0.005, step: 0.001}\n"))
    assert sorted(point["head_lr"] for point in found) == pytest.approx([0.001, 0.002, 0.003, 0.004, 0.005])


@pytest.mark.parametrize(
    ("space", "params"),
    [
        (FLAT, {"unfreeze_depth": 1}),
        (FLAT + "warmup_epochs: 1.5\n", {"unfreeze_depth": 2}),
        ("unfreeze_depth: 0\nhead_lr: 1.0e-3\n", {}),
        ("unfreeze_depth: 0\nhead_lr: 1.0e-3\nweight_decay: [0.1]\n", {}),
        ("unfreeze_depth: 0\nhead_lr: 1.0e-3\nbatch_size: [8, 16]\noptimizer: [adamw, sgd]\n", {}),
    ],
    ids=["deeper", "head first", "nothing searched", "one value", "what changes the batches"],
)  # fmt: skip
def test_what_trains_more_than_a_head_or_has_nothing_to_sweep_is_no_sweep(space, params):
    assert heads(resolved(space), **params) == ()


def test_a_warmup_that_lasts_the_whole_run_is_a_head_alone():
    space = resolved(FLAT + "warmup_epochs: {low: 0, high: 3, step: 1}\n")
    assert len(heads(space, unfreeze_depth=2, warmup_epochs=3.0)) == MOST_MEMBERS
    assert heads(space, unfreeze_depth=2, warmup_epochs=2.0) == ()


@pytest.mark.parametrize("name", sorted(shipped_spaces()))
def test_every_shipped_space_sweeps_and_its_heads_differ_in_what_is_swept_alone(name):
    space = SpaceSpec.load(name).resolve(GROUPS, 12.0)
    params = drawn(space)
    points = points_of(space, params)
    if "unfreeze_depth" not in space.searched:
        assert points == ()
        return
    members = members_of(space, params, points)
    assert len(members) == MOST_MEMBERS
    assert len({member.settings_digest for member in members}) == MOST_MEMBERS
    assert (members[0].schedule, members[0].regime) == space.build(params | {
        name: axis for name, axis in space.axes.items() if name not in params
    })  # fmt: skip
    assert all(set(point) == set(SWEPT) & set(space.searched) for point in points)
    # A job takes them, and so holds that nothing else differs.
    Job(trial=1, fold=0, seed=0, schedule=members[0].schedule, regime=members[0].regime, members=members)


def test_the_heads_follow_from_any_head_of_the_same_sweep():
    # The study holds the best head's point in the end; a search taken up again must build the same sweep.
    space = resolved(FLAT + LISTS)
    params = drawn(space, head_lr=7e-4)
    points = points_of(space, params)
    assert members_of(space, {**params, **points[5]}, points) == members_of(space, params, points)


# Jobs


def member(rate=1e-3, **regime):
    return Member(schedule=linear_probe(GROUPS, 3, head_lr=rate), regime=Regime(**regime))


def job(*members, **fields):
    first = members[0]
    given = {"trial": 1, "fold": 0, "seed": 0, "schedule": first.schedule, "regime": first.regime}
    return Job(**{**given, "members": members, **fields})


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (member(optimizer="sgd"), "may differ in the head's rate and in class_weights, label_smoothing"),
        (member(batch_size=8), "may differ"),
        (member(views="none"), "may differ"),
        (Member(schedule=linear_probe(GROUPS, 4, head_lr=1e-3), regime=Regime()), "may differ"),
        (Member(schedule=gradual(GROUPS, 3, head_lr=1e-3, unfreeze_depth=1), regime=Regime()), "may differ"),
    ],
    ids=["optimizer", "batch", "views", "length", "depth"],
)
def test_a_job_refuses_heads_that_cannot_share_batches(other, told):
    with pytest.raises(ValidationError, match=told):
        job(member(), other)


def test_a_job_refuses_a_sweep_that_is_not_its_own():
    with pytest.raises(ValidationError, match="the first must have the job's own schedule and regime"):
        job(member(1e-3), member(2e-3), schedule=member(2e-3).schedule)


def test_a_sweep_is_another_job_than_its_heads_and_the_order_of_heads_does_not_matter():
    one, two, three = member(1e-3), member(2e-3), member(1e-3, weight_decay=0.5)
    alone = job(one, members=())
    digests = {job(*heads).settings_digest for heads in ((one, two), (two, one))}
    assert len(digests) == 1
    assert len({*digests, alone.settings_digest, job(one, three).settings_digest}) == 3
    assert alone.settings_digest == one.settings_digest
    assert job(one, two).recipe_digest != alone.recipe_digest
