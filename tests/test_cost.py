"""What a schedule costs in forward-equivalents."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autofreeze.cost import run_work, step_work
from autofreeze.recipes import full, gradual, linear_probe, one_block
from autofreeze.schedule import Phase, Schedule

shares = st.lists(st.integers(1, 20), min_size=2, max_size=8).map(lambda xs: [x / sum(xs) for x in xs])


@settings(max_examples=60, deadline=None)
@given(shares, st.integers(1, 500))
def test_a_step_that_trains_everything_costs_three_forward_passes(shares, n):
    assert step_work(shares, [True] * len(shares), n) == pytest.approx(3 * n)
    alone = [False] * (len(shares) - 1) + [True]
    assert step_work(shares, alone, n) == pytest.approx(n * (1 + 2 * shares[-1]))


def test_the_backward_pass_goes_down_to_the_lowest_column_that_trains():
    assert step_work([0.5, 0.3, 0.2], [False, True, False], 10) == pytest.approx(10 * (1 + 2 * 0.5))


@settings(max_examples=60, deadline=None)
@given(shares, st.integers(1, 6), st.integers(1, 20), st.integers(1, 300), st.integers(0, 300))
def test_a_run_costs_its_steps_and_one_validation_each_epoch(shares, epochs, steps, n_train, n_val):
    groups = tuple(f"g{i}" for i in range(len(shares)))
    times = full(groups, epochs, head_lr=1).timetable(steps)
    expected = epochs * (3 * n_train + n_val)
    assert run_work(times, shares, n_train=n_train, n_val=n_val) == pytest.approx(expected)


def test_the_work_of_a_run_is_the_sum_over_its_rows_and_their_steps():
    rows = (Phase(epochs=1.5, lrs=(None, None, 1)), Phase(epochs=1, lrs=(None, 1, 1)))
    times = Schedule(groups=("a", "b", "head"), phases=rows).timetable(10)
    work = run_work(times, [0.5, 0.3, 0.2], n_train=100, n_val=7)
    assert work == pytest.approx(150 * 1.4 + 100 * 2.0 + 3 * 7)  # three epochs, the last one short


def test_less_training_costs_less():
    groups, shares = ("a", "b", "c", "head"), [0.4, 0.3, 0.2, 0.1]
    of = [
        linear_probe(groups, 6, head_lr=1),
        gradual(groups, 6, head_lr=1, unfreeze_every=2, warmup_epochs=1),
        one_block(groups, 6, head_lr=1, block=0, warmup_epochs=1),
        full(groups, 6, head_lr=1),
    ]
    costs = [run_work(schedule.timetable(5), shares, n_train=50, n_val=10) for schedule in of]
    assert costs == sorted(set(costs))
