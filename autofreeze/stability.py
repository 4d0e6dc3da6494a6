"""When a run is unstable: it has diverged, or its loss has run away."""

from typing import Literal, get_args

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
