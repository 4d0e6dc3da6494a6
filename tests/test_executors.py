"""What every executor does: one suite over all of them."""

import functools
import gc
import itertools
import weakref
from contextlib import ExitStack

import pytest

from autofreeze.binding import Columns
from autofreeze.errors import TrainingError
from autofreeze.executors.local import LocalExecutor
from autofreeze.executors.protocol import Failed, Finished, Waiting
from autofreeze.executors.replay import ReplayExecutor, player_of
from autofreeze.job import Member
from autofreeze.recipes import full
from autofreeze.training import fit

RAY = {"ray": 1, "ray of two": 2}
"""Kinds of executors on Ray, and how many workers they have."""


def opener_of(curves, strange):
    """Play curves on workers; the strange job raises."""

    def opener(here):
        def run(job, checkpoint):
            if job.key == strange:
                raise RuntimeError("the disk\nis full")
            yield from curves[job.key]

        return run

    opener.stops, opener.n_bytes = (), 0
    return opener


@pytest.fixture(scope="module")
def on_ray(local_ray, made_up, tmp_path_factory):
    """``on_ray(workers)``: an executor for all tests of this file: workers take seconds to start."""
    from autofreeze.executors.ray import RayExecutor

    curves = {job.key: made_up.curve(job) for job in jobs_of(made_up)}
    folder = tmp_path_factory.mktemp("states")
    with ExitStack() as stack:

        @functools.cache
        def opened(workers):
            return stack.enter_context(
                RayExecutor(
                    opener_of(curves, "7.0"), slots=lambda: workers, cpus=0.5, gpus=0, threads=1,
                    states=lambda job: folder / f"{job.key}.pt",
                )
            )  # fmt: skip

        yield opened


def jobs_of(made_up):
    return [made_up.job(trial, head_lr=1e-3 * (trial + 1), epochs=trial + 2) for trial in range(3)]


@pytest.fixture
def jobs(made_up):
    return jobs_of(made_up)


@pytest.fixture
def strange(made_up):
    """A job that fails: it raises here, and was never recorded there."""
    return made_up.job(7, head_lr=0.5)


@pytest.fixture(
    params=[
        "local",
        "replay",
        "replay of three",
        *(pytest.param(kind, marks=pytest.mark.ray) for kind in RAY),
    ]
)
def executor(request, made_up, jobs, strange, tmp_path):
    if request.param in RAY:
        found = request.getfixturevalue("on_ray")(RAY[request.param])
        yield found
        for job in [*jobs, strange]:
            found.stop(job)
        return
    if request.param == "local":

        def runner(job):
            if job == strange:
                raise RuntimeError("the disk\nis full")
            yield from made_up.curve(job)

        yield LocalExecutor(runner)
        return
    curves = {(job.settings_digest, job.fold, job.fresh): made_up.curve(job) for job in jobs}
    yield ReplayExecutor(player_of(curves), capacity=3 if request.param.endswith("three") else 1)


def event_of(executor):
    """The next event that is one."""
    while isinstance(event := executor.next_event(), Waiting):
        pass
    return event


def drain(executor):
    events = []
    while True:
        try:
            events.append(event_of(executor))
        except LookupError:
            return events


def of_job(events, job):
    return [event for event in events if event.job.key == job.key]


def test_the_records_of_a_job_come_in_order_each_once_and_before_its_one_end(executor, made_up, jobs):
    for job in jobs:
        executor.submit(job)
    events = drain(executor)
    for job in jobs:
        *records, end = of_job(events, job)
        assert end == Finished(job)
        assert [(one.job, one.record) for one in records] == [(job, record) for record in made_up.curve(job)]
    assert len(events) == sum(len(made_up.curve(job)) + 1 for job in jobs)


def test_without_a_job_there_is_no_event(executor, jobs):
    with pytest.raises(LookupError):
        executor.next_event()
    executor.submit(jobs[0])
    drain(executor)
    with pytest.raises(LookupError):
        executor.next_event()


