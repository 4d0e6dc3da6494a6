"""How a cluster is shared out: what each trial gets, how many run at once, what is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autofreeze.cluster.sharing import (
    NodeResources,
    Placement,
    most_in_hand,
    refuse_too_little_memory,
    share_out,
)
from autofreeze.errors import ConfigError

GB = 10**9
LAPTOP = (NodeResources("laptop", cpus=8),)
SMALL, LARGE = NodeResources("small", 4, 1), NodeResources("large", 64, 8)
GPUS = (SMALL, LARGE, NodeResources("no-gpu", 32))


def shares(nodes, *, most=100, **given):
    found = share_out(nodes, most=most, **given)
    return found.cpus, found.gpus, found.threads, dict(found.slots)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"most": 100}, (1, 0, 1, {"laptop": 8})),
        ({"most": 8}, (1, 0, 1, {"laptop": 8})),
        ({"most": 4}, (2, 0, 2, {"laptop": 4})),
        ({"most": 3}, (2, 0, 2, {"laptop": 4})),
        ({"most": 2}, (4, 0, 4, {"laptop": 2})),
        ({"most": 1}, (8, 0, 8, {"laptop": 1})),
        ({"threads": 2}, (2, 0, 2, {"laptop": 4})),
        ({"threads": 16}, (8, 0, 16, {"laptop": 1})),
        ({"cpus_per_trial": 4}, (4, 0, 4, {"laptop": 2})),
        ({"cpus_per_trial": 0.5}, (0.5, 0, 1, {"laptop": 16})),
        ({"cpus_per_trial": 1.5}, (1.5, 0, 1, {"laptop": 5})),
        ({"cpus_per_trial": 4, "threads": 1}, (4, 0, 1, {"laptop": 2})),
    ],
    ids=str,
)
def test_without_gpus_all_cpus_are_busy_and_what_is_said_holds(given, expected):
    assert shares(LAPTOP, **given) == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, (4, 1, 4, {"small": 1, "large": 8, "no-gpu": 0})),
        ({"gpus_per_trial": 0.25}, (1, 0.25, 1, {"small": 4, "large": 32, "no-gpu": 0})),
        ({"gpus_per_trial": 0.3}, (1, 0.3, 1, {"small": 3, "large": 24, "no-gpu": 0})),
        ({"gpus_per_trial": 0.1}, (0.4, 0.1, 1, {"small": 10, "large": 80, "no-gpu": 0})),
        ({"gpus_per_trial": 2}, (16, 2, 16, {"small": 0, "large": 4, "no-gpu": 0})),
        ({"gpus_per_trial": 3}, (32, 3, 32, {"small": 0, "large": 2, "no-gpu": 0})),
        ({"gpus_per_trial": 0, "most": 25}, (4, 0, 4, {"small": 1, "large": 16, "no-gpu": 8})),
        ({"device": "cpu", "most": 25}, (4, 0, 4, {"small": 1, "large": 16, "no-gpu": 8})),
        ({"device": "mps"}, (4, 1, 4, {"small": 1, "large": 8, "no-gpu": 0})),
        ({"threads": 2}, (2, 1, 2, {"small": 1, "large": 8, "no-gpu": 0})),
        ({"threads": 6}, (4, 1, 6, {"small": 1, "large": 8, "no-gpu": 0})),
        ({"cpus_per_trial": 8}, (8, 1, 8, {"small": 0, "large": 8, "no-gpu": 0})),
        ({"cpus_per_trial": 16}, (16, 1, 16, {"small": 0, "large": 4, "no-gpu": 0})),
    ],
    ids=str,
)
def test_with_gpus_each_trial_has_one_and_its_share_of_the_cpus(given, expected):
    assert shares(GPUS, **given) == expected


def test_a_share_is_of_one_gpu_never_of_parts_of_two():
    assert shares((NodeResources("two", 64, 2),), gpus_per_trial=0.4)[3] == {"two": 4}
    assert shares((NodeResources("ten", 64, 1),), gpus_per_trial=0.1)[3] == {"ten": 10}


def test_shares_are_counted_as_ray_counts_them_not_as_floats_divide():
    assert shares((NodeResources("n", 7),), cpus_per_trial=0.14)[3] == {"n": 50}
    assert int(7 / 0.14) == 49


def test_four_trials_at_a_quarter_fit_on_a_gpu_with_two_cpus():
    assert shares((NodeResources("gpu", 2, 1),), gpus_per_trial=0.25) == (0.5, 0.25, 1, {"gpu": 4})


def test_a_head_without_cpus_is_no_obstacle():
    nodes = (NodeResources("head", 0), NodeResources("worker", 4))
    assert shares(nodes, most=2)[3] == {"head": 0, "worker": 2}
    nodes = (NodeResources("head", 0, 1), NodeResources("worker", 4, 1))
    assert shares(nodes)[3] == {"head": 0, "worker": 1}


def test_no_more_at_once_than_wanted_and_no_more_than_there_is_room():
    assert share_out(GPUS, most=5).at_once == 5
    assert share_out(GPUS, most=50).at_once == share_out(GPUS, most=50).total == 9


def test_a_quarter_of_the_trials_at_once_unless_somebody_says():
    assert [most_in_hand(trials) for trials in (1, 7, 8, 50)] == [1, 1, 2, 12]
    assert most_in_hand(50, 3) == 3


def test_a_node_that_joins_gets_trials_of_the_same_share():
    before = share_out(LAPTOP, most=4)
    after = before.on([*LAPTOP, NodeResources("new", 5)])
    assert (after.cpus, after.threads, dict(after.slots)) == (2, 2, {"laptop": 4, "new": 2})


@pytest.mark.parametrize(
    ("nodes", "given", "words"),
    [
        (GPUS, {"gpus_per_trial": 9}, "gpus-per-trial: got 9; the largest node, large, has 8"),
        (GPUS, {"gpus_per_trial": 9}, "give at most 8"),
        (GPUS, {"cpus_per_trial": 65}, "cpus-per-trial: got 65; the largest node, large, has 64"),
        (LAPTOP, {"gpus_per_trial": 0.25}, "got 0.25, and no node of the cluster has a GPU"),
        (LAPTOP, {"device": "cuda"}, "device: got cuda, and no node of the cluster has a GPU"),
        (GPUS, {"device": "cpu", "gpus_per_trial": 1}, "got 1, and the trials run on cpu; give 0"),
        (GPUS, {"device": "cuda", "gpus_per_trial": 0}, "got 0, and the trials run on cuda"),
        ((), {}, "no node of the cluster has a CPU to give"),
        ((NodeResources("head", 0),), {}, "no node of the cluster has a CPU to give"),
        (
            (NodeResources("g", 4, 1), NodeResources("c", 16)), {"cpus_per_trial": 16},
            "gpus-per-trial 1 and cpus-per-trial 16: no node has room for a trial (g has 4 CPUs and 1 GPU "
            "and c has 16 CPUs and 0 GPUs); give less",
        ),
        ((NodeResources("odd", 4, 0.5),), {"gpus_per_trial": 0.25}, "no node has room for a trial"),
    ],
    ids=str,
)  # fmt: skip
def test_more_than_any_node_has_is_refused_with_the_way_out(nodes, given, words):
    with pytest.raises(ConfigError) as caught:
        share_out(nodes, most=4, **given)
    assert len(caught.value.problems) == 1
    assert words in str(caught.value)


def test_all_that_is_too_much_is_told_at_once():
    with pytest.raises(ConfigError) as caught:
        share_out(GPUS, gpus_per_trial=9, cpus_per_trial=65, most=4)
    assert [problem.split(":")[0] for problem in caught.value.problems] == [
        "gpus-per-trial",
        "cpus-per-trial",
    ]


numbers = st.integers(0, 64).map(float)
nodes = st.lists(st.tuples(numbers, st.integers(0, 8).map(float)), min_size=1, max_size=6).map(
    lambda found: [NodeResources(str(i), cpus, gpus) for i, (cpus, gpus) in enumerate(found)]
)


@given(
    nodes,
    st.none() | st.sampled_from([0.0, 0.1, 0.25, 0.3, 0.3333, 0.5, 1.0, 2.0]),
    st.none() | st.floats(0.01, 64),
    st.none() | st.integers(1, 64),
    st.integers(1, 100),
)
def test_no_node_is_promised_more_than_it_has(nodes, gpus, cpus, threads, most):
    try:
        found = share_out(nodes, gpus_per_trial=gpus, cpus_per_trial=cpus, threads=threads, most=most)
    except ConfigError:
        return
    assert found.total >= 1
    assert found.threads >= 1
    assert found.threads == threads or threads is None
    for node in nodes:
        slots = found.slots[node.name]
        assert slots * found.cpus <= node.cpus + 1e-3 * slots
        assert slots * found.gpus <= node.gpus + 1e-9
        if cpus is None and gpus is None and node.gpus and node.cpus:
            assert slots == node.gpus, "a GPU stands idle for want of CPUs"


@given(nodes.filter(lambda found: not any(node.gpus for node in found)), st.integers(1, 100))
def test_without_gpus_no_wider_trial_would_leave_room_for_as_many(nodes, most):
    if not any(node.cpus for node in nodes):
        return
    found = share_out(nodes, most=most)
    assert found.cpus >= 1
    assert found.total >= most or found.cpus == 1
    wider = Placement(found.cpus + 1, 0, 1, {}, most).on(nodes)
    assert wider.total < most


# Memory

GPU = (NodeResources("gpu", 16, 1, gpu_memory=8 * GB),)


def fits(needed, gpus, nodes=GPU):
    refuse_too_little_memory(needed, share_out(nodes, gpus_per_trial=gpus, most=4), nodes, batch_size=32)


def test_a_share_whose_memory_does_not_suffice_is_refused_with_one_that_does():
    with pytest.raises(ConfigError) as caught:
        fits(int(3.1 * GB), 0.25)
    assert str(caught.value) == (
        "gpus-per-trial: got 0.25; on gpu that is 2 GB of a GPU of 8 GB, and a step of full fine-tuning at "
        "batch size 32 takes 3.1 GB: give --gpus-per-trial 0.5, or a smaller batch"
    )
    fits(int(3.1 * GB), 0.5)


def test_the_share_that_is_named_suffices():
    for needed in (GB, 2 * GB, int(2.6663 * GB), int(2.6665 * GB), int(2.6668 * GB), 4 * GB, 5 * GB, 8 * GB):
        try:
            fits(needed, 0.1)
        except ConfigError as error:
            fits(needed, float(str(error).split("--gpus-per-trial ")[1].split(",")[0]))
        else:
            pytest.fail("a tenth of 8 GB is less than a GB")


def test_where_a_whole_gpu_does_not_suffice_only_the_batch_helps():
    with pytest.raises(ConfigError, match=r"takes 9 GB: a whole one does not suffice either; give a smaller"):
        fits(9 * GB, 0.5)


def test_whole_gpus_are_no_matter_of_shares():
    fits(9 * GB, 1)
    fits(9 * GB, 0, (NodeResources("cpu", 4),))


def test_every_node_with_too_little_is_told_and_no_other():
    nodes = (
        NodeResources("old", 16, 1, gpu_memory=8 * GB), NodeResources("new", 16, 1, gpu_memory=80 * GB),
        NodeResources("older", 16, 1, gpu_memory=4 * GB), NodeResources("unknown", 16, 1),
        NodeResources("no-gpu", 16, gpu_memory=1),
    )  # fmt: skip
    with pytest.raises(ConfigError) as caught:
        fits(3 * GB, 0.25, nodes)
    assert [problem.split()[4] for problem in caught.value.problems] == ["old", "older"]
