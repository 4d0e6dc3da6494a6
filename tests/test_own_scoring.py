"""What runs of one's own training are worth, and how surely: by example, or by one number each."""

import math

import numpy as np
import pytest
from scipy import stats

from autofreeze.intervals import paired_interval
from autofreeze.own.epoch import pack, read_epoch, unpack_ids, unpack_scores
from autofreeze.own.scoring import OwnFreshScoring, OwnScoring
from autofreeze.pruning import BEHIND, Go, Unpromising, judge_fold
from autofreeze.scale import Scale, number

MORE, LESS = (Scale(metric="m", unit="plain", direction=direction) for direction in ("maximize", "minimize"))


@pytest.fixture
def ended(made_up):
    """``ended(values or scores, ids)``: the last record of a run, and its job."""

    def make(given, ids=None, *, fresh=None, **fields):
        job = made_up.job(0).model_copy(update={"fresh": fresh, "seed": 0 if fresh is None else fresh})
        scores = np.asarray(given, dtype=float) if np.ndim(given) else None
        record = made_up.record(job, 2).model_copy(
            update={
                "value": float(np.mean(given)),
                "scores": "" if scores is None else pack(scores),
                "ids": "" if ids is None else pack(read_epoch({"scores": given, "ids": ids}).ids),
                "n_val": 0 if scores is None else len(scores),
                "val_loss": None,
                "last": True,
                **fields,
            }
        )
        return job, record

    return make


def test_scores_and_names_are_kept_to_the_bit():
    reading = read_epoch({"scores": [0.1, 2e99, -1], "ids": ["a", "b", 7]})
    assert unpack_scores(pack(reading.scores)).tolist() == [0.1, 2e99, -1]
    assert unpack_ids(pack(reading.ids)).tolist() == reading.ids.tolist()
    assert len({*reading.ids.tolist()}) == 3


def test_a_trial_is_worth_the_mean_over_all_examples_and_without_scores_over_the_folds(ended):
    scoring = OwnScoring(MORE, 2, 0.25)
    by_example = scoring.score([ended([1.0, 0.0, 0.0, 0.0])[1], ended([1.0])[1]])
    assert (by_example.value, by_example.n_val) == (2 / 5, 5)
    assert scoring.overlap == 0
    by_fold = scoring.score([ended(0.25)[1], ended(1.0)[1]])
    assert (by_fold.value, by_fold.n_val, by_fold.val_loss) == (0.625, 0, None)
    assert scoring.overlap == 0.25


def test_examples_are_paired_by_name_whatever_their_order(ended):
    scoring = OwnScoring(MORE, 1, 0.0)
    one = scoring.merits([ended([1.0, 2.0, 3.0], ["a", "b", "c"])[1]])
    other = scoring.merits([ended([3.0, 1.0, 2.0], ["c", "a", "b"])[1]])
    assert one.tolist() == other.tolist()


def test_seeds_that_score_others_share_the_columns_of_what_they_have_in_common(ended):
    runs = {
        5: [ended([1.0, 2.0], ["a", "b"], fresh=0), ended([3.0, 4.0], ["b", "c"], fresh=1)],
        6: [ended([5.0, 6.0], ["b", "a"], fresh=0)],
    }
    tables = OwnFreshScoring(0.25).tables(runs)
    assert tables.merits[5].shape == (2, 3)
    column = np.flatnonzero(~np.isnan(tables.merits[5]).any(axis=0))
    assert tables.merits[5][:, column].tolist() == [[2.0], [3.0]]
    assert tables.merits[6][0, column] == 5.0
    assert np.isnan(tables.merits[6]).sum() == 1


def test_bare_values_are_one_column_and_a_broken_run_has_none(ended):
    runs = {5: [ended(0.5, fresh=0), ended(0.7, fresh=1, diverged="non-finite loss in epoch 1")]}
    table = OwnFreshScoring(0.0).tables(runs).merits[5]
    assert table.shape == (2, 1)
    assert table[0, 0] == 0.5
    assert np.isnan(table[1, 0])


# How surely


