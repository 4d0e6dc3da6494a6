"""What a training of one's own is told of the run that it is to make."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from autofreeze.own.groups import OwnGroups
from autofreeze.regime import Regime
from autofreeze.schedule import Schedule

if TYPE_CHECKING:
    from torch import nn

    from autofreeze.own.binding import OwnBound


@dataclass(frozen=True, kw_only=True)
class FitJob:
    """One run: train by ``schedule`` for ``epochs``, and yield after each."""

    trial: int
    """Number of the trial."""

    schedule: Schedule
    """What trains when, and how fast. :meth:`bind` obeys it; without torch, read it by
    ``schedule.timetable(steps_per_epoch).rates(step)``."""

    regime: Regime
    """Optimizer, weight decay, momentum, normalisation, which :meth:`bind` obeys; and what else the space
    searches."""

    epochs: int
    """Epochs to train, and times to yield."""

    seed: int
    """Everything random of the run must follow from it: the fresh head, the order, dropout; with ``fresh``
    the split too. The generators of ``random``, numpy and torch are set to it before each run."""

    fold: int
    """Which of the folds to score on, from 0."""

    n_folds: int
    """Folds in all. Their split must not hang on ``seed``."""

    fresh: int | None
    """Number of the fresh seed in a confirmation; None in the search."""

    checkpoint: Path
    """Where the run may keep its state: a run that was killed is made again from its first epoch, unless it
    finds this file. It must then yield again what it had yielded. The file is deleted when the run ends."""

    _groups: OwnGroups = field(repr=False)
    _on_bind: Callable[["OwnBound"], None] = field(repr=False)

    def bind(self, model: "nn.Module", steps_per_epoch: int = 1) -> "OwnBound":
        """Tie the schedule to a model: frozen groups are frozen really, BatchNorm and dropout too.

        Args:
            model: Any torch model, its parameters in float32, on the device where it trains. Each of its
                parameters must lie in exactly one of the groups.
            steps_per_epoch: Optimizer steps in one epoch; 1 changes rates once per epoch only.

        Returns:
            What trains it: ``optimizer``, ``start_epoch(epoch)``, ``start_step(step)``, and
            ``batches(epoch, loader)``, which calls both.

        Raises:
            BackboneError: The groups do not cover the model; all that is wrong is told.
        """
        from autofreeze.own.binding import bind_groups  # torch loads only for those who bind

        bound = bind_groups(
            self.schedule, model, self._groups, regime=self.regime, steps_per_epoch=steps_per_epoch
        )
        self._on_bind(bound)
        return bound
