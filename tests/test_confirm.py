"""Confirmation: who runs on which fresh seeds, what is kept, and what is concluded."""

import json
import re

import numpy as np
import pytest
from placed import PLACES, PlacedExecutor

from autofreeze.confirm import Confirming
from autofreeze.errors import ConfigError
from autofreeze.executors.local import LocalExecutor
from autofreeze.finalists import Finalist
from autofreeze.imagescoring import FreshImageScoring
from autofreeze.looks import Scored, take_look
from autofreeze.metrics import pack_classes, score
from autofreeze.records import entries, read_fresh_records, read_records
from autofreeze.results import Ending, TrialResult
from autofreeze.run import RunFolder
from autofreeze.searchoptions import SearchOptions
from autofreeze.splits import scoring_splits

LABELS = np.arange(400) % 4
SHAPES = {
    0: {"unfreeze_depth": 0},
    1: {"rates": "one", "backbone_ratio": 1.0},
    2: {"warmup_epochs": 1.0},
    3: {"rates": "one", "backbone_ratio": 0.5},
}
"""Trial -> its schedule: 0 and 2 freeze first."""


class Runner:
    """Made-up runs: a trial is right on an image with its own chance; some images are hard for all."""

    def __init__(self, made_up, skill, *, broken=(), labels=LABELS):
        self.made_up, self.skill, self.broken, self.labels = made_up, skill, dict(broken), labels
        self.jobs = []

    def split_of(self, job):
        return scoring_splits(
            self.labels, np.arange(len(self.labels)), np.zeros(0, int), seed=job.seed, folds=1
        )[0]

    def __call__(self, job):
        self.jobs.append(job)
        if self.broken.get(job.trial) == job.fresh:
            yield self.made_up.diverged(job)
            return
        for record in self.made_up.curve(job):
            yield record.model_copy(update=self.scored(job))

    def scored(self, job):
        val = self.split_of(job).val
        own = np.random.default_rng([job.seed, job.trial])
        hard = np.random.default_rng(1).random(len(self.labels))[val]
        right = 0.7 * hard + 0.3 * own.random(len(val)) < self.skill[job.trial]
        labels = self.labels[val]
        predicted = np.where(right, labels, (labels + 1) % 4)
        value = score("top1", labels, predicted, 1 - right.mean())
        return {"predicted": pack_classes(predicted), "n_val": len(val), "value": value, "train_top1": 0.99}


def finalist(made_up, number, *, finalist=True, **fields):
    job = made_up.job(number, **SHAPES[number])
    shape = {"schedule": job.schedule, "regime": job.regime}
    trial = TrialResult(number=number, recipe="x", ending=Ending.COMPLETE, value=0.5, **shape, **fields)
    return Finalist(trial=trial, finalist=finalist)


@pytest.fixture
def begin(tmp_path, made_up):
    """``begin(runner, planned)``: a confirmation of trials 0..3 in one run folder."""
    folders = []

    def make(
        runner, planned=12, *, resume=False, who=(0, 1, 2, 3), delta=0.01, executor=None, **fields
    ):  # fmt: skip
        folder = RunFolder(tmp_path / "run", {}, resume=resume)
        folders.append(folder)
        return Confirming(
            folder, executor or LocalExecutor(runner),
            [finalist(made_up, number, **fields) for number in who],
            scoring=FreshImageScoring("top1", runner.labels, runner.split_of, n_classes=4), seed=0,
            planned=planned, delta=delta,
        )  # fmt: skip

    yield make
    for folder in folders:
        folder.close()


EQUAL = dict.fromkeys(range(4), 0.8)
CLEAR = {0: 0.9, 1: 0.5, 2: 0.55, 3: 0.3}


def test_candidates_share_their_seeds_and_a_seed_decides_order_head_and_split(begin, made_up):
    runner = Runner(made_up, EQUAL)
    begin(runner, 6).confirm()
    seeds = {trial: [job.seed for job in runner.jobs if job.trial == trial] for trial in range(4)}
    assert seeds[0] == seeds[1] == seeds[2] == seeds[3]
    assert len(set(seeds[0])) == 6
    parts = [tuple(runner.split_of(job).val) for job in runner.jobs if job.trial == 0]
    assert len(set(parts)) == 6


def test_six_seeds_are_one_look(begin, made_up):
    found = begin(Runner(made_up, EQUAL), 6).confirm()
    assert (found.seeds, found.choice_seeds, found.estimate_seeds) == (6, 6, (0, 6))
    assert len(found.comparisons) == 3


