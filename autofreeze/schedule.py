"""The schedule: a table of phases by layer groups, each cell a learning rate or frozen."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from autofreeze.errors import ConfigError
from autofreeze.fileversion import FORMAT, version_of
from autofreeze.values import Value, did_you_mean, refuse_bool

if TYPE_CHECKING:
    import torch

    from autofreeze.binding import BoundSchedule

Curve = Literal["constant", "cosine"]
CurveSpan = Literal["run", "phase"]

Rate = Annotated[float, BeforeValidator(refuse_bool), Field(gt=0, allow_inf_nan=False)]
"""A learning rate. To freeze a group, write no rate (null, None) instead of 0."""

Epochs = Annotated[float, BeforeValidator(refuse_bool), Field(gt=0, le=100_000, allow_inf_nan=False)]


class Phase(Value):
    """One row of the table: for how long, and the rate of each column."""

    epochs: Epochs
    """Length in epochs, as a decimal number."""

    lrs: tuple[Rate | None, ...]
    """One cell for each layer group, stem first, head last. ``None`` means frozen."""


class Schedule(Value):
    """What trains when, and how fast: one row per phase, one column per layer group.

    Everything reads :meth:`Timetable.rate`: the trainer, the drawing, the exporters and the tests.
    """

    groups: tuple[str, ...] = Field(min_length=1)
    """Names of the columns, stem first, head last."""

    phases: tuple[Phase, ...]
    """Rows in order of time, at least one."""

    curve: Curve = "cosine"
    """Shape of the rate curve: each cell is multiplied by a factor that falls from 1 to 0, or stays 1."""

    curve_over: CurveSpan = "run"
    """Whether the curve spans the whole run, or starts again with each phase."""

    lr_ramp_epochs: Annotated[float, BeforeValidator(refuse_bool)] = Field(
        default=0.0, ge=0, allow_inf_nan=False
    )
    """Epochs over which the rate climbs linearly at the start of the curve. Not a head-only warm-up."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        problems = [] if self.phases else ["phases: got none; must be at least one"]
        if len(set(self.groups)) != len(self.groups):
            problems.append(f"groups: names must differ, got {', '.join(self.groups)}")
        for number, phase in enumerate(self.phases):
            if len(phase.lrs) != len(self.groups):
                problems.append(
                    f"phases.{number}.lrs: got {len(phase.lrs)} cells; must be one for each of the "
                    f"{len(self.groups)} groups"
                )
            elif all(lr is None for lr in phase.lrs):
                problems.append(f"phases.{number}.lrs: every group is frozen; at least one must train")
        if self.lr_ramp_epochs > self.epochs + 1e-9:  # lengths are rounded to nine digits
            problems.append(
                f"lr_ramp_epochs: got {self.lr_ramp_epochs:g}; must not exceed the run's "
                f"{self.epochs:g} epochs"
            )
        if problems:
            raise ValueError("\n".join(problems))
        return self

    @property
    def epochs(self) -> float:
        """Length of the whole run in epochs."""
        return round(math.fsum(phase.epochs for phase in self.phases), 9)

    @property
    def phase_ends(self) -> tuple[float, ...]:
        """Epochs after which each phase ends."""
        return tuple(round(total, 9) for total in accumulate(phase.epochs for phase in self.phases))

    @property
    def warmup_epochs(self) -> float:
        """Epochs at the start in which only the head trains; the whole run for a linear probe."""
        total = 0.0
        for phase in self.phases:
            if self._depth(phase) > 0 or phase.lrs[-1] is None:
                break
            total += phase.epochs
        return round(total, 9)

    @property
    def unfreeze_depth(self) -> int:
        """How many backbone groups, counted from the head, train at some time; 0 is a linear probe."""
        return max(self._depth(phase) for phase in self.phases)

    def _depth(self, phase: Phase) -> int:
        """Backbone groups from the head down to the lowest that trains in the phase."""
        lowest = next(column for column, lr in enumerate(phase.lrs) if lr is not None)
        return max(len(self.groups) - 1 - lowest, 0)

    def canonical(self) -> "Schedule":
        """Give the same schedule with neighbouring equal rows merged where that changes no rate."""
        if self.curve_over == "phase" and (self.curve != "constant" or self.lr_ramp_epochs):
            return self
        rows: list[Phase] = []
        for phase in self.phases:
            if rows and rows[-1].lrs == phase.lrs:
                phase = Phase(epochs=round(rows.pop().epochs + phase.epochs, 9), lrs=phase.lrs)
            rows.append(phase)
        return self.model_copy(update={"phases": tuple(rows)})

    def scaled(self, epochs: float) -> "Schedule":
        """Stretch or shrink the whole schedule to another length, all phases in proportion.

        Args:
            epochs: New length of the run, > 0.
        """
        factor = epochs / self.epochs
        return Schedule(
            groups=self.groups,
            phases=tuple(Phase(epochs=phase.epochs * factor, lrs=phase.lrs) for phase in self.phases),
            curve=self.curve,
            curve_over=self.curve_over,
            lr_ramp_epochs=self.lr_ramp_epochs * factor,
        )

    def timetable(self, steps_per_epoch: int) -> "Timetable":
        """Resolve decimal epochs to optimizer steps.

        Args:
            steps_per_epoch: Optimizer steps in one epoch, >= 1.
        """
        return Timetable(self, steps_per_epoch)

    def bind(self, model: "torch.nn.Module", *, steps_per_epoch: int = 1, **options: Any) -> "BoundSchedule":
        """Tie the schedule to a timm model, for people with a training loop of their own.

        Args:
            model: A timm model whose layer groups bear the names in :attr:`groups`.
            steps_per_epoch: Optimizer steps in one epoch of your loop, however many micro-batches make up a
                step; with 1, rates change once per epoch.
            options: As for :func:`autofreeze.binding.bind`: ``regime``, ``image_size``.

        Returns:
            An object with ``optimizer``, ``start_epoch(e)`` and ``start_step(s)``. Both say whether other
            groups train than before: then wrap the model in ``DistributedDataParallel`` again.

        Raises:
            BackboneError: The model's layer groups are not those of the schedule, or it is wrapped already.
            ConfigError: ``steps_per_epoch`` is no whole number >= 1.
        """
        from autofreeze.binding import bind  # torch loads only for those who train

        return bind(self, model, steps_per_epoch=steps_per_epoch, **options)

    @classmethod
    def load(cls, path: str | Path) -> "Schedule":
        """Read a schedule from YAML: a bare schedule, or a file that ``autofreeze export`` wrote.

        Raises:
            ConfigError: The file is missing, is not YAML, is of a version from the future, or holds no valid
                schedule.
        """
        from autofreeze.documents import read_yaml

        data = read_yaml(path).data
        if isinstance(data, dict) and "schedule" in data:
            if data.get("format") == FORMAT:
                version_of(data, where=str(path))
            data = data["schedule"]
        return cls.from_plain(data, where=str(path))

    def save(self, path: str | Path) -> None:
        """Write the bare schedule as YAML; :meth:`load` gives it back equal."""
        from autofreeze.documents import write_yaml

        write_yaml(path, self.to_plain())

    def to_plain(self) -> dict[str, Any]:
        """Give the schedule as plain data for YAML, each cell under the name of its group."""
        data = self.model_dump(mode="json")
        for phase in data["phases"]:
            phase["lrs"] = dict(zip(self.groups, phase["lrs"], strict=True))
        return data

    @classmethod
    def from_plain(cls, data: object, *, where: str = "") -> "Schedule":
        """Read what :meth:`to_plain` gave. Cells may be keyed by group in any order, or a plain list.

        Raises:
            ConfigError: Something is missing, unknown or out of range.
        """
        read, problems = with_listed_cells(data)
        try:
            schedule = cls.parse(read, where=where)
        except ConfigError as error:
            raise ConfigError([*problems, *with_named_cells(error.problems, data)], where=where) from None
        if problems:
            raise ConfigError(problems, where=where)
        return schedule

    def __str__(self) -> str:
        rows = [("phase", "epochs", *self.groups)]
        for number, phase in enumerate(self.phases):
            cells = ("–" if lr is None else format_rate(lr) for lr in phase.lrs)
            rows.append((str(number), f"{phase.epochs:.4g}", *cells))
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines = [
            "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows
        ]
        return "\n".join([*lines, f"rate curve: {self.curve_words}"])

    @property
    def curve_words(self) -> str:
        """The rate curve in words."""
        words = "constant" if self.curve == "constant" else f"cosine over each {self.curve_over}"
        words = words.replace("each run", "the run")
        return words + (f", ramp of {self.lr_ramp_epochs:g} epochs" if self.lr_ramp_epochs else "")


