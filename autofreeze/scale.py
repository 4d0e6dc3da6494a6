"""The scale of a metric: how its values are kept, read, and written."""

import math
from typing import Literal

from autofreeze.values import Value

Unit = Literal["points", "nats", "plain"]
"""What a difference is told in: percentage points of a share, nats of a log loss, or plain numbers."""

Direction = Literal["maximize", "minimize"]

DIGITS = 4
"""Of a number whose scale nobody knows."""


class Scale(Value):
    """How the values of one metric are kept, read and written.

    A trial is judged by its *objective*, of which more is better. Examples share it out as *merits*, whose
    mean is the objective, but for a log loss: there it is the loss with its sign turned.
    """

    metric: str
    """Its name."""

    unit: Unit = "points"
    direction: Direction = "maximize"
    """Of the values as people read them; ``minimize`` for plain numbers alone."""

    @classmethod
    def of(cls, metric: str) -> "Scale":
        """Give the scale of a metric of images, one of ``metrics.METRICS``."""
        return cls(metric=metric, unit="nats" if metric == "log_loss" else "points")

    # What is kept and what is read

    def objective(self, value: float) -> float:
        """Turn a plain value, as people read it, into an objective."""
        return -value if self.direction == "minimize" else value

    def shown(self, objective: float) -> float:
        """Turn an objective into what people read: of a log loss the loss itself."""
        return loss_of(objective) if self.unit == "nats" else self.shown_mean(objective)

    def shown_mean(self, merit: float) -> float:
        """Turn a mean of merits into what people read."""
        return -merit if self.unit == "nats" or self.direction == "minimize" else merit

    def merit(self, objective: float) -> float:
        """Turn an objective into the unit in which differences are told; more is better."""
        return -loss_of(objective) if self.unit == "nats" else objective

    def shown_ends(self, low: float | None, high: float | None) -> tuple[float | None, float | None]:
        """Turn the ends of an interval of merits into what people read, no end beyond what can be."""
        if self.unit == "nats" or self.direction == "minimize":
            low, high = (None if end is None else -end for end in (high, low))
        if self.unit == "plain":
            return low, high
        most = math.inf if self.unit == "nats" else 1.0
        return None if low is None else max(low, 0.0), None if high is None else min(high, most)

    # What is written

    def figure(self, value: float | None, error: float | None = None) -> str:
        """Write a value as people read it: ``0.810 ± 0.020``, and a dash where there is none."""
        if value is None or self.unit != "plain":
            return figure(value, error)
        if error is None or not (math.isfinite(error) and error > 0):
            return number(value)
        places = _places(error, 2)
        return f"{value:,.{places}f} ± {error:,.{places}f}"

    def lead(self, difference: float | None) -> str:
        """Write by how much one schedule is better: ``+6.0 pt`` of a share, ``+0.052 nat`` of a loss."""
        if difference is None:
            return ""
        if self.unit == "plain":
            return ("+" if difference >= 0 else "") + number(difference, 3)
        return f"{difference:+.3f} nat" if self.unit == "nats" else f"{points(difference)} pt"

    def margin(self, size: float) -> str:
        """Write a width without a sign: ``1 pt`` of a share, ``0.01 nat`` of a loss."""
        if self.unit == "plain":
            return number(size, 3)
        return f"{size:.3g} nat" if self.unit == "nats" else f"{100 * size:.3g} pt"

    def lead_span(self, low: float, high: float) -> str:
        """Write an interval of a lead: ``+0.4 to +3.8``, in the unit of :meth:`lead`."""
        if not (math.isfinite(low) and math.isfinite(high)):
            return "how far off is not known"
        unit, digits = 1.0, 3
        if self.unit == "points":
            unit, digits = 100.0, 1
        elif self.unit == "plain":
            digits = _places(high - low, 3)
        return " to ".join(f"{round(unit * end, digits) + 0.0:+,.{digits}f}" for end in (low, high))

    def value_span(self, low: float, high: float) -> str:
        """Write an interval of a value: ``0.835 to 0.869``; a dash where it has no ends."""
        if not (math.isfinite(low) and math.isfinite(high)):
            return "–"
        digits = _places(high - low, 3) if self.unit == "plain" else 3
        return f"{low:,.{digits}f} to {high:,.{digits}f}"


def figure(value: float | None, error: float | None = None) -> str:
    """Write a share or a loss: ``0.810 ± 0.020``, and a dash where there is none."""
    if value is None:
        return "–"
    return f"{value:.3f}" + (f" ± {error:.3f}" if error is not None else "")


def points(difference: float) -> str:
    """Write a difference of shares in percentage points, with its sign."""
    return f"{round(100 * difference, 1) + 0.0:+.1f}"


def number(value: float, digits: int = DIGITS) -> str:
    """Write a number of any size, to so many digits, no digit before the point being cut."""
    if not value or not math.isfinite(value):
        return f"{value:g}"
    if not 1e-4 <= abs(value) < 1e9:
        return f"{value:.{digits - 1}e}"
    return f"{value:,.{_places(value, digits)}f}"


def loss_of(value: float) -> float:
    """Give the mean log loss, in nats, that a stored value of the metric ``log_loss`` stands for."""
    return -math.log(value) if value > 0 else math.inf


def _places(size: float, digits: int) -> int:
    """Give the places after the point that show so many digits of a size."""
    if not size or not math.isfinite(size):
        return digits - 1
    return min(max(digits - 1 - math.floor(math.log10(abs(size))), 0), 12)
