"""What a search did not have to compute, in forward-equivalents."""

import pytest

from autofreeze import api, recipes
from autofreeze.engine import Stage
from autofreeze.features import FeatureStores
from autofreeze.plan import Border, Pace
from autofreeze.regime import Regime
from autofreeze.results import Ending, MemberResult
from autofreeze.savings import savings_of, work_of_whole_run
from autofreeze.schedule import Phase, Schedule

SHARES = (0.4, 0.3, 0.2, 0.1)
N_TRAIN, N_VAL, FOLDS, EPOCHS, IMAGES = 96, 24, 4, 6, 120
HEAD_RUN = EPOCHS * (N_TRAIN * 1.2 + N_VAL)
FULL_RUN = EPOCHS * (N_TRAIN * 3 + N_VAL)
BELOW_HEAD = 0.9


@pytest.fixture
def saved(made_result):
    """``saved(trial, ...)``: what a search of these trials saved."""

    def save(*trials, **changed):
        return savings_of(result_of(made_result, trials, **changed))

    return save


def result_of(made_result, trials, **changed):
    given = {
        "data": {
            "name": "photos", "classes": ["a", "b"], "folds": [{"train": N_TRAIN, "val": N_VAL}] * FOLDS,
            "images": {"train": IMAGES, "val": 0, "test": 9},
        },
        "backbone": {"model": "some_net", "work_shares": list(SHARES)},
        "settings": {"task": {"data": "photos"}},
    }  # fmt: skip
    return made_result.result(trials=tuple(trials), **{**given, **changed})


def head_alone(made_result, number=0, **given):
    return made_result.trial(number, "linear_probe", **{"work": FOLDS * HEAD_RUN, "value": 0.8, **given})


def full(made_result, number=0, **given):
    return made_result.trial(number, "full", **{"work": FOLDS * FULL_RUN, "value": 0.8, **given})


# Trials that were ended early


def test_complete_trials_save_nothing_by_being_ended(saved, made_result):
    found = saved(full(made_result, 0), head_alone(made_result, 1))
    assert found.spent == pytest.approx(FOLDS * (FULL_RUN + HEAD_RUN))
    assert (found.by_unpromising, found.by_unstable, found.by_sharing) == (0, 0, 0)


def test_the_work_of_a_whole_run_is_the_same_wherever_a_trial_ended(made_result):
    early = full(made_result, 0, work=7.0, ending=Ending.UNPROMISING, value=None)
    assert work_of_whole_run(result_of(made_result, [early]), early) == pytest.approx(FULL_RUN)
    assert work_of_whole_run(result_of(made_result, [early], backbone={"model": "some_net"}), early) is None


def test_a_pruned_trial_saves_the_rest_of_all_its_folds_by_why_it_was_pruned(saved, made_result):
    unpromising = {"ending": Ending.UNPROMISING, "value": None}
    found = saved(
        full(made_result, 0, work=FULL_RUN / 2, **unpromising),
        head_alone(made_result, 1, work=2 * HEAD_RUN, **unpromising),
        full(made_result, 2, work=100.0, ending=Ending.UNSTABLE, value=None),
        full(made_result, 3, work=300.0, ending=Ending.FAILED, value=None),
        full(made_result, 4, work=100.0, ending=Ending.UNFINISHED, value=None),
        full(made_result, 5, work=0.0, ending=Ending.TOO_DEAR, value=None),
    )
    assert found.by_unpromising == pytest.approx(3.5 * FULL_RUN + 2 * HEAD_RUN)
    assert found.by_unstable == pytest.approx(4 * FULL_RUN - 100)


def test_a_pruned_sweep_saves_the_rest_of_all_its_heads(saved, made_result):
    heads = tuple(MemberResult(params={"head_lr": rate}, settings=f"{rate}") for rate in (1, 2, 3, 4))
    epoch = N_TRAIN * (0.9 + 4 * 0.1 * 3) + N_VAL * (0.9 + 4 * 0.1)
    pruned = head_alone(
        made_result, members=heads, member=0, value=None, ending=Ending.UNPROMISING, work=EPOCHS * epoch
    )
    found = saved(pruned)
    assert found.by_unpromising == pytest.approx((FOLDS - 1) * EPOCHS * epoch)
    passed = EPOCHS * (N_TRAIN + N_VAL) * BELOW_HEAD
    assert found.by_stores == pytest.approx(passed - 2 * IMAGES * BELOW_HEAD)


