"""The search itself: best so far, trials by end, what was saved, and who did what when."""

import math
from collections import Counter

import pytest
from figures import check, points
from pages import SCENARIOS, report_of

from autofreeze.evidence import Evidence
from autofreeze.report.page.figure import Absent
from autofreeze.report.page.figures import endings, progress, savings, workers
from autofreeze.report.page.shifts import MANY, Pause, bars_of, busy_of, pauses_of, without, worker_of
from autofreeze.report.report import Report
from autofreeze.results import Ending
from autofreeze.savings import Savings
from autofreeze.timeline import Stretch

SEARCHES = [name for name in SCENARIOS if not isinstance(progress.figure(report_of(name)), Absent)]


def with_evidence(scenario="full", **fields):
    return Report(report_of(scenario).result, Evidence(**fields))


# Best so far


def line_of(figure):
    return next(trace for trace in figure.traces if trace["name"] == "best so far")


@pytest.mark.parametrize("scenario", SEARCHES)
def test_the_line_only_ever_gets_better_and_ends_at_the_best_of_all(scenario):
    report = report_of(scenario)
    line = line_of(progress.figure(report))
    scale = report.result.scale
    falls = scale.unit == "nats" or scale.direction == "minimize"
    values = [told[1] for told in line["customdata"]]
    assert values == sorted(values, reverse=falls)
    shown = [
        scale.shown(one.value)
        for one in report.result.trials
        if one.ending is Ending.COMPLETE and one.affordable
    ]
    assert values[-1] == (min if falls else max)(shown)
    assert line["x"] == sorted(line["x"])
    assert line["x"][-1] == len(report.result.trials)


def test_the_direction_is_that_of_the_metric():
    assert (
        progress.figure(report_of("log_loss")).layout["yaxis"]["title"]["text"] == "log_loss (less is better)"
    )
    assert progress.figure(report_of("own")).layout["yaxis"]["title"]["text"] == "rmse (less is better)"
    assert progress.figure(report_of("full")).layout["yaxis"]["title"]["text"] == "top1"


@pytest.mark.parametrize("scenario", SEARCHES)
def test_every_trial_that_was_trained_is_drawn_once(scenario):
    report = report_of(scenario)
    figure = progress.figure(report)
    shown = Counter(
        told[0]
        for trace in figure.traces
        if trace["mode"] == "markers" and trace["marker"]["symbol"] != "star"
        for told in trace["customdata"]
    )
    trained = [one for one in report.result.trials if one.ending not in (Ending.TOO_DEAR, Ending.UNFINISHED)]
    assert shown == Counter(one.number for one in trained)


def test_baselines_are_marked():
    report = report_of("full")
    trace = next(one for one in progress.figure(report).traces if one["name"] == "baseline")
    numbers = {told[0] for told in trace["customdata"]}
    assert numbers == {one.number for one in report.result.trials if one.baseline and one.value is not None}


def test_a_trial_over_the_cost_allowed_cannot_be_best():
    report = report_of("unconfirmed")
    best = max((one for one in report.result.trials if one.value is not None), key=lambda one: one.value)
    trials = tuple(
        one.model_copy(update={"affordable": one.number != best.number}) for one in report.result.trials
    )
    result = report.result.model_copy(update={"trials": trials})
    assert best.number not in [one.number for one in progress.best_so_far(result)]
    assert best.number in [one.number for one in progress.best_so_far(report.result)]


def test_a_trial_that_fresh_seeds_chose_is_marked_and_told():
    report = report_of("full")
    figure = progress.figure(report)
    chosen = next(trace for trace in figure.traces if trace["name"] == "chosen on fresh seeds")
    assert chosen["customdata"][0][0] == report.result.confirmation.chosen
    assert "chosen on fresh seeds" not in [
        one["name"] for one in progress.figure(report_of("unconfirmed")).traces
    ]


