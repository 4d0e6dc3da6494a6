"""How much each axis of a search space mattered."""

from autofreeze.values import Value


class Importance(Value):
    """The weight of one axis."""

    axis: str
    share: float
    """Of all axes together, 0..1."""


class Importances(Value):
    """The weights of all axes that were drawn, the heaviest first."""

    axes: tuple[Importance, ...] = ()
    trials: int = 0
    """Complete trials that they rest on."""

    why_none: str = ""
    """Why nothing can be said; empty where something is."""
