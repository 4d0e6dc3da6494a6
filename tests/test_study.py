"""The study: what is asked, how trials end, and that nothing is lost."""

import json
import math
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pytest
from optuna.trial import TrialState
from placed import PLACES, PlacedExecutor
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score

from autofreeze import metrics
from autofreeze.baselines import baselines
from autofreeze.confirmation import arm_of
from autofreeze.errors import RunFolderError, TrainingError
from autofreeze.executors.local import LocalExecutor
from autofreeze.executors.replay import ReplayExecutor
from autofreeze.imagescoring import ImageScoring
from autofreeze.job import Thaw
from autofreeze.journal import Journal
from autofreeze.records import entries, read_records
from autofreeze.results import Ending
from autofreeze.run import RunFolder
from autofreeze.samplers import SAMPLERS
from autofreeze.space import SpaceSpec
from autofreeze.splits import Split
from autofreeze.stability import kind_of
from autofreeze.study import Limits, Study

GROUPS = ("stem", "layer1", "layer2", "head")
BASELINES = tuple(baseline.name for baseline in baselines(3, 3))
N = len(BASELINES)
IDENTITY = {"test": 1}

FLAT = """
warmup_epochs: {low: 0, high: 2, step: 0.5}
unfreeze_depth: {low: 0, high: all}
unfreeze_every: {low: 0, high: 1, step: 0.5}
freeze_stem: [false, true]
rates: [one, decay]
head_lr: {low: 1.0e-4, high: 1.0e-2, log: true}
backbone_ratio: {low: 3.0e-3, high: 1.0, log: true}
depth_ratio: {low: 1.0e-2, high: 1.0, log: true}
"""
ONE_BLOCK = "shape: one_block\nblock: {low: 0, high: all}\nhead_lr: {low: 1.0e-4, high: 1.0e-2, log: true}\n"
FEW = "unfreeze_depth: [0, 1]\nhead_lr: 1.0e-3\nrates: one\nbackbone_ratio: 1.0\n"

LABELS = np.arange(80) % 2
SPLITS = tuple(Split(np.setdiff1d(np.arange(80), val), val) for val in (np.arange(0, 40), np.arange(40, 80)))


@dataclass
class Calls:
    """What a runner was asked to do."""

    jobs: list


@pytest.fixture
def open_study(tmp_path, made_up):
    """``open_study(...)``: (folder, study, calls); folders are closed at the test's end."""
    opened = []

    def make(
        name="run", *, runner=None, space=FLAT, sampler="tpe", seed=0, folds=2, epochs=3.0, resume=False,
        prune=True, metric="top1", executor=None, labels=LABELS, **more,
    ):  # fmt: skip
        calls = Calls([])

        def run(job):
            calls.jobs.append(job)
            yield from (runner or made_up.curve)(job)

        folder = RunFolder(tmp_path / name, IDENTITY, resume=resume)
        opened.append(folder)
        study = Study(
            folder,
            SpaceSpec.from_text(space).resolve(GROUPS, epochs),
            executor or LocalExecutor(run),
            scoring=ImageScoring.of(metric, labels, SPLITS[:folds]),
            seed=seed,
            sampler=sampler,
            prune=prune,
            **more,
        )
        return folder, study, calls

    yield make
    for folder in opened:
        folder.close()


def begin(study, n):
    """Run the first trials of a search that is long enough for all baselines."""

    def enough():
        return "enough" if sum(r.ending is not Ending.UNFINISHED for r in study.results) >= n else ""

    return study.search(Limits(5 * N), enough)


def told(folder, study):
    """Everything that a study holds, as plain data; seconds and paths left out."""
    trials = [
        (
            trial.number, trial.state.name, trial.params, trial.values, trial.intermediate_values,
            trial.user_attrs.get("baseline"), trial.system_attrs.get("constraints"), trial.constraints,
        )
        for trial in folder.study.trials
    ]  # fmt: skip
    results = [result.model_copy(update={"seconds": 0.0}) for result in study.results]
    return trials, results


def lines(folder):
    """The records, in the order in which they were written."""
    entries = [json.loads(line) for line in (folder.path / "records.jsonl").read_text().splitlines()]
    return [(entry["trial"], entry["fold"], {**entry["record"], "seconds": 0}) for entry in entries]


def assert_finite(study):
    for trial in study.trials:
        numbers = [*(trial.values or []), *trial.intermediate_values.values(), *trial.constraints.values()]
        assert all(math.isfinite(number) for number in numbers)


# Endings


@pytest.fixture
def mixed(made_up):
    """A runner in whose searches all four ends come up."""

    def runner(job):
        luck = made_up.draw("luck", job.recipe_digest)
        for epoch, record in enumerate(made_up.curve(job)):
            if luck < 0.12 and epoch == job.fold:
                yield made_up.diverged(job, epoch)
                return
            if luck > 0.92 and epoch == 1:
                raise RuntimeError("the disk is full")
            yield record

    return runner


def test_four_ends_are_kept_apart_and_no_nan_reaches_optuna(open_study, mixed):
    folder, study, _ = open_study(runner=mixed)
    assert study.search(Limits(30)) == ""
    states = {
        Ending.COMPLETE: TrialState.COMPLETE,
        Ending.UNPROMISING: TrialState.PRUNED,
        Ending.UNSTABLE: TrialState.PRUNED,
        Ending.FAILED: TrialState.FAIL,
    }
    assert {result.ending for result in study.results} == set(states)
    for trial, result in zip(folder.study.trials, study.results, strict=True):
        assert trial.state == states[result.ending]
        assert (result.value is not None) == (result.ending is Ending.COMPLETE)
        assert result.value is None or result.value == trial.value
        assert bool(result.reason) == (result.ending is not Ending.COMPLETE)
        violated = {Ending.UNSTABLE: {"stable": 1.0}, Ending.FAILED: {}}
        assert trial.constraints == violated.get(result.ending, {"stable": 0.0})
    assert_finite(folder.study)
    reasons = {result.ending: result.reason for result in study.results}
    assert reasons[Ending.UNSTABLE].startswith("non-finite loss at step")
    assert reasons[Ending.FAILED] == "RuntimeError: the disk is full"


def test_a_run_without_a_finite_validation_is_unstable_and_not_told(open_study, made_up):
    nan = float("nan")
    folder, study, calls = open_study(
        runner=lambda job: iter(
            [made_up.record(job, 0), made_up.record(job, 1, val_loss=nan), made_up.record(job, 2)]
        )
    )
    study.search(Limits(2))
    assert [result.ending for result in study.results] == [Ending.UNSTABLE] * 2
    assert study.results[0].reason == "non-finite validation at epoch 1"
    assert [list(trial.intermediate_values) for trial in folder.study.trials[:2]] == [[0], [0]]
    assert len(calls.jobs) == 2  # the second fold is not trained


