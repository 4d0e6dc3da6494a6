"""Metrics against scikit-learn's, what ``auto`` means, and predictions packed as text."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    f1_score,
    log_loss,
    recall_score,
)

from autofreeze.errors import ConfigError
from autofreeze.metrics import (
    METRICS,
    check_metric,
    class_accuracies,
    confusion,
    effective_images,
    merits,
    pack_classes,
    pack_losses,
    resolve_metric,
    score,
    unpack_classes,
    unpack_losses,
)

pairs = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=80).map(
    lambda rows: np.array(rows, dtype=np.int64).T
)
"""True and predicted classes; some occur in one of them alone."""


@given(pairs)
def test_metrics_agree_with_scikit_learn(pair):
    labels, predicted = pair
    averaged = {"labels": np.unique(labels), "average": "macro"}
    expected = {
        "top1": accuracy_score(labels, predicted),
        "balanced_accuracy": recall_score(labels, predicted, **averaged),
        "macro_f1": f1_score(labels, predicted, **averaged),
    }
    for metric, value in expected.items():
        assert score(metric, labels, predicted, math.nan) == pytest.approx(value)


def test_log_loss_is_scored_as_the_geometric_mean_of_the_true_class_probability():
    labels = np.array([0, 1, 2])
    shares = np.array([[0.5, 0.3, 0.2], [0.1, 0.8, 0.1], [0.4, 0.4, 0.2]])
    value = score("log_loss", labels, shares.argmax(1), log_loss(labels, shares))
    assert value == pytest.approx((0.5 * 0.8 * 0.2) ** (1 / 3))
    assert score("log_loss", labels, labels, 0.0) == 1.0
    assert score("log_loss", labels, labels, math.inf) == 0.0
    assert math.isnan(score("log_loss", labels, labels, math.nan))


@given(pairs, st.floats(0, 50))
def test_objectives_lie_between_nothing_and_one_and_perfection_is_exactly_one(pair, loss):
    labels, predicted = pair
    for metric in METRICS:
        assert 0 <= score(metric, labels, predicted, loss) <= 1
        assert score(metric, labels, labels, 0.0) == 1.0


def test_small_classes_weigh_as_much_as_large_ones_but_in_top1():
    labels = np.array([0] * 9 + [3])
    predicted = np.zeros(10, np.int64)
    assert score("top1", labels, predicted, 0.0) == 0.9
    assert score("balanced_accuracy", labels, predicted, 0.0) == 0.5
    assert score("macro_f1", labels, predicted, 0.0) == pytest.approx((18 / 19) / 2)


@given(pairs)
def test_the_shares_of_the_images_have_the_metric_as_their_mean(pair):
    labels, predicted = pair
    for metric in ("top1", "balanced_accuracy", "macro_f1"):
        shares = merits(metric, labels, predicted)
        assert shares.mean() == pytest.approx(score(metric, labels, predicted, 0.0))
        assert (shares[labels != predicted] == 0).all()


@pytest.mark.parametrize("metric", ["top1", "balanced_accuracy", "macro_f1"])
def test_the_spread_of_paired_shares_is_that_of_the_metrics_difference(metric):
    rng = np.random.default_rng(0)
    labels = rng.choice(4, size=600, p=[0.55, 0.25, 0.15, 0.05])
    ours, theirs = (
        np.where(rng.random(600) < share, labels, rng.integers(0, 4, 600)) for share in (0.6, 0.7)
    )
    difference = merits(metric, labels, ours) - merits(metric, labels, theirs)
    drawn = []
    for _ in range(400):
        some = rng.integers(0, 600, 600)
        drawn.append(
            score(metric, labels[some], ours[some], 0.0) - score(metric, labels[some], theirs[some], 0.0)
        )
    assert difference.std() / math.sqrt(600) == pytest.approx(np.std(drawn), rel=0.2)


def test_images_of_large_classes_count_less_for_a_mean_over_classes():
    even, uneven = np.arange(90) % 3, np.array([0] * 84 + [1] * 3 + [2] * 3)
    assert effective_images("top1", uneven) == effective_images("log_loss", uneven) == 90
    assert effective_images("balanced_accuracy", even) == pytest.approx(90)
    n = effective_images("balanced_accuracy", uneven)
    # With each class at one half, the variance of a mean over classes is that of a share of n images.
    variance = sum(0.25 / count for count in (84, 3, 3)) / 9
    assert 0.25 / n == pytest.approx(variance)
    assert effective_images("macro_f1", uneven) == n


# Which metric


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ((10, 10, 10), "top1"),
        ((30, 10, 12), "top1"),
        ((31, 10, 12), "balanced_accuracy"),
        ((31, 0, 12), "top1"),
        ((5,), "top1"),
        ((), "top1"),
    ],
)
def test_auto_weighs_classes_alike_when_the_largest_has_more_than_three_times_the_smallest(counts, expected):
    labels = np.repeat(np.arange(len(counts)), counts).astype(np.int64)
    assert resolve_metric("auto", labels) == expected
    assert [resolve_metric(metric, labels) for metric in METRICS] == list(METRICS)


@pytest.mark.parametrize("metric", ["balanced_accuracy", "macro_f1"])
def test_metrics_over_classes_refuse_a_validation_part_with_one_class(metric):
    one, two, none = np.zeros(4, np.int64), np.array([0, 1]), np.zeros(0, np.int64)
    check_metric(metric, [two, two, none])
    with pytest.raises(ConfigError, match=f"metric: {metric} needs two classes, and the validation part h"):
        check_metric(metric, [one])
    with pytest.raises(ConfigError, match=r"part of fold 1 holds one alone; take top1 or log_loss, or give"):
        check_metric(metric, [two, one])
    check_metric("top1", [one])
    check_metric("log_loss", [one])


# Classes


@given(pairs)
def test_the_confusion_matrix_is_scikit_learns_and_its_rows_give_the_accuracy_of_each_class(pair):
    labels, predicted = pair
    matrix = confusion(labels, predicted, 8)
    assert np.array_equal(matrix, confusion_matrix(labels, predicted, labels=range(8)))
    accuracies = class_accuracies(matrix)
    for label, accuracy in enumerate(accuracies):
        of_class = labels == label
        if of_class.any():
            assert accuracy == pytest.approx((predicted[of_class] == label).mean())
        else:
            assert math.isnan(accuracy)


# Text


@given(st.lists(st.integers(0, 65_535), max_size=70), st.sampled_from([1, 2, 9, 200, 65_536]))
def test_packed_classes_come_back(numbers, n_classes):
    predicted = np.array(numbers, dtype=np.int64) % n_classes
    back = unpack_classes(pack_classes(predicted), len(predicted))
    assert back.dtype == np.int64
    assert np.array_equal(back, predicted)


def test_packed_classes_take_no_more_bits_than_they_need():
    lengths = [len(pack_classes(np.arange(6000) % n_classes)) for n_classes in (1, 2, 16, 256)]
    assert lengths == [4 * math.ceil((1 + 6000 * bits / 8) / 3) for bits in (1, 1, 4, 8)]


@given(st.lists(st.floats(0, 1e6), max_size=30))
def test_packed_losses_come_back_to_three_digits_and_stay_finite(losses):
    given_losses = np.array(losses, dtype=np.float64)
    back = unpack_losses(pack_losses(given_losses))
    assert np.isfinite(back).all()
    assert back == pytest.approx(np.minimum(given_losses, 65504), rel=1e-3, abs=1e-7)
