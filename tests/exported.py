"""Native files on tiny models, and what a consumer is seen to do at each step: for the tests of exports."""

import math
from dataclasses import dataclass, field

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

from autofreeze import recipes
from autofreeze.export.facts import BackboneFacts, DataFacts
from autofreeze.export.native import NativeFile
from autofreeze.layers import module_groups, spared_by_timm, timm_layers
from autofreeze.modes import brief
from autofreeze.regime import Regime
from autofreeze.schedule import Phase, Schedule
from autofreeze.task import Task

CLASSES = ("columns", "plain", "rows")
EPOCHS = 4

TABLES = {
    "linear_probe": lambda groups: recipes.linear_probe(groups, EPOCHS, head_lr=4e-3),
    "full, one rate": lambda groups: recipes.full(
        groups, EPOCHS, head_lr=2e-3, backbone_ratio=1.0, rates="one"
    ),
    "full, decay": lambda groups: recipes.full(groups, EPOCHS, head_lr=4e-3, depth_ratio=0.1),
    "frozen_stem": lambda groups: recipes.frozen_stem(groups, EPOCHS, head_lr=4e-3),
    "last_groups": lambda groups: recipes.full(groups, EPOCHS, head_lr=4e-3, unfreeze_depth=2),
    "lp_ft": lambda groups: recipes.lp_ft(groups, EPOCHS, warmup_epochs=1, head_lr=4e-3, rates="one"),
    "lp_ft, constant": lambda groups: recipes.lp_ft(
        groups, EPOCHS, warmup_epochs=1, head_lr=4e-3, rates="one", curve="constant"
    ),
    "lp_ft, cosine by phase": lambda groups: recipes.lp_ft(
        groups, EPOCHS, warmup_epochs=1, head_lr=4e-3, depth_ratio=0.2, curve_over="phase"
    ),
    "lp_ft in mid-epoch": lambda groups: recipes.lp_ft(groups, EPOCHS, warmup_epochs=1.5, head_lr=4e-3),
    "lp_ft, ramp": lambda groups: recipes.lp_ft(
        groups, EPOCHS, warmup_epochs=1, head_lr=4e-3, lr_ramp_epochs=0.5
    ),
    "gradual": lambda groups: recipes.gradual(
        groups, EPOCHS, warmup_epochs=1, unfreeze_every=1, head_lr=4e-3, depth_ratio=0.2
    ),
    "one_block": lambda groups: recipes.one_block(groups, EPOCHS, block=1, head_lr=4e-3, warmup_epochs=1),
    "chain_thaw": lambda groups: recipes.chain_thaw(groups, len(groups) + 1, head_lr=4e-3),
    "refrozen": lambda groups: _rows(groups, [(1, 2), (1, 0), (2, 1)]),
    "rates that change": lambda groups: _rows(groups, [(2, 2, 4e-3), (2, 2, 1e-3)]),
    "part of an epoch": lambda groups: recipes.lp_ft(groups, 2.5, warmup_epochs=1, head_lr=4e-3),
}
"""Name -> a table over given groups: every recipe, and the shapes that targets stumble over."""


def _rows(groups, rows):
    """Rows of (epochs, backbone groups that train, the head's rate)."""
    n = len(groups) - 1
    phases = []
    for epochs, depth, *rate in rows:
        lr = rate[0] if rate else 4e-3
        cells = [lr / 10 if column >= n - depth else None for column in range(n)]
        phases.append(Phase(epochs=epochs, lrs=(*cells, lr)))
    return Schedule(groups=groups, phases=tuple(phases))


