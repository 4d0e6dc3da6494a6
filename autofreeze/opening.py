"""Images and backbones, opened for searches."""

from collections.abc import Sequence
from dataclasses import replace

from autofreeze.display import Display
from autofreeze.errors import InputError
from autofreeze.imagesubject import ImageSubject
from autofreeze.several import gather
from autofreeze.task import Task
from autofreeze.trial import Workbench


def open_all(settings: Sequence[Task], display: Display | None) -> list[ImageSubject]:
    """Open every task. Pixels stay on disk, mapped; the pretrained tensors are held once.

    Raises:
        InputError: Some cannot be opened; what is wrong with each is told.
    """
    benches: list[Workbench] = []
    problems: list[tuple[str, InputError]] = []
    for task in settings:
        if display and len(settings) > 1:
            display.tell(f"opening {task.data}")
        try:
            bench = _open(task, display)
        except InputError as error:
            problems.append((task.data, error))
            continue
        if benches and benches[0].backbone.digest == bench.backbone.digest:
            bench = replace(bench, backbone=benches[0].backbone)
        benches.append(bench)
    if problems:
        raise gather(problems, len(settings))
    return [ImageSubject(bench) for bench in benches]


def open_one(task: Task, display: Display | None) -> ImageSubject:
    """Open a task, and show how far that is.

    Raises:
        InputError: It cannot be opened.
    """
    return ImageSubject(_open(task, display))


def _open(task: Task, display: Display | None) -> Workbench:
    if display is None:
        return Workbench.open(task)
    with display.shown():
        return Workbench.open(task, progress=display.preparing)