def test_with_more_seeds_the_choice_rests_on_the_first_and_the_figures_on_the_later_ones(begin, made_up):
    runner = Runner(made_up, EQUAL)
    found = begin(runner, 12).confirm()
    assert (found.choice_seeds, found.estimate_seeds) == (6, (6, 12))
    winner = found.winner
    rest = [
        runner.scored(job)["value"] for job in runner.jobs if job.trial == found.chosen and job.fresh >= 6
    ]
    assert winner.mean == pytest.approx(np.mean(rest))
    assert {one.seeds for one in found.comparisons} == {(6, 12)}


def test_what_is_clearly_behind_runs_no_further_but_the_best_of_each_arm_does(begin, made_up):
    runner = Runner(made_up, CLEAR)
    found = begin(runner, 12).confirm()
    runs = {trial: sum(job.trial == trial for job in runner.jobs) for trial in range(4)}
    assert runs == {0: 12, 1: 12, 2: 6, 3: 6}  # 1 is the best of those that train at once
    assert found.chosen == 0
    assert found.candidate(3).dropped_at == 6
    assert "behind trial 0" in found.candidate(3).reason
    assert {one.decision for one in found.comparisons} == {"better"}


def test_all_decided_at_the_second_look_ends_it(begin, made_up):
    runner = Runner(made_up, CLEAR)
    found = begin(runner, 24).confirm()
    assert found.seeds == 12
    assert max(job.fresh for job in runner.jobs) == 11


def test_an_open_question_goes_on_to_24_seeds(begin, made_up):
    found = begin(Runner(made_up, {0: 0.8, 1: 0.79, 2: 0.8, 3: 0.8}), 24, delta=1e-6).confirm()
    assert found.seeds == 24
    assert found.estimate_seeds == (12, 24)


def test_a_schedule_that_breaks_off_on_a_fresh_seed_cannot_win_and_is_no_score(begin, made_up):
    runner = Runner(made_up, CLEAR, broken={0: 3})
    found = begin(runner, 6).confirm()
    assert found.chosen != 0
    assert "non-finite loss" in found.candidate(0).reason
    assert found.candidate(0).dropped_at is None
    assert 0 not in {one.against for one in found.comparisons}
    assert max(job.fresh for job in runner.jobs if job.trial == 0) == 3


def test_a_failed_run_leaves_its_schedule_behind_and_the_others_go_on(begin, made_up):
    class Failing(Runner):
        def __call__(self, job):
            if job.trial == 1 and job.fresh == 2:
                raise RuntimeError("out of memory")
            yield from super().__call__(job)

    found = begin(Failing(made_up, EQUAL), 6).confirm()
    assert "out of memory" in found.candidate(1).reason
    assert found.chosen in (0, 2, 3)
    assert len(found.candidate(0).values) == 6


def test_when_everything_breaks_off_nobody_is_chosen(begin, made_up):
    found = begin(Runner(made_up, EQUAL, broken=dict.fromkeys(range(4), 0)), 6).confirm()
    assert found.chosen is None
    assert all(one.reason for one in found.candidates)


def test_what_was_run_before_is_not_run_again(begin, made_up):
    first = begin(Runner(made_up, EQUAL), 6)
    before = first.confirm()
    first._run.close()
    again = Runner(made_up, EQUAL)
    after = begin(again, 6, resume=True).confirm()
    assert again.jobs == []
    assert after.model_copy(update={"seconds": 0.0}) == before.model_copy(update={"seconds": 0.0})


def test_cut_before_the_first_look_nothing_is_chosen_and_going_on_comes_to_the_same(begin, made_up):
    runner, turns = Runner(made_up, EQUAL), iter(range(10**6))
    first = begin(runner, 6)
    cut = first.confirm(should_stop=lambda: "interrupted" if next(turns) > 30 else "")
    assert (cut.cut_short, cut.chosen, cut.comparisons) == ("interrupted", None, ())
    first._run.close()
    rest = Runner(made_up, EQUAL)
    went_on = begin(rest, 6, resume=True)
    found = went_on.confirm()
    went_on._run.close()
    assert 0 < len(rest.jobs) < 24
    (went_on._run.path / "records.jsonl").unlink()
    unbroken = begin(Runner(made_up, EQUAL), 6, resume=True).confirm()
    assert found.comparisons == unbroken.comparisons
    assert found.chosen == unbroken.chosen


