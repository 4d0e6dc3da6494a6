"""The report on the terminal: what a reader is told, at any width."""

import io

import pytest
from rich.console import Console

from autofreeze.recipes import full, gradual, linear_probe
from autofreeze.regime import Regime
from autofreeze.report.terminal import show
from autofreeze.report.words import conditions, duration
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
