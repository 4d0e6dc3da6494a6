"""Made-up evidence, to go with a made-up search."""

import base64
import functools
import io
import math
import random
from collections.abc import Sequence

from made_search import FOLDS, SEEDS, Made, space_of
from PIL import Image

from autofreeze.evidence import Evidence
from autofreeze.importance import Importance, Importances
from autofreeze.learning import LearningCurve, LearningPoint
from autofreeze.mistakes import Confusion, Mistakes, WrongImage
from autofreeze.results import Ending, StudyResult, TrialResult, rank
from autofreeze.savings import Savings
from autofreeze.timeline import Stretch


class MadeEvidence:
    """Makes what a report holds beside its result."""

    def __init__(self, made: Made, rng: random.Random) -> None:
        self.made, self.rng, self.scale = made, rng, made.scale

    def evidence(self, result: StudyResult) -> Evidence:
        shown = self._shown(result)
        return Evidence(
            curves=tuple(self._curves(result, shown)),
            importances=self._importances(result),
            timeline=tuple(self._timeline(result)),
            savings=self._savings(result),
            mistakes=self._mistakes(result, shown),
        )

    @staticmethod
    def _shown(result: StudyResult) -> list[TrialResult]:
        if result.confirmation is not None:
            numbers = [one.trial for one in result.confirmation.candidates]
        else:
            complete = sorted((one for one in result.trials if one.value is not None), key=rank, reverse=True)
            numbers = [one.number for one in complete[:5]]
        return [one for one in result.trials if one.number in numbers]

    def _curves(self, result: StudyResult, shown: Sequence[TrialResult]):
        for trial in shown:
            yield from (self._curve(trial, fold, None) for fold in range(FOLDS))
        if result.confirmation is not None:
            for trial in shown:
                yield from (self._curve(trial, None, seed) for seed in range(SEEDS))

    def _curve(self, trial: TrialResult, fold: int | None, fresh: int | None) -> LearningCurve:
        points = []
        for epoch in range(math.ceil(self.made.epochs)):
            left = 0.5 ** (epoch + 1) * (1 + 0.05 * self.rng.random())
            own = self.scale.unit == "plain"
            value = (
                3 + 6 * left if own else 0.3 + 0.9 * left if self.scale.unit == "nats" else 0.9 - 0.6 * left
            )
            broke = not self.made.losses or (epoch == 2 and trial.number % 5 == 4)
            points.append(
                LearningPoint(
                    epochs_done=min(epoch + 1.0, self.made.epochs),
                    train_loss=None if broke else 0.1 + left,
                    val_loss=None if broke else 0.3 + 0.9 * left,
                    train_top1=None if own else 0.97 - 0.5 * left,
                    value=value,
                )
            )
        return LearningCurve(trial=trial.number, fold=fold, fresh=fresh, points=tuple(points))

    def _importances(self, result: StudyResult) -> Importances:
        complete = sum(one.ending is Ending.COMPLETE for one in result.trials)
        if complete < 10:
            return Importances(trials=complete, why_none=f"{complete} complete trials are too few to tell")
        weights = {axis: 0.7**place for place, axis in enumerate(space_of(self.made).searched)}
        total = sum(weights.values())
        axes = tuple(
            Importance(axis=axis, share=weight / total, by_chance=0.05) for axis, weight in weights.items()
        )
        pruned = sum(one.ending in (Ending.UNPROMISING, Ending.UNSTABLE) for one in result.trials)
        good = max(math.ceil((complete + pruned) / 10), 5)
        return Importances(axes=axes, trials=complete, pruned=pruned, good=min(good, complete))

    def _timeline(self, result: StudyResult):
        places = self.made.names[2 : 2 + self.made.places] if self.made.places > 1 else ("",)
        free = dict.fromkeys(((place, 0) for place in places), 0.0)
        runs = [
            (one, fold, None)
            for one in result.trials
            if one.work
            for fold in range(len(one.fold_values) or 1)
        ]
        if result.confirmation is not None:
            runs += [(one, None, seed) for one in self._shown(result) for seed in range(SEEDS)]
        if self.made.places > 1:
            free |= {(places[0], 1): 0.0}
        for trial, fold, fresh in runs:
            where = min(free, key=free.__getitem__)
            began = free[where] + 0.2
            free[where] = began + max(trial.seconds / FOLDS, 0.5)
            yield Stretch(
                where=where[0],
                lane=where[1],
                trial=trial.number,
                fold=fold,
                fresh=fresh,
                began=round(began, 3),
                ended=round(free[where], 3),
            )

    @staticmethod
    def _savings(result: StudyResult) -> Savings:
        pruned = {
            ending: sum(one.work for one in result.trials if one.ending is ending)
            for ending in (Ending.UNPROMISING, Ending.UNSTABLE)
        }
        return Savings(
            spent=result.work,
            by_unpromising=2 * pruned[Ending.UNPROMISING],
            by_unstable=3 * pruned[Ending.UNSTABLE],
            by_sharing=sum(one.same_as is not None for one in result.trials) * 4000.0,
            by_stores=None if result.kind == "own" else 0.3 * result.work,
        )

    def _mistakes(self, result: StudyResult, shown: Sequence[TrialResult]) -> Mistakes | None:
        if result.kind == "own" or not shown:
            return None
        n = len(self.made.classes)
        best = result.best.number
        other = next((one.number for one in result.baselines if one.number != best and one in shown), None)
        runs = SEEDS if result.confirmation else FOLDS
        counts = tuple(
            (row, column, runs * (30 if row == column else (row + 2 * column) % 3))
            for row in range(n)
            for column in range(n)
            if row == column or (row + 2 * column) % 3
        )
        images = tuple(
            WrongImage(
                name=f"{self.made.classes[place % n]}/{self.made.script or 'image'}{place}.jpg",
                label=place % n,
                predicted=(place + 1) % n,
                wrong=runs - place // 3,
                scored=runs,
                other_wrong=place % (runs + 1) if other is not None else 0,
                other_scored=runs if other is not None else 0,
                other_same=place % (runs + 1) // 2 if other is not None else 0,
                thumbnail=thumbnail(place) if place != 5 else "",
            )
            for place in range(12)
        )
        numbers = [best] if other is None else [best, other]
        confusions = tuple(
            Confusion(trial=number, runs=tuple(range(runs)), images=(30 + n,) * n, counts=counts)
            for number in numbers
        )
        fresh = result.confirmation is not None
        return Mistakes(
            fresh=fresh,
            confusions=confusions,
            images=images,
            runs=runs,
            images_scored=40 * n,
            images_wrong=60,
        )


@functools.cache
def thumbnail(number: int) -> str:
    """A JPEG of 24 px in one colour, as ``data:`` address."""
    stream = io.BytesIO()
    Image.new("RGB", (24, 24), (20 * number % 256, 90, 160)).save(stream, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"
