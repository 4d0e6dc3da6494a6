"""A schedule tied to a model: the optimizer, and who trains at which step.

This is where *frozen* is made true. ``fit`` uses it, and so can any training loop.
"""

import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from typing import Any, cast

import torch
from torch import nn

from autofreeze.errors import BackboneError, ConfigError
from autofreeze.groups import LayerGroups
from autofreeze.layers import layer_groups, module_groups
from autofreeze.regime import Regime
from autofreeze.replicas import Replicas
from autofreeze.schedule import Schedule, Timetable


@dataclass(frozen=True)
class Columns:
    """A model's layer groups, and the column that decides the mode of each of its modules."""

    groups: LayerGroups
    of_module: Mapping[str, int]

    @classmethod
    def of(cls, model: nn.Module, groups: LayerGroups) -> "Columns":
        """Read the columns of a model."""
        return cls(groups, module_groups(model, groups))


class BoundSchedule:
    """A schedule tied to a model.

    Call :meth:`start_epoch` before each epoch and, for a rate curve that moves within the epoch,
    :meth:`start_step` before each step. Both set the model's modes: do not call ``model.train()`` after
    them, since that would set frozen BatchNorm moving again. The optimizer's next step refuses it, as it
    refuses a ``DistributedDataParallel`` that was made for other trainable parameters.

    To resume, load the optimizer's state into that of a newly bound schedule, and go on with
    :meth:`start_epoch` or :meth:`start_step`; nothing else is kept here.

    Args:
        schedule: The schedule; its groups are the model's.
        model: Its parameters in float32.
        columns: Its layer groups.
        regime: Optimizer, weight decay, normalisation.
        steps_per_epoch: Optimizer steps in one epoch.
        guarded: Whether the optimizer looks before each step at what a loop may have got wrong. One in
            which nobody else touches the model can do without.

    Attributes:
        model: The model, changed in place.
        optimizer: Holds every parameter from the start; a frozen one has no gradient and is passed over.
        timetable: The schedule in steps.
    """

    def __init__(
        self,
        schedule: Schedule,
        model: nn.Module,
        columns: Columns,
        regime: Regime,
        steps_per_epoch: int,
        *,
        guarded: bool = True,
    ) -> None:
        if schedule.groups != columns.groups.names:
            raise BackboneError(
                f"the schedule's groups are {', '.join(schedule.groups)}; the model's are "
                f"{', '.join(columns.groups.names)}"
            )
        self.model = model
        self.timetable: Timetable = schedule.timetable(steps_per_epoch)
        self._columns = columns
        self._regime = regime
        self._parameters = _parameters_by_column(model, columns.groups)
        self._trainable: tuple[bool, ...] = ()
        self._modules = [
            (module, columns.of_module[name], has_statistics(module))
            for name, module in model.named_modules()
        ]
        self._own_eval = [
            module for module, _, _ in self._modules if type(module).train is not nn.Module.train
        ]
        self._still: list[nn.Module] = []
        self._moving: list[dict[str, Any]] = []
        self._begins_anew = True
        self.optimizer = make_optimizer(self._parameters, regime)
        self.optimizer.register_load_state_dict_post_hook(partial(_begin_anew, weakref.ref(self)))
        self._guard = _Guard(model, self._still) if guarded else None
        if self._guard:
            self.optimizer.register_step_pre_hook(self._guard.look)

    @property
    def trainable(self) -> tuple[bool, ...]:
        """Which columns train now; empty before the first step."""
        return self._trainable

    @property
    def parameters(self) -> tuple[tuple[nn.Parameter, ...], ...]:
        """Parameters by column."""
        return self._parameters

    def start_epoch(self, epoch: int) -> bool:
        """Set modes, trainable parameters and rates for an epoch, from 0.

        Returns:
            Whether the set of trainable parameters changed.
        """
        return self.start_step(min(epoch * self.timetable.steps_per_epoch, self.timetable.total_steps - 1))

    def start_step(self, step: int) -> bool:
        """Set trainable parameters and rates for a step, from 0; modes too when the set changes.

        Gradients are cleared when the set changes, so call it before the step's forward pass. Where several
        micro-batches make up a step, call it before the first of them, or before each with the same number.

        Returns:
            Whether the set of trainable parameters changed; True as well at the first call, and at the first
            after the optimizer's state has been loaded.

        Raises:
            ConfigError: There is no such step, or modules of the model have been replaced.
        """
        timetable = self.timetable
        if not 0 <= step < timetable.total_steps:
            raise ConfigError(
                f"step: got {step}; must lie in 0..{timetable.total_steps - 1}: the schedule has "
                f"{timetable.schedule.epochs:g} epochs of {timetable.steps_per_epoch} optimizer steps. "
                "Micro-batches of one step count once"
            )
        trainable = timetable.trainable(step)
        changed = self._begins_anew or trainable != self._trainable
        if changed:
            self._switch(trainable)
            self.set_modes()
        elif step % timetable.steps_per_epoch == 0:
            self.set_modes()
        rates = timetable.rates(step)
        for entry in self.optimizer.param_groups:
            entry["lr"] = rates[entry["column"]] or 0.0
        return changed

    def move_on(self, step: int) -> None:
        """Set the rates of a further step of the same phase and epoch, where nothing else changes."""
        factor = self.timetable.factor(step)
        cells = self.timetable.schedule.phases[self.timetable.phase_at(step)].lrs
        for entry in self._moving:
            entry["lr"] = cells[entry["column"]] * factor

    def set_modes(self) -> None:
        """Put each module into the mode of its column: train when it trains, eval when it is frozen.

        Clearing ``requires_grad`` does not hold a BatchNorm still: in train mode its running statistics
        follow every batch. Dropout and stochastic depth of frozen layers are off in eval mode too.
        """
        if self._guard:
            self._guard.refuse_replacement()
        keeps_statistics = self._regime.norm == "eval"
        self._clear_kept()
        self._still.clear()
        for module, column, follows in self._modules:
            trains = self._trainable[column] and not (keeps_statistics and follows)
            if module.training != trains:
                module.training = trains
            if not trains:
                self._still.append(module)

    def evaluate(self) -> None:
        """Put the whole model into eval mode, as ``model.eval()`` does, in less time."""
        self._clear_kept()
        for module, _, _ in self._modules:
            if module.training:
                module.training = False

    def _clear_kept(self) -> None:
        """Let modules that do something of their own when their mode is set do it.

        LeViT and its kin keep position biases in eval mode until train() or eval() is called: what they kept
        before the last steps would be stale where a group is frozen again.
        """
        for module in self._own_eval:
            module.eval()

    def step(self) -> None:
        """Take the optimizer's step. Passing over what is frozen as a whole takes less time."""
        entries = self.optimizer.param_groups
        self.optimizer.param_groups = self._moving
        try:
            self.optimizer.step()
        finally:
            self.optimizer.param_groups = entries

    def _switch(self, trainable: tuple[bool, ...]) -> None:
        """Freeze and thaw: who goes on keeps its optimizer state, who comes in starts with none.

        What is frozen has no state, so that it thaws fresh. What was loaded may still hold some.
        """
        if self._guard:
            self._guard.note_switch()
        for parameters, trains in zip(self._parameters, trainable, strict=True):
            for parameter in parameters:
                parameter.requires_grad_(trains)
                if not trains:
                    self.optimizer.state.pop(parameter, None)
        self._trainable = trainable
        self._begins_anew = False
        self._moving = [entry for entry in self.optimizer.param_groups if trainable[entry["column"]]]
        self.optimizer.zero_grad(set_to_none=True)


