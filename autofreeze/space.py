"""Search spaces: which schedules and regimes a study may try.

A :class:`SpaceSpec` is what a YAML file says, whatever the model and the length of the run. Resolved for
the columns of one model and one length it is a :class:`Space`, which draws from any Optuna trial.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from autofreeze import recipes
from autofreeze.axes import (
    DEFAULTS,
    EPOCH_AXES,
    REGIME_AXES,
    SCHEDULE_AXES,
    WHOLE_AXES,
    Axis,
    Choice,
    Range,
    Scalar,
    Shape,
    override,
    percent,
    read_axes,
)
from autofreeze.documents import Document, parse_yaml, read_yaml
from autofreeze.errors import ConfigError
from autofreeze.regime import Regime
from autofreeze.schedule import Schedule
from autofreeze.values import Value, did_you_mean
from autofreeze.views import crops

AS_USUAL = ("optimizer", "views", "erase")
"""Axes of which a baseline takes what is usual, where it may: its rates are for one optimizer, and what is
compared with should see the images as people show them."""


class Trial(Protocol):
    """What a space asks of a trial: Optuna's ``Trial`` and ``FixedTrial`` have it."""

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """Draw a decimal number."""
        ...

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        """Draw a whole number."""
        ...

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """Draw one of a list."""
        ...


class SpaceSpec(Value):
    """A search space as written: an axis for each name; what is left out has its default, fixed."""

    name: str
    shape: Shape = "flat"
    axes: dict[str, Axis]

    @classmethod
    def load(cls, name_or_path: str | Path) -> "SpaceSpec":
        """Read a shipped space by name, or a YAML file by path.

        Raises:
            ConfigError: No such space, or the file is wrong: everything wrong is told at once, with lines.
        """
        path = Path(name_or_path)
        if path.suffix not in (".yaml", ".yml"):
            path = shipped_spaces().get(str(name_or_path), path)
            if path.suffix not in (".yaml", ".yml"):
                hint = did_you_mean(str(name_or_path), list(shipped_spaces()))
                raise ConfigError(
                    f"no search space is called {str(name_or_path)!r}{hint}; or give a .yaml file"
                )
        return cls.from_document(read_yaml(path), name=path.stem, where=str(name_or_path))

    @classmethod
    def from_text(cls, text: str, *, name: str = "space") -> "SpaceSpec":
        """Read a space from YAML text; see :meth:`load`."""
        return cls.from_document(parse_yaml(text, where=name), name=name, where=name)

    @classmethod
    def from_document(cls, document: Document, *, name: str, where: str) -> "SpaceSpec":
        """Check a parsed YAML file and build the space."""
        if not isinstance(document.data, dict):
            raise ConfigError("must be a mapping of axis names to ranges, lists or values", where=where)
        data = dict(document.data)
        shape = data.pop("shape", "flat")
        if not isinstance(shape, str) or shape not in SCHEDULE_AXES:
            raise ConfigError(f"shape: got {shape!r}; must be one of {', '.join(SCHEDULE_AXES)}", where=where)
        axes, problems = read_axes(data, document, shape)
        if problems:
            raise ConfigError(problems, where=where)
        return cls(name=name, shape=shape, axes=axes)

    def overridden(self, **given: Scalar | None) -> "SpaceSpec":
        """Fix axes of the regime, whatever the space says of them; None leaves one as it is.

        Raises:
            ConfigError: A value is none that the axis may have, or they do not go together; all are told.
        """
        axes, problems = override(
            self.axes, {name: value for name, value in given.items() if value is not None}
        )
        if problems:
            raise ConfigError(problems)
        return self.model_copy(update={"axes": axes})

    def resolve(self, groups: Sequence[str], epochs: float) -> "Space":
        """Fit the space to the columns of a model and the length of a run.

        Raises:
            ConfigError: A range does not fit them, such as a depth beyond the backbone; all are told.
        """
        return Space(self, tuple(groups), epochs)


def shipped_spaces() -> dict[str, Path]:
    """Name -> file of the spaces that come with autofreeze."""
    package = Path(__file__).parent
    for folder in (package / "search_spaces", package.parent / "search_spaces"):
        if folder.is_dir():
            return {path.stem: path for path in sorted(folder.glob("*.yaml"))}
    return {}