def with_listed_cells(data: object) -> tuple[object, list[str]]:
    """Turn the cells of a schedule that are keyed by group into lists, as :class:`Schedule` has them.

    Args:
        data: A schedule as plain data, which may be wrong in any way.

    Returns:
        The schedule, and which names of cells are unknown or missing.
    """
    if not isinstance(data, dict) or not isinstance(data.get("phases"), list):
        return data, []
    read = [_listed(phase, _groups_of(data)) for phase in data["phases"]]
    problems = [f"phases.{row}.lrs.{line}" for row, (_, lines) in enumerate(read) for line in lines]
    return {**data, "phases": [phase for phase, _ in read]}, problems


def with_named_cells(problems: Sequence[str], data: object, path: str = "") -> list[str]:
    """Name the groups in problems that name cells by their place, where they were keyed by group.

    Args:
        problems: Such as ``phases.0.lrs.2: got 'fast'; must be a number``.
        data: The schedule as it was written.
        path: What stands before ``phases``.
    """
    if not isinstance(data, dict) or not _groups_of(data):
        return list(problems)

    def named(found: re.Match[str]) -> str:
        cells = data["phases"][int(found[2])]["lrs"]
        return found[1] + (str(_groups_of(data)[int(found[3])]) if isinstance(cells, dict) else found[3])

    cell = re.compile(rf"^({re.escape(path)}phases\.(\d+)\.lrs\.)(\d+)(?=:)")
    return [cell.sub(named, problem) for problem in problems]