def test_work_is_told_up_to_each_step():
    report = report_of("full")
    told = line_of(progress.figure(report))["customdata"]
    assert told[-1][0] > 0
    for number, _, work in told:
        assert work == pytest.approx(sum(one.work for one in report.result.trials if one.number <= number))


def test_a_value_that_is_no_number_is_not_drawn():
    report = report_of("log_loss")
    first = next(one for one in report.result.trials if one.value is not None)
    trials = tuple(
        one.model_copy(update={"value": 0.0}) if one is first else one for one in report.result.trials
    )
    figure = check(progress.figure(Report(report.result.model_copy(update={"trials": trials}))))
    drawn = {told[0] for trace in figure.traces for told in trace["customdata"] if len(told) > 2}
    assert first.number not in drawn


# Trials by end


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_bars_are_the_endings_of_the_report_and_add_up_to_its_trials(scenario):
    report = report_of(scenario)
    figure = endings.figure(report)
    if not report.result.trials:
        assert isinstance(figure, Absent)
        return
    counts = Counter()
    for trace in figure.traces:
        if trace["type"] == "bar":
            counts.update(dict(zip(figure.layout["yaxis"]["ticktext"], trace["x"], strict=True)))
    told = report.document()["endings"]
    assert sorted(counts.values()) == sorted(told.values())
    assert sum(counts.values()) == len(report.result.trials)
    assert all(str(count) in figure.alt for count in told.values())


def test_baselines_are_hatched_within_their_ending():
    report = report_of("full")
    bars = [trace for trace in endings.figure(report).traces if trace["type"] == "bar"]
    assert len({trace["marker"]["pattern"]["shape"] for trace in bars}) == len(bars) == 2
    baselines = next(trace for trace in bars if trace["name"] == "baseline")
    assert sum(baselines["x"]) == sum(one.baseline is not None for one in report.result.trials)


def test_where_there_are_baselines_alone_their_hatch_is_explained():
    report = report_of("full")
    baselines = tuple(one for one in report.result.trials if one.baseline)
    figure = endings.figure(Report(report.result.model_copy(update={"trials": baselines})))
    assert figure.layout["showlegend"]
    assert [trace["name"] for trace in figure.traces if trace["type"] == "bar"] == ["baseline"]
    drawn = tuple(one for one in report.result.trials if not one.baseline)
    plain = endings.figure(Report(report.result.model_copy(update={"trials": drawn, "confirmation": None})))
    assert not plain.layout["showlegend"]


def test_few_trials_are_counted_in_whole_numbers():
    for module in (endings, progress):
        assert module.figure(report_of("under_way")).layout["xaxis"]["dtick"] == 1
        assert "dtick" not in module.figure(report_of("full")).layout["xaxis"]


def test_each_ending_is_explained():
    assert set(endings.MEANINGS) == set(Ending)


# What was saved


def parts(figure):
    return {told[0]: told[2] for told in figure.traces[0]["customdata"]}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_what_was_computed_and_stored_is_what_was_spent(scenario):
    found = report_of(scenario).evidence.savings
    figure = savings.figure(report_of(scenario))
    if isinstance(figure, Absent):
        assert found is None or not found.spent
        return
    told = parts(figure)
    assert told["computed"] + told.get("read from stores", 0) == pytest.approx(found.spent)
    assert told.get("pruned: unpromising") == found.by_unpromising
    assert told.get("pruned: unstable") == found.by_unstable
    assert told["equal trials"] == found.by_sharing


def test_each_step_begins_where_the_last_one_ended_and_shares_add_up():
    bars = savings.figure(report_of("full")).traces[0]
    ends = [base + length for base, length in zip(bars["base"], bars["x"], strict=True)]
    assert bars["base"] == pytest.approx([0, *ends[:-1]], rel=1e-5)
    assert math.fsum(told[3] for told in bars["customdata"]) == pytest.approx(1)


