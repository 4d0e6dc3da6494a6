"""One Python file that trains by the schedule, with torch and timm alone."""

import numpy as np

from autofreeze.export.code import render
from autofreeze.export.exporter import ExportedFile
from autofreeze.export.fidelity import Assessment, Fidelity
from autofreeze.export.native import NativeFile
from autofreeze.metrics import resolve_metric


class PyTorchExporter:
    """A script that repeats all that decides the curve: head, split, order, views, batches, rates and modes.

    So with the same images, weights and threads its curve is that of ``training.fit`` without an engine to
    the bit, and that of a search, which computes frozen layers once for all runs, up to rounding.
    """

    name = "pytorch"
    title = "one Python script, with torch and timm alone"
    endings = (".py",)
    takes_own = False

    def assess(self, _file: NativeFile, /) -> Assessment:
        """Exact for every schedule of a search on images."""
        return Assessment(fidelity=Fidelity.EXACT)

    def write(self, file: NativeFile, /) -> tuple[ExportedFile, ...]:
        """Write the script."""
        task = file.image_task
        text = render(
            "pytorch.py.j2",
            file,
            script="train.py",
            notes=_notes(file),
            regime=file.regime.for_training,
            preprocessing=file.preprocessing,
            metric=_metric(file),
            origin="scratch" if task.from_scratch else "file" if task.weights else "hub",
            threads=task.threads,
        )
        return (ExportedFile(self.endings[0], text),)


def _metric(file: NativeFile) -> str:
    """Give what the search judged by; a file without a result follows its counts."""
    if file.result:
        return file.result.metric
    counts = file.data.class_images
    return resolve_metric(file.image_task.metric, np.repeat(np.arange(len(counts)), counts))


def _notes(file: NativeFile) -> list[str]:
    """Say what the curve is to be compared with, and where the images are to be found."""
    lines: list[str] = []
    if file.data.layout and "per class" not in file.data.layout:
        lines += [
            "",
            "The images of the search were no class folders: sorted into such folders, they are numbered",
            "and split otherwise than there.",
        ]
    if file.curve and not file.edited and file.curve_views in ("", file.regime.for_training.views):
        lines += ["", f"Its curve in the search (train loss, val loss, {_metric(file)}), up to rounding:"]
        lines += [
            f"  epoch {point.epochs_done:g}: {point.train_loss:.5f}, "
            f"{'-' if point.val_loss is None else f'{point.val_loss:.5f}'}, {point.value:.4f}"
            for point in file.curve
        ]
    return lines
