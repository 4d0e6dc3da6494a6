"""The report on the terminal: what a reader is told, at any width."""

import io
import re

import pytest
from rich.console import Console

from autofreeze.confirmation import Candidate
from autofreeze.phrases import duration
from autofreeze.recipes import full, gradual, linear_probe
from autofreeze.regime import Regime
from autofreeze.report.terminal import show
from autofreeze.report.words import conditions
from autofreeze.results import Ending, StudyResult, TrialResult

GROUPS = ("stem", "blocks.0-1", "blocks.2", "blocks.3", "blocks.4", "head")
DATA = {
    "name": "photos", "classes": ["a", "b"], "images": {"train": 2004, "val": 0, "test": 505},
    "folds": [{"train": 1603, "val": 401}, {"train": 1603, "val": 401}],
}  # fmt: skip
BACKBONE = {
    "model": "some_net", "source": "w.safetensors", "coverage": "312 of 312 backbone tensors loaded",
    "preprocessing": {"image_size": 128, "mean": [0.5, 0.5, 0.5], "std": [0.1, 0.2, 0.3]},
    "preprocessing_from": {"image_size": "given", "mean": "from the file's metadata", "std": "given"},
}  # fmt: skip


def trial(number, schedule, ending=Ending.COMPLETE, **fields):
    return TrialResult(
        number=number, recipe="custom", schedule=schedule, regime=Regime(), ending=ending, n_val=400, **fields
    )


def result(*trials, **fields):
    given = {"data": DATA, "backbone": BACKBONE, "settings": {}, "metric": "top1", "seconds": 61.0}
    return StudyResult(trials=trials, **{**given, **fields})


def shown(outcome, width=100):
    stream = io.StringIO()
    show(outcome, Console(file=stream, width=width))
    return stream.getvalue()


STEPWISE = gradual(GROUPS, 6, head_lr=3e-3, warmup_epochs=1.5, unfreeze_every=1, unfreeze_depth=2)
PROBE = trial(0, linear_probe(GROUPS, 6, head_lr=3e-3), baseline="linear_probe", value=0.75, val_loss=0.7)
BEST = trial(3, STEPWISE, value=0.81, val_loss=0.6, work=1234.0)


def test_the_best_schedule_is_shown_beside_each_baseline_and_marked_unconfirmed():
    text = shown(result(PROBE, BEST))
    assert "Best schedule found (unconfirmed): train the head alone for 1.5 epochs, then thaw" in text
    assert "trial 3: top1 0.810 ± 0.020 on 400 validation images" in text
    assert "Unconfirmed: the best of many is partly luck" in text
    [row] = [line for line in text.splitlines() if line.strip().startswith("linear_probe")]
    assert row.split() == ["linear_probe", "0.750", "+6.0", "pt", "0.700", "0", "complete"]


LEADS = [(0, 0.09, 0.03), (2, 0.021, 0.017), (3, 0.004, 0.015)]


def row_of(text, name):
    """The cells of a table's row, which two spaces at least keep apart."""
    (row,) = [line.strip() for line in text.splitlines() if line.strip().startswith(f"{name} ")]
    return re.split(r" {2,}", row)


def test_a_confirmed_report_shows_each_candidate_on_fresh_seeds_and_says_unconfirmed_of_the_rest(made_result):
    text = shown(made_result.result(*LEADS), 110)
    assert text.split(":")[0].strip() == "Best schedule (confirmed on 12 fresh seeds)"
    assert row_of(text, "best: lp_ft") == ["best: lp_ft", "0.840 ± 0.010"]
    assert row_of(text, "full") == ["full", "0.819 ± 0.010", "+2.1 pt", "+0.4 to +3.8", "better"]
    assert row_of(text, "trial 3 (full)")[-2:] == ["-1.1 to +1.9", "undecided"]
    assert "Unconfirmed: the best of many" not in text
    assert "Freeze first, or not? Undecided (on fresh seeds)" in text
    assert "How deep? All of the backbone (confirmed)" in text
    assert "from the search (unconfirmed)" in text  # the front


def test_baselines_that_were_no_candidates_stand_in_brackets_and_those_left_behind_with_their_seeds(
    made_result,
):
    dropped = made_result.candidate(3, 0.80, values=(0.8,) * 6, dropped_at=6, reason="behind")
    lost = Candidate(trial=4, finalist=True, arm="at_once", reason="broke off")
    found = made_result.confirmation(
        (3, 0.04, 0.02), candidates=(made_result.candidate(1, 0.84), dropped, lost)
    )
    failed = made_result.trial(5, "full", ending=Ending.FAILED, reason="out of memory", baseline="gradual")
    trials = (*made_result.trials, made_result.trial(4, "full", 0.83), failed)
    text = shown(made_result.result(confirmation=found, trials=trials), 120)
    assert row_of(text, "full") == ["full", "(0.840)", "(+2.0 pt)", "search only"]
    assert row_of(text, "trial 3 (full)")[-1] == "better, 6 seeds"
    assert row_of(text, "trial 4 (full)") == ["trial 4 (full)", "–", "broke off"]
    assert row_of(text, "gradual") == ["gradual", "–", "failed: out of memory"]


