"""When a run is unstable: what is watched in every step and at every epoch's end, and when it counts.

Healthy fast schedules begin badly and recover, so a bound lies where recorded runs did not come back from
(``docs/instability.md``). What could not tell ruined runs from others is seen and shown, and judges nobody.
"""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median
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


@dataclass(frozen=True)
class Bounds:
    """From where on a signal is taken for instability; None: it judges nobody."""

    loss_spike: float | None = 10.0
    """Mean training loss of the last ``WINDOW`` steps, in multiples of that at the start: of the first step
    of the run or of the phase, whichever is higher, before any of its updates. A thaw that sets BatchNorm
    moving raises the loss of its first step already; a head at a healthy rate has come to 4.5 times."""

    gradient_spike: float | None = None
    """Norm of the whole gradient, in multiples of its median over the steps before, of the same phase."""

    gradient_ratio: float | None = None
    """Norm of the gradient of a backbone column, in multiples of that of its parameters."""

    below_head: float | None = 3.0
    """Standard errors by which the metric lies below its value before the backbone's first step, and a point
    at least, at two epochs' ends in a row."""

    drift: float | None = None
    """``EpochRecord.drift``."""

    head_norm: float | None = None
    """Norm of the head's parameters, in multiples of what it was at first."""


BOUNDS = Bounds()
"""Those that searches judge by."""

WINDOW = 5
"""Steps over which the training loss is taken: a single one can lie far above the others."""

HISTORY = 50
"""Steps of which the median norm of the gradient is taken, at most."""

SETTLED = 5
"""Steps of a phase before its gradients are compared."""

FOLLOWED = 10
"""Steps after the backbone's first one before its validation counts: what frozen BatchNorm has kept of the
pretraining has to follow first, and a tenth of it is renewed in each step."""

