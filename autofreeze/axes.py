"""The axes of a search space: their names, what each may hold, and how one is read from a file."""

import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BeforeValidator, Field, ValidationError

from autofreeze.documents import Document
from autofreeze.regime import Regime
from autofreeze.values import Value, did_you_mean, explain, refuse_bool
from autofreeze.views import PARTNER_VIEWS, VIEW_WORDS, crops

Scalar = bool | int | float | str
Shape = Literal["flat", "one_block", "chain_thaw"]


def _end(value: object) -> object:
    """Refuse at once what is neither a number nor text: a union would tell it once for each kind."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"got {value!r}; must be a number")
    if isinstance(value, int) and abs(value) > LARGEST:
        raise ValueError("got a number that is out of all range")
    return value


LARGEST = 1e300
"""Whole numbers far beyond it cannot become decimal ones."""

PERCENT = r"(100(\.0+)?|[0-9]{1,2}(\.[0-9]+)?)%"
"""How a share is written, as a regular expression."""

End = Annotated[float | str, BeforeValidator(_end)]


class Range(Value):
    """An axis between two ends. Epochs may be written as ``40%`` of the run, depths as ``all`` or ``50%``."""

    low: End
    high: End
    log: bool = Field(default=False, strict=True)
    step: Annotated[float, BeforeValidator(refuse_bool), Field(strict=True)] | None = None


class Choice(Value):
    """An axis over a list."""

    options: tuple[Scalar, ...]


Axis = Range | Choice | Scalar
"""A scalar is fixed: not searched."""

EPOCH_AXES = ("warmup_epochs", "unfreeze_every", "lr_ramp_epochs")
GRID_AXES = (*EPOCH_AXES, "unfreeze_depth", "block")
"""Axes whose values may be words or shares; they are drawn on an even grid."""

RATE_AXES = ("head_lr", "backbone_ratio", "depth_ratio", "group_offset")
CURVE_AXES = ("curve", "curve_over", "lr_ramp_epochs")
SCHEDULE_AXES: dict[Shape, tuple[str, ...]] = {
    "flat": (
        "warmup_epochs", "unfreeze_depth", "unfreeze_every", "freeze_stem", "rates", *RATE_AXES, *CURVE_AXES,
    ),
    "one_block": ("warmup_epochs", "block", "head_lr", "backbone_ratio", *CURVE_AXES),
    "chain_thaw": ("head_lr", "backbone_ratio", *CURVE_AXES),
}  # fmt: skip
REGIME_AXES = tuple(Regime.model_fields)
WHOLE_AXES = ("unfreeze_depth", "block", "batch_size")
WORD_AXES: dict[str, tuple[Scalar, ...]] = {
    "rates": ("one", "decay", "per_group"), "freeze_stem": (False, True),
    "curve": ("constant", "cosine"), "curve_over": ("run", "phase"),
    **{name: get_args(field.annotation) for name, field in Regime.model_fields.items()
       if get_origin(field.annotation) is Literal},
}  # fmt: skip
"""Axes over words -> the words. They have no low and no high, and neither has ``views``."""

LOOP_AXES = ("batch_size", "label_smoothing", "class_weights", "views", "erase")
"""Axes of the regime that only a training loop can obey; an optimizer or a bound model obeys the others."""

AXIS_WORDS: dict[str, str] = {
    "warmup_epochs": "epochs at the start in which only the head trains",
    "unfreeze_depth": "backbone groups that train, counted from the head; 0 is a linear probe",
    "unfreeze_every": "epochs from one thaw to the next, top group first; 0 thaws all at once",
    "freeze_stem": "keep the first group frozen whatever the depth",
    "rates": "how the backbone's rate is spread: one rate, a decay with depth, or free ones per_group",
    "head_lr": "rate of the head",
    "backbone_ratio": "rate of the highest backbone group over the head's",
    "depth_ratio": "for decay: rate of the lowest trainable group over the highest backbone group's",
    "group_offset": "for per_group: a factor on the backbone's rate, drawn for each group",
    "curve": "shape of the rate curve",
    "curve_over": "whether the curve spans the run, or starts again with each phase",
    "lr_ramp_epochs": "epochs over which the rate climbs at the curve's start",
    "block": "which backbone group trains, counted from the stem, which is 0",
    "optimizer": "who turns gradients into steps; SGD wants rates about 30 times AdamW's",
    "batch_size": "images in a step, at most",
    "weight_decay": "never on biases and other one-dimensional parameters",
    "momentum": "of SGD, with Nesterov's correction",
    "label_smoothing": "share of the target spread over all classes",
    "class_weights": "balanced weighs each class by the inverse of its share",
    "views": "augmentation: none, flip, or crops: K prepared by image (bank:K), or ever new ones (online)",
    "erase": "share of the crops in which a random rectangle is erased; for bank:K and online",
    "norm": "BatchNorm of trainable groups: follow the batches, or keep its statistics (eval)",
}
"""Axis -> what it is, in a line."""

NEEDED = ("head_lr",)

DEFAULTS: dict[str, Axis] = {
    "warmup_epochs": 0.0, "unfreeze_depth": "all", "unfreeze_every": 0.0, "freeze_stem": False,
    "rates": "decay", "backbone_ratio": 0.1, "depth_ratio": 1.0, "group_offset": 1.0,
    "curve": "cosine", "curve_over": "run", "lr_ramp_epochs": 0.0, "block": Range(low=0, high="all"),
}  # fmt: skip


def read_axes(data: Mapping[str, Any], document: Document, shape: Shape) -> tuple[dict[str, Axis], list[str]]:
    """Read the axes of a space file.

    Args:
        data: Name -> what the file says of it.
        document: Knows the line of each name.
        shape: Decides which axes there are.

    Returns:
        The axes that are right, and a line for everything that is wrong.
    """
    known = [*SCHEDULE_AXES[shape], *REGIME_AXES]
    axes: dict[str, Axis] = {}
    problems = []
    wrong: set[str] = set()
    for name, value in data.items():
        line = document.line_of(name)
        head = f"{line}: {name}" if line else name
        if name in PARTNER_VIEWS:
            problems.append(f"{head}: {_partner_reason(name)}")
        elif name not in known:
            problems.append(f"{head}: unknown{did_you_mean(name, ['shape', *known])}")
        else:
            axis, found = _read_axis(name, value)
            problems += [f"{head}{problem}" for problem in found]
            wrong |= {name} if found else set()
            if axis is not None:
                axes[name] = axis
    problems += [f"{name}: missing" for name in NEEDED if name not in data]
    if not wrong & {"views", "erase"}:
        line = document.line_of("erase")
        problems += [f"{line}: {one}" if line else one for one in problems_of_erase(axes)]
    return axes, problems


def override(axes: Mapping[str, Axis], given: Mapping[str, Scalar]) -> tuple[dict[str, Axis], list[str]]:
    """Fix axes of the regime whatever a space says of them.

    Args:
        axes: Those of the space.
        given: Name -> value. What holds anyway is not written down, so that the space stays the same one.

    Returns:
        The axes, and a line for everything that is wrong. Views that are no crops leave nothing to erase.
    """
    problems = [f"{name}{line}" for name, value in given.items() for line in _problems_of_value(name, value)]
    usual = dict(Regime())
    fixed = {name: value for name, value in given.items() if name in axes or value != usual[name]}
    kept = dict(axes)
    if "views" in given and not crops(str(given["views"])):
        kept.pop("erase", None)
    overridden = {**kept, **fixed}
    return overridden, problems or problems_of_erase(overridden)


def problems_of_erase(axes: Mapping[str, Axis]) -> list[str]:
    """Refuse to erase where no views are crops. Beside views that are, others simply do not use it."""
    erase, views = axes.get("erase", 0), axes.get("views", Regime().views)
    options = views.options if isinstance(views, Choice) else (views,)
    if erase == 0 or any(crops(str(option)) for option in options):
        return []
    return [
        f"erase: only in crops is anything erased, and views is {' or '.join(map(str, options))}: "
        "choose bank:K or online, or leave erase out"
    ]


def _partner_reason(name: str) -> str:
    return (
        f"{name} mixes an image with a partner, so that a view is no longer a pure function of one image; "
        "it is refused in a search. Leave it out, and add it to the final training"
    )


def _read_axis(name: str, value: Any) -> tuple[Axis | None, list[str]]:
    """Read one axis; problems start with ``.key: `` or ``: ``."""
    if isinstance(value, dict):
        if name in WORD_AXES or name == "views":
            words = VIEW_WORDS if name == "views" else ", ".join(str(option) for option in WORD_AXES[name])
            return None, [f": got a range; must be one or a list of {words}"]
        try:
            axis = Range.model_validate(value)
        except ValidationError as error:
            return None, [f".{line}" for line in explain(error, known=list(Range.model_fields))]
        return axis, _problems_of_range(name, axis)
    if isinstance(value, list):
        if not value or any(not isinstance(option, Scalar) for option in value):
            return None, [f": got {value!r}; a list must hold at least one plain value"]
        problems = [line for option in value for line in _problems_of_value(name, option)]
        return Choice(options=tuple(value)), problems
    if not isinstance(value, Scalar):
        return None, [f": got {value!r}; must be a value, a list, or {{low: …, high: …}}"]
    return value, _problems_of_value(name, value)


def _problems_of_range(name: str, axis: Range) -> list[str]:
    problems = []
    for key, end in (("low", axis.low), ("high", axis.high)):
        problems += [f".{key}{line}" for line in _problems_of_value(name, end)]
    if problems:
        return problems
    low, high = axis.low, axis.high
    if isinstance(low, int | float) and isinstance(high, int | float) and low > high:
        problems.append(f": low is {low:g} and high is {high:g}; low must not exceed high")
    if axis.log and isinstance(low, int | float) and low <= 0:
        problems.append(f".low: got {low:g}; must be > 0 on a logarithmic axis")
    if axis.log and name in GRID_AXES:
        problems.append(".log: this axis is drawn on an even grid; leave log out")
    if axis.step is not None and (axis.log or not 0 < axis.step < math.inf):
        problems.append(f".step: got {axis.step:g}; must be > 0, and not on a logarithmic axis")
    elif axis.step is not None and name in WHOLE_AXES and not axis.step.is_integer():
        problems.append(f".step: got {axis.step:g}; must be a whole number")
    return problems


def _problems_of_end(name: str, end: float | str) -> list[str]:
    if isinstance(end, str):
        if name in GRID_AXES and percent(end) is not None:
            return []
        if name in ("unfreeze_depth", "block") and end == "all":
            return []
        return [f": got {end!r}; must be a number{_allowed_words(name)}"]
    if LARGEST < end < math.inf:
        return [": got a number that is out of all range"]
    if not math.isfinite(end) or end < 0 or (name in RATE_AXES and end <= 0):
        return [f": got {end:g}; must be a number {'> 0' if name in RATE_AXES else '>= 0'}"]
    return []


def _allowed_words(name: str) -> str:
    if name in EPOCH_AXES:
        return " of epochs, or a share of the run such as 40%"
    return ", all, or a share such as 50%" if name in ("unfreeze_depth", "block") else ""


def _problems_of_value(name: str, value: Scalar) -> list[str]:
    """Problems of a fixed value or an option."""
    if name in (*GRID_AXES, *RATE_AXES):
        if isinstance(value, bool):
            return [f": got {value}; must be a number{_allowed_words(name)}"]
        return _problems_of_end(name, value)
    if name == "views" and value in PARTNER_VIEWS:
        return [f": {_partner_reason(str(value))}"]
    if name in WORD_AXES:
        words = ", ".join(str(option) for option in WORD_AXES[name])
        known = any(type(value) is type(option) and value == option for option in WORD_AXES[name])
        return [] if known else [f": got {value!r}; must be one of {words}"]
    try:
        # Strict, so that neither true nor '32' counts as a number; 32.0 may stand for 32.
        whole = isinstance(value, float) and value.is_integer()
        beside = {"views": "online"} if name == "erase" else {}
        Regime.model_validate({**beside, name: int(value) if whole else value}, strict=True)
    except ValidationError as error:
        return [f": {line.partition(': ')[2]}" for line in explain(error)]
    return []


def percent(text: str) -> float | None:
    """Share 0..1 of a text such as ``40%``."""
    return float(text.removesuffix("%")) / 100 if re.fullmatch(PERCENT, text) else None
