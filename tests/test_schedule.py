"""The schedule as a value, and what trains when."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autofreeze.errors import ConfigError
from autofreeze.schedule import Phase, Schedule, Timetable, format_rate, round_rate, rows_of

GROUPS = ("stem", "layer1", "head")
VALID = {"groups": list(GROUPS), "phases": [{"epochs": 2, "lrs": [None, 1e-4, 1e-3]}]}

rates = st.floats(1e-9, 10.0)
cells = st.one_of(st.none(), rates)


def rows(width: int):
    return st.lists(cells, min_size=width, max_size=width).filter(lambda row: any(row))


@st.composite
def schedules(draw, lengths=st.floats(0.01, 50)):  # noqa: B008 - a strategy is no call with an effect
    width = draw(st.integers(2, 9))
    phases = draw(st.lists(st.tuples(lengths, rows(width)), min_size=1, max_size=6))
    return Schedule(
        groups=tuple(f"g{column}" for column in range(width)),
        phases=tuple(Phase(epochs=epochs, lrs=tuple(lrs)) for epochs, lrs in phases),
        curve=draw(st.sampled_from(["constant", "cosine"])),
        curve_over=draw(st.sampled_from(["run", "phase"])),
        lr_ramp_epochs=draw(st.floats(0, 1)) * min(epochs for epochs, _ in phases),
    )


def table(*phases, groups=GROUPS, **curve) -> Schedule:
    rows = tuple(Phase(epochs=epochs, lrs=tuple(lrs)) for epochs, lrs in phases)
    return Schedule(groups=groups, phases=rows, **curve)


# Files


@settings(max_examples=30, deadline=None)
@given(schedule=schedules())
def test_a_saved_schedule_comes_back_equal(schedule, tmp_path_factory):
    path = tmp_path_factory.mktemp("s") / "schedule.yaml"
    schedule.save(path)
    assert Schedule.load(path) == schedule
    assert Schedule.load(path).digest == schedule.digest


def test_cells_are_found_by_their_names_in_any_order():
    data = {**VALID, "phases": [{"epochs": 2, "lrs": {"head": 1e-3, "stem": None, "layer1": 1e-4}}]}
    assert Schedule.from_plain(data) == Schedule.from_plain(VALID)


def test_a_file_that_holds_more_than_a_schedule_is_read_for_its_schedule(tmp_path):
    path = tmp_path / "export.yaml"
    path.write_text(
        "format: 1\nschedule:\n  groups: [a, head]\n  phases:\n  - {epochs: 1, lrs: {a: null, head: 1e-4}}\n"
    )
    assert Schedule.load(path) == table((1, [None, 1e-4]), groups=("a", "head"))


def test_equal_tables_are_equal_whatever_built_them():
    one, two = Schedule.from_plain(VALID), table((2.0, [None, 1e-4, 1e-3]))
    assert one == two
    assert hash(one) == hash(two)
    assert one.digest == two.digest
    assert one != two.model_copy(update={"curve": "constant"})


def test_a_schedule_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        table((2, [None, 1e-4, 1e-3])).curve = "constant"


# What is refused


def phase(**changes):
    return {**VALID, "phases": [{**VALID["phases"][0], **changes}]}


BAD = {
    "no mapping": ([1], ["got [1]; must be a mapping"]),
    "nothing": ({}, ["groups: missing", "phases: missing"]),
    "no phases": ({**VALID, "phases": []}, ["phases: got none; must be at least one"]),
    "phases as text": ({**VALID, "phases": "x"}, ["phases: got 'x'; must be a list"]),
    "phase as text": ({**VALID, "phases": ["x"]}, ["phases.0: got 'x'; must be a mapping"]),
    "no groups": ({"groups": [], "phases": []}, ["groups: got []; must hold at least 1"]),
    "groups that are numbers": (
        {**VALID, "groups": [1, "a", "head"]},
        ["groups.0: got 1; must be text"],
    ),
    "groups that are no list, cells by name": (
        {"groups": 3, "phases": [{"epochs": 1, "lrs": {"a": 1}}]},
        ["groups: got 3; must be a list"],
    ),
    "names twice": ({**VALID, "groups": ["a", "a", "b"]}, ["groups: names must differ, got a, a, b"]),
    "no time": (phase(epochs=0), ["phases.0.epochs: got 0; must be greater than 0"]),
    "negative time": (phase(epochs=-1), ["phases.0.epochs: got -1; must be greater than 0"]),
    "nan epochs": (phase(epochs=math.nan), ["phases.0.epochs: got nan; must be greater than 0"]),
    "endless": (phase(epochs=math.inf), ["phases.0.epochs: got inf; must be less than or equal to 100000"]),
    "epochs as a word": (phase(epochs="two"), ["phases.0.epochs: got 'two'; must be a number"]),
    "epochs true": (phase(epochs=True), ["phases.0.epochs: got True; must be a number"]),
    "rate 0": (phase(lrs=[None, 0, 1e-3]), ["phases.0.lrs.1: got 0; must be greater than 0"]),
    "rate nan": (phase(lrs=[None, math.nan, 1]), ["phases.0.lrs.1: got nan; must be greater than 0"]),
    "rate inf": (phase(lrs=[None, math.inf, 1]), ["phases.0.lrs.1: got inf; must be a finite number"]),
    "rate true": (phase(lrs=[None, True, 1]), ["phases.0.lrs.1: got True; must be a number"]),
    "too few cells": (
        phase(lrs=[1e-3]),
        ["phases.0.lrs: got 1 cells; must be one for each of the 3 groups"],
    ),
    "all frozen": (
        phase(lrs=[None, None, None]),
        ["phases.0.lrs: every group is frozen; at least one must train"],
    ),
    "names of cells": (
        phase(lrs={"stem": None, "layer2": 1e-4, "head": 1e-3}),
        ["phases.0.lrs.layer2: unknown; did you mean layer1?", "phases.0.lrs.layer1: missing"],
    ),
    "curve": ({**VALID, "curve": "cosin"}, ["curve: got 'cosin'; must be 'constant' or 'cosine'"]),
    "span": ({**VALID, "curve_over": "epoch"}, ["curve_over: got 'epoch'; must be 'run' or 'phase'"]),
    "ramp beyond the run": (
        {**VALID, "lr_ramp_epochs": 3},
        ["lr_ramp_epochs: got 3; must not exceed the run's 2 epochs"],
    ),
    "key": ({**VALID, "curv": "cosine"}, ["curv: unknown; did you mean curve?"]),
    "key of a phase": (phase(epoch=3), ["phases.0.epoch: unknown"]),
    "all at once, by field": (
        {"groups": ["a", "b"], "phases": [{"epochs": 0, "lrs": {"a": -1, "c": 1}}], "curv": 1},
        [
            "phases.0.lrs.c: unknown; known: a, b",
            "phases.0.lrs.b: missing",
            "phases.0.epochs: got 0; must be greater than 0",
            "phases.0.lrs.a: got -1; must be greater than 0",
            "curv: unknown; did you mean curve?",
        ],
    ),
    "names that are numbers": (
        {"groups": [1, ["b"]], "phases": [{"epochs": 1, "lrs": {"1": 1e-3, "b": 1e-3}}]},
        ["groups.0: got 1; must be text", "groups.1: got ['b']; must be text"],
    ),
    "all at once, by table": (
        {
            "groups": ["a", "a", "b"],
            "phases": [{"epochs": 1, "lrs": [1]}, {"epochs": 1, "lrs": [None] * 3}],
            "lr_ramp_epochs": 5,
        },
        [
            "groups: names must differ, got a, a, b",
            "phases.0.lrs: got 1 cells; must be one for each of the 3 groups",
            "phases.1.lrs: every group is frozen; at least one must train",
            "lr_ramp_epochs: got 5; must not exceed the run's 2 epochs",
        ],
    ),
}


@pytest.mark.parametrize(("data", "problems"), BAD.values(), ids=BAD.keys())
def test_a_wrong_schedule_is_refused_with_all_its_problems(data, problems):
    with pytest.raises(ConfigError) as caught:
        Schedule.from_plain(data, where="mine.yaml")
    assert list(caught.value.problems) == problems
    assert str(caught.value).startswith("mine.yaml:")


# Properties of the table


@settings(max_examples=50, deadline=None)
@given(schedule=schedules(), epochs=st.floats(0.1, 200))
def test_scaling_keeps_every_share_and_every_rate(schedule, epochs):
    scaled = schedule.scaled(epochs)
    assert scaled.epochs == pytest.approx(epochs, rel=1e-6)
    assert [phase.lrs for phase in scaled.phases] == [phase.lrs for phase in schedule.phases]
    for old, new in zip(schedule.phases, scaled.phases, strict=True):
        assert new.epochs / epochs == pytest.approx(old.epochs / schedule.epochs, rel=1e-6)
    assert scaled.lr_ramp_epochs / epochs == pytest.approx(schedule.lr_ramp_epochs / schedule.epochs)


@pytest.mark.parametrize("length", [1 / 3, 2 / 3, 0.1234567891234])
def test_a_ramp_over_the_whole_run_may_be_scaled(length):
    schedule = table((length, [None, 1e-4, 1e-3]), lr_ramp_epochs=length)
    assert schedule.scaled(1.0).lr_ramp_epochs == pytest.approx(1.0)


@settings(max_examples=50, deadline=None)
@given(data=st.data(), steps=st.integers(1, 40))
def test_canonical_changes_no_rate_at_any_step(data, steps):
    schedule = data.draw(schedules(lengths=st.integers(1, 3000).map(lambda n: n / 1000)))
    # Rows repeat on purpose, so that there is something to merge.
    doubled = [phase for phase in schedule.phases for _ in range(data.draw(st.integers(1, 3)))]
    schedule = Schedule.model_validate({**schedule.model_dump(), "phases": doubled})
    one, two = schedule.timetable(steps), schedule.canonical().timetable(steps)
    assert one.total_steps == two.total_steps
    for step in range(one.total_steps):
        assert one.rates(step) == two.rates(step)


def test_canonical_merges_equal_neighbours_and_only_those():
    a, b = [None, None, 1e-3], [None, 1e-4, 1e-3]
    merged = table((1, a), (0.5, a), (1, b), (1, a)).canonical()
    assert merged == table((1.5, a), (1, b), (1, a))
    apart = table((1, a), (0.5, a), curve_over="phase")
    assert apart.canonical() == apart
    assert table((1, a), (1, a), curve_over="phase", curve="constant").canonical().phases == (
        Phase(epochs=2, lrs=tuple(a)),
    )


def test_warmup_and_depth_are_read_from_the_table():
    warm, deep, alone = [None, None, 1e-3], [1e-5, 1e-4, 1e-3], [1e-5, None, None]
    assert table((1.5, warm), (2, deep)).warmup_epochs == 1.5
    assert table((1.5, warm), (2, deep)).unfreeze_depth == 2
    assert table((3, warm)).warmup_epochs == 3
    assert table((3, warm)).unfreeze_depth == 0
    assert table((1, alone), (1, warm)).warmup_epochs == 0
    assert table((1, [None, 1e-4, 1e-3])).unfreeze_depth == 1


def test_a_printed_schedule_is_its_table():
    schedule = table((1.5, [None, None, 3e-3]), (6.5, [1.25e-5, 1e-4, 1e-3]))
    assert str(schedule).splitlines() == [
        "phase  epochs     stem  layer1  head",
        "    0     1.5        –       –  3e-3",
        "    1     6.5  1.25e-5    1e-4  1e-3",
        "rate curve: cosine over the run",
    ]
    curve = table((2, [1, 1, 1]), curve_over="phase", lr_ramp_epochs=0.5).curve_words
    assert curve == "cosine over each phase, ramp of 0.5 epochs"
    assert table((2, [1, 1, 1]), curve="constant").curve_words == "constant"


@pytest.mark.parametrize(
    ("rate", "text"),
    [(3e-3, "3e-3"), (1.0, "1e0"), (1.234e-5, "1.23e-5"), (9.999e-4, "1e-3"), (20, "2e1"), (1e-10, "1e-10")],
)
def test_rates_are_written_short(rate, text):
    assert format_rate(rate) == text


@given(rates)
def test_rates_are_rounded_to_six_digits(rate):
    assert round_rate(rate) == pytest.approx(rate, rel=1e-5)
    assert round_rate(round_rate(rate)) == round_rate(rate)
    assert len(f"{round_rate(rate):e}".split("e")[0].rstrip("0")) <= 7


@given(st.lists(st.floats(0, 10), min_size=1, max_size=12))
def test_rounded_rows_add_up_to_the_run(lengths):
    phases = rows_of([(length, [1.0]) for length in lengths])
    assert math.fsum(phase.epochs for phase in phases) == pytest.approx(sum(lengths), abs=1e-9)
    assert all(phase.epochs > 0 for phase in phases)


def test_rounding_does_not_add_up_over_many_rows():
    run = Schedule(groups=("head",), phases=rows_of([(6 / 7, [1.0])] * 7))
    assert run.epochs == 6.0
    assert Schedule(groups=("head",), phases=rows_of([(5 / 9, [1.0])] * 9)).epochs == 5.0


# The timetable


@settings(max_examples=50, deadline=None)
@given(schedule=schedules(lengths=st.floats(0.01, 4)), steps=st.integers(1, 30))
def test_a_rate_is_none_where_frozen_and_else_within_its_cell(schedule, steps):
    times, again = schedule.timetable(steps), schedule.timetable(steps)
    for step in range(times.total_steps):
        lrs = schedule.phases[times.phase_at(step)].lrs
        assert times.trainable(step) == tuple(lr is not None for lr in lrs)
        for column, cell in enumerate(lrs):
            rate = times.rate(column, step)
            assert rate == times.rates(step)[column] == times.rate(schedule.groups[column], step)
            assert (rate is None) == (cell is None)
            if cell is not None and rate is not None:
                assert 0 < rate <= cell
    backwards = [again.rates(step) for step in reversed(range(again.total_steps))]
    assert backwards[::-1] == [times.rates(step) for step in range(times.total_steps)]


@settings(max_examples=50, deadline=None)
@given(schedule=schedules(lengths=st.floats(0.01, 4)), steps=st.integers(1, 30))
def test_phases_follow_each_other_and_fill_the_run(schedule, steps):
    times = schedule.timetable(steps)
    phases = [times.phase_at(step) for step in range(times.total_steps)]
    assert phases == sorted(phases)
    assert abs(times.total_steps - schedule.epochs * steps) <= 0.5 + 1e-6 or times.total_steps == 1
    for number in set(phases):
        assert phases.index(number) == times.phase_start(number)
        assert len(phases) - phases[::-1].index(number) == times.ends[number]
    assert times.epoch_ends[-1] == times.total_steps
    lengths = [end - start for start, end in zip((0, *times.epoch_ends), times.epoch_ends, strict=False)]
    assert all(length == steps for length in lengths[:-1])
    assert 1 <= lengths[-1] <= steps


def test_decimal_epochs_become_steps():
    times = table((1.5, [None, None, 1]), (6.5, [1, 1, 1])).timetable(10)
    assert times.ends == (15, 80)
    assert times.trainable(14) == (False, False, True)
    assert times.trainable(15) == (True, True, True)
    assert table((0.1, [1, 1, 1]), (0.2, [1, 1, 2])).timetable(5).ends == (0, 2)  # 1.5 steps, as 0.3 epochs


def test_the_last_epoch_may_be_shorter():
    assert table((2.5, [1, 1, 1])).timetable(10).epoch_ends == (10, 20, 25)
    assert table((0.5, [1, 1, 1])).timetable(10).epoch_ends == (5,)
    assert table((2, [1, 1, 1])).timetable(10).epoch_ends == (10, 20)


def test_a_phase_shorter_than_half_a_step_is_empty_and_a_run_has_a_step():
    times = table((0.01, [None, None, 1]), (1, [1, 1, 1])).timetable(10)
    assert times.ends == (0, 10)
    assert times.phase_at(0) == 1
    assert times.last_unfreeze == 0
    tiny = table((0.01, [None, None, 1]), (0.01, [1, 1, 1])).timetable(10)
    assert (tiny.ends, tiny.total_steps) == ((0, 1), 1)
    assert tiny.rates(0) == (1, 1, 1)


def test_the_cosine_spans_the_run_or_each_phase():
    phases = [(2, [None, None, 1]), (2, [1, 1, 1])]
    run = table(*phases).timetable(50)
    assert run.factor(0) == 1
    assert run.factor(100) == pytest.approx(0.5)
    assert run.factor(199) < 1e-3
    each = table(*phases, curve_over="phase").timetable(50)
    assert [each.factor(0), each.factor(100)] == [1, 1]
    assert each.factor(50) == pytest.approx(0.5)
    assert max(each.factor(99), each.factor(199)) < 1e-3
    constant = table(*phases, curve="constant").timetable(50)
    assert {constant.factor(step) for step in range(200)} == {1.0}


def test_a_phase_shorter_than_its_ramp_ends_while_the_rate_still_climbs():
    phases = (1, [None, None, 1]), (3, [1, 1, 1])
    times = table(*phases, curve="constant", curve_over="phase", lr_ramp_epochs=2).timetable(2)
    assert [times.rate("head", step) for step in range(8)] == [0.25, 0.5, 0.25, 0.5, 0.75, 1, 1, 1]


def test_a_ramp_climbs_to_the_cell_and_then_stays():
    times = table((4, [1, 1, 1]), curve="constant", lr_ramp_epochs=1).timetable(4)
    assert [times.factor(step) for step in range(6)] == [0.25, 0.5, 0.75, 1, 1, 1]
    phases = [(2, [1, 1, 1]), (2, [2, 1, 1])]
    each = table(*phases, curve="constant", curve_over="phase", lr_ramp_epochs=1).timetable(4)
    assert [each.factor(step) for step in (0, 3, 8, 11)] == [0.25, 1, 0.25, 1]


@pytest.mark.parametrize(
    ("phases", "step"),
    [
        ([(2, [None, None, 1])], 0),
        ([(2, [None, None, 1]), (2, [1, 1, 1])], 20),
        ([(1, [None, None, 1]), (1, [None, 1, 1]), (1, [1, 1, 1])], 20),
        ([(1, [None, None, 1]), (1, [None, 1, 1]), (1, [None, 1, 2])], 10),
        ([(1, [None, 1, 1]), (1, [None, None, 1])], 0),  # freezing again is no thaw
        ([(1, [1, 1, 1]), (1, [None, None, 1]), (1, [None, 1, 1])], 20),
        ([(1, [None, None, 1]), (0.01, [None, 1, None]), (1, [None, None, 1])], 0),  # the thaw is empty
    ],
)
def test_the_last_unfreeze_is_the_last_row_that_thaws(phases, step):
    assert table(*phases).timetable(10).last_unfreeze == step


@settings(max_examples=20, deadline=None)
@given(schedule=schedules(lengths=st.floats(0.2, 2)), steps=st.integers(1, 20))
def test_a_step_outside_the_run_is_an_error(schedule, steps):
    times = schedule.timetable(steps)
    for step in (-1, times.total_steps):
        with pytest.raises(IndexError, match=rf"step: got {step}; must lie in 0\.\."):
            times.rates(step)


def test_an_epoch_has_at_least_one_step():
    with pytest.raises(ValueError, match="steps_per_epoch: got 0"):
        Timetable(Schedule.from_plain(VALID), 0)


@settings(max_examples=40, deadline=None)
@given(schedule=schedules(lengths=st.integers(1, 80).map(lambda n: n / 8)))
def test_scaling_to_the_same_length_keeps_the_table(schedule):
    assert schedule.scaled(schedule.epochs) == schedule
