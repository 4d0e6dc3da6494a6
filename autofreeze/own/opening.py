"""What a search of a training of one's own is given: checked at once, all that is wrong told together."""

import math
from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast, get_args

from autofreeze.axes import LOOP_AXES, Choice, Range
from autofreeze.errors import ConfigError
from autofreeze.own.groups import OwnGroups
from autofreeze.own.run import Fit
from autofreeze.own.subject import Asked, OwnSubject
from autofreeze.scale import Direction, Scale
from autofreeze.searchoptions import Decided, SearchOptions
from autofreeze.space import SpaceSpec, shipped_spaces
from autofreeze.values import did_you_mean

HELD_OUT = 0.2
"""Share that a random split holds out when nobody says, and runs are single numbers: what is usual."""

MOST_FOLDS = 20


def open_own(
    fit: object,
    groups: object,
    options: SearchOptions,
    *,
    metric: str = "value",
    direction: str = "maximize",
    delta: float | None = None,
    held_out: float | None = None,
    name: str | None = None,
    reads: Sequence[str] = (),
    not_for_own: Mapping[str, Any] | None = None,
) -> tuple[OwnSubject, Decided]:
    """Check everything, and open it.

    Args:
        fit: The training.
        groups: Its layer groups.
        options: How to search.
        metric: Name of the value, for reports.
        direction: ``maximize`` or ``minimize`` the value.
        delta: Half-width of *no difference*, in the value's unit; None never calls two schedules equal.
        held_out: Share of the examples that each fold and each fresh seed holds out anew, 0..1; 0 where all
            are scored on the same. None takes what the folds say, else a fifth.
        name: Of the training, for reports; the name of its function when left out.
        reads: Axes of ``axes.LOOP_AXES`` that the training reads from ``job.regime``.
        not_for_own: What was given and belongs to a search on images.

    Raises:
        ConfigError: Something is wrong; all of it is told.
    """
    problems = _problems_of_fit(fit)
    problems += [
        f"{key}: belongs to a search on images; leave it out beside fit, or leave fit out"
        for key, value in (not_for_own or {}).items()
        if value is not None
    ]
    read = None
    if groups is None:
        problems.append(
            "groups: missing; name the layer groups, stem first, head last: "
            '{"body": "encoder", "head": "classifier"}'
        )
    else:
        try:
            read = OwnGroups.read(groups)
        except ConfigError as error:
            problems += error.problems
    problems += _problems_of_scale(metric, direction, delta)
    problems += _problems_of_runs(options, held_out)
    unknown = [one for one in reads if one not in LOOP_AXES]
    problems += [f"reads: {one!r} is unknown{did_you_mean(str(one), list(LOOP_AXES))}" for one in unknown]
    decided = None
    try:
        decided = options.decided()
        spec, left_out = _suited(decided.space, reads, shipped=options.space in (None, *shipped_spaces()))
    except ConfigError as error:
        problems += [str(error)] if error.where else error.problems
    if problems or decided is None or read is None:
        raise ConfigError(problems)
    decided = replace(decided, space=spec, delta=0.0 if delta is None else float(delta))
    n_folds = 1 if options.folds is None else options.folds
    usual = 1 / n_folds if n_folds > 1 else HELD_OUT
    asked = Asked(
        fit=cast("Fit", fit),
        name=name or _name_of(fit),
        groups=read,
        scale=Scale(metric=metric, unit="plain", direction=cast("Direction", direction)),
        n_folds=n_folds,
        held_out=usual if held_out is None else float(held_out),
        held_out_given=held_out is not None or n_folds > 1,
        left_out=left_out,
    )
    return OwnSubject(asked), decided


def _problems_of_fit(fit: object) -> list[str]:
    if fit is None:
        return ["fit: missing, and groups were given; give the training that yields after each epoch"]
    if isinstance(fit, Generator):
        return ["fit: got a generator that has begun; give the function itself, fit=my_fit without brackets"]
    if not callable(fit):
        return [
            f"fit: got {fit!r}; must be a function of a job that yields after each epoch: def my_fit(job): …"
        ]
    return []


def _problems_of_scale(metric: object, direction: object, delta: object) -> list[str]:
    problems = []
    if not isinstance(metric, str) or not metric.strip():
        problems.append(f"metric: got {metric!r}; must be a name for the value, such as accuracy")
    if direction not in get_args(Direction):
        problems.append(f"direction: got {direction!r}; must be maximize or minimize")
    if delta is not None and not (_is_number(delta) and 0 <= float(delta) < math.inf):  # type: ignore[arg-type]
        problems.append(f"delta: got {delta!r}; must be a number >= 0, in the unit of the value")
    return problems


def _problems_of_runs(options: SearchOptions, held_out: object) -> list[str]:
    problems = []
    epochs, folds = options.epochs, options.folds
    if epochs is None:
        problems.append("epochs: missing; say how many epochs each run has, such as epochs=5")
    elif not _is_number(epochs) or epochs != round(epochs):
        problems.append(f"epochs: got {epochs!r}; must be a whole number, since fit yields once after each")
    if folds is not None and not (type(folds) is int and 1 <= folds <= MOST_FOLDS):
        problems.append(f"folds: got {folds!r}; must be a whole number in 1..{MOST_FOLDS}")
    if held_out is not None and not (_is_number(held_out) and 0 <= float(held_out) < 1):  # type: ignore[arg-type]
        problems.append(
            f"held_out: got {held_out!r}; must be the share of the examples that is held out anew by each "
            "seed, such as 0.2, or 0 where all are scored on the same ones"
        )
    return problems


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _suited(spec: SpaceSpec, reads: Sequence[str], *, shipped: bool) -> tuple[SpaceSpec, tuple[str, ...]]:
    """Leave out of a shipped space what nobody would obey; gives the names of that beside.

    Raises:
        ConfigError: The user's own space searches an axis that the training does not read.
    """
    idle = [
        name
        for name, axis in spec.axes.items()
        if name in LOOP_AXES and name not in reads and isinstance(axis, Range | Choice)
    ]
    if idle and not shipped:
        raise ConfigError(
            [
                f"{name}: nobody obeys it but the training itself; take it out of the space, or have "
                f'fit read job.regime.{name}, and say so: reads=["{name}"]'
                for name in idle
            ],
            where=spec.name,
        )
    kept = {name: axis for name, axis in spec.axes.items() if name not in idle}
    return spec.model_copy(update={"axes": kept}), tuple(idle)


def _name_of(fit: object) -> str:
    return str(getattr(fit, "__name__", type(fit).__name__))
