"""What a run is judged by: metrics of predicted classes and log losses, and predictions packed as text."""

import base64
import math
from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from autofreeze.errors import ConfigError

MetricName = Literal["top1", "balanced_accuracy", "macro_f1", "log_loss"]
MetricChoice = Literal["auto", "top1", "balanced_accuracy", "macro_f1", "log_loss"]
METRICS: tuple[str, ...] = get_args(MetricName)
"""As objectives all lie in 0..1, and more is better; see :func:`score`."""

BY_CLASS: tuple[MetricName, ...] = ("balanced_accuracy", "macro_f1")
"""Metrics that weigh classes alike, whatever their size. They need two classes."""

IMBALANCE = 3.0
"""``auto`` weighs classes alike when the largest has more than this many times the smallest's images."""


def resolve_metric(name: MetricChoice, labels: NDArray[np.int64]) -> MetricName:
    """Decide what ``auto`` means for some data: ``balanced_accuracy`` when classes differ much in size.

    Args:
        name: What was asked for; anything but ``auto`` is taken as it is.
        labels: Classes of the training part, (n,). Classes without an image do not count.
    """
    if name != "auto":
        return name
    counts = np.bincount(labels)
    counts = counts[counts > 0]
    uneven = len(counts) > 0 and counts.max() > IMBALANCE * counts.min()
    return "balanced_accuracy" if uneven else "top1"


def check_metric(metric: MetricName, parts: Sequence[NDArray[np.int64]]) -> None:
    """Refuse a metric that the images to be scored cannot carry.

    Args:
        metric: What is to be scored.
        parts: Classes of the validation images, an array for each fold. An empty one is not scored.

    Raises:
        ConfigError: The metric needs two classes, and a part has one alone.
    """
    if metric not in BY_CLASS:
        return
    single = [number for number, labels in enumerate(parts) if len(labels) and len(np.unique(labels)) == 1]
    if single:
        which = "part" if len(parts) == 1 else f"part of fold {' and '.join(map(str, single))}"
        raise ConfigError(
            f"metric: {metric} needs two classes, and the validation {which} holds one alone; take top1 or "
            "log_loss, or give a validation part with more classes"
        )


def score(
    metric: MetricName, labels: NDArray[np.int64], predicted: NDArray[np.int64], log_loss: float
) -> float:
    """Score predictions as an objective.

    Args:
        metric: ``top1`` is the share of images that are right; ``balanced_accuracy`` the mean over the
            classes that occur of the share that is right; ``macro_f1`` the mean over the classes that occur
            of the F1 of that class against all others; ``log_loss`` the geometric mean of the probability
            that the true class was given, exp(−log loss).
        labels: True classes, (n,), n >= 1.
        predicted: Predicted classes, (n,).
        log_loss: Mean log loss over the same images in nats.

    Returns:
        A number in 0..1, the higher the better; NaN when the metric is ``log_loss`` and that is NaN.

    Source:
        scikit-learn's ``balanced_accuracy_score``, and its ``f1_score(average="macro")`` with ``labels`` set
        to the classes that occur. Left to itself that also counts classes which are predicted and do not
        occur, so that two runs on the same images would be means over different classes.
    """
    if metric == "log_loss":
        return math.exp(-log_loss)
    correct = labels == predicted
    if metric == "top1":
        return float(np.mean(correct))
    occurs, sizes = _class_sizes(metric, labels, predicted)
    hits = np.bincount(labels[correct], minlength=len(sizes))
    return float(np.mean(hits[occurs] / sizes[occurs]))