def spiking(made_up, epoch):
    """Runs whose loss runs away in one epoch."""

    def runner(job):
        curve = made_up.curve(job)
        curve[epoch] = curve[epoch].model_copy(update={"train_loss": 99.0})
        return iter(curve)

    return runner


def test_a_loss_spike_ends_the_run_as_unstable_without_a_score_and_the_sampler_is_told(open_study, made_up):
    folder, study, calls = open_study(runner=spiking(made_up, 1), folds=2)
    study.search(Limits(2))
    assert [result.ending for result in study.results] == [Ending.UNSTABLE] * 2
    assert all(result.value is None for result in study.results)
    assert {kind_of(result.reason) for result in study.results} == {"loss spike"}
    assert not folder.study.get_trials(states=(TrialState.COMPLETE,))
    assert [trial.constraints for trial in folder.study.trials] == [{"stable": 1.0}] * 2
    assert [job.fold for job in calls.jobs] == [0, 0]


def test_a_run_that_has_come_to_its_end_has_a_value_whatever_its_loss(open_study, made_up):
    _, study, _ = open_study(runner=spiking(made_up, -1), folds=1)
    study.search(Limits(2))
    assert [result.ending for result in study.results] == [Ending.COMPLETE] * 2


def test_a_run_is_judged_by_its_own_earlier_records(open_study, made_up):
    def runner(job):
        curve = made_up.curve(job, skill=0.9)
        head = len(made_up.groups) - 1
        given = {"loss": 1.0, "grad_norms": (None,) * head + (2.0,), "weight_norms": (None,) * head + (1.0,)}
        # The head alone is good for an epoch; then the backbone comes in, and nothing is left of that.
        thaws = (Thaw(step=0, columns=(head,), **given), Thaw(step=4, columns=tuple(range(head)), **given))
        low = {"value": 0.0, "step": 40}
        seen = [{"value": 0.9, "thaws": thaws[:1]}, {**low, "thaws": thaws[1:]}, low, low]
        return iter([one.model_copy(update=has) for one, has in zip(curve, seen, strict=True)])

    _, study, _ = open_study(runner=runner, folds=1, epochs=4.0)
    study.search(Limits(2))
    assert [kind_of(result.reason) for result in study.results] == ["below the head alone"] * 2
    assert [result.thaw.step for result in study.results] == [4, 4]


def test_a_result_keeps_the_first_thaw_of_the_backbone_and_the_drift_of_its_first_fold(open_study, made_up):
    def runner(job):
        curve = made_up.curve(job)
        head = len(made_up.groups) - 1
        norms = (1.0,) * (head + 1)
        steps = [(0, (head,)), (3 + job.fold, (head - 1,)), (9, (0,))]
        thaws = [
            Thaw(step=step, columns=own, loss=1.0, grad_norms=norms, weight_norms=norms)
            for step, own in steps
        ]
        first = curve[0].model_copy(update={"thaws": tuple(thaws[:2])})
        second = curve[1].model_copy(update={"thaws": tuple(thaws[2:]), "drift": 0.1})
        return iter([first, second, *[one.model_copy(update={"drift": 0.2 + job.fold}) for one in curve[2:]]])

    _, study, _ = open_study(runner=runner, folds=2, prune=False)
    study.search(Limits(2))
    assert [(result.thaw.step, result.drift) for result in study.results] == [(3, 0.2)] * 2


def test_records_without_signals_leave_results_without_them(open_study):
    _, study, _ = open_study()
    study.search(Limits(2))
    assert [(result.thaw, result.drift) for result in study.results] == [(None, None)] * 2


def test_three_failures_at_the_start_stop_the_search_and_say_why(open_study):
    def runner(job):
        raise RuntimeError("CUDA is gone")

    folder, study, calls = open_study(runner=runner)
    with pytest.raises(TrainingError) as caught:
        study.search(Limits(20))
    assert str(caught.value) == (
        "\n  the first 3 trials all failed; the search stops here\n  RuntimeError: CUDA is gone"
    )
    assert len(calls.jobs) == 3
    assert [trial.state for trial in folder.study.trials[:3]] == [TrialState.FAIL] * 3


def test_three_failures_later_do_not_stop_the_search(open_study, made_up):
    def runner(job):
        if 1 <= job.trial <= 3:
            raise RuntimeError("bad luck")
        return made_up.curve(job)

    _, study, _ = open_study(runner=runner)
    study.search(Limits(6))
    assert [result.ending is Ending.FAILED for result in study.results] == [
        False,
        True,
        True,
        True,
        False,
        False,
    ]
    assert study.results[1].reason == "RuntimeError: bad luck"


def test_a_trial_whose_batches_had_to_be_cut_is_told_as_no_result_and_never_wins(open_study, made_up):
    def runner(job):
        for record in made_up.curve(job, skill=1.0 if job.trial == 2 else None):
            yield record.model_copy(update={"comparable": job.trial != 2 or record.epoch < 1})

    folder, study, _ = open_study(runner=runner)
    study.search(Limits(8))
    cut = study.results[2]
    assert cut.ending is Ending.NOT_COMPARABLE
    assert cut.reason.startswith("a batch did not fit the memory")
    assert cut.value is None
    assert folder.study.trials[2].state == TrialState.FAIL
    assert 2 not in {finalist.trial.number for finalist in study.finalists()}
    assert sum(one.ending is Ending.COMPLETE for one in study.results) > 0


def test_a_run_that_ends_before_its_schedule_is_a_failure(open_study, made_up):
    _, study, _ = open_study(runner=lambda job: made_up.curve(job)[: 3 if job.trial else 1])
    study.search(Limits(2))
    assert study.results[0].ending is Ending.FAILED
    assert study.results[0].reason == "the run ended before its schedule did"
    assert study.results[1].ending is Ending.COMPLETE


def test_a_failed_trial_is_not_taken_over_by_an_equal_one(open_study, made_up):
    tries = []

    def runner(job):
        tries.append(job.recipe_digest)
        if tries.count(job.recipe_digest) == 1 and job.trial == 1:
            raise RuntimeError("once")
        return iter(made_up.curve(job))

    space = "unfreeze_depth: 0\nhead_lr: 2.0e-3\n"
    _, study, _ = open_study(runner=runner, space=space, folds=1)
    study.search(Limits(4))
    assert [result.ending for result in study.results[1:]] == [
        Ending.FAILED, Ending.COMPLETE, Ending.COMPLETE,
    ]  # fmt: skip
    assert [result.same_as for result in study.results[1:]] == [None, None, 2]


# The value of a trial


