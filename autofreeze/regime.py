"""The regime: everything about a training run that is not its schedule."""

from typing import Literal

from pydantic import Field

from autofreeze.values import Value
from autofreeze.views import View

OptimizerName = Literal["adamw", "sgd"]


class Regime(Value):
    """Optimizer, batch, loss, views and normalisation of a run. The rates stand in the schedule."""

    optimizer: OptimizerName = "adamw"

    batch_size: int = Field(default=32, ge=1, le=65_536)
    """Images in a step, at most: an epoch is cut into even batches, so that none is much smaller."""

    weight_decay: float = Field(default=0.01, ge=0, le=10, allow_inf_nan=False)
    """Decoupled (AdamW) or L2 (SGD); never on biases and other one-dimensional parameters."""

    momentum: float = Field(default=0.9, ge=0, lt=1)
    """Of SGD, with Nesterov's correction; AdamW does not use it."""

    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Share of the target spread over all classes (arXiv 1512.00567)."""

    class_weights: Literal["none", "balanced"] = "none"
    """``balanced`` weighs each class by the inverse of its share in the training part."""

    views: View = "flip"
    """Augmentation: none, or a horizontal flip of every other view."""

    norm: Literal["follow", "eval"] = "follow"
    """BatchNorm of trainable groups: train with them, or keep the pretrained statistics throughout."""