def test_each_label_has_room_on_the_axis():
    even = Savings(spent=100.0, by_unpromising=50.0, by_unstable=0.0, by_sharing=300.0, by_stores=0.0)
    for found in (even, report_of("full").evidence.savings):
        figure = savings.figure(with_evidence(savings=found))
        bars, labels = figure.traces
        _, end = figure.layout["xaxis"]["range"]
        whole = max(base + length for base, length in zip(bars["base"], bars["x"], strict=True))
        for x, side in zip(labels["x"], labels["textposition"], strict=True):
            room = x if side == "middle left" else end - x
            assert room >= 0.44 * whole


def test_what_is_not_known_is_said_and_not_drawn():
    known = Savings(spent=100.0, by_unpromising=None, by_unstable=20.0, by_sharing=0.0, by_stores=None)
    figure = check(savings.figure(with_evidence(savings=known)))
    assert parts(figure) == {"computed": 100.0, "pruned: unstable": 20.0, "equal trials": 0.0}
    assert "Not known here: read from stores and pruned: unpromising." in figure.note
    assert "80" not in figure.alt
    assert "120" in figure.alt


def test_nothing_spent_and_nothing_told_are_kept_apart():
    assert "does not say" in savings.figure(report_of("without_evidence")).reason
    nothing = Savings(spent=0.0, by_unpromising=0.0, by_unstable=0.0, by_sharing=0.0, by_stores=0.0)
    assert "Nothing was trained" in savings.figure(with_evidence(savings=nothing)).reason


# Workers


def stretch(began, ended, *, trial=0, where="", lane=0, fresh=None):
    fold = 0 if fresh is None else None
    return Stretch(where=where, lane=lane, trial=trial, fold=fold, fresh=fresh, began=began, ended=ended)


@pytest.mark.parametrize("scenario", ["full", "cluster", "hostile", "under_way", "only_failed"])
def test_every_stretch_is_a_bar_at_its_time_in_its_workers_row(scenario):
    report = report_of(scenario)
    figure = workers.figure(report)
    drawn = Counter()
    rows = {}
    for trace in figure.traces:
        if trace["type"] == "bar":
            for row, (began, ended, trial, run) in zip(trace["y"], trace["customdata"], strict=True):
                drawn[began, ended, trial, run] += 1
                rows[began, ended, trial, run] = row
    told = report.evidence.timeline
    assert drawn == Counter(
        (one.began, one.ended, one.trial, one.fold if one.fresh is None else one.fresh) for one in told
    )
    by_worker = {worker_of(one): set() for one in told}
    for one in told:
        key = (one.began, one.ended, one.trial, one.fold if one.fresh is None else one.fresh)
        by_worker[worker_of(one)].add(rows[key])
    assert len(by_worker) == len(set().union(*by_worker.values())) == len(figure.layout["yaxis"]["ticktext"])


def test_fresh_seeds_are_hatched_otherwise_than_trials():
    hatches = {
        one["name"]: one["marker"]["pattern"]["shape"]
        for one in workers.figure(report_of("full")).traces[:-1]
    }
    assert "fresh seed" in hatches
    assert len(set(hatches.values())) == len(hatches)


def test_one_worker_is_this_machine_and_several_have_their_names():
    assert workers.figure(report_of("full")).layout["yaxis"]["ticktext"] == ["this machine"]
    names = workers.figure(with_evidence(timeline=(stretch(0, 1, where="a"), stretch(0, 1, where="b"))))
    assert names.layout["yaxis"]["ticktext"] == ["a", "b"]
    lanes = workers.figure(
        with_evidence(timeline=(stretch(0, 1, where="a"), stretch(0, 1, where="a", lane=1)))
    )
    assert lanes.layout["yaxis"]["ticktext"] == ["a · 1", "a · 2"]


def test_idle_time_is_what_lies_between_runs_and_what_overlaps_counts_once():
    told = (
        stretch(0, 4, where="a"),
        stretch(2, 6, where="a"),
        stretch(8, 10, where="a"),
        stretch(0, 5, where="b"),
    )
    assert busy_of(told) == {worker_of(told[0]): 8, worker_of(told[3]): 5}
    figure = workers.figure(with_evidence(timeline=told))
    assert "Idle: a for 20 % and b for 50 % of the time." in figure.note
    assert "Idle: a for 20 % and b for 50 % of the time." in figure.alt