POINT = 0.01
"""What the metric must fall by at least."""


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
    """The watcher of a run.

    Args:
        bounds: From where on it ends the run.
    """

    def __init__(self, bounds: Bounds = BOUNDS) -> None:
        self._bounds = bounds
        self._weights: list[float | None] = []
        self._phase = -1
        self._first = 0.0
        self._start = 0.0
        self._losses: deque[float] = deque(maxlen=WINDOW)
        self._norms: deque[float] = deque(maxlen=HISTORY)

    def weigh(self, weight_norms: Sequence[float | None]) -> None:
        """Take note of the norms of the parameters."""
        self._weights = list(weight_norms)

    def look(self, step: int, phase: int, loss: float, grad_norms: Sequence[float | None]) -> str:
        """Look at a step."""
        if phase != self._phase:
            self._first = loss if self._phase < 0 else self._first
            self._phase, self._start = phase, loss
            self._norms.clear()
        self._losses.append(loss)
        bounds = self._bounds
        if bounds.loss_spike is not None and len(self._losses) == WINDOW:
            mean, start = fmean(self._losses), max(self._first, self._start)
            if mean > bounds.loss_spike * start:
                return (
                    f"loss spike at step {step}: {mean:.3g} over {WINDOW} steps, {start:.3g} at the start; "
                    f"{bounds.loss_spike:g} times as much is the most"
                )
        if bounds.gradient_spike is not None and (reason := self._spike(step, grad_norms)):
            return reason
        return self._ratio(step, grad_norms) if bounds.gradient_ratio is not None else ""

    def _spike(self, step: int, grad_norms: Sequence[float | None]) -> str:
        """Compare the whole gradient with those before it."""
        most = self._bounds.gradient_spike
        assert most is not None
        norm = math.sqrt(sum(one * one for one in grad_norms if one is not None))
        usual = median(self._norms) if len(self._norms) >= SETTLED else math.inf
        self._norms.append(norm)
        if norm <= most * usual:
            return ""
        return (
            f"gradient spike at step {step}: a norm of {norm:.3g}, {usual:.3g} in the median of "
            f"{len(self._norms) - 1} steps before; {most:g} times as much is the most"
        )

    def _ratio(self, step: int, grad_norms: Sequence[float | None]) -> str:
        """Compare the gradient of each backbone column with its parameters."""
        most = self._bounds.gradient_ratio
        assert most is not None
        for column, (norm, weight) in enumerate(zip(grad_norms[:-1], self._weights, strict=False)):
            if norm is not None and weight is not None and norm > most * weight:
                return (
                    f"gradient too large for the weights at step {step}: a norm of {norm:.3g}, {weight:.3g} "
                    f"of the weights, in column {column}; {most:g} times as much is the most"
                )
        return ""

    def state(self) -> dict[str, Any]:
        """Give what a run needs that goes on later."""
        return {
            "weights": list(self._weights),
            "phase": self._phase,
            "first": self._first,
            "start": self._start,
            "losses": list(self._losses),
            "norms": list(self._norms),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a state."""
        self._weights = list(state["weights"])
        self._phase, self._first, self._start = state["phase"], state["first"], state["start"]
        self._losses = deque(state["losses"], maxlen=WINDOW)
        self._norms = deque(state["norms"], maxlen=HISTORY)


def why_unstable(record: EpochRecord, before: Sequence[EpochRecord] = (), bounds: Bounds = BOUNDS) -> str:
    """Say why a run is unstable by its newest record; empty when it is not.

    What a ``Watch`` found within the epoch stands in the record. The rest is judged here, and the loss again,
    for runs whose steps nobody watched. A run that has come to its end has a value, and that says more than
    any of this: only what is not finite counts there. Signals that a record does not have judge nobody.

    Args:
        record: The newest record of the run.
        before: Its earlier records, in order.
        bounds: From where on a signal counts.
    """
    if record.diverged:
        return record.diverged
    if not record.is_finite:
        return f"non-finite validation at epoch {record.epoch}"
    if record.last:
        return ""
    run = (*before, record)
    return _loss_spike(run, bounds) or _below_head(run, bounds) or _adrift(run, bounds) or _head(run, bounds)


def _loss_spike(run: Sequence[EpochRecord], bounds: Bounds) -> str:
    record, first = run[-1], run[0]
    start = max(first.thaws[0].loss if first.thaws else first.phase_start_loss, record.phase_start_loss)
    if bounds.loss_spike is None or not start > 0 or not record.train_loss > bounds.loss_spike * start:
        return ""  # a loss of another kind may be negative, and one that nobody knows is NaN
    return (
        f"loss spike: {record.train_loss:.3g} in epoch {record.epoch}, {start:.3g} at the start; "
        f"{bounds.loss_spike:g} times as much is the most"
    )


def _below_head(run: Sequence[EpochRecord], bounds: Bounds) -> str:
    record = run[-1]
    thaws = [(place, thaw.step) for place, one in enumerate(run) for thaw in one.thaws if thaw.of_backbone]
    place, step = thaws[0] if thaws else (0, 0)
    if bounds.below_head is None or not place:  # the backbone never trained, or there was no value before
        return ""
    if len(run) - place < 2 or record.step - step < FOLLOWED:
        return ""
    head = run[place - 1]
    if not head.n_val or not 0 <= head.value <= 1:  # no share, and so its error is not known
        return ""
    share = (head.value * head.n_val + 1) / (head.n_val + 2)  # no error of zero where all are right
    error = math.sqrt(max(share * (1 - share), 0.0) / head.n_val)
    if max(record.value, run[-2].value) >= head.value - max(POINT, bounds.below_head * error):
        return ""
    return (
        f"below the head alone: {record.value:.3f} in epoch {record.epoch}, {head.value:.3f} ± {error:.3f} "
        f"before the backbone trained"
    )


def _adrift(run: Sequence[EpochRecord], bounds: Bounds) -> str:
    record = run[-1]
    if bounds.drift is None or record.drift is None or record.drift <= bounds.drift:
        return ""
    return f"features adrift: by {record.drift:.2f} in epoch {record.epoch}; {bounds.drift:g} is the most"


def _head(run: Sequence[EpochRecord], bounds: Bounds) -> str:
    record, first = run[-1], run[0]
    norm = record.weight_norms[-1] if record.weight_norms else None
    began = first.thaws[0].weight_norms[-1] if first.thaws else None
    if bounds.head_norm is None or norm is None or began is None or norm <= bounds.head_norm * began:
        return ""
    return (
        f"head norm: {norm:.3g} in epoch {record.epoch}, {began:.3g} at first; {bounds.head_norm:g} times as "
        "much is the most"
    )


def kind_of(reason: str) -> Kind | None:
    """Say how a run was unstable, from the reason that was given; None for another reason."""
    return next((kind for kind in KINDS if reason.startswith(kind)), None)
