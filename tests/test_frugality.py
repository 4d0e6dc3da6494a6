"""Choosing among several draws by what they promise for their work."""

from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution

from autofreeze.errors import ConfigError
from autofreeze.executors.local import LocalExecutor
from autofreeze.frugality import Frugality, FrugalSampler
from autofreeze.gains import FEWEST, Observed, expected_gains
from autofreeze.imagescoring import ImageScoring
from autofreeze.recipes import gradual, linear_probe
from autofreeze.regime import Regime
from autofreeze.results import Ending, TrialResult
from autofreeze.run import RunFolder
from autofreeze.schedule import Schedule
from autofreeze.searchoptions import SearchOptions
from autofreeze.space import Space, SpaceSpec
from autofreeze.splits import Split
from autofreeze.study import Limits, Study

GROUPS = ("stem", "layer1", "layer2", "head")
EPOCHS = 6.0


def deep(ratio: float, *, head_lr: float = 1e-3) -> Schedule:
    """Train everything from the start, the backbone at a share of the head's rate."""
    return gradual(
        GROUPS, EPOCHS, head_lr=head_lr, backbone_ratio=ratio, unfreeze_depth=3, warmup_epochs=0,
        unfreeze_every=0, rates="one", freeze_stem=False,
    )  # fmt: skip


def hill(ratio: float) -> float:
    """Give a value that is best at a ratio of .1."""
    return 0.9 - 0.1 * (np.log10(ratio) + 1) ** 2


SEEN = [Observed(deep(ratio), (hill(ratio),) * 3) for ratio in (0.001, 0.003, 0.01, 0.03, 0.3, 1.0)]


def test_more_is_expected_where_like_schedules_were_good() -> None:
    """The hill lies between two that were seen; far from it little is expected."""
    top, foot = expected_gains(SEEN, [deep(0.1), deep(0.002)])
    assert top > 3 * foot


def test_too_few_trials_promise_nothing_in_particular() -> None:
    """No schedule is preferred before there is anything to go by."""
    gains = expected_gains(SEEN[: FEWEST - 1], [deep(0.1), deep(0.002)])
    assert gains[0] == gains[1]


def test_a_value_of_one_fold_is_trusted_less_than_one_of_five() -> None:
    """A lucky fold alone does not make a neighbourhood promising."""
    lucky = 0.99

    def gain(folds: int) -> float:
        seen = [*SEEN, Observed(deep(0.002), (lucky,) * folds, examples=20)]
        seen = [Observed(one.schedule, one.fold_values, 20) for one in seen]
        return float(expected_gains(seen, [deep(0.0019)])[0])

    assert gain(5) > gain(1)


def test_a_fold_that_is_easier_makes_nobody_better() -> None:
    """A trial that was cut after an easy fold has a higher mean than those that ran all, and is no better."""
    easy = np.array([0.2, -0.1, -0.1])
    seen = [Observed(deep(ratio), tuple(hill(ratio) + easy)) for ratio in (0.001, 0.03, 0.1, 0.3, 1.0)]
    cut = Observed(deep(0.01), (hill(0.01) + easy[0],))
    assert cut.fold_values[0] > max(np.mean(one.fold_values) for one in seen)
    top, mediocre = expected_gains([*seen, cut], [deep(0.12), deep(0.009)])
    assert top > mediocre


def test_an_unstable_trial_warns_of_its_neighbours() -> None:
    """It has no value; it counts as the worst that was seen, not as unknown."""
    before = expected_gains(SEEN, [deep(0.48)])[0]
    assert expected_gains([*SEEN, Observed(deep(0.5), ())], [deep(0.48)])[0] < 0.1 * before


AXES: dict[str, BaseDistribution] = {
    "unfreeze_depth": IntDistribution(0, 3),
    "backbone_ratio": FloatDistribution(1e-3, 1.0, log=True),
}


class _Draws(optuna.samplers.RandomSampler):
    """Gives the points of a list, one at each draw."""

    def __init__(self, points: list[dict[str, object]]) -> None:
        super().__init__(seed=0)
        self._left = list(points)

    def sample_relative(self, *_: object) -> dict[str, object]:  # type: ignore[override]
        return self._left.pop(0)


@pytest.fixture
def space() -> Space:
    """Give a space of one axis: how the backbone's rate compares with the head's."""
    text = """
        warmup_epochs: 0
        unfreeze_depth: {low: 0, high: all}
        unfreeze_every: 0
        freeze_stem: false
        rates: one
        head_lr: 1.0e-3
        backbone_ratio: {low: 1.0e-3, high: 1.0, log: true}
    """
    return SpaceSpec.from_text(text).resolve(GROUPS, EPOCHS)


def chosen(space: Space, points: list[dict[str, object]], work: dict[int, float]) -> dict[str, object]:
    """Choose among points; a run takes work by its depth."""
    before = [
        TrialResult(
            number=number, recipe="", schedule=one.schedule, regime=Regime(), ending=Ending.COMPLETE,
            value=float(np.mean(one.fold_values)), fold_values=one.fold_values,
        )
        for number, one in enumerate(SEEN)
    ]  # fmt: skip
    how = Frugality(len(points), lambda schedule, _: work[schedule.unfreeze_depth])
    sampler = FrugalSampler(_Draws(points), space, how, before)
    trial = optuna.create_study().ask()
    return sampler.sample_relative(trial.study, trial._get_latest_trial(), AXES)


