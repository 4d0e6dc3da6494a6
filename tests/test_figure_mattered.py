"""What mattered: importances, values by warm-up, depth and rates, and robustness to the rate."""

import math

import pytest
from figures import check, points
from pages import SCENARIOS, report_of

from autofreeze.axes import AXIS_WORDS
from autofreeze.evidence import Evidence
from autofreeze.importance import Importance, Importances
from autofreeze.instabilities import peak_rate, peak_rate_of_head, row_of
from autofreeze.report.page.figure import Absent
from autofreeze.report.page.figures import importance, robustness, slices
from autofreeze.report.page.marks import ROW_MARKS
from autofreeze.report.report import Report
from autofreeze.results import Ending
from autofreeze.schedule import Phase, Schedule

# Importances


def with_importances(*axes, trials=60, good=6):
    found = Importances(axes=axes, trials=trials, good=good)
    return importance.figure(Report(report_of("full").result, Evidence(importances=found)))


HEAVY = Importance(axis="head_lr", share=0.7, by_chance=0.2)
LIGHT = Importance(axis="group_offset_2", share=0.3, by_chance=0.4)


def bars(figure):
    return {
        told[0]: told[2] for trace in figure.traces if trace["type"] == "bar" for told in trace["customdata"]
    }


def test_the_bars_are_the_shares_of_the_report():
    report = report_of("full")
    figure = importance.figure(report)
    assert bars(figure) == {one.axis: one.share for one in report.evidence.importances.axes}
    drawn = [x for trace in figure.traces if trace["type"] == "bar" for x in trace["x"]]
    assert math.fsum(drawn) == pytest.approx(1, abs=1e-4)


def test_axes_are_named_in_words_and_as_in_the_space_file_the_heaviest_on_top():
    ticks = with_importances(HEAVY, LIGHT).layout["yaxis"]["ticktext"]
    assert ticks == ["own factor, group 2<br><i>group_offset_2</i>", "rate of the head<br><i>head_lr</i>"]


def test_every_axis_of_a_space_file_has_a_short_name():
    assert set(AXIS_WORDS) - {"group_offset"} == set(importance.NAMES)
    assert all(len(name) <= 30 for name in importance.NAMES.values())


def test_an_axis_is_told_from_chance_by_hatch_and_in_words():
    figure = with_importances(HEAVY, LIGHT)
    told, untold, chance, _ = figure.traces
    assert (told["y"], told["marker"]["pattern"]["shape"]) == ([1], "")
    assert (untold["y"], untold["marker"]["pattern"]["shape"]) == ([0], "/")
    assert sorted(chance["x"]) == [0.2, 0.4]
    assert "More than chance gives: rate of the head." in figure.note
    assert "rate of the head (head_lr) 70 %, beyond chance" in figure.alt
    assert "(group_offset_2) 30 %." in figure.alt


def test_where_no_axis_is_beyond_chance_it_says_that_the_order_means_nothing():
    assert "order means nothing" in with_importances(LIGHT).note
    assert "order means nothing" not in with_importances(HEAVY, LIGHT).note


def test_it_says_on_how_many_trials_it_rests_and_that_few_are_loose():
    few = with_importances(HEAVY, trials=30, good=5).note
    assert "the best 5 of 30 complete trials" in few
    assert "loose" in few
    assert "loose" not in with_importances(HEAVY, trials=1280, good=128).note


def test_without_importances_it_says_why():
    assert importance.figure(report_of("one_trial")).reason == (
        "Nothing can be said of it: 1 complete trials are too few to tell."
    )
    assert "no importances" in importance.figure(report_of("without_evidence")).reason


# Values by warm-up, depth and rates


def drawn(figure, panel):
    """Trials of a panel -> place and value as they are told on hover, and the names of their marks."""
    axis = "x" if panel == 0 else f"x{panel + 1}"
    found = {}
    for trace in figure.traces:
        if trace["xaxis"] == axis and trace["name"] != "best schedule" and len(trace["customdata"][0]) == 3:
            for number, value, where in trace["customdata"]:
                found[number] = (where, value, trace["name"])
    return found


def on_strip(figure, panel):
    axis = "x" if panel == 0 else f"x{panel + 1}"
    strip = [trace for trace in figure.traces if trace["xaxis"] == axis and len(trace["customdata"][0]) == 2]
    return [number for trace in strip for number, _ in trace["customdata"]]


@pytest.mark.parametrize("scenario", ["full", "log_loss", "own", "sweep", "two_thousand"])
def test_every_trial_with_a_run_of_its_own_stands_once_in_each_panel(scenario):
    report = report_of(scenario)
    figure = slices.figure(report)
    own = [one for one in report.result.trials if one.same_as is None]
    complete = {one.number for one in own if one.value is not None}
    broken = {one.number for one in own if one.value is None}
    alone = {one.number for one in own if not one.schedule.unfreeze_depth}
    for panel in range(4):
        left_out = alone if panel == 3 else set()
        assert set(drawn(figure, panel)) == complete - left_out
        assert sorted(on_strip(figure, panel)) == sorted(broken - left_out)


def test_baselines_and_all_recipes_are_placed_by_their_schedules():
    report = report_of("full")
    figure = slices.figure(report)
    trials = {one.number: one for one in report.result.trials}
    assert any(trials[number].baseline for number in drawn(figure, 0))
    places = [
        lambda schedule: schedule.warmup_epochs / schedule.epochs,
        lambda schedule: schedule.unfreeze_depth,
        peak_rate_of_head,
        peak_rate,
    ]
    for panel, place in enumerate(places):
        for number, (where, value, name) in drawn(figure, panel).items():
            assert where == pytest.approx(place(trials[number].schedule))
            assert value == trials[number].value
            assert name == ROW_MARKS[row_of(trials[number].schedule)].words


