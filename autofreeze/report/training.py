"""What is told of one training run."""

from collections.abc import Sequence
from typing import Protocol

from autofreeze.export.native import CurvePoint
from autofreeze.job import EpochRecord
from autofreeze.schedule import format_rate


class Trained(Protocol):
    """A finished training, as ``api.train`` gives it."""

    model_path: object
    curve: Sequence[CurvePoint]
    expected: Sequence[CurvePoint]
    same_curve: bool | None
    test_value: float | None
    test_reads: int


def line_of(record: EpochRecord) -> str:
    """Write an epoch as one line: losses, metric, highest and lowest rate."""
    rates = sorted({rate for rate in record.rates if rate is not None})
    spread = format_rate(rates[-1]) + (f"…{format_rate(rates[0])}" if len(rates) > 1 else "")
    return (
        f"epoch {record.epochs_done:g}: train loss {record.train_loss:.4f}, val loss {record.val_loss:.4f}, "
        f"val {record.value:.4f}, rates {spread}"
    )


def summary(result: Trained) -> str:
    """Say where the model lies and whether the trial's curve came out again."""
    last = result.curve[-1]
    lines = [f"validation {last.value:.4f} at the last epoch; the model: {result.model_path}"]
    if result.same_curve:
        lines.append("the curve equals the trial's to the bit")
    elif result.same_curve is None:
        lines.append("data or weights are not those of the search, so the trial's curve is no reference")
    elif result.expected:
        lines.append(
            f"the trial's own curve ended at {result.expected[-1].value:.4f}: other hardware, thread count or "
            "versions round differently, and training amplifies it"
        )
    if result.test_value is not None:
        lines.append(
            f"test {result.test_value:.4f}; the test split of these data was read {result.test_reads} times"
        )
    return "\n".join(lines)
