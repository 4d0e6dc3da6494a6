"""What all figures keep to, and that what does not is found."""

import pytest
from figures import check, check_table, coloured, points
from pages import SCENARIOS, report_of

from autofreeze.report.page.figure import Absent, Cell, Figure, Table
from autofreeze.report.page.figures import (
    endings,
    gradient,
    importance,
    progress,
    robustness,
    savings,
    slices,
    unstable,
    workers,
)
from autofreeze.report.page.marks import cut, in_template
from autofreeze.report.page.palette import BEST, DARK, LIGHT, SEQUENTIAL
from autofreeze.report.page.ticks import MOST, log_axis

FIGURES = {
    "importance": importance,
    "slices": slices,
    "robustness": robustness,
    "unstable": unstable,
    "gradient": gradient,
    "progress": progress,
    "endings": endings,
    "savings": savings,
    "workers": workers,
}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_figure_of_any_search_keeps_to_what_all_must_keep_to(scenario):
    for name, module in FIGURES.items():
        assert check(module.figure(report_of(scenario))).id == name
    check_table(unstable.table(report_of(scenario)))


def test_of_a_usual_search_every_figure_is_there_and_of_none_at_all_every_one_says_why():
    assert not [name for name, one in FIGURES.items() if isinstance(one.figure(report_of("full")), Absent)]
    assert all(isinstance(one.figure(report_of("no_trial")), Absent) for one in FIGURES.values())


def test_of_two_thousand_trials_all_figures_together_stay_small():
    written = [module.figure(report_of("two_thousand")).model_dump_json() for module in FIGURES.values()]
    assert sum(map(len, written)) < 1_500_000


GOOD = Figure(
    id="one",
    title="One",
    alt="It is 2.",
    traces=({"type": "bar", "x": [1], "y": [2], "hovertemplate": "%{y}<extra></extra>"},),
)


def with_trace(**fields):
    return {"traces": ({**GOOD.traces[0], **fields},)}


@pytest.mark.parametrize(
    "wrong",
    [
        with_trace(x=[float("nan")]),
        with_trace(nmae="unknown key"),
        with_trace(type="scattergl"),
        with_trace(name="<script>alert(1)</script>"),
        with_trace(name="two\nlines"),
        with_trace(marker={"color": "#123456"}),
        with_trace(name=BEST),
        with_trace(hovertemplate="%{y}"),
        with_trace(hovertemplate="%{unknown}<extra></extra>"),
        with_trace(hovertemplate="%{customdata[1]}<extra></extra>", customdata=[[1]]),
        with_trace(customdata=[[1], [2]]),
        with_trace(hovertemplate=None),
        {"alt": ""},
        {"alt": "no full stop at 2"},
        {"alt": "A bar chart of 2."},
        {"note": "no full stop"},
        {"id": "Two Words"},
        {"layout": {"xaxis": {"tilte": "unknown key"}}},
        {"traces": ()},
    ],
    ids=str,
)
def test_a_figure_that_does_not_is_found(wrong):
    check(GOOD)
    with pytest.raises((AssertionError, ValueError)):
        check(GOOD.model_copy(update=wrong))


NAMED = Cell(text="a")


@pytest.mark.parametrize(
    "rows",
    [
        (),
        ((NAMED,),),
        ((NAMED, Cell(text="1", key=1.0)), (NAMED, Cell(text="2", key="2"))),
        ((NAMED, Cell(text="1", key=float("nan"))),),
    ],
    ids=["none", "narrow", "mixed keys", "no number"],
)
def test_a_table_that_does_not_is_found(rows):
    with pytest.raises(AssertionError):
        check_table(Table(id="one", title="One", headings=("what", "n"), rows=rows))


def test_colours_are_put_in_wherever_they_stand():
    given = {"marker": {"color": [BEST, BEST]}, "colorscale": SEQUENTIAL, "x": [1]}
    found = coloured(given, DARK, "dark")
    assert found["marker"] == {"color": [DARK[BEST]] * 2}
    assert found["colorscale"][0][0] == 0
    assert found["x"] == [1]
    assert coloured(given)["marker"]["color"][0] == LIGHT[BEST]


def test_points_without_a_place_are_not_counted():
    trace = {"type": "scatter", "x": [1, None, 3], "y": [1, 2, None], "hoverinfo": "skip"}
    assert points(GOOD.model_copy(update={"traces": (trace,)})) == 1


def test_a_name_is_no_variable_of_a_template_and_no_tag():
    assert "%{" not in in_template("%{x} of <b>")
    assert "<" not in in_template("%{x} of <b>")


def test_a_long_name_is_cut_before_it_is_escaped():
    assert cut("<" * 30, 5) == "&lt;" * 4 + "…"
    assert cut("short", 5) == "short"


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ([1e-6, 1e-2], ["1e-06", "0.0001", "0.01"]),
        ([0.3, 2.0], ["0.5", "1", "2"]),
        ([0.01], ["0.01"]),
        ([73.0], ["70", "100"]),
        ([], ["0.0001", "0.001", "0.01"]),
        ([1e-9, 1.0], ["1e-09", "1e-06", "0.001", "1"]),
    ],
    ids=["decades", "less than one", "one value", "one value between", "none", "many decades"],
)
def test_a_logarithmic_axis_has_few_ticks_at_round_numbers(values, ticks):
    axis = log_axis(values, "{:g}".format)
    assert [tick for tick in axis["ticktext"] if tick in ticks] == ticks
    assert len(axis["ticktext"]) <= MOST
    low, high = (10**end for end in axis["range"])
    assert all(low < value < high for value in values)
    assert all(low <= tick <= high for tick in axis["tickvals"])


@pytest.mark.parametrize("value", [1.0 + 0.07 * turn for turn in range(130)])
def test_one_value_alone_has_a_tick_near_it(value):
    assert log_axis([value], "{:g}".format)["ticktext"]
