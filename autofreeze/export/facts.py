"""What a native file says of the weights, the images and the result that its schedule comes from."""

from typing import Annotated, Any, Self

from pydantic import Field

from autofreeze.modes import from_parameters
from autofreeze.preprocessing import Preprocessing
from autofreeze.values import Value

Hash = Annotated[str, Field(pattern="^([0-9a-f]{16})?$")]
"""16 hexadecimal digits, or empty where it is not known."""

Count = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class BackboneFacts(Value):
    """The backbone: which weights, and how it is cut into layer groups."""

    model: str = ""
    """timm name; empty where the training was the user's own."""

    source: str = ""
    """Where the weights came from, in words."""

    weights_digest: Hash = ""
    """Hash of the backbone's tensors, 16 hexadecimal digits."""

    coverage: str = ""
    """What was loaded and what was ignored, in words."""

    preprocessing: Preprocessing | None = None
    groups: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Layer group -> names of its parameters, stem first, head last. Of a user's own training: prefixes."""

    modes: dict[str, str] = Field(default_factory=dict)
    """Module -> the group that decides its mode, as ``modes.brief`` gives it."""

    timm_layers: dict[str, tuple[Count, ...]] = Field(default_factory=dict)
    """Layer group -> timm's layer number of each of its parameters, for layer-wise rate decay; empty in older
    files."""

    spared_by_timm: tuple[str, ...] = ()
    """Parameters of more than one dimension that timm's optimizers spare from weight decay."""

    work_shares: tuple[Share, ...] = ()
    """Share of the forward pass by group, stem first; they sum to 1."""

    @classmethod
    def of(cls, facts: dict[str, Any]) -> Self:
        """Read what a report says of a backbone; reports of before modes were kept tell them by names."""
        known = {name: value for name, value in facts.items() if name in cls.model_fields}
        known["weights_digest"] = facts.get("digest", "")
        if known.get("model") and not known.get("modes"):
            known["modes"] = from_parameters(known["groups"])
        return cls.model_validate(known)


class FoldCounts(Value):
    """Images that one fold trained on and was scored on."""

    train: Count
    val: Count


class DataFacts(Value):
    """The images."""

    name: str
    fingerprint: Hash = ""
    """Hash of contents, labels, parts and class names, 16 hexadecimal digits."""

    layout: str = ""
    classes: tuple[str, ...] = ()
    class_images: tuple[Count, ...] = ()
    """Images of each class in the training part."""

    images: dict[str, Count] = Field(default_factory=dict)
    """Part -> images."""

    folds: tuple[FoldCounts, ...] = ()

    @property
    def balanced_weights(self) -> tuple[float, ...]:
        """Weight of each class in a ``balanced`` loss, as ``training.loss_weights`` has it for all folds.

        Images weigh 1 on the mean; so does a class without any.
        """
        there = sum(count > 0 for count in self.class_images)
        total = sum(self.class_images)
        return tuple(total / (there * count) if count else 1.0 for count in self.class_images)

    @classmethod
    def of(cls, facts: dict[str, Any]) -> Self:
        """Read what a report says of the data."""
        return cls.model_validate({name: value for name, value in facts.items() if name in cls.model_fields})
