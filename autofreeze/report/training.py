"""What is told of one training run."""

from autofreeze.job import EpochRecord
from autofreeze.results import TrainResult
from autofreeze.scale import Scale
from autofreeze.schedule import format_rate


def line_of(record: EpochRecord) -> str:
    """Write an epoch as one line: losses, metric, highest and lowest rate."""
    rates = sorted({rate for rate in record.rates if rate is not None})
    spread = format_rate(rates[-1]) + (f"…{format_rate(rates[0])}" if len(rates) > 1 else "")
    return (
        f"epoch {record.epochs_done:g}: train loss {record.train_loss:.4f}, val loss {record.log_loss:.4f}, "
        f"val {record.value:.4f}, rates {spread}"
    )


def summary(result: TrainResult) -> str:
    """Say where the model lies, and whether the trial's curve came out again where it should."""
    last, metric = result.curve[-1], result.metric
    lines = [
        f"validation {metric} {_shown(metric, last.value)} at the last epoch; the model: {result.model_path}"
    ]
    if result.same_curve and result.up_to_rounding:
        lines.append(
            "the curve follows the trial's to within rounding: in the search the head was trained beside "
            "others"
        )
    elif result.same_curve:
        lines.append("the curve equals the trial's to the bit")
    elif result.expected_views and result.expected:
        lines.append(
            f"the search saw {result.expected_views} views, and this training new ones each epoch, "
            "so the trial's curve is no reference"
        )
    elif result.same_curve is None and result.expected:
        lines.append("data or weights are not those of the search, so the trial's curve is no reference")
    elif result.expected:
        lines.append(
            f"the trial's own curve ended at {_shown(metric, result.expected[-1].value)}: other hardware, "
            "thread count or versions round differently, and training amplifies it"
        )
    if result.test_value is not None:
        lines.append(
            f"test {metric} {_shown(metric, result.test_value)}; the test split of these data was read "
            f"{'once' if result.test_reads == 1 else f'{result.test_reads} times'}"
        )
    return "\n".join(lines)


def _shown(metric: str, value: float) -> str:
    """Write a value as people read it: a log loss is kept as exp(−loss)."""
    return f"{Scale.of(metric).shown(value):.4f}"