def scored_by_scikit_learn(metric, labels, predicted, losses):
    if metric == "log_loss":
        return np.exp(-np.mean(losses))
    if metric == "top1":
        return accuracy_score(labels, predicted)
    if metric == "balanced_accuracy":
        return balanced_accuracy_score(labels, predicted)
    return f1_score(labels, predicted, average="macro")


@pytest.mark.parametrize("metric", metrics.METRICS)
def test_the_value_is_the_metric_at_the_last_epoch_pooled_over_the_folds(open_study, made_up, metric):
    labels = (np.arange(80) % 5 == 0).astype(np.int64)  # imbalanced, so that pooling is no mean of means

    def runner(job):
        # The best epoch is the first: it must not count.
        val = labels[SPLITS[job.fold].val]
        losses = {"losses": metrics.pack_losses(np.ones(40))} if metric == "log_loss" else {}
        return iter(
            made_up.record(job, epoch, skill=1.9 - 0.5 * epoch if epoch < 2 else 0.6, labels=val, **losses)
            for epoch in range(3)
        )

    folder, study, _ = open_study(runner=runner, metric=metric, labels=labels)
    study.search(Limits(4))
    curves = read_records(folder.path)
    for result in study.results:
        ends = [curves[result.number, fold][-1] for fold in (0, 1)]
        assert [record.epoch for record in ends] == [2, 2]
        predicted = np.concatenate([record.predicted_classes for record in ends])
        losses = [record.val_loss for record in ends]
        assert result.value == pytest.approx(scored_by_scikit_learn(metric, labels, predicted, losses))
        if metric != "log_loss":
            assert result.value < max(record.value for record in curves[result.number, 0])
        assert result.n_val == 80
        assert result.val_loss == pytest.approx(np.mean(losses))
        assert folder.study.trials[result.number].value == result.value


# Asking


def test_the_baselines_come_first_and_each_run_of_theirs_is_whole(open_study, made_up):
    # Each baseline is worse than the one before; searched trials are best.
    folder, study, _ = open_study(
        runner=lambda job: made_up.curve(job, skill=0.9 - 0.1 * job.trial if job.trial < N else 0.95)
    )
    begin(study, N + 2)
    assert [result.baseline for result in study.results] == [*BASELINES, None, None]
    assert {result.ending for result in study.results[:N]} == {Ending.COMPLETE, Ending.UNPROMISING}
    curves = read_records(folder.path)
    assert all(curve[-1].last for (number, _), curve in curves.items() if number < N)


def test_a_baseline_that_is_clearly_behind_after_a_fold_is_not_trained_on_the_next(open_study, made_up):
    """One that may still be as good is, though it ranks last."""
    skills = {0: 0.9, 1: 0.85, 2: 0.9, 3: 0.3, 4: 0.88, 5: 0.88}
    _, study, calls = open_study(runner=lambda job: made_up.curve(job, skill=skills.get(job.trial, 0.5)))
    begin(study, 6)
    endings = {result.number: result.ending for result in study.results[:6]}
    assert endings == {**dict.fromkeys(range(6), Ending.COMPLETE), 3: Ending.UNPROMISING}
    assert study.results[3].reason.startswith("behind the best by ")
    assert [job.fold for job in calls.jobs if job.trial == 3] == [0]


def test_without_pruning_baselines_run_on_all_folds(open_study, made_up):
    _, study, _ = open_study(runner=lambda job: made_up.curve(job, skill=0.9 - 0.1 * job.trial), prune=False)
    begin(study, 6)
    assert {result.ending for result in study.results[:6]} == {Ending.COMPLETE}


def test_a_bad_trial_is_unpromising_after_the_median_is_known(open_study, made_up):
    _, study, calls = open_study(
        runner=lambda job: made_up.curve(job, skill=0.9 if job.trial < N else 0.1), sampler="random"
    )
    begin(study, N + 6)
    ended = [result.ending for result in study.results[N:]]
    assert Ending.UNPROMISING in ended
    assert Ending.COMPLETE not in ended
    assert {job.fold for job in calls.jobs if job.trial >= N} == {0}


@pytest.mark.parametrize("metric", ["top1", "log_loss"])
def test_between_folds_a_third_goes_on_and_log_loss_breaks_ties(open_study, made_up, metric):
    # All are right as often; each is less sure than the one before. Two of each arm are trained to their end.
    def runner(job):
        loss = 0.5 + job.trial / 10
        losses = metrics.pack_losses(loss + np.arange(40) / 100) if metric == "log_loss" else ""
        curve = made_up.curve(made_up.job(), skill=0.9, val_loss=loss, value=0.75, losses=losses)
        if metric == "log_loss":
            curve[-1] = curve[-1].model_copy(update={"value": math.exp(-loss)})
        return iter(curve)

    _, study, calls = open_study(runner=runner, metric=metric)
    study.search(Limits(8))
    last = study.results[-1]
    assert last.ending is Ending.UNPROMISING
    assert last.reason == "number 8 of 8 after 1 fold, of which 3 go on"
    assert [job.fold for job in calls.jobs if job.trial == last.number] == [0]


def test_between_folds_whole_runs_are_compared_however_they_began(open_study, made_up):
    # The last trial ends best; on the way it has fewer images right than any other, as a long warm-up may.
    def runner(job):
        late = job.trial == 9
        skills = [0.1, 0.1, 0.99] if late else [0.8 - job.trial / 100] * 3
        return (made_up.record(job, epoch, skill=skill, value=0.7) for epoch, skill in enumerate(skills))

    _, study, calls = open_study(runner=runner, sampler="random")
    study.search(Limits(10))
    assert [job.fold for job in calls.jobs if job.trial == 9] == [0, 1]
    assert any("after 1 fold" in result.reason for result in study.results)


def test_within_a_run_trials_are_judged_on_the_first_fold_alone(open_study, made_up):
    # Trials of the search are as good as the others at the end of the first fold, and hopeless on the second.
    def runner(job):
        skill = 0.9 if job.fold == 0 or job.trial < 6 else 0.1
        return iter(made_up.curve(made_up.job(), skill=skill))

    _, study, calls = open_study(runner=runner, sampler="random")
    study.search(Limits(10))
    assert {result.ending for result in study.results} == {Ending.COMPLETE}
    assert {job.fold for job in calls.jobs if job.trial == 9} == {0, 1}


