"""Freezing first or at once: each arm has its third of the trials, whatever the sampler likes."""

import numpy as np
import optuna
import pytest

from autofreeze.arms import arm_wanted, arms_of
from autofreeze.confirmation import arm_of
from autofreeze.executors.local import LocalExecutor
from autofreeze.imagescoring import ImageScoring
from autofreeze.run import RunFolder
from autofreeze.space import SpaceSpec
from autofreeze.splits import Split
from autofreeze.study import Limits, Study

optuna.logging.set_verbosity(optuna.logging.ERROR)
GROUPS = ("stem", "layer1", "layer2", "head")
RATE = "head_lr: {low: 1.0e-4, high: 1.0e-2, log: true}\n"
BOTH = "warmup_epochs: {low: 0, high: 2}\nunfreeze_depth: {low: 0, high: all}\n" + RATE


def resolve(text, epochs=3.0):
    return SpaceSpec.from_text(text).resolve(GROUPS, epochs)


@pytest.fixture
def searched(tmp_path, made_up):
    """``searched(sampler, trials)``: the results of a search on made-up curves."""
    folders = []

    def search(sampler, trials, *, space=BOTH, skill=None, resume=False):
        folder = RunFolder(tmp_path / sampler, {}, resume=resume)
        folders.append(folder)

        def curve(job):
            return iter(made_up.curve(job, **({} if skill is None else {"skill": skill(job)})))

        labels, val = [0, 1] * 40, list(range(40))
        study = Study(
            folder, resolve(space), LocalExecutor(curve), seed=0, sampler=sampler,
            scoring=ImageScoring.of("top1", np.array(labels), [Split(list(range(40, 80)), val)]),
        )  # fmt: skip
        study.search(Limits(trials))
        folder.close()
        return study.results

    yield search
    for folder in folders:
        folder.close()


@pytest.mark.parametrize("sampler", ["tpe", "random", "qmc"])
def test_each_arm_has_a_third_of_the_trials_at_least(searched, sampler):
    results = searched(sampler, 21)
    arms = [arm_of(one.schedule) for one in results]
    for count in range(6, 22):
        assert min(arms[:count].count(arm) for arm in ("freeze_first", "at_once")) >= count // 3


def test_an_arm_keeps_its_third_though_the_other_is_much_better(searched):
    def skill(job):
        return 0.95 if arm_of(job.schedule) == "freeze_first" else 0.3

    arms = [arm_of(one.schedule) for one in searched("tpe", 30, skill=skill)]
    assert arms.count("at_once") >= 10
    assert arms.count("freeze_first") > 15  # and the sampler is free with the rest


def test_a_search_that_goes_on_keeps_the_shares(searched):
    searched("tpe", 9)
    arms = [arm_of(one.schedule) for one in searched("tpe", 24, resume=True)]
    assert len(arms) == 24
    assert min(arms.count(arm) for arm in ("freeze_first", "at_once")) >= 8


@pytest.mark.parametrize(
    ("text", "arms"),
    [
        (BOTH, ("freeze_first", "at_once")),
        ("warmup_epochs: 0\nunfreeze_depth: {low: 1, high: all}\n" + RATE, ("at_once",)),
        ("warmup_epochs: {low: 1, high: 2}\n" + RATE, ("freeze_first",)),
        ("warmup_epochs: [0, 1]\nunfreeze_depth: [1, 2]\n" + RATE, ("freeze_first", "at_once")),
        ("unfreeze_depth: 0\n" + RATE, ()),
    ],
)
def test_a_space_reaches_the_arms_that_its_axes_allow(text, arms):
    assert arms_of(resolve(text)) == arms


def test_a_space_with_one_arm_is_searched_as_it_is(searched):
    results = searched("random", 6, space="warmup_epochs: 0\n" + RATE)
    assert [one.baseline for one in results].count(None) == 5
    assert all(arm_of(one.schedule) == "at_once" for one in results if not one.baseline)


def test_the_arm_with_fewer_trials_is_wanted_first():
    assert arm_wanted({"freeze_first": 1, "at_once": 0}, 1) == "at_once"
    assert arm_wanted({"freeze_first": 1, "at_once": 1}, 2) is None
    assert arm_wanted({"freeze_first": 1, "at_once": 5}, 6) == "freeze_first"
