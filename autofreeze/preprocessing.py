"""How pixels become what a backbone expects."""

from typing import Annotated

from pydantic import Field

from autofreeze.values import Value

Channels = tuple[float, float, float]
Positive = Annotated[float, Field(gt=0)]


class Preprocessing(Value):
    """Evaluation-time preprocessing: resize the shorter side, crop the centre, normalise.

    The shorter side is resized to ``round-down(image_size / crop_pct)`` and a square of ``image_size``
    is cut from the centre, as ``timm.data.create_transform`` does it in evaluation mode.
    """

    image_size: int = Field(ge=8, le=4096)
    """Side of the square in pixels."""

    mean: Channels
    """By channel, of pixels scaled to 0..1."""

    std: tuple[Positive, Positive, Positive]
    """By channel, of pixels scaled to 0..1."""

    interpolation: str = Field(default="bicubic", pattern="^(nearest|bilinear|bicubic|lanczos)$")
    crop_pct: float = Field(default=0.875, gt=0, le=1)