def test_a_small_class_widens_the_error_within_which_a_trial_goes_on(open_study, made_up):
    # 2 of 40 images are of one class: a mean over classes rests on 7.6, and a lag of a tenth is luck.
    labels = np.zeros(80, np.int64)
    labels[[0, 1, 40, 41]] = 1

    def runner(job):
        value = 0.7 if job.trial < 6 else 0.6
        return iter(record.model_copy(update={"value": value}) for record in made_up.curve(job))

    endings = {}
    for metric in ("top1", "balanced_accuracy"):
        _, study, _ = open_study(
            metric, runner=runner, metric=metric, labels=labels, folds=1, sampler="random"
        )
        study.search(Limits(9))
        endings[metric] = {result.ending for result in study.results[6:]}
    assert endings == {"top1": {Ending.UNPROMISING}, "balanced_accuracy": {Ending.COMPLETE}}


def test_without_pruning_every_stable_trial_is_trained_to_its_end(open_study, made_up):
    _, study, calls = open_study(
        runner=lambda job: made_up.curve(job, skill=0.9 if job.trial < N else 0.1),
        sampler="random",
        prune=False,
    )
    begin(study, N + 4)
    assert {result.ending for result in study.results} == {Ending.COMPLETE}
    assert len(calls.jobs) == 2 * sum(result.same_as is None for result in study.results)


@pytest.mark.parametrize(("trials", "n"), [(1, 1), (10, 2), (24, 4), (40, N), (50, N)])
def test_a_fifth_of_the_trials_are_baselines_the_most_important_first(open_study, trials, n):
    folder, study, _ = open_study()
    study.search(Limits(trials), lambda: "stop")
    assert [trial.user_attrs["baseline"] for trial in folder.study.trials] == list(BASELINES[:n])


def test_more_trials_bring_the_baselines_that_now_fit(open_study):
    folder, study, _ = open_study()
    study.search(Limits(5))
    folder.close()
    folder, study, _ = open_study(resume=True)
    study.search(Limits(11))
    names = [result.baseline for result in study.results]
    assert names == [BASELINES[0], *[None] * 4, BASELINES[1], *[None] * 5]
    folder.close()
    _, study, calls = open_study(resume=True)
    study.search(Limits(5))
    assert calls.jobs == []


def test_baselines_that_are_left_out_do_not_take_the_place_of_others(open_study):
    folder, study, _ = open_study(space=FEW, sampler="qmc")
    study.search(Limits(5), lambda: "stop")
    assert [trial.user_attrs["baseline"] for trial in folder.study.trials] == ["last_block"]


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("space", [FLAT, ONE_BLOCK], ids=["flat", "one block"])
def test_every_sampler_searches_every_shape(open_study, made_up, sampler, space):
    # No baseline is a point of the second space, and two samplers cannot have trials outside theirs.
    left_out = space == ONE_BLOCK and sampler in ("qmc", "gp")
    expected = () if left_out else BASELINES
    _, study, _ = open_study(sampler=sampler, space=space, folds=1)
    assert begin(study, len(expected) + 3) == "enough"
    assert [result.baseline for result in study.results] == [*expected, *[None] * 3]
    searched = study.results[len(expected) :]
    axes = SpaceSpec.from_text(space).resolve(GROUPS, 3.0).searched.keys()
    assert all(result.params.keys() == axes for result in searched)
    assert len({result.schedule.digest for result in searched}) > 1
    if space == ONE_BLOCK:
        assert all(result.params == {} for result in study.results[: len(expected)])
        assert {result.recipe for result in searched} <= {"one_block", "last_groups"}


def test_equal_schedules_are_trained_once(open_study, made_up):
    # At depth 0 the backbone's rate does not matter: two points of the space, one schedule.
    space = "unfreeze_depth: 0\nhead_lr: 2.0e-3\nbackbone_ratio: {low: 0.1, high: 0.9}\n"
    folder, study, calls = open_study(space=space, prune=False)
    study.search(Limits(4))
    first, *others = study.results[1:]
    assert first.same_as is None
    assert first.work > 0
    for other in others:
        assert other.same_as == first.number
        assert (other.value, other.val_loss, other.schedule) == (first.value, first.val_loss, first.schedule)
        assert (other.work, other.seconds) == (0.0, 0.0)
        assert other.params != first.params
        assert folder.study.trials[other.number].value == first.value
    assert {job.trial for job in calls.jobs if job.trial > 0} == {first.number}
    assert not {trial for trial, _ in read_records(folder.path)} & {other.number for other in others}


def test_an_unstable_schedule_is_not_trained_twice_either(open_study, made_up):
    space = "unfreeze_depth: 0\nhead_lr: 2.0e-3\nbackbone_ratio: {low: 0.1, high: 0.9}\n"
    folder, study, calls = open_study(
        space=space,
        runner=lambda job: [made_up.diverged(job)] if job.trial > 0 else made_up.curve(job),
    )
    study.search(Limits(3))
    assert [result.ending for result in study.results[1:]] == [Ending.UNSTABLE] * 2
    assert study.results[-1].same_as == 1
    assert [trial.constraints for trial in folder.study.trials[1:]] == [{"stable": 1.0}] * 2
    assert sum(job.trial > 0 for job in calls.jobs) == 1


def test_every_fold_of_every_trial_has_its_own_seed_and_trials_share_it(open_study):
    _, study, calls = open_study()
    study.search(Limits(4))
    seeds = {(job.fold, job.seed) for job in calls.jobs}
    assert len(seeds) == 2
    assert len({seed for _, seed in seeds}) == 2
    _, other, more = open_study("other", seed=1)
    other.search(Limits(1))
    assert not {job.seed for job in more.jobs} & {seed for _, seed in seeds}


def test_the_limit_counts_all_trials_and_a_second_session_goes_on_to_it(open_study):
    folder, study, _ = open_study()
    study.search(Limits(3))
    assert len(study.results) == 3
    folder.close()
    _, study, calls = open_study(resume=True)
    study.search(Limits(3))
    assert calls.jobs == []
    study.search(Limits(5))
    assert len(study.results) == 5


@pytest.mark.parametrize("kept", [0, 5, -1])
def test_a_study_whose_records_are_gone_is_told(open_study, kept):
    folder, study, _ = open_study()
    study.search(Limits(3))
    folder.close()
    records = folder.path / "records.jsonl"
    records.write_text("".join(records.read_text().splitlines(keepends=True)[:kept]))
    with pytest.raises(RunFolderError, match=r"lacks records of trials? .*2, which by study.journal"):
        open_study(resume=True)


def test_a_search_out_of_time_says_so_and_keeps_its_trials(open_study):
    _, study, _ = open_study()
    assert study.search(Limits(5, seconds=0.0)) == "out of time"
    assert study.results == ()


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_same_command_gives_the_same_study(open_study, mixed, sampler):
    found = []
    for name in ("one", "two"):
        np.random.seed(len(found))  # noqa: NPY002 - no global state may enter
        folder, study, _ = open_study(name, runner=mixed, sampler=sampler)
        study.search(Limits(8))
        found.append((told(folder, study), lines(folder)))
    assert found[0] == found[1]
    folder, study, _ = open_study("other", runner=mixed, sampler=sampler, seed=1)
    study.search(Limits(8))
    assert told(folder, study)[0] != found[0][0][0]


