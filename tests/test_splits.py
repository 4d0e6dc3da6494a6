"""Which images are held out, and which trials train on and are scored on."""

import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autofreeze.errors import ConfigError, DataError
from autofreeze.splits import hold_out, scoring_splits

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
        "import numpy as np; from autofreeze.splits import hold_out, scoring_splits as s\n"
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


# Subjects


@st.composite
def owned(draw):
    """Images of subjects: subjects of several classes and sizes, some images in several copies."""
    sizes = draw(st.lists(st.integers(1, 5), min_size=1, max_size=14))
    subjects = np.repeat(np.arange(len(sizes)), sizes)
    n = len(subjects)
    labels = np.array(draw(st.lists(st.integers(0, 2), min_size=n, max_size=n)), dtype=np.int64)
    content = draw(st.lists(st.integers(0, draw(st.sampled_from([n, 99 * n]))), min_size=n, max_size=n))
    return labels, subjects, [f"{number:08x}" for number in content]


def lie_on_both_sides(held, *keys):
    """The keys that images on both sides share."""
    pairs = list(zip(*keys, strict=True))
    one, two = ({pair for pair, side in zip(pairs, held, strict=True) if side == which} for which in (0, 1))
    return one & two


@settings(max_examples=150, deadline=None)
@given(owned(), seeds, st.floats(0.05, 0.9))
def test_a_held_out_part_cuts_no_subject_and_no_copies_of_a_class(images, seed, share):
    labels, subjects, content = images
    try:
        held = hold_out(labels, content, seed=seed, share=share, subjects=subjects)
    except DataError:
        # Three classes keep two subjects each at most; copies tie subjects to each other.
        assert len(set(subjects.tolist())) < 7 or len(set(content)) < len(content)
        return
    assert held.any()
    assert not lie_on_both_sides(held, subjects)
    assert not lie_on_both_sides(held, labels, content)
    for label in np.unique(labels):
        of_class = labels == label
        kept, all_of = (set(subjects[where].tolist()) for where in (of_class & ~held, of_class))
        assert len(kept) >= min(2, len(all_of))


@settings(max_examples=150, deadline=None)
@given(owned(), seeds, st.booleans(), st.randoms(use_true_random=False))
def test_the_held_out_part_depends_on_no_order_and_no_number(images, seed, with_subjects, random):
    labels, subjects, content = images
    order = list(range(len(labels)))
    random.shuffle(order)
    names = list(range(len(labels)))
    random.shuffle(names)
    renamed = np.array(names)[subjects]
    outcomes = []
    for ids, owners in ((list(range(len(labels))), subjects), (order, renamed)):
        try:
            held = hold_out(
                labels[ids],
                [content[i] for i in ids],
                seed=seed,
                share=0.3,
                subjects=owners[ids] if with_subjects else None,
            )
            outcomes.append(
                Counter((labels[i], content[i]) for i, is_held in zip(ids, held, strict=True) if is_held)
            )
        except DataError as error:
            outcomes.append(str(error))
    assert outcomes[0] == outcomes[1]


def contents(n: int) -> list[str]:
    return [f"{number:032x}" for number in range(n)]


@pytest.mark.parametrize("size", [1, 4])
@pytest.mark.parametrize("share", [0.1, 0.2, 0.5])
def test_whole_subjects_are_held_out_until_the_share_of_each_class_is_met(size, share):
    labels = np.repeat([0, 1, 2], [40 * size, 80 * size, 160 * size])
    subjects = np.arange(280 * size) // size
    for seed in range(10):
        held = hold_out(labels, contents(280 * size), seed=seed, share=share, subjects=subjects)
        assert np.bincount(labels[held]).tolist() == [round(share * n * size) for n in (40, 80, 160)]


def test_subjects_with_images_of_several_classes_come_near_the_share_of_each():
    random = np.random.Generator(np.random.PCG64(0))
    subjects = np.repeat(np.arange(100), random.integers(1, 12, 100))
    labels = random.integers(0, 3, len(subjects))
    for seed in range(10):
        held = hold_out(labels, contents(len(labels)), seed=seed, share=0.2, subjects=subjects)
        shares = np.bincount(labels[held], minlength=3) / np.bincount(labels)
        assert np.all(np.abs(shares - 0.2) < 0.05)


