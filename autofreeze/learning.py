"""Learning curves as a report keeps them: what each epoch of a run came to, without what it predicted."""

from autofreeze.values import Value


class CurvePoint(Value):
    """One epoch."""

    epochs_done: float
    train_loss: float | None
    """In nats, augmented, in training mode; None where it is not finite or was not told."""

    val_loss: float | None
    train_top1: float | None
    value: float | None
    """The metric as people read it; None where it is not finite."""


class LearningCurve(Value):
    """One run of a trial."""

    trial: int
    fold: int | None
    """None of a run on a fresh seed."""

    fresh: int | None
    """Number of the fresh seed; None of a run of the search."""

    points: tuple[CurvePoint, ...]