def test_with_several_jobs_in_hand_nothing_is_lost(open_study, made_up):
    executor = ReplayExecutor(made_up.curve, capacity=3)
    folder, study, _ = open_study(executor=executor)
    assert study.search(Limits(12)) == ""
    assert len(study.results) == 12
    assert all(trial.state.is_finished() for trial in folder.study.trials)
    assert_finite(folder.study)


@pytest.mark.parametrize("capacity", [2, 3, 7])
def test_equal_schedules_are_trained_once_though_both_are_in_hand(open_study, made_up, capacity):
    space = "unfreeze_depth: 0\nhead_lr: 2.0e-3\nbackbone_ratio: {low: 0.1, high: 0.9}\n"
    played = []

    def player(job):
        played.append(job.trial)
        return made_up.curve(job)

    _, study, _ = open_study(space=space, prune=False, executor=ReplayExecutor(player, capacity=capacity))
    assert study.search(Limits(6)) == ""
    first, *others = study.results[1:]
    assert [other.same_as for other in others] == [first.number] * len(others)
    assert {other.value for other in others} == {first.value}
    assert set(played) == {0, first.number}


def test_a_trial_that_waits_for_an_equal_one_runs_itself_when_that_one_fails(open_study, made_up):
    tries = []

    def player(job):
        tries.append(job.trial)
        if job.trial == 1:
            raise LookupError("once")
        return made_up.curve(job)

    space = "unfreeze_depth: 0\nhead_lr: 2.0e-3\n"
    _, study, _ = open_study(space=space, folds=1, executor=ReplayExecutor(player, capacity=4))
    study.search(Limits(4))
    assert [result.ending for result in study.results[1:]] == [
        Ending.FAILED, Ending.COMPLETE, Ending.COMPLETE,
    ]  # fmt: skip
    assert [result.same_as for result in study.results[1:]] == [None, None, 2]
    assert tries == [0, 1, 2]


@pytest.mark.parametrize("capacity", [2, 5])
def test_a_fixed_list_of_trials_gives_the_same_results_however_many_are_in_hand(
    open_study, made_up, capacity
):
    given = {"sampler": "qmc", "prune": False}
    _, alone, _ = open_study("alone", executor=ReplayExecutor(made_up.curve), **given)
    _, many, _ = open_study("many", executor=ReplayExecutor(made_up.curve, capacity=capacity), **given)
    for study in (alone, many):
        study.search(Limits(24))
    assert many.results == alone.results


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_no_more_trials_are_spared_for_their_arm_when_many_are_in_hand(open_study, made_up, seed):
    def complete_by_arm(capacity):
        executor = ReplayExecutor(made_up.curve, capacity=capacity)
        _, study, _ = open_study(f"{capacity}", executor=executor, sampler="random", seed=seed)
        study.search(Limits(40))
        ended = [one for one in study.results if one.ending is Ending.COMPLETE and not one.baseline]
        assert 0 < len(ended) < 30
        return Counter(arm_of(one.schedule) for one in ended)

    assert complete_by_arm(12) == complete_by_arm(1)


def test_what_a_search_that_was_cut_short_has_in_hand_is_let_go_and_goes_on_later(open_study, made_up):
    executor = ReplayExecutor(made_up.curve, capacity=3)
    folder, study, _ = open_study(executor=executor)
    events = iter(range(7))
    assert study.search(Limits(12), lambda: "enough" if next(events, None) is None else "") == "enough"
    assert sum(result.ending is Ending.UNFINISHED for result in study.results) == 3
    study.let_go()
    with pytest.raises(LookupError):
        executor.next_event()
    folder.close()
    _, again, _ = open_study(resume=True)
    assert again.search(Limits(12)) == ""
    assert {result.ending for result in again.results} <= {Ending.COMPLETE, Ending.UNPROMISING}


# Nothing is lost


class Killed(BaseException):
    """The process is gone."""


def unbroken(open_study, runner, n, **given):
    folder, study, _ = open_study("unbroken", runner=runner, **given)
    study.search(Limits(n))
    return told(folder, study), lines(folder)


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_a_search_that_stops_at_any_event_goes_on_as_if_it_had_not(open_study, mixed, sampler):
    n = 11
    given = {"sampler": sampler, "epochs": 2.0}
    expected = unbroken(open_study, mixed, n, **given)
    for stop in range(1, 44, 9 if sampler == "tpe" else 17):
        folder, study, _ = open_study(f"{stop}", runner=mixed, **given)
        left = iter(range(stop))
        reason = study.search(Limits(n), lambda left=left: "" if next(left, None) is not None else "stop")
        folder.close()
        folder, study, _ = open_study(f"{stop}", runner=mixed, resume=True, **given)
        assert study.search(Limits(n)) == ""
        assert (told(folder, study), lines(folder)) == expected, f"stopped after {stop} events"
        assert reason == "stop"


def test_folds_that_were_finished_before_a_stop_count_though_the_trial_broke_off_after_it(
    open_study, made_up
):
    # Trial 5 breaks off on its second fold; later trials are ranked among all that finished the first.
    def runner(job):
        curve = made_up.curve(job, skill=0.95 if job.trial == 5 else 0.9 - 0.02 * job.trial)
        if (job.trial, job.fold) == (5, 1):
            curve[1:] = [made_up.diverged(job, 1)]
        return iter(curve)

    given = {"sampler": "random"}
    expected = unbroken(open_study, runner, 12, **given)
    folder, study, calls = open_study("stopped", runner=runner, **given)
    assert study.search(Limits(12), lambda: "stop" if calls.jobs and calls.jobs[-1].key == "5.1" else "")
    folder.close()
    folder, study, _ = open_study("stopped", runner=runner, resume=True, **given)
    study.search(Limits(12))
    assert (told(folder, study), lines(folder)) == expected
    assert any("after 1 fold" in result.reason for result in study.results[6:])
    assert study.results[5].ending is Ending.UNSTABLE


def test_records_keep_when_and_where_they_were_trained(open_study, made_up):
    executor = PlacedExecutor(made_up.curve)
    folder, study, _ = open_study(executor=executor)
    begin(study, 6)
    found = list(entries(folder.path))
    assert {one.where for one in found} == set(PLACES)
    assert 0 < max(one.at for one in found) <= round(executor.clock, 3)


