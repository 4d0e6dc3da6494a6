"""A search of a training of one's own: the same pruning, confirmation, resumption and report."""

import json
import math
import os
import random
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import autofreeze
from autofreeze.cli import main
from autofreeze.errors import ConfigError, RunFolderError, TrainingError
from autofreeze.records import read_fresh_records, read_records
from autofreeze.report.files import read_report
from autofreeze.results import Ending
from autofreeze.schedule import Schedule

GROUPS = ("stem", "body", "head")
GIVEN = {"groups": GROUPS, "epochs": 3, "space": "quick", "confirm": 0, "trials": 8}


def skill(job):
    """How good a schedule is, made up: deeper is better, and head rates near 3e-3."""
    return (
        0.5 + 0.1 * job.schedule.unfreeze_depth - 0.1 * abs(math.log10(job.schedule.phases[-1].lrs[-1]) + 2.5)
    )


def bare(job):
    """One number an epoch; what a seed is worth hangs on the schedule too."""
    luck = random.Random(f"{job.seed} {job.schedule}")
    for epoch in range(job.epochs):
        yield skill(job) * (1 - 0.5 ** (epoch + 1)) + luck.gauss(0, 0.01)


def scored(job, n=60, pool=300):
    """Right or wrong on ``n`` of ``pool`` examples, others for each seed."""
    names = np.random.default_rng(job.fold if job.fresh is None else job.seed).permutation(pool)[:n]
    hard = np.random.default_rng(0).random(pool)[names]
    for epoch in range(job.epochs):
        own = np.random.default_rng([job.seed, epoch, job.schedule.unfreeze_depth]).random(n)
        right = 0.6 * hard + 0.4 * own < skill(job)
        yield autofreeze.Epoch(scores=right, ids=names, train_loss=1 / (epoch + 1), val_loss=1 - right.mean())


def search(out, fit=bare, **more):
    return autofreeze.search(fit=fit, out=out, **{**GIVEN, **more})


# What is yielded


@pytest.mark.parametrize(
    "given",
    [
        0.5,
        np.float32(0.5),
        {"value": 0.5},
        autofreeze.Epoch(value=0.5),
        autofreeze.Epoch(scores=[0, 1]),
        {"scores": np.array([False, True]), "ids": ["a", "b"]},
        autofreeze.Epoch(value=0.5, scores=(0.25, 0.75), train_loss=1.0, val_loss=2.0),
    ],
)
def test_a_number_a_mapping_and_an_epoch_may_be_yielded(given, tmp_path):
    result = search(tmp_path / "run", lambda job: (given for _ in range(job.epochs)), trials=1)
    assert result.best.value == 0.5


def test_a_tensor_may_be_yielded(tmp_path):
    torch = pytest.importorskip("torch")
    yielded = {"scores": torch.tensor([0.0, 1.0], requires_grad=True), "train_loss": torch.tensor(1.0)}
    result = search(tmp_path / "run", lambda job: (yielded for _ in range(job.epochs)), trials=1)
    assert result.best.value == 0.5


WRONG = {
    "nothing": (lambda job: iter(()), "fit yielded nothing; yield a value"),
    "text": (lambda job: iter(["good"] * job.epochs), "fit yielded 'good' (str); yield a number"),
    "None": (lambda job: iter([None] * job.epochs), "fit yielded None (NoneType)"),
    "a flag": (lambda job: iter([True] * job.epochs), "fit yielded True (bool)"),
    "too few": (lambda job: iter([0.5, 0.6]), "fit ended after 2 of 3 epochs; yield once after each"),
    "too many": (lambda job: iter([0.5] * 4), "fit yielded more than 3 times"),
    "no generator": (lambda job: 0.5, "fit returned 0.5 (float); it must be a generator"),
    "an unknown field": (lambda job: iter([{"valu": 0.5}] * 3), "valu: unknown; did you mean value?"),
    "no value": (lambda job: iter([autofreeze.Epoch(train_loss=1.0)] * 3), "without a value"),
    "another mean": (lambda job: iter([{"value": 1, "scores": [0, 1]}] * 3), "scores whose mean is 0.5"),
    "twice one id": (lambda job: iter([{"scores": [0, 1], "ids": [7, 7]}] * 3), "2 ids, 1 of them different"),
    "scores of no shape": (lambda job: iter([{"scores": [[0, 1]]}] * 3), "one for each example"),
    "ids alone": (lambda job: iter([{"value": 1.0, "ids": [1]}] * 3), "ids without scores"),
}  # fmt: skip


