"""The JSON Schema of a native file, for editors and programs: what may stand where, with a line on each.

Made from the values that the reader fills. What JSON Schema cannot say, the reader alone refuses: parts that
do not agree (``consistency.py``), a ramp longer than the run, a number of images written with a point.
"""

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, get_args

from autofreeze.export.native import NativeFile
from autofreeze.spaceschema import DIALECT
from autofreeze.values import Value

KEYWORDS = {"gt": "exclusiveMinimum", "ge": "minimum", "lt": "exclusiveMaximum", "le": "maximum"}
"""Bounds that pydantic leaves in its own words, where something else is checked before them."""


def file_schema() -> dict[str, Any]:
    """Give the JSON Schema (draft 2020-12) of a native file of the present version, as plain data."""
    schema = _cleaned(NativeFile.model_json_schema())
    kinds = schema["$defs"]
    for model in set(_models(NativeFile)):
        _describe(schema if model is NativeFile else kinds[model.__name__], model)
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
    """Require of the backbone what only a user's own training can do without."""
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
        "then": {"properties": {"backbone": backbone}},
    }


def _cleaned(schema: Any) -> Any:
    """Leave out titles, which only repeat names, and write bounds as JSON Schema has them."""
    if isinstance(schema, list):
        return [_cleaned(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {key: value for key, value in schema.items() if key != "title" or not isinstance(value, str)}
    return {KEYWORDS.get(key, key): _cleaned(value) for key, value in kept.items()}


def _models(kind: Any) -> Iterator[type[Value]]:
    """Find the values that a type is made of, itself included."""
    if isinstance(kind, type) and issubclass(kind, Value):
        yield kind
        for field in kind.model_fields.values():
            yield from _models(field.annotation)
    for argument in get_args(kind):
        yield from _models(argument)


def _describe(schema: dict[str, Any], model: type[Value]) -> None:
    """Put a line on the value and on each of its fields: the first paragraph of what the code says of it."""
    schema["description"] = _paragraph(inspect.getdoc(model) or "")
    for name, words in _field_words(model).items():
        if name in schema["properties"]:
            schema["properties"][name]["description"] = _paragraph(words)


def _field_words(model: type[Value]) -> dict[str, str]:
    """Read what stands under each field of a class."""
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(model))).body
    assert isinstance(definition, ast.ClassDef)
    return {
        field.target.id: below.value.value
        for field, below in pairwise(definition.body)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)
        if isinstance(below.value.value, str)
    }


def _paragraph(words: str) -> str:
    first = " ".join(inspect.cleandoc(words).split("\n\n")[0].replace("``", "").split())
    return re.sub(r"\bNone\b", "null", first)