def merits(
    metric: MetricName, labels: NDArray[np.int64], predicted: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Share out a metric of predicted classes to the images: the mean of the shares is the metric.

    So two runs can be compared image by image. A right image has 1 for ``top1``; n / (classes · images of
    its class) for ``balanced_accuracy``; and the same for ``macro_f1`` with the mean of the true and the
    predicted images of its class, since F1 = right / ((true + predicted) / 2). A wrong one has nothing.

    Args:
        metric: Any but ``log_loss``, whose shares are the losses.
        labels: True classes, (n,), n >= 1.
        predicted: Predicted classes, (n,).

    Returns:
        Shares by image, (n,), >= 0.
    """
    correct: NDArray[np.float64] = np.asarray(labels == predicted, dtype=np.float64)
    if metric == "top1":
        return correct
    occurs, sizes = _class_sizes(metric, labels, predicted)
    shares: NDArray[np.float64] = correct * len(labels) / (np.count_nonzero(occurs) * sizes[labels])
    return shares


def _class_sizes(
    metric: MetricName, labels: NDArray[np.int64], predicted: NDArray[np.int64]
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Which classes occur, and by what the right images of each are divided."""
    n_classes = int(max(labels.max(), predicted.max())) + 1
    true = np.bincount(labels, minlength=n_classes)
    if metric == "macro_f1":
        return true > 0, (true + np.bincount(predicted, minlength=n_classes)) / 2
    return true > 0, true.astype(np.float64)


def effective_images(metric: MetricName, labels: NDArray[np.int64]) -> float:
    """Give how many images a metric rests on: fewer than there are when few weigh as much as many.

    With n_c images of class c and K classes, the variance of a mean over classes is Σ p_c(1−p_c)/n_c / K²:
    that of a share of K² / Σ(1/n_c) images, the mean of equal classes.

    Args:
        metric: What is scored; for ``macro_f1`` as for ``balanced_accuracy``, its near relative.
        labels: True classes of the images that are scored, (n,), n >= 1.
    """
    if metric not in BY_CLASS:
        return float(len(labels))
    counts = np.bincount(labels)
    counts = counts[counts > 0]
    return float(len(counts) ** 2 / np.sum(1 / counts))


# What a report says of classes


def confusion(labels: NDArray[np.int64], predicted: NDArray[np.int64], n_classes: int) -> NDArray[np.int64]:
    """Count images by true class (rows) and predicted class (columns).

    Args:
        labels: True classes, (n,), 0..n_classes-1.
        predicted: Predicted classes, (n,), 0..n_classes-1.
        n_classes: Classes of the data set, also those that do not occur.

    Returns:
        Counts, (n_classes, n_classes).
    """
    counts = np.bincount(labels * n_classes + predicted, minlength=n_classes**2)
    return counts.reshape(n_classes, n_classes).astype(np.int64)


def class_accuracies(matrix: NDArray[np.int64]) -> NDArray[np.float64]:
    """Give the share of each class that was classified rightly; NaN for classes without an image.

    Args:
        matrix: What :func:`confusion` counted, (n_classes, n_classes).

    Returns:
        Shares, (n_classes,).
    """
    images = matrix.sum(axis=1)
    return np.where(images > 0, matrix.diagonal() / np.maximum(images, 1), np.nan)


# Predictions as text


def pack_classes(predicted: NDArray[np.int64]) -> str:
    """Write class numbers as short text: base64 of as many bits for each as the highest one needs.

    Bits do it without a compressor, whose bytes could differ between its versions: ten classes take four
    bits an image, and so does zlib.

    Args:
        predicted: Class numbers, (n,), 0..65535.
    """
    if not len(predicted):
        return ""
    width = max(int(predicted.max()).bit_length(), 1)
    bits = (predicted[:, np.newaxis] >> np.arange(width)) & 1
    return base64.b64encode(bytes([width]) + np.packbits(bits.astype(np.uint8)).tobytes()).decode("ascii")


def unpack_classes(text: str, n: int) -> NDArray[np.int64]:
    """Read what :func:`pack_classes` wrote for ``n`` images."""
    if not n:
        return np.zeros(0, np.int64)
    data = base64.b64decode(text)
    width = data[0]
    bits = np.unpackbits(np.frombuffer(data, dtype=np.uint8, offset=1), count=n * width).reshape(n, width)
    return bits.astype(np.int64) @ (1 << np.arange(width))


def pack_losses(losses: NDArray[np.float64]) -> str:
    """Write log losses as text: base64 of half-precision numbers, good to three digits.

    Args:
        losses: Log loss of each image in nats, (n,), >= 0.
    """
    largest = float(np.finfo(np.float16).max)
    return base64.b64encode(np.minimum(losses, largest).astype("<f2").tobytes()).decode("ascii")


def unpack_losses(text: str) -> NDArray[np.float64]:
    """Read what :func:`pack_losses` wrote."""
    return np.frombuffer(base64.b64decode(text), dtype="<f2").astype(np.float64)
