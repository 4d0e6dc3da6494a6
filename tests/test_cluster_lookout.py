"""A cluster that answers no more is told, with the way out, and nobody waits for it."""

import threading
import time

import pytest

from autofreeze.cluster import lookout
from autofreeze.cluster.lookout import Lookout, answering
from autofreeze.errors import ClusterError, ConfigError


@pytest.fixture
def watch():
    """``watch(ask)``: a lookout that asks all the time."""
    opened = []

    def make(ask):
        opened.append(Lookout(ask, seconds=0.01))
        return opened[-1]

    yield make
    for one in opened:
        one.close()


def wait_for(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def test_the_newest_answer_is_given(watch):
    answers = iter(range(10_000))
    found = watch(lambda: next(answers))
    wait_for(lambda: found.look() >= 3)
    assert not found.gone


def test_a_head_that_is_silent_is_told_as_gone_and_not_waited_for(watch, monkeypatch):
    monkeypatch.setattr(lookout, "SILENCE_SECONDS", 0.2)
    asked, silent = iter(range(10_000)), threading.Event()
    found = watch(lambda: silent.wait(30) if next(asked) else None)
    assert found.look() is None
    wait_for(lambda: found.gone)
    with pytest.raises(ClusterError, match=r"the cluster is gone; .*--resume, .*has not answered"):
        found.look()
    silent.set()


def test_one_that_is_seldom_asked_is_not_silent(watch, monkeypatch):
    monkeypatch.setattr(lookout, "SILENCE_SECONDS", 0.05)
    found = Lookout(lambda: 1, seconds=30)
    time.sleep(0.1)
    assert found.look() == 1
    found.close()


def test_what_ray_says_of_a_head_that_is_gone_is_told(watch):
    answers = iter([1])

    def ask():
        try:
            return next(answers)
        except StopIteration:
            raise ConnectionError("Cannot invoke RPC\n on closed channel") from None

    found = watch(ask)
    wait_for(lambda: found.gone)
    with pytest.raises(ClusterError, match=r"--resume.*\(Cannot invoke RPC on closed channel\)"):
        found.look()


def test_errors_without_a_connection_say_that_the_cluster_is_gone_and_other_messages_stay():
    with pytest.raises(ClusterError, match="the cluster is gone"), answering():
        raise Exception("Ray Client is not connected")
    with pytest.raises(ConfigError, match="too few"), answering():
        raise ConfigError("too few")


@pytest.mark.ray
def test_errors_that_are_not_of_ray_stay_while_it_is_connected(local_ray):
    from ray.exceptions import ActorUnavailableError

    with pytest.raises(ZeroDivisionError), answering():
        raise ZeroDivisionError
    with pytest.raises(ClusterError, match="the cluster is gone"), answering():
        raise ActorUnavailableError("no answer", None)
