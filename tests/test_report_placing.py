"""Where jobs ran, in words."""

import pytest

from autofreeze.placing import Placing, Restart
from autofreeze.report.placing import NAMED, placing_lines


@pytest.fixture
def placing():
    return Placing(
        address="auto",
        workers={"10.0.0.6 (GPU 0)": 1, "10.0.0.5": 34},
        cpus_per_trial=1,
        gpus_per_trial=0.25,
        threads=2,
        states="driver",
        state_bytes=64_000_000,
        too_large=0,
        node_bytes=15_648_824,
        job_bytes=5400.2,
        job_state_bytes=1_354_814.4,
    )


def restart(job="3.0", **changes):
    about = {"cause": "worker", "where": "10.0.0.5", "epoch": 3, "resumed": 2}
    return Restart(**{"job": job, **about, **changes})


def test_one_machine_needs_no_words():
    assert placing_lines(None) == []


def test_it_says_where_jobs_ran_and_what_was_sent(placing):
    ran, sent, states = placing_lines(placing)
    assert ran == (
        "ran on Ray (auto): 34 jobs on 10.0.0.5 and 1 job on 10.0.0.6 (GPU 0), "
        "each with 0.25 GPU, 1 CPU and 2 threads"
    )
    assert "each node once: 15.6 MB" in sent
    assert "for a job 5.4 kB" in sent
    assert "states of 1.35 MB" in sent
    assert "with the driver, where they are at most 64 MB" in states
    assert "larger" not in states


def test_it_says_which_states_could_not_be_kept_and_how_they_can(placing):
    states = placing_lines(placing.model_copy(update={"too_large": 3}))[2]
    assert "3 jobs had larger ones (--storage keeps those too)" in states
    shared = placing_lines(placing.model_copy(update={"states": "storage"}))[2]
    assert shared == "states of interrupted runs: on a disk that all workers see"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "job 3.0 on 10.0.0.5 after 3 epochs: its worker died, it went on after 2 epochs"),
        ({"cause": "node"}, "its node was lost, it went on after 2 epochs"),
        ({"cause": "memory", "resumed": 0}, "it ran out of memory, it began anew"),
    ],
)
def test_it_says_of_a_job_that_lost_its_place_why_and_from_where_it_went_on(placing, changes, words):
    told = placing_lines(placing.model_copy(update={"restarts": (restart(**changes),)}))[-1]
    assert told.endswith(words)


def test_of_many_restarts_some_are_named_and_the_others_counted(placing):
    many = tuple(restart(f"{number}.0") for number in range(NAMED + 2))
    told = placing_lines(placing.model_copy(update={"restarts": many}))[3:]
    assert len(told) == NAMED + 1
    assert told[-1] == "and 2 other jobs that lost their places"
    one = placing_lines(placing.model_copy(update={"restarts": many[:-1]}))
    assert one[-1] == "and 1 other job that lost its place"
