"""First gradients into the backbone: what is compared with what, and how surely it is said."""

import math

import pytest

from autofreeze import recipes
from autofreeze.firstgradients import beginnings, is_told
from autofreeze.job import Thaw
from autofreeze.regime import Regime
from autofreeze.results import Ending, TrialResult

GROUPS = ("stem", "layer1", "layer2", "head")
ALL, TOP = (0, 1, 2), (2,)


def thaw(norms, weights=10.0, loss=1.1, step=0, columns=ALL):
    """The first step of a backbone: a norm for each column that trains; the head's is always 100."""
    by_column = dict(zip(columns, norms, strict=True))
    grads = tuple(by_column.get(column) for column in range(3))
    held = tuple(None if norm is None else weights for norm in grads)
    return Thaw(
        step=step, columns=columns, loss=loss, grad_norms=(*grads, 100.0), weight_norms=(*held, 100.0)
    )


def at_once(begun, rate=1e-3, **fields):
    schedule = recipes.full(GROUPS, 6, head_lr=1e-2, backbone_ratio=rate / 1e-2)
    return trial(schedule, begun, **fields)


def after(begun, rate=1e-3, **fields):
    schedule = recipes.lp_ft(GROUPS, 6, head_lr=1e-2, backbone_ratio=rate / 1e-2, warmup_epochs=2)
    return trial(schedule, begun, **fields)


def trial(schedule, begun, number=0, ending=Ending.COMPLETE, **fields):
    return TrialResult(
        number=number,
        recipe="custom",
        schedule=schedule,
        regime=Regime(),
        ending=ending,
        thaw=begun,
        **fields,
    )


START = thaw((1, 2, 2))


def warmups(factors, **fields):
    """Runs after a warm-up whose first gradient is the one at once times a factor each."""
    return [after(thaw((f, 2 * f, 2 * f), loss=0.5, step=9), **fields) for f in factors]


def only(trials):
    (found,) = beginnings(trials).gradients
    return found


def test_a_gradient_is_taken_over_the_groups_of_the_backbone_and_over_their_weights():
    side = only([at_once(thaw((1, 2, 2), weights=6))]).at_once
    assert side.norm.median == 3  # the head's 100 left out
    assert side.relative.median == pytest.approx(3 / math.sqrt(3 * 36))
    assert side.loss.median == 1.1


def test_groups_that_are_frozen_then_count_neither_in_the_gradient_nor_in_the_weights():
    begun = Thaw(step=0, columns=TOP, loss=1.0, grad_norms=(None, None, 3, 1), weight_norms=(50, 50, 6, 1))
    side = only([at_once(begun)]).at_once
    assert (side.norm.median, side.relative.median) == (3, 0.5)


def test_the_same_first_batch_is_one_measurement_however_many_runs_begin_with_it():
    found = only([at_once(START, rate=rate) for rate in (1e-5, 1e-4, 1e-3)])
    assert (found.at_once.runs, found.at_once.norm.n) == (3, 1)
    other = only([at_once(START), at_once(thaw((1, 2, 2), loss=1.2))])
    assert (other.at_once.runs, other.at_once.norm.n) == (2, 2)


def test_runs_are_compared_where_the_same_groups_train_first():
    shallow = [at_once(thaw((30,), columns=TOP)), after(thaw((60,), columns=TOP))]
    found = beginnings([*shallow, at_once(START), *warmups((0.1, 0.3))]).gradients
    assert [(one.columns, one.names, one.all_of_backbone) for one in found] == [
        (ALL, GROUPS[:3], True),
        (TOP, ("layer2",), False),
    ]
    assert [one.ratio.median for one in found] == [pytest.approx(0.2), 2]


def test_without_the_same_groups_on_both_sides_there_is_no_ratio():
    found = beginnings([at_once(START), after(thaw((60,), columns=TOP))]).gradients
    assert all(one.ratio is None and one.finding == "not told" for one in found)
    assert {one.columns: (one.at_once is None, one.after_warmup is None) for one in found} == {
        ALL: (False, True),
        TOP: (True, False),
    }


@pytest.mark.parametrize(
    ("factors", "finding"),
    [
        ((0.2, 0.3, 0.4, 0.5, 0.6, 0.7), "smaller"),
        ((1.2, 1.3, 1.4, 1.5, 2.6, 9), "larger"),
        ((0.2, 0.3, 0.4, 0.5, 0.6, 1.1), "not told"),
        ((0.2, 0.3, 0.4, 0.5, 0.6), "not told"),
    ],
    ids=["all below", "all above", "on both sides", "five say too little"],
)
def test_what_freezing_first_did_is_said_where_the_interval_allows(factors, finding):
    assert only([at_once(START), *warmups(factors)]).finding == finding


