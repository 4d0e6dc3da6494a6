"""The JSON Schema of a native file, for editors and programs: what may stand where, with a line on each.

Made from the values that the reader fills. What JSON Schema cannot say, the reader alone refuses: parts that
do not agree (``consistency.py``), a ramp longer than the run, a number of images written with a point.
"""

from typing import Any

from autofreeze.export.native import NativeFile
from autofreeze.metrics import METRICS
from autofreeze.valueschema import DIALECT, cleaned, describe, kinds_in


def file_schema() -> dict[str, Any]:
    """Give the JSON Schema (draft 2020-12) of a native file of the present version, as plain data."""
    schema = cleaned(NativeFile.model_json_schema())
    kinds = schema["$defs"]
    for model in set(kinds_in(NativeFile)):
        describe(schema if model is NativeFile else kinds[model.__name__], model)
    schema["required"] = ["format", "version", *schema["required"]]
    kinds["Schedule"]["properties"]["groups"]["uniqueItems"] = True
    kinds["Schedule"]["properties"]["phases"]["minItems"] = 1
    kinds["Phase"]["properties"]["lrs"] |= _cells(kinds["Phase"]["properties"]["lrs"].pop("items"))
    kinds["Regime"] |= _only_crops_are_erased()
    kinds["SearchResult"] |= _estimated_when_confirmed()
    return {
        "$schema": DIALECT,
        "title": "autofreeze schedule",
        **{key: value for key, value in schema.items() if key != "title"},
        **_what_images_need(),
    }


def _cells(cell: dict[str, Any]) -> dict[str, Any]:
    """Allow the cells of a row by group, or in the order of the groups; one of them at least is a rate."""
    some = {"not": {"additionalProperties": {"type": "null"}}}
    return {
        "type": ["object", "array"],
        "additionalProperties": cell,
        "items": cell,
        "if": {"type": "object"},
        "then": some,
        "else": {"contains": {"type": "number"}},
    }


def _only_crops_are_erased() -> dict[str, Any]:
    return {
        "if": {"properties": {"erase": {"not": {"const": 0}}}, "required": ["erase"]},
        "then": {"properties": {"views": {"pattern": "^(bank:.*|online)$"}}, "required": ["views"]},
    }


def _estimated_when_confirmed() -> dict[str, Any]:
    return {
        "if": {"properties": {"estimate": {"type": "object"}}, "required": ["estimate"]},
        "then": {"properties": {"confirmed": {"const": True}}, "required": ["confirmed"]},
    }


def _what_images_need() -> dict[str, Any]:
    """Require what only a user's own training can do without: of the backbone, and a metric that is known."""
    backbone = {
        "required": ["model", "preprocessing", "groups", "modes"],
        "properties": {
            "preprocessing": {"type": "object"},
            "groups": {"minProperties": 1, "additionalProperties": {"minItems": 1}},
            "modes": {"required": [""]},
        },
    }
    return {
        "if": {"properties": {"task": {"type": "object"}}, "required": ["task"]},
        "then": {
            "properties": {"backbone": backbone, "result": {"properties": {"metric": {"enum": [*METRICS]}}}}
        },
    }