@dataclass(frozen=True)
class Space:
    """A search space for one model and one length of run.

    Every axis is drawn in every trial, under the same name, so that a sampler sees one joint model.
    """

    spec: SpaceSpec
    groups: tuple[str, ...]
    epochs: float

    def __post_init__(self) -> None:
        _ = self.axes  # resolved at once, so that what does not fit is told before anything runs

    def suggest(self, trial: Trial) -> tuple[Schedule, Regime]:
        """Draw a schedule and a regime.

        Args:
            trial: Any Optuna trial, or anything with its ``suggest_*`` methods.
        """
        return self.build({name: _draw(trial, name, axis) for name, axis in self.axes.items()})

    @cached_property
    def axes(self) -> dict[str, "Range | Choice | Scalar"]:
        """Every axis by the name it has in the study, its ends resolved to numbers."""
        shape_axes = SCHEDULE_AXES[self.spec.shape]
        written = {name: DEFAULTS[name] for name in shape_axes if name in DEFAULTS} | self.spec.axes
        resolved: dict[str, Axis] = {}
        problems: list[str] = []
        for name in (*shape_axes, *REGIME_AXES):
            if name not in written:
                continue
            try:
                axis = self._resolve(name, written[name])
            except ConfigError as error:
                problems += error.problems
                continue
            if name == "group_offset":
                if self._frees_each_group(written):
                    resolved |= {f"group_offset_{turn + 1}": axis for turn in range(self.n_backbone)}
            else:
                resolved[name] = axis
        if problems:
            raise ConfigError(problems)
        return resolved

    @property
    def n_backbone(self) -> int:
        """Layer groups below the head."""
        return len(self.groups) - 1

    @property
    def searched(self) -> dict[str, "Range | Choice"]:
        """The axes that are not fixed."""
        return {name: axis for name, axis in self.axes.items() if isinstance(axis, Range | Choice)}

    @property
    def fixed_regime(self) -> Regime:
        """The regime with its fixed axes, and the defaults of those that are searched.

        Of an optimizer and of views that are searched, the default where it is an option, else the first one.
        """
        fixed: dict[str, Any] = {
            name: axis
            for name, axis in self.axes.items()
            if name in REGIME_AXES and not isinstance(axis, Range | Choice)
        }
        for name in AS_USUAL:
            searched = self.axes.get(name)
            if isinstance(searched, Choice) and getattr(Regime(), name) not in searched.options:
                fixed[name] = searched.options[0]
        return _regime(fixed)

    def build(self, params: Mapping[str, Any]) -> tuple[Schedule, Regime]:
        """Build the schedule and the regime of a point of the space.

        Args:
            params: A value for each axis of :attr:`axes`; axes that are left out keep their defaults.
        """
        values = dict(params)
        regime = _regime({name: values.pop(name) for name in REGIME_AXES if name in values})
        offsets = [values.pop(f"group_offset_{turn + 1}", 1.0) for turn in range(self.n_backbone)]
        if self.spec.shape == "flat":
            return recipes.gradual(self.groups, self.epochs, group_offsets=offsets, **values), regime
        recipe = recipes.one_block if self.spec.shape == "one_block" else recipes.chain_thaw
        return recipe(self.groups, self.epochs, **values), regime

    def place(self, params: Mapping[str, Any]) -> dict[str, Any] | None:
        """Give the searched parameters of a point, moved to the grid; None when it lies outside.

        Args:
            params: A value for some axes; the others take a fixed axis's value, or stay open.
        """
        if self.spec.shape != "flat":
            return None
        placed: dict[str, Any] = {}
        for name, axis in self.axes.items():
            if name not in params:
                usual = _nearest(axis, getattr(self.fixed_regime, name)) if name in AS_USUAL else None
                if usual is not None and isinstance(axis, Range | Choice):
                    placed[name] = usual
                elif isinstance(axis, Range | Choice):
                    placed[name] = _middle(axis)
                continue
            value = _nearest(axis, params[name])
            if value is None:
                return None
            if isinstance(axis, Range | Choice):
                placed[name] = value
        return placed

    def _frees_each_group(self, written: Mapping[str, Axis]) -> bool:
        rates = written["rates"]
        return "per_group" in (rates.options if isinstance(rates, Choice) else (rates,))

    def _resolve(self, name: str, axis: Axis) -> Axis:
        if not isinstance(axis, Range):
            if isinstance(axis, Choice):
                return Choice(options=tuple(dict.fromkeys(self._number(name, o) for o in axis.options)))
            return self._number(name, axis)
        low, high, step = self._number(name, axis.low), self._number(name, axis.high), axis.step
        assert not isinstance(low, str | bool)
        assert not isinstance(high, str | bool)
        if name in EPOCH_AXES:
            step = step or distinct_lengths_step(low, high)
        if high < low:
            raise ConfigError(f"{name}: low is {low:g} and high is {high:g} for this model and run; widen it")
        if step:
            high = float(f"{low + step * math.floor((high - low) / step + 1e-9):.12g}")
        return low if low == high else Range(low=low, high=high, log=axis.log, step=step)

    def _number(self, name: str, value: Scalar) -> Scalar:
        """Resolve ``40%``, ``all`` and whole depths; other values stay as they are."""
        if name in EPOCH_AXES:
            share = percent(value) if isinstance(value, str) else None
            # Nine digits, so that ends and steps stay round numbers.
            length = min(round(share * self.epochs, 9), self.epochs) if share is not None else float(value)
            if name != "unfreeze_every" and length > self.epochs:
                raise ConfigError(
                    f"{name}: got {length:g}; must lie in 0..{self.epochs:g}, the run's length; "
                    "a share such as 40% fits every run"
                )
            return length
        if name == "unfreeze_depth":
            share = percent(value) if isinstance(value, str) else None
            depth: Any = share if share is not None else value
            if share is None and isinstance(value, float) and value.is_integer():
                depth = int(value)
            return recipes.resolve_depth(depth, self.n_backbone)
        if name == "block":
            share = percent(value) if isinstance(value, str) else None
            last = self.n_backbone - 1
            number: Any = last if value == "all" else round(share * last) if share is not None else value
            if number != int(number) or not 0 <= number <= last:
                raise ConfigError(
                    f"block: got {number:g}; must be all, a share such as 50%, or a whole number in "
                    f"0..{last}, the backbone's groups"
                )
            return int(number)
        return value


