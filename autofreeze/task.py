"""The task: which images, which backbone, judged by what. The same for all trials of a study."""

from typing import Any, Literal

from pydantic import Field

from autofreeze.metrics import MetricChoice
from autofreeze.preprocessing import Channels
from autofreeze.values import Value

DeviceName = Literal["auto", "cpu", "cuda", "mps"]


class Task(Value):
    """Everything that a worker needs to open the data and the backbone for itself."""

    data: str
    """Folder of images; see ``autofreeze.data``."""

    model: str
    """timm name of the backbone."""

    weights: str | None = None
    """File of pretrained weights; None takes timm's from the hub."""

    from_scratch: bool = False
    """Start from random weights, on purpose."""

    granularity: Literal["auto", "coarse", "fine"] | int = "auto"
    """Layer groups; see ``autofreeze.groups``."""

    image_size: int | None = Field(default=None, ge=8, le=4096)
    mean: Channels | None = None
    std: Channels | None = None
    interpolation: str | None = None
    crop_pct: float | None = Field(default=None, gt=0, le=1)
    split_seed: int = 0
    test_share: float = Field(default=0.2, ge=0, lt=1)
    resplit: bool = False
    max_bad_images: float = Field(default=0.01, ge=0, le=1)
    """Share of the images that may be unreadable, and are left out then."""

    folds: int | None = Field(default=None, ge=1, le=5)
    """Folds that a trial is scored on; None follows the number of validation images."""

    metric: MetricChoice = "auto"
    """What trials are judged by; see ``metrics.resolve_metric`` for ``auto``."""

    device: DeviceName = "auto"
    threads: int | None = Field(default=None, ge=1)
    """Threads of each run on a CPU; None leaves torch's own choice. Part of what makes a curve repeat."""

    reuse: bool = True
    """Keep what frozen layers give, for all trials; else they run for every batch. No number changes."""

    cache_folder: str | None = None
    cache_bytes: int | None = Field(default=None, ge=1)

    def backbone_options(self) -> dict[str, Any]:
        """Keyword arguments for ``backbone.load_backbone``."""
        names = (
            "weights",
            "from_scratch",
            "granularity",
            "image_size",
            "mean",
            "std",
            "interpolation",
            "crop_pct",
        )
        return {name: getattr(self, name) for name in names}
