"""Metrics, and correctness packed as digits."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, balanced_accuracy_score

from autofreeze.metrics import METRICS, pack, score, unpack

flags = st.lists(st.booleans(), max_size=70).map(lambda xs: np.array(xs, dtype=np.bool_))


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=80))
def test_metrics_agree_with_scikit_learn(pairs):
    labels = np.array([label for label, _ in pairs], dtype=np.int64)
    correct = np.array([right for _, right in pairs])
    # A wrong answer that is itself a class which occurs, where there is one.
    others = [np.setdiff1d(labels, [label]) for label in labels]
    if any(len(other) == 0 for other in others):
        assert score("balanced_accuracy", labels, correct) == score("top1", labels, correct)
        return
    predicted = np.where(correct, labels, [other[0] for other in others])
    assert score("top1", labels, correct) == pytest.approx(accuracy_score(labels, predicted))
    balanced = balanced_accuracy_score(labels, predicted)
    assert score("balanced_accuracy", labels, correct) == pytest.approx(balanced)


def test_balanced_accuracy_weighs_classes_and_not_images():
    labels = np.array([0] * 9 + [3])
    correct = np.array([True] * 9 + [False])
    assert score("top1", labels, correct) == 0.9
    assert score("balanced_accuracy", labels, correct) == 0.5
    assert METRICS == ("top1", "balanced_accuracy")


@given(flags)
def test_packed_correctness_comes_back(correct):
    digits = pack(correct)
    assert len(digits) == 2 * -(-len(correct) // 8)
    back = unpack(digits, len(correct))
    assert back.dtype == np.bool_
    assert np.array_equal(back, correct)
