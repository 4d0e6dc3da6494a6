"""timm's layer-wise rates: what its options make of each layer, and the nearest that they come to a row.

timm numbers a model's layers from the input and multiplies the rate by ``layer_decay`` for each step down
from the last; what falls below ``layer_decay_no_opt_scale`` is frozen (``timm/optim/_param_groups.py``).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from autofreeze.phrases import listed
from autofreeze.schedule import format_rate

Cells = Mapping[str, float | None]
"""Layer group -> rate, stem first, head last; None is frozen."""

Layers = Mapping[str, Sequence[int]]
"""Layer group -> timm's number of each of its parameters."""

ROUNDING = 1e-5
"""Rates of a table have six digits, so each is off by a share of 5e-6 at most: the cell, and
the head's, from which timm works out the others. Equal ones may differ by both."""

_HEAD_ONLY = (0.01, 0.5)
"""Decay and threshold that freeze all but the last layer, whatever its neighbours."""

_HARDLY = 0.999
"""The largest decay that still orders the layers, where some have to fall below a threshold."""


@dataclass(frozen=True)
class LayerDecay:
    """A run's base rate and timm's options for it."""

    lr: float
    """Of the last layer."""

    decay: float | None = None
    """Of the rate, for each layer further down; None: one rate for all."""

    min_scale: float = 0.0
    """No layer's share of the base rate is below this."""

    no_opt_scale: float | None = None
    """Layers with a smaller share are frozen."""

    def rate(self, down: int) -> float | None:
        """Give the rate of a layer so many below the last; None where it is frozen."""
        if self.decay is None:
            return self.lr
        scale = max(self.min_scale, self.decay**down)
        if self.no_opt_scale is not None and scale < self.no_opt_scale:
            return None
        return self.lr * scale


def why_not(rows: Sequence[Cells]) -> list[str]:
    """Say why timm can freeze nothing near what rows freeze: all reasons; none where it can."""
    headless, gaps = dict[str, None](), dict[str, None]()
    for cells in rows:
        groups = list(cells)
        trained = [group for group in groups if cells[group] is not None]
        frozen = [group for group in groups[groups.index(trained[0]) :] if cells[group] is None]
        if groups[-1] in frozen:
            headless[trained[0]] = None
        elif frozen:
            gaps[f"{trained[0]} below {frozen[-1]}"] = None
    reasons = []
    if headless:
        words = f"{listed(headless)} {'train' if len(headless) > 1 else 'trains'}"
        reasons.append(
            f"at times {words} while the head is frozen; timm's train.py always trains the last layer"
        )
    if gaps:
        reasons.append(
            f"at times a frozen group lies above one that trains ({listed(gaps)}); timm's train.py freezes "
            "from the input up to some layer, or nothing"
        )
    return reasons


def nearest(cells: Cells, layers: Layers) -> LayerDecay:
    """Find the options that come nearest to a row, the head's rate kept.

    The border between frozen and trained layers is where fewest parameters are on the wrong side; the decay
    that of least squares of the rates' logarithms, by parameter.

    Args:
        cells: A row for which :func:`why_not` says nothing.
        layers: Of the model.
    """
    lr = list(cells.values())[-1]
    assert lr is not None, "the head trains"
    points = _points(cells, layers)
    last = max(down for down, _ in points)
    border = min(
        range(last + 1), key=lambda k: sum((down <= k) != (cell is not None) for down, cell in points)
    )
    if border == 0 and last > 0:
        return LayerDecay(lr, _HEAD_ONLY[0], no_opt_scale=_HEAD_ONLY[1])
    below = [(down, cell) for down, cell in points if cell is not None and 0 < down <= border]
    rates = {cell for _, cell in below}
    if border == last and rates <= {lr}:
        return LayerDecay(lr)
    if border == last and len(rates) == 1 and (share := rates.pop() / lr) < 1:
        return LayerDecay(lr, share, min_scale=share)
    decay = _slope(lr, below)
    if border == last:
        return LayerDecay(lr, decay)
    decay = min(decay, _HARDLY)
    return LayerDecay(lr, decay, no_opt_scale=decay ** (border + 0.5))


def deviations(cells: Cells, layers: Layers, options: LayerDecay) -> list[str]:
    """Say which groups have other rates with the options than in the row, from the stem up."""
    top = max(number for numbers in layers.values() for number in numbers)
    said = []
    for group, cell in cells.items():
        given = [options.rate(top - number) for number in layers[group]]
        wrong = [rate for rate in given if not agree(rate, cell)]
        if not wrong:
            continue
        which = group if len(wrong) == len(given) else f"{len(wrong)} of {group}'s {len(given)} parameters"
        said.append(f"{which} {_span(wrong)} instead of {_span([cell])}")
    return said


def agree(one: float | None, other: float | None) -> bool:
    """Whether two rates are the same to the digits that a table has, or both are none."""
    if one is None or other is None:
        return one is other
    return math.isclose(one, other, rel_tol=ROUNDING)


def _points(cells: Cells, layers: Layers) -> list[tuple[int, float | None]]:
    """Give each parameter's distance from the last layer, and its cell."""
    top = max(number for numbers in layers.values() for number in numbers)
    return [(top - number, cell) for group, cell in cells.items() for number in layers[group]]


def _slope(lr: float, points: Sequence[tuple[int, float]]) -> float:
    """Give the decay of least squares, with as few digits as give the same rates."""
    slope = sum(down * math.log(rate / lr) for down, rate in points) / sum(down**2 for down, _ in points)
    for digits in range(1, 16):
        decay = float(f"{math.exp(slope):.{digits}g}")
        if all(agree(lr * decay**down, rate) for down, rate in points):
            return decay
    return float(f"{math.exp(slope):.6g}")


def _span(rates: Sequence[float | None]) -> str:
    known = [rate for rate in rates if rate is not None]
    words = []
    if known:
        low, high = format_rate(min(known)), format_rate(max(known))
        words.append(f"at {low}" if low == high else f"at {low} to {high}")
    if len(known) < len(rates):
        words.append("frozen")
    return " or ".join(words)