def test_where_a_rate_was_drawn_the_heads_peak_is_that_rate():
    report = report_of("full")
    rates = drawn(slices.figure(report), 2)
    sampled = [one for one in report.result.trials if one.number in rates and "head_lr" in one.params]
    assert len(sampled) > 10
    for one in sampled:
        assert rates[one.number][0] == pytest.approx(one.params["head_lr"], rel=1e-5)


def test_points_are_spread_sideways_less_than_half_way_to_the_next_value():
    figure = slices.figure(report_of("two_thousand"))
    for trace in figure.traces:
        if trace["xaxis"] == "x2" and len(trace["customdata"][0]) == 3:
            for x, (_, _, depth) in zip(trace["x"], trace["customdata"], strict=True):
                assert abs(x - depth) < 0.5


def test_of_a_loss_the_values_are_losses_and_less_is_better():
    report = report_of("log_loss")
    figure = slices.figure(report)
    one = next(one for one in report.result.trials if one.value is not None)
    assert drawn(figure, 0)[one.number][1] == pytest.approx(-math.log(one.value))
    assert figure.layout["yaxis"]["title"]["text"] == "log_loss (less is better)"
    assert "less is better" not in slices.figure(report_of("full")).layout["yaxis"]["title"]["text"]


def test_the_best_of_a_decade_is_the_least_loss_and_the_highest_accuracy():
    for scenario, pick in (("log_loss", min), ("full", max), ("own", min)):
        report = report_of(scenario)
        scale = report.result.scale
        values = [
            scale.shown(one.value)
            for one in report.result.trials
            if one.value is not None
            and one.same_as is None
            and one.schedule.unfreeze_depth
            and 1e-4 <= peak_rate(one.schedule) < 1e-3
        ]
        told = f"{scale.figure(pick(values))} at 1e-4 to 1e-3 ({len(values)} trials)"
        assert told in slices.figure(report).alt


def test_the_best_schedule_is_told_with_its_place():
    report = report_of("full")
    best = report.result.best
    alt = slices.figure(report).alt
    assert f"trial {best.number}, with top1 {best.value:.3f}" in alt
    share = 100 * best.schedule.warmup_epochs / best.schedule.epochs
    assert f"for {share:.0f} % of the run at first" in alt


def test_the_peak_of_a_head_is_what_the_curve_lets_through():
    groups = ("stem", "head")
    rows = (Phase(epochs=2, lrs=(1e-4, None)), Phase(epochs=2, lrs=(1e-4, 1e-2)))
    late = Schedule(groups=groups, phases=rows)
    assert peak_rate_of_head(late) == pytest.approx(0.5e-2)
    assert peak_rate_of_head(late.model_copy(update={"curve": "constant"})) == 1e-2
    assert peak_rate_of_head(Schedule(groups=groups, phases=rows[:1])) == 0


def test_a_run_without_a_value_draws_no_panels():
    assert slices.figure(report_of("only_failed")).reason.startswith("No trial has a value")


# Robustness


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_robustness_is_that_of_the_report_recipe_by_recipe(scenario):
    report = report_of(scenario)
    figure = check(robustness.figure(report))
    rows = report.verdict.robustness
    assert isinstance(figure, Absent) == (not rows)
    if rows:
        best, own = figure.traces
        for trace, field in ((own, "near_own"), (best, "near_best")):
            told = {name: (count, of) for name, count, of, _ in trace["customdata"]}
            assert told == {one.name: (getattr(one, field), one.trials) for one in rows}
            for x, (_, count, of, share) in zip(trace["x"], trace["customdata"], strict=True):
                assert share == count / of
                assert x == pytest.approx(share, rel=1e-5)
        for one in rows:
            assert f"of {one.trials} trials of {one.name} {one.near_own} came" in figure.alt.replace(
                "Of", "of"
            )


def test_the_two_bars_of_a_recipe_are_told_apart_by_hatch():
    best, own = robustness.figure(report_of("full")).traces
    assert best["marker"]["pattern"]["shape"] != own["marker"]["pattern"]["shape"]
    assert "1 pt" in own["name"]


def test_without_enough_trials_it_says_why():
    assert "5 trials" in robustness.figure(report_of("one_trial")).reason
    assert robustness.figure(report_of("no_trial")).reason.startswith("No trial was completed")
    own = report_of("own").result
    unsaid = own.model_copy(update={"settings": {**own.settings, "delta": None}})
    assert "delta" in robustness.figure(Report(unsaid)).reason


def test_a_metric_may_have_any_name():
    name = "%{x} of <b>rmse</b>\n"
    hostile = Report(report_of("own").result.model_copy(update={"metric": name}), report_of("own").evidence)
    for module in (slices, robustness):
        check(module.figure(hostile))


def test_counts_of_points_are_those_of_trials_with_a_value():
    report = report_of("full")
    own = [one for one in report.result.trials if one.same_as is None and one.ending is not Ending.UNFINISHED]
    alone = sum(not one.schedule.unfreeze_depth for one in own)
    stars = 4 if report.result.best.schedule.unfreeze_depth else 3
    assert points(slices.figure(report)) == 4 * len(own) - alone + stars