@contextmanager
def killed_at(monkeypatch, write, *, after):
    """Kill the process at its n-th write to the journal or the records: before it, or right after it."""
    left = iter(range(write))

    def deadly(method):
        def call(self, *args, **told):
            alive = next(left, None) is not None
            if alive or after:
                method(self, *args, **told)
            if not alive:
                raise Killed

        return call

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "append_logs", deadly(Journal.append_logs))
        patch.setattr(RunFolder, "append", deadly(RunFolder.append))
        try:
            yield
        except Killed:
            pass
        else:
            pytest.fail("the search was not killed")


def assert_survives(open_study, monkeypatch, runner, write, after, expected, n, **given):
    name = f"{write}-{after}"
    folder, study, _ = open_study(name, runner=runner, **given)
    with killed_at(monkeypatch, write, after=after):
        study.search(Limits(n))
    folder.close()
    folder, study, _ = open_study(name, runner=runner, resume=True, **given)
    assert study.search(Limits(n)) == ""
    trials, results = told(folder, study)
    for ours, theirs in zip(trials, expected[0][0], strict=True):
        assert ours == theirs
    assert results == expected[0][1]
    assert lines(folder) == expected[1]


# The first writes put the baselines in the queue, then comes a trial after the other.
INSTANTS = [(write, after) for write in (*range(30), *range(30, 220, 23)) for after in (False, True)]
SOME = INSTANTS[::7]


@pytest.mark.parametrize(
    ("write", "after"),
    [pytest.param(*i, marks=[] if i in SOME else [pytest.mark.long]) for i in INSTANTS],
)
def test_a_search_killed_at_any_write_goes_on_as_if_it_had_not(open_study, mixed, monkeypatch, write, after):
    n, given = 10, {"sampler": "random", "epochs": 2.0}
    expected = unbroken(open_study, mixed, n, **given)
    assert_survives(open_study, monkeypatch, mixed, write, after, expected, n, **given)


@pytest.mark.parametrize("write", range(60, 110, 7))
def test_a_search_by_a_sequence_killed_at_any_write_goes_on_as_if_it_had_not(
    open_study, mixed, monkeypatch, write
):
    n, given = 10, {"sampler": "qmc", "epochs": 2.0}
    expected = unbroken(open_study, mixed, n, **given)
    assert_survives(open_study, monkeypatch, mixed, write, True, expected, n, **given)


def checkpointing(folder, runner):
    """A runner that leaves a rolling checkpoint, as training does."""

    def run(job):
        for record in runner(job):
            file = folder.checkpoint(job)
            file.parent.mkdir(exist_ok=True)
            file.write_text(str(record.epoch))
            yield record

    return run


def test_no_checkpoint_outlives_its_trial(open_study, mixed, made_up):
    stops = (1, 5, 6, 11, 17, 24, 31, 35)
    box = {}

    def runner(job):
        return checkpointing(box["folder"], mixed)(job)

    for number, stop in enumerate(stops):
        box["folder"], study, _ = open_study(runner=runner, resume=number > 0)
        left = iter(range(stop))
        study.search(Limits(12), lambda left=left: "" if next(left, None) is not None else "stop")
        live = [trial.number for trial in study.results if trial.ending is Ending.UNFINISHED]
        kept = [int(file.name[6:10]) for file in (box["folder"].path / "checkpoints").iterdir()]
        assert set(kept) <= set(live)
        box["folder"].close()
    box["folder"], study, _ = open_study(runner=runner, resume=True)
    study.search(Limits(12))
    assert not list((box["folder"].path / "checkpoints").iterdir())


def test_a_trial_that_diverged_as_the_search_was_killed_is_no_score(open_study, made_up, monkeypatch):
    def runner(job):
        return iter([made_up.diverged(job)])

    given = {"runner": runner, "folds": 1}
    folder, study, _ = open_study(**given)

    def deadly(self, *args):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Study, "_judge_record", deadly)
        with pytest.raises(Killed):
            study.search(Limits(1))
    folder.close()
    folder, study, calls = open_study(**given, resume=True)
    study.search(Limits(1))
    assert study.results[0].ending is Ending.UNSTABLE
    assert study.results[0].value is None
    assert folder.study.trials[0].state is TrialState.PRUNED
    assert calls.jobs == []


def test_each_arm_has_two_trials_that_are_trained_to_their_end_though_they_are_behind(open_study, made_up):
    def curve(job):
        return made_up.curve(job, skill=0.95 if arm_of(job.schedule) == "freeze_first" else 0.1)

    _, study, _ = open_study(runner=curve)
    study.search(Limits(12))  # two baselines, one of each arm
    complete = [one for one in study.results if one.ending is Ending.COMPLETE]
    behind = [one for one in complete if arm_of(one.schedule) == "at_once"]
    assert len(behind) >= 2
    assert any(one.ending is Ending.UNPROMISING for one in study.results)
    finalists = [one for one in study.finalists() if one.finalist]
    assert [arm_of(one.trial.schedule) for one in finalists].count("at_once") == 2


def depth_of(schedule, _):
    return float(sum(lr is not None for lr in schedule.phases[-1].lrs))


def test_a_schedule_that_is_too_dear_is_told_as_a_violated_constraint_and_not_counted(open_study):
    folder, study, calls = open_study(run_work=depth_of, max_work=2.0)
    study.search(Limits(12))
    dear = [one for one in study.results if one.ending is Ending.TOO_DEAR]
    assert dear
    assert len(study.results) == 12 + len(dear)
    trained = {job.trial for job in calls.jobs}
    for one in dear:
        assert one.number not in trained
        trial = folder.study.trials[one.number]
        assert trial.state == TrialState.PRUNED
        assert trial.constraints["affordable"] == depth_of(one.schedule, None) / 2 - 1 > 0
    assert all(depth_of(one.schedule, None) <= 2 for one in study.results if one.affordable)


def test_a_dear_trial_that_was_not_told_yet_is_not_trained_after_a_kill(open_study, monkeypatch):
    def killed(self, live):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Study, "_end_too_dear", killed)
        folder, study, _ = open_study(run_work=depth_of, max_work=2.0)
        with pytest.raises(KeyboardInterrupt):
            study.search(Limits(12))
    folder.close()
    number = len(folder.study.trials) - 1
    assert folder.study.trials[number].state == TrialState.RUNNING
    _, again, calls = open_study(run_work=depth_of, max_work=2.0, resume=True)
    again.search(Limits(12))
    assert again.results[number].ending is Ending.TOO_DEAR
    assert number not in {job.trial for job in calls.jobs}


