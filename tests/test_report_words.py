# ruff: noqa: E501 - tables are read by line
"""Schedules and outcomes in words."""

import math
import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autofreeze import recipes
from autofreeze.phrases import sentence, shell_word, standard_error
from autofreeze.regime import Regime
from autofreeze.report.words import endings
from autofreeze.results import Ending, StudyResult, TrialResult
from autofreeze.scale import points
from autofreeze.schedule import Phase, Schedule
from autofreeze.verdict import headline

GROUPS = ("stem", "layer1", "layer2", "head")
RATES = {"head_lr": 3e-3, "backbone_ratio": 0.1}


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        (recipes.linear_probe(GROUPS, 6, head_lr=3e-3), "train the head alone, head at 3e-3, cosine over the run, 6 epochs"),
        (recipes.full(GROUPS, 6, **RATES), "train everything from the start, head at 3e-3, backbone at 3e-4, "),
        (recipes.full(GROUPS, 6, depth_ratio=0.1, **RATES), "train everything from the start, head at 3e-3, backbone at 3e-5 to 3e-4"),
        (recipes.frozen_stem(GROUPS, 6, **RATES), "train everything but stem from the start, "),
        (recipes.full(GROUPS, 6, unfreeze_depth=1, **RATES), "train layer2 from the start, the rest frozen, "),
        (recipes.lp_ft(GROUPS, 6, warmup_epochs=1.5, **RATES), "train the head alone for 1.5 epochs, then everything, "),
        (recipes.lp_ft(GROUPS, 6, warmup_epochs=2, unfreeze_depth=2, **RATES), "train the head alone for 2 epochs, then layer1 to layer2, "),
        (recipes.gradual(GROUPS, 6, warmup_epochs=1, unfreeze_every=1, **RATES), "train the head alone for 1 epoch, then thaw everything step by step, "),
        (recipes.gradual(GROUPS, 6, unfreeze_every=1, unfreeze_depth=2, **RATES), "train from the head down, thawing layer1 to layer2 step by step, "),
        (recipes.one_block(GROUPS, 6, block=1, **RATES), "train the head and layer1 alone, "),
        (recipes.chain_thaw(GROUPS, 6, **RATES), "train the head, then each group alone, then everything, "),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)  # fmt: skip
def test_a_schedule_is_told_in_one_sentence(schedule, words):
    assert sentence(schedule).startswith(words)


cells = st.lists(st.sampled_from([None, 1e-3, 1e-4]), min_size=4, max_size=4).filter(any)


@settings(max_examples=100, deadline=None)
@given(st.lists(cells, min_size=1, max_size=4))
def test_every_table_has_a_sentence_without_gaps(rows):
    words = sentence(Schedule(groups=GROUPS, phases=tuple(Phase(epochs=1, lrs=tuple(row)) for row in rows)))
    assert not set("{}") & set(words)
    assert ", ," not in words
    assert words.endswith(f"{len(rows)} epochs" if len(rows) > 1 else ", 1 epoch")


def result(*found: Ending) -> StudyResult:
    schedule = recipes.linear_probe(GROUPS, 6, head_lr=3e-3)
    trials = tuple(
        TrialResult(number=n, recipe="x", schedule=schedule, regime=Regime(), ending=ending, value=0.5)
        for n, ending in enumerate(found)
    )
    return StudyResult(data={}, backbone={}, settings={}, trials=trials, metric="top1", seconds=1)


def test_endings_are_counted_in_a_fixed_order():
    trials = result(Ending.FAILED, Ending.COMPLETE, Ending.UNSTABLE, Ending.COMPLETE).trials
    assert endings(trials) == "2 complete, 1 pruned (unstable), 1 failed"
    assert endings(()) == ""


def test_the_verdict_says_when_nothing_was_found_and_that_the_best_is_unconfirmed():
    assert headline(result(Ending.FAILED)) == "no trial was completed, so there is no best schedule"
    assert headline(result(Ending.COMPLETE)).startswith(
        "best schedule found (unconfirmed): train the head alone"
    )


def test_differences_are_in_points_with_their_sign():
    assert [points(0.0123), points(-0.1), points(0)] == ["+1.2", "-10.0", "+0.0"]


def test_the_standard_error_is_binomial():
    assert standard_error(0.9, 1000) == pytest.approx(0.0095, abs=1e-4)
    assert standard_error(1.0, 10) == 0
    assert math.isnan(standard_error(0.5, 0))


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_reads_every_word_as_it_was_whatever_it_holds():
    words = [
        "plain",
        "two words",
        "it's",
        "\x1b[31m",
        "a\nb\\c'd\"",
        "$(x)\t`y`",
        "\udcff\x9b",
        "\u202e\U000a3162é",
        "",
        "\x01f",
    ]
    written = [shell_word(word) for word in words]
    assert all(word.isprintable() for word in written)
    command = "printf '%s\\0' " + " ".join(written)
    read = subprocess.run(["bash", "-c", command], capture_output=True, check=True).stdout
    assert read.split(b"\0")[:-1] == [word.encode(errors="surrogateescape") for word in words]
