"""When and where runs were trained, told from the records."""

import itertools
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autofreeze.executors.protocol import Failed, Finished, Recorded, Waiting
from autofreeze.executors.replay import ReplayExecutor
from autofreeze.records import RECORDS, line_of
from autofreeze.run import RunFolder
from autofreeze.timeline import stretches_of

BEGAN = 1_700_000_000.0


@pytest.fixture
def told(tmp_path, made_up):
    """``told((trial, fold, epoch, seconds, at, where), ...)``: the stretches of a file of these records."""

    def tell(*records, fresh=None):
        lines = []
        for trial, fold, epoch, seconds, at, where in records:
            job = made_up.job(trial, fold=fold).model_copy(update={"fresh": fresh})
            record = made_up.record(job, epoch, seconds=seconds)
            lines.append(line_of(job, record, BEGAN + at, where))
        (tmp_path / RECORDS).write_text("".join(lines))
        return stretches_of(tmp_path)

    return tell


def spans(stretches):
    return [(one.began, one.ended) for one in stretches]


def test_a_run_was_trained_from_its_first_epochs_beginning_to_its_last_ones_end(told):
    (one,) = told((3, 1, 0, 4.0, 10.0, ""), (3, 1, 1, 7.5, 13.6, ""), (3, 1, 2, 9.5, 15.7, ""))
    assert (one.trial, one.fold, one.fresh, one.where, one.lane) == (3, 1, None, "", 0)
    assert (one.began, one.ended) == (0.0, 9.7)  # what lies between epochs belongs to the run


def test_times_count_from_the_first_run_and_come_in_order(told):
    found = told(
        (1, 0, 0, 5.0, 30.0, "b"), (0, 0, 0, 2.0, 12.0, "a"), (2, 0, 0, 1.0, 21.0, "a")
    )  # the one that began first came in second
    assert [one.trial for one in found] == [0, 2, 1]
    assert spans(found) == [(0.0, 2.0), (10.0, 11.0), (15.0, 20.0)]


def test_folds_and_fresh_seeds_are_runs_of_their_own(told):
    found = told((0, 0, 0, 1.0, 1.0, ""), (0, 1, 0, 1.0, 2.1, ""))
    assert [(one.fold, one.fresh) for one in found] == [(0, None), (1, None)]
    (fresh,) = told((0, 0, 0, 1.0, 1.0, ""), fresh=5)
    assert (fresh.fold, fresh.fresh) == (None, 5)


def test_a_run_that_was_taken_up_again_was_trained_twice(told):
    found = told((0, 0, 0, 4.0, 4.0, ""), (0, 0, 1, 8.0, 900.0, ""), (0, 0, 2, 12.0, 904.1, ""))
    assert spans(found) == [(0.0, 4.0), (896.0, 904.1)]


def test_a_run_that_waited_no_longer_than_an_epoch_takes_was_trained_in_one_go(told):
    assert spans(told((0, 0, 0, 60.0, 60.0, ""), (0, 0, 1, 120.0, 150.0, ""))) == [(0.0, 150.0)]
    assert len(told((0, 0, 0, 60.0, 60.0, ""), (0, 0, 1, 120.0, 181.0, ""))) == 2


def test_a_run_that_moved_was_trained_at_both_places(told):
    found = told((0, 0, 0, 4.0, 4.0, "a"), (0, 0, 1, 8.0, 8.1, "b"))
    assert [(one.where, one.began, one.ended) for one in found] == [("a", 0.0, 4.0), ("b", 4.1, 8.1)]


def test_an_epoch_that_was_told_again_counts_once(told):
    found = told((0, 0, 0, 4.0, 4.0, ""), (0, 0, 0, 3.0, 50.0, ""), (0, 0, 1, 8.0, 8.0, ""))
    assert spans(found) == [(0.0, 8.0)]


def test_workers_at_one_place_are_told_apart(told):
    found = told(
        (0, 0, 0, 10.0, 10.0, "a"), (1, 0, 0, 6.0, 8.0, "a"), (2, 0, 0, 4.0, 13.0, "a"),
        (3, 0, 0, 10.0, 10.0, "b"),
    )  # fmt: skip
    assert [(one.trial, one.where, one.lane) for one in found] == [
        (0, "a", 0), (3, "b", 0), (1, "a", 1), (2, "a", 1)
    ]  # fmt: skip


