"""The pruner for other people's objectives: it waits for the unfreeze, and decides as a search does."""

import math

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import TrialState, create_trial

from autofreeze import MedianAfterUnfreezePruner
from autofreeze.errors import ConfigError
from autofreeze.job import EpochRecord
from autofreeze.pruning import MIN_PEERS, Unpromising, judge, judge_standing

EPOCHS = 6


@pytest.fixture(autouse=True)
def _quiet():
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    yield
    optuna.logging.set_verbosity(before)


def study_of(peers, direction="maximize", state=TrialState.COMPLETE):
    """A study of ended trials: (epochs before the unfreeze, values)."""
    study = optuna.create_study(direction=direction)
    for thaw, values in peers:
        study.add_trial(
            create_trial(
                state=state,
                value=values[-1] if state == TrialState.COMPLETE else None,
                intermediate_values=dict(enumerate(values)),
                user_attrs={} if thaw is None else {"unfreeze_epoch": thaw},
            )
        )
    return study


def pruned(study, pruner, thaw, values):
    """Whether a new trial of the study is pruned after these values."""
    study.pruner = pruner
    trial = study.ask()
    if thaw is not None:
        trial.set_user_attr("unfreeze_epoch", thaw)
    for epoch, value in enumerate(values):
        trial.report(value, epoch)
    decision = trial.should_prune()
    study.tell(trial, state=TrialState.FAIL)
    return decision


def record(thaw, epoch, value, n_val):
    return EpochRecord(
        epoch=epoch, epochs_done=epoch + 1, step=epoch + 1, train_loss=1, phase_start_loss=1, val_loss=1,
        value=value, predicted="", n_val=n_val, rates=(1,), grad_norms=(1,), grad_norms_max=(1,), work=1,
        seconds=1, epochs_since_unfreeze=epoch + 1 - thaw, last=epoch + 1 == EPOCHS,
    )  # fmt: skip


curves = st.tuples(st.integers(0, 4), st.lists(st.integers(1, 9), min_size=1, max_size=EPOCHS)).map(
    lambda drawn: (drawn[0], [number / 10 for number in drawn[1]])
)


@settings(max_examples=150, deadline=None)
@given(st.lists(curves, min_size=MIN_PEERS, max_size=9), curves, st.sampled_from([20, 10**9]))
def test_it_decides_as_a_search_does_on_the_same_curves(peers, own, n_val):
    def records(curve):
        return [record(curve[0], epoch, value, n_val) for epoch, value in enumerate(curve[1])]

    decision = judge(records(own)[-1], [records(peer) for peer in peers], epochs=EPOCHS)
    pruner = MedianAfterUnfreezePruner(EPOCHS, n_val=n_val)
    assert pruned(study_of(peers), pruner, *own) == isinstance(decision, Unpromising)


GOOD = [(0, [0.5, 0.6, 0.7, 0.75, 0.78, 0.8])] * MIN_PEERS
"""Trials that start unfrozen."""


def test_a_long_warmup_is_left_alone_where_a_plain_median_would_prune_it():
    warming = (4, [0.3, 0.35, 0.36, 0.36])
    assert pruned(study_of(GOOD), optuna.pruners.MedianPruner(n_startup_trials=0), *warming)
    pruner = MedianAfterUnfreezePruner(EPOCHS)
    assert not pruned(study_of(GOOD), pruner, *warming)
    # An epoch after its unfreeze it is held to what the others had an epoch after theirs.
    assert not pruned(study_of(GOOD), pruner, 4, [*warming[1], 0.5])
    assert pruned(study_of(GOOD), pruner, 4, [*warming[1], 0.49])


def test_before_the_unfreeze_is_told_nothing_is_pruned_or_compared_with():
    pruner = MedianAfterUnfreezePruner(EPOCHS)
    assert pruned(study_of(GOOD), pruner, 0, [0.1] * 4)
    assert not pruned(study_of(GOOD), pruner, None, [0.1] * 4)
    silent = [*GOOD[1:], (None, GOOD[0][1])]
    assert not pruned(study_of(silent), pruner, 0, [0.1] * 4)


