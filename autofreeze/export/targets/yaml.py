"""The native file as YAML: everything that is needed to train by the schedule again."""

from autofreeze.export.exporter import ExportedFile
from autofreeze.export.fidelity import Assessment, Fidelity
from autofreeze.export.native import NativeFile


class YamlExporter:
    """What ``autofreeze train`` and ``autofreeze.Schedule.load`` read, with a heading for people."""

    name = "yaml"
    title = "native file, for autofreeze train and Schedule.load"
    endings = (".yaml",)
    takes_own = True

    def assess(self, _file: NativeFile, /) -> Assessment:
        """Exact: it is the schedule."""
        return Assessment(fidelity=Fidelity.EXACT)

    def write(self, file: NativeFile, /) -> tuple[ExportedFile, ...]:
        """Write the file down."""
        return (ExportedFile(self.endings[0], file.to_text()),)
