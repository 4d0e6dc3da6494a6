"""What is told of a training of the user's own, where images have something else to say."""

from collections.abc import Mapping
from typing import Any

from autofreeze.phrases import counted, listed, printable
from autofreeze.results import StudyResult
from autofreeze.scale import number


def is_own(data: Mapping[str, Any]) -> bool:
    """Whether ``StudyResult.data`` is that of a training of the user's own."""
    return "n_folds" in data


def own_conditions(data: Mapping[str, Any], backbone: Mapping[str, Any]) -> list[str]:
    """Say what was trained, on how many folds it was scored, and how work was counted.

    Args:
        data: ``StudyResult.data``.
        backbone: ``StudyResult.backbone``.
    """
    groups = listed(printable(f"{name} ({', '.join(own)})") for name, own in backbone["groups"].items())
    counted_by = (
        "work by the shares that were given"
        if backbone["work_measured"]
        else "work as if all groups cost alike and the head nothing, since nobody gave shares (Group.work)"
    )
    idle = data.get("left_out", [])
    return [
        f"training: {printable(data['name'])}, the user's own; each trial is scored in "
        f"{counted(data['n_folds'], 'fold')}",
        f"groups: {groups}; {counted_by}",
        f"splits: {_splits(data)}",
        *(
            [f"left out of the space, since fit does not read them (reads): {', '.join(idle)}"]
            if idle
            else []
        ),
    ]


def _splits(data: Mapping[str, Any]) -> str:
    share = data["held_out"]
    if share == 0:
        return "all seeds are scored on the same examples, as was said (held_out=0)"
    if data["held_out_given"]:
        return f"each seed holds out {share:.0%} of the examples anew"
    return (
        f"each seed is taken to hold out {share:.0%} of the examples anew, since nobody said (held_out); 0, "
        "where all are scored on the same, gives narrower intervals"
    )


def work_figure(result: StudyResult, work: float) -> str:
    """Write an amount of work: of images in forward passes of one, else in those of all training data."""
    return number(work, 3) if result.kind == "own" else f"{work:,.0f}"


def work_unit(result: StudyResult) -> str:
    """Say what work is counted in."""
    return "forward passes over the training data" if result.kind == "own" else "forward passes of one image"