def test_what_equal_trials_took_over_is_the_work_of_the_one_that_ran(saved, made_result):
    found = saved(
        full(made_result, 0),
        full(made_result, 1, same_as=0, work=0.0),
        full(made_result, 2, same_as=0, work=0.0, ending=Ending.UNPROMISING, value=None),
    )
    assert found.by_sharing == pytest.approx(2 * FOLDS * FULL_RUN)
    assert found.by_unpromising == 0
    assert found.spent == pytest.approx(FOLDS * FULL_RUN)


# Stores


def test_a_head_alone_needs_what_lies_below_it_once_for_each_view(saved, made_result):
    passed = FOLDS * EPOCHS * (N_TRAIN + N_VAL) * BELOW_HEAD
    for views, kinds in (("none", 1), ("flip", 2), ("bank:3", 4)):
        trial = head_alone(made_result).model_copy(update={"regime": Regime(views=views)})
        assert saved(trial).by_stores == pytest.approx(passed - kinds * IMAGES * BELOW_HEAD)


def test_what_trains_is_never_stored(saved, made_result):
    assert saved(full(made_result)).by_stores == 0


def test_views_that_never_repeat_leave_validation_alone(saved, made_result):
    trial = head_alone(made_result).model_copy(update={"regime": Regime(views="online")})
    passed = FOLDS * EPOCHS * N_VAL * BELOW_HEAD
    assert saved(trial).by_stores == pytest.approx(passed - IMAGES * BELOW_HEAD)


def test_after_a_thaw_the_border_lies_lower_and_never_rises_again(saved, made_result):
    groups = made_result.groups
    schedule = recipes.gradual(groups, EPOCHS, head_lr=1e-3, warmup_epochs=2, unfreeze_depth=1)
    half = made_result.trial(0, "", 0.8, schedule=schedule, work=FOLDS * EPOCHS * 1000.0)
    work = 2 * (N_TRAIN * 1.2 + N_VAL) + 4 * (N_TRAIN * 1.6 + N_VAL)
    images = N_TRAIN + N_VAL
    passed = FOLDS * images * (2 * 0.9 + 4 * 0.7)
    filled = 2 * IMAGES * (0.9 + 0.7)
    thawed = half.model_copy(update={"work": FOLDS * work})
    assert saved(thawed).by_stores == pytest.approx(passed - filled)
    rows = ((2, (None, None, None, 1e-3)), (1, (1e-3, None, None, None)), (3, (None, None, None, 1e-3)))
    again = Schedule(groups=groups, phases=tuple(Phase(epochs=epochs, lrs=lrs) for epochs, lrs in rows))
    work = 5 * (N_TRAIN * 1.2 + N_VAL) + N_TRAIN * 3 + N_VAL
    refrozen = made_result.trial(0, "", 0.8, schedule=again, work=FOLDS * work)
    assert saved(refrozen).by_stores == pytest.approx(FOLDS * images * 2 * 0.9 - 2 * IMAGES * 0.9)


def test_trials_with_one_border_fill_it_once(saved, made_result):
    passed = FOLDS * EPOCHS * (N_TRAIN + N_VAL) * BELOW_HEAD
    found = saved(*(head_alone(made_result, number) for number in range(3)))
    assert found.by_stores == pytest.approx(3 * passed - 2 * IMAGES * BELOW_HEAD)


def test_a_trial_counts_as_far_as_it_came(saved, made_result):
    passed = FOLDS * EPOCHS * (N_TRAIN + N_VAL) * BELOW_HEAD
    pruned = {"ending": Ending.UNPROMISING, "value": None}
    for part in (0.25, 0.5, 0.7):
        found = saved(head_alone(made_result, work=part * FOLDS * HEAD_RUN, **pruned))
        assert found.by_stores == pytest.approx(part * passed - 2 * IMAGES * BELOW_HEAD)


def test_filling_that_took_more_than_it_saved_counts_as_nothing_saved(saved, made_result):
    assert saved(head_alone(made_result, work=50.0, ending=Ending.UNSTABLE, value=None)).by_stores == 0


def test_without_a_cache_nothing_was_stored(saved, made_result):
    assert saved(head_alone(made_result), settings={"task": {"reuse": False}}).by_stores == 0


