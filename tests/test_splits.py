"""Which images trials train on and are scored on."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autofreeze.errors import ConfigError, DataError
from autofreeze.splits import scoring_splits

NONE = np.array([], dtype=np.int64)


def made(counts: list[int], extra: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Labels in a mixed order with some images that are not in the training part, and the training ids."""
    labels = np.repeat(np.arange(len(counts)), counts)
    labels = np.concatenate([np.random.Generator(np.random.PCG64(0)).permutation(labels), [0] * extra])
    return labels.astype(np.int64), np.arange(sum(counts), dtype=np.int64)


class_counts = st.lists(st.integers(2, 60), min_size=2, max_size=6)
seeds = st.integers(0, 2**32 - 1)


@settings(max_examples=60, deadline=None)
@given(class_counts, seeds, st.integers(0, 9))
def test_all_folds_together_hold_every_training_image_once(counts, seed, extra):
    labels, train = made(counts, extra)
    splits = scoring_splits(labels, train, NONE, seed=seed, folds=min(5, *counts))
    assert len(splits) == min(5, *counts)
    assert np.array_equal(np.sort(np.concatenate([split.val for split in splits])), train)
    for split in splits:
        assert np.array_equal(np.sort(np.concatenate([split.train, split.val])), train)
        for ids in (split.train, split.val):
            assert ids.dtype == np.int64
            assert np.all(np.diff(ids) > 0)


@settings(max_examples=60, deadline=None)
@given(class_counts, seeds)
def test_each_class_keeps_its_share_in_every_fold(counts, seed):
    labels, train = made(counts)
    for split in scoring_splits(labels, train, NONE, seed=seed, folds=min(5, *counts)):
        held = np.bincount(labels[split.val], minlength=len(counts))
        share = np.array(counts) / min(5, *counts)
        assert np.all(np.abs(held - share) < 1)
        assert held.min() >= 1


@settings(max_examples=30, deadline=None)
@given(class_counts, seeds, st.randoms(use_true_random=False))
def test_the_order_of_the_training_ids_does_not_matter(counts, seed, random):
    labels, train = made(counts)
    mixed = train.tolist()
    random.shuffle(mixed)
    one = scoring_splits(labels, train, NONE, seed=seed)
    two = scoring_splits(labels, np.array(mixed), NONE, seed=seed)
    assert [split.val.tolist() for split in one] == [split.val.tolist() for split in two]


@pytest.mark.parametrize(
    ("counts", "folds"),
    [
        ([20, 20], 5),
        ([400, 400], 4),  # folds of 160
        ([416, 416], 4),  # 166 or 167 each: 3 make 499 or 500
        ([420, 420], 3),
        ([1000, 1000], 2),
        ([1245, 1245], 2),
        ([1250, 1250], 1),
        ([5000, 5000], 1),
        ([3, 100], 3),
        ([2, 5000], 1),
        ([2, 2], 2),
    ],
)
def test_as_many_folds_are_used_as_make_500_validation_images(counts, folds):
    labels, train = made(counts)
    splits = scoring_splits(labels, train, NONE, seed=3)
    sizes = [len(split.val) for split in splits]
    assert sum(sizes[:-1]) < 500
    assert sum(sizes) >= 500 or len(splits) == min(5, *counts)
    if counts != [416, 416]:
        assert len(splits) == folds


def test_asking_for_fewer_folds_gives_the_first_ones():
    labels, train = made([30, 30])
    five, two = (scoring_splits(labels, train, NONE, seed=7, folds=folds) for folds in (5, 2))
    assert [split.val.tolist() for split in two] == [split.val.tolist() for split in five[:2]]


def test_a_users_validation_part_is_the_only_split():
    labels, ids = made([30, 30])
    splits = scoring_splits(labels, ids[:40], ids[40:], seed=0)
    assert len(splits) == 1
    assert np.array_equal(splits[0].train, ids[:40])
    assert np.array_equal(splits[0].val, ids[40:])
    assert len(scoring_splits(labels, ids[:40], ids[40:], seed=0, folds=1)) == 1
    with pytest.raises(ConfigError, match="--resplit"):
        scoring_splits(labels, ids[:40], ids[40:], seed=0, folds=3)


def test_seeds_give_different_folds():
    labels, train = made([50, 50])
    made_by = {tuple(scoring_splits(labels, train, NONE, seed=seed)[0].val.tolist()) for seed in range(20)}
    assert len(made_by) == 20


def test_another_process_makes_the_same_folds():
    labels, train = made([7, 9])
    here = [split.val.tolist() for split in scoring_splits(labels, train, NONE, seed=11)]
    code = (
        "import numpy as np; from autofreeze.splits import scoring_splits as s\n"
        f"print([x.val.tolist() for x in s(np.array({labels.tolist()}), np.array({train.tolist()}),"
        " np.array([], dtype=np.int64), seed=11)])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == str(here)


def test_the_folds_of_a_seed_are_pinned():
    # A changed library that cuts other folds changes every comparison with an earlier run.
    labels, train = np.array([0, 1] * 5), np.arange(10)
    vals = [split.val.tolist() for split in scoring_splits(labels, train, NONE, seed=0)]
    assert vals == [[1, 2], [4, 5], [0, 3], [6, 9], [7, 8]]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"seed": -1}, "seed: got -1"),
        ({"seed": 2**32}, "seed: got 4294967296"),
        ({"seed": 0, "folds": 0}, "folds: got 0; must lie in 1..3, as many as the smallest class has"),
        ({"seed": 0, "folds": 4}, "folds: got 4; must lie in 1..3"),
    ],
)
def test_settings_out_of_range_are_refused(options, words):
    labels, train = made([3, 9])
    with pytest.raises(ConfigError, match=words):
        scoring_splits(labels, train, NONE, **options)


def test_a_class_with_one_image_cannot_be_split():
    with pytest.raises(DataError, match="fewer than 2"):
        scoring_splits(np.array([0, 0, 1]), np.arange(3), NONE, seed=0)
