"""A bound schedule in loops of one's own: batches in parts, mixed precision, compiled models, resuming."""

import copy

import pytest
import torch
from torch.nn.functional import cross_entropy

from autofreeze.binding import BoundSchedule, Columns, bind
from autofreeze.errors import BackboneError, ConfigError
from autofreeze.layers import group_buffers
from autofreeze.regime import Regime
from autofreeze.schedule import Phase, Schedule

ADAM, SGD = Regime(), Regime(optimizer="sgd")
STEPS = 2
ROWS = ((1, 0), (1.5, 2), (0.5, 0), (1, 5))
"""(epochs, backbone groups that train): thawed, frozen again in mid-epoch, thawed."""


def table(groups, rows=ROWS):
    n = len(groups)
    phases = [
        Phase(epochs=epochs, lrs=tuple(1e-2 / (n - i) if i >= n - 1 - depth else None for i in range(n)))
        for epochs, depth in rows
    ]
    return Schedule(groups=groups, phases=tuple(phases))


@pytest.fixture
def tie(backbone):
    def make(name="test_resnet", regime=ADAM, rows=ROWS, steps_per_epoch=STEPS):
        loaded = backbone(name)
        model = loaded.build(3, seed=0)
        columns = Columns.of(model, loaded.groups)
        return BoundSchedule(table(loaded.groups.names, rows), model, columns, regime, steps_per_epoch)

    return make


def batch(step, n=6):
    generator = torch.Generator().manual_seed(step)
    return torch.randn(n, 3, 32, 32, generator=generator), torch.arange(n) % 3


def loss_of(model, images, labels, of=None):
    return cross_entropy(model(images).float(), labels, reduction="sum") / (of or len(labels))


def take(bound, step, *, model=None):
    """One plain step."""
    bound.start_step(step)
    bound.optimizer.zero_grad()
    loss_of(bound.model if model is None else model, *batch(step)).backward()
    bound.optimizer.step()


def held(bound):
    """Copy of all that a loop has to keep: the model's state and the optimizer's."""
    return copy.deepcopy((bound.model.state_dict(), bound.optimizer.state_dict()))


