"""What is told of one training run."""

from autofreeze.job import EpochRecord
from autofreeze.phrases import listed
from autofreeze.results import TrainResult
from autofreeze.scale import Scale
from autofreeze.schedule import format_rate


def line_of(record: EpochRecord) -> str:
    """Write an epoch as one line: losses, metric, highest and lowest rate."""
    rates = sorted({rate for rate in record.rates if rate is not None})
    spread = format_rate(rates[-1]) + (f"…{format_rate(rates[0])}" if len(rates) > 1 else "")
    validated = f", val loss {record.log_loss:.4f}, val {record.value:.4f}" if record.n_val else ""
    return f"epoch {record.epochs_done:g}: train loss {record.train_loss:.4f}{validated}, rates {spread}"


def summary(result: TrainResult) -> str:
    """Say where the model lies, how good it is, and whether the trial's curve came out again."""
    last, metric = result.curve[-1], result.metric
    lines = [f"the model: {result.model_path}"]
    if result.n_val:
        lines[0] = f"validation {metric} {_shown(metric, last.value)} at the last epoch; {lines[0]}"
    else:
        lines += _without_validation(result)
    if result.expected:
        lines.append(_curve_words(result))
    if result.test_value is not None:
        lines.append(
            f"test {metric} {_shown(metric, result.test_value)}; the test split of these data was read "
            f"{'once' if result.test_reads == 1 else f'{result.test_reads} times'}"
        )
    return "\n".join(lines)


def _without_validation(result: TrainResult) -> list[str]:
    """Say what stands in for a validation where all images were trained on."""
    lines = [f"trained on {result.n_train:,} images; none was left to validate on"]
    if result.found:
        lines.append(f"what is known of the schedule: {result.found}")
    return lines


def _curve_words(result: TrainResult) -> str:
    """Say whether the curve is that of the trial, or why nobody can tell."""
    if result.same_curve is None:
        return f"this training {listed(result.changes)}, so the trial's curve is no reference"
    if result.same_curve and result.up_to_rounding:
        return (
            "the curve follows the trial's to within rounding: in the search the head was trained beside "
            "others"
        )
    if result.same_curve:
        return "the curve equals the trial's to the bit"
    ended = _shown(result.metric, result.expected[-1].value)
    return (
        f"the trial's own curve ended at {ended}: other hardware, thread count or versions round "
        "differently, and training amplifies it"
    )


def _shown(metric: str, value: float) -> str:
    """Write a value as people read it: a log loss is kept as exp(−loss)."""
    return f"{Scale.of(metric).shown(value):.4f}"
