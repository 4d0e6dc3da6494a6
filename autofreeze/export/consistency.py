"""What the parts of a native file must agree on. A file that was edited by hand may say one thing twice."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from autofreeze.export.facts import BackboneFacts, DataFacts
from autofreeze.export.searchresult import SearchResult
from autofreeze.metrics import METRICS
from autofreeze.schedule import Schedule
from autofreeze.task import Task
from autofreeze.values import did_you_mean

SHOWN = 3
"""Names that one line repeats, at most."""


def disagreements(
    schedule: Schedule | None,
    task: Task | None,
    backbone: BackboneFacts | None,
    data: DataFacts | None,
    result: SearchResult | None,
) -> list[str]:
    """Tell what does not fit together, a line each: path, what was given, what is allowed.

    Args:
        schedule: The table.
        task: Data and backbone; None where the training was the user's own.
        backbone: What is said of the backbone.
        data: What is said of the images.
        result: What is said of the search.

    None stands for what cannot be read either, and then nothing is said of it.
    """
    problems: list[str] = []
    if backbone is not None:
        if schedule is not None and (task is not None or backbone.groups):
            problems += _columns(schedule.groups, tuple(backbone.groups))
        problems += _parameters(backbone, needed=task is not None)
        problems += _by_group(backbone)
        if task is not None:
            problems += _modes(backbone)
            problems += _as_asked(task, backbone)
    if data is not None and len(data.class_images) not in (0, len(data.classes)):
        problems.append(
            f"data.class_images: got {len(data.class_images)}; must be one for each of the "
            f"{len(data.classes)} classes"
        )
    if data is not None and (twice := _twice(data.classes)):
        problems.append(f"data.classes: names must differ, got {_some(twice)} twice")
    if task is not None and result is not None and result.metric not in METRICS:
        given = f"result.metric: got {result.metric!r}"
        problems.append(f"{given}; a search on images knows {', '.join(METRICS)}")
    return problems


def _columns(columns: Sequence[str], groups: Sequence[str]) -> Iterator[str]:
    if not groups:
        yield "backbone.groups: missing"
        return
    unknown = [name for name in columns if name not in groups]
    for name in unknown:
        yield f"schedule.groups: the backbone has no group {name}{did_you_mean(name, list(groups))}"
    missing = [name for name in groups if name not in columns]
    for name in missing:
        yield f"schedule.groups: {name} is missing, which is a group of the backbone"
    if not unknown and not missing and tuple(columns) != tuple(groups):
        order = ", ".join(groups)
        yield f"schedule.groups: got {', '.join(columns)}; must be in the backbone's order, {order}"


def _parameters(backbone: BackboneFacts, *, needed: bool) -> Iterator[str]:
    for group, names in backbone.groups.items():
        if needed and not names:
            yield f"backbone.groups.{group}: holds no parameter; must hold one at least"
    owners: dict[str, list[str]] = {}
    for group, names in backbone.groups.items():
        for name in names:
            owners.setdefault(name, []).append(group)
    twice = {name: groups for name, groups in owners.items() if len(groups) > 1}
    for name, groups in list(twice.items())[:SHOWN]:
        yield f"backbone.groups: {name} lies in {' and in '.join(groups)}; each must lie in one, once"
    if len(twice) > SHOWN:
        yield f"backbone.groups: {len(twice) - SHOWN} more lie in two groups, or twice in one"


def _by_group(backbone: BackboneFacts) -> Iterator[str]:
    """Tell where what is said by group is not said of each."""
    if backbone.work_shares and len(backbone.work_shares) != len(backbone.groups):
        yield (
            f"backbone.work_shares: got {len(backbone.work_shares)}; must be one for each of the "
            f"{len(backbone.groups)} groups"
        )
    layers = backbone.timm_layers
    if layers and {group: len(numbers) for group, numbers in layers.items()} != _counts(backbone.groups):
        yield "backbone.timm_layers: must have a number for each parameter of each group in backbone.groups"
    known = {name for names in backbone.groups.values() for name in names}
    if strange := [name for name in backbone.spared_by_timm if name not in known]:
        yield f"backbone.spared_by_timm: {_some(strange)} in no group of the backbone"


def _counts(groups: Mapping[str, Sequence[str]]) -> dict[str, int]:
    return {group: len(names) for group, names in groups.items()}


def _modes(backbone: BackboneFacts) -> Iterator[str]:
    if "" not in backbone.modes:
        yield 'backbone.modes: the whole model, "", is missing'
    for module, group in backbone.modes.items():
        if group not in backbone.groups:
            known = did_you_mean(group, list(backbone.groups))
            yield f"backbone.modes.{module}: the backbone has no group {group}{known}"


def _as_asked(task: Task, backbone: BackboneFacts) -> Iterator[str]:
    """Tell where the backbone is not the task's: trainings read the one, exported code the other."""
    if backbone.model != task.model:
        yield f"backbone.model: got {backbone.model!r}, and task.model is {task.model!r}; must be the same"
    if backbone.preprocessing is None:
        yield "backbone.preprocessing: missing"
        return
    for name, found in dict(backbone.preprocessing).items():
        asked: Any = getattr(task, name)
        if not all(map(math.isfinite, found if isinstance(found, tuple) else ())):
            yield f"backbone.preprocessing.{name}: got {', '.join(map(str, found))}; must be finite"
        elif asked is not None and asked != found:
            yield f"backbone.preprocessing.{name}: got {found}, and task.{name} is {asked}; must be the same"


def _twice(names: Sequence[str]) -> list[str]:
    return [name for name, count in Counter(names).items() if count > 1]


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
