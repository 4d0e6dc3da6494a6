"""What a search found."""

from autofreeze.regime import Regime
from autofreeze.results import Ending, StudyResult, TrialResult
from autofreeze.schedule import Schedule

SCHEDULE = Schedule.model_validate(
    {"groups": ["stem", "head"], "phases": [{"epochs": 1, "lrs": [None, 1e-3]}]}
)


def trial(number, value=None, val_loss=0.5, ending=Ending.COMPLETE, **changes) -> TrialResult:
    return TrialResult(
        number=number, recipe="linear_probe", schedule=SCHEDULE, regime=Regime(), ending=ending, value=value,
        val_loss=val_loss, **changes,
    )  # fmt: skip


def study(*trials) -> StudyResult:
    return StudyResult(data={}, backbone={}, settings={}, trials=trials, metric="top1", seconds=1.0)


def test_the_best_trial_has_the_highest_value_among_the_complete():
    pruned = [
        trial(n, 0.99, ending=ending) for n, ending in enumerate(Ending) if ending is not Ending.COMPLETE
    ]
    assert study(*pruned, trial(7, 0.8), trial(8, 0.9), trial(9, 0.7)).best.number == 8


def test_log_loss_breaks_ties_and_then_the_earlier_trial():
    assert study(trial(0, 0.9, 0.6), trial(1, 0.9, 0.4), trial(2, 0.8, 0.1)).best.number == 1
    assert study(trial(3, 0.9, 0.4), trial(4, 0.9, 0.4)).best.number == 3
    assert study(trial(0, 0.9, None), trial(1, 0.9, 9.0)).best.number == 1


def test_without_a_complete_trial_there_is_no_best():
    assert study().best is None
    assert study(trial(0, ending=Ending.FAILED)).best is None


def test_baselines_and_work_are_counted_over_all_trials():
    result = study(trial(0, 0.5, baseline="full", work=10.0), trial(1, 0.6, work=5.0))
    assert [one.number for one in result.baselines] == [0]
    assert result.work == 15.0


def test_a_result_comes_back_equal_from_json():
    result = study(trial(0, 0.5, baseline="full"), trial(1, ending=Ending.UNSTABLE, reason="loss spike"))
    assert StudyResult.model_validate_json(result.model_dump_json()) == result
