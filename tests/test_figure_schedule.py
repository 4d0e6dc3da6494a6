"""The best schedule, drawn."""

import functools
import math

import pytest
from figures import check
from pages import HOSTILE, SCENARIOS, report_of

from autofreeze import recipes
from autofreeze.report.drawing import STEPS_PER_EPOCH, TAIL, rate_span
from autofreeze.report.page.changes import changes_of, groups_words, runs
from autofreeze.report.page.figure import Absent, label
from autofreeze.report.page.figures import heatmap
from autofreeze.report.report import Report
from autofreeze.schedule import Phase, Schedule

GROUPS = ("stem", "layer1", "layer2", "layer3", "layer4", "head")
SCHEDULES = {
    "gradual": recipes.gradual(GROUPS, 6.3, head_lr=1e-3, warmup_epochs=1.3, unfreeze_every=0.7),
    "chain_thaw": recipes.chain_thaw(GROUPS, 7.0, head_lr=1e-3),
    "linear_probe": recipes.linear_probe(GROUPS, 3.0, head_lr=3e-3),
    "full": recipes.full(GROUPS, 2.0, head_lr=1e-3, depth_ratio=0.01),
    "constant": recipes.lp_ft(GROUPS, 5.0, head_lr=1e-3, warmup_epochs=2, curve="constant"),
    "ramp": recipes.lp_ft(GROUPS, 5.0, head_lr=1e-3, warmup_epochs=2, curve_over="phase", lr_ramp_epochs=0.5),
    "one_rate": recipes.full(("body", "head"), 4.0, head_lr=1e-3, backbone_ratio=1.0, curve="constant"),
    "forty": recipes.gradual(
        [f"blocks.{n}" for n in range(39)] + ["head"], 20.0, head_lr=1e-3, warmup_epochs=2, unfreeze_every=0.4
    ),
    "shorter_than_a_step": Schedule(
        groups=("body", "head"),
        phases=(Phase(epochs=1e-4, lrs=(None, 1e-3)), Phase(epochs=3, lrs=(1e-4, 1e-3))),
    ),
}
HALF_A_STEP = 0.501 / STEPS_PER_EPOCH


@functools.cache
def drawn(schedule):
    """The figure of a report whose best schedule is this one."""
    report = report_of("full")
    best = report.result.best.model_copy(update={"schedule": schedule})
    trials = tuple(best if one.number == best.number else one for one in report.result.trials)
    return check(heatmap.figure(Report(report.result.model_copy(update={"trials": trials}), report.evidence)))


def traces(figure, name):
    return [trace for trace in figure.traces if trace.get("name") == name]


@pytest.fixture(params=SCHEDULES)
def schedule(request):
    return SCHEDULES[request.param]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_kind_of_search_is_drawn_or_says_why_not(scenario):
    figure, best = check(heatmap.figure(report_of(scenario))), report_of(scenario).result.best
    assert isinstance(figure, Absent) == (best is None)


def test_the_rate_of_each_cell_is_that_of_the_timetable(schedule):
    rates, timetable = drawn(schedule).traces[0], schedule.timetable(STEPS_PER_EPOCH)
    for group, row in enumerate(rates["customdata"]):
        assert row[0][0] == schedule.groups[group]
        for place, (_, epoch, rate) in enumerate(row):
            # A phase ends at any time, and its first and last steps at whole ones.
            assert rates["x"][place] - HALF_A_STEP <= epoch <= rates["x"][place + 1] + HALF_A_STEP
            middle = (rates["x"][place] + rates["x"][place + 1]) / 2
            assert epoch == pytest.approx(middle, abs=2.01 * HALF_A_STEP)
            assert rate == timetable.rate(group, round(epoch * STEPS_PER_EPOCH))
            z = rates["z"][group][place]
            assert z is None if rate is None else z == pytest.approx(math.log10(rate), rel=1e-5)


def test_cells_cover_the_whole_run_without_gaps(schedule):
    x = drawn(schedule).traces[0]["x"]
    assert x == sorted(x)
    assert (x[0], x[-1]) == (0, pytest.approx(schedule.epochs, rel=1e-5))
    ends = [end for end in schedule.phase_ends if end > 1 / STEPS_PER_EPOCH]
    assert all(any(edge == pytest.approx(end, rel=1e-5) for edge in x) for end in ends)


def test_a_bending_rate_is_seen_to_bend(schedule):
    head = [rate for _, _, rate in drawn(schedule).traces[0]["customdata"][-1] if rate is not None]
    bends = schedule.curve != "constant" or schedule.lr_ramp_epochs
    assert (len(set(head)) > 20) == bool(bends)


