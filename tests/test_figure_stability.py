"""Where a search was unstable, and the first gradient into the backbone."""

import re
from itertools import pairwise

import pytest
from figures import check, check_table
from pages import SCENARIOS, report_of

from autofreeze.firstgradients import first_steps
from autofreeze.instabilities import ROWS
from autofreeze.report.page.figure import Absent
from autofreeze.report.page.figures import gradient, unstable
from autofreeze.report.page.palette import DARK, LIGHT, SCALES
from autofreeze.report.report import Report
from autofreeze.report.words import BROKEN
from autofreeze.results import Ending


def changed(scenario, change):
    """The report of a scenario with other trials."""
    report = report_of(scenario)
    trials = tuple(map(change, report.result.trials))
    return Report(report.result.model_copy(update={"trials": trials}), report.evidence)


def stable(trial):
    if trial.ending is Ending.UNSTABLE:
        return trial.model_copy(update={"ending": Ending.FAILED})
    return trial


# The map


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_cells_are_those_of_the_report_and_add_up_to_its_runs(scenario):
    report = report_of(scenario)
    figure, found = unstable.figure(report), report.stability.instabilities
    if not found.unstable.count:
        assert isinstance(figure, Absent)
        return
    (trace,) = figure.traces
    decades = [int(re.match(r"1e(-?\d+) to", tick)[1]) for tick in figure.layout["yaxis"]["ticktext"]]
    drawn = {
        (row, decade): trace["text"][line][column]
        for line, decade in enumerate(decades)
        for column, row in enumerate(ROWS)
        if trace["text"][line][column]
    }
    assert set(drawn) == {(one.row, one.decade) for one in found.cells}
    for one in found.cells:
        assert drawn[one.row, one.decade].startswith(f"{one.unstable.count} of {one.unstable.of}<br>")
    counts = [tuple(map(int, re.findall(r"\d+", text)[:2])) for text in drawn.values()]
    assert tuple(map(sum, zip(*counts, strict=True))) == (found.unstable.count, found.unstable.of)