@pytest.mark.parametrize("fit", [fit for fit, _ in WRONG.values()], ids=WRONG)
def test_a_training_that_does_not_do_what_it_must_ends_the_search_at_once(fit, tmp_path):
    words = next(words for one, words in WRONG.values() if one is fit)
    jobs = []

    def watched(job):
        jobs.append(job)
        return fit(job)

    with pytest.raises(ConfigError) as caught:
        search(tmp_path / "run", watched)
    assert words in str(caught.value)
    assert len(jobs) == 1


def test_the_same_mistake_after_a_sound_run_is_a_failure_of_its_trial(tmp_path):
    result = search(tmp_path / "run", lambda job: iter([0.5] * (job.epochs if job.trial != 1 else 1)))
    ended = {one.number: (one.ending, one.reason) for one in result.trials}
    assert ended[1] == (
        Ending.FAILED,
        "fit ended after 1 of 3 epochs; yield once after each of job.epochs epochs",
    )
    assert ended[0][0] is Ending.COMPLETE


@pytest.mark.parametrize("field", ["value", "train_loss", "val_loss"])
def test_what_is_not_finite_is_unstable_and_never_a_score(field, tmp_path):
    def fit(job):
        for epoch in range(job.epochs):
            yield {"value": 0.5, **({field: math.nan} if job.trial == 2 and epoch == 1 else {})}

    result = search(tmp_path / "run", fit)
    broken = result.trials[2]
    assert broken.ending is Ending.UNSTABLE
    assert broken.reason.startswith("non-finite loss" if field == "train_loss" else "non-finite validation")
    assert broken.value is None
    assert len(read_records(tmp_path / "run")[2, 0]) == 2


def test_a_training_that_breaks_off_is_told_with_the_place_and_the_first_three_end_the_search(tmp_path):
    def fit(job):
        yield 0.5
        raise ZeroDivisionError("no batch")

    with pytest.raises(TrainingError) as caught:
        search(tmp_path / "run", fit)
    told = str(caught.value)
    assert "the first 3 trials all failed" in told
    assert "ZeroDivisionError: no batch (test_own_search.py:" in told
    assert ", in fit)" in told
    report = read_report(tmp_path / "run")
    assert [one.ending for one in report.trials] == [Ending.FAILED] * 3


def test_the_traceback_of_a_failure_is_kept(tmp_path):
    def fit(job):
        yield from [0.5] * job.epochs if job.trial != 1 else [1 / 0]

    search(tmp_path / "run", fit, trials=3)
    assert "in fit" in (tmp_path / "run" / "study.journal").read_text()
    assert "1 / 0" in (tmp_path / "run" / "study.journal").read_text()


# What is given


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"fit": 3}, "fit: got 3; must be a function"),
        ({"fit": bare(None)}, "fit=my_fit without brackets"),
        ({"fit": None}, "fit: missing, and groups were given"),
        ({"groups": None}, "groups: missing; name the layer groups"),
        ({"groups": ["head"]}, "groups: got 1"),
        ({"data": "photos"}, "data: belongs to a search on images"),
        ({"model": "resnet18"}, "model: belongs to a search on images"),
        ({"weights": "w"}, "weights: belongs to a search on images"),
        ({"views": "flip"}, "views: belongs to a search on images"),
        ({"epochs": None}, "epochs: missing"),
        ({"epochs": 2.5}, "epochs: got 2.5; must be a whole number"),
        ({"folds": 0}, "folds: got 0"),
        ({"direction": "up"}, "direction: got 'up'; must be maximize or minimize"),
        ({"delta": -1}, "delta: got -1"),
        ({"held_out": 1.5}, "held_out: got 1.5"),
        ({"reads": ["batchsize"]}, "reads: 'batchsize' is unknown; did you mean batch_size?"),
        ({"metric": ""}, "metric: got ''"),
        ({"space": "nowhere"}, "no search space is called 'nowhere'"),
    ],
    ids=lambda given: next(iter(given)) if isinstance(given, dict) else given,
)
def test_what_is_given_wrong_is_told_before_anything_is_written(given, words, tmp_path):
    with pytest.raises(ConfigError) as caught:
        search(tmp_path / "run", **given)
    assert words in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_all_that_is_wrong_is_told_together(tmp_path):
    with pytest.raises(ConfigError) as caught:
        autofreeze.search("photos", fit=3, groups=[], out=tmp_path / "run", trials=0)
    told = str(caught.value)
    assert all(word in told for word in ("fit:", "data:", "groups:", "epochs:", "trials:"))


