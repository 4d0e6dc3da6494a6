"""Learning curves, drawn."""

import math
import statistics

import pytest
from figures import check
from pages import SCENARIOS, report_of

from autofreeze.evidence import Evidence
from autofreeze.learning import LearningCurve, LearningPoint
from autofreeze.report.page.changes import changes_of
from autofreeze.report.page.figure import Absent
from autofreeze.report.page.figures import curves
from autofreeze.report.report import Report


def with_curves(report, made):
    return Report(report.result, Evidence(curves=tuple(made)))


def curve(trial, values, *, fresh=None, fold=0, **fields):
    points = tuple(
        LearningPoint(
            epochs_done=epoch + 1.0,
            **{"train_loss": 0.5, "val_loss": 0.6, "train_top1": 0.9, "value": value, **fields},
        )
        for epoch, value in enumerate(values)
    )
    return LearningCurve(trial=trial, fold=None if fresh is not None else fold, fresh=fresh, points=points)


def panels(figure):
    """Traces by panel, in rows from the top: [(axes, {part: trace})]."""
    found = {}
    for one in figure.traces:
        found.setdefault(one["yaxis"], {})[one["legendgroup"]] = one
    return found


def headings(figure):
    return [one["text"] for one in figure.layout["annotations"] if one["text"].startswith("<b>")]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_kind_of_search_is_drawn_or_says_why_not(scenario):
    report = report_of(scenario)
    assert isinstance(check(curves.figure(report)), Absent) != bool(report.evidence.curves)


@pytest.mark.parametrize("scenario", ["full", "own", "log_loss"])
def test_lines_are_means_over_all_runs_and_uprights_their_range(scenario):
    report = report_of(scenario)
    best = report.result.best.number
    runs = [one for one in report.evidence.curves if one.trial == best and one.fresh is not None]
    first = panels(curves.figure(report))["y"]["validation"]
    name = "val_loss" if scenario == "log_loss" else "value"
    for epoch, data in enumerate(first["customdata"]):
        values = [getattr(run.points[epoch], name) for run in runs]
        if None in values:
            assert first["y"][epoch] is None
            continue
        assert float(data[1]) == pytest.approx(statistics.fmean(values), rel=1e-12)
        assert data[2] == f"{min(values)!r} to {max(values)!r}"
        mean, spread = first["y"][epoch], first["error_y"]
        assert mean + spread["array"][epoch] == pytest.approx(max(values), rel=1e-4)
        assert mean - spread["arrayminus"][epoch] == pytest.approx(min(values), rel=1e-4)


def test_an_epoch_that_a_run_has_no_value_for_has_no_mean():
    report = report_of("full")
    made = [curve(1, [0.5, 0.6, 0.7], fold=0), curve(1, [0.6, None, 0.8], fold=1)]
    figure = check(curves.figure(with_curves(report, made)))
    assert panels(figure)["y"]["validation"]["y"] == [0.55, None, 0.75]
    assert "no mean" in figure.note


def test_a_mean_ends_where_the_shortest_run_broke_off():
    report = report_of("full")
    made = [curve(1, [0.5, 0.6, 0.7], fold=0), curve(1, [0.6, 0.7], fold=1)]
    figure = check(curves.figure(with_curves(report, made)))
    assert panels(figure)["y"]["validation"]["x"] == [1.0, 2.0]
    assert "broken off" in figure.note


def test_runs_on_fresh_seeds_and_of_the_search_are_never_mixed():
    report = report_of("full")
    made = [
        curve(1, [0.1], fold=0),
        curve(1, [0.5], fresh=0),
        curve(1, [0.7], fresh=1),
        curve(2, [0.3], fold=0),
    ]
    figure = check(curves.figure(with_curves(report, made)))
    drawn = [panel["validation"]["y"] for axes, panel in panels(figure).items() if axes in ("y", "y3")]
    told = dict(zip((text.split(", ", 1)[1] for text in headings(figure)), drawn, strict=True))
    assert told == {"2 fresh seeds": [pytest.approx(0.6)], "search, 1 fold": [0.3]}
    assert "not to be compared" in figure.note


@pytest.mark.parametrize("scenario", ["full", "unconfirmed", "own"])
def test_the_best_comes_first_then_baselines_then_other_finalists(scenario):
    report = report_of(scenario)
    texts = headings(curves.figure(report))
    assert texts[0].startswith("<b>best: ")
    assert len(texts) <= curves.MOST
    kept = {run.trial for run in report.evidence.curves} - {report.result.best.number}
    names = [one.baseline for one in report.result.baselines if one.number in kept]
    told = [text.split("</b>")[0].removeprefix("<b>") for text in texts[1 : 1 + len(names)]]
    assert sorted(told) == sorted(names)


