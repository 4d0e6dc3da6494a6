"""Two callbacks of Lightning: who trains when and at which rate, and what keeps it still."""

import math

from autofreeze.export.code import render
from autofreeze.export.exporter import ExportedFile
from autofreeze.export.fidelity import Assessment, Fidelity
from autofreeze.export.images import images_of
from autofreeze.export.native import NativeFile


class LightningExporter:
    """A file of callbacks for the user's own LightningModule, which holds the timm model.

    Lightning's own ``BackboneFinetuning`` knows one switch of a whole backbone, at an epoch's start, and
    leaves frozen BatchNorm in training mode; the callback here takes the table as it is.
    """

    name = "lightning"
    title = "Lightning 2.6: two callbacks, the schedule and what keeps it still"
    endings = (".py",)
    takes_own = False

    def assess(self, _file: NativeFile, /) -> Assessment:
        """Exact for every schedule of a search on images: rates and freezing follow optimizer steps."""
        return Assessment(fidelity=Fidelity.WITH_CALLBACK)

    def write(self, file: NativeFile, /) -> tuple[ExportedFile, ...]:
        """Write the callbacks."""
        epochs = math.ceil(file.schedule.epochs)
        text = render("lightning.py.j2", file, epochs=epochs, images=images_of(file))
        return (ExportedFile(self.endings[0], text),)
