"""The simulated cluster: workers train side by side, and one driver serves them one after the other."""

import importlib.util
import sys
from pathlib import Path

import pytest

from autofreeze.executors.protocol import Failed, Finished, Recorded

FILE = Path(__file__).parents[1] / "benchmarks" / "simulated_cluster.py"


@pytest.fixture(scope="module")
def simulated():
    spec = importlib.util.spec_from_file_location("simulated_cluster", FILE)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


class Driver:
    """A stopwatch that moves on when the driver is said to have worked."""

    def __init__(self):
        self.worked = 0.0

    def __call__(self):
        return self.worked

    def works(self, seconds):
        self.worked += seconds


@pytest.fixture
def driver():
    return Driver()


@pytest.fixture
def cluster_of(simulated, made_up, driver):
    """Clusters whose jobs have an epoch every ``seconds``; playing one takes ``playing`` seconds."""

    def make(seconds=10.0, playing=0.0, **given):
        def player(job):
            driver.works(playing)
            if job.trial == 99:
                raise LookupError("this run was\nnever recorded")
            records = made_up.curve(job)
            return [
                record.model_copy(update={"seconds": seconds * (turn + 1)})
                for turn, record in enumerate(records)
            ]

        return simulated.SimulatedCluster(player, stopwatch=driver, **given)

    return make


@pytest.fixture
def job(made_up):
    return lambda trial, epochs=2: made_up.job(trial, head_lr=1e-3 * (trial + 1), epochs=epochs)


def drain(cluster):
    events = []
    while True:
        try:
            events.append((cluster.next_event(), cluster.clock))
        except LookupError:
            return events


def test_workers_train_side_by_side_and_what_is_too_many_waits(cluster_of, job):
    cluster = cluster_of(workers=2)
    for trial in range(3):
        cluster.submit(job(trial))
    ends = {event.job.trial: clock for event, clock in drain(cluster) if isinstance(event, Finished)}
    assert ends == {0: 20.0, 1: 20.0, 2: 40.0}
    assert cluster.clock == 40.0


def test_what_the_driver_does_moves_the_clock_and_holds_up_only_whom_it_serves(cluster_of, job, driver):
    cluster = cluster_of(workers=2)
    cluster.submit(job(0))
    driver.works(3.0)
    cluster.submit(job(1))  # begins at 3
    came = []
    for _ in range(3):
        event = cluster.next_event()
        came.append((event.job.trial, event.record.epoch, cluster.clock))
        driver.works(4.0)
    # The second report had come at 13, and waits until the first has been judged; its worker goes on at 18.
    assert came == [(0, 0, 10.0), (1, 0, 14.0), (0, 1, 24.0)]
    assert cluster.waited == 1.0
    assert [clock for _, clock in drain(cluster)] == [28.0, 28.0, 28.0]


def test_each_report_costs_the_driver_its_handling(cluster_of, job):
    cluster = cluster_of(workers=1, handling=0.5)
    cluster.submit(job(0))
    assert [clock for _, clock in drain(cluster)] == [10.5, 21.0, 21.0]  # the last record and the end are one
    assert cluster.driver["transport"] == pytest.approx(1.0)
    assert cluster.reports == 2


def test_short_epochs_are_reported_several_at_a_time(cluster_of, job):
    cluster = cluster_of(seconds=0.3, workers=1, beat=1.0)
    cluster.submit(job(0, epochs=6))
    clocks = [clock for event, clock in drain(cluster) if isinstance(event, Recorded)]
    assert clocks == pytest.approx([1.2, 1.2, 1.2, 1.2, 1.8, 1.8])


def test_the_pace_stretches_training_and_not_the_driver(cluster_of, job, driver):
    cluster = cluster_of(workers=1, pace=3.0)
    cluster.submit(job(0))
    cluster.next_event()
    assert cluster.clock == 30.0
    driver.works(1.0)
    cluster.next_event()
    assert cluster.clock == 61.0


def test_a_stopped_job_gives_nothing_more_and_frees_its_worker(cluster_of, job):
    cluster = cluster_of(workers=1)
    first, second = job(0, epochs=5), job(1)
    cluster.submit(first)
    cluster.submit(second)
    cluster.next_event()
    cluster.stop(first)
    events = drain(cluster)
    assert {event.job.key for event, _ in events} == {second.key}
    assert events[-1][1] == 30.0  # it began at 10


def test_a_stopped_job_gives_nothing_of_a_report_that_came_before(cluster_of, job):
    cluster = cluster_of(seconds=0.1, workers=1)
    first, second = job(0, epochs=5), job(1)
    cluster.submit(first)
    assert cluster.next_event().record.epoch == 0  # all five came at once
    cluster.stop(first)
    cluster.submit(second)
    assert cluster.next_event().job.key == second.key


def test_what_happens_within_the_cluster_is_no_work_of_the_driver(cluster_of, job, driver):
    cluster = cluster_of(workers=1, playing=7.0)
    cluster.submit(job(0))
    cluster.submit(job(1))  # played when the first has ended
    assert drain(cluster)[-1][1] == 40.0
    assert (driver.worked, sum(cluster.driver.values())) == (14.0, 0.0)


def test_a_job_that_cannot_be_played_fails_at_once(cluster_of, job):
    cluster = cluster_of(workers=1)
    cluster.submit(job(99))
    event = cluster.next_event()
    assert event == Failed(job(99), "this run was never recorded")
    with pytest.raises(LookupError):
        cluster.next_event()


def test_what_the_driver_does_is_booked_by_name_and_what_is_measured_beside_it_is_not(
    cluster_of, job, driver
):
    cluster = cluster_of(workers=1)
    driver.works(1.0)
    with cluster.doing("ask"):
        driver.works(2.0)
    with cluster.paused():
        driver.works(100.0)
    cluster.charge("disk", 0.25)
    cluster.submit(job(0))
    assert cluster.driver == {"study": 1.0, "ask": 2.0, "disk": 0.25}
    assert cluster.clock == 3.25


def test_a_state_is_kept_every_few_seconds_while_a_run_has_more_to_come(cluster_of, job):
    cluster = cluster_of(seconds=3.0, workers=1, state=0.5)
    cluster.submit(job(0, epochs=6))
    clocks = [clock for event, clock in drain(cluster) if isinstance(event, Recorded)]
    # Two epochs later than the start, and two later than that; not with the last record, two later again.
    assert clocks == [3.0, 6.5, 9.5, 13.0, 16.0, 19.0]
    assert cluster.driver["states"] == 1.0


def test_work_is_counted_once_for_every_epoch_that_was_reported(cluster_of, made_up, job):
    cluster = cluster_of(workers=2)
    cluster.submit(job(0))
    cluster.submit(job(1, epochs=3))
    drain(cluster)
    assert cluster.work == sum(made_up.curve(one)[-1].work for one in (job(0), job(1, epochs=3)))


def test_workers_are_busy_for_as_long_as_they_train(simulated, cluster_of, job):
    cluster = cluster_of(workers=2)
    cluster.submit(job(0))
    cluster.submit(job(1, epochs=3))
    drain(cluster)
    assert simulated.seconds_within(cluster.stretches, 0.0, cluster.clock) == 50.0
    assert simulated.seconds_within(cluster.stretches, 15.0, 25.0) == 15.0
