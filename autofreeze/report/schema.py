"""The JSON Schema of ``report.json``: of the search on one data set, or of the summary of several.

Made from the values that are written, with a line on each. It is that of the reports of this version, which
always hold every key; an earlier version wrote fewer.
"""

from collections.abc import Mapping
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, models_json_schema
from pydantic_core import core_schema

from autofreeze.evidence import Evidence
from autofreeze.regime import Regime
from autofreeze.report.comparison import Compared
from autofreeze.report.report import DERIVED, EVIDENCE
from autofreeze.report.stability import Stability
from autofreeze.results import Ending, StudyResult, SummaryResult
from autofreeze.values import Value
from autofreeze.valueschema import DIALECT, cleaned, describe, kinds_in
from autofreeze.verdict import Verdict

NOT_FINITE = ["NaN", "Infinity", "-Infinity"]
"""What stands for numbers that JSON does not have."""

WRITTEN: tuple[type[Value], ...] = (StudyResult, Verdict, Compared, Stability, Evidence, SummaryResult)

WRITING: JsonSchemaMode = "serialization"


class _AsWritten(GenerateJsonSchema):
    """Every key is there, and numbers that are not finite are texts."""

    def float_schema(self, schema: core_schema.FloatSchema) -> dict[str, Any]:
        return {"anyOf": [super().float_schema(schema), {"enum": NOT_FINITE}]}

    def field_is_required(self, *_: object, **__: object) -> bool:
        return True


def report_schema() -> dict[str, Any]:
    """Give the JSON Schema (draft 2020-12) of ``report.json``, as plain data."""
    _, schema = models_json_schema([(kind, WRITING) for kind in WRITTEN], schema_generator=_AsWritten)
    kinds: dict[str, Any] = cleaned(schema["$defs"])
    # What writes a regime leaves keys out, of which pydantic cannot tell.
    kinds[Regime.__name__] = cleaned(Regime.model_json_schema())
    for kind in {found for one in WRITTEN for found in kinds_in(one)}:
        describe(kinds[_key(kind, kinds)], kind)
    result = kinds.pop(StudyResult.__name__)
    derived = _derived()
    kinds["Report"] = {
        **result,
        "description": "The search on one data set: what follows from it first, then all that it found.",
        "properties": {**derived, **result["properties"], EVIDENCE: _ref(Evidence)},
        "required": [*derived, *result["required"], EVIDENCE],
    }
    return {
        "$schema": DIALECT,
        "title": "autofreeze report",
        "description": "report.json of a run folder: the search on one data set, or the summary of several.",
        "oneOf": [{"$ref": "#/$defs/Report"}, _ref(SummaryResult)],
        "$defs": dict(sorted(kinds.items())),
    }


def _key(kind: type[Value], kinds: Mapping[str, Any]) -> str:
    """Find the name of a value in a schema: with its module's where two have the same."""
    name = kind.__name__
    return name if name in kinds else f"{kind.__module__.replace('.', '__')}__{name}"


def _derived() -> dict[str, Any]:
    """Describe the keys that follow from the result."""
    best = {
        "type": "object",
        "properties": {"trial": {"type": "integer"}, "sentence": {"type": "string"}},
        "required": ["trial", "sentence"],
        "additionalProperties": False,
    }
    found = {
        "verdict": _ref(Verdict),
        "confirmed": {"type": "boolean", "description": "Whether the winner was confirmed on fresh seeds."},
        "best": {
            "anyOf": [best, {"type": "null"}],
            "description": "The best schedule: its trial, and what it does; null where there is none.",
        },
        "compared": {
            "type": "array",
            "items": _ref(Compared),
            "description": "The best schedule beside the others, the best one first.",
        },
        "stability": _ref(Stability),
        "endings": {
            "type": "object",
            "propertyNames": {"enum": [one.value for one in Ending]},
            "additionalProperties": {"type": "integer", "minimum": 1},
            "description": "How many trials ended so; those that none did are left out.",
        },
        "work": {"type": "number", "description": "Forward-equivalents spent on all trials."},
    }
    return {name: found[name] for name in DERIVED}


def _ref(kind: type[Value]) -> dict[str, Any]:
    return {"$ref": f"#/$defs/{kind.__name__}"}
