"""A schedule tied to a model: the optimizer, and who trains at which step.

This is where *frozen* is made true. ``fit`` uses it, and so can any training loop.
"""

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
    them, since that would set frozen BatchNorm moving again. The optimizer's next step refuses it.

    Args:
        schedule: The schedule; its groups are the model's.
        model: Its parameters in float32.
        columns: Its layer groups.
        regime: Optimizer, weight decay, normalisation.
        steps_per_epoch: Optimizer steps in one epoch.
        guarded: Whether the optimizer looks at the modes before each step. A loop in which nobody else
            touches the model can do without.

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
        self.optimizer = make_optimizer(self._parameters, regime)
        if guarded:
            self.optimizer.register_step_pre_hook(partial(_refuse_movement, self._still))

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

        Returns:
            Whether the set of trainable parameters changed.
        """
        trainable = self.timetable.trainable(step)
        changed = trainable != self._trainable
        if changed:
            self._switch(trainable)
            self.set_modes()
        elif step % self.timetable.steps_per_epoch == 0:
            self.set_modes()
        rates = self.timetable.rates(step)
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
        """Freeze and thaw: who goes on keeps its optimizer state, who comes in starts with none."""
        before = self._trainable or (False,) * len(trainable)
        for parameters, was, trains in zip(self._parameters, before, trainable, strict=True):
            for parameter in parameters:
                parameter.requires_grad_(trains)
                if was and not trains:
                    self.optimizer.state.pop(parameter, None)
        self._trainable = trainable
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
        BackboneError: No granularity gives the model these groups.
    """
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


_IN_TRAINING = attrgetter("training")


def _refuse_movement(still: list[nn.Module], *_: object) -> None:
    """Refuse an optimizer step of a loop that has set frozen layers to training mode."""
    if any(map(_IN_TRAINING, still)):
        raise ConfigError(
            "frozen layers are in training mode, so their BatchNorm statistics move: model.train() was "
            "called after start_epoch or start_step; call it before them, or set_modes() after it"
        )


def has_statistics(module: nn.Module) -> bool:
    """Whether a module follows the batches it sees, as BatchNorm does."""
    return cast(object, getattr(module, "running_mean", None)) is not None