def test_a_pause_between_sessions_is_left_out_of_the_axis_and_of_idle_time():
    told = (stretch(0, 900), stretch(900 + 86_400, 1800 + 86_400))
    assert pauses_of(told) == [Pause(900, 900 + 86_400)]
    assert without(900 + 86_400 + 10, pauses_of(told)) == 910
    figure = check(workers.figure(with_evidence(timeline=told)))
    assert figure.layout["annotations"][0]["text"] == "pause: 24 h 0 min"
    assert figure.layout["xaxis"]["title"]["text"].endswith("pauses left out")
    bars = [trace for trace in figure.traces if trace["type"] == "bar"]
    assert [base for trace in bars for base in trace["base"]] == [0, 15]
    assert "for 0 % of the time" in figure.note
    assert "1 pause in which nobody trained, 24 h 0 min in all" in figure.note


def test_a_short_gap_is_no_pause_and_neither_is_one_in_which_another_worker_trained():
    assert pauses_of((stretch(0, 100), stretch(150, 300))) == []
    long = stretch(0, 3000, where="a")
    assert pauses_of((long, stretch(10, 20, where="b"), stretch(1000, 1100, where="b"))) == []
    assert pauses_of((stretch(0, 100), stretch(180, 300))) == [Pause(100, 180)]


def test_of_256_workers_the_height_is_bounded_and_each_is_told_on_hover():
    names = [f"node-{number:03} {'x' * 60}" for number in range(256)]
    told = tuple(stretch(turn, turn + 50 + turn % 7, where=name) for turn, name in enumerate(names))
    figure = check(workers.figure(with_evidence(timeline=told)))
    assert figure.height == workers.HIGHEST
    assert len(figure.layout["yaxis"]["ticktext"]) <= 20
    assert [one[0] for one in figure.traces[-1]["customdata"]] == names
    assert "median" in figure.note
    few = workers.figure(with_evidence(timeline=told[:2]))
    assert few.height < 300


def test_of_thousands_of_stretches_neighbours_of_one_kind_are_one_bar_and_no_time_is_lost():
    told = report_of("two_thousand").evidence.timeline
    assert len(told) > MANY
    figure = workers.figure(report_of("two_thousand"))
    bars = [trace for trace in figure.traces if trace["type"] == "bar"]
    drawn = sum(len(trace["x"]) for trace in bars)
    assert drawn < len(told) / 2
    runs = sum(int(one[2].split()[0]) for trace in bars for one in trace["customdata"])
    assert runs == len(told)
    assert "one bar" in figure.note


def test_only_neighbours_of_one_kind_and_one_worker_are_joined():
    told = [stretch(turn, turn + 1, trial=turn, where="ab"[turn % 2 == 0]) for turn in range(MANY + 1)]
    bars = bars_of(told, lambda one: one.trial < 700, seconds=MANY + 1e4)
    assert sum(len(one.stretches) for one in bars) == len(told)
    for bar in bars:
        assert len({worker_of(one) for one in bar.stretches}) == 1
        assert len({one.trial < 700 for one in bar.stretches}) == 1
    assert len(bars) == 4
    assert len(bars_of(told[:-1], lambda one: 0, seconds=1e6)) == MANY
    apart = [stretch(2 * turn, 2 * turn + 1) for turn in range(MANY + 1)]
    assert len(bars_of(apart, lambda one: 0, seconds=500)) == len(apart)
    assert len(bars_of(apart, lambda one: 0, seconds=5000)) == 1


def test_a_trial_that_the_result_does_not_hold_is_drawn_all_the_same():
    figure = check(workers.figure(with_evidence(timeline=(stretch(0, 1, trial=99_999),))))
    assert points(figure) == 2


def test_without_times_it_says_why():
    assert "no times were kept" in workers.figure(report_of("without_evidence")).reason