def test_a_confirmation_that_was_cut_short_still_says_where_the_search_stood(made_result):
    found = made_result.confirmation(*LEADS, cut_short="out of time", seeds=15, planned=24)
    text = " ".join(shown(made_result.result(confirmation=found), 200).split())
    assert "Best schedule so far (not concluded, 15 of up to 24 fresh seeds)" in text
    assert "trial 1: top1 0.860 ± 0.017 on 400 validation images" in text
    assert "The confirmation was cut short (out of time)." in text


def test_the_test_split_comes_last_of_what_is_said(made_result):
    winner = made_result.candidate(1, 0.84, test_value=0.9)
    other = made_result.candidate(2, 0.81, test_value=0.7)
    found = made_result.confirmation(candidates=(winner, other), test_images=10, test_reads=1, test_seeds=3)
    text = shown(made_result.result(confirmation=found), 200)
    (line,) = [line for line in text.splitlines() if line.startswith("Test split")]
    assert "10 test images can tell nothing finer than 10 pt: top1 best 0.900 (0.59" in line
    assert text.index("not searched:") < text.index("Test split read once") < text.index("4 trials: ")


@pytest.mark.parametrize("width", [80, 100])
def test_a_confirmed_report_keeps_to_the_width_and_loses_nothing(made_result, width):
    text = shown(made_result.result(*LEADS), width)
    assert max(len(line) for line in text.splitlines()) <= width
    assert "…" not in text
    assert all(word in " ".join(text.split()) for word in ("0.819 ± 0.010", "+0.4 to +3.8", "undecided"))


def test_a_topic_with_several_lines_is_named_once(made_result):
    text = shown(made_result.result(*LEADS), 110)
    assert text.count("not searched:") == 1
    assert "one backbone, one image size (96 px)" in text


@pytest.mark.parametrize("width", [80, 120, 200])
def test_every_cell_of_the_table_is_whole_at_any_width(width):
    text = shown(result(PROBE, BEST), width)
    assert max(len(line) for line in text.splitlines()) <= width
    for word in (*GROUPS, "3e-4", "3e-3"):
        assert word in text
    assert "…" not in text


def test_trials_are_counted_by_their_end_and_failures_told_with_their_reason():
    full_run = full(GROUPS, 6, head_lr=1e-3)
    text = shown(
        result(
            BEST,
            trial(4, full_run, Ending.UNSTABLE, reason="non-finite loss at step 7"),
            trial(5, full_run, Ending.FAILED, reason="out of memory"),
            trial(6, full_run, Ending.UNPROMISING, reason="0.1 after 3 epochs"),
            trial(7, STEPWISE, value=0.81, val_loss=0.6, same_as=3),
        ),
        width=200,
    )
    assert "5 trials: 2 complete, 1 pruned (unpromising), 1 pruned (unstable), 1 failed" in text
    assert "1 had the schedule of an earlier one" in text
    assert "1 × pruned (unstable): non-finite loss at step 7" in text
    assert "1 × failed: out of memory" in text


@pytest.mark.parametrize("reason", ["KeyError: [/red]", "[bold]size[/bold]"])
def test_a_reason_is_shown_as_text_whatever_it_holds(reason):
    failed = trial(1, STEPWISE, Ending.FAILED, baseline="lp_ft", reason=reason)
    text = shown(result(PROBE, BEST, failed), 160)
    assert f"failed: {reason}" in next(line for line in text.splitlines() if "lp_ft" in line)


def test_a_search_without_a_complete_trial_says_so():
    text = shown(result(trial(0, STEPWISE, Ending.FAILED, reason="out of memory")))
    assert "No trial was completed, so there is no best schedule" in text
    assert "out of memory" in text


def test_a_search_that_was_cut_short_says_so():
    assert "cut short: out of time; go on with --resume" in shown(result(BEST, cut_short="out of time"))


def test_images_weights_and_who_decided_the_preprocessing_are_told():
    data, backbone, preprocessing = conditions(DATA, BACKBONE)
    assert data == (
        "data: photos, 2 classes, images: 2,004 train, 505 test; "
        "each trial is scored on 802 images in 2 folds, training on 1,603"
    )
    assert backbone == "backbone: some_net, w.safetensors; 312 of 312 backbone tensors loaded"
    assert preprocessing == (
        "preprocessing: image_size 128 (given), mean 0.5 (from the file's metadata), std 0.1,0.2,0.3 (given)"
    )


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.4, "0 s"), (59, "59 s"), (61, "1 min 1 s"), (7260, "2 h 1 min")]
)
def test_times_are_told_for_people(seconds, words):
    assert duration(seconds) == words