def luminance(colour):
    parts = (int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def on_scale(stops, share):
    """The colour at a share of a scale."""
    (low, first), (high, last) = next(pair for pair in pairwise(stops) if pair[0][0] <= share <= pair[1][0])
    part = (share - low) / (high - low)
    mixed = (
        round(int(first[at : at + 2], 16) * (1 - part) + int(last[at : at + 2], 16) * part)
        for at in (1, 3, 5)
    )
    return "#" + "".join(f"{one:02x}" for one in mixed)


@pytest.mark.parametrize(("name", "dress"), [("light", LIGHT), ("dark", DARK)])
def test_counts_are_legible_on_every_colour_that_a_cell_may_have(name, dress):
    (trace,) = unstable.figure(report_of("full")).traces
    ink = luminance(dress[trace["textfont"]["color"]])
    for step in range(11):
        cell = luminance(on_scale(SCALES[trace["colorscale"]][name], step / 10 / trace["zmax"]))
        assert (max(ink, cell) + 0.05) / (min(ink, cell) + 0.05) > 4.5  # WCAG 2.2, level AA


def test_a_cell_tells_its_share_its_interval_and_the_kinds_in_full():
    report = report_of("full")
    (trace,) = unstable.figure(report).traces
    told = {cell[0]: cell[1:] for line in trace["customdata"] for cell in line}
    for one in report.stability.instabilities.cells:
        where = f"{one.row}, peak rate 1e{one.decade} to 1e{one.decade + 1}"
        share, interval, kinds = told[where]
        assert share.endswith(repr(one.unstable.count / one.unstable.of))
        assert interval == f"95 % interval {one.unstable.low!r} to {one.unstable.high!r}"
        assert all(f"{count} × {kind}" in kinds for kind, count in one.kinds.items())


def test_the_map_is_told_in_words():
    report = report_of("full")
    figure, found = unstable.figure(report), report.stability.instabilities
    assert figure.alt.startswith(f"{found.unstable.count} of {found.unstable.of} runs became unstable")
    worst = max(found.cells, key=lambda one: one.unstable.count / one.unstable.of)
    assert f"most often {worst.unstable.count} of {worst.unstable.of} " in figure.alt
    told = sum(map(int, re.findall(r"(\d+) of (?:the )?\d+", figure.alt)))
    assert told == 2 * found.unstable.count


def test_nothing_unstable_is_told_with_its_upper_bound():
    report = changed("full", stable)
    assert re.fullmatch(
        r"Nothing became unstable in \d+ runs \(95 % interval: at most \d+ %\)\.",
        unstable.figure(report).reason,
    )


def test_before_any_run_can_be_told_it_says_so():
    assert "No run has come so far" in unstable.figure(report_of("no_trial")).reason


# Reasons


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_reasons_add_up_to_the_trials_that_broke_off(scenario):
    report = report_of(scenario)
    table = check_table(unstable.table(report))
    broken = [one for one in report.result.trials if one.ending in BROKEN]
    assert isinstance(table, Absent) == (not broken)
    if broken:
        assert sum(row[2].key for row in table.rows) == len(broken)
        counts = [row[2].key for row in table.rows]
        assert counts == sorted(counts, reverse=True)


def test_runs_that_were_unstable_in_one_way_are_one_reason_whatever_their_numbers():
    def other_numbers(trial):
        if trial.ending is Ending.UNSTABLE:
            return trial.model_copy(update={"reason": f"loss spike at step {trial.number}: <b>high</b>\n"})
        return trial

    table = check_table(unstable.table(changed("two_thousand", other_numbers)))
    rows = {row[1].text: row for row in table.rows if row[0].text == Ending.UNSTABLE.value}
    assert list(rows) == ["loss spike"]
    count = sum(one.ending is Ending.UNSTABLE for one in report_of("two_thousand").result.trials)
    assert rows["loss spike"][2].text == f"{count}"
    assert rows["loss spike"][3].text.endswith(": <b>high</b>\\n")


def test_of_many_reasons_the_rarest_are_counted():
    def own_reason(trial):
        return trial.model_copy(update={"ending": Ending.FAILED, "reason": f"error {trial.number}"})

    table = unstable.table(changed("full", own_reason))
    assert len(table.rows) == unstable.MOST_REASONS == 40
    assert table.note == ""
    many = unstable.table(changed("two_thousand", own_reason))
    assert len(many.rows) == 40
    assert many.note == "1960 rarer reasons more in report.json."


def test_without_a_broken_trial_it_says_so():
    assert "No trial became unstable" in unstable.table(report_of("one_trial")).reason


# The first gradient


def sides(figure):
    median = next(trace for trace in figure.traces if trace["name"].startswith("median"))
    return [(told[0], told[2]) for told in median["customdata"]]


def test_the_points_are_the_first_gradients_of_the_runs_drawn():
    report = report_of("full")
    figure = gradient.figure(report)
    drawn = {told[0]: told[1] for trace in figure.traces[:2] for told in trace["customdata"]}
    begun = {one.trial.number: one.norm for one in first_steps(report.result.trials)}
    assert len(drawn) > 10
    assert drawn.items() <= begun.items()
    left_out = int(re.search(r"Not drawn: (\d+) run", figure.note)[1])
    assert len(drawn) + left_out == len(begun)


def test_the_medians_are_those_of_the_report_with_their_intervals():
    report = report_of("full")
    figure = gradient.figure(report)
    first = report.stability.beginnings.gradients[0]
    assert sides(figure)[:2] == [
        ("at once", first.at_once.norm.median),
        ("after a warm-up", first.after_warmup.norm.median),
    ]
    median = next(trace for trace in figure.traces if trace["name"].startswith("median"))
    bars = median["error_y"]
    for place, norm in enumerate((first.at_once.norm, first.after_warmup.norm)):
        if norm.high is not None:
            assert norm.median + bars["array"][place] == pytest.approx(norm.high, rel=1e-5)
            assert norm.median - bars["arrayminus"][place] == pytest.approx(norm.low, rel=1e-5)
    assert f"{first.at_once.norm.median:.3g} at once ({first.at_once.runs} runs" in figure.alt
    ratio = f"{first.ratio.median:.2g} ({first.ratio.low:.2g} to {first.ratio.high:.2g})"
    assert f"after a warm-up it is {ratio} times as large" in figure.alt
    assert f"it is after a warm-up × {ratio} of that at once, by {first.ratio.n} warm-ups." in figure.note


def test_runs_at_once_and_after_a_warmup_have_other_marks():
    at_once, after = gradient.figure(report_of("full")).traces[:2]
    assert at_once["marker"]["symbol"] != after["marker"]["symbol"]
    assert max(at_once["x"]) < 0.5 or min(after["x"]) > 0.5


def test_the_axis_is_logarithmic_and_holds_all_points():
    figure = gradient.figure(report_of("two_thousand"))
    axis = figure.layout["yaxis"]
    assert axis["type"] == "log"
    low, high = (10**end for end in axis["range"])
    assert all(low < y < high for trace in figure.traces for y in trace["y"])


def test_a_gradient_of_zero_has_no_place_and_is_counted():
    def zero_head(trial):
        if trial.thaw is None or trial.number % 2:
            return trial
        norms = tuple(None if norm is None else 0.0 for norm in trial.thaw.grad_norms)
        return trial.model_copy(update={"thaw": trial.thaw.model_copy(update={"grad_norms": norms})})

    report = changed("full", zero_head)
    zeros = sum(one.norm == 0 for one in first_steps(report.result.trials))
    figure = check(gradient.figure(report))
    assert f"{zeros} runs had a gradient of zero" in figure.note


def test_where_nothing_began_both_ways_it_shows_what_there_is_and_says_so():
    def one_way(trial):
        known = trial.schedule.warmup_epochs == 0
        return trial if known else trial.model_copy(update={"thaw": None})

    figure = check(gradient.figure(changed("full", one_way)))
    assert "nothing to compare" in figure.note
    assert {row for row, _ in sides(figure)} == {"at once"}


def test_without_a_thaw_it_says_why():
    report = changed("full", lambda trial: trial.model_copy(update={"thaw": None}))
    assert "No run tells of it" in gradient.figure(report).reason
