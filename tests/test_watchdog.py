"""Stuck runs are broken off and the search goes on; slow ones, sleep and Ctrl-C are none of that."""

import contextlib
import signal
import threading
import time

import pytest

from autofreeze.executors.local import LocalExecutor
from autofreeze.executors.protocol import Failed, Finished, Recorded
from autofreeze.executors.watchdog import AT_LEAST, TIMES, UNKNOWN, Stuck, Watchdog, can_watch
from autofreeze.interruption import watch_for_interruption

pytestmark = [
    pytest.mark.timeout(60, method="thread"),  # the other method uses the timer itself
    pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="there is no such timer here"),
]
LIMIT = 0.4


@pytest.fixture(autouse=True)
def _nothing_left_behind():
    yield
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert signal.getsignal(signal.SIGALRM) is signal.SIG_DFL


def events(runner, job, watchdog):
    executor = LocalExecutor(runner, watchdog=watchdog)
    executor.submit(job)
    found = []
    while not found or isinstance(found[-1], Recorded):
        found.append(executor.next_event())
    return found


def blocked(made_up, block):
    """A run that gives one record and then waits for what never comes."""

    def run(job):
        yield made_up.record(job, 0)
        block()
        yield made_up.record(job, 1)

    return run


def wait_for_a_lock():
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()


def eat_errors():
    while True:
        with contextlib.suppress(Exception):
            time.sleep(60)


@pytest.mark.parametrize(
    "block", [lambda: time.sleep(60), wait_for_a_lock, eat_errors], ids=["sleep", "lock", "errors eaten"]
)
def test_a_run_that_hangs_fails_and_the_next_one_runs(made_up, block):
    watchdog, job = Watchdog(LIMIT), made_up.job()
    first, second = events(blocked(made_up, block), job, watchdog)
    assert isinstance(first, Recorded)
    assert isinstance(second, Failed)
    assert second.error.startswith("stuck: no record for ")
    assert isinstance(events(made_up.curve, job, watchdog)[-1], Finished)


def test_a_run_that_hangs_before_its_first_record_fails_too(made_up):
    def run(job):
        time.sleep(60)
        yield made_up.record(job, 0)

    assert isinstance(events(run, made_up.job(), Watchdog(LIMIT))[-1], Failed)


def test_what_is_slow_is_not_stuck_however_long_all_its_records_take(made_up):
    def run(job):
        for record in made_up.curve(job):
            time.sleep(LIMIT / 2)
            yield record

    found = events(run, made_up.job(), Watchdog(LIMIT))
    assert len(found) * LIMIT / 2 > LIMIT
    assert isinstance(found[-1], Finished)


def test_ticks_that_were_missed_do_not_count(made_up):
    # As when the process was stopped, or the machine slept: the timer comes once for all of it.
    def run(job):
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
        time.sleep(2 * LIMIT)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        yield made_up.record(job, 0, last=True)

    assert isinstance(events(run, made_up.job(), Watchdog(LIMIT))[0], Recorded)


def test_the_limit_follows_runs_that_train_at_least_as_much(made_up):
    watchdog = Watchdog()
    probe = made_up.job(unfreeze_depth=0)
    full = made_up.job()
    assert watchdog.limit_of(full) == UNKNOWN
    watchdog._slowest[0] = 1.0
    assert watchdog.limit_of(full) == UNKNOWN  # heads on stored features say nothing of it
    assert watchdog.limit_of(probe) == AT_LEAST
    watchdog._slowest[3] = 100.0
    assert watchdog.limit_of(full) == watchdog.limit_of(probe) == TIMES * 100
    assert Watchdog(5).limit_of(full) == 5


def test_a_user_who_stops_is_heard_while_a_run_is_watched(made_up):
    def run(job):
        signal.raise_signal(signal.SIGINT)
        yield made_up.record(job, 0)
        signal.raise_signal(signal.SIGINT)

    with watch_for_interruption() as interruption:
        executor = LocalExecutor(run, watchdog=Watchdog(LIMIT))
        executor.submit(made_up.job())
        assert isinstance(executor.next_event(), Recorded)
        assert interruption()
        with pytest.raises(KeyboardInterrupt):
            executor.next_event()


def test_nothing_is_watched_in_another_thread_or_over_another_timer(made_up):
    found = []
    thread = threading.Thread(
        target=lambda: found.append((can_watch(), events(made_up.curve, made_up.job(), Watchdog(LIMIT))[-1]))
    )
    thread.start()
    thread.join()
    assert found[0][0] is False
    assert isinstance(found[0][1], Finished)
    signal.setitimer(signal.ITIMER_REAL, 50)
    try:
        assert not can_watch()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def test_a_run_that_catches_errors_does_not_catch_this_one():
    assert not issubclass(Stuck, Exception)
