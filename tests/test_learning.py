"""Learning curves, as a report keeps them."""

import math

import pytest

from autofreeze.learning import curves_of, trials_shown
from autofreeze.records import RECORDS, line_of
from autofreeze.results import Ending
from autofreeze.scale import Scale

TOP1 = Scale.of("top1")
NAN = math.nan


def write(folder, *runs):
    """Write runs, each a job and its records, epoch by epoch in turn."""
    lines = []
    for epoch in range(max(len(records) for _, records in runs)):
        lines += [line_of(job, records[epoch], 1.0) for job, records in runs if epoch < len(records)]
    (folder / RECORDS).write_text("".join(lines))


def fresh(job, number):
    return job.model_copy(update={"fresh": number, "fold": 0})


def test_a_curve_is_what_the_records_say_runs_of_the_search_first(tmp_path, made_up, made_result):
    one, other = made_up.job(2), made_up.job(1, head_lr=1e-2)
    jobs = [fresh(one, 1), other.model_copy(update={"fold": 1}), one, fresh(one, 0), other]
    curves = [made_up.curve(job) for job in jobs]
    write(tmp_path, *zip(jobs, curves, strict=True))
    trials = [made_result.trial(2, "full", 0.8), made_result.trial(1, "lp_ft", 0.7)]
    found = curves_of(tmp_path, trials, TOP1)
    assert [(curve.trial, curve.fold, curve.fresh) for curve in found] == [
        (2, 0, None), (1, 0, None), (1, 1, None), (2, None, 0), (2, None, 1)
    ]  # fmt: skip
    for point, record in zip(found[0].points, made_up.curve(one), strict=True):
        assert point.model_dump() == {name: getattr(record, name) for name in type(point).model_fields}


def test_lines_of_other_trials_are_not_read_to_their_end(tmp_path, made_up, made_result):
    job = made_up.job(1)
    write(tmp_path, (job, made_up.curve(job)))
    broken = '{"trial":11,"fold":0,"at":1.0,"record":{"epoch":0,"nonsense"\n'
    with (tmp_path / RECORDS).open("a") as stream:
        stream.write(broken + broken.replace("11", "0"))
    (curve,) = curves_of(tmp_path, [made_result.trial(1, "lp_ft", 0.8)], TOP1)
    assert len(curve.points) == 3


def test_a_curve_shows_values_as_people_read_them(tmp_path, made_up, made_result):
    job = made_up.job(1)
    curve = made_up.curve(job, value=math.exp(-0.25))
    write(tmp_path, (job, curve))
    trials = [made_result.trial(1, "lp_ft", 0.8)]
    (shown,) = curves_of(tmp_path, trials, Scale.of("log_loss"))
    assert [point.value for point in shown.points] == pytest.approx([0.25] * 3)
    less = Scale(metric="rmse", unit="plain", direction="minimize")
    (shown,) = curves_of(tmp_path, trials, less)
    assert [point.value for point in shown.points] == pytest.approx([-math.exp(-0.25)] * 3)


def test_what_is_not_finite_or_was_not_told_is_left_open(tmp_path, made_up, made_result):
    job = made_up.job(1)
    told = {"train_loss": NAN, "val_loss": None, "train_top1": None, "value": math.inf}
    write(tmp_path, (job, [made_up.record(job, 0), made_up.record(job, 1, **told)]))
    (curve,) = curves_of(tmp_path, [made_result.trial(1, "lp_ft", 0.8)], TOP1)
    first, second = curve.points
    assert first.value is not None
    assert (second.train_loss, second.val_loss, second.train_top1, second.value) == (None,) * 4
    assert second.epochs_done == 2


def test_an_epoch_that_was_told_again_is_shown_once(tmp_path, made_up, made_result):
    job = made_up.job(1)
    records = made_up.curve(job)
    write(tmp_path, (job, [records[0], records[1], records[1].model_copy(update={"value": 0.0}), records[2]]))
    (curve,) = curves_of(tmp_path, [made_result.trial(1, "lp_ft", 0.8)], TOP1)
    assert [point.value for point in curve.points] == [record.value for record in records]


def test_a_sweep_has_the_curve_of_its_leading_head_and_on_fresh_seeds_that_of_the_head_alone(
    tmp_path, made_up, made_result
):
    heads = [made_up.job(1, head_lr=rate) for rate in (1e-3, 1e-2, 1e-4)]
    curves = [made_up.curve(head) for head in heads]
    alone = made_up.curve(heads[2])
    write(tmp_path, (heads[0], list(made_up.sweep(curves))), (fresh(heads[2], 4), alone))
    trial = made_result.trial(1, "linear_probe", 0.8, member=2)
    swept, single = curves_of(tmp_path, [trial], TOP1)
    assert [point.value for point in swept.points] == [record.value for record in curves[2]]
    assert len({tuple(record.value for record in curve) for curve in curves}) > 1
    assert (single.fresh, [point.value for point in single.points]) == (4, [one.value for one in alone])


def test_a_head_that_broke_off_has_no_more_points_than_epochs(tmp_path, made_up, made_result):
    heads = [made_up.job(1, head_lr=rate) for rate in (1e-3, 1e-2)]
    curves = [made_up.curve(heads[0]), [made_up.diverged(heads[1])]]
    write(tmp_path, (heads[0], list(made_up.sweep(curves))))
    (curve,) = curves_of(tmp_path, [made_result.trial(1, "linear_probe", member=1)], TOP1)
    assert [point.epochs_done for point in curve.points] == [1.0]


def test_a_trial_that_took_over_a_result_has_the_curves_of_that_run(tmp_path, made_up, made_result):
    job = made_up.job(1)
    write(tmp_path, (job, made_up.curve(job)), (fresh(made_up.job(4), 0), made_up.curve(made_up.job(4))))
    trial = made_result.trial(4, "lp_ft", 0.8, same_as=1)
    search, confirmation = curves_of(tmp_path, [trial], TOP1)
    assert (search.trial, search.fold, confirmation.trial, confirmation.fresh) == (4, 0, 4, 0)


def test_curves_of_candidates_and_of_baselines_are_kept(made_result):
    trials = (*made_result.trials, made_result.trial(4, "decay", 0.99), made_result.trial(5, "full", 0.7))
    confirmed = made_result.result((3, 0.01, 0.005), trials=trials)
    assert [one.number for one in trials_shown(confirmed)] == [0, 1, 2, 3]


def test_without_a_confirmation_the_best_trials_stand_for_the_candidates(made_result):
    more = [made_result.trial(number, "decay", 0.5 + number / 100) for number in range(4, 14)]
    twin = made_result.trial(14, "decay", 0.85, same_as=3)
    pruned = made_result.trial(15, "decay", ending=Ending.UNPROMISING)
    tuned = made_result.trial(16, "full", 0.3, baseline="full", tuned=True)
    result = made_result.result(trials=(*made_result.trials, *more, twin, pruned, tuned))
    assert [one.number for one in trials_shown(result)] == [0, 1, 2, 3, 11, 12, 13]


def test_of_a_search_without_a_record_there_is_no_curve(tmp_path, made_result):
    assert trials_shown(made_result.result(trials=())) == ()
    assert curves_of(tmp_path, made_result.trials, TOP1) == ()
