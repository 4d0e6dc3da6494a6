"""The best schedule and the others, drawn and as a table."""

import math

import pytest
from figures import check, check_table
from pages import SCENARIOS, report_of

from autofreeze.intervals import Interval
from autofreeze.proportions import LIMIT
from autofreeze.report.page.figure import Absent
from autofreeze.report.page.figures import against
from autofreeze.report.report import Report

CONFIRMED = [name for name, made in SCENARIOS.items() if made.confirmed and made.concluded]


def segments(trace):
    """The stretches of a line with gaps, by height."""
    ends = list(zip(trace["x"], trace["y"], strict=True))
    return {round(y, 3): (low, high) for (low, y), (high, _) in zip(ends[::3], ends[1::3], strict=True)}


def named(figure, name):
    return next((trace for trace in figure.traces if trace.get("name") == name), None)


def decided(report):
    return [row for row in report.compared if row.decision is not None]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_kind_of_search_is_drawn_or_says_why_not(scenario):
    report = report_of(scenario)
    figure, table = check(against.figure(report)), check_table(against.table(report))
    assert isinstance(figure, Absent) == isinstance(table, Absent) == (report.result.best is None)


@pytest.mark.parametrize("scenario", CONFIRMED)
def test_means_and_their_intervals_are_those_of_the_report(scenario):
    report = report_of(scenario)
    figure = against.figure(report)
    drawn, spans = named(figure, "validation, fresh seeds"), segments(figure.traces[0])
    rows = [row for row in report.document()["compared"] if row["confirmed"] is not None]
    assert [float(data[1]) for data in drawn["customdata"]] == [row["confirmed"]["mean"] for row in rows]
    for row, x, y in zip(rows, drawn["x"], drawn["y"], strict=True):
        assert x == pytest.approx(row["confirmed"]["mean"], rel=1e-5)
        assert row["name"][:12] in figure.layout["yaxis"]["ticktext"][round(y)]
        assert spans[round(y, 3)] == (row["confirmed"]["low"], row["confirmed"]["high"])


@pytest.mark.parametrize("scenario", CONFIRMED)
def test_the_best_stands_on_top_and_the_others_below_it_in_the_report_s_order(scenario):
    report = report_of(scenario)
    axis = against.figure(report).layout["yaxis"]
    ticks = [text for _, text in sorted(zip(axis["tickvals"], axis["ticktext"], strict=True), reverse=True)]
    assert ticks[0].startswith("<b>best: ")
    assert len(ticks) == len(report.compared)
    for tick, row in zip(ticks[1:], report.compared[1:], strict=True):
        assert tick.startswith(f"<b>{row.name[:18]}")


@pytest.mark.parametrize("scenario", CONFIRMED)
def test_differences_and_their_intervals_are_those_of_the_report(scenario):
    report = report_of(scenario)
    figure, rows = against.figure(report), decided(report)
    unit = 100 if report.result.scale.unit == "points" else 1
    spans = segments(next(trace for trace in figure.traces if trace.get("xaxis") == "x2"))
    marks = {}
    for trace in figure.traces:
        if trace.get("xaxis") == "x2" and "customdata" in trace:
            for y, data in zip(trace["y"], trace["customdata"], strict=True):
                marks[y] = (float(data[1]), trace["name"])
    for place, row in enumerate(reversed(rows)):
        assert spans[place] == (unit * row.low, unit * row.high)
        assert row.name[:12] in figure.layout["yaxis2"]["ticktext"][place]
        assert marks[place] == (row.lead, against.DECISION_MARKS[row.decision][0])


@pytest.mark.parametrize(
    ("scenario", "words"),
    [("undecided", "undecided"), ("no_difference", "no difference"), ("full", "the best is better")],
)
def test_the_decision_is_said_in_words_beside_each_row(scenario, words):
    figure, rows = against.figure(report_of(scenario)), decided(report_of(scenario))
    ticks = figure.layout["yaxis2"]["ticktext"]
    assert len(ticks) == len(rows)
    for tick, row in zip(reversed(ticks), rows, strict=True):
        assert tick.endswith(against.DECISION_MARKS[row.decision][0])
    assert any(tick.endswith(words) for tick in ticks)
    assert words in figure.alt


@pytest.mark.parametrize(("scenario", "unit"), [("full", 100), ("log_loss", 1), ("own", 1)])
def test_the_grey_band_is_what_counts_as_no_difference(scenario, unit):
    report = report_of(scenario)
    (band,) = against.figure(report).layout["shapes"]
    delta = unit * report.result.confirmation.delta
    assert (band["x0"], band["x1"]) == (pytest.approx(-delta), pytest.approx(delta))


def test_test_scores_are_those_of_the_report_with_their_intervals():
    report = report_of("full")
    figure = against.figure(report)
    drawn = named(figure, "test")
    assert [float(data[1]) for data in drawn["customdata"]] == [
        one.value for row in report.compared for one in report.verdict.test if one.trial == row.trial
    ]
    spans = segments(next(trace for trace in figure.traces if trace.get("line", {}).get("dash") == "dot"))
    assert sorted(spans.values()) == sorted((one.low, one.high) for one in report.verdict.test)


