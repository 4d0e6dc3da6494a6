"""Value against work, drawn; and names that lie clear of one another."""

import itertools
import random

import pytest
from figures import check
from pages import SCENARIOS, report_of

from autofreeze.figures import shown_value, work_of_full, work_of_run
from autofreeze.report.page.figure import Absent
from autofreeze.report.page.figures import cost
from autofreeze.report.page.placement import CHARACTER, LINE, POINT, Named, place_names
from autofreeze.report.page.strip import ENDINGS
from autofreeze.report.report import Report
from autofreeze.results import Ending
from autofreeze.savings import work_of_whole_run


def changed(report, change):
    """The report with other trials."""
    trials = tuple(change(one) for one in report.result.trials)
    return Report(report.result.model_copy(update={"trials": trials}), report.evidence)


def trace(figure, name):
    return next((one for one in figure.traces if one["name"] == name), None)


def above(figure):
    """The traces of trials that have a value."""
    return [one for one in figure.traces if one.get("yaxis") != "y2"]


def points(figure):
    """All points but those of the front and the strip: trial -> value and work in full precision."""
    return {
        data[0]: (data[2], data[3])
        for one in above(figure)
        if one["name"] != "front"
        for data in one["customdata"]
    }


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_kind_of_search_is_drawn_or_says_why_not(scenario):
    report = report_of(scenario)
    figure = check(cost.figure(report))
    complete = any(one.ending is Ending.COMPLETE for one in report.result.trials)
    assert isinstance(figure, Absent) != complete


@pytest.mark.parametrize("scenario", ["full", "log_loss", "own", "two_thousand"])
def test_all_complete_trials_are_drawn_once_at_their_value_and_work(scenario):
    result = report_of(scenario).result
    assert points(cost.figure(report_of(scenario))) == {
        one.number: (shown_value(result.scale, one), work_of_run(result, one))
        for one in result.trials
        if one.ending is Ending.COMPLETE
    }


def test_work_is_drawn_in_runs_of_full_fine_tuning_and_told_in_forward_passes():
    report = report_of("full")
    figure, full = cost.figure(report), work_of_full(report.result)
    for one in above(figure):
        for x, data in zip(one["x"], one["customdata"], strict=True):
            assert x == pytest.approx(data[2 if one["name"] == "front" else 3] / full, rel=1e-5)
    assert f"1 × is {full:,.0f} forward passes" in figure.layout["xaxis"]["title"]["text"]


@pytest.mark.parametrize("scenario", ["full", "log_loss", "own", "two_thousand"])
def test_the_front_is_the_verdict_s(scenario):
    report = report_of(scenario)
    drawn = trace(cost.figure(report), "front")
    assert [data[1:3] for data in drawn["customdata"]] == [
        [one.value, one.work] for one in report.verdict.front
    ]
    values = drawn["y"] if scenario in ("full", "two_thousand") else [-y for y in drawn["y"]]
    assert values == sorted(values)
    assert drawn["x"] == sorted(drawn["x"])


def test_the_best_and_the_baselines_are_named_beside_their_points():
    report = report_of("full")
    texts = {one["text"]: (one["x"], one["y"]) for one in cost.figure(report).layout["annotations"]}
    best, full = report.result.best, work_of_full(report.result)
    named = {one.baseline: one for one in report.result.baselines} | {f"<b>best: {best.recipe}</b>": best}
    assert set(texts) == set(named)
    for text, one in named.items():
        place = (work_of_run(report.result, one) / full, shown_value(report.result.scale, one))
        assert texts[text] == pytest.approx(place, rel=1e-5)


def test_what_cannot_be_afforded_is_a_cross():
    dear = {one.number for one in report_of("full").result.trials if one.number > 10}
    report = changed(
        report_of("full"), lambda one: one.model_copy(update={"affordable": one.number not in dear})
    )
    figure = check(cost.figure(report))
    drawn = trace(figure, "over the cost allowed")
    assert drawn["marker"]["symbol"] == "x"
    complete = {one.number for one in report.result.trials if one.ending is Ending.COMPLETE}
    assert {data[0] for data in drawn["customdata"]} == (dear & complete) - {report.result.best.number}


def test_a_wide_range_of_work_is_drawn_on_a_logarithmic_axis():
    def cheap(one):
        return one.model_copy(update={"work": one.work / 50}) if one.recipe == "linear_probe" else one

    usual, wide = cost.figure(report_of("full")), check(cost.figure(changed(report_of("full"), cheap)))
    assert "type" not in usual.layout["xaxis"]
    axis = wide.layout["xaxis"]
    assert axis["type"] == "log"
    low, high = (10**end for end in axis["range"])
    assert all(low < x < high for one in wide.traces for x in one["x"])
    assert all(low <= tick <= high for tick in axis["tickvals"])
    assert len(axis["tickvals"]) >= 3
    assert all(axis["range"][0] < one["x"] < axis["range"][1] for one in wide.layout["annotations"])


