"""The native file as JSON, for programs."""

import json

from autofreeze.export.exporter import ExportedFile
from autofreeze.export.fidelity import Assessment, Fidelity
from autofreeze.export.native import NativeFile


class JsonExporter:
    """The same as the YAML, and read by the same readers."""

    name = "json"
    title = "native file as JSON, for programs"
    endings = (".json",)
    takes_own = True

    def assess(self, _file: NativeFile, /) -> Assessment:
        """Exact: it is the schedule."""
        return Assessment(fidelity=Fidelity.EXACT)

    def write(self, file: NativeFile, /) -> tuple[ExportedFile, ...]:
        """Write the file down."""
        return (ExportedFile(self.endings[0], json.dumps(file.to_plain(), indent=1) + "\n"),)