def test_the_promising_draw_is_run_and_of_equals_the_cheaper(space: Space) -> None:
    """Equal schedules promise the same, so that the work decides; else the promise does."""
    good, bad = {"unfreeze_depth": 3, "backbone_ratio": 0.1}, {"unfreeze_depth": 3, "backbone_ratio": 0.002}
    assert chosen(space, [bad, good], {3: 1.0}) == good
    assert chosen(space, [good, bad], {3: 1.0}) == good


def test_work_that_is_far_greater_is_not_paid_for_a_little_more_promise(space: Space) -> None:
    """Two depths whose promise is alike: the dearer one is left, whichever that is."""
    deep_one = {"unfreeze_depth": 3, "backbone_ratio": 0.1}
    shallower = {"unfreeze_depth": 2, "backbone_ratio": 0.1}
    assert chosen(space, [deep_one, shallower], {3: 1e9, 2: 1.0}) == shallower
    assert chosen(space, [shallower, deep_one], {3: 1.0, 2: 1e9}) == deep_one


def test_a_draw_that_leaves_axes_open_is_taken_as_it_is(space: Space) -> None:
    """The sampler's first trials are drawn one axis after the other: there is nothing to choose among."""
    assert chosen(space, [{}, {"unfreeze_depth": 3, "backbone_ratio": 0.1}], {3: 1.0}) == {}


def test_a_head_alone_is_described() -> None:
    """What never trains has no rate to take a logarithm of."""
    gains = expected_gains([*SEEN, Observed(linear_probe(GROUPS, EPOCHS, head_lr=1e-3), (0.8,))], [deep(0.1)])
    assert np.isfinite(gains).all()


def test_candidates_out_of_range_are_refused_with_the_way_out() -> None:
    """Both what is given and what is allowed are told."""
    with pytest.raises(ConfigError, match="candidates: got 0; must be 1"):
        SearchOptions(candidates=0).decided()
    with pytest.raises(ConfigError, match="candidates: got 4 with the sampler qmc; only tpe"):
        SearchOptions(candidates=4, sampler="qmc").decided()


SEARCHED = """
warmup_epochs: {low: 0, high: 2}
unfreeze_depth: {low: 0, high: all}
head_lr: {low: 1.0e-4, high: 1.0e-2, log: true}
backbone_ratio: {low: 1.0e-3, high: 1.0, log: true}
"""
TRIALS = 22
"""The sampler begins to model after ten that have ended."""


def searched(
    folder: Path, made_up: Any, candidates: int, *, stop_after: int = TRIALS, resume: bool = False
) -> Any:
    """Search on made-up curves of which the shallow ones are as good as the deep; gives the results."""
    folds = [Split(np.arange(40, 80), np.arange(40)), Split(np.arange(40), np.arange(40, 80))]
    with RunFolder(folder, {}, resume=resume) as run:
        study = Study(
            run, SpaceSpec.from_text(SEARCHED).resolve(GROUPS, 3.0),
            LocalExecutor(lambda job: iter(made_up.curve(job))),
            scoring=ImageScoring.of("top1", np.arange(80) % 2, folds), seed=0, sampler="tpe",
            run_work=lambda schedule, _: 1.0 + 50.0 * schedule.unfreeze_depth, candidates=candidates,
        )  # fmt: skip

        def enough() -> str:
            ended = sum(one.ending is not Ending.UNFINISHED for one in study.results)
            return "enough" if ended >= stop_after else ""

        study.search(Limits(TRIALS), enough)
        return study.results


def test_a_search_among_candidates_takes_less_work(tmp_path: Path, made_up: Any) -> None:
    """Skill is drawn by lot here, so that no depth is better than another, and the cheaper ones are run."""
    depths = {
        k: np.mean([one.schedule.unfreeze_depth for one in searched(tmp_path / str(k), made_up, k)[-10:]])
        for k in (1, 16)
    }
    assert depths[16] < depths[1]


def test_a_search_among_candidates_that_goes_on_draws_what_the_unbroken_one_does(
    tmp_path: Path, made_up: Any
) -> None:
    """Choosing hangs on nothing but the trials before."""
    whole = searched(tmp_path / "whole", made_up, 8)
    searched(tmp_path / "broken", made_up, 8, stop_after=15)
    broken = searched(tmp_path / "broken", made_up, 8, resume=True)
    assert [one.schedule for one in broken] == [one.schedule for one in whole]


def test_a_pruned_trial_keeps_what_its_folds_were_worth(tmp_path: Path, made_up: Any) -> None:
    """Choosing rests on it, and nothing else tells it."""
    pruned = [one for one in searched(tmp_path / "run", made_up, 1) if one.ending is Ending.UNPROMISING]
    assert pruned
    assert all(1 <= len(one.fold_values) <= 2 and one.value is None for one in pruned)