def test_baselines_are_tuned_after_the_search_by_as_many_trials_that_the_sampler_never_sees(open_study):
    folder, study, _ = open_study()
    study.search(Limits(6, tuned=("full", "linear_probe")))
    tuned = [one for one in study.results if one.tuned]
    assert [one.number for one in tuned] == list(range(6, 18))
    assert [one.baseline for one in tuned] == ["full"] * 6 + ["linear_probe"] * 6
    assert len({one.schedule.phases[0].lrs[-1] for one in tuned[:6]}) == 6
    assert all(folder.study.trials[one.number].params == {} for one in tuned)


def test_a_rate_that_was_queued_as_the_search_was_killed_is_tried_once(open_study):
    folder, study, _ = open_study()
    study.search(Limits(3))
    folder.study.enqueue_trial({}, user_attrs={"baseline": "full", "in_space": False, "tuned": 0})
    folder.close()
    _, again, _ = open_study(resume=True)
    again.search(Limits(3, tuned=("full",)))
    tuned = [one for one in again.results if one.tuned]
    assert [one.number for one in tuned] == [3, 4, 5]
    assert len({one.schedule.phases[0].lrs for one in tuned}) == 3


# Sweeps of heads

SWEPT = "unfreeze_depth: [0, 1]\nhead_lr: {low: 1.0e-4, high: 1.0e-2, log: true}\nlabel_smoothing: [0, 0.1]\n"
HEADS = {"space": SWEPT, "can_sweep": lambda: True, "epochs": 2.0}


@pytest.fixture
def swept(open_study, made_up):
    """``swept(...)``: a study that sweeps, in whose runs nothing breaks unless it is told to."""
    return lambda *names, **given: open_study(*names, **{"runner": made_up.run, **HEADS, **given})


def sweeps_of(study):
    return [one for one in study.results if one.members]


def test_a_draw_of_the_head_alone_is_a_sweep_and_counts_as_one_trial(swept):
    _, study, calls = swept()
    study.search(Limits(14))
    assert len(study.results) == 14
    found = sweeps_of(study)
    assert len(found) >= 3
    assert [one.number for one in found] == [
        one.number for one in study.results if not (one.baseline or one.schedule.unfreeze_depth)
    ]
    assert all(len(one.members) == 16 for one in found)
    assert {job.trial for job in calls.jobs if job.members} == {one.number for one in found}
    # A third of the trials at least train all at once: sweeps count once there too.
    assert sum(arm_of(one.schedule) == "at_once" for one in study.results) >= 14 // 3


def test_baselines_and_searches_that_may_not_sweep_train_single_heads(swept, open_study):
    _, study, calls = swept()
    study.search(Limits(11))
    baselines_run = [job for job in calls.jobs if study.results[job.trial].baseline]
    assert any(not job.schedule.unfreeze_depth for job in baselines_run)
    assert not any(job.members for job in baselines_run)
    _, study, calls = open_study("single", space=SWEPT)
    study.search(Limits(8))
    assert any(not job.schedule.unfreeze_depth for job in calls.jobs)
    assert not any(job.members for job in calls.jobs)


def test_the_best_head_over_all_folds_is_told_with_its_own_point_and_all_are_kept(swept):
    folder, study, calls = swept(prune=False)
    study.search(Limits(10))
    curves = read_records(folder.path)
    for result in sweeps_of(study):
        values = []
        for place, member in enumerate(result.members):
            ends = [curves[result.number, fold][-1].members[place] for fold in (0, 1)]
            predicted = np.concatenate([end.predicted_classes for end in ends])
            values.append(accuracy_score(np.tile(np.arange(40) % 2, 2), predicted))
            assert member.value == pytest.approx(values[-1])
            assert member.fold_values == tuple(end.value for end in ends)
        assert result.value == pytest.approx(max(values))
        best = result.members[result.member]
        assert best.value == result.value
        job = next(job for job in calls.jobs if job.trial == result.number)
        head = job.members[result.member]
        assert (result.schedule, result.regime) == (head.schedule, head.regime)
        trial = folder.study.trials[result.number]
        assert trial.value == result.value
        assert trial.params == result.params
        assert result.params == {**trial.params, **best.params}
        assert result.schedule.phases[0].lrs[-1] == pytest.approx(trial.params["head_lr"], rel=1e-5)
        assert result.regime.label_smoothing == trial.params["label_smoothing"]
    assert any(result.member for result in sweeps_of(study))  # the drawn point is not always the best one


def test_log_loss_breaks_ties_between_heads(swept, made_up):
    def runner(job):
        curves = [
            made_up.curve(made_up.job(), skill=0.8, val_loss=0.5 - 0.01 * (place == 9))
            for place, _ in enumerate(job.members or [job])
        ]
        return made_up.sweep(curves) if job.members else curves[0]

    _, study, _ = swept(runner=runner)
    study.search(Limits(6))
    assert {result.member for result in sweeps_of(study)} == {9}


def test_a_head_that_breaks_off_in_any_fold_is_never_chosen_and_the_others_go_on(swept, made_up):
    def runner(job):
        if not job.members:
            return made_up.curve(job)
        alone = made_up.alone(job)
        curves = [made_up.curve(one, skill=0.5) for one in alone]
        curves[3] = made_up.curve(alone[3], skill=0.99)  # would win
        if job.fold == 1:
            curves[3] = [curves[3][0], made_up.diverged(alone[3], 1)]
        curves[5] = [made_up.diverged(alone[5])]
        spike = made_up.curve(alone[7], skill=0.99)
        curves[7] = [spike[0].model_copy(update={"train_loss": 99.0})]
        return made_up.sweep(curves)

    folder, study, _ = swept(runner=runner, prune=False)
    study.search(Limits(8))
    for result in sweeps_of(study):
        assert result.ending is Ending.COMPLETE
        assert result.member not in (3, 5, 7)
        assert {place: one.reason for place, one in enumerate(result.members) if one.reason} == {
            3: "non-finite loss at step 4",
            5: "non-finite loss at step 0",
            7: "loss spike: 99 in epoch 0, 1.6 at the start; 10 times as much is the most",
        }
        assert [place for place, one in enumerate(result.members) if one.value is None] == [3, 5, 7]
    assert sweeps_of(study)
    assert_finite(folder.study)


def test_a_sweep_is_unstable_when_every_head_is(swept, made_up):
    def runner(job):
        if not job.members:
            return made_up.curve(job)
        alone = made_up.alone(job)
        return made_up.sweep([[made_up.curve(one)[0], made_up.diverged(one, 1)] for one in alone])

    folder, study, calls = swept(runner=runner)
    study.search(Limits(6))
    for result in sweeps_of(study):
        assert result.ending is Ending.UNSTABLE
        assert result.reason == "non-finite loss at step 4"
        assert folder.study.trials[result.number].constraints == {"stable": 1.0}
        assert [job.fold for job in calls.jobs if job.trial == result.number] == [0]
    assert sweeps_of(study)
    assert_finite(folder.study)


