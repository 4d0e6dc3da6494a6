"""The regime: everything about a training run that is not its schedule."""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from autofreeze import views as view_names
from autofreeze.values import Value

OptimizerName = Literal["adamw", "sgd"]


def _known_view(view: str) -> str:
    if problem := view_names.problem_of(view):
        raise ValueError(problem)
    return view


View = Annotated[
    str,
    AfterValidator(_known_view),
    Field(json_schema_extra={"pattern": f"^({view_names.VIEW_PATTERN})$"}),
]


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
    """Augmentation: ``none``; a horizontal ``flip`` of every other view; random crops, also flipped, of which
    ``bank:K`` prepares K by image and ``online`` makes new ones each epoch."""

    erase: float = Field(default=0.0, ge=0, le=1, allow_inf_nan=False)
    """Share of the crops in which a random rectangle is erased (arXiv 1708.04896)."""

    norm: Literal["follow", "eval"] = "follow"
    """BatchNorm of trainable groups: train with them, or keep the pretrained statistics throughout."""

    @model_validator(mode="after")
    def _erases_crops(self) -> Self:
        if self.erase and not view_names.crops(self.views):
            raise ValueError(
                f"erase: got {self.erase:g}, and views is {self.views}; only in crops is anything erased: "
                "choose bank:K or online, or leave erase out"
            )
        return self

    @model_serializer(mode="wrap")
    def _without_what_is_off(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave ``erase`` out where nothing is erased: regimes written before it keep their digests."""
        written: dict[str, Any] = write(self)
        if not written.get("erase", True):
            del written["erase"]
        return written

    @property
    def for_training(self) -> Self:
        """The same, with the views that a training on its own uses: online ones instead of a bank."""
        return self.model_copy(update={"views": view_names.for_training(self.views)})
