"""Layer groups of a training of one's own: every parameter in exactly one, and all mistakes told at once."""

import pytest
import torch
from torch import nn

from autofreeze import Group
from autofreeze.errors import BackboneError, ConfigError, TrainingError
from autofreeze.own.binding import bind_groups
from autofreeze.own.groups import OwnGroups
from autofreeze.regime import Regime
from autofreeze.schedule import Phase, Schedule

GROUPS = {"stem": "embed", "body": ["body.0", "body.3"], "head": Group("head")}


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(3, 4)
        self.body = nn.Sequential(nn.BatchNorm1d(4), nn.ReLU(), nn.Dropout(0.5), nn.Linear(4, 4))
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        return self.head(self.body(self.embed(x)))


def schedule(names, *rows):
    return Schedule(groups=names, phases=tuple(Phase(epochs=epochs, lrs=lrs) for epochs, lrs in rows))


def bound(model, *rows, groups=GROUPS, steps=4):
    own = OwnGroups.read(groups)
    return bind_groups(schedule(own.names, *rows), model, own, regime=Regime(), steps_per_epoch=steps)


def train(model, tied, epoch, steps=4):
    for batch in tied.batches(epoch, [torch.randn(8, 3) for _ in range(steps)]):
        tied.optimizer.zero_grad()
        model(batch).square().mean().backward()
        tied.optimizer.step()


def test_a_frozen_group_does_not_move_by_one_bit_batchnorm_included():
    torch.manual_seed(0)
    model = Net()
    tied = bound(model, (1.0, (None, None, 1e-2)), (1.0, (None, 1e-2, 1e-2)))
    for epoch, moves in enumerate([("head",), ("body", "head")]):
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        train(model, tied, epoch)
        changed = {
            name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])
        }
        assert changed == {name for name in before if name.startswith(moves)}
        assert model.body[2].training == ("body" in moves)


def test_batches_thaw_in_the_middle_of_an_epoch():
    torch.manual_seed(0)
    model, seen = Net(), []
    tied = bound(model, (0.5, (None, None, 1e-2)), (1.5, (1e-2, 1e-2, 1e-2)))
    for _ in tied.batches(0, range(4)):
        seen.append(tied.trainable)
    assert seen == [(False, False, True)] * 2 + [(True, True, True)] * 2


@pytest.mark.parametrize("given", [0, 3, 5])
def test_another_number_of_batches_than_was_said_is_refused(given):
    tied = bound(Net(), (2.0, (None, None, 1e-2)))
    with pytest.raises(TrainingError, match=r"steps_per_epoch=4.*len\(loader\)"):
        list(tied.batches(0, range(given)))


def test_patterns_tell_parameters_of_one_module_apart():
    model = nn.ModuleDict({"gru": nn.GRU(2, 2, num_layers=2), "head": nn.Linear(2, 2)})
    own = OwnGroups.read({"low": "gru.*_l0", "high": "gru.*_l1", "head": "head"})
    groups = own.of({name: one.numel() for name, one in model.named_parameters()})
    assert [len(group.parameters) for group in groups.groups] == [4, 4, 2]


def test_what_does_not_fit_the_model_is_told_at_once():
    with pytest.raises(BackboneError) as caught:
        bound(Net(), (1.0, (None, 1e-2)), groups={"stem": ["embed", "trunk"], "head": ["head", "embed.b*"]})
    told = "\n".join(caught.value.problems)
    assert "'trunk' names no parameter" in told
    assert "no group holds body.0.weight, body.0.bias" in told
    assert "several groups hold embed.bias (stem and head)" in told
    assert "embed, body, head" in told


@pytest.mark.parametrize(
    ("groups", "words"),
    [
        ({}, ["got 0; at least two"]),
        ({"head": "head"}, ["got 1; at least two"]),
        ("head", ["must map names to prefixes"]),
        (["stem", "stem"], ["named twice"]),
        ({"a": "body", "b": "body.1"}, ["'body.1' of b lies in 'body' of a"]),
        ({"a": "x", "b": "x"}, ["'x' of a lies in 'x' of b"]),
        ({"a": [], "b": 3}, ["groups.a: holds nothing", "groups.b: got 3"]),
        ({"a": ["", 1], "b": "b"}, ["got '' as a prefix", "got 1 as a prefix"]),
        ({"a": Group("a", work=-1.0), "b": "b"}, ["work: got -1.0"]),
        ({"a": Group("a", work=1.0), "b": "b"}, ["b has no work, and others have"]),
        ({"a": Group("a", work=0), "b": Group("b", work=0)}, ["work of all is zero"]),
        ({1: "a", "b": "b"}, ["got 1 as a name"]),
    ],
)
def test_groups_that_are_wrong_are_refused_before_anything_runs(groups, words):
    with pytest.raises(ConfigError) as caught:
        OwnGroups.read(groups)
    for word in words:
        assert word in str(caught.value)


def test_bare_names_are_their_own_prefixes():
    assert OwnGroups.read(["embed", "head"]) == OwnGroups.read({"embed": "embed", "head": "head"})


def test_work_is_counted_alike_where_nobody_measured_it_and_the_head_is_nothing():
    assert OwnGroups.read(["a", "b", "c"]).work_shares == (0.5, 0.5, 0.0)
    given = {"a": Group("a", work=3), "b": Group("b", work=1), "c": Group("c", work=0)}
    assert OwnGroups.read(given).work_shares == (0.75, 0.25, 0.0)


def test_what_is_no_model_cannot_be_bound():
    own = OwnGroups.read(GROUPS)
    given = {"regime": Regime(), "steps_per_epoch": 1}
    with pytest.raises(BackboneError, match="got str as the model"):
        bind_groups(schedule(own.names, (1.0, (None, None, 1e-2))), "resnet", own, **given)
    with pytest.raises(BackboneError, match="steps_per_epoch: got 0"):
        bound(Net(), (1.0, (None, None, 1e-2)), steps=0)
