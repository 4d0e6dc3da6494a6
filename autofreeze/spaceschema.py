"""The JSON Schema of a search space file, for editors: what may stand where, with a line on each axis.

Generated from what the reader itself uses, so that the two agree. What JSON Schema cannot say, the reader
alone refuses: a ``low`` above its ``high``, NaN, and what does not fit a model or the length of a run.
"""

from typing import Any

from autofreeze.axes import (
    AXIS_WORDS,
    DEFAULTS,
    EPOCH_AXES,
    GRID_AXES,
    LARGEST,
    NEEDED,
    PERCENT,
    RATE_AXES,
    REGIME_AXES,
    SCHEDULE_AXES,
    WHOLE_AXES,
    WORD_AXES,
    Axis,
    Range,
)
from autofreeze.regime import Regime
from autofreeze.valueschema import DIALECT
from autofreeze.views import crops


def space_schema() -> dict[str, Any]:
    """Give the JSON Schema (draft 2020-12) of a space file, as plain data."""
    names = list(dict.fromkeys(name for axes in SCHEDULE_AXES.values() for name in axes))
    shape = {
        "description": "which schedules: down from the head (flat), one group, or one group after another",
        "enum": list(SCHEDULE_AXES),
        "default": next(iter(SCHEDULE_AXES)),
    }
    return {
        "$schema": DIALECT,
        "title": "autofreeze search space",
        "description": "For each axis a value (fixed), a list (one of these), or a range.",
        "type": "object",
        "required": list(NEEDED),
        "properties": {"shape": shape, **{name: _axis(name) for name in (*names, *REGIME_AXES)}},
        "additionalProperties": False,
        "allOf": [*(_only(shape, axes) for shape, axes in SCHEDULE_AXES.items()), _only_crops_are_erased()],
    }


def _only(shape: str, axes: tuple[str, ...]) -> dict[str, Any]:
    """Allow a shape its own axes alone. Without one it is flat: what is absent equals any constant."""
    condition: dict[str, Any] = {"properties": {"shape": {"const": shape}}}
    if shape != next(iter(SCHEDULE_AXES)):
        condition["required"] = ["shape"]
    return {"if": condition, "then": {"propertyNames": {"enum": ["shape", *axes, *REGIME_AXES]}}}


def _only_crops_are_erased() -> dict[str, Any]:
    """Allow ``erase`` only where some views are crops."""
    one = {"type": "string", "pattern": "^(bank:.*|online)$"}
    some = {"properties": {"views": {"anyOf": [one, {"type": "array", "contains": one}]}}}
    needed = {} if crops(Regime().views) else {"required": ["views"]}
    erases = {"properties": {"erase": {"not": {"const": 0}}}, "required": ["erase"]}
    return {"if": erases, "then": some | needed}


def _axis(name: str) -> dict[str, Any]:
    value = _value(name)
    kinds = [value, {"type": "array", "minItems": 1, "items": value}]
    if name not in WORD_AXES and name != "views":
        kinds.append(_range(name, value))
    schema: dict[str, Any] = {"description": AXIS_WORDS[name], "anyOf": kinds}
    default: Axis | None = (DEFAULTS | dict(Regime())).get(name)
    if isinstance(default, Range):
        schema["default"] = default.model_dump(exclude_defaults=True)
    elif default is not None:
        schema["default"] = default
    return schema


def _value(name: str) -> dict[str, Any]:
    """Say what may stand for one value of an axis."""
    if name in WORD_AXES:
        return {"enum": list(WORD_AXES[name])}
    if name in RATE_AXES:
        return {"type": "number", "exclusiveMinimum": 0, "maximum": LARGEST}
    if name in REGIME_AXES:
        field = Regime.model_json_schema()["properties"][name]
        return {key: value for key, value in field.items() if key not in ("title", "default", "description")}
    number = {"type": "number", "minimum": 0, "maximum": LARGEST}
    words = [{"type": "string", "pattern": f"^{PERCENT}$"}]
    return {"anyOf": [number, *words] if name in EPOCH_AXES else [number, *words, {"const": "all"}]}


def _range(name: str, end: dict[str, Any]) -> dict[str, Any]:
    step = {
        "type": ["integer" if name in WHOLE_AXES else "number", "null"],
        "exclusiveMinimum": 0,
        "maximum": LARGEST,
    }
    properties: dict[str, Any] = {
        "low": {"description": "the lowest value", **end},
        "high": {"description": "the highest value", **end},
        "log": {
            "description": "whether equal ratios are equally likely",
            "type": "boolean",
            "default": False,
        },
        "step": {"description": "distance between the values that may be drawn", **step},
    }
    assert set(properties) == set(Range.model_fields)
    schema: dict[str, Any] = {
        "type": "object",
        "required": ["low", "high"],
        "properties": properties,
        "additionalProperties": False,
    }
    logarithmic = {"properties": {"log": {"const": True}}, "required": ["log"]}
    if name in GRID_AXES:
        return schema | {"not": logarithmic}
    allowed = {"properties": {"low": {"exclusiveMinimum": 0}, "step": {"type": "null"}}}
    return schema | {"if": logarithmic, "then": allowed}
