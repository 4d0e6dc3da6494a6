"""A schedule tied to a model: who trains, at which rate, with which optimizer state."""

import pytest
import torch

from autofreeze.binding import BoundSchedule, Columns, bind
from autofreeze.errors import BackboneError, ConfigError
from autofreeze.layers import group_buffers, layer_groups
from autofreeze.regime import Regime
from autofreeze.schedule import Phase, Schedule

FAMILIES = ["test_resnet", "test_efficientnet", "test_maxvit", "test_byobnet", "mobilenetv3_small_050"]
"""Families with BatchNorm."""

ADAM, SGD = Regime(), Regime(optimizer="sgd")


def table(groups, *rows, **curve):
    """Rows of (epochs, how many backbone groups from the head train)."""
    n = len(groups)
    phases = [
        Phase(epochs=epochs, lrs=tuple(1e-2 / (n - i) if i >= n - 1 - depth else None for i in range(n)))
        for epochs, depth in rows
    ]
    return Schedule(groups=groups, phases=phases, **curve)


@pytest.fixture
def tie(backbone):
    def make(*rows, name="test_resnet", regime=ADAM, steps_per_epoch=4, drops=None, **curve):
        loaded = backbone(name)
        model = loaded.build(3, seed=0, **(drops or {}))
        schedule = table(loaded.groups.names, *rows, **curve)
        columns = Columns.of(model, loaded.groups)
        return BoundSchedule(schedule, model, columns, regime, steps_per_epoch)

    return make


def images(n=6, seed=0):
    return torch.randn(n, 3, 32, 32, generator=torch.Generator().manual_seed(seed))


def train_step(bound, step, *, seed=None):
    bound.start_step(step)
    bound.optimizer.zero_grad(set_to_none=True)
    bound.model(images(seed=step if seed is None else seed)).square().mean().backward()
    bound.optimizer.step()


def state_of(bound, column):
    """Copy of the optimizer's state of a column: tensors by parameter and name."""
    return [
        {name: value.clone() for name, value in bound.optimizer.state.get(parameter, {}).items()}
        for parameter in bound.parameters[column]
    ]


def same_state(one, other):
    return all(
        a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
        for a, b in zip(one, other, strict=True)
    )


@pytest.mark.parametrize("regime", [ADAM, SGD], ids=["adamw", "sgd"])
@pytest.mark.parametrize(
    "curve",
    [
        {},
        {"curve": "constant"},
        {"curve_over": "phase"},
        {"lr_ramp_epochs": 0.5},
        {"curve_over": "phase", "lr_ramp_epochs": 0.25},
    ],
    ids=["cosine", "constant", "cosine by phase", "ramp", "ramp by phase"],
)
def test_at_each_step_each_parameter_has_the_rate_of_the_timetable(tie, regime, curve):
    bound = tie((0.75, 0), (1.5, 2), (0.75, 5), regime=regime, **curve)
    column_of = {id(p): c for c, column in enumerate(bound.parameters) for p in column}
    assert bound.timetable.total_steps == 12
    for step in range(12):
        bound.start_step(step)
        for entry in bound.optimizer.param_groups:
            for parameter in entry["params"]:
                rate = bound.timetable.rate(column_of[id(parameter)], step)
                assert parameter.requires_grad == (rate is not None)
                assert entry["lr"] == (rate or 0.0)


@pytest.mark.parametrize("regime", [ADAM, SGD], ids=["adamw", "sgd"])
def test_at_an_unfreeze_groups_already_training_keep_their_state_and_new_ones_have_none(tie, regime):
    bound = tie((1, 1), (1, 3), regime=regime)
    for step in range(4):
        train_step(bound, step)
    old = {column: state_of(bound, column) for column in (4, 5)}
    assert all(entry for column in old.values() for entry in column)
    assert not any(entry for column in range(4) for entry in state_of(bound, column))
    assert bound.start_step(4)
    for column in (4, 5):
        assert same_state(old[column], state_of(bound, column))
    for column in range(4):
        assert not any(state_of(bound, column))
    rates = {entry["column"]: entry["lr"] for entry in bound.optimizer.param_groups}
    assert [rates[c] for c in range(6)] == [rate or 0.0 for rate in bound.timetable.rates(4)]
    train_step(bound, 4)
    counts = {c: {float(s["step"]) for s in state_of(bound, c)} for c in (2, 5) if regime is ADAM}
    assert counts == ({2: {1.0}, 5: {5.0}} if regime is ADAM else {})