@pytest.mark.parametrize("scenario", ["two_thousand", "own"])
def test_few_values_that_are_far_worse_are_drawn_at_the_edge_and_told_in_full(scenario):
    report = report_of(scenario)
    figure, falls = cost.figure(report), report.result.scale.direction == "minimize"
    low, high = figure.layout["yaxis"]["range"]
    assert all(low < y < high for one in above(figure) for y in one["y"])
    far = trace(figure, "far worse, beyond the edge")
    if far is not None:
        assert far["marker"]["symbol"] == ("triangle-up-open" if falls else "triangle-down-open")
        for y, data in zip(far["y"], far["customdata"], strict=True):
            assert data[2] > y if falls else data[2] < y
    assert scenario == "own" or far is not None


def test_two_thousand_trials_are_few_traces():
    assert len(cost.figure(report_of("two_thousand")).traces) <= 10


@pytest.mark.parametrize("scenario", ["full", "own", "two_thousand", "log_loss"])
def test_trials_without_a_value_stand_below_at_the_work_of_a_whole_run(scenario):
    result = report_of(scenario).result
    figure, unit = cost.figure(report_of(scenario)), work_of_full(result) or 1.0
    drawn = {
        data[0]: x
        for one in figure.traces
        if one.get("yaxis") == "y2"
        for x, data in zip(one["x"], one["customdata"], strict=True)
    }
    broke_off = {
        one.number: one for one in result.trials if one.ending in ENDINGS and work_of_whole_run(result, one)
    }
    assert set(drawn) == set(broke_off)
    for number, x in drawn.items():
        assert x == pytest.approx(work_of_whole_run(result, broke_off[number]) / unit, rel=1e-5)
    if broke_off:
        plot, strip = figure.layout["yaxis"]["domain"], figure.layout["yaxis2"]["domain"]
        assert strip[1] < plot[0]
        assert (plot[1] - plot[0]) * (figure.height - cost.TOP - cost.BOTTOM) == pytest.approx(cost.HEIGHT)


def test_it_says_that_values_are_the_search_s_and_how_many_have_none():
    report = report_of("full")
    note, result = cost.figure(report).note, report.result
    assert "Values of the search, of one seed a fold" in note
    broke_off = sum(one.ending in ENDINGS for one in result.trials)
    assert f"{broke_off} trials of {len(result.trials)} broke off without a value" in note
    ended = sum(one.ending is Ending.COMPLETE for one in result.trials) + broke_off
    assert ("Not drawn" in note) == (ended < len(result.trials))


@pytest.mark.parametrize("scenario", ["log_loss", "own"])
def test_the_axis_says_when_less_is_better(scenario):
    layout = cost.figure(report_of(scenario)).layout
    assert layout["yaxis"]["title"]["text"].endswith("(less is better)")


def test_the_words_name_the_best_the_baselines_and_the_front():
    report = report_of("full")
    words, scale = cost.figure(report).alt, report.result.scale
    for value in (shown_value(scale, report.result.best), *(one.value for one in report.verdict.front)):
        assert scale.figure(value) in words
    assert all(one.baseline in words for one in report.result.baselines)


# Names


def boxes(points, offsets):
    for one, (right, down) in zip(points, offsets, strict=True):
        half = one.characters * CHARACTER / 2
        x, y = one.x + right, one.y + down
        yield x - half, y - LINE / 2, x + half, y + LINE / 2


def cover(one, other):
    return min(one[2], other[2]) > max(one[0], other[0]) and min(one[3], other[3]) > max(one[1], other[1])


@pytest.mark.parametrize("seed", range(20))
def test_names_lie_neither_on_one_another_nor_on_points_nor_outside(seed):
    rng = random.Random(seed)
    spots = [Named(rng.uniform(10, 250), rng.uniform(10, 310), rng.randrange(4, 13)) for _ in range(9)]
    placed = list(boxes(spots, place_names(spots, width=265, height=320)))
    assert not any(cover(one, other) for one, other in itertools.combinations(placed, 2))
    for number, box in enumerate(placed):
        assert box[0] >= 0
        assert box[1] >= 0
        assert box[2] <= 265
        assert box[3] <= 320
        for other, spot in enumerate(spots):
            mark = (spot.x - POINT, spot.y - POINT, spot.x + POINT, spot.y + POINT)
            assert other == number or not cover(box, mark)


def test_names_lie_clear_of_lines():
    spots = [Named(100, 100, 8)]
    lines = [(0, 85, 265, 85), (100, 100, 265, 100)]
    (box,) = boxes(spots, place_names(spots, width=265, height=320, lines=lines))
    assert not any(cover(box, (x0, y0 - 1, x1, y1 + 1)) for x0, y0, x1, y1 in lines)