def test_without_a_training_data_and_model_are_asked_for(tmp_path):
    with pytest.raises(ConfigError, match="data and model: missing; give data and model"):
        autofreeze.search(out=tmp_path / "run")


def test_axes_that_only_a_loop_obeys_are_searched_where_it_reads_them(tmp_path):
    space = tmp_path / "own.yaml"
    space.write_text("head_lr: {low: 1.0e-3, high: 1.0e-2, log: true}\nbatch_size: [16, 32]\n")
    with pytest.raises(ConfigError, match=r'batch_size: nobody obeys it.*reads=\["batch_size"\]'):
        search(tmp_path / "run", space=str(space))
    sizes = set()

    def fit(job):
        sizes.add(job.regime.batch_size)
        yield from bare(job)

    search(tmp_path / "run", fit, space=str(space), reads=["batch_size"])
    assert sizes == {16, 32}


def test_a_shipped_space_leaves_out_what_nobody_obeys_and_says_so(tmp_path):
    result = search(tmp_path / "run", space="thorough", trials=4)
    assert not {"label_smoothing", "class_weights"} & {name for one in result.trials for name in one.params}
    assert "left out of the space" in (tmp_path / "run" / "report.md").read_text()


# Jobs


def test_a_job_says_which_run_to_make(tmp_path):
    jobs = []

    def fit(job):
        jobs.append(job)
        yield from bare(job)

    search(tmp_path / "run", fit, folds=2, confirm=6, prune=False, trials=3)
    searched, fresh = ([job for job in jobs if (job.fresh is None) == kind] for kind in (True, False))
    assert {job.fold for job in searched} == {0, 1}
    assert {job.n_folds for job in jobs} == {2}
    assert {job.epochs for job in jobs} == {3}
    assert len({job.seed for job in searched}) == 2
    assert {job.fresh for job in fresh} == set(range(6))
    assert len({job.seed for job in fresh}) == 6


def test_a_training_that_sets_no_generator_repeats_all_the_same(tmp_path):
    def fit(job):
        for _ in range(job.epochs):
            yield random.random() + np.random.random()  # noqa: NPY002 - as a user may write it

    first, second = (search(tmp_path / name, fit, trials=3) for name in ("one", "two"))
    assert [one.value for one in first.trials] == [one.value for one in second.trials]


def test_work_counts_what_trains(tmp_path):
    costs = {"stem": 3, "body": 1, "head": 0}
    groups = {name: autofreeze.Group(name, work=work) for name, work in costs.items()}
    result = search(tmp_path / "run", groups=groups, trials=10, prune=False)
    work = {one.baseline: one.work for one in result.baselines}
    assert work["linear_probe"] == pytest.approx(3)
    assert work["full"] == pytest.approx(9)


def test_what_is_too_dear_is_not_trained(tmp_path):
    jobs = []

    def fit(job):
        jobs.append(job)
        yield from bare(job)

    result = search(tmp_path / "run", fit, trials=10, max_cost=0.5)
    dear = {one.number for one in result.trials if one.ending is Ending.TOO_DEAR}
    assert dear
    assert not dear & {job.trial for job in jobs}


def test_draws_may_be_chosen_among_and_an_own_search_begins_where_another_one_ended(tmp_path):
    first = search(tmp_path / "first", trials=16, candidates=4)
    second = search(tmp_path / "second", trials=8, warm_start=[tmp_path / "first"])
    assert first.best is not None
    assert second.best.value > 0


def test_a_training_that_does_not_let_itself_be_closed_does_not_take_the_search_with_it(tmp_path):
    def fit(job):
        try:
            for epoch in range(job.epochs):
                yield math.nan if epoch else 0.5
        finally:
            if job.trial == 1:
                raise OSError("the disk is full")

    result = search(tmp_path / "run", fit, trials=3)
    assert [one.ending for one in result.trials] == [Ending.UNSTABLE] * 3


# The value


