"""What a run is judged by: metrics of predictions, and which of them may serve as the objective."""

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

MetricName = Literal["top1", "balanced_accuracy"]
METRICS: tuple[str, ...] = get_args(MetricName)
"""All lie in 0..1, and more is better."""


def score(metric: MetricName, labels: NDArray[np.int64], correct: NDArray[np.bool_]) -> float:
    """Score predictions.

    Args:
        metric: ``top1`` is the share of images that are right, ``balanced_accuracy`` the mean over the
            classes that occur of the share that is right.
        labels: True classes, (n,), n >= 1.
        correct: Whether each image was classified rightly, (n,).

    Returns:
        A number in 0..1.
    """
    if metric == "top1":
        return float(np.mean(correct))
    counts = np.bincount(labels)
    hits = np.bincount(labels, weights=correct)
    return float(np.mean(hits[counts > 0] / counts[counts > 0]))


def pack(correct: NDArray[np.bool_]) -> str:
    """Write per-image correctness as hexadecimal digits, eight images to two digits."""
    return np.packbits(correct).tobytes().hex()


def unpack(digits: str, n: int) -> NDArray[np.bool_]:
    """Read what :func:`pack` wrote for ``n`` images."""
    return np.unpackbits(np.frombuffer(bytes.fromhex(digits), dtype=np.uint8), count=n).astype(np.bool_)
