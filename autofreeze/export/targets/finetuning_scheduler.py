"""finetuning-scheduler: its explicit schedule, and a file of what the schedule cannot say."""

import json
import math
import re

from autofreeze.export.code import render
from autofreeze.export.exporter import ExportedFile
from autofreeze.export.fidelity import Assessment, Fidelity
from autofreeze.export.heading import heading
from autofreeze.export.images import images_of
from autofreeze.export.native import NativeFile
from autofreeze.export.thawing import Thaw, thaw_only, thaws_of
from autofreeze.modes import outermost
from autofreeze.phrases import listed, printable


class FinetuningSchedulerExporter:
    """The YAML says what thaws when; the Python file beside it says how fast, and keeps still what is frozen.

    finetuning-scheduler gives all groups that thaw together one rate, and none to those that train already;
    the rate of the first ones comes from ``configure_optimizers``. So the optimizer of the Python file splits
    what is added to it by layer group, and a callback sets each group's rate.
    """

    name = "finetuning-scheduler"
    title = "finetuning-scheduler 2.14: schedule and callbacks"
    endings = (".yaml", "_callback.py")
    takes_own = False

    def assess(self, file: NativeFile, /) -> Assessment:
        """Exact where groups thaw as an epoch begins and stay so; any rates."""
        _, differences = thaw_only(file.schedule)
        return Assessment.of(list(differences), exact=Fidelity.WITH_CALLBACK)

    def write(self, file: NativeFile, /) -> tuple[ExportedFile, ...]:
        """Write the schedule, and the file of its callbacks."""
        followed, differences = thaw_only(file.schedule)
        thaws = thaws_of(followed)
        epochs = math.ceil(followed.epochs)
        code = render(
            "finetuning_scheduler.py.j2",
            file,
            followed=followed,
            differences=differences,
            thaws=len(thaws) > 1,
            epochs=epochs,
            images=images_of(file),
        )
        texts = (_schedule(file, differences, thaws, epochs), code)
        return tuple(ExportedFile(*pair) for pair in zip(self.endings, texts, strict=True))


_USE = """
The timm model is expected as self.model of the LightningModule: where it is called otherwise, write its name
for `model` in the params below. Use it with the file of callbacks that was written beside it, whose head says
how; alone it has other rates, and frozen BatchNorm moves. lr: what the highest of the groups begins with.
"""


def _schedule(file: NativeFile, differences: tuple[str, ...], thaws: tuple[Thaw, ...], epochs: int) -> str:
    lines = [f"# {line}".rstrip() for line in [*heading(file, differences), *_USE.rstrip().split("\n")]]
    members = outermost(file.backbone.groups)
    parameters = {name for names in file.backbone.groups.values() for name in names}
    for number, thaw in enumerate(thaws):
        until = thaws[number + 1].epoch if number + 1 < len(thaws) else epochs
        lines += [f"{number}:  # {printable(listed(thaw.lrs))}", "  params:"]
        for group in thaw.lrs:
            lines += [f"  - {_quoted(_pattern(member, parameters))}" for member in members[group]]
        lines += [f"  max_transition_epoch: {until}"]
        if number:  # of the first phase finetuning-scheduler takes the optimizer's
            lines += [f"  lr: {_number([*thaw.lrs.values()][-1])}"]
    return "\n".join(lines) + "\n"


def _pattern(member: str, parameters: set[str]) -> str:
    """Give a regular expression for the parameters in a module, or for one parameter."""
    return re.escape(f"model.{member}") + ("$" if member in parameters else r"\.")


def _quoted(text: str) -> str:
    """Write text as YAML; names of modules are plain, but nobody says so."""
    return "'" + text.replace("'", "''") + "'" if text.isascii() and text.isprintable() else json.dumps(text)


def _number(value: float) -> str:
    """Write a number that YAML 1.1 reads as one: with a point."""
    mantissa, e, exponent = repr(value).partition("e")
    return mantissa + (".0" if e and "." not in mantissa else "") + e + exponent
