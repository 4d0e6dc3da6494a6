"""Views are pure functions of seed, image id and view number."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from autofreeze.errors import ConfigError
from autofreeze.views import (
    batches,
    crops,
    flips,
    for_training,
    kind,
    numbers,
    order,
    prepared,
    problem_of,
)

IDS = np.arange(20_000)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**64 - 1),
    hnp.arrays(np.int64, st.integers(0, 50), elements=st.integers(0, 2**40)),
    st.integers(0, 10_000),
    st.integers(0, 50),
)
def test_a_flip_depends_on_its_own_image_whatever_the_order_or_batch(seed, ids, view, cut):
    whole = flips(seed, ids, view)
    assert whole.dtype == np.bool_
    assert whole.shape == ids.shape
    assert np.array_equal(flips(seed, ids[::-1], view), whole[::-1])
    assert np.array_equal(np.concatenate([flips(seed, part, view) for part in (ids[:cut], ids[cut:])]), whole)
    assert [bool(flips(seed, ids[i : i + 1], view)[0]) for i in range(len(ids))] == whole.tolist()


def test_the_flips_of_a_seed_are_pinned():
    assert (
        "".join(str(int(flip)) for flip in flips(0, np.arange(32), 0)) == "11011101111100111000101011001010"
    )
    assert order(0, 0, 8).tolist() == [0, 2, 1, 5, 4, 3, 6, 7]


def test_the_hash_is_splitmix64():
    # The first three outputs of Vigna's splitmix64.c from state 0.
    from autofreeze.views import _GOLDEN, _mix

    states = np.array([0, _GOLDEN, (2 * _GOLDEN) % 2**64], dtype=np.uint64)
    assert [hex(word) for word in _mix(states).tolist()] == [
        "0xe220a8397b1dcdaf",
        "0x6e789e6aa1b965f4",
        "0x6c45d188009454f",
    ]


def test_another_process_flips_and_orders_alike():
    code = (
        "import numpy as np; from autofreeze.views import flips, order\n"
        "print(flips(5, np.arange(100), 3).tolist(), order(5, 3, 100).tolist())"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == f"{flips(5, np.arange(100), 3).tolist()} {order(5, 3, 100).tolist()}"


def correlation(a, b):
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


def test_flips_are_fair_and_independent_over_images_views_and_seeds():
    # Fixed seeds, so this never changes its mind; 4.5 standard errors for about 70 comparisons.
    table = np.stack([flips(0, IDS, view) for view in range(32)])
    limit = 4.5 / np.sqrt(len(IDS))
    assert np.all(np.abs(table.mean(axis=1) - 0.5) < limit / 2)
    assert abs(table.mean() - 0.5) < 4.5 / 2 / np.sqrt(table.size)
    for lag in (1, 2, 3, 7, 16, 64, 1000):
        assert abs(correlation(table[:, :-lag], table[:, lag:])) < 4.5 / np.sqrt(table.size)
    for lag in (1, 2, 3, 16):
        assert abs(correlation(table[:-lag], table[lag:])) < 4.5 / np.sqrt(table.size / 2)
    # Diagonals: view v of image i against view v + 1 of image i - 1 and of image i + 1.
    assert abs(correlation(table[1:, :-1], table[:-1, 1:])) < 4.5 / np.sqrt(table.size)
    assert abs(correlation(table[1:, 1:], table[:-1, :-1])) < 4.5 / np.sqrt(table.size)
    for seed in range(1, 32):
        assert abs(correlation(table[0], flips(seed, IDS, 0))) < limit
        assert abs(correlation(table[seed], flips(seed, IDS, 0))) < limit  # seed and view are no sum
    # By image: heads of 32 tosses spread as a binomial does, variance 8.
    heads = table.sum(axis=0)
    assert abs(heads.var() - 8) < 4.5 * np.sqrt(2 / len(IDS)) * 8


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**64 - 1), st.integers(0, 1000), st.integers(0, 300))
def test_an_order_is_a_permutation_that_repeats_itself(seed, epoch, n):
    made = order(seed, epoch, n)
    assert made.dtype == np.int64
    assert np.array_equal(np.sort(made), np.arange(n))
    assert np.array_equal(made, order(seed, epoch, n))


def test_orders_differ_by_seed_and_epoch_and_every_image_comes_first_alike_often():
    firsts = [order(seed, epoch, 10) for seed in range(40) for epoch in range(50)]
    assert len({tuple(made) for made in firsts}) > 1990
    table = np.stack([np.bincount(np.array(firsts)[:, place], minlength=10) for place in range(10)])
    assert np.all(np.abs(table - 200) < 4.5 * np.sqrt(180))


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 400), st.integers(1, 70))
def test_batches_are_even_and_complete(n, size):
    made = batches(np.arange(n), size)
    assert len(made) == -(-n // size)
    if n:
        assert np.array_equal(np.concatenate(made), np.arange(n))
        lengths = [len(batch) for batch in made]
        assert max(lengths) <= size
        assert max(lengths) - min(lengths) <= 1
        if size >= 3 and n > 1:
            assert min(lengths) > 1


def test_a_batch_size_below_one_is_refused():
    with pytest.raises(ConfigError, match="batch_size: got 0"):
        batches(np.arange(3), 0)


@pytest.mark.parametrize("view", ["none", "flip", "bank:2", "bank:8", "bank:99", "online"])
def test_a_view_that_is_known_says_how_many_are_prepared(view):
    assert problem_of(view) == ""
    assert prepared(view) == {"none": 1, "flip": 2, "online": None}.get(
        view, int(view[5:] or 0) if ":" in view else 0
    )
    assert crops(view) == (view not in ("none", "flip"))
    assert for_training(view) == ("online" if view.startswith("bank") else view)


@pytest.mark.parametrize(
    "view",
    ["", "bank", "bank:", "bank:0", "bank:1", "bank:x", "bank:08", "bank:-2", "bank:100", "bank:2\n", "Flip"],
)
def test_a_view_that_is_not_known_is_named_with_the_way_out(view):
    assert (
        problem_of(view)
        == f"got {view!r}; must be none, flip, bank:K with K in 2..99 such as bank:8, or online"
    )


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["none", "flip", "bank:2", "bank:5", "online"]),
    st.integers(0, 2**64 - 1),
    hnp.arrays(np.int64, st.integers(0, 30), elements=st.integers(0, 2**40)),
    st.integers(0, 10_000),
    st.integers(0, 30),
)
def test_the_number_of_a_view_depends_on_its_own_image(view, seed, ids, epoch, cut):
    whole = numbers(view, seed, ids, epoch)
    assert whole.dtype == np.int64
    assert whole.shape == ids.shape
    assert np.array_equal(numbers(view, seed, ids[::-1], epoch), whole[::-1])
    parts = [numbers(view, seed, part, epoch) for part in (ids[:cut], ids[cut:])]
    assert np.array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize("size", [2, 4, 8])
def test_every_cycle_through_a_bank_shows_each_view_once_in_an_order_of_its_own(size):
    ids = np.arange(500)
    walk = np.stack([numbers(f"bank:{size}", 3, ids, epoch) for epoch in range(3 * size)])
    cycles = walk.reshape(3, size, len(ids))
    assert (np.sort(cycles, axis=1) == np.arange(size)[None, :, None]).all()
    # Where an image and a cycle begin is no matter of the others, and every view comes alike often.
    for cycle in cycles:
        counts = np.bincount(cycle[0], minlength=size)
        assert np.all(np.abs(counts - 500 / size) < 4.5 * np.sqrt(500 / size))
    assert (cycles[0] != cycles[1]).any(axis=0).mean() > 0.4
    other = np.stack([numbers(f"bank:{size}", 4, ids, epoch) for epoch in range(size)])
    assert (other != cycles[0]).any(axis=0).mean() > 0.4


def test_flips_are_numbered_by_the_coin_and_online_views_by_the_epoch():
    assert np.array_equal(numbers("flip", 0, IDS, 3), flips(0, IDS, 3).astype(np.int64))
    assert (numbers("online", 0, IDS, 3) == 3).all()
    assert (numbers("none", 0, IDS, 3) == 0).all()


def test_equal_pixels_have_one_name_and_others_another():
    assert kind("flip", 0) == kind("none", 0) == "plain"
    assert kind("bank:4", 3) == kind("bank:8", 3)
    names = [
        ("flip", 0, 0.0),
        ("flip", 1, 0.0),
        *(("bank:4", n, erase) for n in range(4) for erase in (0, 0.1, 0.25)),
    ]
    names.append(("online", 1, 0.0))
    assert len({kind(view, number, erase=erase) for view, number, erase in names}) == len(names)


def test_views_load_no_torch():
    code = "import sys, autofreeze.views; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