def bind(
    schedule: Schedule,
    model: nn.Module,
    *,
    steps_per_epoch: int = 1,
    regime: Regime | None = None,
    image_size: int | None = None,
) -> BoundSchedule:
    """Tie a schedule to a timm model whose layer groups bear the schedule's names.

    Args:
        schedule: The schedule.
        model: A timm model, its parameters in float32.
        steps_per_epoch: Optimizer steps in one epoch; 1 changes rates once per epoch only.
        regime: Optimizer and weight decay; the default regime when left out.
        image_size: For measuring the groups; timm's configuration when left out.

    Raises:
        BackboneError: No granularity gives the model these groups, or it is wrapped already.
        ConfigError: ``steps_per_epoch`` is no whole number >= 1.
    """
    if isinstance(steps_per_epoch, bool) or not isinstance(steps_per_epoch, int) or steps_per_epoch < 1:
        raise ConfigError(
            f"steps_per_epoch: got {steps_per_epoch!r}; must be a whole number >= 1: how many steps the "
            "optimizer takes in an epoch"
        )
    _refuse_wrapped(model)
    auto = layer_groups(model, "auto", image_size)
    for granularity in ("auto", "coarse", "fine", len(schedule.groups) - 1):
        try:
            groups = auto if granularity == "auto" else layer_groups(model, granularity, image_size)
        except BackboneError:
            continue  # timm has no coarse layers for it, or it has fewer layers than the schedule
        if groups.names == schedule.groups:
            columns = Columns.of(model, groups)
            return BoundSchedule(schedule, model, columns, regime or Regime(), steps_per_epoch)
    raise BackboneError(
        f"the schedule's groups are {', '.join(schedule.groups)}; this model has {', '.join(auto.names)}"
    )