def test_what_is_minimized_is_minimized_and_shown_as_it_was_yielded(tmp_path, capsys):
    def error(job):
        for value in bare(job):
            yield 5000 - 1000 * value

    result = search(tmp_path / "run", error, direction="minimize", metric="error", confirm=6, trials=10)
    assert {one.number: one.value for one in result.trials}[result.best.number] < 0
    text = (tmp_path / "run" / "report.md").read_text()
    assert not re.search(r"-\d,\d", text)
    assert "error 4," in text
    assert " pt" not in text
    assert main(["report", str(tmp_path / "run")]) == 0
    shown = capsys.readouterr().out
    assert "error 4," in shown
    assert " pt" not in shown
    assert all(one.mean < 0 for one in result.confirmation.candidates if one.mean is not None)


def test_an_unpromising_trial_is_told_in_the_users_numbers(tmp_path):
    def fit(job):
        for epoch in range(job.epochs):
            yield 40 + job.trial + epoch / 10

    result = search(tmp_path / "run", fit, direction="minimize", metric="error", trials=16, epochs=6)
    reasons = [one.reason for one in result.trials if one.ending is Ending.UNPROMISING]
    assert reasons
    assert not any("-4" in reason or "-5" in reason for reason in reasons)


# Confirmation


def test_scores_are_paired_over_examples_though_seeds_score_others(tmp_path):
    result = search(tmp_path / "run", scored, confirm=6, trials=10, delta=0.02)
    found = result.confirmation
    assert found.chosen is not None
    assert all(60 < one.interval.images <= 300 for one in found.comparisons)
    runs = read_fresh_records(tmp_path / "run")
    values = [runs[found.chosen, fresh][-1].value for fresh in range(6)]
    assert found.winner.mean == pytest.approx(np.mean(values))


def test_bare_values_are_paired_by_seed_with_students_interval(tmp_path):
    from scipy import stats

    result = search(tmp_path / "run", bare, confirm=6, trials=10, held_out=0.25)
    found, runs = result.confirmation, read_fresh_records(tmp_path / "run")
    one = found.comparisons[0]
    differences = np.array(
        [runs[found.chosen, fresh][-1].value - runs[one.against, fresh][-1].value for fresh in range(6)]
    )
    error = differences.std(ddof=1) * math.sqrt(1 / 6 + 0.25 / 0.75)
    assert one.interval.estimate == pytest.approx(differences.mean())
    assert one.interval.standard_error == pytest.approx(error)
    from autofreeze.looks import limit_at

    limit = limit_at(6, 6, len(found.candidates) - 1)
    half = error * stats.t.ppf(stats.norm.cdf(limit), 5)
    assert one.interval.high - one.interval.estimate == pytest.approx(half)


def test_a_training_that_heeds_no_seed_is_never_sure(tmp_path):
    result = search(tmp_path / "run", lambda job: iter([skill(job)] * job.epochs), confirm=6, trials=10)
    assert {one.decision for one in result.confirmation.comparisons} == {"undecided"}
    best = max(result.confirmation.candidates, key=lambda one: one.mean)
    assert result.confirmation.chosen == best.trial


def test_two_schedules_are_called_equal_only_within_a_given_delta(tmp_path):
    def fit(job):
        luck = random.Random(f"{job.seed} {job.schedule}")
        yield from (5 + luck.gauss(0, 1e-6) for _ in range(job.epochs))

    without, within = (
        search(tmp_path / name, fit, confirm=6, trials=6, **more)
        for name, more in (("without", {}), ("within", {"delta": 0.1}))
    )
    assert "no difference" not in {one.decision for one in without.confirmation.comparisons}
    assert {one.decision for one in within.confirmation.comparisons} == {"no difference"}


def test_other_examples_on_the_same_fold_are_refused(tmp_path):
    def fit(job):
        names = np.arange(10) + job.trial
        yield from ({"scores": np.ones(10), "ids": names} for _ in range(job.epochs))

    result = search(tmp_path / "run", fit, trials=3)
    reasons = [one.reason for one in result.trials[1:]]
    assert all("scored fold 0 on other examples" in reason for reason in reasons)


# Resumption, report, export


CHILD = """
import sys, time
import autofreeze
def fit(job):
    for epoch in range(job.epochs):
        time.sleep(0.03)
        yield job.trial + epoch + job.seed % 7
autofreeze.search(fit=fit, groups=("stem", "body", "head"), epochs=3, space="quick", confirm=6, trials=6,
                  out=sys.argv[1], resume=len(sys.argv) > 2)
"""


