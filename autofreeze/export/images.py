"""What the search showed its model, for those who load images themselves."""

from autofreeze.export.code import literal
from autofreeze.export.native import NativeFile
from autofreeze.phrases import printable

_VIEWS = {
    "none": "as they are",
    "flip": "every other view mirrored",
    "online": "random crops, mirrored or not",
}


def images_of(file: NativeFile) -> str:
    """Say how images are prepared and augmented, in two lines of a docstring."""
    takes, regime = file.preprocessing, file.regime.for_training
    erased = f", a rectangle erased in {regime.erase:g} of them" if regime.erase else ""
    told = (
        f"Images of the search: {takes.image_size} px ({takes.interpolation}, crop_pct {takes.crop_pct:g}), "
        f"{_VIEWS[regime.views]}{erased},"
    )
    return f"{printable(told)}\nmean {literal(list(takes.mean))}, std {literal(list(takes.std))}."
