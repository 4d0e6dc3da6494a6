"""How truly a target can express a schedule."""

from enum import StrEnum
from typing import Self

from pydantic import model_validator

from autofreeze.values import Value


class Fidelity(StrEnum):
    """From the truest to none, in the words of the tables that people read."""

    EXACT = "exact"
    WITH_CALLBACK = "exact with its callback"
    """Alone the target lets the statistics of frozen BatchNorm move; the callback beside it holds them."""

    APPROXIMATE = "approximate"
    REFUSED = "refused"


class Assessment(Value):
    """What a target makes of a schedule: exactly what it says, or what is lost and why."""

    fidelity: Fidelity
    differences: tuple[str, ...] = ()
    """Sentences: what the nearest that the target knows does otherwise, or why there is nothing near. Empty
    where the export is exact."""

    @model_validator(mode="after")
    def _gives_reasons(self) -> Self:
        if self.is_exact == bool(self.differences):
            raise ValueError("an export is exact, or says what differs")
        return self

    @property
    def is_exact(self) -> bool:
        """Whether every rate, every frozen group and every mode is that of the schedule, at every step."""
        return self.fidelity in (Fidelity.EXACT, Fidelity.WITH_CALLBACK)

    @classmethod
    def of(cls, differences: list[str], *, exact: Fidelity = Fidelity.EXACT) -> Self:
        """Assess by what differs: ``exact`` where nothing does, else approximate."""
        return cls(fidelity=Fidelity.APPROXIMATE if differences else exact, differences=tuple(differences))

    @classmethod
    def refused(cls, *reasons: str) -> Self:
        """Say why a target cannot express anything near."""
        return cls(fidelity=Fidelity.REFUSED, differences=reasons)
