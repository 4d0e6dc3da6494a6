"""When a run is unstable: it has diverged, or its loss has run away."""

from collections.abc import Sequence
from typing import Any, Literal, Protocol, get_args

from autofreeze.job import EpochRecord

Kind = Literal[
    "non-finite loss",
    "non-finite gradient",
    "non-finite validation",
    "loss spike",
    "gradient spike",
    "gradient too large for the weights",
    "below the head alone",
    "features adrift",
    "head norm",
]
"""How a run can be unstable; every reason begins with one of them."""

KINDS: tuple[Kind, ...] = get_args(Kind)

LOSS_SPIKE = 1.5
"""A training loss this many times the loss at the start of its phase is a spike. A starting point; the
literature that prompted it uses 1.2, which a noisy first epoch at a small batch exceeds by itself."""


SPIKE_FLOOR = 0.1
"""Nats that a spike must rise at least: near a loss of zero a ratio says nothing."""


class Watcher(Protocol):
    """Looks at every step of a run, and may end it."""

    def weigh(self, weight_norms: Sequence[float | None]) -> None:
        """Take note of the norms of the parameters by column, as they are before the next step.

        Args:
            weight_norms: 2-norms; None for columns that have never trained.
        """
        ...

    def look(self, step: int, phase: int, loss: float, grad_norms: Sequence[float | None]) -> str:
        """Look at a step that has been taken.

        Args:
            step: From 0, over the whole run.
            phase: Of the schedule, from 0.
            loss: Of the step, in nats, finite.
            grad_norms: 2-norm of the gradient by column, finite; None where frozen.

        Returns:
            Why the run cannot go on, as a sentence that begins with one of ``KINDS``; empty when it can.
        """
        ...

    def state(self) -> dict[str, Any]:
        """Give what a run needs that goes on later, as plain data."""
        ...

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a state."""
        ...


class Watch:
    """The watcher of a run."""

    def weigh(self, weight_norms: Sequence[float | None]) -> None:
        """Take note of the norms of the parameters."""

    def look(self, step: int, phase: int, loss: float, grad_norms: Sequence[float | None]) -> str:  # noqa: ARG002
        """Look at a step."""
        return ""

    def state(self) -> dict[str, Any]:
        """Give what a run needs that goes on later."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a state."""


def why_unstable(record: EpochRecord) -> str:
    """Say why a record shows an unstable run; empty when it does not.

    Args:
        record: The newest record of the run.
    """
    if record.diverged:
        return record.diverged
    if not record.is_finite:
        return f"non-finite validation at epoch {record.epoch}"
    start = record.phase_start_loss
    if record.train_loss > max(LOSS_SPIKE * start, start + SPIKE_FLOOR):
        return (
            f"loss spike: {record.train_loss:.3g} in epoch {record.epoch}, {record.phase_start_loss:.3g} "
            "at the start of its phase"
        )
    return ""


def kind_of(reason: str) -> Kind | None:
    """Say how a run was unstable, from the reason that was given; None for another reason."""
    return next((kind for kind in KINDS if reason.startswith(kind)), None)