@pytest.mark.parametrize("scenario", ["unconfirmed", "unconcluded", "one_trial", "two_thousand_unconfirmed"])
def test_search_values_are_hollow_and_never_beside_a_claim(scenario):
    if scenario == "two_thousand_unconfirmed":
        report = report_of("two_thousand")
        report = Report(report.result.model_copy(update={"confirmation": None}))
    else:
        report = report_of(scenario)
    figure = check(against.figure(report))
    assert figure.title.endswith("(unconfirmed)")
    assert "xaxis2" not in figure.layout
    (drawn,) = [trace for trace in figure.traces if "customdata" in trace]
    assert drawn["marker"]["symbol"] == "circle-open"
    rows = [row for row in report.compared if row.value is not None]
    assert [float(data[1]) for data in drawn["customdata"]] == [row.value for row in rows]
    low, high = segments(figure.traces[0])[drawn["y"][0]]
    assert high == pytest.approx(min(rows[0].value + LIMIT * rows[0].standard_error, 1))
    assert low == pytest.approx(rows[0].value - LIMIT * rows[0].standard_error)


def test_a_baseline_that_was_no_candidate_is_hollow_and_marked():
    report = report_of("full")
    found = report.result.confirmation
    less = found.model_copy(
        update={
            "candidates": tuple(one for one in found.candidates if one.trial != 1),
            "comparisons": tuple(one for one in found.comparisons if one.against != 1),
        }
    )
    figure = check(against.figure(Report(report.result.model_copy(update={"confirmation": less}))))
    drawn = named(figure, "in the search, one seed a fold")
    assert [data[0] for data in drawn["customdata"]] == ["linear_probe"]
    assert figure.layout["yaxis"]["ticktext"][0].endswith("search only")
    assert "not to be compared" in figure.note


def test_an_interval_that_nobody_knows_is_not_drawn():
    report = report_of("full")
    found = report.result.confirmation
    wide = Interval(estimate=0.01, low=-math.inf, high=math.inf, standard_error=math.inf, images=1, seeds=6)
    comparisons = tuple(
        one.model_copy(update={"interval": wide, "decision": "undecided"}) for one in found.comparisons
    )
    candidates = tuple(
        one.model_copy(update={"low": -math.inf, "high": math.inf}) for one in found.candidates
    )
    found = found.model_copy(update={"comparisons": comparisons, "candidates": candidates})
    figure = check(against.figure(Report(report.result.model_copy(update={"confirmation": found}))))
    told = [
        data for trace in figure.traces if trace.get("xaxis") == "x2" for data in trace.get("customdata", ())
    ]
    assert {data[2] for data in told} == {"how far off is not known"}
    assert segments(next(trace for trace in figure.traces if trace.get("xaxis") == "x2")) == {}


@pytest.mark.parametrize("scenario", ["log_loss", "own"])
def test_the_axis_says_when_less_is_better(scenario):
    layout = against.figure(report_of(scenario)).layout
    assert layout["xaxis"]["title"]["text"].endswith("(less is better)")
    assert layout["xaxis2"]["title"]["text"].startswith("the best leads by")


@pytest.mark.parametrize("scenario", ["full", "log_loss", "own"])
def test_everything_drawn_lies_within_the_axes(scenario):
    figure = against.figure(report_of(scenario))
    for trace in figure.traces:
        low, high = figure.layout[f"xaxis{trace.get('xaxis', 'x')[1:]}"]["range"]
        assert all(low < x < high for x in trace["x"] if x is not None)


def test_work_stands_beside_each_name():
    report = report_of("full")
    ticks = against.figure(report).layout["yaxis"]["ticktext"]
    assert all("× full" in tick for tick in ticks)
    assert "1.00 × full" in next(tick for tick in ticks if tick.startswith("<b>full"))


def test_the_words_name_means_leads_and_decisions():
    report = report_of("full")
    words, scale = against.figure(report).alt, report.result.scale
    for row in report.compared:
        assert scale.figure(row.confirmed.mean) in words
        if row.decision is not None:
            assert f"{scale.lead(row.lead)} ({scale.lead_span(row.low, row.high)})" in words


def test_the_table_has_the_same_numbers():
    report = report_of("full")
    table = against.table(report)
    at = {heading: place for place, heading in enumerate(table.headings)}
    for row, cells in zip(report.compared, table.rows, strict=True):
        assert cells[at["top1"]].key == row.confirmed.mean
        assert cells[at["the best leads by"]].key == row.lead
        assert cells[at["the best is"]].text == (row.decision or "–")
        assert cells[at["top1 in the search"]].key == row.value
    assert [cells[0].strong for cells in table.rows] == [True] + [False] * (len(table.rows) - 1)


def test_a_table_of_an_unconfirmed_search_has_no_fresh_seeds():
    assert against.table(report_of("unconfirmed")).headings[1] == "top1 in the search"