@pytest.mark.parametrize("regime", [ADAM, SGD], ids=["adamw", "sgd"])
def test_a_group_frozen_again_forgets_its_state_and_thaws_fresh(tie, regime):
    regime = regime.model_copy(update={"weight_decay": 0.0})
    bound = tie((1, 2), (1, 0), (1, 2), regime=regime)
    for step in range(4):
        train_step(bound, step)
    head = state_of(bound, 5)
    bound.start_step(4)
    assert not any(state_of(bound, 3) + state_of(bound, 4))
    assert same_state(head, state_of(bound, 5))
    for step in range(4, 8):
        train_step(bound, step)
    bound.start_step(8)
    assert not any(state_of(bound, 4))
    train_step(bound, 8)
    # A first step from fresh state: the momentum is the first gradient, nothing of the earlier row.
    for parameter in bound.parameters[4]:
        state = bound.optimizer.state[parameter]
        key, share = ("exp_avg", 0.1) if regime.optimizer == "adamw" else ("momentum_buffer", 1.0)
        assert torch.allclose(state[key], share * parameter.grad, rtol=1e-4, atol=1e-7)


def test_stale_gradients_are_cleared_at_a_switch(tie):
    bound = tie((1, 2), (1, 3), (1, 0))
    for switch in (4, 8):
        bound.start_step(switch - 1)
        bound.model(images()).square().mean().backward()
        assert any(p.grad is not None for p in bound.model.parameters())
        bound.start_step(switch)
        assert all(p.grad is None for p in bound.model.parameters())


def test_a_switch_is_told_once(tie):
    bound = tie((1, 0), (1, 0), (1, 2))
    assert [bound.start_step(step) for step in range(12)] == [step in (0, 8) for step in range(12)]
    assert bound.trainable == (False, False, False, True, True, True)
    again = tie((1, 0), (1, 2))
    assert [again.start_epoch(epoch) for epoch in (0, 1, 1, 7)] == [True, True, False, False]


@pytest.mark.parametrize("regime", [ADAM, SGD], ids=["adamw", "sgd"])
def test_biases_and_other_one_dimensional_parameters_do_not_decay(tie, regime):
    bound = tie((1, 5), regime=regime.model_copy(update={"weight_decay": 0.3}))
    seen = [id(p) for entry in bound.optimizer.param_groups for p in entry["params"]]
    assert sorted(seen) == sorted(id(p) for p in bound.model.parameters())
    for entry in bound.optimizer.param_groups:
        for parameter in entry["params"]:
            assert entry["weight_decay"] == (0.3 if parameter.ndim > 1 else 0.0)


@pytest.mark.parametrize("regime", [ADAM, SGD], ids=["adamw", "sgd"])
def test_weight_decay_does_not_reach_a_frozen_group(tie, regime):
    bound = tie((1, 0), regime=regime.model_copy(update={"weight_decay": 10.0}))
    before = [p.detach().clone() for column in bound.parameters[:-1] for p in column]
    for step in range(4):
        train_step(bound, step)
    after = [p for column in bound.parameters[:-1] for p in column]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize("name", FAMILIES)
def test_a_forward_pass_in_a_frozen_phase_moves_no_buffer_of_frozen_groups(tie, backbone, name):
    depth = 2
    bound = tie((1, depth), name=name)
    model, groups = bound.model, backbone(name).groups
    bound.start_epoch(0)
    before = {key: value.clone() for key, value in model.named_buffers()}
    model(images())
    moved = {key for key, value in model.named_buffers() if not torch.equal(value, before[key])}
    buffers = group_buffers(model, groups)
    frozen = {key for column in buffers[: len(groups) - 1 - depth] for key in column}
    trainable = {key for column in buffers[len(groups) - 1 - depth :] for key in column}
    assert frozen
    assert not moved & frozen
    assert {key for key in trainable if key.endswith("running_mean")} <= moved


@pytest.mark.parametrize("name", ["test_resnet", "test_convnext", "test_vit"])
def test_dropout_and_stochastic_depth_are_off_in_frozen_groups_and_on_in_others(tie, name):
    bound = tie((1, 0), (1, 9), name=name, drops={"drop_path_rate": 0.9})
    x = images(64)
    with torch.no_grad():  # undo the zeros that silence the residual branches of a new ResNet
        for key, parameter in bound.model.named_parameters():
            if key.endswith("bn3.weight"):
                parameter.fill_(1.0)

    def passes():
        with torch.random.fork_rng(devices=[]):
            return [bound.model(x) for _ in range(2)]

    bound.start_epoch(0)
    first, second = passes()
    assert torch.equal(first, second)
    bound.start_epoch(1)
    first, second = passes()
    assert not torch.equal(first, second)