def test_a_head_that_begins_at_zero_sends_nothing_down_and_anything_is_more():
    found = only([at_once(thaw((0, 0, 0))), *warmups((0.2, 0.3, 0.4, 0.5, 0.6, 0.7))])
    assert found.ratio.median == math.inf
    assert found.finding == "larger"
    assert only([at_once(thaw((0, 0, 0))), after(thaw((0, 0, 0), step=9))]).ratio is None


def test_a_gradient_that_was_not_finite_is_left_out():
    broken = Thaw(step=0, columns=ALL, loss=math.nan, grad_norms=(None,) * 4, weight_norms=(1,) * 4)
    endless = thaw((math.inf, 1, 1), loss=1.3)
    found = only([at_once(broken, ending=Ending.UNSTABLE), at_once(endless), at_once(START)])
    assert found.at_once.runs == 1


def test_taken_over_results_and_runs_without_a_thaw_do_not_count():
    runs = [at_once(START), at_once(thaw((9, 9, 9)), same_as=0), after(None)]
    assert only(runs).at_once.runs == 1
    assert beginnings([after(None)]).gradients == ()


# What it went with


def valued(factors, values, rates=None):
    rates = rates or [1e-3] * len(factors)
    rows = zip(factors, values, rates, strict=True)
    return [run for factor, value, rate in rows for run in warmups([factor], rate=rate, value=value)]


FACTORS = [0.1 * (1 + i) for i in range(10)]


def test_a_larger_gradient_that_goes_with_a_worse_end_is_seen():
    found = beginnings(valued(FACTORS, [0.9 - 0.01 * i for i in range(10)])).outcome
    assert found.value.correlation == pytest.approx(-1)
    assert is_told(found.value)
    assert found.unstable is None


def test_what_the_rate_explains_is_not_put_down_to_the_gradient():
    jitter = [0.003, -0.002, 0.001, -0.003, 0.002, 0.0, -0.001, 0.003, -0.002, 0.001]
    rates = [1e-5 * 2**i for i in range(10)]
    values = [0.9 - 0.01 * i + 5 * noise for i, noise in enumerate(jitter)]
    factors = [factor + 30 * noise for factor, noise in zip(FACTORS, jitter[::-1], strict=True)]
    assert is_told(beginnings(valued(factors, values)).outcome.value)
    assert not is_told(beginnings(valued(factors, values, rates)).outcome.value)


def test_depth_is_not_put_down_to_the_gradient():
    """The top group alone has smaller gradients, and its runs end better; within either depth, nothing."""
    deep = valued(FACTORS[:6], [0.7, 0.72, 0.71, 0.71, 0.72, 0.7])
    shallow = [
        after(thaw((0.01 * norm,), columns=TOP, loss=0.5), value=value)
        for norm, value in zip(range(1, 7), [0.9, 0.92, 0.91, 0.91, 0.92, 0.9], strict=True)
    ]
    found = beginnings([*deep, *shallow]).outcome.value
    assert found.n == 12
    assert abs(found.correlation) < 0.3


def test_runs_at_once_all_begin_alike_and_are_no_evidence():
    runs = valued(FACTORS, [0.9 - 0.01 * i for i in range(10)])
    more = [at_once(START, value=0.1, rate=rate) for rate in (1e-4, 1e-3, 1e-2)]
    assert beginnings([*runs, *more]).outcome == beginnings(runs).outcome


def test_becoming_unstable_is_related_where_both_came_about():
    broken = [after(thaw((f, f, f), step=9), ending=Ending.UNSTABLE) for f in (7, 8, 9, 10)]
    found = beginnings([*warmups(FACTORS[:6]), *broken]).outcome.unstable
    assert found.correlation > 0.5
    assert is_told(found)
    assert beginnings([*warmups(FACTORS[:8]), *broken[:2]]).outcome.unstable is None


def test_the_drift_is_that_of_complete_runs_by_whether_they_froze_first():
    found = beginnings(
        [
            at_once(START, drift=0.3),
            at_once(START, drift=0.5),
            at_once(START, drift=0.9, ending=Ending.UNPROMISING),
            after(START, drift=0.1),
            after(START),
        ]
    ).drifts
    assert (found.at_once.median, found.at_once.n) == (0.4, 2)
    assert (found.after_warmup.median, found.after_warmup.n) == (0.1, 1)
