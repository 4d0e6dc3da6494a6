"""Native files of earlier versions, brought up to the present one: a pure function for each step.

A migration takes the plain data of a file of its version and gives that of the next one. It may meet a file
that was edited by hand: what it does not understand it leaves as it is, and the reader tells what is wrong.
"""

import math
from collections.abc import Callable
from itertools import takewhile
from typing import Any

from autofreeze.export.facts import BackboneFacts, DataFacts
from autofreeze.fileversion import version_of
from autofreeze.modes import from_parameters

Plain = dict[str, Any]


def migrated(data: Plain, *, where: str = "") -> Plain:
    """Bring the plain data of a native file up to the version that is read.

    Args:
        data: What the file holds; its ``version`` says what to do.
        where: The file, for messages.

    Raises:
        ConfigError: The version is missing, is none, or comes from the future.
    """
    for migrate in MIGRATIONS[version_of(data, where=where) - 1 :]:
        data = migrate(data)
    return data


# Version 1: facts were kept as reports have them, and a result was only said to be confirmed.


def _from_1(data: Plain) -> Plain:
    own = data.get("task") is None
    kept = {name: value for name, value in data.items() if name != "confirmed"}
    return kept | {
        "version": 2,
        "backbone": _backbone(data.get("backbone"), own=own),
        "data": _known(data.get("data"), DataFacts),
        "result": _result(data.get("result"), data.get("confirmed"), own=own),
        "curve": _curve(data.get("curve", []), own=own),
    }


def _known(facts: Any, kind: type[BackboneFacts] | type[DataFacts]) -> Any:
    """Leave out what only reports tell."""
    if not isinstance(facts, dict):
        return facts
    return {name: value for name, value in facts.items() if name in kind.model_fields}


def _backbone(facts: Any, *, own: bool) -> Any:
    if not isinstance(facts, dict):
        return facts
    found = _known(facts, BackboneFacts)
    if "digest" in facts:
        found["weights_digest"] = facts["digest"]
    groups = found.get("groups")
    named = isinstance(groups, dict) and all(
        isinstance(names, list) and all(isinstance(name, str) for name in names) for names in groups.values()
    )
    return found | {"modes": from_parameters(groups)} if named and groups and not own else found


def _result(result: Any, confirmed: Any, *, own: bool) -> Any:
    """Tell values as people read them: they were objectives, of which more is better."""
    if not isinstance(result, dict):
        return result
    if not result:
        return None
    found = result | {"confirmed": confirmed} if confirmed is not None else dict(result)
    folds, value = result.get("fold_values"), result.get("value")
    numbers = [value, *folds] if isinstance(folds, list) else [value]
    if not all(number is None or _is_number(number) for number in numbers):
        return found
    if own:  # the value alone was told as people read it
        if not isinstance(folds, list) or value is None or value * sum(folds) >= 0:
            return found
        return found | {"direction": "minimize", "fold_values": [-fold for fold in folds]}
    if result.get("metric") == "log_loss" and all(number is None or number > 0 for number in numbers):
        losses = [None if number is None else -math.log(number) for number in numbers]
        return found | {"direction": "minimize", "value": losses[0], "fold_values": losses[1:]}
    return found


def _curve(curve: Any, *, own: bool) -> Any:
    """Give what is finite: a run that broke down as far as it went, and of a user's own what was told."""
    if not isinstance(curve, list) or not all(isinstance(point, dict) for point in curve):
        return curve
    if own:
        return [{name: value for name, value in point.items() if _told(value)} for point in curve]
    return list(takewhile(lambda point: all(map(_told, point.values())), curve))


def _told(value: Any) -> bool:
    return not isinstance(value, float) or math.isfinite(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


MIGRATIONS: tuple[Callable[[Plain], Plain], ...] = (_from_1,)
"""From version 1 to 2, and so on."""
