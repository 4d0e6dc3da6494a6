"""How much each axis of a search space mattered."""

from autofreeze.values import Value


class Importance(Value):
    """The weight of one axis."""

    axis: str
    share: float
    """Of all axes together, 0..1."""

    by_chance: float | None = None
    """Share that it would rarely exceed if it did not matter (about once in twenty times), in the same unit;
    None: not known."""

    @property
    def is_told(self) -> bool:
        """Whether it mattered, beyond what chance gives."""
        return self.by_chance is not None and self.share > self.by_chance


class Importances(Value):
    """The weights of all axes that were drawn, the heaviest first."""

    axes: tuple[Importance, ...] = ()
    trials: int = 0
    """Complete trials that they rest on."""

    pruned: int = 0
    """Pruned trials that they rest on as well: none of these is good."""

    good: int = 0
    """The best of the complete ones, which are set apart from all: as many as a tenth of all, or five."""

    why_none: str = ""
    """Why nothing can be said; empty where something is."""