def _groups_of(data: Mapping[str, Any]) -> list[str]:
    """Give the names of the columns; none where they are wrong themselves."""
    groups = data.get("groups")
    return groups if isinstance(groups, list) and all(isinstance(name, str) for name in groups) else []


def _listed(phase: object, groups: list[str]) -> tuple[object, list[str]]:
    if not isinstance(phase, dict) or not isinstance(phase.get("lrs"), dict):
        return phase, []
    cells = phase["lrs"]
    if not groups:
        return {**phase, "lrs": list(cells.values())}, []  # the groups themselves are wrong, and told
    unknown = [f"{name}: unknown{did_you_mean(str(name), groups)}" for name in cells if name not in groups]
    missing = [f"{group}: missing" for group in groups if group not in cells]
    # A missing cell is told as such: the stand-in keeps it from being told a second time as frozen.
    return {**phase, "lrs": [cells.get(group, 1.0) for group in groups]}, unknown + missing


@dataclass(frozen=True)
class Timetable:
    """A schedule at a given number of steps per epoch. Pure: the same step always has the same rates."""

    schedule: Schedule
    steps_per_epoch: int

    def __post_init__(self) -> None:
        if self.steps_per_epoch < 1:
            raise ValueError(f"steps_per_epoch: got {self.steps_per_epoch}; must be >= 1")

    @cached_property
    def ends(self) -> tuple[int, ...]:
        """Step at which each phase ends (exclusive). A phase shorter than half a step may be empty."""
        marks = [round(end * self.steps_per_epoch) for end in self.schedule.phase_ends]
        marks[-1] = max(marks[-1], 1)
        return tuple(marks)

    @property
    def total_steps(self) -> int:
        """Steps of the whole run, at least 1."""
        return self.ends[-1]

    @cached_property
    def epoch_ends(self) -> tuple[int, ...]:
        """Step (exclusive) at which each epoch ends; the last epoch may be shorter than the others."""
        whole = range(self.steps_per_epoch, self.total_steps, self.steps_per_epoch)
        return (*whole, self.total_steps)

    def phase_at(self, step: int) -> int:
        """Index of the row that holds at a step.

        Args:
            step: 0 .. total_steps - 1.
        """
        if not 0 <= step < self.total_steps:
            raise IndexError(f"step: got {step}; must lie in 0..{self.total_steps - 1}")
        return next(number for number, end in enumerate(self.ends) if step < end)

    def phase_start(self, phase: int) -> int:
        """First step of a row."""
        return self.ends[phase - 1] if phase else 0

    def rate(self, group: int | str, step: int) -> float | None:
        """Learning rate of one layer group at one step: the cell times the rate curve; None is frozen.

        Args:
            group: Column index or name.
            step: 0 .. total_steps - 1.
        """
        column = self.schedule.groups.index(group) if isinstance(group, str) else group
        phase = self.phase_at(step)
        cell = self.schedule.phases[phase].lrs[column]
        return None if cell is None else cell * self.factor(step)

    def rates(self, step: int) -> tuple[float | None, ...]:
        """Rates of all columns at one step."""
        cells = self.schedule.phases[self.phase_at(step)].lrs
        factor = self.factor(step)
        return tuple(None if cell is None else cell * factor for cell in cells)

    def factor(self, step: int) -> float:
        """Value of the rate curve at one step, in (0, 1].

        The cosine is 0.5·(1 + cos(π·t/T)) for step t of the T steps of its span (SGDR, arXiv 1608.03983,
        without restarts); a ramp multiplies the first r steps by (t + 1)/r. A phase that is shorter than its
        ramp ends while the rate is still climbing.
        """
        phase = self.phase_at(step)
        over_run = self.schedule.curve_over == "run"
        start, end = (0, self.total_steps) if over_run else (self.phase_start(phase), self.ends[phase])
        position = step - start
        factor = 1.0
        if self.schedule.curve == "cosine":
            factor = 0.5 * (1 + math.cos(math.pi * position / (end - start)))
        ramp = round(self.schedule.lr_ramp_epochs * self.steps_per_epoch)
        return factor * min(1.0, (position + 1) / ramp) if ramp else factor

    def trainable(self, step: int) -> tuple[bool, ...]:
        """Which columns train at one step."""
        return tuple(lr is not None for lr in self.schedule.phases[self.phase_at(step)].lrs)

    @cached_property
    def last_unfreeze(self) -> int:
        """First step of the last row that thaws a group frozen in the row before it; 0 without one."""
        result = 0
        rows = self._filled_rows()
        for (_, before), (start, after) in pairwise(rows):
            if any(old is None and new is not None for old, new in zip(before, after, strict=True)):
                result = start
        return result

    def _filled_rows(self) -> list[tuple[int, tuple[float | None, ...]]]:
        """First step and cells of every row that lasts at least one step."""
        rows = []
        for number, phase in enumerate(self.schedule.phases):
            if self.ends[number] > self.phase_start(number):
                rows.append((self.phase_start(number), phase.lrs))
        return rows


def format_rate(rate: float) -> str:
    """Write a learning rate short: 0.003 as ``3e-3``, with three digits."""
    mantissa, exponent = f"{rate:.2e}".split("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"


def round_rate(rate: float) -> float:
    """Round to six significant digits, so that equal tables are equal and files stay readable."""
    return float(f"{rate:.6g}")


def rows_of(rows: Sequence[tuple[float, Sequence[float | None]]]) -> tuple[Phase, ...]:
    """Build phases from (epochs, cells), leaving out rows without length and rounding rates.

    Ends are rounded, not lengths, so that the rounded lengths still add up to the run.
    """
    phases, total, start = [], 0.0, 0.0
    for epochs, cells in rows:
        total += epochs
        length = round(round(total, 9) - start, 9)
        if length > 0:
            lrs = tuple(None if lr is None else round_rate(lr) for lr in cells)
            phases.append(Phase(epochs=length, lrs=lrs))
            start = round(total, 9)
    return tuple(phases)