def _regime(values: Mapping[str, Any]) -> Regime:
    """Build a regime. Views that are no crops do not use ``erase``: points that differ in it are one run."""
    usual = {} if crops(values.get("views", Regime().views)) else {"erase": 0.0}
    return Regime(**{**values, **usual})


def distinct_lengths_step(low: float, high: float) -> float:
    """Give the step between the lengths that a range of epochs offers.

    Whole epochs when at least three lengths fit, else halves, else quarters.
    """
    return next((step for step in (1.0, 0.5) if (high - low) / step >= 2 - 1e-9), 0.25)


def _draw(trial: Trial, name: str, axis: Axis) -> Any:
    if isinstance(axis, Choice):
        return trial.suggest_categorical(name, axis.options)
    if not isinstance(axis, Range):
        return axis
    low, high = float(axis.low), float(axis.high)
    if name in WHOLE_AXES:
        return trial.suggest_int(name, int(low), int(high), step=int(axis.step or 1), log=axis.log)
    return trial.suggest_float(name, low, high, step=axis.step, log=axis.log)


def _nearest(axis: Axis, value: Any) -> Any | None:
    """Give the value on the axis's grid, or None when the axis does not reach it."""
    if isinstance(axis, Choice):
        return value if value in axis.options else None
    if not isinstance(axis, Range):
        return value if value == axis else None
    low, high = float(axis.low), float(axis.high)
    if axis.step:
        value = low + axis.step * round((value - low) / axis.step)
    return min(max(value, low), high) if low * (1 - 1e-9) <= value <= high * (1 + 1e-9) else None


def _middle(axis: Range | Choice) -> Any:
    """Give a value for an axis that does not matter: neutral (1) when it can be, else the first or lowest."""
    if isinstance(axis, Choice):
        return axis.options[0]
    return 1.0 if float(axis.low) <= 1.0 <= float(axis.high) and not axis.step else axis.low