@pytest.mark.long
def test_a_search_that_was_killed_comes_to_the_same(tmp_path):
    def run(out, *more, kill_after=None):
        command = [sys.executable, "-c", CHILD, str(out), *more]
        with subprocess.Popen(command, stderr=subprocess.PIPE) as child:
            if kill_after is None:
                assert child.wait(300) == 0, child.stderr.read().decode()
                return
            file = out / "records.jsonl"
            while not (file.exists() and file.read_text().count("\n") >= kill_after):
                assert child.poll() is None, child.stderr.read().decode()
                time.sleep(0.01)
            os.kill(child.pid, signal.SIGKILL)

    run(tmp_path / "whole")
    run(tmp_path / "cut", kill_after=7)
    run(tmp_path / "cut", "resume", kill_after=25)
    run(tmp_path / "cut", "resume")
    whole, cut = (read_report(tmp_path / name) for name in ("whole", "cut"))
    untimed = [[one.model_copy(update={"seconds": 0.0}) for one in result.trials] for result in (whole, cut)]
    assert untimed[0] == untimed[1]
    assert whole.confirmation.comparisons == cut.confirmation.comparisons


def test_a_run_may_keep_a_checkpoint_and_go_on_from_it(tmp_path):
    trained, stop = [], [True]

    def fit(job):
        before = json.loads(job.checkpoint.read_text()) if job.checkpoint.exists() else []
        yield from before
        for epoch in range(len(before), job.epochs):
            trained.append((job.trial, epoch))
            if stop and job.trial == 1 and epoch == 2:
                stop.clear()
                raise KeyboardInterrupt
            before.append(0.5 + epoch / 10 + job.trial / 100)
            job.checkpoint.write_text(json.dumps(before))
            yield before[-1]

    with pytest.raises(KeyboardInterrupt):
        search(tmp_path / "run", fit, trials=3)
    search(tmp_path / "run", fit, trials=3, resume=True)
    assert trained.count((1, 0)) == trained.count((1, 1)) == 1
    assert trained.count((1, 2)) == 2
    assert not list((tmp_path / "run" / "checkpoints").iterdir())


def test_another_training_is_another_study_but_its_code_is_not_compared(tmp_path):
    search(tmp_path / "run", trials=2)
    other = {"metric": "other", "groups": ("a", "b"), "epochs": 4, "direction": "minimize", "held_out": 0}
    for more in ({name: value} for name, value in other.items()):
        with pytest.raises(RunFolderError, match="holds another study"):
            search(tmp_path / "run", resume=True, **more)

    def bare(job):  # the same name
        yield from [0.9] * job.epochs

    assert search(tmp_path / "run", bare, trials=3, resume=True).trials[2].value == 0.9


def test_the_reports_say_what_is_known_and_the_schedule_is_exported(tmp_path, capsys):
    out = tmp_path / "run"
    result = search(out, scored, confirm=6, trials=10, metric="accuracy", name="lines", delta=0.02)
    page = (out / "report.md").read_text()
    assert page.startswith("# lines: the best freezing schedule\n")
    assert "Intervals are for new examples and seeds" in page
    assert "forward passes over the training data" in page
    for absent in ("images", "preprocessing", "backbone:", "autofreeze train", " pt", "test split"):
        assert absent not in page, absent
    assert main(["report", str(out)]) == 0
    shown = capsys.readouterr().out
    assert "images" not in shown
    assert main(["report", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["kind"] == "own"
    assert read_report(out) == result
    file = tmp_path / "best.yaml"
    assert main(["export", str(out), "--output", str(file)]) == 0
    assert Schedule.load(file) == result.best.schedule
    assert "autofreeze.Schedule.load(FILE)" in file.read_text()
    assert main(["train", str(file), str(tmp_path), "--out", str(tmp_path / "model")]) == 2
    assert "a training of your own" in capsys.readouterr().err


@pytest.mark.parametrize("confirm", [0, 6])
def test_a_training_without_torch_loads_none(confirm, tmp_path):
    code = (
        "import sys, autofreeze\n"
        "def fit(job):\n    yield from [0.1 * job.trial] * job.epochs\n"
        f"autofreeze.search(fit=fit, groups=['body', 'head'], epochs=2, trials=3, confirm={confirm}, "
        f"out={str(tmp_path / 'run')!r})\n"
        "print([name for name in ('torch', 'timm') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "[]\n", done.stderr