@pytest.mark.parametrize("overlap", [0.0, 0.25])
def test_one_number_a_seed_has_students_interval_with_the_overlap_of_the_splits(overlap):
    differences = np.array([[0.1], [0.3], [0.2], [0.25], [0.05], [0.15]])
    found = paired_interval(differences, overlap=overlap, limit=1.96)
    error = differences.std(ddof=1) * math.sqrt(1 / 6 + overlap)
    half = error * stats.t.ppf(stats.norm.cdf(1.96), 5)
    assert found.standard_error == pytest.approx(error)
    assert (found.low, found.high) == (
        pytest.approx(found.estimate - half),
        pytest.approx(found.estimate + half),
    )
    if not overlap:
        plain = stats.ttest_1samp(differences[:, 0], 0).confidence_interval(1 - 2 * stats.norm.sf(1.96))
        assert (found.low, found.high) == (pytest.approx(plain.low), pytest.approx(plain.high))


def test_later_seeds_give_the_mean_and_all_of_them_the_spread():
    differences = np.arange(12.0)[:, None]
    found = paired_interval(differences[6:], spread=differences, overlap=0.25, limit=2.0)
    assert found.estimate == 8.5
    assert found.standard_error == pytest.approx(differences.std(ddof=1) * math.sqrt(1 / 6 + 0.25))


@pytest.mark.parametrize("value", [0.0, 0.3, -1e9])
def test_numbers_that_never_vary_say_nothing_of_how_far_off_they_are(value):
    found = paired_interval(np.full((6, 1), value), overlap=0.0, limit=2.0)
    assert (found.estimate, found.low, found.high) == (value, -math.inf, math.inf)
    assert found.standard_error == 0


def test_a_single_seed_says_nothing_either():
    found = paired_interval(np.array([[0.5]]), overlap=0.0, limit=2.0)
    assert (found.low, found.high) == (-math.inf, math.inf)


def test_one_number_alone_leaves_nobody_behind():
    assert judge_fold(np.array([0.0]), np.array([100.0]), unit="plain", overlap=0.25) == Go()
    assert judge_fold(np.array([0.0, 1.0]), np.array([100.0, 101.0]), unit="plain") == Go()


@pytest.mark.parametrize("overlap", [0.0, 0.25])
def test_a_few_folds_leave_behind_what_a_t_test_says(overlap):
    spread = np.array([-1.0, 0.0, 1.0])
    error = math.sqrt(1 / 3 + overlap)
    limit = stats.t.ppf(stats.norm.cdf(BEHIND), 2) * error
    near, far = (judge_fold(spread - lead, np.zeros(3), unit="plain", overlap=overlap)
                 for lead in (0.99 * limit, 1.01 * limit))  # fmt: skip
    assert near == Go()
    assert isinstance(far, Unpromising)


# How it is told


@pytest.mark.parametrize(
    ("value", "words"),
    [(0.0, "0"), (0.123456, "0.1235"), (12.3456, "12.35"), (123456.7, "123,457"), (1e-7, "1.000e-07"),
     (-2.5, "-2.500"), (math.inf, "inf")],
)  # fmt: skip
def test_numbers_of_any_size_can_be_read(value, words):
    assert number(value) == words


def test_what_is_minimized_is_kept_as_more_is_better_and_read_as_it_was_given():
    assert LESS.objective(3.5) == -3.5
    assert LESS.shown(-3.5) == LESS.shown_mean(-3.5) == 3.5
    assert LESS.shown_ends(-4.0, -3.0) == (3.0, 4.0)
    assert LESS.lead(LESS.merit(-3.5) - LESS.merit(-4.0)) == "+0.500"
    assert MORE.shown_ends(-4.0, 3.0) == (-4.0, 3.0)


def test_plain_numbers_have_no_unit_and_shares_have_points():
    share = Scale.of("top1")
    assert (MORE.lead(0.052), share.lead(0.052)) == ("+0.0520", "+5.2 pt")
    assert (MORE.margin(2.0), share.margin(0.02)) == ("2.00", "2 pt")
    assert MORE.figure(123.456, 2.5) == "123.5 ± 2.5"
    assert share.figure(0.81, 0.02) == "0.810 ± 0.020"
    assert MORE.lead_span(-0.5, 12.0) == "-0.5 to +12.0"


# What is yielded


@pytest.mark.parametrize("huge", [1.1e100, -1e308, np.finfo(np.float64).max])
@pytest.mark.parametrize("place", ["value", "val_loss", "train_loss", "scores"])
def test_a_number_whose_squares_could_not_be_summed_counts_as_infinite(huge, place):
    fields = {"value": 0.5, place: huge} if place != "scores" else {"scores": [0.5, huge, -huge]}
    assert read_epoch(fields).trouble.startswith("non-finite")
    largest = {"value": 0.5, place: 1e100} if place != "scores" else {"scores": [1e100, -1e100]}
    assert not read_epoch(largest).trouble
