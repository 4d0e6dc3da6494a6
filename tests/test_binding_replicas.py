"""A bound schedule in several processes: replicas stay equal to the bit, and a stale wrapper is refused."""

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import timm
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from autofreeze.binding import BoundSchedule, Columns
from autofreeze.errors import ConfigError
from autofreeze.recipes import chain_thaw, lp_ft
from autofreeze.regime import Regime
from autofreeze.replicas import Replicas

PROGRAM = Path(__file__).with_name("replicated.py")
REFUSED = "ConfigError: the DistributedDataParallel around this model was made before the last layer groups"


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    """What two processes found, as ``tests/replicated.py`` tells it."""
    out = tmp_path_factory.mktemp("replicas")
    done = subprocess.run(
        [sys.executable, str(PROGRAM), str(out)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-5000:]
    return [json.loads((out / f"rank{rank}.json").read_text()) for rank in (0, 1)]


def test_replicas_are_equal_to_the_bit_when_wrapped_again_at_every_switch(ranks):
    first, second = (rank["wrapped again"] for rank in ranks)
    depths = [sum(one["trainable"]) - 1 for one in first["wrapped"]]
    assert depths == [0, 2, 0, 5]
    assert first["wrapped"] == second["wrapped"]
    assert [one["state tensors"] > 0 for one in first["wrapped"]] == [False, True, True, True]


def test_replicas_are_equal_as_each_phase_ends_but_for_statistics_of_what_trains(ranks):
    first, second = (rank["wrapped again"]["ended"] for rank in ranks)
    assert len(first) == 4
    for one, other in zip(first, second, strict=True):
        for kind in ("trainable", "parameters", "frozen buffers", "optimizer"):
            assert one[kind] == other[kind]
        # Each process has seen its own batch; the next forward pass takes those of rank 0.
        assert (one["moving buffers"] == other["moving buffers"]) == (sum(one["trainable"]) == 1)
    assert len({tuple(one["parameters"]) for one in first}) == 4


def test_two_processes_with_parts_of_a_batch_train_as_one_with_all_of_it(ranks):
    found = ranks[0]["as one"]
    assert found["moved"] > 1e-3
    assert found["off"] < 1e-6 * found["moved"] + 1e-8


def test_the_example_keeps_replicas_equal(ranks):
    first, second = (dict(rank["example"]) for rank in ranks)
    assert first.pop("moving buffers") != second.pop("moving buffers")
    assert first == second
    assert all(first["trainable"])


def test_wrapped_once_after_the_first_step_replicas_drift_without_a_word(ranks):
    first, second = (rank["drift"] for rank in ranks)
    assert first["told"] == second["told"] == ""
    pairs = zip(first["after"]["parameters"], second["after"]["parameters"], strict=True)
    assert [one == other for one, other in pairs] == [False] * 5 + [True]  # the head's is still reduced
    assert first["after"]["optimizer"] != second["after"]["optimizer"]


def test_wrapped_once_before_the_first_step_torch_raises_when_replicas_differ_already(ranks):
    for rank in ranks:
        assert rank["raises"]["told"].startswith("RuntimeError: Expected to have finished reduction")
        assert rank["raises"]["step"] == 1
    first, second = (rank["raises"]["before"]["parameters"] for rank in ranks)
    assert [a == b for a, b in zip(first, second, strict=True)] == [True] * 5 + [False]


@pytest.mark.parametrize(("when", "step"), [("drift refused", 1), ("raises refused", 0)])
def test_a_stale_wrapper_is_refused_in_the_first_step_before_replicas_differ(ranks, when, step):
    first, second = (rank[when] for rank in ranks)
    for one in (first, second):
        assert one["told"].startswith(REFUSED)
        assert "if bound.start_epoch(epoch): ddp = DistributedDataParallel(model)" in one["told"]
        assert one["step"] == step
        assert one["after"]["parameters"] == one["before"]["parameters"]
    assert first["before"] == second["before"]
    assert first["wrapped again"]["parameters"] == second["wrapped again"]["parameters"]
    assert first["wrapped again"]["parameters"] != first["after"]["parameters"]


def test_a_wrapper_of_all_parameters_that_looks_for_unused_ones_will_do(ranks):
    first, second = (rank["looks for unused"] for rank in ranks)
    assert first["told"] == second["told"] == ""
    assert first["step"] == 3
    assert first["after"]["parameters"] == second["after"]["parameters"]
    assert first["after"]["optimizer"] == second["after"]["optimizer"]


# What is seen, in a single process


@pytest.fixture
def _group():
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.fixture
def tie(backbone):
    def make(schedule=None):
        loaded = backbone()
        model = loaded.build(3, seed=0)
        names = loaded.groups.names
        schedule = schedule(names) if schedule else lp_ft(names, 2, warmup_epochs=1, head_lr=1e-2)
        return BoundSchedule(schedule, model, Columns.of(model, loaded.groups), Regime(), 2)

    return make


def step_by(bound, wrapper):
    wrapper(torch.ones(2, 3, 32, 32)).sum().backward()
    bound.optimizer.step()


@pytest.mark.usefixtures("_group")
def test_another_set_of_the_same_size_is_told_apart(tie):
    bound = tie(lambda groups: chain_thaw(groups, len(groups) + 1, head_lr=1e-2))
    bound.start_epoch(3)
    ddp = DistributedDataParallel(bound.model)
    step_by(bound, ddp)
    before = bound.trainable
    bound.start_epoch(5)
    sizes = [len(bound.parameters[trains.index(True)]) for trains in (before, bound.trainable)]
    assert before != bound.trainable
    assert sizes == [9, 9]
    with pytest.raises(ConfigError, match="was made before the last layer groups"):
        step_by(bound, bound.model)
    assert ddp.module is bound.model


@pytest.mark.usefixtures("_group")
def test_an_old_wrapper_that_is_kept_does_no_harm_beside_the_new_one(tie):
    bound = tie()
    bound.start_epoch(0)
    old = DistributedDataParallel(bound.model)
    step_by(bound, old)
    bound.start_epoch(1)
    with pytest.raises(ConfigError, match="was made before"):
        step_by(bound, bound.model)
    step_by(bound, DistributedDataParallel(bound.model))
    assert old.module is bound.model


@pytest.mark.usefixtures("_group")
def test_a_model_without_a_wrapper_is_nobody_elses_business(tie):
    bound, other = tie(), tie()
    other.start_epoch(0)
    wrapped = DistributedDataParallel(other.model)
    for epoch in (0, 1):
        bound.start_epoch(epoch)
        step_by(bound, bound.model)
    assert wrapped.module is other.model


@pytest.mark.usefixtures("_group")
def test_a_wrapper_around_something_larger_is_seen(tie):
    bound = tie()
    whole = nn.Sequential(nn.Identity(), bound.model)
    bound.start_epoch(0)
    step_by(bound, wrapper := DistributedDataParallel(whole))
    bound.start_epoch(1)
    with pytest.raises(ConfigError, match="was made before"):
        step_by(bound, wrapper)


@pytest.mark.usefixtures("_group")
def test_a_wrapper_made_when_all_trained_still_serves_when_all_train(tie):
    bound = tie(lambda groups: lp_ft(groups, 2, warmup_epochs=0, head_lr=1e-2))
    wrapper = DistributedDataParallel(bound.model)
    for step in range(4):
        bound.start_step(step)
        step_by(bound, wrapper)


@pytest.mark.usefixtures("_group")
def test_a_wrapper_that_looks_for_unused_parameters_does_not_reduce_what_thawed_since(tie):
    bound = tie()
    bound.start_epoch(0)
    wrapper = DistributedDataParallel(bound.model, find_unused_parameters=True)
    step_by(bound, wrapper)
    bound.start_epoch(1)
    with pytest.raises(ConfigError, match="was made before"):
        step_by(bound, wrapper)


@pytest.mark.usefixtures("_group")
def test_a_static_graph_is_refused_when_others_train(tie):
    bound = tie()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own: a static graph finds unused parameters by itself
        wrapper = DistributedDataParallel(bound.model, find_unused_parameters=True, static_graph=True)
    bound.start_epoch(0)
    with pytest.raises(ConfigError, match="was made before"):
        step_by(bound, wrapper)


@pytest.mark.usefixtures("_group")
def test_sharded_models_are_refused(tie):
    from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard

    bound = tie()
    bound.start_epoch(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own: one process shards nothing
        sharded = FullyShardedDataParallel(bound.model, use_orig_params=True, device_id=torch.device("cpu"))
    with pytest.raises(ConfigError, match="FullyShardedDataParallel, which a bound schedule does not"):
        step_by(bound, bound.model)
    assert sharded.module is bound.model

    bound = tie()
    bound.start_epoch(0)
    fully_shard(bound.model)
    with pytest.raises(ConfigError, match=r"conv1.*was replaced or added.*FSDP"):
        bound.start_epoch(1)


def test_nothing_is_looked_at_without_torch_distributed(monkeypatch):
    monkeypatch.setattr("gc.get_objects", lambda: pytest.fail("looked through all objects"))
    replicas = Replicas(timm.create_model("test_vit"))
    replicas.note()
    replicas.refuse_stale()