def test_a_class_of_three_subjects_gives_one_however_large():
    labels = np.repeat([0, 1], [30, 300])
    subjects = np.concatenate([np.arange(30) // 10, 10 + np.arange(300) // 10])
    for seed in range(10):
        held = hold_out(labels, contents(330), seed=seed, share=0.1, subjects=subjects)
        assert held[:30].sum() == 10


def test_seeds_hold_out_different_subjects():
    labels, subjects = np.arange(60) % 2, np.arange(60) // 3
    found = {
        tuple(np.flatnonzero(hold_out(labels, contents(60), seed=seed, share=0.2, subjects=subjects)))
        for seed in range(20)
    }
    assert len(found) > 10


def test_too_few_subjects_for_a_test_part_are_told_with_the_way_out():
    labels = np.arange(20) % 2
    for count in (1, 2):
        with pytest.raises(DataError, match=rf"^{count} subjects?: too few to hold out.*--test-share 0"):
            hold_out(labels, contents(20), seed=0, share=0.2, subjects=np.arange(20) // 2 % count)
        no_share = hold_out(labels, contents(20), seed=0, share=0, subjects=np.arange(20) // 2 % count)
        assert not no_share.any()


@settings(max_examples=100, deadline=None)
@given(owned(), seeds)
def test_no_fold_cuts_a_subject_or_lacks_a_class(images, seed):
    labels, subjects, _ = images
    train = np.arange(len(labels), dtype=np.int64)
    try:
        splits = scoring_splits(labels, train, NONE, seed=seed, subjects=subjects)
    except DataError:
        return
    for split in splits:
        assert len(split.val)
        assert not set(subjects[split.train].tolist()) & set(subjects[split.val].tolist())
        assert np.array_equal(np.sort(np.concatenate([split.train, split.val])), train)
        assert set(labels[split.train].tolist()) == set(labels.tolist())
    assert len(np.unique(np.concatenate([split.val for split in splits]))) == sum(
        len(split.val) for split in splits
    )


@settings(max_examples=50, deadline=None)
@given(owned(), seeds, st.randoms(use_true_random=False))
def test_how_subjects_are_numbered_does_not_matter_to_folds(images, seed, random):
    labels, subjects, _ = images
    train, names = np.arange(len(labels), dtype=np.int64), list(range(len(labels)))
    random.shuffle(names)
    outcomes = []
    for owners, ids in ((subjects, train), (np.array(names)[subjects], train[::-1])):
        try:
            splits = scoring_splits(labels, ids, NONE, seed=seed, subjects=owners)
            outcomes.append([split.val.tolist() for split in splits])
        except DataError as error:
            outcomes.append(str(error))
    assert outcomes[0] == outcomes[1]


def test_folds_by_subject_keep_the_share_of_each_class():
    labels, train = made([60, 120])
    subjects = np.zeros(180, dtype=np.int64)
    for label, count in ((0, 60), (1, 120)):
        subjects[labels == label] = 1000 * label + np.arange(count) // 4
    for split in scoring_splits(labels, train, NONE, seed=1, subjects=subjects):
        assert np.bincount(labels[split.val]).tolist() == [12, 24]


@pytest.mark.parametrize(("count", "folds"), [(2, 2), (3, 3), (4, 4), (5, 5), (9, 5)])
def test_there_are_no_more_folds_than_subjects_in_the_smallest_class(count, folds):
    labels = np.repeat([0, 1], [36, 36])
    subjects = np.concatenate([np.arange(36) % count, 100 + np.arange(36) % 20])
    assert len(scoring_splits(labels, np.arange(72), NONE, seed=0, subjects=subjects)) == folds
    with pytest.raises(ConfigError, match=rf"must lie in 1\.\.{folds}"):
        scoring_splits(labels, np.arange(72), NONE, seed=0, subjects=subjects, folds=6)


def test_subjects_that_cannot_be_cut_are_told_with_the_way_out():
    one_subject = (np.array([0, 0, 1, 1]), np.array([0, 0, 1, 2]))
    # Whichever one or two of the three subjects are left to train on, a class is missing in one of the folds.
    no_cut = (np.array([0, 1, 0, 2, 1, 2]), np.array([0, 0, 1, 1, 2, 2]))
    for labels, subjects in (one_subject, no_cut):
        with pytest.raises(DataError, match="name a validation part, or leave the subjects out"):
            scoring_splits(labels, np.arange(len(labels)), NONE, seed=0, subjects=subjects)
        assert len(scoring_splits(labels, np.arange(len(labels)), NONE, seed=0)) == 2


def test_a_users_validation_part_is_taken_whatever_its_subjects():
    labels, ids = made([4, 4])
    [split] = scoring_splits(labels, ids[:4], ids[4:], seed=0, subjects=np.zeros(8, dtype=np.int64))
    assert np.array_equal(split.val, ids[4:])


def test_the_folds_of_a_seed_with_subjects_are_pinned():
    labels, train, subjects = np.array([0, 1] * 6), np.arange(12), np.arange(12) // 2
    vals = [split.val.tolist() for split in scoring_splits(labels, train, NONE, seed=0, subjects=subjects)]
    assert vals == [[8, 9, 10, 11], [4, 5], [2, 3], [6, 7], [0, 1]]