def same(one, other):
    """Whether two nested values are the same to the bit."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def same_up_to_rounding(one, other):
    return all(torch.allclose(one[name], other[name], rtol=1e-3, atol=1e-3) for name in one)


def rates(bound):
    return [entry["lr"] for entry in bound.optimizer.param_groups]


# Batches in parts


def test_parts_of_a_batch_add_up_to_its_gradient(tie):
    """Without BatchNorm, which follows the parts."""
    whole, parts = tie("test_convnext"), tie("test_convnext")
    for step in range(whole.timetable.total_steps):
        for bound, size in ((whole, 6), (parts, 2)):
            bound.start_step(step)
            bound.optimizer.zero_grad()
            images, labels = batch(step)
            for part, own in zip(images.split(size), labels.split(size), strict=True):
                loss_of(bound.model, part, own, of=6).backward()
        pairs = list(zip(whole.model.parameters(), parts.model.parameters(), strict=True))
        assert all((a.grad is None) == (b.grad is None) for a, b in pairs)
        trained = [(a.grad, b.grad) for a, b in pairs if a.grad is not None]
        assert all(torch.allclose(one, other, rtol=1e-4, atol=1e-6) for one, other in trained)
        whole.optimizer.step()
        parts.model.load_state_dict(whole.model.state_dict())


def test_every_part_of_a_step_sees_the_rates_the_modes_and_the_parameters_of_that_step(tie):
    bound, size = tie(), 3
    timetable = bound.timetable
    for number in range(timetable.total_steps * size):  # a loader of micro-batches, three to a step
        step = number // size
        changed = bound.start_step(step)
        assert changed == (number % size == 0 and step in (0, *timetable.ends))
        before = [parameter.grad is not None for parameter in bound.model.parameters()]
        assert any(before) == (number % size > 0)
        expected = [timetable.rate(entry["column"], step) or 0.0 for entry in bound.optimizer.param_groups]
        assert rates(bound) == expected
        assert bound.trainable == timetable.trainable(step)
        loss_of(bound.model, *batch(number, 3), of=9).backward()
        if number % size == size - 1:
            bound.optimizer.step()
            bound.optimizer.zero_grad()


def test_what_is_left_of_an_unfinished_batch_is_not_carried_over_a_switch(tie):
    clean, left = tie(), tie()
    for step in range(3):
        if step == 2:  # the switch; the loader had a part too many
            left.model.eval()
            loss_of(left.model, *batch(99)).backward()
        take_without_clearing = step == 2
        for bound in (clean, left):
            if take_without_clearing:
                bound.start_step(step)
                loss_of(bound.model, *batch(step)).backward()
                bound.optimizer.step()
            else:
                take(bound, step)
    assert same(held(clean), held(left))


def test_batchnorm_follows_parts_where_it_trains_and_stands_still_where_it_is_frozen(tie):
    bound = tie(rows=[(1, 2)])
    bound.start_step(0)
    for number in range(3):
        loss_of(bound.model, *batch(number)).backward()
    bound.optimizer.step()
    buffers = dict(bound.model.named_buffers())
    seen = [
        {int(buffers[name]) for name in names if name.endswith("num_batches_tracked")}
        for names in group_buffers(bound.model, bound._columns.groups)
    ]
    assert seen == [{0}, {0}, {0}, {3}, {3}, set()]


def test_steps_that_count_parts_are_refused_when_the_schedule_ends(tie):
    bound = tie()
    with pytest.raises(ConfigError, match=r"got 8; must lie in 0..7: .* 4 epochs of 2 optimizer steps\."):
        bound.start_step(8)
    with pytest.raises(ConfigError, match=r"got -2"):
        bound.start_epoch(-1)


@pytest.mark.parametrize("steps", [0, 2.5, True, -1])
def test_steps_in_an_epoch_are_a_whole_number(tie, steps):
    bound = tie()
    with pytest.raises(ConfigError, match=f"steps_per_epoch: got {steps}; must be a whole number >= 1"):
        bound.timetable.schedule.bind(bound.model, steps_per_epoch=steps, image_size=32)


def test_a_switch_between_the_backward_pass_and_the_step_is_refused(tie):
    bound = tie()
    take(bound, 0)
    take(bound, 1)
    loss_of(bound.model, *batch(2)).backward()
    bound.start_step(2)  # too late: gradients are gone
    with pytest.raises(ConfigError, match=r"no gradient to step by.*before the forward pass"):
        bound.optimizer.step()
    take(bound, 2)


# Mixed precision


@pytest.mark.parametrize("regime", [ADAM, SGD], ids=["adamw", "sgd"])
def test_a_scaler_changes_not_one_bit(tie, regime):
    """A scale that is a power of two is exact, so that gradients are the same to the bit."""
    plain, scaled = tie(regime=regime), tie(regime=regime)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=3)
    for step in range(plain.timetable.total_steps):
        take(plain, step)
        assert scaled.start_step(step) == (step in (0, *scaled.timetable.ends))
        scaled.optimizer.zero_grad()
        scaler.scale(loss_of(scaled.model, *batch(step))).backward()
        if step % 2:
            scaler.unscale_(scaled.optimizer)
        scaler.step(scaled.optimizer)
        scaler.update()
        assert same(held(plain), held(scaled))
    assert scaler.get_scale() > 2.0**10


@pytest.mark.parametrize("regime", [ADAM, SGD], ids=["adamw", "sgd"])
def test_a_step_that_the_scaler_skips_at_a_switch_changes_nothing_but_the_schedule_goes_on(tie, regime):
    plain, scaled = tie(regime=regime), tie(regime=regime)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    for step in range(5):
        scaled.start_step(step)
        scaled.optimizer.zero_grad()
        loss = loss_of(scaled.model, *batch(step))
        scaler.scale(loss * (torch.inf if step == 2 else 1)).backward()
        before = copy.deepcopy([*scaled.model.parameters()])
        scaler.step(scaled.optimizer)
        scaler.update()
        if step == 2:
            assert all(map(torch.equal, before, scaled.model.parameters()))
            plain.start_step(step)
            plain.model(batch(step)[0])  # statistics follow the batch
        else:
            take(plain, step)
    assert scaler.get_scale() == 2.0**9
    one, other = held(plain), held(scaled)
    assert same(one[0], other[0])
    assert same(one[1], other[1])


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16], ids=["bfloat16", "float16"])
def test_in_mixed_precision_the_groups_of_the_schedule_train_and_the_others_stand_still(tie, precision):
    bound = tie()
    names = {id(p): name for name, p in bound.model.named_parameters()}
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**8)
    columns = group_buffers(bound.model, bound._columns.groups)
    for step in range(bound.timetable.total_steps):
        bound.start_step(step)
        bound.optimizer.zero_grad()
        before = copy.deepcopy(bound.model.state_dict())
        images, labels = batch(step, 4)
        with torch.autocast("cpu", precision):
            loss = loss_of(bound.model, images, labels)
        scaler.scale(loss).backward()
        scaler.step(bound.optimizer)
        scaler.update()
        after = bound.model.state_dict()
        moved = {name for name in after if not torch.equal(before[name], after[name])}
        for column, trains in enumerate(bound.timetable.trainable(step)):
            own = {names[id(p)] for p in bound.parameters[column]}
            still = own | (set(columns[column]) & before.keys())
            assert bool(moved & own) == trains
            assert trains or not moved & still
            assert {bool(bound.optimizer.state.get(p)) for p in bound.parameters[column]} == {trains}
        assert all(p.grad is None or p.grad.dtype == torch.float32 for p in bound.model.parameters())


def test_frozen_layers_in_training_mode_are_refused_under_a_scaler_too(tie):
    bound = tie()
    scaler = torch.amp.GradScaler("cpu")
    bound.start_step(0)
    bound.model.train()
    scaler.scale(loss_of(bound.model, *batch(0))).backward()
    with pytest.raises(ConfigError, match=r"model.train\(\) was called"):
        scaler.step(bound.optimizer)


# Compiled and converted models


@pytest.fixture
def graphs():
    """How many graphs have been compiled, by a compiler that has compiled none before."""
    import torch._dynamo.utils as dynamo

    torch._dynamo.reset()
    dynamo.counters.clear()
    yield lambda: dynamo.counters["stats"]["unique_graphs"]
    torch._dynamo.reset()


@pytest.mark.long
@pytest.mark.parametrize("wrapped", [True, False], ids=["wrapped", "in place"])
def test_a_compiled_model_follows_every_switch_by_one_graph_for_each_set(tie, graphs, wrapped):
    plain, compiled = tie(), tie()
    model = compiled.model
    if wrapped:
        model = torch.compile(model, backend="aot_eager")
    else:
        model.compile(backend="aot_eager")
    for step in range(plain.timetable.total_steps):
        take(plain, step)
        before = copy.deepcopy(compiled.model.state_dict())
        take(compiled, step, model=model)
        after = compiled.model.state_dict()
        moved = {name for name in after if not torch.equal(before[name], after[name])}
        for trains, names in zip(
            compiled.trainable, group_buffers(compiled.model, compiled._columns.groups), strict=True
        ):
            statistics = {name for name in names if name.endswith("running_mean")}
            assert moved & statistics == (statistics if trains else set())
        assert same_up_to_rounding(plain.model.state_dict(), after)
    assert graphs() == len({depth for _, depth in ROWS})


def test_a_model_converted_before_it_is_bound_is_bound_and_one_converted_afterwards_refused(tie):
    from timm.layers import convert_sync_batchnorm

    bound = tie(rows=[(2, 2)])
    schedule = bound.timetable.schedule
    other = convert_sync_batchnorm(bound.model)
    assert sum(isinstance(one, torch.nn.SyncBatchNorm) for one in other.modules()) > 3
    with pytest.raises(ConfigError, match=r"was replaced or added; convert to SyncBatchNorm before bind"):
        bound.start_epoch(0)
    converted = schedule.bind(other, steps_per_epoch=2, image_size=32)
    converted.start_epoch(0)
    modes = [
        {module.training for name, module in other.named_modules() if name.startswith(part) and name}
        for part in ("conv1", "layer1", "layer3", "layer4")
    ]
    assert modes == [{False}, {False}, {True}, {True}]


def test_parts_added_after_bind_are_refused(tie):
    bound = tie()
    take(bound, 0)
    bound.model.layer3.extra = torch.nn.BatchNorm2d(192)
    take(bound, 1)
    with pytest.raises(ConfigError, match=r"layer3.extra was replaced or added"):
        bound.start_step(2)


@pytest.mark.parametrize("wrap", [torch.nn.DataParallel, torch.compile], ids=["DataParallel", "compile"])
def test_a_wrapped_model_is_not_bound(tie, wrap):
    bound = tie()
    with pytest.raises(BackboneError, match=r"got the model inside \w+; bind the model itself"):
        bind(bound.timetable.schedule, wrap(bound.model), image_size=32)


# Resuming


@pytest.mark.parametrize("regime", [ADAM, SGD], ids=["adamw", "sgd"])
@pytest.mark.parametrize("done", range(1, 8))
def test_a_loop_that_goes_on_from_its_state_comes_to_the_same_bits(tie, regime, done):
    """From every step, switches too: those that thaw, those that freeze again, and in mid-epoch."""
    whole, broken = tie(regime=regime), tie(regime=regime)
    for step in range(8):
        take(whole, step)
    for step in range(done):
        take(broken, step)
    model, optimizer = held(broken)
    resumed = tie(regime=regime)
    resumed.model.load_state_dict(model)
    resumed.optimizer.load_state_dict(optimizer)
    for step in range(done, 8):
        take(resumed, step)
    assert same(held(whole), held(resumed))


def test_state_that_is_loaded_after_the_first_call_is_used_as_well(tie):
    whole, resumed = tie(), tie()
    for step in range(8):
        take(whole, step)
        if step == 4:  # the next step freezes again what trained until now
            model, optimizer = held(whole)
    resumed.start_step(5)
    resumed.model.load_state_dict(model)
    resumed.optimizer.load_state_dict(optimizer)
    for step in range(5, 8):
        take(resumed, step)
    assert same(held(whole), held(resumed))


def test_going_back_to_an_earlier_state_comes_to_the_same_bits(tie):
    bound = tie()
    states = []
    for step in range(8):
        states.append(held(bound))
        take(bound, step)
    end = held(bound)
    for start in (1, 3, 6):
        bound.model.load_state_dict(states[start][0])
        bound.optimizer.load_state_dict(copy.deepcopy(states[start][1]))
        assert bound.start_step(start)  # said again: a wrapper made since may be another one's
        for step in range(start, 8):
            take(bound, step)
        assert same(held(bound), end)


def test_the_fast_step_uses_what_was_loaded(tie):
    whole, resumed = tie(), tie()
    for step in range(4):
        take(whole, step)
    model, optimizer = held(whole)
    resumed.start_step(4)
    resumed.model.load_state_dict(model)
    resumed.optimizer.load_state_dict(optimizer)
    for bound in (whole, resumed):
        bound.start_step(4)
        bound.move_on(4)
        bound.optimizer.zero_grad()
        loss_of(bound.model, *batch(4)).backward()
        bound.step()
    assert same(held(whole), held(resumed))