def test_cut_between_two_looks_it_ends_with_the_first(begin, made_up):
    runner = Runner(made_up, EQUAL)
    found = begin(runner, 12).confirm(
        should_stop=lambda: "out of time" if any(job.fresh == 6 for job in runner.jobs) else ""
    )
    assert found.cut_short == "out of time"
    assert (found.choice_seeds, found.estimate_seeds) == (6, (0, 6))
    assert found.chosen is not None


def test_records_of_a_confirmation_do_not_mix_with_those_of_the_search(begin, made_up):
    confirming = begin(Runner(made_up, EQUAL), 6)
    confirming.confirm()
    assert read_records(confirming._run.path) == {}
    assert len(read_fresh_records(confirming._run.path)) == 24
    first = json.loads((confirming._run.path / "records.jsonl").read_text().splitlines()[0])
    assert first["fresh"] == 0


def test_records_keep_when_and_where_they_were_trained(begin, made_up):
    runner = Runner(made_up, CLEAR)
    executor = PlacedExecutor(lambda job: list(runner(job)))
    confirming = begin(runner, 6, executor=executor)
    confirming.confirm()
    found = list(entries(confirming._run.path))
    assert {one.where for one in found} == set(PLACES)
    assert 0 < max(one.at for one in found) <= round(executor.clock, 3)


def test_a_schedule_that_may_not_be_afforded_is_compared_with_and_cannot_win(begin, made_up):
    runner = Runner(made_up, CLEAR)
    found = begin(runner, 6, who=(0,), affordable=False)
    assert found.confirm().chosen is None


def test_the_test_split_is_read_by_the_winner_and_the_baselines_by_models_of_the_estimate(begin, made_up):
    confirming = begin(Runner(made_up, EQUAL), 12)
    found = confirming.confirm()
    jobs = confirming.test_jobs(found)
    assert set(jobs) == {found.chosen}
    assert [job.fresh for job in jobs[found.chosen]] == [6, 7, 8]
    confirming._run.close()
    baselines = begin(Runner(made_up, EQUAL), 12, resume=True, baseline="full")
    assert set(baselines.test_jobs(baselines.confirm())) == {0, 1, 2, 3}


@pytest.mark.parametrize("seeds", [2, 1, -6, 5, 7, 48])
def test_a_number_of_seeds_without_a_look_is_refused_with_the_way_out(seeds):
    with pytest.raises(ConfigError, match=r"must be 0 .*6, 12 or 24"):
        SearchOptions(confirm=seeds).decided()


def test_wrong_options_are_told_together():
    with pytest.raises(ConfigError) as caught:
        SearchOptions(confirm=2, delta=0, max_cost=-1, tune_baselines=("ful",)).decided()
    text = str(caught.value)
    assert all(word in text for word in ("confirm: got 2", "delta: got 0", "max-cost: got -1"))
    assert "did you mean full?" in text


def test_a_broken_schedule_stays_out_of_later_looks(begin, made_up):
    found = begin(Runner(made_up, EQUAL, broken={1: 2}), 24, delta=1e-6).confirm()
    assert found.seeds == 24
    assert 1 not in {one.against for one in found.comparisons}
    assert found.candidate(1).mean is None


def test_what_broke_off_before_a_kill_stays_out_after_it(begin, made_up):
    runner, turns = Runner(made_up, CLEAR, broken={0: 1}), iter(range(10**6))
    first = begin(runner, 6)
    first.confirm(should_stop=lambda: "interrupted" if next(turns) > 30 else "")
    assert any(job.trial == 0 and job.fresh == 1 for job in runner.jobs)
    first._run.close()
    rest = Runner(made_up, CLEAR)  # and would not break off again
    found = begin(rest, 6, resume=True).confirm()
    assert not [job for job in rest.jobs if job.trial == 0]
    assert found.chosen != 0
    assert "broke off on fresh seed 1" in found.candidate(0).reason


@pytest.mark.parametrize("unit", ["points", "nats"])
def test_why_somebody_is_left_behind_is_told_in_the_metrics_unit(unit):
    rng = np.random.default_rng(0)
    merits = {0: 0.9 + 0.01 * rng.random((6, 200)), 1: 0.4 + 0.01 * rng.random((6, 200))}
    look = take_look(
        [Scored(trial, "at_once", scores) for trial, scores in merits.items()],
        seeds=6, planned=12, delta=0.01, overlap=0.25, unit=unit,
    )  # fmt: skip
    assert re.search(r"by (50\.\d|0\.50\d|0\.49\d|49\.\d) " + unit, look.dropped[1])
