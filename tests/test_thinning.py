"""What a sampler is shown of a study: all of it while it is short, and later what it learns most from."""

from itertools import pairwise

import optuna
import pytest
from optuna.trial import TrialState, create_trial

from autofreeze.samplers import make_sampler
from autofreeze.space import SpaceSpec
from autofreeze.thinning import BEST_SHOWN, FlatSampler, shown, thinned

SPACE = SpaceSpec.load("quick").resolve(("stem", "a", "b", "head"), 6)
MAXIMIZE = optuna.study.StudyDirection.MAXIMIZE
OUTSIDE = {"baseline": "full", "in_space": False}


@pytest.fixture(autouse=True)
def _quiet():
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    yield
    optuna.logging.set_verbosity(before)


def played(make, n=30):
    """A study whose trials end in every way, and a first one without any axis; ``make(number)`` draws."""
    study = optuna.create_study(direction="maximize")
    study.enqueue_trial({}, user_attrs=OUTSIDE)
    for number in range(n):
        study.sampler = make(number)
        trial = study.ask()
        if number:
            SPACE.suggest(trial)
        value = trial.params.get("head_lr", 0.0) * (1 + trial.params.get("unfreeze_depth", 0))
        if number % 5 == 3:
            trial.report(value, 0)
            study.tell(trial, state=TrialState.PRUNED)
        elif number % 5 == 4:
            trial.set_constraint("stable", 1.0)
            study.tell(trial, state=TrialState.PRUNED)
        elif number % 11 == 10:
            study.tell(trial, state=TrialState.FAIL)
        else:
            study.tell(trial, value)
    return study


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_knowing_the_axes_draws_what_working_them_out_from_all_trials_does():
    def grouped(number):
        own = make_sampler("tpe", 0, number)._base._rng.rng.get_state()[1][0]
        return optuna.samplers.TPESampler(seed=int(own), multivariate=True, group=True)

    ours, theirs = played(lambda number: make_sampler("tpe", 0, number)), played(grouped)
    assert [one.params for one in ours.trials] == [one.params for one in theirs.trials]
    assert any("tpe:relative_params:0" in one.system_attrs for one in ours.trials)  # it did model them


def test_a_short_study_is_shown_as_it_is():
    study = played(lambda number: make_sampler("random", 0, number))
    finished = sum(one.state in (TrialState.COMPLETE, TrialState.PRUNED) for one in study.trials)
    assert shown(study, finished) is study
    assert shown(study, finished - 1) is not study


def finished(n, *, unstable=()):
    """Finished trials by number; the value is the number's remainder by 100."""
    blank = optuna.create_study(direction="maximize")
    for number in range(n):
        broken = number in unstable
        blank.add_trial(
            create_trial(
                state=TrialState.COMPLETE, value=float(number % 100),
                system_attrs={"constraints:stable": 1.0 if broken else 0.0},
            )
        )  # fmt: skip
    return blank.get_trials(deepcopy=False)


def test_the_best_stay_and_the_others_are_thinned_evenly():
    trials = finished(1000, unstable={99})
    kept = thinned(trials, MAXIMIZE, 125)
    ranked = sorted(set(range(1000)) - {99}, key=lambda number: -(number % 100))
    best = set(ranked[:BEST_SHOWN])
    assert len(kept) == 125
    assert best <= kept
    others = sorted(kept - best)
    assert max(after - before for before, after in pairwise(others)) <= 2 * 1000 / (125 - BEST_SHOWN)
    assert 99 not in best


def test_what_is_left_out_cannot_be_seen_and_all_else_is_the_study_s_own():
    study = optuna.create_study(direction="maximize")
    study.add_trials(finished(80))
    waiting = study.ask()
    part = shown(study, 40)
    seen = part.get_trials(deepcopy=False)
    assert len(seen) == 41
    assert waiting.number in {one.number for one in seen}
    assert part.direction is MAXIMIZE
    waiting.set_user_attr("note", "here")
    assert part._storage.get_trial(waiting._trial_id).user_attrs == {"note": "here"}
    assert len(part._storage.get_all_trials(part._study_id, states=(TrialState.RUNNING,))) == 1


def test_a_sampler_draws_by_what_it_is_shown():
    class Counting(optuna.samplers.RandomSampler):
        seen = 0

        def sample_relative(self, study, trial, search_space):
            type(self).seen = len(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)))
            return super().sample_relative(study, trial, search_space)

    study = optuna.create_study(direction="maximize", sampler=FlatSampler(Counting(), most=40))
    study.add_trials(finished(80))
    study.ask().suggest_float("x", 0, 1)
    assert Counting.seen == 40
