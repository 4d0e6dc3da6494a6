"""fastai: a splitter, a callback that sets rates and freezes, and one that holds frozen modules still."""

from autofreeze.export.code import literal, render
from autofreeze.export.exporter import ExportedFile
from autofreeze.export.fidelity import Assessment, Fidelity
from autofreeze.export.native import NativeFile


class FastaiExporter:
    """One call of ``learn.fit``: ``freeze_to`` between calls would clear the optimizer's state.

    So every shape of a table is exact, with a switch in mid-epoch and a run that ends in one too. fastai's
    own optimizers have other defaults, and no Nesterov momentum: torch's are wrapped.
    """

    name = "fastai"
    title = "fastai 2.8: splitter, schedule and callback"
    endings = (".py",)
    takes_own = False

    def assess(self, _file: NativeFile, /) -> Assessment:
        """Exact with the callback; the images and their views are those of the user's ``DataLoaders``."""
        return Assessment(fidelity=Fidelity.WITH_CALLBACK)

    def write(self, file: NativeFile, /) -> tuple[ExportedFile, ...]:
        """Write one Python file."""
        pixels = file.preprocessing
        schedule = file.schedule
        text = render(
            "fastai.py.j2",
            file,
            size=pixels.image_size,
            classes=len(file.data.classes),
            pixels=_pixels(file),
            uses_math=schedule.curve == "cosine",
            part_of_epoch=schedule.epochs != round(schedule.epochs),
            weights=list(file.data.balanced_weights) if file.regime.class_weights == "balanced" else [],
            smoothing=file.regime.label_smoothing,
        )
        return (ExportedFile(self.endings[0], text),)


def _pixels(file: NativeFile) -> str:
    pixels = file.preprocessing
    scaled = int(pixels.image_size / pixels.crop_pct)
    stats = ", ".join(literal(list(values)) for values in (pixels.mean, pixels.std))
    return f"shorter side of {scaled} px ({pixels.interpolation}), its centre, Normalize.from_stats({stats})"
