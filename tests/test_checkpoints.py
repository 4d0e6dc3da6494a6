"""Rolling checkpoints: whole or not there, and no larger than need be."""

import os

import pytest
import torch

from autofreeze.binding import Columns, make_optimizer
from autofreeze.checkpoints import load_checkpoint, save_checkpoint
from autofreeze.errors import AutofreezeError, ConfigError
from autofreeze.recipes import full
from autofreeze.regime import Regime
from autofreeze.schedule import Phase, Schedule
from autofreeze.training import fit


@pytest.fixture
def parts(backbone):
    loaded = backbone()
    model = loaded.build(3, seed=0)
    columns = Columns.of(model, loaded.groups)
    named = dict(model.named_parameters())
    members = tuple(tuple(named[name] for name in group.parameters) for group in loaded.groups.groups)
    return model, columns, make_optimizer(members, Regime())


def test_only_what_has_ever_trained_is_kept(parts, tmp_path):
    model, columns, optimizer = parts
    ever = [False, False, False, False, True, True]
    save_checkpoint(tmp_path / "a.pt", model, columns, ever, optimizer, {"phase": 1})
    names = torch.load(tmp_path / "a.pt", weights_only=True)["model"].keys()
    assert {name.split(".")[0] for name in names} == {"layer4", "fc"}
    assert any(name.endswith("running_mean") for name in names)
    assert any(name.endswith("num_batches_tracked") for name in names)


def test_what_was_saved_comes_back_to_the_bit(parts, backbone, tmp_path):
    model, columns, optimizer = parts
    with torch.no_grad():
        for value in model.state_dict().values():
            value.add_(1)
    save_checkpoint(tmp_path / "a.pt", model, columns, [True] * 6, optimizer, {"work": 1.5, "phase": 2})
    other = backbone().build(3, seed=7)
    state = load_checkpoint(tmp_path / "a.pt", other, torch.device("cpu"))
    assert state.pop("optimizer") == optimizer.state_dict()
    assert state == {"work": 1.5, "phase": 2}
    for name, value in other.state_dict().items():
        assert torch.equal(value, model.state_dict()[name])


def test_a_write_that_breaks_off_leaves_the_older_checkpoint(parts, tmp_path, monkeypatch):
    model, columns, optimizer = parts
    save_checkpoint(tmp_path / "a.pt", model, columns, [True] * 6, optimizer, {"phase": 1})

    def torn(state, stream):
        stream.write(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", torn)
        with pytest.raises(KeyboardInterrupt):
            save_checkpoint(tmp_path / "a.pt", model, columns, [True] * 6, optimizer, {"phase": 2})
    assert [path.name for path in tmp_path.iterdir()] == ["a.pt"]
    assert load_checkpoint(tmp_path / "a.pt", model, torch.device("cpu"))["phase"] == 1


class RunsCode:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


def changed(parts, path, change):
    """A checkpoint in which something was changed."""
    model, columns, optimizer = parts
    save_checkpoint(path, model, columns, [True] * 6, optimizer, {"run": "this"})
    state = torch.load(path, weights_only=True)
    change(state, path)
    torch.save(state, path)


@pytest.mark.parametrize(
    "change",
    [
        lambda state, path: state.pop("model"),
        lambda state, path: state["model"].update(extra=torch.zeros(1)),
        lambda state, path: state["model"].update({"fc.weight": torch.zeros(1)}),
        lambda state, path: state.update(model=[1]),
        lambda state, path: state.update(extra=RunsCode(path.with_name("it_ran"))),
    ],
    ids=["no tensors", "a tensor too many", "a tensor of another shape", "a list", "code"],
)
def test_a_checkpoint_that_holds_something_else_is_refused(parts, tmp_path, change):
    changed(parts, tmp_path / "a.pt", change)
    with pytest.raises(ConfigError, match="is no checkpoint, or damaged; delete it to start anew"):
        load_checkpoint(tmp_path / "a.pt", parts[0], torch.device("cpu"), run="this")
    assert not (tmp_path / "it_ran").exists()


@pytest.mark.parametrize("key", ["records", "signals", "optimizer", "phase", "extra"])
def test_a_checkpoint_whose_plain_data_are_others_is_refused(backbone, examples, tmp_path, key):
    def run():
        loaded = backbone()
        model = loaded.build(3, seed=0)
        schedule = full(loaded.groups.names, 2, head_lr=1e-3)
        columns = Columns.of(model, loaded.groups)
        return fit(model, columns, schedule, Regime(), examples(), seed=0, checkpoint=tmp_path / "a.pt")

    next(run())
    state = torch.load(tmp_path / "a.pt", weights_only=True)
    state[key] = {"x": 1}
    if key == "phase":
        del state[key]
        del state["work"]
        state["x"] = 1
    torch.save(state, tmp_path / "a.pt")
    with pytest.raises(ConfigError, match=r"a\.pt: is no checkpoint, or damaged"):
        next(run())


@pytest.mark.parametrize("change", ["seed", "schedule", "regime", "images"])
def test_the_checkpoint_of_another_run_is_refused(backbone, examples, tmp_path, change):
    def run(*, seed=0, lr=1e-3, batch_size=8, n_train=24):
        loaded = backbone()
        model = loaded.build(3, seed=0)
        n = len(loaded.groups)
        schedule = Schedule(
            groups=loaded.groups.names, phases=(Phase(epochs=2, lrs=(None,) * (n - 1) + (lr,)),)
        )
        return fit(
            model,
            Columns.of(model, loaded.groups),
            schedule,
            Regime(batch_size=batch_size),
            examples(n_train=n_train),
            seed=seed,
            checkpoint=tmp_path / "run.pt",
        )

    next(run())
    other = {
        "seed": {"seed": 1},
        "schedule": {"lr": 2e-3},
        "regime": {"batch_size": 9},
        "images": {"n_train": 23},
    }
    with pytest.raises(AutofreezeError, match=r"run\.pt.*another run"):
        next(run(**other[change]))
    assert len(list(run())) == 2
