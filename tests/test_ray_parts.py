"""What jobs on a cluster are handed out by, without a cluster: paces, the ledger, the depot."""

import asyncio
import math
import os
import subprocess
import sys
import tempfile

import pytest

from autofreeze.executors import depot as depots
from autofreeze.executors.depot import Depot, Errand, Order
from autofreeze.executors.ledger import Ledger, Place
from autofreeze.executors.paces import ENOUGH, LATEST, MOST_AT_A_TIME, Paces
from autofreeze.executors.scratch import clear_abandoned, scratch_folder

# Paces


@pytest.fixture
def by_depth(made_up):
    return lambda depth, trial=0: made_up.job(trial, unfreeze_depth=depth)


def test_how_long_a_job_takes_is_unknown_until_one_of_its_depth_has_ended(by_depth):
    paces = Paces()
    assert paces.expected(by_depth(0)) == math.inf
    paces.note(by_depth(2), 9.0)
    assert paces.expected(by_depth(0)) == math.inf
    assert paces.expected(by_depth(2)) == 9.0
    paces.note(by_depth(0), 1.0)
    assert paces.expected(by_depth(0)) == 9.0  # one that trains more has not taken longer than that


def test_the_longest_of_the_latest_counts(by_depth):
    paces = Paces()
    for seconds in (50.0, *[2.0] * LATEST):
        paces.note(by_depth(1), seconds)
    assert paces.expected(by_depth(1)) == 2.0
    paces.note(by_depth(1), 3.0)
    paces.note(by_depth(1), 1.0)
    assert paces.expected(by_depth(1)) == 3.0


@pytest.mark.parametrize(
    ("seconds", "jobs"), [(30.0, 1), (5.0, 1), (2.6, 2), (1.0, 5), (0.01, MOST_AT_A_TIME)]
)
def test_short_jobs_go_several_at_a_time_once_some_are_known(by_depth, seconds, jobs):
    paces = Paces()
    for number in range(ENOUGH):
        assert paces.at_a_time() == 1
        paces.note(by_depth(number % 2), seconds)
    assert paces.at_a_time() == jobs


# The ledger


ABOUT = {
    "address": "auto", "cpus_per_trial": 1, "gpus_per_trial": 0, "threads": 1, "states": "driver",
    "state_bytes": 100,
}  # fmt: skip


def test_each_node_has_one_name_that_stays_its_own():
    ledger = Ledger(**ABOUT)
    first, second = Place("10.0.0.5", "aaaaaaaaa", 1), Place("10.0.0.5", "bbbbbbbbb", 2)
    names = [ledger.name(place) for place in (first, second, first, Place("10.0.0.6", "c", 3, ("1", "2")))]
    assert names == ["10.0.0.5", "10.0.0.5/bbbbbb", "10.0.0.5", "10.0.0.6 (GPU 1, 2)"]


def test_what_was_sent_is_told_by_job():
    ledger = Ledger(**ABOUT)
    here = Place("10.0.0.5", "a", 1)
    ledger.note_sent(job=100)
    ledger.note_sent(job=50, state=1000)
    assert ledger.placing(nodes=(), node_bytes=7).job_bytes == 150  # none has ended yet
    ledger.note_end(here)
    ledger.note_end(here)
    ledger.note_too_large(["0.0"])
    ledger.note_too_large(["0.0", "1.0"])
    told = ledger.placing(nodes=(), node_bytes=7)
    assert (told.workers, told.job_bytes, told.job_state_bytes) == ({"10.0.0.5": 2}, 75, 500)
    assert (told.too_large, told.node_bytes) == (2, 7)


def test_a_worker_whose_node_is_gone_went_down_with_it():
    ledger = Ledger(**ABOUT)
    for job, cause, node in (("0.0", "worker", "a"), ("1.0", "worker", "b"), ("2.0", "memory", "b")):
        ledger.note_restart(job, cause, Place(f"host-{node}", node, 1), epoch=3, resumed=2)
    causes = [one.cause for one in ledger.placing(nodes={"a"}, node_bytes=0).restarts]
    assert causes == ["worker", "node", "memory"]


# The depot


@pytest.fixture
def told(monkeypatch):
    """``told(call, ...)``: what calls to one depot give, in one loop."""
    monkeypatch.setattr(depots, "POLL_SECONDS", 0.05)

    def run(conversation, room=100):
        async def talk():
            return await conversation(Depot([], room))

        return asyncio.run(talk())

    return run


def test_a_worker_waits_until_it_may_go_on(told, made_up):
    job = made_up.job()

    async def conversation(depot):
        nothing = await depot.order("a")
        waiting = asyncio.create_task(depot.order("a"))
        await depot.post("b", drop=["9.0"])
        await depot.post("a", [Errand(job)], ["1.0"])
        got = await waiting
        return nothing, got, await depot.order("a"), await depot.order("b")

    nothing, got, after, other = told(conversation)
    assert nothing is None
    assert got == Order((Errand(job),), ("1.0",))
    assert after is None  # what was fetched is gone
    assert other == Order(drop=("9.0",))


def test_a_worker_that_is_sent_home_is_told_each_time(told):
    async def conversation(depot):
        await depot.close("a")
        return [(await depot.order("a")).end for _ in range(2)]

    assert told(conversation) == [True, True]


def test_one_worker_computes_shared_rows_and_the_others_wait(told):
    async def conversation(depot):
        asked = [(await depot.claim("k", 60, lane))[0] for lane in ("a", "b")]
        await depot.give_up("k")
        return [*asked, (await depot.claim("k", 60, "b"))[0]]

    assert told(conversation) == ["yours", "wait", "yours"]


def test_what_a_dead_worker_was_computing_is_left_to_another(told):
    async def conversation(depot):
        await depot.claim("k", 60, "a")
        await depot.close("a")
        return (await depot.claim("k", 60, "a"))[0], (await depot.claim("k", 60, "b"))[0]

    assert told(conversation) == ("full", "yours")  # one that is on its way home takes nothing in hand


def test_rows_that_have_no_room_are_not_shared(told):
    async def conversation(depot):
        asked = [("a", 60), ("b", 41), ("c", 40)]
        return [(await depot.claim(key, size, "lane"))[0] for key, size in asked]

    assert told(conversation) == ["yours", "full", "yours"]


def test_many_workers_send_states_more_rarely():
    from autofreeze.executors.ray import FEW_WORKERS, STATE_SECONDS, state_seconds

    assert state_seconds(1) == state_seconds(FEW_WORKERS) == STATE_SECONDS
    assert state_seconds(64) == pytest.approx(64.0)  # one state a second, whoever sends it


# Scratch folders


def test_the_folders_of_processes_that_are_gone_are_cleared_and_no_others(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    left = tmp_path / f"autofreeze-{gone.pid}-abc"
    others = [tmp_path / f"autofreeze-{os.getppid()}-x", tmp_path / "autofreeze-run", tmp_path / "other-1-x"]
    for folder in (left, *others):
        folder.mkdir()
        (folder / "rolling.pt").touch()
    own = scratch_folder()
    clear_abandoned()
    assert not left.exists()
    assert all(folder.exists() for folder in (own, *others))
