"""Recipes: named schedules, as functions from a few hyperparameters to a table, and the way back.

All suffix recipes are points of one flat family, :func:`gradual`: LP-FT unfreezes all groups at once,
full fine-tuning is LP-FT without a warm-up, a linear probe has depth 0, a frozen stem spares column 0.
Two shapes that are no suffix stand beside it: :func:`one_block` and :func:`chain_thaw`.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal

from pydantic import ValidationError

from autofreeze.errors import ConfigError
from autofreeze.schedule import Schedule, rows_of
from autofreeze.values import explain

Rates = Literal["one", "decay", "per_group"]
Depth = int | float | Literal["all"]
Cells = list[float | None]


def gradual(
    groups: Sequence[str],
    epochs: float,
    *,
    head_lr: float,
    backbone_ratio: float = 0.1,
    depth_ratio: float = 1.0,
    rates: Rates = "decay",
    group_offsets: Sequence[float] = (),
    warmup_epochs: float = 0.0,
    unfreeze_depth: Depth = "all",
    unfreeze_every: float = 0.0,
    freeze_stem: bool = False,
    **curve: Any,
) -> Schedule:
    """Train the head alone, then the backbone from the top down, one more group at a time.

    Args:
        groups: Column names, stem first, head last.
        epochs: Length of the run.
        head_lr: Rate of the head throughout.
        backbone_ratio: Rate of the highest backbone group over the head's.
        depth_ratio: Rate of the lowest trainable group over the highest backbone group's (``decay``).
        rates: ``one`` rate for the backbone, a geometric ``decay`` with depth, or free ones ``per_group``.
        group_offsets: For ``per_group``: factors on the backbone's rate, the group nearest the head first.
        warmup_epochs: Head-only epochs at the start; the whole run at most.
        unfreeze_depth: Backbone groups that train: ``all``, a share (0..1) or a whole number.
        unfreeze_every: Epochs from one thaw to the next; 0 thaws all at once. The first comes right after
            the warm-up; a group whose turn lies beyond the run stays frozen.
        freeze_stem: Keep column 0 frozen whatever the depth.
        curve: ``curve``, ``curve_over`` and ``lr_ramp_epochs`` of :class:`Schedule`.

    Raises:
        ConfigError: The depth exceeds the backbone, or the warm-up the run.

    Source:
        Gradual unfreezing from the top: ULMFiT (arXiv 1801.06146). Head first: LP-FT (arXiv 2202.10054).
    """
    n_backbone = len(groups) - 1
    depth = resolve_depth(unfreeze_depth, n_backbone)
    if not 0 <= warmup_epochs <= epochs:
        raise ConfigError(
            f"warmup_epochs: got {warmup_epochs:g}; must lie in 0..{epochs:g}, the run's length"
        )
    lowest = max(n_backbone - depth, 1 if freeze_stem else 0)
    columns = range(n_backbone - 1, lowest - 1, -1)
    cells = dict(zip(columns, _backbone_rates(len(columns), head_lr * backbone_ratio, depth_ratio, rates,
                                              group_offsets), strict=True))  # fmt: skip
    thaws = [min(warmup_epochs + turn * unfreeze_every, epochs) for turn in range(len(columns))]
    times = sorted({0.0, *thaws, epochs})
    rows: list[tuple[float, Cells]] = []
    for start, end in pairwise(times):
        row: Cells = [None] * n_backbone + [head_lr]
        for column, thaw in zip(columns, thaws, strict=True):
            if thaw <= start:
                row[column] = cells[column]
        rows.append((end - start, row))
    return _table(groups, rows, curve)


def _table(groups: Sequence[str], rows: Sequence[tuple[float, Cells]], curve: Mapping[str, Any]) -> Schedule:
    """Build the schedule, what is wrong with a rate or the curve told as every wrong setting is."""
    try:
        return Schedule(groups=tuple(groups), phases=rows_of(rows), **curve).canonical()
    except ValidationError as error:
        raise ConfigError(explain(error)) from None


def _backbone_rates(
    depth: int, top: float, depth_ratio: float, rates: Rates, offsets: Sequence[float]
) -> list[float]:
    """Rates of ``depth`` backbone groups, the one nearest the head first."""
    if rates == "one":
        return [top] * depth
    if rates == "decay":
        return [top * depth_ratio ** (turn / max(depth - 1, 1)) for turn in range(depth)]
    if len(offsets) < depth:
        raise ConfigError(f"group_offsets: got {len(offsets)}; must be one for each of {depth} groups")
    return [top * offset for offset in offsets[:depth]]


def resolve_depth(depth: Depth, n_backbone: int) -> int:
    """Turn ``all``, a share or a whole number into a number of backbone groups.

    Raises:
        ConfigError: The depth is negative or exceeds ``n_backbone``.
    """
    if depth == "all":
        return n_backbone
    number = depth if isinstance(depth, int) else round(float(depth) * n_backbone)
    if not 0 <= number <= n_backbone:
        raise ConfigError(
            f"unfreeze_depth: got {depth}; must be all, a share in 0..1, or a whole number in "
            f"0..{n_backbone}, the backbone's groups"
        )
    return number


def lp_ft(groups: Sequence[str], epochs: float, *, warmup_epochs: float, **rates: Any) -> Schedule:
    """Linear probe first, then all of the backbone at once (arXiv 2202.10054)."""
    return gradual(groups, epochs, warmup_epochs=warmup_epochs, unfreeze_every=0.0, **rates)


def full(groups: Sequence[str], epochs: float, **rates: Any) -> Schedule:
    """Fine-tune everything from the start."""
    return lp_ft(groups, epochs, warmup_epochs=0.0, **rates)


def frozen_stem(groups: Sequence[str], epochs: float, **rates: Any) -> Schedule:
    """Fine-tune everything but the stem from the start (arXiv 2211.09359)."""
    return full(groups, epochs, freeze_stem=True, **rates)


def linear_probe(groups: Sequence[str], epochs: float, *, head_lr: float, **curve: Any) -> Schedule:
    """Train the head alone."""
    return gradual(groups, epochs, head_lr=head_lr, unfreeze_depth=0, **curve)


def one_block(
    groups: Sequence[str],
    epochs: float,
    *,
    block: int,
    head_lr: float,
    backbone_ratio: float = 0.1,
    warmup_epochs: float = 0.0,
    **curve: Any,
) -> Schedule:
    """Train the head and one backbone group, wherever it lies (surgical fine-tuning, arXiv 2210.11466).

    Args:
        groups: Column names, stem first, head last.
        epochs: Length of the run.
        block: Column of the group, 0 is the stem.
        head_lr: Rate of the head.
        backbone_ratio: Rate of the block over the head's.
        warmup_epochs: Head-only epochs at the start.
        curve: As for :func:`gradual`.

    Raises:
        ConfigError: The block is no backbone group, or the warm-up exceeds the run.
    """
    n_backbone = len(groups) - 1
    problems = []
    if not 0 <= block < n_backbone:
        problems.append(f"block: got {block}; must lie in 0..{n_backbone - 1}")
    if not 0 <= warmup_epochs <= epochs:
        problems.append(f"warmup_epochs: got {warmup_epochs:g}; must lie in 0..{epochs:g}, the run's length")
    if problems:
        raise ConfigError(problems)
    head: Cells = [None] * n_backbone + [head_lr]
    row = [head_lr * backbone_ratio if column == block else cell for column, cell in enumerate(head)]
    return _table(groups, [(warmup_epochs, head), (epochs - warmup_epochs, row)], curve)


def chain_thaw(
    groups: Sequence[str],
    epochs: float,
    *,
    head_lr: float,
    backbone_ratio: float = 0.1,
    **curve: Any,
) -> Schedule:
    """Train the head alone, then each backbone group alone from the stem up, then everything.

    Every step takes an equal share of the run.

    Args:
        groups: Column names, stem first, head last.
        epochs: Length of the run.
        head_lr: Rate of the head, alone and at the end.
        backbone_ratio: Rate of the backbone over the head's.
        curve: As for :func:`gradual`.

    Source:
        Felbo et al. 2017, DeepMoji (arXiv 1708.00524), section 3.3.
    """
    n_backbone, backbone_lr = len(groups) - 1, head_lr * backbone_ratio
    length = epochs / (n_backbone + 2)
    head: Cells = [None] * n_backbone + [head_lr]
    rows: list[tuple[float, Cells]] = [(length, head)]
    for block in range(n_backbone):
        alone: Cells = [backbone_lr if column == block else None for column in range(n_backbone + 1)]
        rows.append((length, alone))
    everything: Cells = [*[backbone_lr] * n_backbone, head_lr]
    rows.append((length, everything))
    return _table(groups, rows, curve)


def name_of(schedule: Schedule) -> str:
    """Name a table after the recipe that it is a point of; ``custom`` when there is none.

    Besides the recipes' own names: ``last_groups`` trains a part of the backbone from the start.
    """
    rows = [tuple(lr is not None for lr in phase.lrs) for phase in schedule.phases]
    n_backbone = len(schedule.groups) - 1
    suffixes = [_suffix_depth(row) for row in rows]
    if all(depth == 0 for depth in suffixes):
        return "linear_probe"
    if None in suffixes:
        return _name_of_other_shape(rows, n_backbone)
    depths = [depth for depth in suffixes if depth is not None]
    if depths != sorted(depths):
        return "custom"
    moves = sorted(set(depths))
    if len(moves) == 1:
        return {n_backbone: "full", n_backbone - 1: "frozen_stem"}.get(moves[0], "last_groups")
    return "lp_ft" if len(moves) == 2 and moves[0] == 0 else "gradual"


def _suffix_depth(row: tuple[bool, ...]) -> int | None:
    """Backbone groups that train when the trainable columns are a suffix; None when they are not."""
    depth = sum(row) - 1
    return depth if depth >= 0 and all(row[len(row) - 1 - depth :]) else None


def _name_of_other_shape(rows: Sequence[tuple[bool, ...]], n_backbone: int) -> str:
    warm = [row for row in rows if _suffix_depth(row) == 0]
    others = [row for row in rows if _suffix_depth(row) != 0]
    if len(set(others)) == 1 and sum(others[0]) == 2 and others[0][-1] and list(rows) == warm + others:
        return "one_block"
    blocks = [tuple(column == block for column in range(n_backbone + 1)) for block in range(n_backbone)]
    thaw = [warm[0] if warm else (), *blocks, (True,) * (n_backbone + 1)]
    return "chain_thaw" if list(rows) == thaw else "custom"