def native_of(model, groups, schedule, *, name="test_resnet", regime=None, image_size=32, **changes):
    """A native file for a model: ``model`` has 3 classes, ``groups`` are its layer groups."""
    facts = BackboneFacts(
        model=name,
        source="random weights",
        weights_digest="0" * 16,
        preprocessing={"image_size": image_size, "mean": (0.5,) * 3, "std": (0.5,) * 3},
        groups={group.name: group.parameters for group in groups.groups},
        modes=brief(module_groups(model, groups), groups.names),
        timm_layers=timm_layers(model, groups),
        spared_by_timm=spared_by_timm(model),
        work_shares=groups.work_shares,
    )
    data = DataFacts(
        name="lines",
        fingerprint="1" * 16,
        classes=CLASSES,
        class_images=(7, 7, 7),
        images={"train": 21, "val": 9, "test": 0},
        folds=({"train": 21, "val": 9},),
    )
    file = NativeFile(
        schedule=schedule,
        regime=regime or Regime(batch_size=6),
        task=Task(data="lines", model=name, from_scratch=True, image_size=image_size),
        seed=3,
        backbone=facts,
        data=data,
    )
    return file.model_copy(update=changes)


@dataclass
class Seen:
    """What a consumer did at one optimizer step."""

    rates: dict
    """Parameter name -> rate that the step used; None where it is frozen or no optimizer holds it."""

    training: dict
    """Name of each module -> whether it was in training mode in the forward pass before the step."""


@dataclass
class Observer:
    """Watches every optimizer step that is taken on a model, whoever takes it, just after it has been taken.

    Some trainers run the forward pass within the step, so that nothing is known of it before.

    Use as a context manager around the consumer's run.

    Args:
        model: The timm model, wherever the consumer keeps it.
    """

    model: torch.nn.Module
    seen: list = field(default_factory=list)

    def __enter__(self):
        self._names = {id(parameter): name for name, parameter in self.model.named_parameters()}
        self._modes = {}
        self._hooks = [
            self.model.register_forward_hook(self._forward),
            register_optimizer_step_post_hook(self._step),
        ]
        return self

    def __exit__(self, *_):
        for hook in self._hooks:
            hook.remove()

    def _forward(self, *_):
        if torch.is_grad_enabled():
            self._modes = {name: module.training for name, module in self.model.named_modules()}

    def _step(self, optimizer, *_):
        rates = dict.fromkeys(self._names.values())
        for entry in optimizer.param_groups:
            for parameter in entry["params"]:
                if id(parameter) in self._names and parameter.requires_grad:
                    assert rates[self._names[id(parameter)]] is None, "a parameter is held twice"
                    rates[self._names[id(parameter)]] = float(entry["lr"])
        self.seen.append(Seen(rates, dict(self._modes)))


def follows(file, model, seen, steps_per_epoch, *, normalisation_only=False):
    """Assert that every step trained what the schedule says, at its rate and in its modes."""
    timetable = file.schedule.timetable(steps_per_epoch)
    assert len(seen) == timetable.total_steps
    group_of = {name: group for group, names in file.backbone.groups.items() for name in names}
    assert set(group_of) == {name for name, _ in model.named_parameters()}
    for step, one in enumerate(seen):
        for name, rate in one.rates.items():
            expected = timetable.rate(group_of[name], step)
            same = (
                rate == expected if None in (rate, expected) else math.isclose(rate, expected, rel_tol=1e-9)
            )
            assert same, f"step {step}, {name}: {rate} instead of {expected}"
        trains = dict(zip(file.schedule.groups, timetable.trainable(step), strict=True))
        for name, expected in expected_modes(file, model, trains).items():
            if normalisation_only and "Norm" not in type(model.get_submodule(name)).__name__:
                continue
            assert one.training[name] is expected, f"step {step}, mode of {name or 'the root'}"


def expected_modes(file, model, trains):
    """Module name -> whether it is in training mode while ``trains`` says which groups train."""
    group = {}
    for name, _ in model.named_modules():
        group[name] = file.backbone.modes.get(name, group.get(name.rpartition(".")[0]))
    keeps = file.regime.norm == "eval"
    return {
        name: trains[group[name]] and not (keeps and getattr(module, "running_mean", None) is not None)
        for name, module in model.named_modules()
    }
