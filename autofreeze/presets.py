"""Presets: how much to spend on a search, in one word."""

from typing import Literal

from pydantic import Field

from autofreeze.budget import TARGET_STEPS
from autofreeze.values import Value


class Preset(Value):
    """What a word such as ``quick`` stands for. An option that is given beside it wins."""

    trials: int = Field(ge=1)
    """Trials in all, baselines included."""

    steps: int = Field(default=TARGET_STEPS, ge=1)
    """Optimizer steps that the length of each run aims at (``budget.default_epochs``)."""

    space: str
    """Name of a shipped search space."""

    folds: int | None = Field(default=None, ge=1, le=5)
    """Folds that a trial is scored on; None takes as many as make 500 validation images."""

    confirm: Literal[0, 6, 12, 24]
    """Fresh seeds at most on which the finalists are confirmed."""


PRESETS: dict[str, Preset] = {
    "quick": Preset(trials=16, steps=200, space="quick", folds=1, confirm=6),
    "standard": Preset(trials=50, space="default", confirm=12),
    "thorough": Preset(trials=150, space="thorough", confirm=24),
}
"""Name -> preset, the cheapest first.

``quick``: 3 trials are baselines, 13 look around them. A third of the usual steps, and never fewer than 5
epochs, which hold a head-only phase of 0, 1 or 2 epochs and something after it. One fold: with fewer than 500
validation images the noise of one fold (±2.2 points for 500 at 50 %) exceeds most differences between
schedules, so a quick answer says which schedules are bad, seldom which is best. Rates that win in few steps
are on the high side for longer runs. Six fresh seeds both choose the winner and
estimate it, at limits that allow for that.

``standard``: what ``search`` does by itself. Below about 50 trials the baselines matter more than the
sampler; with 50, 42 are left to it for a space of 9 axes and one for each group.

``thorough``: 150 trials for about 20 axes. Length and folds stay the rule's: a longer run or more folds would
buy precision, and the thorough search is to buy width. It costs three times a standard one at least, and
its best trial is picked from three times as many: luck has a larger share in it (arXiv 2506.19540), so it is
confirmed on up to 24 fresh seeds.
"""