def test_more_schedules_than_there_is_room_for_are_told_of():
    report = report_of("full")
    complete = [one.number for one in report.result.trials if one.value is not None][:12]
    numbers = {*complete, report.result.best.number}
    figure = check(curves.figure(with_curves(report, (curve(one, [0.5]) for one in sorted(numbers)))))
    assert len(headings(figure)) == curves.MOST
    assert f"{len(numbers) - curves.MOST} further schedules" in figure.note


def test_training_is_dashed_and_validation_solid_in_every_panel():
    for panel in panels(curves.figure(report_of("full"))).values():
        assert panel["validation"]["line"]["dash"] == "solid"
        assert panel["training"]["line"]["dash"] == "dash"
        assert panel["validation"]["marker"]["symbol"] != panel["training"]["marker"]["symbol"]


@pytest.mark.parametrize("scenario", ["full", "own_without_losses", "log_loss"])
def test_thaws_are_marked_in_each_panel_where_the_schedule_has_them(scenario):
    report = report_of(scenario)
    figure = curves.figure(report)
    best = report.result.best.schedule
    expected = [one.epoch for one in changes_of(best) if one.thawed]
    columns = 2 if scenario == "full" else 1
    for axis in ("x", "x2")[:columns]:
        found = [one["x0"] for one in figure.layout["shapes"] if one["xref"] == axis]
        assert found == pytest.approx(expected, rel=1e-5)


def test_a_log_loss_is_drawn_once_and_other_metrics_beside_the_loss():
    titles = {
        scenario: [
            one["text"]
            for one in curves.figure(report_of(scenario)).layout["annotations"]
            if not one["text"].startswith("<b>")
        ]
        for scenario in ("log_loss", "full", "own", "own_without_losses")
    }
    loss = "loss, nats (less is better)"
    assert titles == {
        "log_loss": [loss],
        "full": ["top1", loss],
        "own": ["rmse (less is better)", loss],
        "own_without_losses": ["rmse (less is better)"],
    }


def test_training_top1_does_not_stand_beside_a_value_of_another_kind():
    report = report_of("own")
    drawn = panels(curves.figure(with_curves(report, [curve(report.result.best.number, [3.0, 2.0])])))
    assert set(drawn["y"]) == {"validation"}
    assert set(drawn["y2"]) == {"validation", "training"}
    assert "no exact gap" in curves.figure(report_of("balanced_accuracy")).note


def test_panels_of_a_column_share_their_axis():
    layout = curves.figure(report_of("full")).layout
    assert {layout[f"yaxis{n}"]["matches"] for n in (3, 5, 7)} == {"y"}
    assert {layout[f"yaxis{n}"]["matches"] for n in (4, 6, 8)} == {"y2"}
    ranges = {tuple(axis["range"]) for name, axis in layout.items() if name.startswith("xaxis")}
    assert len(ranges) == 1


def test_values_that_are_not_finite_are_left_out():
    report = report_of("full")
    made = [curve(1, [0.5, 0.6], val_loss=None, train_loss=math.inf, train_top1=None)]
    figure = check(curves.figure(with_curves(report, made)))
    assert set(panels(figure)) == {"y"}


def test_the_words_name_the_last_values_and_the_gap():
    report = report_of("full")
    words, scale = curves.figure(report).alt, report.result.scale
    drawn = panels(curves.figure(report))["y"]
    assert f"validation top1 {scale.figure(drawn['validation']['y'][-1])}" in words
    assert f"training top-1 {scale.figure(drawn['training']['y'][-1])}" in words
    assert f"{100 * report.verdict.gaps[0].gap:+.1f} pt" in words


def test_few_losses_far_above_the_others_do_not_press_them_together():
    report = report_of("full")

    def run(trial, first):
        points = [LearningPoint(epochs_done=1.0, train_loss=first, val_loss=first, train_top1=0.5, value=0.5)]
        return LearningCurve(
            trial=trial, fold=0, fresh=None, points=(*points, *curve(trial, [0.6] * 10).points[1:])
        )

    usual = check(curves.figure(with_curves(report, [run(1, 0.9), run(2, 0.8)])))
    far = check(curves.figure(with_curves(report, [run(1, 0.9), run(2, 30.0)])))
    assert "range" not in usual.layout["yaxis2"]
    low, high = far.layout["yaxis2"]["range"]
    assert low < 0.5
    assert 0.9 < high < 2
    assert "upper edge" in far.note
    assert "upper edge" not in usual.note
    assert any(30.0 in panel["validation"]["y"] for panel in panels(far).values())