def test_dropout_before_the_classifier_belongs_to_the_head(tie):
    bound = tie((1, 0), drops={"drop_rate": 0.5})
    bound.start_epoch(0)
    assert not torch.equal(bound.model(images(16)), bound.model(images(16)))


def test_modes_come_back_after_somebody_has_switched_to_eval(tie):
    bound = tie((2, 2))
    bound.start_epoch(0)
    modes = [module.training for module in bound.model.modules()]
    assert len(set(modes)) == 2
    bound.model.eval()
    bound.set_modes()
    assert [module.training for module in bound.model.modules()] == modes
    bound.model.train()
    bound.start_epoch(1)
    assert [module.training for module in bound.model.modules()] == modes


@pytest.mark.parametrize("norm", ["follow", "eval"])
def test_a_loop_that_sets_frozen_layers_to_training_mode_is_refused_at_its_next_step(tie, norm):
    bound = tie((2, 2), regime=Regime(norm=norm))
    train_step(bound, 0)
    bound.model.train()  # a habit of many loops
    before = {name: p.detach().clone() for name, p in bound.model.named_parameters()}
    bound.model(images()).square().mean().backward()
    with pytest.raises(ConfigError, match=r"model.train\(\) was called after start_epoch"):
        bound.optimizer.step()
    assert all(torch.equal(p, before[name]) for name, p in bound.model.named_parameters())
    bound.set_modes()
    bound.optimizer.step()


def test_a_group_that_is_frozen_again_computes_with_its_present_weights(tie):
    """LeViT keeps its position biases in eval mode: those of the last validation would be stale."""
    bound = tie((0.5, 9), (1, 0), name="levit_128s")
    train_step(bound, 0)
    bound.model.eval()
    bound.model(images())
    bound.set_modes()
    train_step(bound, 1)
    bound.start_step(2)
    frozen = bound.model.forward_features(images())
    for module in bound.model.modules():
        if hasattr(module, "attention_bias_cache"):
            module.attention_bias_cache = {}
    assert torch.equal(bound.model.forward_features(images()), frozen)


def test_norm_eval_keeps_the_statistics_of_trainable_groups_while_their_weights_train(tie):
    bound = tie((1, 5), regime=Regime(norm="eval"))
    before = {key: value.clone() for key, value in bound.model.state_dict().items()}
    for step in range(4):
        train_step(bound, step)
    after = bound.model.state_dict()
    still = {key for key in after if torch.equal(before[key], after[key])}
    buffers = {key for key, _ in bound.model.named_buffers()}
    assert buffers <= still
    assert {"bn1.weight", "bn1.bias", "conv1.conv1.weight"} & before.keys() <= before.keys() - still


def test_every_granularity_binds_by_its_names():
    import timm

    model = timm.create_model("test_resnet", num_classes=3)
    for granularity in ("auto", "coarse", "fine", 3):
        groups = layer_groups(model, granularity, 32)
        bound = bind(table(groups.names, (2, 1)), model, steps_per_epoch=3, image_size=32)
        bound.start_epoch(1)
        assert sum(bound.trainable) == 2


def test_a_model_without_coarse_layers_binds_by_its_fine_ones():
    import timm

    with torch.device("meta"):
        model = timm.create_model("rdnet_tiny", num_classes=3)
    groups = layer_groups(model, "fine", 32)
    bound = bind(table(groups.names, (1, 1)), model, image_size=32, regime=SGD)
    assert len(bound.parameters) == len(groups)


def test_a_schedule_of_more_groups_than_the_model_has_layers_is_refused_by_its_groups(tie):
    names = tuple(f"group{number}" for number in range(99))
    with pytest.raises(BackboneError, match=r"the schedule's groups are group0, .*this model has stem"):
        table(names, (1, 1)).bind(tie((1, 1)).model, image_size=32)


def test_a_schedule_for_other_groups_is_refused(tie, backbone):
    loaded = backbone()
    model = loaded.build(3, seed=0)
    schedule = table(("stem", "body", "head"), (1, 1))
    with pytest.raises(BackboneError, match=r"stem, body, head.*layer4, head"):
        BoundSchedule(schedule, model, Columns.of(model, loaded.groups), ADAM, 4)
    with pytest.raises(BackboneError, match=r"stem, body, head.*layer4, head"):
        schedule.bind(model, steps_per_epoch=4, image_size=32)
