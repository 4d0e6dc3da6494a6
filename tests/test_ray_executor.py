"""Workers on Ray that cannot begin, that hang, or that find that nobody would fare better."""

import os
import time

import pytest

from autofreeze.errors import ClusterError, ConfigError, TrainingError
from autofreeze.executors.protocol import Failed, Finished, Waiting
from autofreeze.executors.watchdog import Watchdog

pytestmark = pytest.mark.ray


@pytest.fixture
def executor(local_ray, tmp_path):
    """``executor(open, ...)``: an executor of one worker, on which ``open(here)`` gives what runs a job."""
    from autofreeze.executors.ray import RayExecutor

    opened = []

    def make(opener, *, stops=(), **more):
        opener.stops, opener.n_bytes = stops, 0
        found = RayExecutor(
            opener, slots=lambda: 1, cpus=1, gpus=0, threads=3,
            states=lambda job: tmp_path / f"{job.key}.pt", **more,
        )  # fmt: skip
        opened.append(found)
        return found

    yield make
    for one in opened:
        one.close()


def drain(executor):
    events = []
    while True:
        try:
            event = executor.next_event()
        except LookupError:
            return events
        if not isinstance(event, Waiting):
            events.append(event)


def test_a_search_that_no_worker_can_open_ends_with_the_reason(executor, made_up):
    told = []

    def opener(here):
        raise ConfigError("device: got cuda; this machine has cpu")

    found = executor(opener, tell=told.append)
    found.submit(made_up.job())
    with pytest.raises(
        ClusterError, match=r"no worker can run anything.*: device: got cuda; this machine has cpu"
    ):
        drain(found)
    (line,) = told
    assert line.endswith("is left alone: device: got cuda; this machine has cpu")


def test_workers_that_die_before_they_say_anything_end_the_search(executor, made_up):
    def opener(here):
        os._exit(1)

    found = executor(opener)
    found.submit(made_up.job())
    with pytest.raises(ClusterError, match="workers die before they say anything"):
        drain(found)


def test_a_run_that_hangs_is_broken_off_and_its_worker_replaced(executor, made_up):
    jobs = [made_up.job(0), made_up.job(1, head_lr=1e-2)]
    curves = {job.key: made_up.curve(job) for job in jobs}

    def opener(here):
        def run(job, checkpoint):
            for record in curves[job.key]:
                yield record
                if job.trial == 0:
                    time.sleep(600)

        return run

    found = executor(opener, watchdog=Watchdog(3.0))
    for job in jobs:
        found.submit(job)
    events = drain(found)
    (failure,) = [event for event in events if isinstance(event, Failed)]
    assert failure.job == jobs[0]
    assert failure.error == "stuck: no record for 3 s, broken off by the watchdog"
    assert events[-1] == Finished(jobs[1])


def test_an_error_that_no_other_run_would_be_spared_ends_the_search_until_one_has_come_to_its_end(
    executor, made_up
):
    jobs = [made_up.job(0), made_up.job(1, head_lr=1e-2), made_up.job(2, head_lr=1e-1)]
    curves = {job.key: made_up.curve(job) for job in jobs}

    def opener(here):
        def run(job, checkpoint):
            if job.trial == 0:
                raise ConfigError("epoch 0: yielded text")
            if job.trial == 2:
                raise ConfigError("epoch 7: yielded text")
            yield from curves[job.key]

        return run

    found = executor(opener, stops=(ConfigError,))
    found.submit(jobs[0])
    with pytest.raises(ConfigError, match="epoch 0: yielded text"):
        drain(found)
    for job in jobs[1:]:
        found.submit(job)
    *_, last = drain(found)
    assert (last.job, last.error) == (jobs[2], "epoch 7: yielded text")


def test_a_worker_is_told_its_threads_before_anything_is_imported(executor, made_up):
    job = made_up.job()

    def opener(here):
        def run(job, checkpoint):
            yield from ()
            raise TrainingError(f"{here.threads} {os.environ['OMP_NUM_THREADS']} {here.gpus:g}")

        return run

    found = executor(opener)
    found.submit(job)
    (event,) = drain(found)
    assert event.error == "3 3 0"


@pytest.mark.parametrize("most", [1, 3, None])
def test_no_more_short_jobs_are_in_hand_than_a_search_may_have(executor, made_up, most):
    jobs = [made_up.job(trial, head_lr=1e-3 * (trial + 1)) for trial in range(3)]
    curves = {
        job.key: [record.model_copy(update={"seconds": 0.01}) for record in made_up.curve(job)]
        for job in jobs
    }

    def opener(here):
        return lambda job, checkpoint: iter(curves[job.key])

    found = executor(opener, most=most)
    for job in jobs:
        found.submit(job)
    drain(found)
    assert found.capacity == most if most else found.capacity > 3


def test_of_short_jobs_that_go_together_only_the_one_that_kills_its_worker_fails(
    executor, made_up, monkeypatch
):
    from autofreeze.executors import ray as ours

    monkeypatch.setattr(ours, "NODE_NOTICE_SECONDS", 1.0)
    jobs = [made_up.job(trial, head_lr=1e-3 * (trial + 1)) for trial in range(7)]
    curves = {job.key: made_up.curve(job) for job in jobs}
    short = {
        key: [record.model_copy(update={"seconds": 0.01}) for record in curve]
        for key, curve in curves.items()
    }  # fmt: skip

    def opener(here):
        def run(job, checkpoint):
            if job.trial == 5:
                os._exit(1)
            yield from short[job.key]

        return run

    found = executor(opener)
    for job in jobs[:3]:  # it learns that jobs are short
        found.submit(job)
    drain(found)
    for job in jobs[3:]:
        found.submit(job)
    ends = [event for event in drain(found) if isinstance(event, (Failed, Finished))]
    assert {event.job.key for event in ends if isinstance(event, Finished)} == {"3.0", "4.0", "6.0"}
    (failure,) = [event for event in ends if isinstance(event, Failed)]
    assert failure.job == jobs[5]
    assert failure.error.startswith("its worker died 3 times")