def test_where_something_could_not_be_stored_it_is_not_known_unless_the_plan_tells_what(
    made_result, monkeypatch
):
    trial, notes = head_alone(made_result), ("some_net runs whole in every step, frozen layers too: why",)
    result = result_of(made_result, [trial], engine=notes)
    assert savings_of(result).by_stores is None
    assert savings_of(result).by_unpromising == 0
    borders = [Border(name=name, prefix=0, step=0, val=0) for name in made_result.groups]
    for field, known in (("refusal", 0.0), ("unstored", 0.0), ("name", None)):
        said = borders[3].model_copy(update={field: "so"})
        pace = Pace(borders=(*borders[:3], said))
        found = savings_of(result.model_copy(update={"plan": plan_of(pace)}))
        whole = savings_of(result_of(made_result, [trial])).by_stores
        assert found.by_stores == pytest.approx(whole if known is None else known)


def plan_of(pace):
    from autofreeze.plan import Plan, Range, Times

    nothing = Range(low=0, middle=0, high=0)
    times = Times(search=nothing, whole=nothing)
    return Plan(
        pace=pace, n_train=N_TRAIN, n_val=N_VAL, folds=FOLDS, epochs=EPOCHS, trials=1, baselines={}, draw=0,
        stored=times, anew=times, work_shares=SHARES,
    )  # fmt: skip


# What is not known


def test_a_report_that_does_not_tell_folds_or_shares_tells_only_what_it_can(saved, made_result):
    trials = full(made_result, 0), full(made_result, 1, work=9.0, ending=Ending.UNPROMISING, value=None)
    for lacking in ({"data": {"name": "photos"}}, {"backbone": {"model": "some_net"}}):
        found = saved(*trials, **lacking)
        assert (found.by_unpromising, found.by_unstable, found.by_stores) == (None, None, None)
        assert found.spent == pytest.approx(FOLDS * FULL_RUN + 9)


def test_a_training_of_ones_own_is_counted_in_passes_and_keeps_its_own_stores(saved, made_result):
    given = {
        "kind": "own", "direction": "minimize", "metric": "rmse", "data": {"name": "mine", "n_folds": 2},
        "settings": {},
    }  # fmt: skip
    pruned = full(made_result, work=9.0, ending=Ending.UNPROMISING, value=None)
    found = saved(pruned, **given)
    assert found.by_unpromising == pytest.approx(2 * EPOCHS * 3 - 9)
    assert found.by_stores is None


def test_of_no_trial_there_is_nothing_to_save(saved):
    found = saved()
    assert (found.spent, found.by_unpromising, found.by_unstable, found.by_sharing) == (0, 0, 0, 0)


# Against what really runs


def test_it_is_what_the_engine_really_did_not_compute(class_folders, tmp_path, monkeypatch):
    asked, computed = [], []
    rows, compute = Stage.rows, Stage._compute

    def below(stage):
        return sum(stage._engine.backbone.groups.work_shares[: stage.boundary])

    def counted_rows(self, ids, numbers):
        asked.append(len(ids) * below(self))
        return rows(self, ids, numbers)

    def counted_compute(self, ids, numbers):
        computed.append(len(ids) * below(self))
        return compute(self, ids, numbers)

    monkeypatch.setattr(Stage, "rows", counted_rows)
    monkeypatch.setattr(Stage, "_compute", counted_compute)
    monkeypatch.setattr(Stage, "seconds", lambda *_: 1.0)  # else some images are passed to measure it
    monkeypatch.setattr(FeatureStores, "_not_worth_it", lambda *_: None)
    result = api.search(
        class_folders, model="test_resnet", from_scratch=True, image_size=32, device="cpu", epochs=4,
        trials=4, space="quick", folds=2, confirm=0, out=tmp_path / "run",
        cache_folder=str(tmp_path / "cache"),
    )  # fmt: skip
    assert result.engine == ()
    found = savings_of(result)
    assert found.by_stores > 0.05 * found.spent
    # Features are also asked for to see how far they have moved, which counts as no work.
    assert found.by_stores == pytest.approx(sum(asked) - sum(computed), rel=0.05)
    for trial in result.trials:
        alone = savings_of(result.model_copy(update={"trials": (trial,)}))
        assert trial.ending is Ending.COMPLETE
        assert alone.by_unpromising == 0
        ended = trial.model_copy(update={"ending": Ending.UNPROMISING})
        assert savings_of(result.model_copy(update={"trials": (ended,)})).by_unpromising <= 0.01 * trial.work