def test_others_are_compared_with_the_head_that_was_chosen(swept, made_up):
    # Heads take turns at the top: only the last one is better than anything single at the end.
    def runner(job):
        if not job.members:
            return made_up.curve(made_up.job(), skill=0.7)
        curves = [made_up.curve(made_up.job(), skill=0.5) for _ in job.members]
        curves[2] = [
            made_up.record(made_up.job(), 0, skill=0.99),
            *made_up.curve(made_up.job(), skill=0.2)[1:],
        ]
        curves[4] = made_up.curve(made_up.job(), skill=0.8)
        return made_up.sweep(curves)

    folder, study, _ = swept(runner=runner, epochs=3.0)
    study.search(Limits(9))
    chosen = sweeps_of(study)
    assert {one.member for one in chosen} == {4}
    for one in chosen:
        told = [record.value for record in study._curves.told(one.number, 0)]
        raw = [record.value for record in read_records(folder.path)[one.number, 0]]
        assert told == [record.value for record in made_up.curve(made_up.job(), skill=0.8)]
        assert raw[0] > told[0]
    finalists = study.finalists()
    best = next(one for one in finalists if one.trial.members)
    assert best.trial.regime == study.results[best.trial.number].regime


def test_equal_sweeps_are_trained_once_and_no_single_trial_takes_over_from_one(swept):
    space = (
        "unfreeze_depth: 0\nhead_lr: 1.0e-3\nweight_decay: [0.01, 0.1]\nlabel_smoothing: [0, 0.1]\n"
        "backbone_ratio: {low: 0.1, high: 0.9}\n"
    )
    folder, study, calls = swept(space=space, prune=False)
    study.search(Limits(11))
    first, *others = sweeps_of(study)
    assert len(first.members) == 4
    assert others
    for other in others:
        assert other.same_as == first.number
        assert (other.value, other.schedule, other.regime) == (first.value, first.schedule, first.regime)
        trial = folder.study.trials[other.number]
        assert trial.params == other.params
        assert {name: trial.params[name] for name in ("weight_decay", "label_smoothing")} == {
            name: first.params[name] for name in ("weight_decay", "label_smoothing")
        }
        assert trial.params["backbone_ratio"] != first.params["backbone_ratio"]
    assert {job.trial for job in calls.jobs if job.members} == {first.number}
    singles = [one for one in study.results if not one.members]
    assert all(one.same_as is None or not study.results[one.same_as].members for one in singles)


@pytest.fixture
def mixed_sweeps(mixed, made_up):
    """Sweeps and single trials; in both something breaks now and then."""

    def runner(job):
        if not job.members:
            yield from mixed(job)
            return
        curves = []
        for one in made_up.alone(job):
            luck, curve = made_up.draw("luck", one.recipe_digest), made_up.curve(one)
            broken = luck < 0.3 or made_up.draw("all", job.recipe_digest) < 0.15
            curves.append([curve[0], made_up.diverged(one, 1)] if broken else curve)
        yield from made_up.sweep(curves)

    return runner


def test_a_search_with_sweeps_that_stops_at_any_event_goes_on_as_if_it_had_not(swept, mixed_sweeps):
    n = 6
    expected = unbroken(swept, mixed_sweeps, n)
    assert any(result.members for result in expected[0][1])
    for stop in (9, 20):
        folder, study, _ = swept(f"{stop}", runner=mixed_sweeps)
        left = iter(range(stop))
        study.search(Limits(n), lambda left=left: "" if next(left, None) is not None else "stop")
        folder.close()
        folder, study, _ = swept(f"{stop}", runner=mixed_sweeps, resume=True)
        assert study.search(Limits(n)) == ""
        assert (told(folder, study), lines(folder)) == expected, f"stopped after {stop} events"


# A baseline takes the first 12 writes. The 31st gives the first sweep the point of its best head.
SWEEP_INSTANTS = [(write, after) for write in range(12, 44) for after in (False, True)]
SOME_OF_SWEEPS = [(17, True), (30, False), (30, True)]


@pytest.mark.parametrize(
    ("write", "after"),
    [pytest.param(*i, marks=[] if i in SOME_OF_SWEEPS else [pytest.mark.long]) for i in SWEEP_INSTANTS],
)
def test_a_search_with_sweeps_killed_at_any_write_goes_on(swept, mixed_sweeps, monkeypatch, write, after):
    n, given = 3, {"sampler": "random", "seed": 5}
    expected = unbroken(swept, mixed_sweeps, n, **given)
    assert any(result.member for result in expected[0][1])
    assert_survives(swept, monkeypatch, mixed_sweeps, write, after, expected, n, **given)


@pytest.mark.long
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_goes_on_from_the_points_of_the_best_heads(swept, sampler):
    folder, study, _ = swept(sampler=sampler, folds=1)
    study.search(Limits(12))
    assert any(result.member for result in sweeps_of(study))
    for result in sweeps_of(study):
        assert folder.study.trials[result.number].params == result.params


def test_a_search_from_before_there_were_sweeps_goes_on(swept, open_study, made_up):
    folder, study, _ = open_study(space=SWEPT, epochs=2.0)
    study.search(Limits(6))
    before = study.results
    # Killed with a trial under way, which stays what it was.
    left = iter(range(3))
    study.search(Limits(9), lambda: "" if next(left, None) is not None else "stop")
    (running,) = [one for one in study.results if one.ending is Ending.UNFINISHED]
    folder.close()
    folder, study, _ = swept(resume=True)
    study.search(Limits(12))
    assert study.results[: len(before)] == before
    assert not study.results[running.number].members
    assert len(study.results) == 12


def test_a_result_that_the_journal_keeps_damaged_is_told(open_study):
    folder, study, _ = open_study()
    begin(study, 2)
    folder.close()
    journal = folder.path / "study.journal"
    kept = journal.read_text(encoding="utf-8")
    assert '\\"ending\\"' in kept
    journal.write_text(kept.replace('\\"ending\\"', '\\"endin\\"'), encoding="utf-8")
    with pytest.raises(RunFolderError, match=r"study\.journal: what it keeps of trial 0 is damaged"):
        open_study(resume=True)


def test_a_trial_under_way_with_a_parameter_that_is_no_axis_is_told(open_study):
    folder, study, _ = open_study()
    begin(study, N)
    trial = folder.study.ask()
    trial.suggest_float("[lr", 0.0, 1.0)
    folder.close()
    _, again, _ = open_study(resume=True)
    with pytest.raises(RunFolderError, match=r"study\.journal: trial \d+ is damaged, the space has no \[lr"):
        again.search(Limits(5 * N))