def test_the_unfreeze_may_be_a_function_of_the_trial():
    def of_function(trial):
        return trial.user_attrs["unfreeze_epoch"] - 2

    study = study_of([(2, values) for _, values in GOOD])
    assert pruned(study, MedianAfterUnfreezePruner(EPOCHS, unfreeze_epoch=of_function), 2, [0.1] * 3)
    assert not pruned(study, MedianAfterUnfreezePruner(EPOCHS), 2, [0.1] * 3)


def test_a_loss_is_pruned_when_it_is_higher():
    losses = [(thaw, [1 / value for value in values]) for thaw, values in GOOD]
    pruner = MedianAfterUnfreezePruner(EPOCHS)
    assert pruned(study_of(losses, "minimize"), pruner, 0, [3, 2, 2, 1 / 0.74])
    assert not pruned(study_of(losses, "minimize"), pruner, 0, [3, 2, 2, 1 / 0.76])


def test_a_value_that_is_not_finite_prunes_its_own_trial_and_no_other():
    pruner = MedianAfterUnfreezePruner(EPOCHS)
    for value in (math.nan, math.inf, -math.inf):
        assert pruned(study_of(GOOD), pruner, 4, [0.5, value])
        broken = [*GOOD, (0, [0.5, 0.6, value])]
        assert not pruned(study_of(broken, state=TrialState.PRUNED), pruner, 0, [0.4, 0.5, 0.7])


def test_the_end_of_a_run_is_not_pruned_and_nothing_is_without_a_value():
    pruner = MedianAfterUnfreezePruner(EPOCHS)
    assert pruned(study_of(GOOD), pruner, 0, [0.1] * 5)
    assert not pruned(study_of(GOOD), pruner, 0, [0.1] * 6)
    assert not pruned(study_of(GOOD), pruner, 0, [])


# Folds


def on_folds(*ends):
    """Values of a trial that starts unfrozen: the same on the way, and these at the ends of its folds."""
    return 0, [value for end in ends for value in [*[0.5] * (EPOCHS - 1), end]]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=9),
    st.tuples(st.integers(0, 9), st.integers(0, 9)),
    st.integers(1, 2),
)
def test_between_folds_it_decides_as_a_search_does(peers, own, folds):
    standings = [(sum(ends[:folds]) / folds, 0.0) for ends in [own, *peers]]
    decision = judge_standing(standings[0], standings[1:], folds=folds)
    pruner = MedianAfterUnfreezePruner(EPOCHS, folds=3)
    study = study_of([on_folds(*ends) for ends in peers])
    assert pruned(study, pruner, *on_folds(*own[:folds])) == isinstance(decision, Unpromising)


def test_on_later_folds_nothing_is_pruned_on_the_way_and_nothing_at_the_end_of_the_last():
    pruner = MedianAfterUnfreezePruner(EPOCHS, folds=2)
    study = study_of([(0, [*values, *values]) for _, values in GOOD])
    assert pruned(study, pruner, 0, [0.1] * 4)
    assert not pruned(study, pruner, 0, [*GOOD[0][1][:-1], 0.79, *[0.1] * 4])
    assert pruned(study, pruner, 0, [*GOOD[0][1][:-1], 0.79])
    assert not pruned(study, pruner, 0, [*GOOD[0][1], *[0.1] * EPOCHS])


def test_a_later_fold_is_no_later_epoch():
    # Peers that thaw after 4 of 6 epochs are never 5 epochs past their thaw, whatever folds they had.
    late = [(4, [0.9] * 2 * EPOCHS)] * MIN_PEERS
    assert not pruned(study_of(late), MedianAfterUnfreezePruner(EPOCHS, folds=2), 0, [0.1] * 5)


def test_a_long_warmup_that_ends_well_goes_on_to_the_next_fold_however_it_began():
    pruner = MedianAfterUnfreezePruner(EPOCHS, folds=2)
    study = study_of([(0, [*values, *values]) for _, values in GOOD])
    assert not pruned(study, pruner, 5, [0.1] * 5 + [0.8])


def test_what_it_cannot_work_with_is_refused():
    with pytest.raises(ConfigError) as caught:
        MedianAfterUnfreezePruner(0, folds=0, n_val=0)
    assert caught.value.problems == (
        "epochs: got 0; must be above zero and finite",
        "folds: got 0; must be at least 1",
        "n_val: got 0; must be at least 1, or None",
    )
