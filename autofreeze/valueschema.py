"""JSON Schemas of values: in the words of JSON Schema, with a line on each value and each of its fields."""

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, get_args

from autofreeze.values import Value

DIALECT = "https://json-schema.org/draft/2020-12/schema"

KEYWORDS = {"gt": "exclusiveMinimum", "ge": "minimum", "lt": "exclusiveMaximum", "le": "maximum"}
"""Bounds that pydantic leaves in its own words, where something else is checked before them."""


def cleaned(schema: Any) -> Any:
    """Leave out titles, which only repeat names, and write bounds as JSON Schema has them."""
    if isinstance(schema, list):
        return [cleaned(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {key: value for key, value in schema.items() if key != "title" or not isinstance(value, str)}
    return {KEYWORDS.get(key, key): cleaned(value) for key, value in kept.items()}


def kinds_in(kind: Any) -> Iterator[type[Value]]:
    """Find the values that a type is made of, itself included."""
    if isinstance(kind, type) and issubclass(kind, Value):
        yield kind
        for field in kind.model_fields.values():
            yield from kinds_in(field.annotation)
    for argument in get_args(kind):
        yield from kinds_in(argument)


def describe(schema: dict[str, Any], model: type[Value]) -> None:
    """Put a line on the value and on each of its fields: the first paragraph of what the code says of it."""
    schema["description"] = _paragraph(inspect.getdoc(model) or "")
    for name, words in _field_words(model).items():
        if name in schema.get("properties", {}):
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