@pytest.mark.parametrize("after", [0, 1, 2])
def test_a_stopped_job_gives_nothing_more_and_the_others_go_on(executor, made_up, jobs, after):
    for job in jobs:
        executor.submit(job)
    before = [event_of(executor) for _ in range(after)]
    executor.stop(jobs[0])
    executor.stop(jobs[0])  # a job that is unknown by now
    rest = drain(executor)
    assert not of_job(rest, jobs[0])
    for job in jobs[1:]:
        assert len(of_job(before + rest, job)) == len(made_up.curve(job)) + 1


def test_a_job_that_breaks_off_fails_alone(executor, made_up, jobs, strange):
    for job in (jobs[0], strange, jobs[1]):
        executor.submit(job)
    events = drain(executor)
    (failure,) = of_job(events, strange)
    assert isinstance(failure, Failed)
    assert failure.error
    assert "\n" not in failure.error
    for job in jobs[:2]:
        assert of_job(events, job)[-1] == Finished(job)


def test_a_key_is_in_hand_once(executor, jobs):
    executor.submit(jobs[0])
    with pytest.raises(ValueError, match="in hand already"):
        executor.submit(jobs[0])
    executor.stop(jobs[0])
    executor.submit(jobs[0])
    assert drain(executor)[-1] == Finished(jobs[0])


def test_a_job_may_be_submitted_between_two_events(executor, jobs):
    executor.submit(jobs[0])
    events = [event_of(executor)]
    executor.submit(jobs[1])
    events += drain(executor)
    for job in jobs[:2]:
        assert of_job(events, job)[-1] == Finished(job)


def test_an_executor_says_how_many_jobs_it_wants(executor):
    assert executor.capacity >= 1


# The local executor


def test_a_failure_tells_the_kind_of_error_in_one_line_and_keeps_the_traceback(jobs):
    def runner(job):
        yield from ()
        raise RuntimeError("the disk\n   is full " + "x" * 1000)

    executor = LocalExecutor(runner)
    executor.submit(jobs[0])
    failure = executor.next_event()
    assert failure.error.startswith("RuntimeError: the disk is full xxx")
    assert len(failure.error) < 400
    assert "in runner" in failure.details


def test_an_error_of_our_own_is_told_in_its_own_words(jobs):
    def runner(job):
        raise TrainingError("no gradient reached the head")

    executor = LocalExecutor(runner)
    executor.submit(jobs[0])
    assert executor.next_event().error == "no gradient reached the head"


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_what_is_meant_for_the_process_is_no_failure_of_a_job(jobs, error):
    def runner(job):
        yield from ()
        raise error

    executor = LocalExecutor(runner)
    executor.submit(jobs[0])
    with pytest.raises(error):
        executor.next_event()


def test_stopping_a_job_closes_its_run(made_up, jobs):
    closed = []

    def runner(job):
        try:
            yield from (made_up.record(job, epoch) for epoch in itertools.count())
        finally:
            closed.append(job.key)

    executor = LocalExecutor(runner)
    executor.submit(jobs[0])
    executor.next_event()
    executor.stop(jobs[0])
    assert closed == [jobs[0].key]


@pytest.mark.parametrize("end", ["stopped", "finished"])
def test_a_model_is_freed_when_its_job_ends_without_waiting_for_the_garbage_collector(
    made_up, backbone, examples, end
):
    loaded = backbone()
    models = []

    def runner(job):
        model = loaded.build(3, seed=0)
        models.append(weakref.ref(model))
        columns = Columns.of(model, loaded.groups)
        schedule = full(loaded.groups.names, 2.0, head_lr=1e-3)
        yield from fit(model, columns, schedule, job.regime, examples(), seed=0)

    executor, job = LocalExecutor(runner), made_up.job()
    executor.submit(job)
    gc.collect()
    gc.disable()
    try:
        if end == "stopped":
            executor.next_event()
            executor.stop(job)
        else:
            drain(executor)
        assert [model() for model in models] == [None]
    finally:
        gc.enable()


