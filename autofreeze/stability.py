"""When a run is unstable: it has diverged, or its loss has run away."""

from autofreeze.job import EpochRecord

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
