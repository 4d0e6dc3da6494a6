"""The curves of a study's trials on their folds: as recorded, and as other trials are judged by them."""

from collections.abc import Mapping

from autofreeze.job import EpochRecord
from autofreeze.scoring import curves_of

Curve = list[EpochRecord]


class StudyCurves:
    """The records of every trial on every fold.

    They are told by fold at once, since a run is judged against all of them after every epoch: of a sweep
    that has ended its chosen head stands for the trial, and a run that is not comparable is no peer.

    Args:
        recorded: (trial, fold) -> its records in order, those of earlier sessions.
    """

    def __init__(self, recorded: Mapping[tuple[int, int], Curve]) -> None:
        self._recorded: dict[int, dict[int, Curve]] = {}
        self._told: dict[int, dict[int, Curve]] = {}
        for (number, fold), curve in recorded.items():
            self._recorded.setdefault(number, {})[fold] = list(curve)
            self._tell(number, fold, self._recorded[number][fold])

    def append(self, number: int, fold: int, record: EpochRecord) -> None:
        """Take note of a trial's next record on a fold."""
        curve = self._recorded.setdefault(number, {}).setdefault(fold, [])
        curve.append(record)
        self._tell(number, fold, curve)

    def settle(self, number: int, member: int | None) -> None:
        """Take note that a trial has ended, and which head of a sweep was chosen."""
        if member is None:
            return
        for fold, curve in self.of(number).items():
            self._tell(number, fold, curves_of({fold: curve}, member)[fold], comparable=curve[-1].comparable)

    def of(self, number: int) -> dict[int, Curve]:
        """Give a trial's records by fold, as recorded: those of a sweep with all its heads."""
        return self._recorded.get(number, {})

    def spent(self, number: int) -> tuple[float, float]:
        """Give the work and the seconds that a trial's runs took, by their last records."""
        ends = [curve[-1] for _, curve in sorted(self.of(number).items())]
        return sum(end.work for end in ends), sum(end.seconds for end in ends)

    def told(self, number: int, fold: int) -> Curve:
        """Give what a trial is known by on a fold that it has run on."""
        return self._told[fold][number]

    def peers(self, number: int, fold: int) -> list[Curve]:
        """Give the curves of other trials that one is judged against on a fold."""
        return [curve for other, curve in self._told.get(fold, {}).items() if other != number]

    def _tell(self, number: int, fold: int, curve: Curve, *, comparable: bool | None = None) -> None:
        curves = self._told.setdefault(fold, {})
        if curve[-1].comparable if comparable is None else comparable:
            curves[number] = curve
        else:
            curves.pop(number, None)
