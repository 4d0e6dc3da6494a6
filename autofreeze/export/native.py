"""The native file: a schedule with everything needed to train by it again."""

import math
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

from pydantic import Field, ValidationError, model_validator

from autofreeze.documents import Document, read_yaml, to_yaml
from autofreeze.errors import ConfigError
from autofreeze.export.consistency import disagreements
from autofreeze.export.facts import BackboneFacts, DataFacts
from autofreeze.export.migrations import migrated
from autofreeze.export.searchresult import SearchResult, finite
from autofreeze.fileversion import FORMAT, NEWEST
from autofreeze.job import settings_digest
from autofreeze.phrases import capitalised, sentence
from autofreeze.preprocessing import Preprocessing
from autofreeze.regime import Regime
from autofreeze.results import CurvePoint, StudyResult, TrialResult
from autofreeze.schedule import Schedule, with_listed_cells, with_named_cells
from autofreeze.task import Task
from autofreeze.values import Value, explain

Part = TypeVar("Part", bound=Value)

FOUND_BY_OWN = (
    "the schedule was found with a training of your own, whose model and loop nobody else knows; train by it "
    "there, with autofreeze.Schedule.load(FILE)"
)
"""Why a file without a task serves nothing but :meth:`Schedule.load`."""


class NativeFile(Value):
    """What ``autofreeze export`` writes and ``autofreeze train`` reads."""

    format: Literal["autofreeze/schedule"] = FORMAT
    """What kind of file it is."""

    version: Literal[2] = NEWEST
    """Of the format. Older files are brought up to it as they are read."""

    schedule: Schedule
    """What trains when, and how fast."""

    regime: Regime
    """The rest of a training: the rates hold for it."""

    task: Task | None = None
    """Data, backbone, preprocessing and split that the rates hold for; None where the training was the user's
    own."""

    seed: int = Field(ge=0)
    """Of the first fold's run."""

    backbone: BackboneFacts
    """Which weights, how pixels become what they expect, and the parameters of each layer group."""

    data: DataFacts
    """Which images: name, fingerprint, classes and counts."""

    result: SearchResult | None = None
    """How good the schedule was, and how sure that is; None where it was not searched."""

    curve: tuple[CurvePoint, ...] = ()
    """Epochs of the trial's first fold, to compare a new training with. Values are objectives, of which more
    is better: of a log loss exp(-loss). Of a user's own training they are as people read them."""

    curve_fused: bool = False
    """Whether the curve is that of a head that was trained beside others (``fused.fit_heads``): one that is
    trained alone follows it up to rounding."""

    curve_views: str = ""
    """Views that the curve's runs saw; those of the regime where it is empty."""

    versions: dict[str, str] = Field(default_factory=dict)
    """Of Python and of the packages with which the schedule was found."""

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        found = disagreements(self.schedule, self.task, self.backbone, self.data, self.result)
        if found:
            raise ValueError("\n".join(found))
        return self

    @property
    def confirmed(self) -> bool:
        """Whether the schedule won on fresh seeds."""
        return self.result is not None and self.result.confirmed and not self.edited

    @property
    def edited(self) -> bool:
        """Whether schedule or regime have been edited since they were found: result and curve are others'."""
        found = self.result.settings if self.result else ""
        return bool(found) and found != settings_digest(self.schedule, self.regime)

    @property
    def standing(self) -> str:
        """Say in words how good the schedule is, and how sure that is."""
        if self.result is None:
            return "suggested by rule, not searched"
        if self.edited:
            return "edited since it was found: what the search found is another schedule's"
        return self.result.standing

    @property
    def image_task(self) -> Task:
        """The task, which only a search on images has.

        Raises:
            ConfigError: The schedule was found with a training of the user's own.
        """
        if self.task is None:
            raise ConfigError(FOUND_BY_OWN)
        return self.task

    @property
    def preprocessing(self) -> Preprocessing:
        """What the backbone takes, which only a search on images knows.

        Raises:
            ConfigError: The schedule was found with a training of the user's own.
        """
        if self.backbone.preprocessing is None:
            raise ConfigError(FOUND_BY_OWN)
        return self.backbone.preprocessing

    def to_plain(self) -> dict[str, Any]:
        """Give the file as plain data for YAML and JSON, each cell under the name of its group."""
        return self.model_dump(mode="json") | {"schedule": self.schedule.to_plain()}

    def to_text(self) -> str:
        """Write the file as YAML with a header for people."""
        data = self.to_plain()
        use = (
            "Load it:  autofreeze.Schedule.load(FILE)"
            if self.task is None
            else "Train by it:  autofreeze train FILE DATA"
        )
        standing = f"{capitalised(self.standing)}."
        return to_yaml(data, header=f"{sentence(self.schedule)}\n\n{self.schedule}\n\n{standing}\n\n{use}")

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a file that :meth:`to_text` gave, or the same as JSON; one of an earlier version is migrated.

        Raises:
            ConfigError: The file is missing, of another format, of a version from the future, or wrong:
                everything wrong is told at once, with lines.
        """
        return cls.from_document(read_yaml(path), where=str(path))

    @classmethod
    def from_document(cls, document: Document, *, where: str = "") -> Self:
        """Read a parsed file; see :meth:`load`."""
        data = document.data
        if not isinstance(data, dict) or data.get("format") != FORMAT:
            raise ConfigError(f"no schedule file: it must begin with format: {FORMAT}", where=where)
        data = migrated(data, where=where)
        written = data.get("schedule")
        schedule, cells = with_listed_cells(written)
        problems = [f"schedule.{line}" for line in cells]
        read = _frozen({**data, "schedule": schedule} if "schedule" in data else data)
        try:
            file = cls.model_validate(read, strict=True)
        except ValidationError as error:
            found = explain(error, known=list(cls.model_fields))
            problems += with_named_cells(found, written, "schedule.")
            problems += _disagreements_in(read)
        if problems:
            raise ConfigError(document.located(dict.fromkeys(problems)), where=where)
        return file


def _frozen(plain: Any) -> Any:
    """Turn lists into tuples, as values have them: numbers in quotes can then be refused."""
    if isinstance(plain, dict):
        return {name: _frozen(value) for name, value in plain.items()}
    return tuple(map(_frozen, plain)) if isinstance(plain, list) else plain


def _disagreements_in(data: dict[str, Any]) -> list[str]:
    """Tell what does not fit together in plain data of which not all can be read."""
    return disagreements(
        _part(data, "schedule", Schedule),
        _part(data, "task", Task),
        _part(data, "backbone", BackboneFacts),
        _part(data, "data", DataFacts),
        _part(data, "result", SearchResult),
    )


def _part(data: dict[str, Any], name: str, kind: type[Part]) -> Part | None:
    try:
        return kind.model_validate(data.get(name), strict=True)
    except ValidationError:
        return None


def native_file(
    result: StudyResult, trial: TrialResult, curve: tuple[CurvePoint, ...], *, study: str = ""
) -> NativeFile:
    """Write down a trial of a search.

    Args:
        result: The search.
        trial: One of its trials.
        curve: The epochs of the trial's first fold; those after which it was no longer finite are left out.
        study: Hash of what was searched.
    """
    own = result.kind == "own"
    curve = told(curve, own=own)
    return NativeFile(
        schedule=trial.schedule,
        regime=trial.regime.for_training,
        task=None if own else Task.model_validate(result.settings["task"]),
        seed=result.settings["fold_seeds"][0],
        backbone=BackboneFacts.of(result.backbone),
        data=DataFacts.of(result.data),
        result=SearchResult.of(result, trial, study=study),
        curve=curve,
        curve_fused=bool(curve and trial.members),
        curve_views=trial.regime.views if curve else "",
        versions=result.versions,
    )


def told(curve: Sequence[CurvePoint], *, own: bool) -> tuple[CurvePoint, ...]:
    """Give a curve as far as its numbers are finite.

    Args:
        curve: Epochs of a run.
        own: Whether the training was the user's own: a loss that it did not tell is left out, no epoch.
    """
    if own:
        losses = ("train_loss", "val_loss")
        return tuple(
            point.model_copy(update={name: finite(getattr(point, name)) for name in losses})
            for point in curve
        )
    return tuple(takewhile(_all_finite, curve))


def _all_finite(point: CurvePoint) -> bool:
    return all(value is None or math.isfinite(value) for value in dict(point).values())
