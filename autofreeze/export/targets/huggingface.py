"""A module for the Trainer of Hugging Face: what it must be told, an optimizer with its rates, a callback."""

from autofreeze.export.code import render
from autofreeze.export.exporter import ExportedFile
from autofreeze.export.fidelity import Assessment, Fidelity
from autofreeze.export.images import images_of
from autofreeze.export.native import NativeFile


class HuggingFaceExporter:
    """Arguments, optimizer, rates and callback for ``transformers.Trainer``, which itself freezes nothing.

    The Trainer puts the whole model into training mode in each step; a hook before each forward pass sets
    the modes after it.
    """

    name = "huggingface"
    title = "Hugging Face Trainer: arguments, optimizer and callback"
    endings = (".py",)
    takes_own = False

    def assess(self, _file: NativeFile, /) -> Assessment:
        """Exact for every schedule of a search on images: rates and freezing follow optimizer steps."""
        return Assessment(fidelity=Fidelity.EXACT)

    def write(self, file: NativeFile, /) -> tuple[ExportedFile, ...]:
        """Write the module."""
        return (ExportedFile(self.endings[0], render("huggingface.py.j2", file, images=images_of(file))),)
