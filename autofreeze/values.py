"""The base of every value that autofreeze keeps: frozen, checked once at birth, compared by content."""

import hashlib
import json
import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from autofreeze.errors import ConfigError


class Value(BaseModel):
    """A frozen value. Unknown keys are refused; NaN and infinities are written as text in JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings", allow_inf_nan=True)

    @classmethod
    def parse(cls, data: object, *, where: str = "") -> Self:
        """Build the value from plain data, all problems told together.

        Args:
            data: What a YAML or JSON file holds.
            where: What to name in the error, usually the file.

        Raises:
            ConfigError: Anything is missing, unknown or out of range.
        """
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise ConfigError(explain(error, known=list(cls.model_fields)), where=where) from None

    def plain(self) -> dict[str, Any]:
        """Give it as plain data that any reader of JSON takes: NaN and infinities as text."""
        data: dict[str, Any] = json.loads(self.model_dump_json())
        return data

    @property
    def digest(self) -> str:
        """Hash of the content, 16 hexadecimal digits; equal values have equal digests."""
        return digest_of(self.model_dump(mode="json"))


def digest_of(data: object) -> str:
    """Hash plain data (JSON types) to 16 hexadecimal digits, whatever the order of its keys."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def did_you_mean(name: str, known: list[str]) -> str:
    """Give ``; did you mean …?`` when a known name is near, else the list of known names."""
    near = get_close_matches(name.replace("-", "_"), known, n=3, cutoff=0.6)
    if near:
        return f"; did you mean {' or '.join(near)}?"
    return f"; known: {', '.join(known)}" if known else ""


def refuse_bool(value: object) -> object:
    """Refuse true and false where a number is meant: they would count as 1 and 0."""
    if isinstance(value, bool):
        raise ValueError(f"got {value}; must be a number")
    return value


def explain(error: ValidationError, *, known: list[str] | None = None) -> list[str]:
    """Put pydantic's findings into one line each: path, what was given, what is allowed."""
    items = error.errors(include_url=False)
    deeper = {item["loc"][:length] for item in items for length in range(len(item["loc"]))}
    # A list whose items are wrong is also told to be too short: the items' own lines say enough.
    items = [item for item in items if item["type"] != "too_short" or item["loc"] not in deeper]
    return [line for item in items for line in _explain_one(item, known or []).split("\n")]


_KINDS = {
    "float_type": "a number", "float_parsing": "a number", "finite_number": "a finite number",
    "int_type": "a whole number", "int_parsing": "a whole number", "int_from_float": "a whole number",
    "int_parsing_size": "a whole number",
    "string_type": "text", "bool_type": "true or false", "bool_parsing": "true or false",
    "tuple_type": "a list", "list_type": "a list", "model_type": "a mapping", "dict_type": "a mapping",
}  # fmt: skip
"""pydantic's kinds of error -> what is allowed, in the words of a YAML file."""

_PATH = re.compile(r"[a-z_]+(\.[\w~-]+)*: ")
"""How a line begins that names a field itself: ``phases.0.lrs: got ...``."""

_LONGEST = 80
"""Characters of a wrong value that a message repeats."""


def _explain_one(item: Mapping[str, Any], known: list[str]) -> str:
    path = ".".join(str(part) for part in item["loc"])
    head = f"{path}: " if path else ""
    if item["type"] == "extra_forbidden":
        return f"{head}unknown{did_you_mean(str(item['loc'][-1]), known) if len(item['loc']) == 1 else ''}"
    if item["type"] == "missing":
        return f"{head}missing"
    message = item["msg"].removeprefix("Value error, ")
    if item["type"] == "value_error":
        lines = message.split("\n")
        return "\n".join(f"{path}.{line}" if path and _PATH.match(line) else head + line for line in lines)
    given = repr(item["input"])
    given = given if len(given) <= _LONGEST else f"{given[:_LONGEST]}…"
    if item["type"] == "too_short":
        return f"{head}got {given}; must hold at least {item['ctx']['min_length']}"
    if item["type"] == "string_too_short":
        return f"{head}got {given}; must not be empty"
    return f"{head}got {given}; must be {_KINDS.get(item['type'], message.removeprefix('Input should be '))}"
