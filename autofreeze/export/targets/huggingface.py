"""A module for the Trainer of Hugging Face: what it must be told, an optimizer with its rates, a callback."""

from autofreeze.export.code import literal, render
from autofreeze.export.exporter import ExportedFile
from autofreeze.export.fidelity import Assessment, Fidelity
from autofreeze.export.native import NativeFile
from autofreeze.phrases import printable


class HuggingFaceExporter:
    """Arguments, optimizer, rates and callback for ``transformers.Trainer``, which itself freezes nothing.

    The Trainer puts the whole model into training mode in each step; a hook before each forward pass sets
    the modes after it.
    """

    name = "huggingface"
    title = "Hugging Face Trainer: arguments, optimizer and callback"
    endings = (".py",)

    def assess(self, file: NativeFile, /) -> Assessment:
        """Exact for every schedule of a search on images: rates and freezing follow optimizer steps."""
        if file.task is None:
            return Assessment.refused(
                "the schedule was found with a training of your own; its groups are no layers of a timm "
                "model, so there is nothing that a callback could freeze"
            )
        return Assessment(fidelity=Fidelity.EXACT)

    def write(self, file: NativeFile, /) -> tuple[ExportedFile, ...]:
        """Write the module."""
        return (ExportedFile(self.endings[0], render("huggingface.py.j2", file, images=_images(file))),)


def _images(file: NativeFile) -> str:
    """Say what the search showed its model."""
    takes, regime = file.preprocessing, file.regime.for_training
    erased = f", a rectangle erased in {regime.erase:g} of them" if regime.erase else ""
    views = {
        "none": "as they are",
        "flip": "every other view mirrored",
        "online": "random crops, mirrored or not",
    }
    return (
        printable(
            f"Its images: {takes.image_size} px ({takes.interpolation}, crop_pct {takes.crop_pct:g}), "
            f"{views[regime.views]}{erased},"
        )
        + f"\nmean {literal(list(takes.mean))}, std {literal(list(takes.std))}."
    )