def test_two_clocks_that_differ_a_little_make_no_second_worker_and_nothing_overlaps(told):
    first, second = told((0, 0, 0, 5.0, 5.0, ""), (1, 0, 0, 5.0, 9.99, ""))
    assert (first.lane, second.lane) == (0, 0)
    assert first.ended == second.began == 5.0


runs = st.lists(
    st.tuples(st.sampled_from("ab"), st.floats(0, 500), st.lists(st.floats(0, 60), min_size=1, max_size=3)),
    min_size=1,
    max_size=12,
)


@settings(max_examples=60, deadline=None)
@given(runs)
def test_no_two_stretches_of_a_worker_overlap_and_none_ends_before_it_began(made_up, tmp_path_factory, runs):
    folder = tmp_path_factory.mktemp("runs")
    lines = []
    for trial, (where, began, epochs) in enumerate(runs):
        job = made_up.job(trial)
        for epoch, seconds in enumerate(itertools.accumulate(epochs)):
            record = made_up.record(job, epoch, seconds=seconds)
            lines.append(line_of(job, record, BEGAN + began + seconds, where))
    (folder / RECORDS).write_text("".join(lines))
    found = stretches_of(folder)
    assert {one.trial for one in found} == set(range(len(runs)))
    assert min(one.began for one in found) == 0
    lanes = {}
    for one in found:
        assert one.ended >= one.began >= lanes.get((one.where, one.lane), 0.0)
        lanes[one.where, one.lane] = one.ended


def test_records_that_tell_no_time_give_no_time_line(tmp_path, made_up):
    job = made_up.job()
    line = line_of(job, made_up.record(job, 0), 1.0).replace('"at":1.0,', "")
    (tmp_path / RECORDS).write_text(line)
    assert stretches_of(tmp_path) == ()
    assert stretches_of(tmp_path / "nowhere") == ()


def test_a_search_that_goes_on_in_a_folder_of_an_earlier_version_tells_the_rest(tmp_path, made_up):
    job = made_up.job()
    lines = [
        line_of(job, made_up.record(job, epoch, seconds=4.0 * (epoch + 1)), 100.0 + epoch) for epoch in (0, 1)
    ]
    (tmp_path / RECORDS).write_text(lines[0].replace('"at":100.0,', "") + lines[1] + '{"trial":0,"fo')
    assert spans(stretches_of(tmp_path)) == [(0.0, 4.0)]  # the second epoch alone: its seconds are known


def test_a_played_search_has_the_time_line_of_its_simulated_clock(tmp_path, made_up):
    jobs = [made_up.job(trial) for trial in range(4)]
    executor = ReplayExecutor(made_up.curve, capacity=2)
    for job in jobs:
        executor.submit(job)
    with RunFolder(tmp_path / "run", {"study": "made up"}) as run:
        for _ in range(4 * 4):
            event = executor.next_event()
            if isinstance(event, Recorded):
                run.append(event.job, event.record, at=event.at, where=event.where)
    found = stretches_of(tmp_path / "run")
    assert [(one.trial, one.lane) for one in found] == [(0, 0), (1, 1), (2, 0), (3, 1)]
    assert spans(found) == [(0.0, 0.3), (0.0, 0.3), (0.3, 0.6), (0.3, 0.6)]


@pytest.mark.ray
def test_a_record_tells_when_its_epoch_ended_on_the_worker_not_when_it_came_in(local_ray, tmp_path, made_up):
    from autofreeze.executors.ray import RayExecutor

    job = made_up.job()
    records = made_up.curve(job)

    def opener(here):
        def run(job, checkpoint):
            for record in records:  # shorter than a beat: they come in together
                time.sleep(0.25)
                yield record

        return run

    opener.stops, opener.n_bytes = (), 0
    executor = RayExecutor(
        opener, slots=lambda: 1, cpus=1, gpus=0, threads=1, states=lambda job: tmp_path / f"{job.key}.pt"
    )
    try:
        executor.submit(job)
        events, came = [], []
        while not (events and isinstance(events[-1], Finished | Failed)):
            event = executor.next_event()
            if not isinstance(event, Waiting):
                events.append(event)
                came.append(time.time())
    finally:
        executor.close()
    ended = [event.at for event in events[:-1]]
    assert len(ended) == 3
    assert all(0.2 < later - sooner < 2.0 for sooner, later in itertools.pairwise(ended))
    assert came[1] - came[0] < 0.2  # in one report
    assert all(event.where for event in events[:-1])