# The replay executor


def paced(made_up, job, seconds):
    """A curve whose epochs end at the given seconds."""
    curve = made_up.curve(job)
    return [record.model_copy(update={"seconds": at}) for record, at in zip(curve, seconds, strict=True)]


def test_replayed_jobs_run_side_by_side_in_the_order_of_a_simulated_clock(made_up, jobs):
    slow, fast, _ = jobs
    curves = {slow.key: paced(made_up, slow, [5.0, 10.0]), fast.key: paced(made_up, fast, [1.0, 4.0, 6.0])}
    executor = ReplayExecutor(lambda job: curves[job.key], capacity=2)
    executor.submit(slow)
    executor.submit(fast)
    told = []
    for event in drain_with_clock(executor):
        told.append((event[0], event[1].job.key, type(event[1]).__name__))
    assert told == [
        (1.0, fast.key, "Recorded"), (4.0, fast.key, "Recorded"), (5.0, slow.key, "Recorded"),
        (6.0, fast.key, "Recorded"), (6.0, fast.key, "Finished"), (10.0, slow.key, "Recorded"),
        (10.0, slow.key, "Finished"),
    ]  # fmt: skip


def drain_with_clock(executor):
    while True:
        try:
            event = executor.next_event()
        except LookupError:
            return
        yield executor.clock, event


def test_one_worker_takes_as_long_as_all_jobs_together_and_begins_the_first_submitted_first(made_up, jobs):
    curves = {
        job.key: paced(made_up, job, [10.0 * (epoch + 1) for epoch in range(len(made_up.curve(job)))])
        for job in jobs
    }
    executor = ReplayExecutor(lambda job: curves[job.key])
    for job in jobs:
        executor.submit(job)
    ends = [event.job for event in drain(executor) if isinstance(event, Finished)]
    assert ends == jobs
    assert executor.clock == sum(curve[-1].seconds for curve in curves.values())


def test_a_stopped_job_lets_its_worker_go_at_the_time_of_the_stop(made_up, jobs):
    first, second, _ = jobs
    curves = {
        first.key: paced(made_up, first, [3.0, 9.0]),
        second.key: paced(made_up, second, [1.0, 2.0, 3.0]),
    }
    executor = ReplayExecutor(lambda job: curves[job.key])
    executor.submit(first)
    executor.submit(second)
    executor.next_event()
    executor.stop(first)
    drain(executor)
    assert executor.clock == 3.0 + 3.0


def test_a_recorded_run_is_played_by_its_settings_fold_and_fresh_seed_and_no_other(made_up, jobs):
    recorded = jobs[0].model_copy(update={"fresh": 2})
    play = player_of({(recorded.settings_digest, 0, 2): made_up.curve(recorded)})
    assert play(recorded.model_copy(update={"trial": 9})) == made_up.curve(recorded)
    for other in (jobs[0], recorded.model_copy(update={"fresh": 3}), jobs[1]):
        with pytest.raises(LookupError, match="never recorded"):
            play(other)


def test_a_fault_of_the_player_is_no_failure_of_a_job(jobs):
    def play(job):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        ReplayExecutor(play).submit(jobs[0])


def test_a_replay_refuses_a_sweep_even_where_its_drawn_head_was_recorded(made_up):
    job = made_up.job(unfreeze_depth=0)
    heads = [Member(schedule=made_up.job(unfreeze_depth=0, head_lr=rate).schedule, regime=job.regime)
             for rate in (1e-3, 2e-3)]  # fmt: skip
    executor = ReplayExecutor(made_up.curve)
    executor.submit(job.model_copy(update={"members": tuple(heads)}))
    executor.submit(job.model_copy(update={"trial": 1}))
    events = drain(executor)
    assert [event.error for event in events if isinstance(event, Failed)] == [
        "sweeps of heads are not played again"
    ]
    assert any(isinstance(event, Finished) and event.job.trial == 1 for event in events)
