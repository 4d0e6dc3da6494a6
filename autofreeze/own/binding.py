"""A schedule tied to any torch model, by layer groups that its user named."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

from torch import nn

from autofreeze.binding import BoundSchedule, Columns
from autofreeze.errors import BackboneError, TrainingError
from autofreeze.own.groups import OwnGroups
from autofreeze.regime import Regime
from autofreeze.schedule import Schedule

Batch = TypeVar("Batch")


class OwnBound(BoundSchedule):
    """A bound schedule that walks through the batches of an epoch by itself."""

    def batches(self, epoch: int, batches: Iterable[Batch]) -> Iterator[Batch]:
        """Give the batches of an epoch, each after modes, trainable parameters and rates have been set.

        Args:
            epoch: From 0.
            batches: As many as ``steps_per_epoch``.

        Raises:
            TrainingError: There are more or fewer.
        """
        steps = self.timetable.steps_per_epoch
        first, given = epoch * steps, 0
        for given, batch in enumerate(batches, start=1):
            if given > steps:
                break
            self.start_step(first + given - 1)
            yield batch
        if given != steps:
            count = f"more than {steps}" if given > steps else str(given)
            raise TrainingError(
                f"epoch {epoch} had {count} batches, and bind was told steps_per_epoch={steps}; give the "
                "number of batches of one epoch, such as len(loader)"
            )


def bind_groups(
    schedule: Schedule, model: nn.Module, groups: OwnGroups, *, regime: Regime, steps_per_epoch: int
) -> OwnBound:
    """Tie a schedule to a model; see ``FitJob.bind``."""
    if not isinstance(model, nn.Module):
        raise BackboneError(f"bind: got {type(model).__name__} as the model; must be a torch module")
    if isinstance(steps_per_epoch, bool) or not isinstance(steps_per_epoch, int) or steps_per_epoch < 1:
        raise BackboneError(f"steps_per_epoch: got {steps_per_epoch!r}; must be a whole number >= 1")
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    columns = Columns.of(model, groups.of(sizes))
    return OwnBound(schedule, model, columns, regime, steps_per_epoch)
