"""Two callbacks of Lightning: who trains when and at which rate, and what keeps it still."""

import math

from autofreeze.export.code import literal, render
from autofreeze.export.exporter import ExportedFile
from autofreeze.export.fidelity import Assessment, Fidelity
from autofreeze.export.native import NativeFile


class LightningExporter:
    """A file of callbacks for the user's own LightningModule, which holds the timm model.

    Lightning's own ``BackboneFinetuning`` knows one switch of a whole backbone, at an epoch's start, and
    leaves frozen BatchNorm in training mode; the callback here takes the table as it is.
    """

    name = "lightning"
    title = "Lightning 2.6: two callbacks, the schedule and what keeps it still"
    endings = (".py",)

    def assess(self, file: NativeFile, /) -> Assessment:
        """Exact for every schedule of a search on images: rates and freezing follow optimizer steps."""
        if file.task is None:
            return Assessment.refused(
                "the schedule was found with a training of your own; its groups are no layers of a timm "
                "model, so there is nothing that callbacks could freeze"
            )
        return Assessment(fidelity=Fidelity.WITH_CALLBACK)

    def write(self, file: NativeFile, /) -> tuple[ExportedFile, ...]:
        """Write the callbacks."""
        epochs = math.ceil(file.schedule.epochs)
        text = render("lightning.py.j2", file, epochs=epochs, images=images(file))
        return (ExportedFile(self.endings[0], text),)


def images(file: NativeFile) -> str:
    """Say what the search showed its model, for a docstring."""
    pixels = file.preprocessing
    views = file.regime.for_training.views + (f", erase {file.regime.erase:g}" if file.regime.erase else "")
    return (
        f"Images of the search: {pixels.image_size} px, views {views},\n"
        f"mean {literal(list(pixels.mean))}, std {literal(list(pixels.std))}."
    )
