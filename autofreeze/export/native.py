"""The native file: a schedule with everything needed to train by it again."""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from autofreeze.documents import read_yaml, to_yaml
from autofreeze.errors import ConfigError
from autofreeze.export.facts import BackboneFacts, DataFacts
from autofreeze.figures import shown_value
from autofreeze.phrases import sentence
from autofreeze.preprocessing import Preprocessing
from autofreeze.regime import Regime
from autofreeze.results import CurvePoint, StudyResult, TrialResult
from autofreeze.schedule import Schedule
from autofreeze.task import Task
from autofreeze.values import Value

SCHEMA_NAME: Literal["autofreeze/schedule"] = "autofreeze/schedule"
SCHEMA_VERSION: Literal[2] = 2


class NativeFile(Value):
    """What ``autofreeze export`` writes and ``autofreeze train`` reads."""

    format: Literal["autofreeze/schedule"] = SCHEMA_NAME
    version: Literal[2] = SCHEMA_VERSION
    confirmed: bool = False
    """Whether the schedule won on fresh seeds."""

    schedule: Schedule
    regime: Regime
    task: Task | None = None
    """Data, backbone, preprocessing and split that the rates hold for; None where the training was the user's
    own."""

    seed: int
    """Of the first fold's run."""

    backbone: BackboneFacts
    """Digest and source of the weights, preprocessing, parameter names by layer group."""

    data: DataFacts
    """Name, fingerprint, classes and counts."""

    result: dict[str, Any] = Field(default_factory=dict)
    """Trial, metric, value, log loss, validation images."""

    curve: tuple[CurvePoint, ...] = ()
    curve_fused: bool = False
    """Whether the curve is that of a head that was trained beside others (``fused.fit_heads``): one that is
    trained alone follows it up to rounding."""

    curve_views: str = ""
    """Views that the curve's runs saw; those of the regime where it is empty."""

    versions: dict[str, str] = Field(default_factory=dict)

    @property
    def image_task(self) -> Task:
        """The task, which only a search on images has.

        Raises:
            ConfigError: The schedule was found with a training of the user's own.
        """
        if self.task is None:
            raise ConfigError(
                "the schedule was found with a training of your own; train by it there, with "
                "autofreeze.Schedule.load(FILE)"
            )
        return self.task

    @property
    def preprocessing(self) -> Preprocessing:
        """What the backbone takes, which only a search on images knows.

        Raises:
            ConfigError: The schedule was found with a training of the user's own.
        """
        assert self.image_task
        return self.backbone.preprocessing  # type: ignore[return-value]

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
        header = f"{sentence(self.schedule)}\n\n{self.schedule}\n\n{use}"
        return to_yaml(data, header=header)

    @classmethod
    def load(cls, path: str | Path) -> "NativeFile":
        """Read a file that :meth:`to_text` gave.

        Raises:
            ConfigError: The file is missing, of another format or version, or wrong.
        """
        data = read_yaml(path).data
        if not isinstance(data, dict) or data.get("format") != SCHEMA_NAME:
            raise ConfigError(f"no schedule file: it must begin with format: {SCHEMA_NAME}", where=str(path))
        if data.get("version") != SCHEMA_VERSION:
            raise ConfigError(
                f"version: got {data.get('version')!r}; this autofreeze reads {SCHEMA_VERSION}",
                where=str(path),
            )
        schedule = Schedule.from_plain(data.get("schedule"), where=f"{path}: schedule")
        return cls.parse({**data, "schedule": schedule}, where=str(path))


def native_file(result: StudyResult, trial: TrialResult, curve: tuple[CurvePoint, ...]) -> NativeFile:
    """Write down a trial of a search.

    Args:
        result: The search.
        trial: One of its trials.
        curve: The epochs of the trial's first fold.
    """
    found = result.confirmation
    winner = found.winner if found is not None and found.concluded else None
    return NativeFile(
        confirmed=winner is not None and winner.trial == trial.number,
        schedule=trial.schedule,
        regime=trial.regime.for_training,
        task=None if result.kind == "own" else Task.model_validate(result.settings["task"]),
        seed=result.settings["fold_seeds"][0],
        backbone=BackboneFacts.of(result.backbone),
        data=DataFacts.of(result.data),
        result={
            "trial": trial.number,
            "metric": result.metric,
            "value": trial.value if result.kind == "images" else shown_value(result.scale, trial),
            "val_loss": trial.val_loss,
            "fold_values": list(trial.fold_values),
            "n_val": trial.n_val,
        },
        curve=curve,
        curve_fused=bool(curve and trial.members),
        curve_views=trial.regime.views if curve else "",
        versions=result.versions,
    )
