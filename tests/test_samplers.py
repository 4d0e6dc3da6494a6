"""Samplers that are rebuilt for each trial draw what the unbroken search would have drawn."""

import shutil
import warnings

import optuna
import pytest

from autofreeze.samplers import SAMPLERS, make_sampler
from autofreeze.space import SpaceSpec

SPACE = SpaceSpec.load("quick").resolve(("stem", "a", "b", "head"), 6)
FAST = [name for name in SAMPLERS if name != "gp"]  # the Gaussian process needs torch


@pytest.fixture(autouse=True)
def _quiet():
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    yield
    optuna.logging.set_verbosity(before)


def go_on(study: optuna.Study, name: str, seed: int, until: int) -> optuna.Study:
    """Ask and tell up to a number of trials, with a made-up value that hangs on the draws alone."""
    for number in range(len(study.trials), until):
        study.sampler = make_sampler(name, seed, number)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            trial = study.ask()
            SPACE.suggest(trial)
        study.tell(trial, trial.params["head_lr"] * trial.params["unfreeze_depth"])
    return study


def draws(study: optuna.Study) -> list[dict]:
    return [trial.params for trial in study.trials]


def journal(path) -> optuna.storages.JournalStorage:
    return optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(path)))


@pytest.mark.parametrize("name", FAST)
def test_a_search_that_was_broken_off_draws_the_same(name, tmp_path):
    unbroken = go_on(optuna.create_study(direction="maximize"), name, 3, 16)
    first = optuna.create_study(study_name="s", direction="maximize", storage=journal(tmp_path / "a"))
    go_on(first, name, 3, 12)
    shutil.copy(tmp_path / "a", tmp_path / "b")
    resumed = go_on(optuna.load_study(study_name="s", storage=journal(tmp_path / "b")), name, 3, 16)
    assert draws(resumed) == draws(unbroken)


@pytest.mark.parametrize("name", FAST)
def test_seeds_and_trials_draw_differently(name):
    studies = [draws(go_on(optuna.create_study(), name, seed, 6)) for seed in (0, 1)]
    assert len({params["head_lr"] for drawn in studies for params in drawn}) == 12


def test_a_point_of_the_sequence_is_drawn_again_for_the_trial_that_a_kill_left_and_none_is_passed_over():
    whole = go_on(optuna.create_study(direction="maximize"), "qmc", 1, 9)
    study = go_on(optuna.create_study(direction="maximize"), "qmc", 1, 5)
    study.sampler = make_sampler("qmc", 1, 5)
    assert study.ask().relative_params  # drawn, and killed before any was kept
    for _ in range(2):
        study.sampler = make_sampler("qmc", 1, 5)
        trial = optuna.Trial(study, study.trials[5]._trial_id)
        SPACE.suggest(trial)
    study.tell(trial, trial.params["head_lr"] * trial.params["unfreeze_depth"])
    assert draws(go_on(study, "qmc", 1, 9)) == draws(whole)


def test_the_sequence_is_that_of_optuna_and_goes_on_where_its_own_sampler_came_to():
    whole = go_on(optuna.create_study(direction="maximize"), "qmc", 1, 9)
    study = optuna.create_study(direction="maximize")
    own = make_sampler("qmc", 1, 0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study.sampler = optuna.samplers.QMCSampler(
            scramble=True, seed=own._seed, independent_sampler=own._independent_sampler
        )
        for _ in range(5):
            trial = study.ask()
            SPACE.suggest(trial)
            study.tell(trial, 0.5)
    assert draws(go_on(study, "qmc", 1, 9)) == draws(whole)
