"""Presets: how much to spend on a search, in one word."""

from pydantic import Field

from autofreeze.values import Value


class Preset(Value):
    """What a word such as ``quick`` stands for. An option that is given beside it wins."""

    trials: int = Field(ge=1)
    """Trials in all, baselines included."""

    epochs: float | None = Field(default=None, gt=0)
    """Length of each run; None goes by the size of the data (``budget.default_epochs``)."""

    space: str
    """Name of a shipped search space."""

    folds: int | None = Field(default=None, ge=1, le=5)
    """Folds that a trial is scored on; None takes as many as make 500 validation images."""


PRESETS: dict[str, Preset] = {
    "quick": Preset(trials=16, epochs=5, space="quick", folds=1),
    "standard": Preset(trials=50, space="default"),
    "thorough": Preset(trials=150, space="thorough"),
}
"""Name -> preset, the cheapest first.

``quick``: 8 trials are the baselines, 8 more look around them. 5 epochs are the least that a run gets by the
size of its data; they hold a head-only phase of 0, 1 or 2 epochs and something after it. One fold: with
fewer than 500 validation images the noise of one fold (±2.2 points for 500 at 50 %) exceeds most
differences between schedules, so a quick answer says which schedules are bad, seldom which is best.
Rates that win in 5 epochs are on the high side for longer runs.

``standard``: what ``search`` does by itself. Below about 50 trials the baselines matter more than the
sampler; with 50, 42 are left to it for a space of 9 axes and one for each group.

``thorough``: 150 trials for about 20 axes. Length and folds stay the rule's: a longer run or more folds would
buy precision, and the thorough search is to buy width. It costs three times a standard one at least, and
its best trial is picked from three times as many: luck has a larger share in it (arXiv 2506.19540).
"""
