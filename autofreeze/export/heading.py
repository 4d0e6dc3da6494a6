"""What stands at the top of an exported file, for people."""

from autofreeze.export.native import NativeFile
from autofreeze.phrases import capitalised, printable, sentence


def heading(file: NativeFile, differences: tuple[str, ...] = ()) -> list[str]:
    """Give the lines: the schedule in words and as a table, where it comes from, and what differs.

    Whatever comes from the data is made printable: no name of a class ends a comment.

    Args:
        file: What is exported.
        differences: What the export does otherwise than the schedule says.
    """
    lines = [sentence(file.schedule), "", *str(file.schedule).split("\n"), "", *_origin(file)]
    if differences:
        lines += ["", "Approximate. What is done otherwise than the schedule says:"]
        lines += [f"- {difference}" for difference in differences]
    return [printable(line) for line in lines]


def _origin(file: NativeFile) -> list[str]:
    if file.task is None:
        return ["Found by autofreeze with a training of the user's own."]
    regime = file.regime
    return [
        f"For {file.task.model} (weights {file.backbone.weights_digest}) on {file.data.name}"
        f" (fingerprint {file.data.fingerprint}), images of {file.preprocessing.image_size} px.",
        f"The rates hold for {regime.optimizer}, batches of {regime.batch_size},"
        f" weight decay {regime.weight_decay:g}.",
        f"{capitalised(file.standing)}.",
    ]