def _refuse_wrapped(model: nn.Module) -> None:
    """Refuse what holds the model: its groups have other names there, and it is wrapped before its time."""
    inside = [name for name, _ in model.named_children()]
    if inside in (["module"], ["_orig_mod"]):
        raise BackboneError(
            f"got the model inside {type(model).__name__}; bind the model itself, and wrap or compile it "
            "after the first start_epoch"
        )


def make_optimizer(parameters: tuple[tuple[nn.Parameter, ...], ...], regime: Regime) -> torch.optim.Optimizer:
    """Build the optimizer: two groups for each column, with and without weight decay.

    Biases and other one-dimensional parameters never decay, as in timm.
    """
    entries = []
    for column, members in enumerate(parameters):
        for decays in (True, False):
            part = [parameter for parameter in members if (parameter.ndim > 1) == decays]
            if part:
                decay = regime.weight_decay if decays else 0.0
                entries.append({"params": part, "weight_decay": decay, "column": column, "lr": 0.0})
    if regime.optimizer == "sgd":
        return torch.optim.SGD(entries, lr=0.0, momentum=regime.momentum, nesterov=regime.momentum > 0)
    return torch.optim.AdamW(entries, lr=0.0, fused=True)


def _parameters_by_column(model: nn.Module, groups: LayerGroups) -> tuple[tuple[nn.Parameter, ...], ...]:
    named = dict(model.named_parameters())
    missing = [name for group in groups.groups for name in group.parameters if name not in named]
    if missing or len(named) != sum(len(group.parameters) for group in groups.groups):
        raise BackboneError(f"the layer groups do not cover the model; first difference: {missing[:1]}")
    return tuple(tuple(named[name] for name in group.parameters) for group in groups.groups)


def _begin_anew(bound: "weakref.ref[BoundSchedule]", _: torch.optim.Optimizer) -> None:
    """After the optimizer's state has been loaded, let the next step set everything as the first one does."""
    alive = bound()
    if alive is not None:
        alive._begins_anew = True


_IN_TRAINING = attrgetter("training")


class _Guard:
    """Looks at what a loop of one's own may have got wrong, before it does harm.

    Args:
        model: The bound model.
        still: Modules that must be in eval mode now; kept up to date by the bound schedule.
    """

    def __init__(self, model: nn.Module, still: list[nn.Module]) -> None:
        self._model = model
        self._still = still
        self._parts = _parts(model)
        self._replicas = Replicas(model)
        self._after_switch = False

    def note_switch(self) -> None:
        """Note that other parameters are about to train."""
        self._replicas.note()
        self._after_switch = True

    def look(self, *_: object) -> None:
        """Look before an optimizer step: at the modes, and after a switch at the gradients too."""
        if any(map(_IN_TRAINING, self._still)):
            raise ConfigError(
                "frozen layers are in training mode, so their BatchNorm statistics move: model.train() was "
                "called after start_epoch or start_step; call it before them, or set_modes() after it"
            )
        if self._after_switch:
            self._replicas.refuse_stale()
            if all(parameter.grad is None for parameter in self._model.parameters()):
                raise ConfigError(
                    "there is no gradient to step by: start_epoch and start_step clear gradients when layer "
                    "groups are frozen or thawed; call them before the forward pass"
                )
            self._after_switch = False

    def refuse_replacement(self) -> None:
        """Refuse a model that has other parts than when it was bound: nobody would freeze them."""
        now = _parts(self._model)
        gone = [name for name, part in self._parts.items() if now.get(name) is not part]
        strange = [name for name in now if name not in self._parts]
        if gone or strange:
            raise ConfigError(
                f"the model is no longer the one that was bound: {(gone + strange)[0] or 'the root'} was "
                "replaced or added; convert to SyncBatchNorm before bind. Sharding (FSDP) is not supported"
            )


def _parts(model: nn.Module) -> dict[str, object]:
    """Modules and parameters by name."""
    return {**dict(model.named_modules()), **dict(model.named_parameters())}


def has_statistics(module: nn.Module) -> bool:
    """Whether a module follows the batches it sees, as BatchNorm does."""
    return cast(object, getattr(module, "running_mean", None)) is not None