def test_what_is_frozen_is_hatched_cell_by_cell(schedule):
    starts = (0.0, *schedule.phase_ends)
    frozen = [
        (group, pytest.approx(starts[at], rel=1e-5), pytest.approx(phase.epochs, rel=1e-5))
        for at, phase in enumerate(schedule.phases)
        for group, lr in enumerate(phase.lrs)
        if lr is None
    ]
    bars = traces(drawn(schedule), "frozen")
    assert len(bars) == (1 if frozen else 0)
    if frozen:
        (bar,) = bars
        assert bar["marker"]["pattern"]["shape"] != ""
        cells = list(zip(bar["y"], bar["base"], bar["x"], strict=True))
        assert len(cells) == len(frozen)
        for cell in frozen:
            assert cell in cells


def test_each_unfreeze_and_each_freezing_again_is_marked_where_it_is(schedule):
    figure = drawn(schedule)
    for name, columns in (("thaws", "thawed"), ("freezes again", "frozen")):
        expected = [
            (pytest.approx(one.epoch, rel=1e-5), column)
            for one in changes_of(schedule)
            for column in getattr(one, columns)
        ]
        found = [mark for trace in traces(figure, name) for mark in zip(trace["x"], trace["y"], strict=True)]
        assert found == expected
    marked = sum(len(one.thawed) + len(one.frozen) for one in changes_of(schedule))
    assert sum(line["y1"] - line["y0"] for line in figure.layout["shapes"]) == marked


def test_the_colour_scale_spans_the_rates_that_the_terminal_draws(schedule):
    cells = [lr for phase in schedule.phases for lr in phase.lrs if lr is not None]
    low, high = min(cells) / (1 if schedule.curve == "constant" else TAIL), max(cells)
    rates = drawn(schedule).traces[0]
    assert rate_span(schedule) == (low, high)
    assert rates["zmax"] == pytest.approx(math.log10(high), rel=1e-5)
    assert rates["zmin"] == pytest.approx(math.log10(low) if high > low else math.log10(high) - 1, rel=1e-5)
    assert all(rates["zmin"] - 1e-6 <= tick <= rates["zmax"] + 1e-6 for tick in rates["colorbar"]["tickvals"])
    assert len(rates["colorbar"]["tickvals"]) == len(rates["colorbar"]["ticktext"]) >= 2


def test_the_head_is_on_top():
    axis = drawn(SCHEDULES["gradual"]).layout["yaxis"]
    assert axis["ticktext"][axis["tickvals"].index(max(axis["tickvals"]))] == "head"
    assert axis["range"][0] < axis["range"][1]


def test_words_tell_what_each_group_does_and_when():
    words = drawn(SCHEDULES["chain_thaw"]).alt
    assert "head 1e-3 until epoch 1, then frozen until epoch 6, then 1e-3" in words
    words = drawn(recipes.lp_ft(GROUPS, 10.0, head_lr=3e-3, warmup_epochs=2.5, backbone_ratio=0.1)).alt
    assert "stem to layer4 frozen until epoch 2.5, then 3e-4" in words


def test_a_change_is_told_beside_its_line_once():
    texts = [one["text"] for one in drawn(SCHEDULES["constant"]).layout["annotations"]]
    assert sum("5 groups thaw at 2" in text for text in texts) == 1


def test_more_groups_make_a_higher_figure():
    few, many = drawn(SCHEDULES["gradual"]), drawn(SCHEDULES["forty"])
    assert many.height > 2 * few.height
    assert len(many.layout["yaxis"]["ticktext"]) == 40


def test_names_of_groups_are_shown_as_they_are():
    figure = heatmap.figure(report_of("hostile"))
    names = [row[0][0] for row in figure.traces[0]["customdata"]]
    assert names == [label(name) for name in (*HOSTILE[:5], "head")]
    long = heatmap.figure(report_of("long_names"))
    assert max(map(len, long.layout["yaxis"]["ticktext"])) <= 16
    assert long.traces[0]["customdata"][0][0][0] == report_of("long_names").result.best.schedule.groups[0]


def test_an_unconfirmed_schedule_is_called_so():
    assert heatmap.figure(report_of("unconfirmed")).title.endswith("(unconfirmed)")
    assert heatmap.figure(report_of("full")).title == "The best schedule"


def test_changes_are_those_between_neighbouring_rows():
    phases = (
        (1.0, (None, None, 1.0)),
        (0.5, (1.0, 1.0, None)),
        (2.0, (1.0, None, 1.0)),
        (1.0, (1.0, None, 2.0)),
    )
    schedule = Schedule(
        groups=("a", "b", "c"), phases=tuple(Phase(epochs=epochs, lrs=lrs) for epochs, lrs in phases)
    )
    told = [(one.epoch, one.thawed, one.frozen) for one in changes_of(schedule)]
    assert told == [(1.0, (0, 1), (2,)), (1.5, (2,), (1,))]


def test_neighbouring_groups_are_named_together():
    assert runs((1, 2, 3, 5)) == [(1, 3), (5, 5)]
    assert groups_words(GROUPS, (0, 2, 3, 4)) == "stem and layer2 to layer4"
    assert groups_words(GROUPS, (1, 2)) == "layer1 and layer2"
